internal import CPodLayout
internal import PodCore
internal import PodMock
internal import Synchronization
internal import SystemPackage
internal import Testing

/// Who the caller is, as the page says and as the Swift wrappers say.
@Suite("Identity calls in the page") struct IdentityTests {
  /// A caller (2) with a thread and a child (3), whose child is 4; the kernel's numbers are none that the pod can give out.
  private struct World {
    let pod: MockPod
    let caller: MockProcess
    let thread: Int32

    init() throws {
      pod = MockKernel(numbers: 1000...1999).makePod(names: 1...97)
      caller = pod.boot()
      try #require(caller.call(.fork) == .success(3))
      try #require(pod.process(3)?.call(.fork) == .success(4))
      try #require(pod.process(3)?.call(.setpgid, 0, 0) == .success(0))
      try #require(pod.process(4)?.call(.setsid) == .success(4))
      thread = Int32(try caller.startThread { _ = $0.call(.pause) }.get())
    }

    func process(_ name: Int32) throws -> MockProcess { try #require(pod.process(name)) }
  }

  private static let calls: [Syscall] = [
    .getpid, .gettid, .getppid, .getpgrp, .getpgid, .getsid,
  ]

  @Test("the page answers as the wrappers do", arguments: calls)
  func agree(call: Syscall) throws {
    let world = try World()
    defer { world.pod.end() }
    let physical = try world.process(3).physical.rawValue
    for name in [2, 3, 4, world.thread] {
      let process = try world.process(name)
      let model = ModelProcess(process, of: world.pod)
      for argument in [0, 1, 2, 3, 4, 98, -1, -3, Int(physical), Int(world.thread), .min] {
        let expected = process.call(call, argument)
        #expect(
          model.call(call, argument) == expected, "\(call) of \(argument) by \(name)")
      }
    }
  }

  @Test("names that the pod has need no supervisor, and the process no look-up but its first")
  func alone() throws {
    let world = try World()
    defer { world.pod.end() }
    let model = ModelProcess(try world.process(3), of: world.pod)
    #expect(model.call(.getpid) == .success(3))
    #expect(model.asked.map(\.call) == [.getpid])
    model.forget()
    #expect(model.call(.getpid) == .success(3))
    #expect(model.call(.getpgrp) == .success(3))
    #expect(model.call(.getpgid, 4) == .success(4))
    #expect(model.call(.getpgid, 1) == .success(1))
    #expect(model.call(.getpgid, Int(world.thread)) == .success(2))
    #expect(model.call(.getsid, 0) == .success(2))
    #expect(model.call(.getsid, 4) == .success(4))
    #expect(model.asked == [])
    #expect(model.call(.getppid) == .success(2))
    #expect(model.call(.gettid) == .success(3))
    #expect(model.asked.map(\.call) == [.getppid, .gettid])
  }

  @Test("what the table doesn't have is asked for")
  func unknown() throws {
    let world = try World()
    defer { world.pod.end() }
    let child = try world.process(3)
    let model = ModelProcess(child, of: world.pod)
    #expect(model.call(.getpgid, 98) == .failure(.noSuchProcess))
    #expect(model.hasAskedSupervisor)
    // A zombie's group, which only the supervisor knows to be one.
    model.forget()
    try world.process(4).exit()
    #expect(model.call(.getpgid, 4) == .success(4))
    #expect(model.hasAskedSupervisor)
  }

  @Test("the parent is the kernel's, whatever the table says yet")
  func parent() throws {
    let world = try World()
    defer { world.pod.end() }
    let initial = Int(world.pod.names.processes.physicalInit.rawValue)
    let model = ModelProcess(try world.process(4), of: world.pod)
    #expect(model.call(.getppid) == .success(3))
    let kernel = model.kernel
    model.kernel = { call, arguments in
      call == .getppid ? initial : kernel(call, arguments)
    }
    #expect(model.call(.getppid) == .success(1))
    #expect(!model.hasAskedSupervisor)
  }

  @Test("a task that nobody has named is named by its first call")
  func pending() throws {
    let pod = MockKernel(numbers: 1000...1999).makePod(names: 1...97)
    defer { pod.end() }
    let table = pod.names.processes.space.memory.start
    let caller = pod.boot()
    let physical = caller.physical.rawValue
    let model = ModelProcess(table: table, rules: BoundaryTable.standard.pageRules())
    model.kernel = { call, arguments in
      call == .getpid && arguments[0] == 0 ? Int(physical) + 1 : 77
    }
    #expect(model.call(.getpid) == .success(77))
    #expect(model.hasAskedSupervisor)
    #expect(Int32(truncatingIfNeeded: model.cache.process) == 0)
    model.kernel = { _, _ in Int(physical) }
    #expect(model.call(.getpid) == .success(2))
    #expect(Int32(truncatingIfNeeded: model.cache.process) == 2)
  }

  @Test("a thread isn't one that had its number in another process", arguments: [true, false])
  func usedNumber(isChecked: Bool) throws {
    let world = try World()
    defer { world.pod.end() }
    // Its own end isn't in the table yet, and the child has a thread with its number.
    let number = Int(try world.process(world.thread).physicalThread.rawValue)
    let model = ModelProcess(try world.process(3), of: world.pod)
    let kernel = model.kernel
    model.kernel = { call, arguments in call == .gettid ? number : kernel(call, arguments) }
    model.step = { step, _ in step != .check || isChecked }
    let seen = model.call(.gettid)
    #expect(model.hasAskedSupervisor == isChecked)
    #expect((seen == .success(Int(world.thread))) == !isChecked)
  }

  @Test("who shares its maker's memory is itself, and its maker remains so")
  func sharers() throws {
    let world = try World()
    defer { world.pod.end() }
    let (maker, child) = (try world.process(2), try world.process(3))
    let model = ModelProcess(maker, of: world.pod)
    #expect(model.call(.getpid) == .success(2))
    model.cache.sharers = 1
    model.serve(child)
    #expect(model.call(.getpid) == .success(3))
    #expect(model.call(.getpgrp) == .success(3))
    #expect(model.call(.gettid) == .success(3))
    #expect(model.call(.getppid) == .success(2))
    model.serve(maker)
    #expect(model.call(.getpid) == .success(2))
    model.cache.sharers = 0
    model.forget()
    #expect(model.call(.getpid) == .success(2))
    #expect(model.asked == [])
    // Nobody had looked before.
    model.cache = pod_page_cache()
    model.cache.sharers = 1
    model.serve(child)
    #expect(model.call(.getpid) == .success(3))
    #expect(model.cache.process == 0)
  }

  @Test("a fork in the handler of a signal that cuts off the look-up", arguments: [true, false])
  func forkInLookUp(isChecked: Bool) throws {
    let world = try World()
    defer { world.pod.end() }
    let (maker, child) = (try world.process(2), try world.process(3))
    let model = ModelProcess(maker, of: world.pod)
    let hasForked = Mutex(false)
    model.step = { step, _ in
      // From here on it is the child that goes on, in memory of its own.
      if step == .virtualize, !hasForked.withLock({ $0 }) {
        hasForked.withLock { $0 = true }
        model.cache = pod_page_cache()
        model.serve(child)
      }
      return step != .check || isChecked
    }
    let first = model.call(.getpid)
    model.step = { _, _ in true }
    #expect((first == .success(3)) == isChecked)
    #expect((model.call(.getpid) == .success(3)) == isChecked)
  }

  @Test("a fork in the handler, whose child looks itself up there", arguments: [true, false])
  func lookUpInHandler(isChecked: Bool) throws {
    let world = try World()
    defer { world.pod.end() }
    let (maker, child) = (try world.process(2), try world.process(3))
    let model = ModelProcess(maker, of: world.pod)
    let hasForked = Mutex(false)
    model.step = { step, _ in
      if step == .virtualize, !hasForked.withLock({ $0 }) {
        hasForked.withLock { $0 = true }
        model.cache = pod_page_cache()
        model.serve(child)
        #expect(model.call(.getpid) == .success(3))
      }
      return step != .check || isChecked
    }
    #expect((model.call(.getpid) == .success(3)) == isChecked)
    #expect((Int32(truncatingIfNeeded: model.cache.process) == 3) == isChecked)
  }

  @Test("a handler that looks itself up in the middle of a look-up")
  func nested() throws {
    let world = try World()
    defer { world.pod.end() }
    for interrupted in [PageStep.claim, .virtualize, .check] {
      let model = ModelProcess(try world.process(3), of: world.pod)
      let isInHandler = Mutex(false)
      model.step = { step, _ in
        if step == interrupted, !isInHandler.withLock({ $0 }) {
          isInHandler.withLock { $0 = true }
          #expect(model.call(.getpid) == .success(3))
        }
        return true
      }
      #expect(model.call(.getpid) == .success(3))
      #expect(Int32(truncatingIfNeeded: model.cache.process) == 3)
    }
  }

  @Test("a call that a signal cut off before the supervisor had it is made again")
  func unbroken() throws {
    let world = try World()
    defer { world.pod.end() }
    let model = ModelProcess(
      table: world.pod.names.processes.space.memory.start,
      rules: BoundaryTable.standard.pageRules())
    model.kernel = { call, arguments in
      guard call != .getpid || arguments[0] != 0 else { return 1000 }
      return model.asked.count < 5 ? -4 : -3
    }
    #expect(model.call(.getpgid, 98) == .failure(.noSuchProcess))
    #expect(model.asked.count == 5)
    // So are those that the page has no way of its own for, unless the signal may be what ends them.
    model.forget()
    #expect(model.call(.setpgid, 3, 98) == .failure(.noSuchProcess))
    model.forget()
    #expect(model.call(.futex, 98) == .failure(.interrupted))
  }
}
