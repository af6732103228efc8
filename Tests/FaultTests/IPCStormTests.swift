import CLinux
import Glibc
import PodCore
import PodTestSupport
import Subprocess
import SystemPackage
import Testing

/// Several pods, and the host, make, use and remove objects of the same keys at full speed.
///
/// Each object carries its pod's mark, and the programs look at whatever they get hold of: by key, by index, and by ids that
/// they guess. Ids come again, since indices are used in turn.
@Suite("Storms of IPC", .serialized)
struct IPCStormTests {
  /// The keys that the programs use, which the host has too.
  private static let keys: Range<Int> = {
    let first = Int.random(in: 0x1000_0000...0x7000_0000)
    return first..<first + 4
  }()
  private static var key: String { "\(keys.lowerBound)" }
  /// What the host's objects hold.
  private static let hostMark: Int32 = 32_767
  private static let time = Amount.of(1_500, long: 20_000)

  private func make(_ call: Syscall, _ words: UInt64...) -> Int {
    let words = words + [UInt64](repeating: 0, count: 6 - words.count)
    return CLinux_syscall(
      Int(call.rawValue), words[0], words[1], words[2], words[3], words[4], words[5])
  }

  /// Objects of the host's, which the pods may neither find nor change; they are removed in the end.
  private struct HostObjects {
    let key: Int
    let queue: UInt64
    let set: UInt64
    let segment: UInt64
  }

  private func makeHostObjects(_ key: Int) -> HostObjects? {
    let flags: UInt64 = 0o3666
    let queue = make(.msgget, UInt64(key), flags)
    let set = make(.semget, UInt64(key), 3, flags)
    let segment = make(.shmget, UInt64(key), 4096, flags)
    let objects = HostObjects(
      key: key, queue: UInt64(max(queue, 0)), set: UInt64(max(set, 0)),
      segment: UInt64(max(segment, 0)))
    guard queue >= 0, set >= 0, segment >= 0,
      make(.semctl, objects.set, 2, 16, UInt64(Self.hostMark)) == 0,
      let words = shmat(Int32(segment), nil, 0)?.assumingMemoryBound(to: Int32.self),
      UInt(bitPattern: words) != UInt.max
    else { return nil }
    words[0] = Self.hostMark
    shmdt(words)
    var message = (Int(Self.hostMark), Self.hostMark)
    let sent = withUnsafeBytes(of: &message) { bytes in
      make(.msgsnd, objects.queue, UInt64(UInt(bitPattern: bytes.baseAddress)), 4, 0)
    }
    return sent == 0 ? objects : nil
  }

  /// Looks whether they are as they were, and removes them.
  private func expectUntouched(_ objects: HostObjects) {
    #expect(make(.msgget, UInt64(objects.key), 0) == Int(objects.queue))
    #expect(make(.semctl, objects.set, 2, 12) == Int(Self.hostMark))
    #expect(make(.semctl, objects.set, 0, 12) == 0)
    if let words = shmat(Int32(objects.segment), nil, 0)?.assumingMemoryBound(to: Int32.self),
      UInt(bitPattern: words) != UInt.max
    {
      #expect(words[0] == Self.hostMark)
      shmdt(words)
    } else {
      Issue.record("the host's segment is gone")
    }
    var message = (0, Int32(0), Int32(0))
    let size = withUnsafeMutableBytes(of: &message) { bytes in
      make(
        .msgrcv, objects.queue, UInt64(UInt(bitPattern: bytes.baseAddress)), 8, 0, 0o4000)
    }
    #expect(size == 4 && message.1 == Self.hostMark)
    remove(objects)
  }

  private func remove(_ objects: HostObjects) {
    _ = make(.msgctl, objects.queue, 0)
    _ = make(.semctl, objects.set, 0, 0)
    _ = make(.shmctl, objects.segment, 0)
  }

  private var users: Pod.PlatformOptions {
    var options = Pod.PlatformOptions()
    if getuid() == 0 {
      options.userID = Amount.user()
      options.groupID = options.userID
      options.supplementaryGroups = []
    }
    return options
  }

  @Test(
    "pods of one host program and the host don't see or touch each other's objects, and leave nothing",
    .timeLimit(.minutes(5)), arguments: TestBackend.usual, PodConfiguration.SystemVProvider.each)
  func oneHost(backend: TestBackend, provider: PodConfiguration.SystemVProvider) async throws {
    let configuration = try provider.configured()
    let program = FilePath(try await TestPrograms.path("ipc_storm"))
    let options = users
    let before = OwnUse()
    let old = try #require(makeHostObjects(Self.keys.lowerBound))
    var young: HostObjects?
    try await withThrowingTaskGroup(of: Void.self) { group in
      for mark in 1...3 {
        group.addTask {
          try await withPod(configuration, backend: backend.backend) { pod in
            let result = try await pod.run(
              .path(program), arguments: ["\(mark * 1000)", "\(Self.time)", Self.key],
              platformOptions: options, output: .string(limit: 4096), error: .combinedWithOutput)
            #expect(result.terminationStatus == .exited(0), "\(result.standardOutput)")
            print(
              "\(backend), \(provider): storm \(mark): \(result.standardOutput)", terminator: "")
            #expect(await pod.settledDisagreements() == [])
          }
        }
      }
      try await Task.sleep(for: .milliseconds(Self.time / 2))
      young = makeHostObjects(Self.keys.lowerBound + 1)
      try await group.waitForAll()
    }
    expectUntouched(old)
    expectUntouched(try #require(young))
    for key in Self.keys {
      #expect(make(.msgget, UInt64(key)) == -Int(ENOENT))
      #expect(make(.semget, UInt64(key)) == -Int(ENOENT))
      #expect(make(.shmget, UInt64(key)) == -Int(ENOENT))
    }
    if let user = options.userID { #expect(Leftovers.all(of: user) == []) }
    let isGivenBack = await eventually {
      let now = OwnUse()
      return now.descriptors <= before.descriptors + 2 && now.threads <= before.threads + 2
    }
    #expect(isGivenBack, "\(before), then \(OwnUse())")
  }

  @Test(
    "host programs on one machine, of which some are killed in the middle",
    .timeLimit(.minutes(5)), arguments: TestBackend.usual)
  func severalHosts(backend: TestBackend) async throws {
    let program = try await TestPrograms.path("ipc_storm")
    let podrun = try TestPrograms.podrun()
    let user = Amount.user()
    let old = try #require(makeHostObjects(Self.keys.lowerBound))
    let isRoot = getuid() == 0
    let asUser =
      isRoot
      ? ["setpriv", "--reuid", "\(user)", "--regid", "\(user)", "--clear-groups", podrun]
      : [podrun]
    let kills = try await withThrowingTaskGroup(of: Int.self) { group in
      for mark in 1...3 {
        group.addTask {
          let command = asUser + backend.options + ["--", program]
          let outcome = try await TestEnvironment.native.run(
            command[0], Array(command.dropFirst()) + ["\(mark * 1000)", "\(Self.time)", Self.key],
            seconds: 120)
          #expect(outcome.status == .exited(0), "\(outcome.output)")
          print("\(backend): host \(mark): \(outcome.output)", terminator: "")
          return 0
        }
      }
      group.addTask {
        let end = ContinuousClock.now + .milliseconds(Self.time)
        var kills = 0
        while ContinuousClock.now < end {
          let command =
            asUser + backend.options + ["--", program, "\(4000 + kills % 1000)", "60000", Self.key]
          _ = try await Subprocess.run(
            command[0].contains("/") ? .path(FilePath(command[0])) : .name(command[0]),
            arguments: Arguments(Array(command.dropFirst())), workingDirectory: "/", input: .none,
            output: .discarded, error: .discarded
          ) { execution in
            try await Task.sleep(for: .milliseconds(Int.random(in: 20...400)))
            try execution.send(signal: .kill)
          }
          kills += 1
        }
        return kills
      }
      return try await group.reduce(0, +)
    }
    expectUntouched(old)
    print("\(backend): \(kills) host programs killed")
    // What the killed ones have left in /dev/shm the next pod of the user removes.
    let command = asUser + backend.options + ["--", program, "77", "1000", Self.key]
    let last = try await TestEnvironment.native.run(command[0], Array(command.dropFirst()))
    #expect(last.status == .exited(0), "\(last.output)")
    let isOver = await eventually { Leftovers.all(of: user).isEmpty }
    #expect(isOver, "\(Leftovers.all(of: user))")
    for key in Self.keys { #expect(make(.semget, UInt64(key)) == -Int(ENOENT)) }
  }

  @Test(
    "pods that end in the middle of everything leave the host program as it was",
    .timeLimit(.minutes(10)), arguments: TestBackend.usual, PodConfiguration.SystemVProvider.each)
  func manyPods(backend: TestBackend, provider: PodConfiguration.SystemVProvider) async throws {
    let configuration = try provider.configured()
    let program = FilePath(try await TestPrograms.path("ipc_storm"))
    let options = users
    let warmUp = 8
    let count = Amount.of(16, long: 200) + warmUp
    var before = OwnUse()
    for round in 0..<count {
      // What a host program keeps once it has had a pod or a few: threads of the pool, memory of the allocator.
      if round == warmUp { before = OwnUse() }
      try await withPod(configuration, backend: backend.backend) { pod in
        _ = try await pod.launch(
          try LaunchRequest(
            .path(program), arguments: ["\(round + 1)", "60000", Self.key], options: options,
            input: .none,
            output: .discard, error: .discard))
        // Who waits when the pod ends is never answered.
        _ = try await pod.launch(
          try LaunchRequest(
            .name("sh"), arguments: ["-c", "sleep 60 & wait"], options: options, input: .none,
            output: .discard, error: .discard))
        try await Task.sleep(for: .milliseconds(Int.random(in: 1...120)))
      }
    }
    let isGivenBack = await eventually {
      let now = OwnUse()
      return now.descriptors <= before.descriptors && now.threads <= before.threads
    }
    let after = OwnUse()
    print(
      "\(backend), \(provider): \(count - warmUp) pods ended in a storm: \(before) before, \(after) after"
    )
    #expect(isGivenBack, "\(before), then \(after): \(after.more(than: before))")
    #expect(after.memory < before.memory + 16 * 1024, "\(before), then \(after)")
    if let user = options.userID { #expect(Leftovers.all(of: user) == []) }
  }
}
