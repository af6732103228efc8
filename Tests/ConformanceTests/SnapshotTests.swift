import Foundation
import PodCore
import PodTestSupport
import SystemPackage
import Testing

/// Names that go from one pod to another (COVERAGE C16).
@Suite("Names survive a change of all physical names")
struct SnapshotTests {
  @Test("a family knows its names", arguments: TestEnvironment.allCases)
  func family(environment: TestEnvironment) async throws {
    let outcome = try await environment.run(try await TestPrograms.path("family"), ["2"])
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }

  /// Runs the family, and something while it waits.
  ///
  /// - Returns: The lines that it wrote.
  private func runFamily(
    in pod: Pod, gaps: Int, whileItWaits: @escaping () async throws -> Void
  ) async throws -> [String] {
    let path = try await TestPrograms.path("family")
    var lines: [String] = []
    let result = try await pod.run(
      .path(FilePath(path)), arguments: ["\(gaps)"], input: .inputWriter, output: .sequence,
      error: .combinedWithOutput
    ) { program in
      var lines: [String] = []
      for try await line in program.standardOutput.strings() {
        lines.append(line)
        if line == "ready" {
          try await whileItWaits()
          try await program.standardInputWriter.write("go on\n")
        }
      }
      return lines
    }
    lines = result.closureResult
    #expect(result.terminationStatus == .exited(0), "\(lines)")
    return lines
  }

  /// The names without what differs between pods.
  private func names(_ snapshot: PodSnapshot) -> [String] {
    snapshot.processes.names.map { name in
      "\(name.kind) \(name.number) \(name.state) of \(name.process), parent \(name.parent), "
        + "group \(name.group), session \(name.session)"
    }
  }

  @Test(
    "processes of another pod have the names of the first one's", .timeLimit(.minutes(1)),
    arguments: TestBackend.usual)
  func secondPod(backend: TestBackend) async throws {
    try await withPod(backend: backend.backend) { pod in
      // The names are none that a new pod would give by itself.
      for _ in 0..<5 {
        _ = try await pod.run(.name("true"), output: .discarded, error: .discarded)
      }
      var second: [String] = []
      let first = try await runFamily(in: pod, gaps: 3) {
        let snapshot = pod.snapshot()
        let text = try JSONEncoder().encode(snapshot)
        var configuration = PodConfiguration()
        configuration.restoredNames = try JSONDecoder().decode(PodSnapshot.self, from: text)
        #expect(configuration.restoredNames == snapshot)
        second = try await withPod(configuration, backend: backend.backend) { other in
          try await runFamily(in: other, gaps: 0) {
            let copy = other.snapshot()
            #expect(names(copy) == names(snapshot))
            let physical = Set(snapshot.processes.names.map(\.physical))
            #expect(physical.isDisjoint(with: copy.processes.names.map(\.physical)))
            #expect(copy.processes.next == snapshot.processes.next)
          }
        }
      }
      #expect(first.count == 9 && first.first?.hasPrefix("0: process 7, parent 1") == true)
      #expect(first == second)
    }
  }

  @Test(
    "a snapshot that doesn't fit is refused before anything has run", arguments: TestBackend.usual)
  func notFitting(backend: TestBackend) async throws {
    var configuration = PodConfiguration()
    configuration.restoredNames = try PodSnapshot(
      processes: .init(
        highest: 5_000, next: 1,
        names: [
          .init(
            process: VirtualName(rawValue: 1), parent: VirtualName(rawValue: 0),
            group: VirtualName(rawValue: 1), session: VirtualName(rawValue: 1)),
          .init(thread: VirtualName(rawValue: 4_000), of: VirtualName(rawValue: 1)),
        ]))
    configuration.highestProcess = 300
    await #expect {
      try await withPod(configuration, backend: backend.backend) { _ in }
    } throws: { error in
      (error as? PodError)?.code == .invalidConfiguration && "\(error)".contains("process 4000")
    }
  }
}
