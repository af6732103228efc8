import Foundation
import PodTestSupport
import Subprocess
import SystemPackage
import Testing

/// Memory of the host program.
@Suite("Memory")
struct FootprintTests {
  @Test("of a process in a pod")
  func process() async throws {
    let count = 400
    let script = """
      for i in $(seq 20); do sleep 1000 & done; echo few; read line
      for i in $(seq \(count)); do sleep 1000 & done; echo many; read line
      """
    let podrun = try TestPrograms.podrun()
    let result = try await Subprocess.run(
      .path(FilePath(podrun)), arguments: ["--backend", "seccomp", "--", "sh", "-c", script],
      input: .inputWriter, output: .sequence, error: .discarded
    ) { execution in
      var memory: [Int] = []
      for try await _ in execution.standardOutput.strings() {
        memory.append(try Self.memory(of: execution.processIdentifier.value))
        _ = try await execution.standardInputWriter.write("\n")
      }
      return memory
    }
    let memory = result.closureResult
    try #require(memory.count == 2)
    let bytes = (memory[1] - memory[0]) / count
    print("cost of a process: \(bytes) bytes")
    #expect(bytes <= Bounds.bytesPerProcess)
  }

  /// In bytes.
  private static func memory(of process: Int32) throws -> Int {
    let text = try String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8)
    let line = try #require(text.split(separator: "\n").first { $0.hasPrefix("RssAnon:") })
    return try #require(Int(line.filter(\.isNumber))) * 1024
  }
}
