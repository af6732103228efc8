internal import PodCore
internal import PodMock
internal import Synchronization
internal import SystemPackage
internal import Testing

/// Every place of the boundary table where a process-like name crosses, tried with names, special values and numbers of
/// the host, through the same transactions as any backend's.
@Suite("Names cross where the table says") struct RowProbeTests {
  /// What the kernel was asked, and what it answers.
  private final class Script: Sendable {
    struct State {
      var probe: Probe?
      var isOutput = false
      var answer: Int32 = 0
      var seen: Int32?
    }
    let state = Mutex(State())

    func handle(_ call: inout MockKernel.Call) -> CallResult? {
      state.withLock { state in
        guard let probe = state.probe else { return nil }
        if state.isOutput { return answer(&call, probe, state.answer) }
        guard call.call == probe.kernelCall else { return .success(0) }
        switch probe.kernelSlot {
        case .argument(let index): state.seen = call.arguments.int(index)
        case .word(let index, let offset):
          let address = RemoteAddress(rawValue: call.arguments[index]).advanced(by: offset)
          state.seen = (try? call.word(at: address)).map { Int32(bitPattern: $0) }
        case .result: break
        }
        return .success(0)
      }
    }

    private func answer(_ call: inout MockKernel.Call, _ probe: Probe, _ value: Int32) -> CallResult
    {
      // F_GETOWN asks by F_GETOWN_EX, which tells the kind of owner first.
      if probe.call == .fcntl, case .result = probe.slot {
        let owner = RemoteAddress(rawValue: call.arguments[2])
        try? call.write(word: 1, to: owner)
        try? call.write(word: UInt32(bitPattern: value), to: owner.advanced(by: 4))
        return .success(0)
      }
      guard case .word(let index, let offset) = probe.slot else { return .success(Int(value)) }
      let address = RemoteAddress(rawValue: call.arguments[index])
      for (offset, word) in probe.words {
        try? call.write(
          word: UInt32(bitPattern: word == 0x7FFF_0000 ? call.caller.rawValue : word),
          to: address.advanced(by: offset))
      }
      try? call.write(word: UInt32(bitPattern: value), to: address.advanced(by: offset))
      return .success(probe.call == .rt_sigtimedwait ? Int(probe.words[0] ?? 0) : 0)
    }
  }

  /// A caller (2) with a thread, its child (3) that leads a group, and somebody outside. The kernel's numbers are none that
  /// the pod can give out, so that whatever isn't translated shows.
  private struct World {
    let script = Script()
    let caller: MockProcess
    let pod: MockPod
    let thread: Int32
    private let outside: MockProcess

    init() throws {
      let script = script
      let kernel = MockKernel(numbers: 1000...1999, handler: { script.handle(&$0) })
      pod = kernel.makePod(names: 1...97)
      caller = pod.boot()
      try #require(caller.call(.fork) == .success(3))
      try #require(pod.process(3)?.call(.setpgid, 0, 0) == .success(0))
      thread = Int32(try caller.startThread { _ = $0.call(.pause) }.get())
      outside = kernel.spawnOutside()
      _ = caller.receive(handleOf: caller)
    }

    func physical(_ name: Int32) -> Int32 {
      (try? pod.names.processes.space.entry(VirtualName<ProcessID>(rawValue: name)))?
        .physical.rawValue ?? 0
    }

    /// A name on the program's side and on the kernel's.
    func sides(_ name: Probe.Name) -> (program: Int32, kernel: Int32) {
      switch name {
      case .own: (2, physical(2))
      case .child: (3, physical(3))
      case .thread: (thread, physical(thread))
      case .initial: (1, physical(1))
      case .physicalChild: (physical(3), physical(3))
      case .physicalThread: (physical(thread), physical(thread))
      case .outside: (outside.physical.rawValue, outside.physical.rawValue)
      case .unknown: (98, 98)
      case .zero: (0, 0)
      case .minusOne: (-1, -1)
      case .group: (-3, -physical(3))
      case .unknownGroup: (-98, -98)
      }
    }

    func end() {
      script.state.withLock { $0.probe = nil }
      pod.end()
    }

    func arguments(
      _ probe: Probe, _ value: Int32, _ memory: inout RemoteAddress
    ) throws -> [Int] {
      var arguments = probe.arguments + [Int](repeating: 0, count: 6 - probe.arguments.count)
      switch probe.slot {
      case .argument(let index): arguments[index] = Int(probe.encode(value))
      case .word(let index, let offset):
        memory = caller.allocate(256)
        for (offset, word) in probe.words {
          try caller.write(word: UInt32(bitPattern: word), to: memory.advanced(by: offset))
        }
        try caller.write(word: UInt32(bitPattern: value), to: memory.advanced(by: offset))
        arguments[index] = Int(memory.rawValue)
      case .result: break
      }
      return arguments
    }

    func call(_ probe: Probe, _ words: [Int]) -> CallResult {
      caller.call(probe.call, words[0], words[1], words[2], words[3], words[4], words[5])
    }
  }

  @Test("what goes in", arguments: Probe.inputs)
  func goesIn(probe: Probe) throws {
    try #require(isInterposed(probe))
    for (name, effect) in probe.effects.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
      let world = try World()
      defer { world.end() }
      let (program, kernel) = world.sides(name)
      var memory = RemoteAddress(rawValue: 0)
      let arguments = try world.arguments(probe, program, &memory)
      world.script.state.withLock { $0.probe = probe }
      let result = world.call(probe, arguments)
      let seen = world.script.state.withLock { $0.seen }
      let expected: Int32? =
        switch effect {
        case .named: probe.kernelEncode(kernel)
        case .passed: probe.kernelEncode(program)
        case .number(let number): number
        case .caller: world.physical(2)
        case .answered: nil
        }
      if case .answered(let answer) = effect {
        #expect(result == answer, "\(probe) with \(name)")
        // A signal for everyone is sent to each.
        if name == .minusOne, probe.call == .kill { continue }
      }
      #expect(seen == expected, "\(probe) with \(name): \(result)")
      // What the program has in its memory stays.
      if case .word(_, let offset) = probe.slot {
        #expect(
          try world.caller.word(at: memory.advanced(by: offset)) == UInt32(bitPattern: program),
          "\(probe) with \(name)")
      }
    }
  }

  @Test("what comes out", arguments: Probe.outputs)
  func comesOut(probe: Probe) throws {
    try #require(isInterposed(probe))
    for (name, effect) in probe.effects.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
      let world = try World()
      defer { world.end() }
      let (program, kernel) = world.sides(name)
      var memory = RemoteAddress(rawValue: 0)
      var arguments = try world.arguments(probe, 0x7F00_0000, &memory)
      if probe.call == .ioctl, probe.arguments[0] == 7 { arguments[0] = 3 }
      world.script.state.withLock {
        ($0.probe, $0.isOutput, $0.answer) = (probe, true, kernel)
      }
      let result = world.call(probe, arguments)
      if case .answered(let answer) = effect {
        #expect(result == answer, "\(probe) with \(name)")
        continue
      }
      let seen: Int32? =
        switch probe.slot {
        case .word(_, let offset):
          Int32(bitPattern: try world.caller.word(at: memory.advanced(by: offset)))
        default: (try? result.get()).map { Int32($0) }
        }
      let expected: Int32 =
        switch effect {
        case .number(let number): number
        default: program
        }
      #expect(seen == expected, "\(probe) with \(name): \(result)")
    }
  }

  private func isInterposed(_ probe: Probe) -> Bool {
    guard let row = BoundaryTable.standard.row(for: probe.call, probe.callArguments) else {
      return false
    }
    return ["translated", "wrapped", "answered"].contains(row.verb.word)
  }

  @Test("every row that does something is tried here, or says where")
  func everyRow() {
    let table = BoundaryTable.standard
    func name(_ row: BoundaryRow) -> String {
      ([row.call.name] + (row.variant.label.isEmpty ? [] : [row.variant.label]))
        .joined(separator: " ")
    }
    var tried = Set(Probe.elsewhere.keys)
    var slots: Set<String> = []
    for (probes, isInput) in [(Probe.inputs, true), (Probe.outputs, false)] {
      for probe in probes {
        guard let row = table.row(for: probe.call, probe.callArguments) else { continue }
        tried.insert(name(row))
        slots.insert("\(name(row)) \(isInput) \(probe.slot)")
      }
    }
    // Each of a row's places, also those that its wrapper sees to.
    for row in table.rows where Probe.elsewhere[name(row)] == nil {
      guard ["translated", "wrapped"].contains(row.verb.word) else { continue }
      let inputs = row.inputs + row.wrappedInputs
      let outputs = row.outputs + row.wrappedOutputs
      #expect(!inputs.isEmpty || !outputs.isEmpty, "\(name(row)) names nothing")
      for (place, isInput) in inputs.map({ ($0, true) }) + outputs.map({ ($0, false) }) {
        let slot = "\(name(row)) \(isInput) \(Probe.Slot(place))"
        #expect(slots.contains(slot), "\(slot) isn't tried")
      }
    }
    let done = Set(
      table.rows.filter { ["translated", "wrapped", "answered"].contains($0.verb.word) }.map(name))
    #expect(done.subtracting(tried).sorted() == [])
    #expect(tried.subtracting(done).sorted() == [])
  }

  @Test(
    "where no name crosses, there is no row",
    arguments: [
      ("P22", .prctl, [36]), ("P23", .prctl, [1]), ("P52", .prctl, [40]), ("P57", .mq_notify, []),
      ("P64", .set_robust_list, []), ("P64", .rseq, []), ("P68", .fcntl, [0, 1024]),
      ("P68", .fcntl, [0, 1026]), ("P68", .fcntl, [0, 10]), ("P56", .timerfd_create, []),
      ("P82", .getrusage, []), ("P82", .times, []), ("P86", .membarrier, []),
      ("P86", .sched_yield, []), ("P86", .getcpu, []), ("P86", .landlock_restrict_self, []),
      ("P86", .lsm_get_self_attr, []), ("P86", .futex_wait, []), ("P86", .futex_wake, []),
      ("P86", .futex_requeue, []), ("P86", .mseal, []), ("P86", .cachestat, []),
    ] as [(String, Syscall, [UInt64])])
  func nameless(row: String, call: Syscall, words: [UInt64]) {
    var arguments = CallArguments()
    for (index, word) in words.enumerated() { arguments[index] = word }
    #expect(BoundaryTable.standard.row(for: call, arguments) == nil, "\(row) \(call.name)")
    let isNameless =
      NamelessCalls.all.contains(call) || NamelessCalls.defaults.contains(call)
    #expect(isNameless, "\(row) \(call.name)")
  }
}
