import Foundation
@_spi(Benchmarks) import PodSeccomp
import PodTestSupport
import Subprocess
import SystemPackage
import Testing

/// What the pod's code in a process does for a call, instruction by instruction.
@Suite("Instructions of the pod's code")
struct PageCostTests {
  @Test("of its answers")
  func answers() async throws {
    let area = try TestPrograms.scratch() + "/page-costs-area"
    try Data(SeccompBackend.standardArea()).write(to: URL(filePath: area))
    let result = try await Subprocess.run(
      .path(FilePath(try await TestPrograms.benchmark("page_costs", .static))),
      arguments: [area, "0", "1", "1"], output: .string(limit: 1 << 16), error: .combinedWithOutput)
    try #require(result.terminationStatus.isSuccess, "\(result.standardOutput)")
    var found: Set<String> = []
    for line in result.standardOutput.split(separator: "\n") {
      let words = line.split(separator: " ")
      let name = String(try #require(words.first))
      let instructions = try #require(Int(words[1]))
      let systemCalls = try #require(Int(words[2]))
      print("cost of \(name): \(instructions) instructions, \(systemCalls) system calls")
      guard let bound = Bounds.page[name] else {
        Issue.record("\(line)")
        continue
      }
      #expect(instructions <= bound.instructions, "\(name)")
      #expect(systemCalls <= bound.systemCalls, "\(name)")
      found.insert(name)
    }
    #expect(found == Set(Bounds.page.keys))
  }
}
