import PodCore
import PodTestSupport
import Testing

/// Hosts that take no seccomp filter, as podrun under a filter like an engine's.
@Suite("Without seccomp filters")
struct StopModeTests {
  /// Runs podrun where seccomp(2) is answered with an errno: always, or only when it brings a filter.
  private func podrun(
    _ errno: Int32, when: String = "always", _ words: [String]
  ) async throws -> TestEnvironment.Outcome {
    let wrapper = try await TestPrograms.path("without_seccomp")
    return try await TestEnvironment.native.run(
      wrapper, ["\(errno)", when, try TestPrograms.podrun(), "--backend", "ptrace"] + words)
  }

  @Test("every call stops, and podrun says so", arguments: [1, 13, 16, 22, 38] as [Int32])
  func fallsBack(errno: Int32) async throws {
    let outcome = try await podrun(
      errno, ["--verbose", "--", "sh", "-c", "echo is $$ below $PPID"])
    #expect(outcome.status == .exited(0))
    #expect(outcome.lines.contains("is 2 below 1"), "\(outcome.output)")
    #expect(outcome.output.contains("degraded: this machine takes no seccomp filter"))
  }

  @Test("a filter that is refused only at the program's start is done without")
  func fallsBackLate() async throws {
    let outcome = try await podrun(
      16, when: "filters",
      ["--verbose", "--", "sh", "-c", "echo below $PPID; true | true; echo $?"])
    #expect(outcome.status == .exited(0))
    #expect(outcome.lines.contains("below 1") && outcome.lines.contains("0"), "\(outcome.output)")
    #expect(outcome.output.contains("degraded: this machine takes no seccomp filter"))
  }

  @Test("who asks for filters is told that there are none")
  func refuses() async throws {
    let outcome = try await podrun(38, ["--ptrace-stops", "filtered", "--", "true"])
    #expect(outcome.status == .exited(125))
    #expect(outcome.output.contains("--ptrace-stops every-call"), "\(outcome.output)")
  }

  @Test(
    "calls that are answered or refused are not shown to the filter around",
    arguments: [
      "process_identity", "refused", "lock_owners", "signal_senders", "clone_flags",
      "interrupted_calls",
    ])
  func underAnEngine(program: String) async throws {
    let outcome = try await podrun(1, ["--", try await TestPrograms.path(program)])
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }

  @Test("where filters are to be had, nothing is degraded")
  func filtered() async throws {
    let outcome = try await TestEnvironment.native.run(
      try TestPrograms.podrun(), ["--backend", "ptrace", "--verbose", "--", "true"])
    #expect(outcome.status == .exited(0))
    #expect(!outcome.output.contains("degraded"), "\(outcome.output)")
  }
}
