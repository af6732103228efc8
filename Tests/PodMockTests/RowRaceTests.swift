internal import PodCore
internal import PodMock
internal import SystemPackage
internal import Testing

/// Races on calls whose mechanism is another than a name in a register: descriptors of processes, all of a user's
/// processes, and orphans that the kernel gives to a subreaper.
@Suite struct RowRaceTests {
  @Test("a signal by descriptor doesn't hit who got the number meanwhile, in another pod")
  func handleAcrossPods() {
    expectProtected(
      "signal by descriptor", numbers: 100...104,
      removing: [[.step(.hold, of: .pidfd_send_signal)]]
    ) { world in
      let pod = world.makePod()
      let other = world.makePod()
      let target = pod.boot()
      let killer = pod.boot()
      let maker = other.boot()
      guard let handle = killer.receive(handleOf: target) else { return }
      world.run("killer", killer) {
        world.note("kill", $0.call(.pidfd_send_signal, handle, 15, 0, 0))
      }
      world.run("target", target) { $0.exit() }
      world.run("maker", maker) { $0.fork(as: "victim") { _ in } }
      world.always("nobody in the other pod is hit") {
        world.kernel.processes.allSatisfy { $0.pod != other.names.pod || !$0.isZombie }
      }
      world.finally("the signal was sent, or the target is gone") {
        [0, -3].contains(world.noted("kill"))
      }
      world.finallyConsistent(pod)
      world.finallyConsistent(other)
    }
  }

  @Test("nor in the same pod, between the look at the descriptor and the hold")
  func handleInPod() {
    expectProtected(
      "signal by descriptor in a pod", numbers: 100...103,
      removing: [[.step(.lookUp, of: .pidfd_send_signal)]]
    ) { world in
      let pod = world.makePod()
      let target = pod.boot()
      let killer = pod.boot()
      let maker = pod.boot()
      guard let handle = killer.receive(handleOf: target) else { return }
      let initial = pod.names.processes.physicalInit
      world.run("killer", killer) {
        world.note("kill", $0.call(.pidfd_send_signal, handle, 15, 0, 0))
      }
      world.run("target", target) { $0.exit() }
      world.run("maker", maker) { $0.fork(as: "victim") { _ in } }
      world.always("only the target is hit") {
        world.kernel.processes.allSatisfy { !$0.isZombie || $0.parent == initial }
      }
      world.finallyConsistent(pod)
    }
  }

  @Test("a description by descriptor doesn't show as parent who got the parent's number meanwhile")
  func description() {
    expectProtected(
      "description by descriptor", numbers: 100...104, removing: [[.step(.hold, of: .ioctl)]]
    ) { world in
      let pod = world.makePod()
      let parent = pod.boot()
      parent.call(.fork)
      guard let child = pod.process(3) else { return }
      // Or its group would keep the parent's number.
      child.call(.setsid)
      let watcher = pod.boot()
      let other = pod.boot()
      guard let handle = watcher.receive(handleOf: child) else { return }
      let info = watcher.allocate(64)
      try? watcher.write(word: 1, to: info)
      world.run("watcher", watcher) { watcher in
        guard
          case .success = watcher.call(
            .ioctl, handle, 3 << 30 | 64 << 16 | 0xFF0B, Int(info.rawValue))
        else { return }
        world.note("child", Int((try? watcher.word(at: info.advanced(by: 16))) ?? 0))
        world.note("parent", Int((try? watcher.word(at: info.advanced(by: 24))) ?? 0))
      }
      world.run("parent", parent) { $0.exit() }
      world.run("other", other) { $0.fork(as: "next") { _ in } }
      world.finally("it is the child that is shown") { world.noted("child") == 3 }
      world.always("with its parent or init") { [nil, 1, 2].contains(world.noted("parent")) }
      world.finallyConsistent(pod)
    }
  }

  @Test("a user's priority isn't that of who got a process's number meanwhile, outside")
  func usersProcesses() {
    expectProtected(
      "priority of a user", numbers: 100...103, removing: [[.step(.hold, of: .setpriority)]]
    ) { world in
      let pod = world.makePod()
      let target = pod.boot()
      let caller = pod.boot()
      let outside = world.kernel.spawnOutside()
      world.run("caller", caller) { world.note("set", $0.call(.setpriority, 2, 0, 7)) }
      world.run("target", target) { $0.exit() }
      world.run("outside", outside) { $0.fork(as: "victim") { _ in } }
      world.always("nobody outside has it") {
        world.kernel.processes.allSatisfy { $0.pod != nil || $0.nice == 0 }
      }
      world.finally("the caller has") {
        world.noted("set") == 0 && caller.status?.nice == 7
      }
      world.finallyConsistent(pod)
    }
  }

  @Test("an orphan has the parent that the kernel gave it, whenever that became a subreaper")
  func becomesSubreaper() {
    expectProtected(
      "becoming a subreaper", removing: [[.step(.publish, on: .event)]]
    ) { world in
      let pod = world.makePod()
      let reaper = pod.boot()
      reaper.call(.fork)
      pod.process(3)?.call(.fork)
      guard let parent = pod.process(3), let orphan = pod.process(4) else { return }
      world.run("reaper", reaper) { $0.call(.prctl, 36, 1) }
      world.run("parent", parent) { $0.exit() }
      world.run("orphan", orphan) { world.note("parent", $0.call(.getppid)) }
      world.always("its parent is one of the three") {
        [nil, 1, 2, 3].contains(world.noted("parent"))
      }
      world.finallyConsistent(pod)
    }
  }

  @Test("an orphan of nested subreapers that end has the parent that the kernel gave it")
  func nestedSubreapers() {
    expectProtected(
      "nested subreapers", removing: [[.step(.publish, on: .event)]]
    ) { world in
      let pod = world.makePod()
      let outer = pod.boot()
      outer.call(.prctl, 36, 1)
      outer.call(.fork)
      guard let inner = pod.process(3) else { return }
      inner.call(.prctl, 36, 1)
      inner.call(.fork)
      guard let parent = pod.process(4) else { return }
      parent.call(.fork)
      world.run("inner", inner) { $0.exit() }
      world.run("parent", parent) { $0.exit() }
      world.finally("it is the outer one's") {
        (try? pod.names.processes.task(VirtualName(rawValue: 5)))?.parent.rawValue == 2
      }
      world.finallyConsistent(pod)
    }
  }
}

/// Calls of the process subsystem that the simulated kernel knows.
@Suite struct RowBehaviourTests {
  @Test("a child is told of its parent's end by the parent's name")
  func parentDeath() {
    let parent = MockKernel().boot()
    parent.call(.fork)
    let pod = parent.pod
    pod?.process(3)?.call(.fork)
    let child = pod?.process(4)
    child?.set(.handle, for: 10)
    #expect(child?.call(.prctl, 1, 10) == .success(0))
    pod?.process(3)?.exit()
    #expect(child?.takeSignal() == MockSignal(number: 10, sender: 3))
    #expect(child?.call(.getppid) == .success(1))
  }

  @Test("orphans go to the nearest living subreaper, and to init when it has given that up")
  func subreapers() {
    let parent = MockKernel().boot()
    let pod = parent.pod
    func orphan() -> MockProcess? {
      guard case .success(let maker) = parent.call(.fork) else { return nil }
      guard case .success(let child)? = pod?.process(Int32(maker))?.call(.fork) else { return nil }
      pod?.process(Int32(maker))?.exit()
      #expect(parent.wait(for: maker).map(\.child) == .success(maker))
      return pod?.process(Int32(child))
    }
    func parentInTable(_ process: MockProcess?) -> Int32? {
      process?.virtual.flatMap { try? pod?.names.processes.task($0) }?.parent.rawValue
    }
    parent.call(.prctl, 36, 1)
    let first = orphan()
    #expect(first?.call(.getppid) == .success(2))
    #expect(parentInTable(first) == 2)
    parent.call(.prctl, 36, 0)
    let second = orphan()
    #expect(second?.call(.getppid) == .success(1))
    #expect(parentInTable(second) == 1)
    // What the subreaper adopted it waits for.
    first?.exit(4)
    #expect(parent.wait().map(\.status) == .success(4 << 8))
    // A subreaper that ends leaves them to the next.
    parent.call(.prctl, 36, 1)
    let third = orphan()
    #expect(parentInTable(third) == 2)
    parent.exit()
    #expect(parentInTable(third) == 1)
    #expect(pod?.inconsistencies == [])
  }

  @Test("a user's priority is the best of the pod's, and is set for the pod's only")
  func usersPriority() {
    let kernel = MockKernel()
    let process = kernel.boot()
    let outside = kernel.spawnOutside()
    let other = kernel.boot()
    process.call(.fork)
    process.call(.fork)
    let pod = process.pod
    pod?.process(4)?.set(user: 7)
    outside.call(.setpriority, 0, 0, -5)
    #expect(process.call(.getpriority, 2, 0) == .success(20))
    process.call(.setpriority, 2, 0, 3)
    #expect(process.call(.getpriority, 0, 3) == .success(17))
    #expect(process.call(.getpriority, 0, 4) == .success(20))
    #expect(other.call(.getpriority, 0, 0) == .success(20))
    process.call(.setpriority, 0, 3, 9)
    #expect(process.call(.getpriority, 2, 0) == .success(17))
    #expect(process.call(.setpriority, 2, 7, 11) == .success(0))
    #expect(process.call(.getpriority, 2, 7) == .success(9))
    #expect(process.call(.getpriority, 2, 8) == .failure(.noSuchProcess))
  }

  @Test("a group of zombies, whose number is about to be another's, is changed in no way")
  func groupsOfZombies() {
    let parent = MockKernel().boot()
    parent.call(.fork)
    parent.call(.setpgid, 3, 3)
    #expect(parent.call(.setpriority, 1, 3, 5) == .failure(.invalidArgument))
    parent.pod?.process(3)?.exit()
    #expect(parent.call(.setpriority, 1, 3, 5) == .failure(.noSuchProcess))
    #expect(parent.call(.ioprio_set, 2, 3, 5) == .failure(.noSuchProcess))
    #expect(parent.call(.fcntl, 5, 8, -3) == .failure(.noSuchProcess))
    // A wait may name it, and it takes any signal.
    #expect(parent.call(.kill, -3, 15) == .success(0))
    #expect(parent.wait(for: -3).map(\.child) == .success(3))
  }

  @Test("a descriptor from outside gives nothing")
  func handlesFromOutside() throws {
    let kernel = MockKernel()
    let process = kernel.boot()
    let outside = kernel.spawnOutside()
    let other = kernel.boot()
    let info = Int(process.allocate(64).rawValue)
    let describe = 3 << 30 | 64 << 16 | 0xFF0B
    for stranger in [outside, other] {
      let handle = try #require(process.receive(handleOf: stranger))
      #expect(process.call(.pidfd_send_signal, handle, 9, 0, 0) == .failure(.notPermitted))
      #expect(process.call(.ioctl, handle, describe, info) == .failure(.noSuchProcess))
      #expect(process.call(.pidfd_getfd, handle, 0, 0) == .failure(.notPermitted))
      #expect(process.call(.process_madvise, handle, 0, 0, 20) == .failure(.notPermitted))
      #expect(process.call(.process_mrelease, handle, 0) == .failure(.notPermitted))
      #expect(process.call(.ioctl, handle, 0xFF05, 0) == .failure(.noSuchProcess))
      #expect(stranger.isRunning)
    }
    process.call(.fork)
    guard case .success(let handle) = process.call(.pidfd_open, 3) else {
      Issue.record("a child can't be opened")
      return
    }
    #expect(process.call(.ioctl, handle, describe, info) == .success(0))
    let words = try [16, 20, 24].map {
      try process.word(at: RemoteAddress(rawValue: UInt64(info + $0)))
    }
    #expect(words == [3, 3, 2])
    #expect(process.call(.pidfd_send_signal, handle, 9, 0, 0) == .success(0))
    #expect(process.wait().map(\.status) == .success(9))
    #expect(process.call(.pidfd_send_signal, handle, 9, 0, 0) == .failure(.noSuchProcess))
    #expect(process.call(.ioctl, handle, describe, info) == .failure(.noSuchProcess))
  }

  @Test("what a signal says of its sender arrives as it was sent, a name in the receiver's names")
  func payloads() throws {
    let kernel = MockKernel()
    let process = kernel.boot()
    process.set(.handle, for: 10)
    process.call(.fork)
    let info = process.allocate(128)
    let physical = Int32(process.physical.rawValue)
    for (code, sender): (Int32, Int32) in [
      (-1, 2), (-1, 3), (-1, 77), (-1, physical), (-1, 0), (-1, -5), (-3, 3), (-2, 3), (-60, 3),
      (-60, physical), (0, 3), (-6, 2),
    ] {
      try process.write(word: UInt32(bitPattern: code), to: info.advanced(by: 8))
      try process.write(word: UInt32(bitPattern: sender), to: info.advanced(by: 16))
      #expect(process.call(.rt_sigqueueinfo, 2, 10, Int(info.rawValue)) == .success(0))
      #expect(process.takeSignal() == MockSignal(number: 10, code: code, sender: sender))
    }
  }
}
