internal import Foundation
internal import PodCore
internal import PodMock
internal import Testing

/// Whether `SWIFT_PODS_FAULTS` asks for the long form of fault tests.
private let isLong = ProcessInfo.processInfo.environment["SWIFT_PODS_FAULTS"] != nil

/// A kill between any two steps of a fork, an exec and an end leaves tables that agree with the kernel.
@Suite struct KilledAnywhereTests {
  /// Explores a scenario with a victim and somebody else of the pod who kills it.
  ///
  /// - Parameter program: What the victim, process 2 of the pod, does.
  private func explore(
    _ name: String, prepare: @escaping @Sendable (MockProcess) -> Void = { _ in },
    _ program: @escaping @Sendable (ScheduledWorld, MockProcess) -> Void
  ) {
    let exploration = ScheduleExplorer(limit: 60_000, numbers: 100...107).explore { world in
      let pod = world.makePod(names: 1...12)
      let victim = pod.boot()
      let killer = pod.boot()
      prepare(victim)
      world.run("victim", victim) { program(world, $0) }
      world.run("killer", killer) { killer in
        world.note("kill", killer.call(.kill, 2, 9))
      }
      world.finally("the victim is gone") { !victim.isRunning }
      world.finallyConsistent(pod)
    }
    report("\(name), killed", exploration)
    #expect(exploration.violation == nil, "\(exploration.violation.map { "\($0)" } ?? "")")
    #expect(exploration.isComplete)
    #expect(exploration.schedules > 3)
  }

  @Test func fork() {
    explore("fork") { _, victim in
      victim.fork(as: "child") { $0.exit() }
    }
  }

  @Test func vfork() {
    explore("vfork and exec") { _, victim in
      victim.fork(.vfork, as: "child") { $0.call(.execve, 0) }
    }
  }

  @Test func thread() {
    explore("thread") { _, victim in
      victim.startThread { $0.call(.exit, 0) }
    }
  }

  @Test func execByLeader() {
    explore("exec", prepare: { $0.call(.clone, 0x10100) }) { _, victim in
      victim.call(.execve, 0)
      victim.call(.getpid)
    }
  }

  @Test(.enabled(if: isLong, "make faults runs it")) func execByThread() {
    explore("exec by thread") { _, victim in
      victim.startThread { thread in
        thread.call(.execve, 0)
      }
    }
  }

  @Test func exit() {
    explore("exit with a child", prepare: { $0.call(.fork) }) { _, victim in
      victim.exit(3)
    }
  }

  @Test func group() {
    explore("groups", prepare: { $0.call(.fork) }) { _, victim in
      victim.call(.setpgid, 3, 3)
      victim.call(.setpgid, 3, 0)
    }
  }
}
