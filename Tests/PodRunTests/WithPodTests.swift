import PodCore
import SystemPackage
import Testing

@Suite struct WithPodTests {
  struct BodyError: Error {}

  @Test("a pod ends with its closure, which returns a value")
  func scope() async throws {
    let backend = FakeBackend()
    let value = try await withPod(backend: backend) { pod in
      #expect(backend.record.now.ends == 0)
      #expect(pod.identifier.rawValue > 0)
      return 7
    }
    #expect(value == 7)
    #expect(backend.record.now.starts == 1)
    #expect(backend.record.now.ends == 1)
  }

  @Test("a pod ends when its closure throws")
  func bodyThrows() async {
    let backend = FakeBackend()
    await #expect(throws: BodyError.self) {
      try await withPod(backend: backend) { _ in throw BodyError() }
    }
    #expect(backend.record.now.ends == 1)
  }

  @Test("a backend that can't start says so, and the closure doesn't run")
  func startThrows() async {
    var backend = FakeBackend()
    let error = PodError(.backendUnavailable, "no")
    backend.startError = error
    await #expect(throws: error) {
      try await withPod(backend: backend) { _ in Issue.record("ran") }
    }
    backend.startError = nil
    backend.unavailable = "not here"
    await #expect(throws: PodError(.backendUnavailable, "not here")) {
      try await withPod(backend: backend) { _ in Issue.record("ran") }
    }
    #expect(backend.record.now.starts == 0)
  }

  @Test("all faults of a configuration are in one error, before the backend is asked")
  func configuration() async {
    let backend = FakeBackend()
    var configuration = PodConfiguration()
    configuration.highestProcess = 1
    configuration.capacity = 0
    let error = await #expect(throws: PodError.self) {
      try await withPod(configuration, backend: backend) { _ in Issue.record("ran") }
    }
    #expect(error?.code == .invalidConfiguration)
    #expect(error?.description.contains("highestProcess is 1") == true)
    #expect(error?.description.contains("capacity is 0") == true)
    #expect(backend.record.now.starts == 0)
  }

  @Test("containment that is lacking is named, before anything is made")
  func containment() async throws {
    var backend = FakeBackend()
    backend.containment = Containment([
      .processes: .init(.supervisor, by: "a test"), .terminals: .init(.namedOnly, by: "a session"),
    ])
    var configuration = PodConfiguration()
    configuration.containment = .required([.processes, .terminals, .files])
    let error = await #expect(throws: PodError.self) {
      try await withPod(configuration, backend: backend) { _ in Issue.record("ran") }
    }
    #expect(error?.code == .containmentUnavailable)
    #expect(error?.description.contains("contain files, terminals on") == true)
    #expect(
      error?.description.contains("files: the host's; terminals: namedOnly: a session") == true)
    #expect(backend.record.now.starts == 0)

    configuration.containment = .required([.processes])
    try await withPod(configuration, backend: backend) { pod in
      #expect(pod.containment[.processes] == .supervisor)
    }
  }

  @Test("a pod that got less than was promised is ended before anything runs")
  func containmentBroken() async throws {
    var backend = FakeBackend()
    backend.promisedContainment = Containment([.ipc: .init(.kernel, by: "a test")])
    var configuration = PodConfiguration()
    configuration.containment = .required([.ipc])
    let error = await #expect(throws: PodError.self) {
      try await withPod(configuration, backend: backend) { _ in Issue.record("ran") }
    }
    #expect(error?.code == .containmentUnavailable)
    #expect(backend.record.now.starts == 1 && backend.record.now.ends == 1)
  }

  @Test("cancelling the task ends the pod's programs while the closure still waits for them")
  func cancellation() async throws {
    var backend = FakeBackend()
    let started = Promise<Void>()
    backend.program = { program in
      started.fulfil(())
      return await program.waitForSignal()
    }
    let task = Task { [backend] in
      try await withPod(backend: backend) { pod in
        let request = try LaunchRequest(
          .path("/sleep"), input: .none, output: .discard, error: .discard)
        return await (try pod.launch(request)).termination()
      }
    }
    await started.value
    task.cancel()
    #expect(try await task.value == .signaled(9))
    #expect(backend.record.now.signals.isEmpty)
    #expect(backend.record.now.ends == 1)
  }

  @Test("a cancelled task makes no pod")
  func cancelledBefore() async {
    let backend = FakeBackend()
    let task = Task {
      withUnsafeCurrentTask { $0?.cancel() }
      try await withPod(backend: backend) { _ in _ = Issue.record("ran") }
    }
    await #expect(throws: CancellationError.self) { try await task.value }
    #expect(backend.record.now.starts == 0)
  }

  @Test("a pod that escaped is of no use")
  func escaped() async throws {
    let pod = try await withPod(backend: FakeBackend()) { $0 }
    let error = await #expect(throws: PodError.self) {
      try await pod.run(.path("/x"), output: .discarded)
    }
    #expect(error?.code == .podEnded)
    await #expect(throws: PodError.self) {
      try await pod.send(signal: .terminate, to: VirtualName(rawValue: 2))
    }
  }

  @Test("a program that was killed because its pod failed has no status: the error says why")
  func failed() async throws {
    var backend = FakeBackend()
    backend.program = { _ in
      try? await Task.sleep(for: .seconds(60))
      return 0
    }
    let fake = backend
    try await withPod(backend: fake) { pod in
      let error = await #expect(throws: PodError.self) {
        try await pod.run(.path("/x"), input: .none, output: .discarded, error: .discarded) {
          execution in
          fake.record.now.report?(.failed("a thread is missing"))
          try await execution.send(signal: .kill)
        }
      }
      #expect(error?.code == .podEnded)
      #expect(error?.description.contains("a thread is missing") == true)
    }
  }

  @Test("a program that SIGKILL ends in a pod that works has that status")
  func killed() async throws {
    var backend = FakeBackend()
    backend.program = { _ in
      try? await Task.sleep(for: .seconds(60))
      return 0
    }
    try await withPod(backend: backend) { pod in
      let result = try await pod.run(
        .path("/x"), input: .none, output: .discarded, error: .discarded
      ) { try await $0.send(signal: .kill) }
      #expect(result.terminationStatus == .signaled(9))
    }
  }

  @Test("pods have different numbers, also at the same time")
  func numbers() async throws {
    let numbers = try await withPod(backend: FakeBackend()) { outer in
      try await withPod(backend: FakeBackend()) { inner in [outer.identifier, inner.identifier] }
    }
    #expect(Set(numbers).count == 2)
  }

  @Test("a closure stays on its caller's actor")
  @MainActor func isolation() async throws {
    var count = 0
    try await withPod(backend: FakeBackend()) { pod in
      MainActor.assertIsolated()
      count += 1
      _ = try await pod.run(.path("/x"), input: .none, output: .discarded, error: .discarded) { _ in
        MainActor.assertIsolated()
        count += 1
      }
    }
    #expect(count == 2)
  }
}
