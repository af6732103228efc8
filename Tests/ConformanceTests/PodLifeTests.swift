import Glibc
import PodCore
import PodTestSupport
import SystemPackage
import Testing

/// Pods that end, are full, or are disturbed while programs start.
@Suite("A pod's life")
struct PodLifeTests {
  /// A request that takes no descriptor of its own.
  private func request(
    _ program: String, _ arguments: [String], _ null: FileDescriptor
  ) throws(PodError) -> LaunchRequest {
    try LaunchRequest(
      .name(program), arguments: Pod.Arguments(arguments), input: .descriptor(null),
      output: .descriptor(null), error: .descriptor(null))
  }

  private func withNull<R>(_ body: (FileDescriptor) async throws -> R) async throws -> R {
    let null = try FileDescriptor.open("/dev/null", .readWrite)
    defer { try? null.close() }
    return try await body(null)
  }

  @Test(
    "ends although programs are being started", .timeLimit(.minutes(1)), arguments: TestBackend.all)
  func endsWhileLaunching(backend: TestBackend) async throws {
    let mark = "1000.\(Int.random(in: 100_000...999_999))"
    try await withNull { null in
      for round in 0..<20 {
        try await withPod(backend: backend.backend) { pod in
          _ = try await pod.launch(request("sleep", [mark], null))
          for _ in 0..<4 {
            Task {
              let program = try await pod.launch(request("sleep", [mark], null))
              _ = await program.termination()
            }
          }
          try await Task.sleep(for: .microseconds(round * 131))
        }
      }
    }
    let left = try await TestEnvironment.native.run("pgrep", ["-fx", "sleep \(mark)"])
    #expect(left.lines.isEmpty, "left behind: \(left.lines)")
  }

  @Test("a full pod says so, and goes on", .timeLimit(.minutes(1)), arguments: TestBackend.all)
  func full(backend: TestBackend) async throws {
    var configuration = PodConfiguration()
    configuration.capacity = 16
    try await withNull { null in
      let failures = try await withPod(configuration, backend: backend.backend) { pod in
        let events = pod.events
        let failures = Task {
          await events.reduce(into: [PodEvent]()) { found, event in
            if case .failed = event { found.append(event) }
          }
        }
        var programs: [LaunchedProcess] = []
        for _ in 0..<15 {
          programs.append(try await pod.launch(request("sleep", ["1000"], null)))
        }
        await #expect(throws: PodError.self) {
          _ = try await pod.launch(request("sleep", ["1000"], null))
        }
        try await pod.send(signal: .kill, to: programs[3].identifier)
        _ = await programs[3].termination()
        let program = try await pod.launch(request("true", [], null))
        #expect(await program.termination() == .exited(0))
        return failures
      }
      #expect(await failures.value.isEmpty)
    }
  }

  @Test(
    "a program that finds no room for another thread is told so", .timeLimit(.minutes(1)),
    arguments: TestBackend.all)
  func fullOfThreads(backend: TestBackend) async throws {
    var configuration = PodConfiguration()
    configuration.capacity = 16
    let program = try await TestPrograms.path("many_threads")
    try await withPod(configuration, backend: backend.backend) { pod in
      let result = try await pod.run(
        .path(FilePath(program)), input: .none, output: .string(limit: 1000),
        error: .combinedWithOutput)
      #expect(result.terminationStatus == .exited(0), "\(result.standardOutput)")
    }
  }

  @Test(
    "programs are started however many are asked for at once", .timeLimit(.minutes(1)),
    arguments: TestBackend.all)
  func manyLaunches(backend: TestBackend) async throws {
    try await withNull { null in
      try await withPod(backend: backend.backend) { pod in
        try await withThrowingTaskGroup(of: Pod.TerminationStatus.self) { group in
          for _ in 0..<400 {
            group.addTask {
              await (try await pod.launch(request("true", [], null))).termination()
            }
          }
          for try await status in group { #expect(status == .exited(0)) }
        }
      }
    }
  }

  @Test(
    "an init that somebody stops or kills doesn't keep the pod", .timeLimit(.minutes(1)),
    arguments: TestBackend.all)
  func disturbedInit(backend: TestBackend) async throws {
    try await withNull { null in
      try await withPod(backend: backend.backend) { pod in
        let program = try await pod.launch(request("sleep", ["1000"], null))
        let podInit = try #require(pod.names[VirtualName(rawValue: 1)]).physicalIdentifier
        kill(podInit.rawValue, SIGSTOP)
        #expect(await pod.processes().map(\.rawValue) == [1, program.identifier.rawValue])
        kill(podInit.rawValue, SIGKILL)
        #expect(await program.termination() == .signaled(SIGKILL))
        await #expect(throws: PodError.self) {
          _ = try await pod.launch(request("true", [], null))
        }
      }
    }
  }
}
