import Foundation
import PodCore
import PodTestSupport
import Testing

@Suite("What podrun prints", .timeLimit(.minutes(5)))
struct ReportTests {
  @Test("--trace prints virtual and physical names", arguments: TestBackend.usual)
  func trace(backend: TestBackend) async throws {
    let outcome = try await podrun(
      backend.options + ["--trace", "bash", "-c", "kill -0 $$; echo $$"])
    #expect(outcome.text == "2\n")
    #expect(outcome.error.contains(/\[2\] getpid\(.*\) = 2/))
    #expect(outcome.error.contains(/\[2\] kill\(2→\d+, 0/))
  }

  @Test(
    "--trace with --verbose reports what is refused, and numbers that nobody knows",
    arguments: TestBackend.usual)
  func refusals(backend: TestBackend) async throws {
    try TestPrograms.require("python3")
    if try await isUnderFilter() {
      try Test.cancel("a filter that is here already answers these calls before the pod sees them")
    }
    let script = "import ctypes; c = ctypes.CDLL(None); c.syscall(425, 1, 0); c.syscall(1000)"
    let outcome = try await podrun(
      backend.options + ["--trace", "--verbose", "python3", "-c", script])
    #expect(outcome.status == 0)
    #expect(outcome.error.contains("process 2: io_uring_setup was refused"), "\(outcome.error)")
    #expect(outcome.error.contains("process 2: call 1000 was refused"), "\(outcome.error)")
  }

  @Test("--verbose says what the pod is and who is in it", arguments: TestBackend.usual)
  func verbose(backend: TestBackend) async throws {
    let outcome = try await podrun(backend.options + ["--verbose", "sh", "-c", "sleep 0; exit 5"])
    #expect(outcome.status == 5)
    for line in [
      "containment of processes: ", "containment of files: none", "capabilities that ",
      "process 2 (", "process 3 (", "process 2 ended: exited(5)",
    ] { #expect(outcome.error.contains(line), "\(outcome.error)") }
    #expect(outcome.error.split(separator: "\n").allSatisfy { $0.hasPrefix("podrun: ") })
  }

  @Test("syscalls prints every call of the kernel")
  func syscalls() async throws {
    let outcome = try await podrun(["syscalls"])
    #expect(outcome.status == 0)
    let names = Set(outcome.lines.compactMap { $0.split(separator: " ").first.map(String.init) })
    let missing = Syscall.allCases.map(\.name).filter { !names.contains($0) }
    #expect(missing == [])
    let title = try #require(outcome.lines.first)
    let column = try #require(title.firstRange(of: "verb")).lowerBound
    let verbs = Set(BoundaryRow.Verb.words + ["nameless"])
    for line in outcome.lines.dropFirst().dropLast() {
      let offset = title.distance(from: title.startIndex, to: column)
      let verb = line.dropFirst(offset).prefix { $0 != " " }
      #expect(verbs.contains(String(verb)), "\(line)")
    }
  }

  @Test("syscalls --json is the boundary table")
  func syscallsAsJSON() async throws {
    let outcome = try await podrun(["syscalls", "--json"])
    let rows = try JSONDecoder().decode([BoundaryDescription].self, from: Data(outcome.output))
    #expect(rows == BoundaryTable.standard.descriptions)
  }

  @Test("machine says of each backend what --verbose says of its pods")
  func machine() async throws {
    let machine = try await podrun(["machine"])
    #expect(machine.status == 0)
    let sections = machine.text.components(separatedBy: "\n\n")
    for backend in TestBackend.usual {
      let section = try #require(sections.first { $0.hasPrefix("\(backend.rawValue): ") })
      #expect(!section.contains("doesn't work"), "\(section)")
      let said = section.split(separator: "\n").map { String($0.drop { $0 == " " }) }
        .filter { $0.hasPrefix("containment of ") }
      #expect(said.count == Containment.Subsystem.allCases.count)
      let pod = try await podrun(backend.options + ["--verbose", "--", "true"])
      for line in said { #expect(pod.error.contains("podrun: \(line)\n"), "\(pod.error)") }
    }
  }

  @Test(
    "programs named as what podrun can print are reached after --",
    arguments: ["syscalls", "machine"])
  func programOfThatName(name: String) async throws {
    let outcome = try await podrun(["--", name])
    #expect(outcome.status == 127)
    #expect(outcome.output.isEmpty)
  }
}

/// Whether the tests run under a seccomp filter already.
func isUnderFilter() async throws -> Bool {
  let found = try await TestEnvironment.native.run(
    "grep", ["-q", "^Seccomp:.*[12]", "/proc/self/status"])
  return found.status == .exited(0)
}
