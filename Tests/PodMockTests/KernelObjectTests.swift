internal import PodCore
internal import PodMock
internal import Synchronization
internal import SystemPackage
internal import Testing

/// System V objects that are the simulated kernel's: who made and used them is told by the pod's numbers.
@Suite("Objects of the kernel's") struct KernelObjectTests {
  /// The kernel's part: what it shows of every object.
  private final class Objects: Sendable {
    let processes = Mutex<(first: Int32, second: Int32)>((0, 0))

    func handle(_ call: inout MockKernel.Call) -> CallResult? {
      let (first, second) = processes.withLock { $0 }
      let offset: Int
      switch (call.call, call.arguments.int(call.call == .semctl ? 2 : 1)) {
      case (.shmctl, 2), (.shmctl, 13), (.shmctl, 15): offset = 80
      case (.msgctl, 2), (.msgctl, 11), (.msgctl, 13): offset = 96
      case (.semctl, 11): return .success(Int(first))
      case (.shmctl, _), (.msgctl, _), (.semctl, _): return .success(4711)
      default: return nil
      }
      let record = RemoteAddress(rawValue: call.arguments[2])
      do {
        try call.write(word: UInt32(bitPattern: first), to: record.advanced(by: offset))
        try call.write(word: UInt32(bitPattern: second), to: record.advanced(by: offset + 4))
      } catch {
        return .failure(.badAddress)
      }
      return .success(9)
    }
  }

  private struct World {
    let objects: Objects
    let pod: MockPod
    let caller: MockProcess
    let outside: MockProcess

    init() throws {
      let objects = Objects()
      self.objects = objects
      let kernel = MockKernel(numbers: 1000...1999, handler: { objects.handle(&$0) })
      pod = kernel.makePod(names: 1...97, boundary: .kernelObjects)
      caller = pod.boot()
      try #require(caller.call(.fork) == .success(3))
      outside = kernel.spawnOutside()
    }

    /// What the caller sees of two processes that the kernel shows.
    func shown(
      _ call: Syscall, _ command: Int, _ first: Int32, _ second: Int32
    ) throws -> [Int32] {
      objects.processes.withLock { $0 = (first, second) }
      let record = caller.allocate(128)
      defer { caller.release(record) }
      #expect(caller.call(call, 0, command, Int(record.rawValue)) == .success(9))
      let bytes = try caller.bytes(at: record.advanced(by: call == .shmctl ? 80 : 96), 8)
      return bytes.withUnsafeBytes { Array($0.bindMemory(to: Int32.self)) }
    }
  }

  @Test(
    "records name processes of the pod by their names, and strangers 0",
    arguments: [
      (.shmctl, [2, 13, 15]), (.msgctl, [2, 11, 13]),
    ] as [(Syscall, [Int])])
  func records(call: Syscall, commands: [Int]) throws {
    let world = try World()
    let child = try #require(world.pod.process(3))
    let (own, other) = (
      world.caller.physicalThread.rawValue, child.physicalThread.rawValue
    )
    for command in commands {
      #expect(try world.shown(call, command, own, other) == [2, 3])
      #expect(try world.shown(call, command, 0, own) == [0, 2])
      #expect(
        try world.shown(call, command, world.outside.physicalThread.rawValue, 1999) == [0, 0])
    }
    // Nothing else is looked at, and a bad address is the kernel's to refuse.
    #expect(world.caller.call(call, 0, 0, 0) == .success(4711))
    #expect(world.caller.call(call, 0, commands[0], 8) == .failure(.badAddress))
    // Who has ended is still known for a while.
    _ = child.call(.exit_group, 0)
    #expect(world.caller.call(.wait4, 3, 0, 0, 0) == .success(3))
    #expect(try world.shown(call, commands[0], other, own) == [3, 2])
  }

  @Test("who operated on a semaphore last is a name of the pod's")
  func lastOperation() throws {
    let world = try World()
    func last(_ physical: Int32) -> CallResult {
      world.objects.processes.withLock { $0 = (physical, 0) }
      return world.caller.call(.semctl, 0, 0, 11)
    }
    #expect(last(world.caller.physicalThread.rawValue) == .success(2))
    #expect(last(0) == .success(0))
    #expect(last(world.outside.physicalThread.rawValue) == .success(0))
    // The number of a semaphore is no command.
    #expect(world.caller.call(.semctl, 0, 11, 12) == .success(4711))
  }
}
