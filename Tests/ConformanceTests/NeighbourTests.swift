import CLinux
import Glibc
import PodCore
import PodTestSupport
import SystemPackage
import Testing

/// Pods and the host use one key, each for an object of its own.
@Suite("System V objects of neighbours", .serialized)
struct NeighbourTests {
  private static let flags = 0o3666
  private static let getValue: UInt64 = 12
  private static let remove: UInt64 = 0

  /// Makes one of the calls of System V IPC, on the host.
  private func make(_ call: Syscall, _ words: UInt64...) -> Int {
    let words = words + [UInt64](repeating: 0, count: 6 - words.count)
    return CLinux_syscall(
      Int(call.rawValue), words[0], words[1], words[2], words[3], words[4], words[5])
  }

  @Test(
    "two pods and the host have an object each behind one key, and nothing is left of the pods'",
    .timeLimit(.minutes(1)), arguments: TestBackend.all, PodConfiguration.SystemVProvider.each)
  func oneKey(backend: TestBackend, provider: PodConfiguration.SystemVProvider) async throws {
    let configuration = try provider.configured()
    let key = UInt64.random(in: 0x4000_0000...0x7000_0000)
    let queue = make(.msgget, key, UInt64(Self.flags))
    let set = make(.semget, key, 1, UInt64(Self.flags))
    try #require(queue >= 0 && set >= 0)
    defer {
      _ = make(.msgctl, UInt64(queue), Self.remove)
      _ = make(.semctl, UInt64(set), 0, Self.remove)
    }
    let program = try await TestPrograms.path("ipc_neighbours")
    let directory = try TestPrograms.scratch() + "/neighbours-\(key)"
    try #require(mkdir(directory, 0o777) == 0)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<2 {
        group.addTask {
          try await withPod(configuration, backend: backend.backend) { pod in
            let result = try await pod.run(
              .path(FilePath(program)), arguments: ["\(key)", "\(queue)", "\(set)", directory],
              output: .string(limit: 4096), error: .combinedWithOutput)
            #expect(result.terminationStatus == .exited(0), "\(result.standardOutput)")
          }
        }
      }
      try await group.waitForAll()
    }
    // The host's are as they were, and they are still what the host finds.
    #expect(make(.semctl, UInt64(set), 0, Self.getValue) == 0)
    let noWait: UInt64 = 0o4000
    #expect(make(.msgrcv, UInt64(queue), 0, 0, 0, noWait) < 0)
    #expect(make(.msgget, key) == queue)
    #expect(make(.semget, key) == set)
  }

  @Test(
    "what a killed pod had, and who waited for it, is gone with it",
    .timeLimit(.minutes(1)), arguments: TestBackend.usual, PodConfiguration.SystemVProvider.each)
  func killedPod(backend: TestBackend, provider: PodConfiguration.SystemVProvider) async throws {
    let configuration = try provider.configured()
    let key = UInt64.random(in: 0x4000_0000...0x7000_0000)
    let script = """
      $s = semget($ARGV[0], 1, 01600); $q = msgget($ARGV[0], 01600);
      for (1..5) { if (!fork) { semop($s, pack("s!3", 0, -1, 0x1000)); exit } }
      for (1..5) { if (!fork) { msgrcv($q, $b, 10, 0, 0); exit } }
      select(undef, undef, undef, 0.2); $| = 1; print "waits\n"; msgrcv($q, $b, 10, 0, 0);
      """
    try await withPod(configuration, backend: backend.backend) { pod in
      _ = try await pod.run(
        .name("perl"), arguments: ["-e", script, "\(key)"], input: .none, output: .sequence,
        error: .discarded
      ) { execution in
        for try await _ in execution.standardOutput { break }
        try await execution.send(signal: .kill)
      }
    }
    #expect(make(.msgget, key) == -Int(ENOENT))
    #expect(make(.semget, key) == -Int(ENOENT))
  }
}
