import Glibc
import PodTestSupport
import Subprocess
import SystemPackage
import Testing

@testable import PodCore

/// SIGKILL at random moments: of the pod's processes, and of the host program.
@Suite("Kills at random moments", .serialized)
struct KillTests {
  @Test(
    "processes of the pod, by the host: its tables are exact", .timeLimit(.minutes(5)),
    arguments: TestBackend.usual)
  func processes(backend: TestBackend) async throws {
    let program = try await TestPrograms.path("busy_family")
    var kills = 0
    for round in 0..<Amount.of(3, long: 30) {
      try await withPod(backend: backend.backend) { pod in
        let families = try await withThrowingTaskGroup(of: LaunchedProcess.self) { group in
          for _ in 0..<3 {
            group.addTask {
              try await pod.launch(
                try LaunchRequest(
                  .path(FilePath(program)), arguments: ["400", "round-\(round)"], input: .none,
                  output: .discard, error: .discard))
            }
          }
          return try await group.reduce(into: []) { $0.append($1) }
        }
        let end = ContinuousClock.now + .milliseconds(400)
        while ContinuousClock.now < end {
          let entries = pod.names.tables.processes.space.entries
            .filter { $0.virtual != ProcessTable.initial && $0.state == .live }
          // The families themselves should live: they make the others.
          let victims = entries.filter { !families.map(\.identifier).contains($0.leader) }
          if let victim = victims.randomElement() {
            kill(victim.physical.rawValue, SIGKILL)
            kills += 1
          }
          try? await Task.sleep(for: .microseconds(Int.random(in: 50...3_000)))
        }
        for family in families { _ = await family.termination() }
        // Orphans end by themselves.
        let table = pod.names.tables.processes
        let isOver = await eventually {
          _ = await pod.processes()
          return table.space.count == 1
        }
        #expect(isOver, "\(table.space.entries)")
        #expect(await pod.settledDisagreements() == [])
        let after = try await pod.run(
          .name("sh"), arguments: ["-c", "true & wait $!"], output: .discarded)
        #expect(after.terminationStatus == .exited(0))
      }
    }
    print("\(backend): \(kills) kills by the host")
  }

  @Test(
    "processes of the pod, by each other: its tables are exact", .timeLimit(.minutes(5)),
    arguments: TestBackend.usual)
  func eachOther(backend: TestBackend) async throws {
    let program = try await TestPrograms.path("busy_family")
    let script = """
      for i in 1 2 3; do \(program) 100000 & families="$families $!"; done
      i=0
      while [ $i -lt \(Amount.of(400, long: 6_000)) ]; do
        kill -KILL $((i % 90 + 8)) 2>/dev/null && killed=$((killed+1))
        i=$((i+1))
      done
      kill -KILL $families
      wait
      echo $killed
      """
    try await withPod(backend: backend.backend) { pod in
      let result = try await pod.run(
        .name("bash"), arguments: ["-c", script], output: .string(limit: 1_000), error: .discarded)
      #expect(result.terminationStatus == .exited(0))
      #expect(Int(result.standardOutput.dropLast()) ?? 0 > 0, "\(result.standardOutput)")
      print("\(backend): kills by each other: \(result.standardOutput)", terminator: "")
      let table = pod.names.tables.processes
      let isOver = await eventually {
        _ = await pod.processes()
        return table.space.count == 1
      }
      #expect(isOver, "\(table.space.entries)")
      #expect(await pod.settledDisagreements() == [])
    }
  }

  @Test(
    "the host program, under load: it leaves nothing behind", .timeLimit(.minutes(20)),
    arguments: TestBackend.usual)
  func host(backend: TestBackend) async throws {
    let program = try await TestPrograms.path("busy_family")
    let podrun = try TestPrograms.podrun()
    let user = Amount.user()
    let owned = getuid() == 0
    let before = Set(Leftovers.all(of: user))
    var slowest = Duration.zero
    let rounds = Amount.of(15, long: 200)
    for round in 0..<rounds {
      let mark = "mark-\(user)-\(round)"
      let script = "for i in 1 2 3; do \(program) 60000 \(mark) & done; wait"
      let command = [podrun] + backend.options + ["--", "bash", "-c", script]
      let asUser =
        owned
        ? ["setpriv", "--reuid", "\(user)", "--regid", "\(user)", "--clear-groups"] + command
        : command
      let outcome = try await Subprocess.run(
        asUser[0].contains("/") ? .path(FilePath(asUser[0])) : .name(asUser[0]),
        arguments: Arguments(Array(asUser.dropFirst())), workingDirectory: "/", input: .none,
        output: .discarded, error: .discarded
      ) { execution in
        // From before init is there to the midst of the load.
        try await Task.sleep(
          for: .microseconds(Int.random(in: 0...(round % 4 == 0 ? 30_000 : 250_000))))
        try execution.send(signal: .kill)
      }
      guard case .signaled(9) = outcome.terminationStatus else {
        Issue.record("podrun ended by itself: \(outcome.terminationStatus)")
        continue
      }
      let begin = ContinuousClock.now
      var left: [HostProcess] = []
      let isOver = await eventually {
        left =
          owned
          ? HostProcess.all(of: user).filter { !$0.isForItsParentToReap }
          : HostProcess.all.filter { $0.hasArgument(mark) }
        return left.isEmpty
      }
      slowest = max(slowest, ContinuousClock.now - begin)
      #expect(isOver, "round \(round) left \(left)")
    }
    let after = Set(Leftovers.all(of: user)).subtracting(before)
    #expect(after.isEmpty, "\(after)")
    let zombies = HostProcess.all(of: user).filter { $0.state == "Z" }
    print(
      "\(backend): host killed \(rounds) times: nothing left, \(slowest) at most until all had ended, "
        + "\(owned ? zombies.count : 0) zombies that process 1 hasn't reaped")
  }
}

extension HostProcess {
  /// A zombie whose parent isn't one of ours: process 1, or who reaps for it.
  fileprivate var isForItsParentToReap: Bool {
    state == "Z" && HostProcess(parent).map { $0.name != name } ?? true
  }

  fileprivate func hasArgument(_ word: String) -> Bool {
    contents(of: "/proc/\(number)/cmdline")?.split(separator: "\0").contains { $0 == word } ?? false
  }
}
