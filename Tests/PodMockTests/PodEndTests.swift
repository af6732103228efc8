internal import PodCore
internal import PodMock
internal import Testing

/// Nothing of a pod outlives it (COVERAGE C17, C18), in every order.
@Suite struct PodEndTests {
  private func isEmpty(_ pod: MockPod) -> Bool {
    pod.kernel.processes.filter { $0.pod == pod.names.pod }.count == 1
      && pod.names.processes.space.count == 1
  }

  @Test("when its supervisor ends the pod, what forks meanwhile ends too")
  func supervisorEnds() {
    expectProtected("end of a forking pod", removing: [[.step(.retry, on: .end)]]) { world in
      let pod = world.makePod()
      let program = pod.boot()
      let host = world.kernel.spawnOutside()
      world.run("program", program) { program in
        program.fork(as: "child") { _ in }
      }
      world.run("host", host) { _ in pod.end() }
      world.finally("nothing is left but init") { isEmpty(pod) }
      world.finally("the host lives") { host.isRunning }
    }
  }

  @Test("a daemon that is left when the first process ended ends with the pod, and not before")
  func daemon() {
    expectProtected("daemon", removing: [[.step(.perform, on: .end)]]) { world in
      let pod = world.makePod()
      let program = pod.boot()
      let host = world.kernel.spawnOutside()
      world.run("program", program) { program in
        program.fork(as: "daemon") { daemon in
          daemon.call(.setsid)
          world.note("session", daemon.call(.getsid, 0))
        }
        program.exit()
      }
      world.run("host", host) { host in
        host.wait { !program.isRunning && world.noted("session") != nil }
        world.note("alive", pod.process(3)?.isRunning == true ? 1 : 0)
        pod.end()
      }
      world.finally("it lived in a session of its own") {
        world.noted("session") == 3 && world.noted("alive") == 1
      }
      world.finally("nothing is left but init") { isEmpty(pod) }
    }
  }
}
