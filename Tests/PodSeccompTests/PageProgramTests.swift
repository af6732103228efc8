import Foundation
import PodCore
import PodTestSupport
import Subprocess
import SystemPackage
import Testing

/// The code of the pod area on the real kernel, in programs that map it themselves: `Tests/Programs/page_area.h`.
struct PageProgramTests {
  @Test("signals")
  func signals() async throws { try await run("page_signals") }

  @Test("a signal at every instruction")
  func everyInstruction() async throws {
    let rules = try TestPrograms.scratch() + "/page-rules"
    try Data(BoundaryTable.standard.pageRules()).write(to: URL(filePath: rules))
    try await run("page_steps", [rules])
  }

  private func run(_ name: String, _ arguments: [String] = []) async throws {
    let result = try await Subprocess.run(
      .path(FilePath(try await TestPrograms.path(name))), arguments: Arguments(arguments),
      output: .string(limit: 1 << 16), error: .combinedWithOutput)
    #expect(result.terminationStatus.isSuccess, "\(result.standardOutput ?? "")")
  }
}
