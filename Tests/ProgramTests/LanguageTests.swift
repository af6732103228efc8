import PodCore
import PodTestSupport
import Testing

/// Languages whose libraries start, name and signal processes and threads in ways of their own.
@Suite("languages", .serialized)
struct LanguageTests {
  @Test("processes", arguments: ListedProgram.languages, TestEnvironment.allCases)
  func processes(program: ListedProgram, environment: TestEnvironment) async throws {
    try await program.pass(in: environment)
  }

  @Test("a Swift program with contended mutexes", arguments: TestEnvironment.allCases)
  func contendedMutexes(environment: TestEnvironment) async throws {
    let outcome = try await environment.run(try TestPrograms.product("contended-mutex"))
    #expect(outcome.status == .exited(0) && outcome.lines == ["10000"], "\(outcome.output)")
  }
}
