internal import CPodLayout
internal import PodCore
internal import PodMock
internal import SystemPackage
internal import Testing

/// The page's steps among those of others: names that are retired, and numbers that go to somebody else, between its look-up
/// and its call.
@Suite("The page among others") struct PageRaceTests {
  /// A process that makes one call through the page, each step of which may wait. It knows itself already.
  private func run(
    _ name: String, _ process: MockProcess, of pod: MockPod, _ world: ScheduledWorld,
    boundary: BoundaryTable = .standard, _ call: Syscall, _ argument: Int = 0, _ second: Int = 0
  ) {
    let model = ModelProcess(process, of: pod, boundary: boundary)
    _ = model.call(.getpid)
    model.yield(in: process, for: call)
    world.run(name, process) { _ in world.note(name, model.call(call, argument, second)) }
  }

  @Test("a parent that ends doesn't make who got its number the parent")
  func parent() {
    expectProtected(
      "parent in the page", numbers: 100...103, removing: [[.step(.retry, of: .getppid)]]
    ) { world in
      let pod = world.makePod()
      let parent = pod.boot()
      parent.call(.fork)
      guard let child = pod.process(3) else { return }
      // Or its group would keep the parent's number.
      child.call(.setsid)
      let other = pod.boot()
      run("child", child, of: pod, world, .getppid)
      world.run("parent", parent) { $0.exit() }
      world.run("other", other) { $0.fork(as: "next") { _ in } }
      world.always("its parent is who made it, or init") {
        [nil, 1, 2].contains(world.noted("child"))
      }
      world.finally("it has one") { world.noted("child") != nil }
      world.finallyConsistent(pod)
    }
  }

  @Test("an answer of the kernel's doesn't name who got the number meanwhile")
  func answer() {
    // A row like those of terminals, for a call that the simulated kernel knows.
    let boundary = BoundaryTable(
      rows: BoundaryTable.standard.rows.map { row in
        row.call == .getppid
          ? .translated(.getppid, out: row.outputs, performed: .inCaller, reaching: .caller) : row
      })
    expectProtected(
      "an answer in the page", numbers: 100...103, removing: [[.step(.retry, of: .getppid)]]
    ) { world in
      let pod = world.makePod()
      let parent = pod.boot()
      parent.call(.fork)
      guard let child = pod.process(3) else { return }
      child.call(.setsid)
      let other = pod.boot()
      run("child", child, of: pod, world, boundary: boundary, .getppid)
      world.run("parent", parent) { $0.exit() }
      world.run("other", other) { $0.fork(as: "next") { _ in } }
      world.always("its parent is who made it, or init") {
        [nil, 1, 2].contains(world.noted("child"))
      }
      world.finallyConsistent(pod)
    }
  }

  @Test("a group is the caller's own at some time of the call")
  func group() {
    expectProtected("group in the page", removing: []) { world in
      let pod = world.makePod()
      let parent = pod.boot()
      parent.call(.fork)
      guard let child = pod.process(3) else { return }
      run("child", child, of: pod, world, .getpgrp)
      world.run("parent", parent) { parent in
        world.note("moved", parent.call(.setpgid, 3, 3))
        world.note("seen", parent.call(.getpgid, 3))
      }
      world.finally("it is the old or the new one") { [2, 3].contains(world.noted("child")) }
      world.finally("its parent sees the new one") { world.noted("seen") == 3 }
      world.finallyConsistent(pod)
    }
  }

  /// Somebody is to be killed who ends by himself, and whose number goes to another process at once.
  ///
  /// - Parameter target: What the sender names, the first program being 2 and the leader of its group.
  private func sending(to target: Int) -> (ScheduledWorld) -> Void {
    { world in
      let pod = world.makePod()
      let ending = pod.boot(as: .groupLeader)
      let sender = pod.boot(as: .groupLeader)
      let maker = pod.boot(as: .groupLeader)
      run("sender", sender, of: pod, world, .kill, target, 9)
      world.run("target", ending) { $0.exit() }
      world.run("maker", maker) { maker in
        world.note(
          "victim",
          maker.fork(as: "victim") { victim in
            if target < 0 { victim.call(.setpgid, 0, 0) }
          })
      }
      world.finally("nobody else is hit") {
        guard let victim = world.noted("victim"), victim > 0 else { return true }
        let name = VirtualName<ProcessID>(rawValue: Int32(victim))
        return (try? pod.names.processes.task(name)) != nil
      }
      world.finally("it was sent, or there is nobody") {
        [0, -3].contains(world.noted("sender"))
      }
      world.finallyConsistent(pod)
    }
  }

  @Test("a signal doesn't hit who got the number between the look-up and the call")
  func signal() {
    expectProtected(
      "a signal from the page", numbers: 100...103, removing: [[.step(.retry, of: .kill)]],
      sending(to: 2))
  }

  @Test("a signal to a group doesn't hit who got the number between the look-up and the call")
  func signalToGroup() {
    expectProtected(
      "a signal to a group from the page", numbers: 100...103,
      removing: [[.step(.retry, of: .kill)]], sending(to: -2))
  }

  @Test("a newborn's first call, whoever names it")
  func newborn() {
    expectProtected("newborn in the page", removing: []) { world in
      let pod = world.makePod()
      let parent = pod.boot()
      world.run("parent", parent) { parent in
        world.note(
          "fork",
          parent.fork(as: "child") { child in
            let model = ModelProcess(child, of: pod)
            model.yield(in: child, for: .getpid)
            world.note("child", model.call(.getpid))
            world.note("group", model.call(.getpgrp))
          })
      }
      world.finally("both say the same") {
        world.noted("fork") == 3 && world.noted("child") == 3 && world.noted("group") == 2
      }
      world.finallyConsistent(pod)
    }
  }

  @Test("a name that its process gives up while it is looked at")
  func ended() {
    expectProtected("group of one that ends", numbers: 100...104, removing: []) { world in
      let pod = world.makePod(names: 1...5)
      let parent = pod.boot()
      parent.call(.fork)
      guard let child = pod.process(3) else { return }
      child.call(.setpgid, 0, 0)
      let watcher = pod.boot()
      run("watcher", watcher, of: pod, world, .getpgid, 3)
      world.run("child", child) { $0.exit() }
      world.run("parent", parent) { parent in
        _ = parent.wait(for: 3)
        parent.fork(as: "next") { _ in }
      }
      world.finally("it had its group, or is gone") { [3, -3].contains(world.noted("watcher")) }
      world.finallyConsistent(pod)
    }
  }

  /// One thread asks who it is while another makes a process in the same memory, as `vfork` does.
  private func sharing(isCounted: Bool) -> (ScheduledWorld) -> Void {
    { world in
      let pod = world.makePod(names: 1...200)
      let owner = pod.boot()
      owner.call(.clone, 0x10100)
      guard let thread = pod.names.processes.liveTasks.first(where: { $0.isThread })?.virtual,
        let asker = pod.process(thread)
      else { return }
      let model = ModelProcess(asker, of: pod)
      model.yield(in: asker, for: .getpid)
      world.run("asker", asker) { _ in world.note("asker", model.call(.getpid)) }
      world.run("maker", owner) { owner in
        if isCounted { model.cache.sharers += 1 }
        owner.fork(as: "sharer") { child in
          let sharer = ModelProcess(sharing: model)
          sharer.serve(child)
          sharer.yield(in: child, for: .getpid)
          world.note("sharer", sharer.call(.getpid))
        }
        world.wait(for: "sharer", in: owner)
        if isCounted { model.cache.sharers -= 1 }
        let again = ModelProcess(sharing: model)
        again.serve(owner)
        world.note("maker", again.call(.getpid))
      }
      world.finally("each is itself") {
        world.noted("asker") == 2 && world.noted("sharer") == 3 && world.noted("maker") == 2
      }
    }
  }

  @Test("processes that share memory are each themselves, as long as their makers count them")
  func sharers() {
    expectProtected("sharers of the cache", removing: [], sharing(isCounted: true))
    let uncounted = ScheduleExplorer().explore(sharing(isCounted: false))
    #expect(uncounted.violation != nil)
  }
}

extension ScheduledWorld {
  /// Waits until something was written down.
  fileprivate func wait(for key: String, in process: MockProcess) {
    process.wait { self.noted(key) != nil }
  }
}
