import PodTestSupport
import Testing

/// Servers with several processes, started as daemons and stopped by number.
@Suite("servers", .serialized)
struct ServerTests {
  @Test("from start to stop", arguments: ListedProgram.servers, TestEnvironment.allCases)
  func life(program: ListedProgram, environment: TestEnvironment) async throws {
    try await program.pass(in: environment)
  }
}
