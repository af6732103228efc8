import PodTestSupport
import Subprocess
import SystemPackage
import Testing

@Suite("The example in README and DocC", .timeLimit(.minutes(5)))
struct EmbedTests {
  @Test("prints what README says")
  func embed() async throws {
    let result = try await Subprocess.run(
      .path(FilePath(try TestPrograms.product("embed"))), output: .string(limit: 1000),
      error: .string(limit: 1000))
    #expect(result.standardOutput == "exited(0) process 2, parent 1\n\n")
    #expect(result.standardError.isEmpty)
    #expect(result.terminationStatus.isSuccess)
  }
}
