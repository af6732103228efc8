internal import CPodLayout
internal import CPodPageModel
internal import PodCore
internal import PodMock
internal import Synchronization
internal import SystemPackage
internal import Testing

/// The boundary table as the page reads it: each row that it acts by, with names of all kinds, against what the Swift
/// transaction makes of the same call on the same kernel.
@Suite("The page acts as the boundary table says") struct RuleTests {
  /// What the kernel was asked in the test's call, and what it answers.
  private final class Script: Sendable {
    struct State {
      var isOn = false
      var answer: (place: Place, value: Int32)?
      var seen: [Seen] = []
    }
    struct Seen: Equatable {
      var call: Syscall
      var arguments: CallArguments
    }
    let state = Mutex(State())

    func handle(_ call: inout MockKernel.Call) -> CallResult? {
      state.withLock { state in
        // Who asks is the kernel's to say; the other thread is only there.
        guard state.isOn, ![.getpid, .gettid, .pause].contains(call.call) else { return nil }
        state.seen.append(Seen(call: call.call, arguments: call.arguments))
        switch state.answer {
        case (.result, let value)?: return .success(Int(value))
        case (.memory(let index, _), let value)?: write(value, index, 0, &call)
        case (.field(let offset, let index, _), let value)?: write(value, index, offset, &call)
        default: break
        }
        return .success(0)
      }
    }

    private func write(
      _ value: Int32, _ index: Int, _ offset: Int, _ call: inout MockKernel.Call
    ) {
      let address = RemoteAddress(rawValue: call.arguments[index]).advanced(by: offset)
      try? call.write(word: UInt32(bitPattern: value), to: address)
    }
  }

  /// What one call did.
  private struct Effect: Equatable {
    var result: CallResult
    /// The program's memory afterwards.
    var memory: [UInt32]
    /// What the kernel was asked; an address that points to the memory reads as 1.
    var seen: [Script.Seen]
  }

  /// A caller (2) with a thread, its child (3) that leads a group, and somebody outside; the kernel's numbers are none that
  /// the pod can give out.
  private struct World {
    static let memorySize = 64
    let script = Script()
    let pod: MockPod
    let caller: MockProcess
    let thread: MockProcess
    let outside: MockProcess
    /// Of a process that was waited for, whose name is remembered for a while.
    let late: Int32
    let memory: RemoteAddress
    let words: UnsafeMutablePointer<UInt32>

    init() throws {
      let script = script
      let kernel = MockKernel(numbers: 1000...1999, handler: { script.handle(&$0) })
      pod = kernel.makePod(names: 1...97)
      caller = pod.boot()
      try #require(caller.call(.fork) == .success(3))
      try #require(pod.process(3)?.call(.setpgid, 0, 0) == .success(0))
      let ended = Int32(try caller.call(.fork).get())
      late = pod.process(ended)?.physical.rawValue ?? 0
      pod.process(ended)?.exit()
      try #require(caller.wait(for: Int(ended)).map(\.child) == .success(Int(ended)))
      let name = Int32(try caller.startThread { _ = $0.call(.pause) }.get())
      thread = try #require(pod.process(name))
      outside = kernel.spawnOutside()
      memory = caller.allocate(Self.memorySize)
      words = .allocate(capacity: Self.memorySize / 4)
    }

    func end() {
      script.state.withLock { $0.isOn = false }
      pod.end()
      words.deallocate()
    }

    func physical(_ name: Int32) -> Int32 { pod.process(name)?.physicalThread.rawValue ?? 0 }

    /// Names, special values, and the kernel's numbers.
    var numbers: [Int32] {
      let thread = thread.physicalThread.rawValue
      return [
        2, 3, 1, thread, 98, 0, -1, -3, -98, .min, .max, physical(2), physical(3), thread,
        -physical(3), late, -late, outside.physical.rawValue, -outside.physical.rawValue,
      ]
    }

    private func write(_ words: [UInt32]) throws {
      for (index, word) in words.enumerated() {
        try caller.write(word: word, to: memory.advanced(by: index * 4))
      }
    }

    private func read() throws -> [UInt32] {
      try (0..<Self.memorySize / 4).map { try caller.word(at: memory.advanced(by: $0 * 4)) }
    }

    /// Makes a call by transactions alone, or by the page.
    func call(
      _ call: Syscall, _ arguments: CallArguments, by process: MockProcess,
      pointers: [Int], throughPage: Bool, answer: (Place, Int32)?
    ) throws -> Effect {
      try write([UInt32](repeating: 0x7F00_0001, count: Self.memorySize / 4))
      script.state.withLock { ($0.isOn, $0.answer, $0.seen) = (true, answer, []) }
      defer { script.state.withLock { $0.isOn = false } }
      var words = arguments
      let result: CallResult
      if throughPage {
        for index in pointers { words[index] = UInt64(UInt(bitPattern: self.words)) }
        result = page(process).call(call, words)
      } else {
        for index in pointers { words[index] = memory.rawValue }
        let words = (0..<6).map { Int(bitPattern: UInt(words[$0])) }
        result = process.call(
          call, words[0], words[1], words[2], words[3], words[4], words[5])
      }
      var seen = script.state.withLock { $0.seen }
      for number in seen.indices {
        for index in 0..<6 where seen[number].arguments[index] == memory.rawValue {
          seen[number].arguments[index] = 1
        }
      }
      return Effect(result: result, memory: try read(), seen: seen)
    }

    /// The page dereferences what the kernel has written to, so it has memory of the tests', of which the simulated
    /// process's is a copy.
    private func page(_ process: MockProcess) -> ModelProcess {
      let model = ModelProcess(process, of: pod)
      let kernel = model.kernel
      let address = UInt64(UInt(bitPattern: words))
      model.kernel = { call, arguments in
        var arguments = arguments
        for index in 0..<6 where arguments[index] == address { arguments[index] = memory.rawValue }
        try? write((0..<Self.memorySize / 4).map { words[$0] })
        let result = kernel(call, arguments)
        for (index, word) in ((try? read()) ?? []).enumerated() { words[index] = word }
        return result
      }
      for index in 0..<Self.memorySize / 4 { words[index] = 0x7F00_0001 }
      return model
    }

    /// What the page has written after its last call.
    func pageMemory() -> [UInt32] { (0..<Self.memorySize / 4).map { words[$0] } }
  }

  /// The rows of the calls in which the page has a part.
  private static let rows: [BoundaryRow] = {
    let rules = BoundaryTable.standard.pageRules()
    return BoundaryTable.standard.rows.filter { row in
      let index = 8 + 2 * Int(row.call.rawValue)
      return row.descriptor == nil && (rules[index] != 0 || rules[index + 1] != 0)
    }
  }()

  private static func arguments(of row: BoundaryRow) -> (words: CallArguments, pointers: [Int]) {
    var words = CallArguments()
    for condition in row.variant.conditions { words[condition.argument] |= condition.value }
    var pointers: Set<Int> = []
    for place in row.inputs + row.outputs + row.wrappedInputs + row.wrappedOutputs {
      switch place {
      case .memory(let index, _), .field(_, of: let index, _): pointers.insert(index)
      default: break
      }
    }
    return (words, pointers.sorted())
  }

  private func compare(
    _ row: BoundaryRow, _ words: CallArguments, _ pointers: [Int], _ world: World,
    answer: (Place, Int32)? = nil, _ what: String
  ) throws {
    for process in [world.caller, world.thread] {
      var expected = try world.call(
        row.call, words, by: process, pointers: pointers, throughPage: false, answer: answer)
      var actual = try world.call(
        row.call, words, by: process, pointers: pointers, throughPage: true, answer: answer)
      actual.memory = pointers.isEmpty ? expected.memory : world.pageMemory()
      // The page asks twice where it isn't sure.
      actual.seen = actual.seen.suffix(expected.seen.count)
      meanTheSame(&actual.seen, &expected.seen, in: row, of: process)
      let name = "\(row.call) \(row.variant.label) \(what) by \(process.physicalThread)"
      #expect(actual == expected, "\(name)")
    }
  }

  /// A name is 32 bits of its register, and 0 names the caller as its number does.
  private func meanTheSame(
    _ actual: inout [Script.Seen], _ expected: inout [Script.Seen], in row: BoundaryRow,
    of process: MockProcess
  ) {
    let own = UInt64(process.physicalThread.rawValue)
    for number in actual.indices where number < expected.count {
      for place in row.inputs {
        guard case .argument(let index, let shape) = place else { continue }
        actual[number].arguments[index] &= 0xFFFF_FFFF
        expected[number].arguments[index] &= 0xFFFF_FFFF
        if shape.zero == .caller, actual[number].arguments[index] == 0,
          expected[number].arguments[index] == own
        {
          actual[number].arguments[index] = own
        }
      }
    }
  }

  @Test("there are such rows of all kinds")
  func kinds() {
    let labels = Set(Self.rows.map { "\($0.call) \($0.variant.label)" })
    for label in ["getpid ", "getppid ", "getsid ", "ioctl TIOCGPGRP", "fcntl F_GETOWN_EX"]
      + ["ioctl SIOCGPGRP", "sched_setaffinity ", "prlimit64 ", "setpriority PRIO_PROCESS"]
    {
      #expect(labels.contains(label), "\(label)")
    }
    #expect(!labels.contains { $0.hasPrefix("kill") || $0.hasPrefix("process_vm_readv") })
  }

  @Test("what goes in", arguments: rows)
  func goesIn(row: BoundaryRow) throws {
    guard ["translated", "open"].contains(row.verb.word) else { return }
    let world = try World()
    defer { world.end() }
    let (words, pointers) = Self.arguments(of: row)
    for place in row.inputs {
      guard case .argument(let index, _) = place else { continue }
      for number in world.numbers {
        var words = words
        words[index] = UInt64(bitPattern: Int64(number))
        try compare(row, words, pointers, world, "of \(number)")
        // A register's upper half is nobody's.
        words[index] |= 0xABCD << 32
        for condition in row.variant.conditions {
          words[condition.argument] |= 0xABCD << 32 & ~condition.mask
        }
        try compare(row, words, pointers, world, "of \(number) and more")
      }
    }
  }

  @Test("a program that names itself needs nobody", arguments: rows.filter { !$0.inputs.isEmpty })
  func ownName(row: BoundaryRow) throws {
    guard ["translated", "open"].contains(row.verb.word), row.untouched != nil else { return }
    let world = try World()
    defer { world.end() }
    let model = ModelProcess(world.thread, of: world.pod)
    let virtual = UInt64(try world.thread.call(.gettid).get())
    world.script.state.withLock { $0.isOn = true }
    for number in [virtual, UInt64(world.thread.physicalThread.rawValue)] {
      var (words, _) = Self.arguments(of: row)
      for place in row.inputs {
        guard case .argument(let index, let shape) = place, shape.zero == .caller else { continue }
        words[index] = number
      }
      model.forget()
      _ = model.call(row.call, words)
      #expect(!model.hasAskedSupervisor)
      let passed = model.asked.last?.arguments
      #expect(passed == Self.arguments(of: row).words, "\(row.call) of \(number)")
    }
  }

  @Test("what comes out", arguments: rows)
  func comesOut(row: BoundaryRow) throws {
    // A group is answered from the table (IdentityTests).
    guard row.verb.word == "translated", row.call != .getpgrp else { return }
    let world = try World()
    defer { world.end() }
    var (words, pointers) = Self.arguments(of: row)
    for condition in row.variant.conditions {
      words[condition.argument] |= 0xABCD << 32 & ~condition.mask
    }
    for place in row.outputs {
      for number in world.numbers where number >= 0 || !pointers.isEmpty {
        try compare(row, words, pointers, world, answer: (place, number), "shows \(number)")
      }
      // A null pointer.
      if !pointers.isEmpty {
        try compare(row, words, [], world, answer: (place, 5), "without a place")
      }
    }
  }

  @Test("an error is the kernel's", arguments: rows.filter { !$0.outputs.isEmpty })
  func fails(row: BoundaryRow) throws {
    // These aren't made.
    if row.verb.word != "translated" || row.call == .getpgrp { return }
    let world = try World()
    defer { world.end() }
    let model = ModelProcess(world.caller, of: world.pod)
    model.kernel = { _, _ in -25 }
    let (words, _) = Self.arguments(of: row)
    #expect(model.call(row.call, words) == .failure(.inappropriateIOCTLForDevice))
    #expect(model.asked.map(\.call) == [row.call])
  }

  private struct DenyAll: Interposer {
    let calls: Set<Syscall>
    func preamble(_ transaction: inout Transaction) throws(Errno) { throw .permissionDenied }
  }

  @Test("what an interposer wants is the supervisor's")
  func interposed() throws {
    let calls: Set<Syscall> = [.getpid, .getppid, .ioctl, .setpriority]
    let interposer = DenyAll(calls: calls)
    let kernel = MockKernel(numbers: 1000...1999, interposers: [interposer])
    let pod = kernel.makePod(names: 1...97)
    defer { pod.end() }
    let process = pod.boot()
    let model = ModelProcess(process, of: pod)
    for call in calls {
      #expect(model.call(call, 0, 0x540F, 0) == .failure(.permissionDenied), "\(call)")
    }
    // Without its process the page doesn't know these either, and asks.
    #expect(model.call(.gettid) == .success(2))
    #expect(model.call(.getpgrp) == .success(2))
    #expect(model.call(.getpgid, 2) == .success(2))
  }

  @Test("it fits its place")
  func fits() {
    #expect(BoundaryTable.standard.pageRules().count <= Int(POD_AREA_RULES_SIZE))
  }
}
