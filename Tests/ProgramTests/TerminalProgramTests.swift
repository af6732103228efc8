import PodTestSupport
import Testing

/// Programs that make terminals, and the sessions on them.
@Suite("terminal programs", .serialized)
struct TerminalProgramTests {
  @Test("windows", arguments: ListedProgram.terminal, TestEnvironment.allCases)
  func windows(program: ListedProgram, environment: TestEnvironment) async throws {
    try await program.pass(in: environment)
  }
}
