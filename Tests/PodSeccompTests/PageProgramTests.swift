import PodTestSupport
import Subprocess
import SystemPackage
import Testing

/// The code of the pod area on the real kernel, in programs that map it themselves: `Tests/Programs/page_area.h`.
struct PageProgramTests {
  @Test("signals", arguments: [TestPrograms.Build.dynamic, .musl])
  func signals(_ build: TestPrograms.Build) async throws {
    try await run("page_signals", build)
  }

  @Test("a signal at every instruction")
  func everyInstruction() async throws { try await run("page_steps", .dynamic) }

  private func run(_ name: String, _ build: TestPrograms.Build) async throws {
    let result = try await Subprocess.run(
      .path(FilePath(try await TestPrograms.path(name, build))), output: .string(limit: 1 << 16),
      error: .combinedWithOutput)
    #expect(result.terminationStatus.isSuccess, "\(result.standardOutput ?? "")")
  }
}
