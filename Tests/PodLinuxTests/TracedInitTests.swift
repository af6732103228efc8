import CLinux
import Glibc
import PodCore
import PodLinux
import SystemPackage
import Testing

/// A tracer of a few lines: follows init and its children, collects what they signal.
private struct Tracer {
  var signals: [PodInit.Signal] = []
  var pids: [Int32] = []
  var exits: [Int32: Int32] = [:]

  /// Takes reports until the condition holds; each tracee is continued at once.
  mutating func run(
    until done: (Tracer) -> Bool, atSignal: (Int32, PodInit.Signal) throws -> Void = { _, _ in }
  ) throws {
    while !done(self) {
      var status: Int32 = 0
      let options = Int32(CLinux_WAIT_ALL) | Int32(CLinux_WAIT_NO_THREAD)
      let pid = CLinux_wait4(-1, &status, options, nil)
      try #require(pid > 0)
      pids.append(pid)
      guard CLinux_WIFSTOPPED(status) != 0 else {
        exits[pid] = status
        continue
      }
      var forwarded: Int32 = 0
      if status >> 16 == 0 {
        forwarded = CLinux_WSTOPSIG(status)
        if forwarded == SIGTRAP, let signal = PodInit.Signal(try Registers(of: pid)) {
          signals.append(signal)
          try atSignal(pid, signal)
          forwarded = 0
        }
      }
      try #require(CLinux_ptrace_cont(pid, forwarded) == 0)
    }
  }
}

@Suite("The pod's init, traced", .timeLimit(.minutes(1)))
struct TracedInitTests {
  private static let options =
    UInt(CLinux_PTRACE_O_TRACEFORK) | UInt(CLinux_PTRACE_O_TRACEEXEC)
    | UInt(CLinux_PTRACE_O_EXITKILL)

  @Test("it rings, and says who is born and what failed")
  func signals() throws {
    try onOwnThread {
      let podInit = try PodInit.start(mode: .traced)
      try #require(CLinux_ptrace_seize(podInit.processID, Self.options) == 0)
      var tracer = Tracer()
      try podInit.ring()
      try tracer.run(until: { $0.signals.count == 1 })
      #expect(tracer.signals == [.ring])
      #expect(tracer.pids == [podInit.processID])

      try podInit.launch(
        .init(paths: ["/bin/true"], arguments: [[116]]), id: 5, descriptors: [])
      try tracer.run(until: { $0.exits.count == 1 })
      #expect(tracer.signals == [.ring, .born(id: 5)])
      #expect(tracer.exits.values.first == 0)

      try podInit.launch(.init(paths: ["/nowhere"], arguments: [[116]]), id: 6, descriptors: [])
      try tracer.run(until: { $0.exits.count == 2 })
      #expect(tracer.signals.dropFirst(2).first == .born(id: 6))
      guard case .failed(let failure) = tracer.signals.last else {
        Issue.record("no failure")
        return
      }
      #expect(failure.id == 6 && failure.stage == .exec && failure.error == .noSuchFileOrDirectory)
      #expect(tracer.exits.values.contains(127 << 8))

      podInit.end()
      try tracer.run(until: { $0.exits[podInit.processID] == 0 })
      #expect(try podInit.waitUntilEnded(milliseconds: 5_000))
    }
  }

  @Test("a doorbell rung from many threads never blocks")
  func manyRings() throws {
    try onOwnThread {
      let podInit = try PodInit.start(mode: .traced)
      try #require(CLinux_ptrace_seize(podInit.processID, Self.options) == 0)
      // Nobody takes reports meanwhile: init is in its first stop, which is waited for since it makes room for one
      // more, and the socket fills up.
      try podInit.ring()
      var information = siginfo_t()
      let options = WSTOPPED | Int32(CLinux_WAIT_ALL) | Int32(bitPattern: UInt32(WNOWAIT))
      try #require(CLinux_waitid(1, podInit.processID, &information, options, nil) == 0)
      for _ in 0..<5_000 {
        try podInit.ring()
      }
      #expect(throws: Errno.resourceTemporarilyUnavailable) {
        try podInit.launch(.init(paths: [], arguments: []), id: 1, descriptors: [])
      }
      podInit.end()
      var tracer = Tracer()
      try tracer.run(until: { $0.exits[podInit.processID] == 0 })
      #expect(tracer.signals.count > 10 && tracer.signals.allSatisfy { $0 == .ring })
    }
  }

  @Test("registers and memory of a stopped thread are read, changed and written back")
  func registersAndMemory() throws {
    try onOwnThread {
      let podInit = try PodInit.start(mode: .traced)
      let pid = podInit.processID
      try #require(CLinux_ptrace_seize(pid, Self.options) == 0)
      try podInit.ring()
      var tracer = Tracer()
      try tracer.run(until: { $0.signals.count == 1 }) { pid, _ in
        var registers = try Registers(of: pid)
        let before = registers
        registers.arguments[5] = 0x1234
        registers.result = 0x55
        try registers.set(to: pid)
        let after = try Registers(of: pid)
        #expect(after.arguments[5] == 0x1234 && after.result == 0x55 && after.arguments[6] == 0)
        #expect(after.instructionPointer == before.instructionPointer)
        #expect(after.syscallNumber == -1)
        try before.set(to: pid)

        let memory = RemoteMemory(of: pid)
        // int3 has just been executed.
        let code = before.instructionPointer + -1
        // Without a descriptor code is written by words; the bytes around stay.
        let poking = RemoteMemory(of: Int32.max)
        let place = before.stackPointer + -512
        try memory.write(place, bytes: [UInt8](0..<24))
        try poking.writeCode(place + 3, bytes: [UInt8](100..<115), stopped: pid)
        let expected = [UInt8](0..<3) + [UInt8](100..<115) + [UInt8](18..<24)
        #expect(try poking.readBytes(place, count: 24, stopped: pid) == expected)
        #expect(throws: Errno.badAddress) {
          try poking.writeCode(.init(rawValue: 5), bytes: [1], stopped: pid)
        }
        for way in [nil, pid] {
          #expect(try memory.readBytes(code, count: 1, stopped: way) == [0xcc])
          try memory.writeCode(code, bytes: [0xcc], stopped: way)
          let stack = before.stackPointer + -1024
          try memory.write(stack, bytes: [1, 2, 3], stopped: way)
          #expect(try memory.readBytes(stack, count: 3, stopped: way) == [1, 2, 3])
        }
      }
      // A running thread has no registers to read.
      #expect(throws: Errno.noSuchProcess) { _ = try Registers(of: pid) }
      podInit.end()
      try tracer.run(until: { $0.exits[pid] == 0 })
    }
  }
}
