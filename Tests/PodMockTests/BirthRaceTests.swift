internal import PodCore
internal import PodMock
internal import SystemPackage
internal import Testing

/// Births, and execs by threads (COVERAGE C3, C4, C9, C10), in every order.
@Suite struct BirthRaceTests {
  @Test("a child whose parent ended right after the fork has a name and a new parent")
  func parentEnds() {
    expectProtected("parent ends after fork", removing: [[.step(.bind, of: .getppid)]]) { world in
      let pod = world.makePod()
      let parent = pod.boot()
      world.run("parent", parent) { parent in
        parent.fork(as: "child") { child in
          world.note("parent", child.call(.getppid))
          world.note("self", child.call(.getpid))
        }
        parent.exit()
      }
      world.always("the child knows its name") { [nil, 3].contains(world.noted("self")) }
      world.always("its parent is the parent or init") {
        [nil, 1, 2].contains(world.noted("parent"))
      }
      world.finallyConsistent(pod)
    }
  }

  @Test("a child whose parent is killed in the fork has a name and a family")
  func parentIsKilled() {
    expectProtected(
      "parent killed in fork",
      removing: [
        [.step(.bind, of: .fork), .step(.bind, of: .getpid)],
        [.step(.allocate, of: .fork), .step(.bind, of: .fork)],
      ]
    ) { world in
      let pod = world.makePod()
      let parent = pod.boot()
      let killer = pod.boot()
      world.run("parent", parent) { parent in
        parent.fork(as: "child") { world.note("self", $0.call(.getpid)) }
      }
      world.run("killer", killer) { $0.call(.kill, 2, 9) }
      world.always("the child knows its name") { [nil, 4].contains(world.noted("self")) }
      world.finallyConsistent(pod)
    }
  }

  @Test("a fork without a free name makes no process")
  func namesAreExhausted() {
    expectProtected("names exhausted", removing: [[.step(.allocate, of: .fork)]]) { world in
      let pod = world.makePod(names: 1...3)
      let first = pod.boot()
      let second = pod.boot()
      world.run("first", first) { world.note("first", $0.fork(as: "a") { _ in }) }
      world.run("second", second) { world.note("second", $0.fork(as: "b") { _ in }) }
      world.finally("both are refused") {
        world.noted("first") == -11 && world.noted("second") == -11
      }
      world.finallyConsistent(pod)
    }
  }

  @Test("a fork that the kernel refuses gives its name back")
  func kernelRefuses() {
    // Leaving out the roll-back would show nothing: a transaction that ends gives an announced name back by itself.
    expectProtected("kernel refuses", numbers: 100...102, removing: []) { world in
      let pod = world.makePod()
      let first = pod.boot()
      let second = pod.boot()
      world.run("first", first) { world.note("first", $0.fork(as: "a") { _ in }) }
      world.run("second", second) { world.note("second", $0.fork(as: "b") { _ in }) }
      world.finally("both are refused") {
        world.noted("first") == -11 && world.noted("second") == -11
      }
      world.finallyConsistent(pod)
    }
  }

  @Test("a thread that ends before its maker heard of it leaves no name")
  func shortThread() {
    expectProtected("short thread", removing: [[.step(.allocate, of: .clone)]]) { world in
      let pod = world.makePod()
      let process = pod.boot()
      world.run("main", process) { main in
        let thread = main.startThread { $0.call(.exit, 0) }
        world.note("thread", thread)
      }
      world.finallyConsistent(pod)
    }
  }

  @Test("a thread that calls exec is the process from then on")
  func execByThread() {
    expectProtected(
      "exec by thread",
      removing: [[.step(.publish, of: .execve), .step(.publish, on: .event)]]
    ) { world in
      let pod = world.makePod()
      let process = pod.boot()
      process.call(.clone, 0x10100)
      guard let thread = pod.process(102) ?? pod.process(3) else { return }
      let other = pod.boot()
      world.run("main", process) { main in
        main.call(.getppid)
      }
      world.run("thread", thread) { thread in
        world.note("exec", thread.call(.execve, 0))
        world.note("process", thread.call(.getpid))
        world.note("thread", thread.call(.gettid))
      }
      world.run("other", other) { world.note("kill", $0.call(.kill, 2, 0)) }
      world.always("it has the process's name") {
        [nil, 2].contains(world.noted("process")) && [nil, 2].contains(world.noted("thread"))
      }
      world.always("others reach it") { [nil, 0].contains(world.noted("kill")) }
      world.finallyConsistent(pod)
    }
  }

  @Test("a vfork's child uses its parent's memory and lets it go on with exec")
  func vfork() {
    expectProtected(
      "vfork", removing: [[.step(.bind, of: .execve), .step(.bind, of: .vfork)]]
    ) { world in
      let pod = world.makePod()
      let parent = pod.boot()
      world.run("parent", parent) { parent in
        let child = parent.fork(.vfork, as: "child") { child in
          child.call(.execve, 0)
          world.note("exec", 1)
        }
        world.note("child", child)
      }
      world.finally("the child has its name") { world.noted("child") == 3 }
      world.finallyConsistent(pod)
    }
  }
}
