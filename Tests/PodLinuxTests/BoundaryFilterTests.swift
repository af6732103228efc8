import PodCore
import PodLinux
import SystemPackage
import Testing

/// The filter that a pod's programs get, run in the interpreter against the table that it is made of.
@Suite("the filter of the boundary table")
struct BoundaryFilterTests {
  private struct Wants: Interposer {
    let calls: Set<Syscall> = [.read, .clock_gettime]
    func preamble(_ transaction: inout Transaction) throws(Errno) {}
  }

  private func call(
    _ number: UInt32, _ arguments: CallArguments = CallArguments(),
    architecture: UInt32 = FilterRules.nativeArchitecture
  ) -> SeccompData {
    SeccompData(
      number: number, architecture: architecture, arguments: (0..<6).map { arguments[$0] })
  }

  private let interposed = FilterRules.Action.trace(0)

  /// What has to become of a call, from the table alone.
  private func expected(_ call: Syscall, _ arguments: CallArguments) -> FilterRules.Action {
    guard let row = BoundaryTable.standard.row(for: call, arguments) else { return .allow }
    if let errno = row.staticErrno { return .errno(UInt16(errno.rawValue)) }
    if case .native = row.verb { return .allow }
    let isSelf =
      row.outputs.isEmpty && !row.inputs.isEmpty
      && row.inputs.allSatisfy { place in
        guard case .argument(let index, let shape) = place else { return false }
        return shape.zero != .none && UInt32(truncatingIfNeeded: arguments[index]) == 0
      }
    switch row.verb {
    case .translated where isSelf, .open where isSelf: return .allow
    default: return interposed
    }
  }

  /// For each word that a row looks at: what matches, what nearly does, and rubbish in the upper half.
  private func interestingArguments(of call: Syscall) -> [CallArguments] {
    var values: [Int: Set<UInt64>] = [:]
    for row in BoundaryTable.standard.rows(for: call) {
      for condition in row.variant.conditions {
        values[condition.argument, default: [0]].formUnion([
          condition.value, condition.value ^ 1, condition.value | ~condition.mask, .max,
        ])
      }
      for case .argument(let index, _) in row.inputs {
        values[index, default: []].formUnion([0, 1, .max, 1 << 32])
      }
    }
    var all = [CallArguments()]
    for (index, choices) in values {
      all = all.flatMap { arguments in
        choices.map { value in
          var arguments = arguments
          arguments[index] = value
          return arguments
        }
      }
    }
    return all
  }

  @Test("every call gets what its row says, and every instruction is reached")
  func agreesWithTheTable() throws {
    let rules = BoundaryFilter.rules(
      for: .standard, interposers: [], interposed: interposed)
    let program = try rules.program()
    let interpreter = try BPFInterpreter(program)
    var reached: Set<Int> = []
    for call in Syscall.allCases {
      for arguments in interestingArguments(of: call) {
        let outcome = interpreter.run(
          self.call(UInt32(call.rawValue), arguments))
        reached.formUnion(outcome.path)
        #expect(
          outcome.value == expected(call, arguments).returnValue, "\(call.name) \(arguments)")
        #expect(
          rules.action(for: self.call(UInt32(call.rawValue), arguments))
            == expected(call, arguments), "\(call.name) \(arguments)")
      }
    }
    for number: UInt32 in [UInt32(Syscall.highestNumber) + 1, 1 << 20, 1 << 30, .max] {
      let outcome = interpreter.run(call(number))
      reached.formUnion(outcome.path)
      #expect(outcome.value == FilterRules.Action.noFunction.returnValue)
    }
    // Numbers between the known ones, and another architecture.
    for number in 0...UInt32(Syscall.highestNumber) where Syscall(rawValue: UInt16(number)) == nil {
      let outcome = interpreter.run(call(number))
      reached.formUnion(outcome.path)
      #expect(outcome.value == FilterRules.Action.noFunction.returnValue)
    }
    let foreign = interpreter.run(call(0, architecture: 1))
    reached.formUnion(foreign.path)
    #expect(foreign.value == FilterRules.Action.noFunction.returnValue)
    #expect(reached.count == program.instructions.count)
  }

  @Test("a call in which no name crosses is allowed by its number alone")
  func namelessByNumber() throws {
    let interpreter = try BPFInterpreter(
      BoundaryFilter.rules(for: .standard, interposers: [], interposed: interposed).program())
    for call in NamelessCalls.all {
      let outcome = interpreter.run(self.call(UInt32(call.rawValue)))
      // Architecture and number: the two words that the kernel's per-number cache knows.
      #expect(outcome.loads == [0, 4], "\(call.name)")
    }
  }

  @Test("what an embedder's rule wants is interposed on")
  func interposers() throws {
    let interpreter = try BPFInterpreter(
      BoundaryFilter.rules(for: .standard, interposers: [Wants()], interposed: interposed)
        .program())
    for call in [Syscall.read, .clock_gettime] {
      let outcome = interpreter.run(self.call(UInt32(call.rawValue)))
      #expect(outcome.value == interposed.returnValue)
    }
    #expect(
      interpreter.run(call(UInt32(Syscall.write.rawValue))).value
        == FilterRules.Action.allow.returnValue)
  }
}
