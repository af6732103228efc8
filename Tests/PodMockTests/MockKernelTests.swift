internal import PodCore
internal import PodMock
internal import SystemPackage
internal import Testing

@Suite struct MockKernelTests {
  private struct NoNetwork: Interposer {
    let calls: Set<Syscall> = [.connect]
    func preamble(_ transaction: inout Transaction) throws(Errno) { throw .networkUnreachable }
  }

  @Test("an embedder's rule is run on the simulated kernel")
  func interposer() {
    let process = MockKernel(interposers: [NoNetwork()]).boot()
    #expect(process.call(.connect, 3, 0, 16) == .failure(.networkUnreachable))
  }

  @Test("programs in a pod see small numbers, and the kernel others")
  func numbers() {
    let kernel = MockKernel()
    let process = kernel.boot()
    #expect(process.call(.getpid) == .success(2))
    #expect(process.call(.getppid) == .success(1))
    #expect(process.call(.getpgid, 0) == .success(2))
    #expect(process.call(.getsid, 0) == .success(2))
    #expect(process.physical.rawValue == 101)
    #expect(process.call(.fork) == .success(3))
    #expect(process.call(.kill, 101, 15) == .failure(.noSuchProcess))
    #expect(process.pod?.process(3)?.call(.getppid) == .success(2))
  }

  @Test("numbers are given out cyclically, and again as soon as nobody shows them")
  func reuse() {
    let kernel = MockKernel(numbers: 100...103)
    let parent = kernel.spawnOutside()
    let children = (0..<3).map { _ in parent.call(.fork) }
    #expect(children == [.success(101), .success(102), .success(103)])
    #expect(parent.call(.fork) == .failure(.resourceTemporarilyUnavailable))
    // A zombie shows its number.
    kernel.process(PhysicalName(rawValue: 102))?.exit(3)
    #expect(parent.call(.fork) == .failure(.resourceTemporarilyUnavailable))
    let waited = parent.wait()
    #expect(waited.map(\.child) == .success(102))
    #expect(waited.map(\.status) == .success(3 << 8))
    #expect(parent.call(.fork) == .success(102))
    // A group shows its leader's.
    kernel.process(PhysicalName(rawValue: 101))?.call(.setpgid, 0, 0)
    kernel.process(PhysicalName(rawValue: 103))?.call(.setpgid, 0, 101)
    _ = parent.call(.setpgid, 103, 101)
    kernel.process(PhysicalName(rawValue: 101))?.exit()
    #expect(parent.wait(for: 101).map(\.child) == .success(101))
    #expect(parent.call(.fork) == .failure(.resourceTemporarilyUnavailable))
  }

  @Test("stops and continues are reported to the parent, by wait and by SIGCHLD")
  func stops() {
    let parent = MockKernel().boot()
    parent.set(.handle, for: 17)
    parent.call(.fork)
    parent.call(.kill, 3, 19)
    let untraced = 2
    let continued = 8
    #expect(parent.wait(options: untraced).map(\.status) == .success(19 << 8 | 0x7F))
    #expect(parent.takeSignal() == MockSignal(number: 17, code: 5, sender: 3, value: 19))
    parent.call(.kill, 3, 18)
    #expect(parent.wait(options: continued).map(\.status) == .success(0xFFFF))
    parent.call(.kill, 3, 15)
    #expect(parent.wait().map(\.status) == .success(15))
    #expect(parent.takeSignal()?.code == 6)
    #expect(parent.takeSignal() == MockSignal(number: 17, code: 2, sender: 3, value: 15))
    #expect(parent.wait().map(\.child) == .failure(.noChildProcess))
    #expect(parent.pod?.inconsistencies == [])
  }

  @Test("orphans become init's, and those that nobody waits for leave nothing")
  func orphans() {
    let kernel = MockKernel()
    let grandparent = kernel.boot()
    grandparent.call(.fork)
    let pod = grandparent.pod
    let parent = pod?.process(3)
    parent?.call(.fork)
    let child = pod?.process(4)
    parent?.exit()
    #expect(child?.call(.getppid) == .success(1))
    #expect(grandparent.wait().map(\.child) == .success(3))
    child?.exit()
    #expect(kernel.processes.count == 2)
    #expect(pod?.names.processes.space.count == 2)
    grandparent.set(.ignore, for: 17)
    grandparent.call(.fork)
    pod?.process(5)?.exit()
    #expect(pod?.names.processes.space.count == 2)
    #expect(pod?.inconsistencies == [])
  }

  @Test("a signal says who sent it, in the receiver's names; outside is 0")
  func senders() {
    let kernel = MockKernel()
    let process = kernel.boot()
    process.set(.handle, for: 10)
    process.call(.fork)
    process.pod?.process(3)?.call(.kill, 2, 10)
    #expect(process.takeSignal()?.sender == 3)
    let mask = process.allocate(8)
    let info = process.allocate(128)
    try? process.write(word: 1 << 9, to: mask)
    process.block(10)
    process.pod?.process(3)?.call(.tkill, 2, 10)
    #expect(
      process.call(.rt_sigtimedwait, Int(mask.rawValue), Int(info.rawValue), 0, 8) == .success(10))
    #expect((try? process.word(at: info.advanced(by: 16))) == 3)
    #expect(process.call(.rt_sigtimedwait, 0) == .failure(.badAddress))
  }

  @Test("what a signal descriptor delivers names the sender, also to a child that inherited it")
  func signalDescriptors() throws {
    let process = MockKernel().boot()
    let mask = process.allocate(8)
    let records = process.allocate(3 * 128)
    try process.write(word: 1 << 9 | 1 << 16, to: mask)
    process.block(10)
    process.block(17)
    let descriptor = try process.call(.signalfd4, -1, Int(mask.rawValue), 8, 0).get()
    process.call(.fork)
    process.pod?.process(3)?.call(.kill, 2, 10)
    process.pod?.process(3)?.call(.exit_group, 7)
    #expect(process.call(.read, descriptor, Int(records.rawValue), 3 * 128) == .success(256))
    func field(_ record: Int, _ offset: Int) -> UInt32? {
      try? process.word(at: records.advanced(by: record * 128 + offset))
    }
    #expect((field(0, 0), field(0, 12)) == (10, 3))
    // The child's status; the name is the zombie's.
    #expect((field(1, 0), field(1, 8), field(1, 40)) == (17, 1, 7))
    #expect(field(1, 12) == 3)
    #expect(process.call(.read, 9, Int(records.rawValue), 128) == .failure(.badFileDescriptor))
    #expect(
      process.call(.read, descriptor, Int(records.rawValue), 100) == .failure(.invalidArgument))

    process.call(.fork)
    let child = try #require(process.pod?.process(4))
    child.block(10)
    process.call(.kill, 4, 10)
    #expect(child.call(.read, descriptor, Int(records.rawValue), 128) == .success(128))
    #expect((try? child.word(at: records.advanced(by: 12))) == 2)
  }

  @Test("what is in one pod is unknown in another and outside")
  func isolation() {
    let kernel = MockKernel()
    let first = kernel.boot()
    let second = kernel.boot()
    first.call(.fork)
    #expect(second.call(.kill, 3, 9) == .failure(.noSuchProcess))
    #expect(first.pod?.process(3)?.isRunning == true)
    let outside = kernel.spawnOutside()
    let number = Int(first.physical.rawValue)
    #expect(outside.call(.kill, number, 9) == .failure(.noSuchProcess))
    #expect(first.isRunning)
  }

  @Test("programs run on threads, and waits block")
  func threads() {
    let parent = MockKernel().boot()
    #expect(parent.fork { $0.exit(5) } == .success(3))
    #expect(parent.wait().map(\.status) == .success(5 << 8))
    #expect(parent.fork { _ = $0.call(.pause) } == .success(4))
    parent.call(.kill, 4, 15)
    #expect(parent.wait().map(\.status) == .success(15))
  }
}
