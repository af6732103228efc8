import PodCore
import PodTestSupport
import Testing

/// Commands that start, name, wait for and signal others.
@Suite("utilities", .serialized)
struct CommandTests {
  @Test("commands", arguments: ListedProgram.utilities, TestEnvironment.allCases)
  func commands(program: ListedProgram, environment: TestEnvironment) async throws {
    try await program.pass(in: environment)
  }

  @Test(
    "the end of the first program ends the pod",
    arguments: TestEnvironment.pods)
  func daemonsEnd(environment: TestEnvironment) async throws {
    let marker = "\(Int.random(in: 100_000...999_999)).5"
    let outcome = try await environment.run(
      "bash",
      [
        "-c",
        "sleep \(marker) & (setsid sleep \(marker) &) ; (trap '' HUP TERM; exec sleep \(marker)) & sleep 0.2",
      ])
    #expect(outcome.status == .exited(0))
    let left = try await TestEnvironment.native.run("pgrep", ["-fx", "sleep \(marker)"])
    #expect(left.lines.isEmpty, "left behind: \(left.lines)")
  }
}
