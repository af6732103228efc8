import PodCore
import PodTestSupport
import SystemPackage
import Testing

/// What a pod tells of its processes' execs, whatever way they are found out.
@Suite("Events of execs")
struct ExecEventTests {
  /// What happened to each process, in the order of births, but for its end; how many ends were told; and what was told of
  /// processes that had ended.
  private func lives(_ events: PodEvents) async -> (execs: [Int], ends: Int, late: Int) {
    var execs: [VirtualName<ProcessID>: Int] = [:]
    var order: [VirtualName<ProcessID>] = []
    var ended: Set<VirtualName<ProcessID>> = []
    var late = 0
    for await event in events {
      switch event {
      case .started(let name, _, _):
        execs[name] = 0
        order.append(name)
      case .executed(let name):
        if execs[name] == nil || ended.contains(name) { late += 1 }
        execs[name, default: 0] += 1
      case .ended(let name, _): ended.insert(name)
      default: break
      }
    }
    return (order.map { execs[$0] ?? 0 }, ended.count, late)
  }

  @Test(
    "execs are told after the birth and before the end, and those that fail aren't",
    arguments: TestBackend.all)
  func order(backend: TestBackend) async throws {
    let program = try await TestPrograms.path("exec_events")
    let (status, events) = try await withPod(backend: backend.backend) { pod in
      let events = pod.events
      let run = try await pod.run(.path(FilePath(program)), output: .discarded)
      return (run.terminationStatus, events)
    }
    #expect(status == .exited(0))
    let (execs, ends, late) = await lives(events)
    #expect(late == 0)
    #expect(ends == execs.count, "each of them was waited for")
    // The program itself, and its children in their order.
    let round = [1, 0, 2, 1, 0]
    let wanted = [1] + Array(repeating: round, count: 5).flatMap { $0 } + [1, 1, 1, 1, 1]
    #expect(execs == wanted)
  }
}
