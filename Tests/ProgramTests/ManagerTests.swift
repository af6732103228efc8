import PodTestSupport
import Testing

/// Commands that keep account of the processes that they started, and end them.
@Suite("managers of processes", .serialized)
struct ManagerTests {
  @Test("start, ask, end", arguments: ListedProgram.managers, TestEnvironment.allCases)
  func account(program: ListedProgram, environment: TestEnvironment) async throws {
    try await program.pass(in: environment)
  }
}
