internal import PodCore
internal import PodMock
internal import SystemPackage
internal import Testing

/// Ends, waits and what outlives them (COVERAGE C1, C2, C13–C15), in every order.
@Suite struct ExitRaceTests {
  @Test(
    "a wait that returns before its supervisor saw the end doesn't free the name for it to hit another"
  )
  func exitAgainstWait() {
    expectProtected("exit against wait", removing: [[.step(.retire, of: .wait4)]]) { world in
      let pod = world.makePod(names: 1...3)
      let parent = pod.boot()
      parent.call(.fork)
      guard let child = pod.process(3) else { return }
      world.run("child", child) { $0.exit(7) }
      world.run("parent", parent) { parent in
        if case .success(let ended) = parent.wait() {
          world.note("child", ended.child)
          world.note("status", Int(ended.status))
        }
        world.note("next", parent.fork(as: "next") { _ in })
      }
      world.finally("the child was waited for once") { world.noted("child") == 3 }
      world.finally("with its status") { world.noted("status") == 7 << 8 }
      world.finally("its name is free again") { world.noted("next") == 3 }
      world.finallyConsistent(pod)
    }
  }

  @Test(
    "of two threads that wait for one child, one gets it and the other hears that there is none")
  func twoWaiters() {
    expectProtected("two waiters", removing: [[.step(.reap, of: .wait4)]]) { world in
      let pod = world.makePod()
      let parent = pod.boot()
      parent.call(.fork)
      parent.call(.clone, 0x10100)
      guard let child = pod.process(3), let thread = pod.process(103) ?? pod.process(4) else {
        return
      }
      world.run("child", child) { $0.exit() }
      for (name, waiter) in [("main", parent), ("thread", thread)] {
        world.run(name, waiter) { world.note(name, $0.wait(for: 3).map(\.child)) }
      }
      world.finally("one got it") {
        Set([world.noted("main"), world.noted("thread")]) == [3, -10]
      }
      world.finallyConsistent(pod)
    }
  }

  /// What would be wrong: a wait that only looked gives up the name.
  private struct ReapWhateverWasSeen: Wrapper {
    func epilogue(_ transaction: inout Transaction) throws(Errno) {
      guard case .success? = transaction.result else { return }
      let info = RemoteAddress(rawValue: transaction.arguments[2])
      let number = try transaction.read(Int32.self, at: info.advanced(by: 16))
      let processes = transaction.names.processes
      guard let name = processes.virtual(of: PhysicalName(rawValue: number)) else { return }
      try transaction.write(name.rawValue, to: info.advanced(by: 16))
      transaction.step(.reap, on: name.rawValue) { $0.names.processes.reaped(name) }
    }
  }

  private func lookThenWait(_ boundary: BoundaryTable) -> (ScheduledWorld) -> Void {
    { world in
      let pod = world.makePod(boundary: boundary)
      let parent = pod.boot()
      parent.call(.fork)
      guard let child = pod.process(3) else { return }
      world.run("child", child) { $0.exit() }
      world.run("parent", parent) { parent in
        let info = parent.allocate(128)
        let exitedNoWait = 4 | 0x0100_0000
        parent.call(.waitid, 0, 0, Int(info.rawValue), exitedNoWait)
        world.note("seen", Int((try? parent.word(at: info.advanced(by: 16))) ?? 0))
        world.note("waited", parent.wait(for: 3).map(\.child))
      }
      world.finally("both saw the child") { world.noted("seen") == 3 && world.noted("waited") == 3 }
      world.finallyConsistent(pod)
    }
  }

  @Test("a child that was only looked at can still be waited for")
  func lookAndWait() {
    expectProtected("WNOWAIT", removing: [[.step(.reap, of: .wait4)]], lookThenWait(.standard))
    let wrong = BoundaryTable(
      rows: BoundaryTable.standard.rows.map {
        $0.call == .waitid ? .wrapped(.waitid, by: ReapWhateverWasSeen()) : $0
      })
    #expect(ScheduleExplorer().explore(lookThenWait(wrong)).violation != nil)
  }

  private func lateSignal(lateNames: Int) -> (ScheduledWorld) -> Void {
    { world in
      let pod = world.makePod(lateNames: lateNames)
      let parent = pod.boot()
      parent.set(.handle, for: 10)
      parent.call(.fork)
      guard let sender = pod.process(3) else { return }
      world.run("sender", sender) { sender in
        sender.call(.kill, 2, 10)
        sender.exit()
      }
      world.run("parent", parent) { parent in
        _ = parent.wait(for: 3)
        world.note("sender", Int(parent.takeSignal()?.sender ?? -1))
        _ = parent.wait(for: 3)
        world.note("late", Int(parent.takeSignal()?.sender ?? -1))
      }
      world.always("a signal's sender is who sent it") {
        [nil, 3, -1].contains(world.noted("sender")) && [nil, 3, -1].contains(world.noted("late"))
      }
      world.finallyConsistent(pod)
    }
  }

  @Test("a signal that is delivered after its sender was waited for says who sent it")
  func signalOutlivesName() {
    expectProtected(
      "late siginfo", removing: [[.step(.virtualize, on: .signal)]], lateSignal(lateNames: 16))
    #expect(ScheduleExplorer().explore(lateSignal(lateNames: 0)).violation != nil)
  }

  @Test("a group's name isn't given to a newborn while the group outlives its leader")
  func groupOutlivesLeader() {
    expectProtected(
      "group without leader", removing: [[.step(.publish, of: .setpgid)]]
    ) { world in
      let pod = world.makePod(names: 1...4)
      let parent = pod.boot()
      parent.call(.fork)
      parent.call(.fork)
      guard let leader = pod.process(3), let member = pod.process(4) else { return }
      leader.call(.setpgid, 0, 0)
      world.run("leader", leader) { $0.exit() }
      world.run("member", member) { member in
        guard case .success = member.call(.setpgid, 0, 3) else { return }
        world.note("group", member.call(.getpgid, 0))
      }
      world.run("parent", parent) { parent in
        _ = parent.wait(for: 3)
        world.note("next", parent.fork(as: "next") { _ in })
      }
      world.always("the member sees its group") { [nil, 3].contains(world.noted("group")) }
      world.always("nobody gets the name of a group that exists") {
        let leads = member.status.map { $0.group != parent.physical } ?? false
        return !leads || world.noted("next") != 3
      }
      world.finallyConsistent(pod)
    }
  }

  @Test("a name that is in flight isn't given to a newborn")
  func nameInFlight() {
    expectProtected("name in flight", removing: [[.step(.hold, of: .setpgid)]]) { world in
      let pod = world.makePod(names: 1...4)
      let parent = pod.boot()
      parent.call(.fork)
      parent.call(.clone, 0x10100)
      guard let child = pod.process(3), let thread = pod.process(4) else { return }
      world.run("mover", parent) { world.note("move", $0.call(.setpgid, 3, 3)) }
      world.run("child", child) { $0.exit() }
      world.run("waiter", thread) { waiter in
        _ = waiter.wait(for: 3)
        world.note("next", waiter.fork(as: "next") { _ in })
      }
      world.finally("the next child has the name, or there was none") {
        [3, -11].contains(world.noted("next"))
      }
      world.finallyConsistent(pod)
    }
  }

  @Test("a child that ended and wasn't waited for is never unknown")
  func zombiesAreKnown() {
    expectProtected(
      "kill of a zombie", removing: [[.step(.lookUp, of: .kill)], [.step(.lookUp, of: .getpgid)]]
    ) { world in
      let pod = world.makePod()
      let parent = pod.boot()
      parent.call(.fork)
      guard let child = pod.process(3) else { return }
      world.run("child", child) { $0.exit() }
      world.run("parent", parent) { parent in
        world.note("kill", parent.call(.kill, 3, 15))
        world.note("group", parent.call(.getpgid, 3))
        world.note("session", parent.call(.getsid, 3))
      }
      world.finally("it is known") { world.notes == ["group=2", "kill=0", "session=2"] }
      world.finallyConsistent(pod)
    }
  }

  @Test("a child that its parent doesn't wait for leaves no name")
  func ignoredChildren() {
    expectProtected("ignored children", removing: [[.step(.reap, on: .event)]]) { world in
      let pod = world.makePod()
      let parent = pod.boot()
      parent.set(.ignore, for: 17)
      world.run("parent", parent) { parent in
        parent.fork(as: "child") { $0.exit() }
        world.note("wait", parent.wait().map(\.child))
      }
      world.finally("there is no child to wait for") { world.noted("wait") == -10 }
      world.finallyConsistent(pod)
    }
  }

  @Test(
    "what the tables say of groups is what the kernel says, when parent and child both move the child"
  )
  func bothMove() {
    expectProtected("two setpgid", removing: [[.step(.publish, of: .setpgid)]]) { world in
      let pod = world.makePod()
      let parent = pod.boot()
      parent.call(.fork)
      guard let child = pod.process(3) else { return }
      world.run("parent", parent) { $0.call(.setpgid, 3, 3) }
      world.run("child", child) { child in
        child.call(.setpgid, 0, 2)
        child.fork(as: "grandchild") { _ in }
      }
      world.finallyConsistent(pod)
    }
  }
}
