import PodTestSupport
import Testing

/// git, whose commands are programs that talk to each other.
@Suite("git", .serialized)
struct GitTests {
  @Test("clone, rebase, gc", arguments: ListedProgram.git, TestEnvironment.allCases)
  func repository(program: ListedProgram, environment: TestEnvironment) async throws {
    try await program.pass(in: environment)
  }
}
