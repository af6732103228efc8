import Foundation
import PodCore
import PodTestSupport
import Subprocess
import SystemPackage
import Testing

/// The code of the pod area on the real kernel, in programs that map it themselves (`Tests/Programs/page_area.h`), and in
/// pods.
struct PageProgramTests {
  @Test("signals")
  func signals() async throws { try await run("page_signals") }

  @Test("a signal at every instruction")
  func everyInstruction() async throws { try await run("page_steps", [Self.rules()]) }

  @Test("a signal to a name whose number is another process's by now")
  func numbers() async throws { try await run("page_numbers", [Self.rules()]) }

  /// A file with the boundary table of a pod whose signals the kernel keeps.
  private static func rules() throws -> String {
    let rules = try TestPrograms.scratch() + "/page-rules"
    try Data(BoundaryTable.standard.pageRules(isScoped: true)).write(to: URL(filePath: rules))
    return rules
  }

  @Test("who is who, in a pod")
  func identity() async throws {
    let program = try await TestPrograms.path("page_identity")
    try await withPod(backend: TestBackend.seccomp.backend) { pod in
      let result = try await pod.run(
        .path(FilePath(program)), output: .string(limit: 10_000), error: .combinedWithOutput)
      if result.terminationStatus == .exited(77) {
        try Test.cancel("this pod has no code in its processes")
      }
      #expect(result.terminationStatus == .exited(0), "\(result.standardOutput)")
    }
  }

  private func run(_ name: String, _ arguments: [String] = []) async throws {
    let result = try await Subprocess.run(
      .path(FilePath(try await TestPrograms.path(name))), arguments: Arguments(arguments),
      output: .string(limit: 1 << 16), error: .combinedWithOutput)
    #expect(result.terminationStatus.isSuccess, "\(result.standardOutput)")
  }
}
