import PodCore
import PodMock
import SystemPackage
import Testing

/// Shared memory of pods, on the simulated kernel.
@Suite("System V shared memory")
struct SharedMemoryTests {
  private static let create = 0o1600
  private static let exclusive = 0o2000
  private static let remove = 0
  private static let set = 1
  private static let status = 2
  private static let removedMark: UInt32 = 0o1000

  private let kernel = MockKernel(numbers: 1000...1999)

  /// A segment's record.
  private struct Record {
    let bytes: [UInt8]
    private func number(_ offset: Int, _ count: Int) -> UInt64 {
      bytes[offset..<offset + count].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
    var key: UInt64 { number(0, 4) }
    var user: UInt64 { number(4, 4) }
    var mode: UInt64 { number(20, 4) }
    var size: UInt64 { number(48, 8) }
    var attached: UInt64 { number(56, 8) }
    var detached: UInt64 { number(64, 8) }
    var changed: UInt64 { number(72, 8) }
    var creator: UInt64 { number(80, 4) }
    var last: UInt64 { number(84, 4) }
    var count: UInt64 { number(88, 8) }
  }

  private func record(_ process: MockProcess, _ id: Int) throws -> Record {
    let address = process.allocate(112)
    defer { process.release(address) }
    try #require(process.call(.shmctl, id, Self.status, Int(address.rawValue)) == .success(0))
    return Record(bytes: try process.bytes(at: address, 112))
  }

  private func attach(_ process: MockProcess, _ id: Int) throws -> RemoteAddress {
    RemoteAddress(rawValue: UInt64(try process.call(.shmat, id).get()))
  }

  private func detach(_ process: MockProcess, _ address: RemoteAddress) -> CallResult {
    process.call(.shmdt, Int(address.rawValue))
  }

  @Test("two pods have different segments behind one key and one id, and the kernel has none")
  func pods() throws {
    let (first, second) = (kernel.makePod(names: 1...97), kernel.makePod(names: 1...97))
    let (one, other) = (first.boot(), second.boot())
    let id = try one.call(.shmget, 0x1234, 100, Self.create).get()
    #expect(other.call(.shmget, 0x1234, 0, 0) == .failure(.noSuchFileOrDirectory))
    #expect(other.call(.shmat, id) == .failure(.invalidArgument))
    #expect(other.call(.shmget, 0x1234, 100, Self.create) == .success(id))
    let (here, there) = (try attach(one, id), try attach(other, id))
    try one.write(word: 7, to: here)
    #expect(try other.word(at: there) == 0)
    #expect(other.call(.shmctl, id, Self.remove) == .success(0))
    #expect(try record(one, id).mode == 0o600)
    #expect(try one.word(at: here) == 7)
    first.end()
    second.end()
    #expect(first.names.segments.count == 1)
    first.names.segments.removeAll()
    #expect(first.names.segments.count == 0)
  }

  @Test("a record has the pod's names, and the last one of who attached or detached")
  func names() throws {
    let pod = kernel.makePod(names: 1...97)
    let process = pod.boot()
    let id = try process.call(.shmget, 0, 5000, Self.create).get()
    let own = UInt64(try process.call(.getpid).get())
    var found = try record(process, id)
    #expect(found.creator == own && found.last == 0 && found.count == 0 && found.size == 5000)
    #expect(found.attached == 0 && found.detached == 0 && found.changed > 0)
    let address = try attach(process, id)
    found = try record(process, id)
    #expect(found.last == own && found.count == 1 && found.attached > 0 && found.detached == 0)
    let outcome = process.call(.fork)
    let child = try #require(
      pod.process(VirtualName(rawValue: Int32(try outcome.get()))))
    #expect(try record(process, id).count == 2)
    #expect(detach(child, address) == .success(0))
    #expect(detach(child, address) == .failure(.invalidArgument))
    found = try record(process, id)
    let name = UInt64(try outcome.get())
    #expect(found.count == 1 && found.last == name && found.detached > 0)
    pod.end()
  }

  @Test("a removed segment's id ends with its last attachment, however that ends")
  func removal() throws {
    let pod = kernel.makePod(names: 1...97)
    let process = pod.boot()
    for isKilled in [false, true] {
      let id = try process.call(.shmget, 0x77, 10, Self.create).get()
      let address = try attach(process, id)
      let child = try #require(
        pod.process(VirtualName(rawValue: Int32(try process.call(.fork).get()))))
      #expect(process.call(.shmctl, id, Self.remove) == .success(0))
      #expect(process.call(.shmget, 0x77, 0, 0) == .failure(.noSuchFileOrDirectory))
      #expect(try record(process, id).mode == 0o1600)
      #expect(try record(process, id).key == 0)
      // It can still be attached.
      let again = try attach(process, id)
      #expect(detach(process, again) == .success(0))
      #expect(detach(process, address) == .success(0))
      #expect(try record(process, id).count == 1)
      #expect(pod.names.segments.count == 1)
      if isKilled {
        _ = child.call(.exit_group, 0)
        _ = process.call(.wait4, -1, 0, 0, 0)
      } else {
        #expect(detach(child, address) == .success(0))
      }
      #expect(pod.names.segments.count == 0)
      #expect(process.call(.shmat, id) == .failure(.invalidArgument))
    }
    pod.end()
  }

  @Test("sizes, flags and ids that nobody has give the kernel's errors")
  func badInput() throws {
    let pod = kernel.makePod(names: 1...97)
    let process = pod.boot()
    #expect(process.call(.shmget, 1, 0, Self.create) == .failure(.invalidArgument))
    #expect(process.call(.shmget, 1, -1, Self.create) == .failure(.invalidArgument))
    #expect(process.call(.shmget, 1, .max, Self.create) == .failure(.noMemory))
    let id = try process.call(.shmget, 1, 10, Self.create).get()
    #expect(process.call(.shmget, 1, 11, 0) == .failure(.invalidArgument))
    #expect(
      process.call(.shmget, 1, 11, Self.create | Self.exclusive) == .failure(.fileExists))
    for hostile in [-1, Int(Int32.min), Int(Int32.max), id + 1, id + 32_768 * 2] {
      #expect(process.call(.shmat, hostile) != .success(0))
      #expect(process.call(.shmctl, hostile, Self.remove) != .success(0))
    }
    #expect(process.call(.shmat, id, 0x1001) == .failure(.invalidArgument))
    #expect(process.call(.shmat, id, 0, 0o40000) == .failure(.invalidArgument))
    #expect(process.call(.shmat, id, -4096) == .failure(.noMemory))
    #expect(process.call(.shmdt, 0x1001) == .failure(.invalidArgument))
    #expect(process.call(.shmdt, 0) == .failure(.invalidArgument))
    #expect(process.call(.shmctl, id, Self.status, 0) == .failure(.badAddress))
    #expect(process.call(.shmctl, id, Self.set, 0) == .failure(.badAddress))
    #expect(process.call(.shmctl, id, 4711) == .failure(.invalidArgument))
    #expect(try record(process, id).size == 10)
    pod.end()
  }

  @Test("there are as many segments as the kernel's default says, and then no space")
  func full() throws {
    let pod = kernel.makePod(names: 1...97)
    let process = pod.boot()
    for _ in 0..<SystemVLimits().segments {
      _ = try process.call(.shmget, 0, 1, Self.create).get()
    }
    #expect(process.call(.shmget, 0, 1, Self.create) == .failure(.noSpace))
    #expect(process.call(.shmctl, 5, Self.remove) == .success(0))
    let again = try process.call(.shmget, 0, 1, Self.create).get()
    #expect(again > 0)
    pod.end()
  }

  @Test("the id of a removed segment that somebody is about to attach doesn't end meanwhile")
  func attachUnderWay() {
    let scenario = { (world: ScheduledWorld) in
      let pod = world.makePod()
      let (owner, other) = (pod.boot(), pod.boot())
      owner.call(.shmget, 0, 10, Self.create)
      let address = (try? owner.call(.shmat, 0).get()) ?? 0
      owner.call(.shmctl, 0, Self.remove)
      world.run("owner", owner) { world.note("detached", $0.call(.shmdt, address)) }
      world.run("other", other) { process in
        let attached = process.call(.shmat, 0)
        world.note("attached", attached.map { _ in 1 })
        if case .success(let address) = attached {
          world.note("again", process.call(.shmdt, address))
        }
      }
      world.finally("the owner has detached it") { world.noted("detached") == 0 }
      world.finally("it is attached and detached, or not there") {
        world.noted("attached") == 1 ? world.noted("again") == 0 : world.noted("attached") == -22
      }
      world.finally("nothing is left") { pod.names.segments.count == 0 }
    }
    let whole = ScheduleExplorer(reduces: false).explore(scenario)
    #expect(whole.violation == nil && whole.isComplete, "\(whole.violation?.description ?? "")")
    let less = ScheduleExplorer(removing: [.step(.hold, of: .shmat)], reduces: false)
      .explore(scenario)
    #expect(less.violation != nil, "an id that isn't held isn't noticed")
  }
}
