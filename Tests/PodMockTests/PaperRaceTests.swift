internal import PodCore
internal import PodMock
internal import SystemPackage
internal import Testing

/// The races of the paper's §4.1.1 and §4.1.2, in every order. The physical numbers just suffice, so that the next fork
/// gets the number that was freed last.
@Suite struct PaperRaceTests {
  @Test(
    "Figure 2: a group's number that is reused while getpgid is in flight isn't taken for another's"
  )
  func deletionRace() {
    expectProtected(
      "figure 2", numbers: 100...103, removing: [[.step(.hold, of: .getpgid)]]
    ) { world in
      let pod = world.makePod()
      let parent = pod.boot()
      parent.call(.fork)
      guard let target = pod.process(3) else { return }
      target.call(.setpgid, 0, 0)
      let watcher = pod.boot()
      world.run("A", watcher) { world.note("group", $0.call(.getpgid, 3)) }
      world.run("B", target) { $0.exit() }
      world.run("parent", parent) { parent in
        _ = parent.wait()
        parent.fork(as: "C") { _ in }
      }
      world.always("A sees B's group, or that B is gone") {
        [nil, 3, -3].contains(world.noted("group"))
      }
      world.finallyConsistent(pod)
    }
  }

  @Test("Figure 3: a newborn has one name, whoever is first to need it")
  func initializationRace() {
    expectProtected(
      "figure 3",
      removing: [[.step(.bind, of: .getpid)], [.step(.bind, of: .fork)]]
    ) { world in
      let pod = world.makePod()
      let parent = pod.boot()
      let other = pod.boot()
      world.run("parent", parent) { parent in
        let child = parent.fork(as: "child") { child in
          world.note("self", child.call(.getpid))
        }
        world.note("child", child)
        world.note("is there", parent.call(.kill, (try? child.get()) ?? 0, 0))
      }
      world.run("other", other) { world.note("group", $0.call(.kill, -2, 0)) }
      world.always("the child's name is its own") { [nil, 4].contains(world.noted("self")) }
      world.always("the parent's name for it is the same") {
        [nil, 4].contains(world.noted("child"))
      }
      world.finally("the parent can name it") { world.noted("is there") == 0 }
      world.finallyConsistent(pod)
    }
  }

  @Test("a signal in flight doesn't hit who got the number meanwhile, in another pod")
  func killAcrossPods() {
    expectProtected(
      "kill across pods", numbers: 100...104, removing: [[.step(.hold, of: .kill)]]
    ) { world in
      let pod = world.makePod()
      let other = world.makePod()
      let target = pod.boot()
      let killer = pod.boot()
      let maker = other.boot()
      world.run("killer", killer) { world.note("kill", $0.call(.kill, 2, 15)) }
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

  @Test("a signal for everyone doesn't hit who got a number meanwhile, outside")
  func broadcastOutside() {
    expectProtected(
      "kill(-1)", numbers: 100...103, removing: [[.step(.hold, of: .kill)]]
    ) { world in
      let pod = world.makePod()
      let target = pod.boot()
      let killer = pod.boot()
      let outside = world.kernel.spawnOutside()
      world.run("killer", killer) { world.note("kill", $0.call(.kill, -1, 15)) }
      world.run("target", target) { $0.exit() }
      world.run("outside", outside) { $0.fork(as: "victim") { _ in } }
      world.always("nobody outside is hit") {
        world.kernel.processes.allSatisfy { $0.pod != nil || !$0.isZombie }
      }
      world.finally("it reached somebody, or there was nobody") {
        [0, -3].contains(world.noted("kill"))
      }
    }
  }

  @Test("setpgid in flight doesn't move who got the number meanwhile, in another pod")
  func setGroupAcrossPods() {
    expectProtected(
      "setpgid across pods", removing: [[.step(.hold, of: .setpgid)]]
    ) { world in
      // A supervisor's rights: in the caller's context the kernel would refuse by itself.
      world.makeKernel(numbers: 100...104, confinesGroups: false)
      let pod = world.makePod()
      let other = world.makePod()
      let target = pod.boot(as: .groupLeader)
      let mover = pod.boot()
      let maker = other.boot()
      world.run("mover", mover) { world.note("move", $0.call(.setpgid, 2, 2)) }
      world.run("target", target) { $0.exit() }
      world.run("maker", maker) { $0.fork(as: "victim") { _ in } }
      let group = maker.physical
      world.always("nobody in the other pod is moved") {
        world.kernel.processes.allSatisfy {
          $0.pod != other.names.pod || $0.isZombie || $0.group == group || $0.parent.rawValue == 1
        }
      }
    }
  }

  @Test("setpgid in flight doesn't move another child that got the number meanwhile")
  func setGroupOfReused() {
    expectProtected(
      "setpgid of a child", numbers: 100...103, removing: [[.step(.hold, of: .setpgid)]]
    ) { world in
      let pod = world.makePod()
      let parent = pod.boot()
      parent.call(.fork)
      guard let target = pod.process(3) else { return }
      parent.call(.clone, Int(0x10100))
      guard let thread = pod.process(4) ?? pod.process(103) else { return }
      world.run("mover", parent) { world.note("move", $0.call(.setpgid, 3, 3)) }
      world.run("target", target) { $0.exit() }
      world.run("waiter", thread) { waiter in
        _ = waiter.wait(for: 3)
        world.note("next", waiter.fork(as: "next") { _ in })
      }
      world.always("only the child that was named is moved") {
        pod.names.processes.liveProcesses.allSatisfy { entry in
          guard let process = world.kernel.process(entry.physical) else { return true }
          guard entry.virtual.rawValue > 4 else { return true }
          return process.status?.group == parent.physical
        }
      }
      world.finallyConsistent(pod)
    }
  }

  @Test("getppid's answer isn't taken for who got the parent's number meanwhile")
  func parentRace() {
    expectProtected(
      "getppid", numbers: 100...103, removing: [[.step(.hold, of: .getppid)]]
    ) { world in
      let pod = world.makePod()
      let parent = pod.boot()
      parent.call(.fork)
      guard let child = pod.process(3) else { return }
      // Or its group would keep the parent's number.
      child.call(.setsid)
      let other = pod.boot()
      world.run("child", child) { world.note("parent", $0.call(.getppid)) }
      world.run("parent", parent) { $0.exit() }
      world.run("other", other) { $0.fork(as: "next") { _ in } }
      world.always("it is the parent or init") { [nil, 1, 2].contains(world.noted("parent")) }
      world.finallyConsistent(pod)
    }
  }

  @Test("a process doesn't enter a pod while somebody outside refers to it")
  func entering() {
    expectProtected(
      "entering a pod", removing: [[.step(.hold, of: .kill)], [.step(.hold, of: .getpgid)]]
    ) { world in
      let pod = world.makePod()
      let entrant = world.kernel.spawnOutside()
      let killer = world.kernel.spawnOutside()
      let watcher = world.kernel.spawnOutside()
      let number = Int(entrant.physical.rawValue)
      world.run("entrant", entrant) { world.note("name", Int($0.enter(pod)?.rawValue ?? 0)) }
      world.run("killer", killer) { world.note("kill", $0.call(.kill, number, 15)) }
      world.run("watcher", watcher) { watcher in
        let group = watcher.call(.getpgid, number)
        if world.kernel.system.owner(of: entrant.physical) != nil { world.note("late", group) }
      }
      world.always("who is in the pod isn't hit from outside") {
        world.kernel.processes.allSatisfy { $0.pod == nil || !$0.isZombie }
      }
      world.always("what is in a pod isn't shown outside") { world.noted("late") ?? -3 < 0 }
      world.finallyConsistent(pod)
    }
  }
}
