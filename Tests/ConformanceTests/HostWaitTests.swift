import PodCore
import PodTestSupport
import Testing

/// Host programs that wait for any child: they take reports that are the tracer's.
@Suite("A host that waits for any child", .serialized)
struct HostWaitTests {
  private func host(_ words: String...) async throws -> [String] {
    let outcome = try await TestEnvironment.native.run(
      try TestPrograms.product("reaping-host"), words, seconds: 50)
    #expect(outcome.status == .exited(0), "\(outcome.output)")
    // What the library logs goes to the other output.
    return outcome.lines.filter { !$0.contains(" warning: ") }
  }

  @Test(
    "programs end as they should, whoever waits",
    .timeLimit(.minutes(1)), arguments: ["nobody", "thread", "all", "handler"], TestBackend.usual)
  func fromTheStart(way: String, backend: TestBackend) async throws {
    let lines = try await host(way, "3", backend.rawValue)
    #expect(lines.last == "done", "\(lines)")
    // On a machine so busy that the host's wait comes after the first pod's beginning, that pod may fail; the next ones
    // know.
    #expect(lines.count <= (way == "nobody" ? 1 : 2), "\(lines)")
    #expect(lines.dropLast().allSatisfy { $0.contains("waits for any child") }, "\(lines)")
  }

  @Test(
    "a wait that begins in the middle harms no program, or the pod fails and says why",
    .timeLimit(.minutes(1)), arguments: TestBackend.usual)
  func late(backend: TestBackend) async throws {
    for _ in 0..<2 {
      let lines = try await host("late", "1", backend.rawValue)
      #expect(lines.last == "done", "\(lines)")
      // A pod that attaches to nobody any more ends as it should, and the next one finds out.
      let outcomes = lines.dropLast()
      let failures = outcomes.filter { $0 != "right" }
      #expect((1...2).contains(outcomes.count) && failures.count <= 1, "\(lines)")
      #expect(failures.allSatisfy { $0.contains("waits for any child") }, "\(lines)")
      print("\(backend): a late wait:", outcomes.joined(separator: ", then "))
    }
  }
}
