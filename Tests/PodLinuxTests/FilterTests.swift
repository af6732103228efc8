import CLinux
import Glibc
import PodLinux
import SystemPackage
import Testing

private let native = FilterRules.nativeArchitecture

/// What the rules say, read one by one: the program's reference.
private func expectedAction(_ filter: FilterRules, _ data: SeccompData) -> FilterRules.Action {
  guard data.architecture == filter.architecture, data.number < FilterRules.x32Mark else {
    return .noFunction
  }
  guard let rule = filter.rules[data.number] else { return filter.unlisted }
  for item in rule.cases {
    let holds = item.conditions.allSatisfy { condition in
      let word =
        switch condition.operand {
        case .argument(let index): data.arguments[index]
        case .instructionPointer: data.instructionPointer
        }
      return word & condition.mask == condition.value
    }
    if holds { return item.action }
  }
  return rule.action
}

/// Calls that tell one value of a condition from another.
private func interestingCalls(_ filter: FilterRules, _ number: UInt32) -> [SeccompData] {
  let zero = SeccompData(
    number: number, architecture: native, arguments: [0, 0, 0, 0, 0, 0])
  var calls = [zero]
  var ones = zero
  ones.arguments = [UInt64](repeating: .max, count: 6)
  ones.instructionPointer = .max
  calls.append(ones)
  for item in filter.rules[number]?.cases ?? [] {
    for start in [zero, ones] {
      // All conditions met, then each one missed: in any bit of the mask, and outside it.
      var met = start
      for condition in item.conditions {
        set(condition, of: &met, flipping: 0)
      }
      calls.append(met)
      for condition in item.conditions {
        for bit in 0..<64 {
          var missed = met
          set(condition, of: &missed, flipping: 1 << UInt64(bit))
          calls.append(missed)
        }
      }
    }
  }
  return calls
}

private func set(
  _ condition: FilterRules.Condition, of data: inout SeccompData, flipping bits: UInt64
) {
  func change(_ word: inout UInt64) {
    word = (word & ~condition.mask | condition.value) ^ bits
  }
  switch condition.operand {
  case .argument(let index): change(&data.arguments[index])
  case .instructionPointer: change(&data.instructionPointer)
  }
}

/// A table like a pod's, with every kind of rule; large enough for jumps beyond 255 instructions.
private func table(numbers: Range<UInt32>, seed: UInt64) -> FilterRules {
  var state = seed
  func random(_ bound: UInt64) -> UInt64 {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return (state >> 33) % bound
  }
  let actions: [FilterRules.Action] = [
    .allow, .allow, .errno(1), .errno(4095), .errno(38), .trace(0), .trace(0xffff), .notify,
    .trap(7), .killProcess,
  ]
  func action() -> FilterRules.Action { actions[Int(random(UInt64(actions.count)))] }
  // Each case of a rule looks at an argument of its own, for a value with bits: so none hides another.
  func condition(_ index: Int) -> FilterRules.Condition {
    let mask = [UInt64.max, 0xffff_ffff, 0xffff_ffff_0000_0000, 0x80, 1 << 40, 0x7f_0000_007f][
      Int(random(6))]
    let value = (random(1 << 31) << 32 | random(1 << 31)) & mask | mask & (~mask + 1)
    let operand: FilterRules.Condition.Operand =
      index == 0 && random(2) == 0 ? .instructionPointer : .argument(index)
    return .init(operand, mask: mask, value: value)
  }
  var rules: [UInt32: FilterRules.Rule] = [:]
  for number in numbers where random(10) > 0 {
    var rule = FilterRules.Rule(action())
    if random(4) == 0 {
      for index in 0...Int(random(3)) {
        var item = FilterRules.Case(condition(index), action: action())
        if random(2) == 0 {
          item.conditions.append(.int(4 + Int(random(2)), equals: UInt32(1 + random(1 << 31))))
        }
        rule.cases.append(item)
      }
    }
    rules[number] = rule
  }
  return FilterRules(rules)
}

@Suite("The seccomp filter")
struct FilterTests {
  /// Runs every number with its interesting values and gives the instructions that were reached.
  private func check(_ filter: FilterRules, upTo last: UInt32) throws -> Set<Int> {
    let program = try filter.program()
    let interpreter = try BPFInterpreter(program)
    var reached: Set<Int> = []
    var wrong = 0
    func run(_ data: SeccompData) {
      let outcome = interpreter.run(data)
      reached.formUnion(outcome.path)
      if outcome.value != expectedAction(filter, data).returnValue {
        wrong += 1
        if wrong < 5 {
          Issue.record("\(data): \(String(outcome.value, radix: 16))")
        }
      }
      // Who decides without the program decides the same.
      if filter.action(for: data) != expectedAction(filter, data) {
        wrong += 1
        if wrong < 5 { Issue.record("\(data): \(filter.action(for: data))") }
      }
      if filter.rules[data.number]?.cases.isEmpty ?? true {
        #expect(outcome.loads.isSubset(of: [0, 4]), "number \(data.number) looks at arguments")
      }
    }
    for number in Array(0...last) + [1 << 30, 1 << 30 | 39, (1 << 30) - 1, 1 << 31, .max] {
      for call in interestingCalls(filter, number) {
        run(call)
      }
      var foreign = SeccompData(number: number, architecture: CLinux_AUDIT_ARCH_I386)
      foreign.arguments = [0, 0, 0, 0, 0, 0]
      run(foreign)
    }
    #expect(wrong == 0)
    let unreached = Set(program.instructions.indices).subtracting(reached)
    #expect(unreached == [], "instructions that no call comes by")
    return reached
  }

  @Test("a small table does what it says, and every instruction is reached")
  func small() throws {
    let filter = FilterRules([
      0: .init(.allow), 1: .init(.allow), 2: .init(.allow), 39: .init(.errno(1)),
      62: .init(.trace(62)),
      16: .init(
        .errno(25),
        cases: [
          .init(.int(1, equals: 0x5401), action: .allow),
          .init(.int(1, equals: 0x5413), action: .allow),
          .init(.int(1, equals: 0x5410), action: .trace(9)),
        ]),
      56: .init(
        .allow, cases: [.init(.init(.argument(0), mask: 0x80, value: 0x80), action: .notify)]),
      202: .init(
        .notify,
        cases: [
          .init(
            .init(.instructionPointer, mask: ~0xfff, value: 0x7fff_1234_5000),
            .int(0, equals: 3), action: .allow)
        ]),
    ])
    let reached = try check(filter, upTo: 300)
    #expect(reached.count < 50)
  }

  @Test("a list of values for one argument loads it once")
  func loadsOnce() throws {
    let cases = (0..<20).map { FilterRules.Case(.int(1, equals: $0), action: .allow) }
    let program = try FilterRules([5: .init(.notify, cases: cases)]).program()
    let loads = program.instructions.filter { $0.code == BPFInstruction.Code.load }
    #expect(loads.count == 3)
  }

  @Test("tables with jumps of any length", arguments: [1, 2, 3, 4] as [UInt64])
  func large(_ seed: UInt64) throws {
    let filter = table(numbers: 0..<460, seed: seed)
    let reached = try check(filter, upTo: 500)
    #expect(reached.count > 600)
  }

  @Test("an empty table refuses everything")
  func empty() throws {
    _ = try check(FilterRules([:]), upTo: 10)
    _ = try check(FilterRules([:], unlisted: .notify), upTo: 10)
  }

  @Test("rules that can't be meant are refused")
  func invalid() {
    func refused(_ rule: FilterRules.Rule, number: UInt32 = 1) {
      #expect(throws: Errno.invalidArgument) { _ = try FilterRules([number: rule]).program() }
    }
    refused(.init(.errno(0)))
    refused(.init(.errno(4096)))
    refused(.init(.allow), number: FilterRules.x32Mark)
    refused(.init(.allow, cases: [.init(action: .notify)]))
    refused(.init(.allow, cases: [.init(.init(.argument(6), value: 0), action: .notify)]))
    refused(.init(.allow, cases: [.init(.init(.argument(0), mask: 0, value: 0), action: .notify)]))
    refused(.init(.allow, cases: [.init(.init(.argument(0), mask: 1, value: 2), action: .notify)]))
  }

  @Test("a program that is too long is refused")
  func tooLong() {
    let rules = (0..<600 as Range<UInt32>).map { number in
      let cases = (0..<8 as Range<UInt32>).map {
        FilterRules.Case(
          .init(.argument(0), value: UInt64(number) << 32 | UInt64($0)), action: .allow)
      }
      return (number, FilterRules.Rule(.notify, cases: cases))
    }
    #expect(throws: Errno.argListTooLong) {
      _ = try FilterRules(Dictionary(uniqueKeysWithValues: rules)).program()
    }
  }

  @Test(
    "labels have to lie ahead, and at any distance", arguments: [0, 1, 254, 255, 256, 257, 3000])
  func distance(_ distance: Int) throws {
    for (value, expected) in [(7, 1), (8, 2)] as [(UInt32, UInt32)] {
      for swapped in [false, true] {
        var assembler = BPFAssembler()
        let far = assembler.makeLabel()
        assembler.load(.number)
        if swapped {
          assembler.jump(if: .equal, 7, to: nil, otherwise: far)
        } else {
          assembler.jump(if: .equal, 7, to: far)
        }
        for _ in 0..<distance {
          assembler.and(0)
        }
        assembler.return(2)
        assembler.place(far)
        assembler.return(1)
        let outcome = try BPFInterpreter(try assembler.assembled()).run(
          SeccompData(number: value, architecture: 0))
        #expect(outcome.value == (swapped ? 3 - expected : expected))
      }
    }
  }

  @Test("a label behind or nowhere is refused")
  func badLabels() {
    var backward = BPFAssembler()
    let label = backward.makeLabel()
    backward.place(label)
    backward.jump(to: label)
    #expect(throws: Errno.invalidArgument) { _ = try backward.assembled() }
    var nowhere = BPFAssembler()
    nowhere.jump(if: .greater, 1, to: nowhere.makeLabel())
    nowhere.return(0)
    #expect(throws: Errno.invalidArgument) { _ = try nowhere.assembled() }
  }

  @Test("the interpreter refuses what the kernel refuses")
  func interpreterChecks() {
    func instruction(
      _ code: UInt16, _ operand: UInt32 = 0, _ then: UInt8 = 0, _ otherwise: UInt8 = 0
    ) -> BPFInstruction {
      BPFInstruction(code: code, jumpTrue: then, jumpFalse: otherwise, operand: operand)
    }
    let end = instruction(BPFInstruction.Code.return)
    let programs: [[BPFInstruction]] = [
      [], [instruction(BPFInstruction.Code.load)],
      [instruction(BPFInstruction.Code.load, 64), end],
      [instruction(BPFInstruction.Code.load, 2), end],
      [instruction(BPFInstruction.Code.jump, 1), end], [instruction(0xff), end],
      [instruction(0x15, 0, 1, 0), end], [instruction(0x15, 0, 0, 1), end],
    ]
    for instructions in programs {
      #expect(throws: Errno.invalidArgument) {
        _ = try BPFInterpreter(BPFProgram(instructions: instructions))
      }
    }
  }

  /// Numbers that no kernel has: whatever is allowed gets ENOSYS, so nothing can go wrong.
  private static let unused: Range<UInt32> = 2000..<2300

  @Test("the kernel takes the program and does the same with it")
  func kernel() throws {
    var filter = table(numbers: Self.unused, seed: 9)
    for (number, rule) in filter.rules {
      func harmless(_ action: FilterRules.Action) -> FilterRules.Action {
        // Each kind of action as an error of its own; TRACE without a tracer is ENOSYS.
        switch action {
        case .notify: .errno(2001)
        case .trap: .errno(2002)
        case .killProcess: .errno(2003)
        default: action
        }
      }
      filter.rules[number]?.action = harmless(rule.action)
      for index in rule.cases.indices {
        filter.rules[number]?.cases[index].action = harmless(rule.cases[index].action)
        // The pointer of these calls is libc's: not to be had beforehand.
        filter.rules[number]?.cases[index].conditions.removeAll {
          $0.operand == .instructionPointer
        }
      }
      filter.rules[number]?.cases.removeAll { $0.conditions.isEmpty }
    }
    for number in 0..<700 as Range<UInt32> {
      filter.rules[number] = .init(.allow)
    }
    let program = try filter.program()
    #expect(program.instructions.count > 300)
    let rules = filter
    // A filter belongs to its thread and ends with it.
    try onOwnThread {
      try #require(CLinux_prctl(38, 1, 0, 0, 0) == 0)
      let bytes = program.bytes
      try #require(CLinux_seccomp_install(bytes, program.instructions.count, 0) == 0)
      var calls = 0
      for number in Self.unused {
        for call in interestingCalls(rules, number) {
          let a = call.arguments
          let result = CLinux_syscall(Int(number), a[0], a[1], a[2], a[3], a[4], a[5])
          calls += 1
          let expected: Int =
            switch expectedAction(rules, call) {
            case .errno(let error): Int(error)
            default: Int(ENOSYS)
            }
          if result != -expected {
            Issue.record("\(call): \(result), not \(-expected)")
            return
          }
        }
      }
      #expect(calls > 3_000)
    }
  }
}
