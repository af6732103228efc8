import Glibc
import PodCore
import PodTestSupport
import Testing

/// Options that say how a pod is made.
@Suite("podrun's options for a pod", .timeLimit(.minutes(5)))
struct OptionTests {
  private func permitted(_ options: [String]) async throws -> CapabilitySet {
    let outcome = try await podrun(options + ["--", "grep", "^CapPrm", "/proc/self/status"])
    try #require(outcome.status == 0, "\(outcome.error)")
    let word = try #require(outcome.lines.first?.split(separator: "\t").last)
    return CapabilitySet(rawValue: try #require(UInt64(word, radix: 16)))
  }

  @Test("--cap-add and --cap-drop decide what root's programs keep")
  func capabilities() async throws {
    if getuid() != 0 { try Test.cancel("a plain user has no capabilities") }
    let mine = try await permitted(["--cap-add", "all"])
    #expect(try await permitted([]) == mine.intersection(.container))
    let cases: [([String], CapabilitySet)] = [
      (["--cap-add", "sys_ptrace"], CapabilitySet.container.union(.sysPtrace)),
      (
        ["--cap-add=CAP_SYS_PTRACE", "--cap-drop=kill"],
        CapabilitySet.container.union(.sysPtrace).subtracting(.kill)
      ),
      (["--cap-drop", "all"], []),
      (["--cap-add", "chown", "--cap-drop", "all", "--cap-add", "kill"], [.chown, .kill]),
      (["--cap-add", "all", "--cap-drop", "sys_admin"], CapabilitySet.all.subtracting(.sysAdmin)),
    ]
    for (options, expected) in cases {
      #expect(try await permitted(options) == mine.intersection(expected), "\(options)")
    }
  }

  @Test(
    "what can't be meant is wrong usage",
    arguments: [
      ["--cap-add", "root"], ["--cap-drop", ""], ["--cap-add", "all", "--cap-drop", "all"],
      ["--backend", "magic"], ["--backend", "seccomp", "--ptrace-stops", "every-call"],
      ["--require", "everything"],
    ])
  func wrongUsage(options: [String]) async throws {
    let outcome = try await podrun(options + ["--", "true"])
    #expect(outcome.status == 64, "\(outcome.error)")
    #expect(outcome.error.hasPrefix("Error: "), "\(outcome.error)")
  }

  @Test("a backend that is asked for by name runs the program", arguments: TestBackend.all)
  func backend(backend: TestBackend) async throws {
    let outcome = try await podrun(
      backend.options + ["--verbose", "--", "sh", "-c", "echo $$ $PPID"])
    #expect(outcome.status == 0)
    #expect(outcome.text == "2 1\n", "\(outcome.error)")
    #expect(!outcome.error.contains("degraded"), "\(outcome.error)")
  }
}
