import Glibc
import PodTestSupport
import SystemPackage
import Testing

@testable import PodCore

/// Many processes, many execs, and no more processes to be had.
@Suite("Crowds", .serialized)
struct CrowdTests {
  private func user() -> Pod.PlatformOptions {
    var options = Pod.PlatformOptions()
    if getuid() == 0 {
      options.userID = Amount.user()
      options.groupID = options.userID
      options.supplementaryGroups = []
    }
    return options
  }

  /// The names that are left when nothing but init runs.
  private func expectOnlyInit(_ pod: Pod) async {
    #expect(await pod.settledDisagreements() == [])
    let space = pod.names.tables.processes.space
    #expect(await eventually { space.count == 1 }, "\(space.entries)")
  }

  @Test(
    "a program that executes itself again and again", .timeLimit(.minutes(2)),
    arguments: TestBackend.usual)
  func execs(backend: TestBackend) async throws {
    let program = try await TestPrograms.path("exec_chain")
    try await withPod(backend: backend.backend) { pod in
      let result = try await pod.run(
        .path(FilePath(program)), arguments: ["\(Amount.of(100, long: 500))"],
        platformOptions: user(), output: .string(limit: 10_000), error: .combinedWithOutput)
      #expect(result.terminationStatus == .exited(0), "\(result.standardOutput)")
      await expectOnlyInit(pod)
    }
  }

  /// Starts a crowd that stays, and returns when it is complete.
  private func makeCrowd(_ pod: Pod, _ program: String, _ crowd: Int) async throws
    -> LaunchedProcess
  {
    let (lines, more) = AsyncStream.makeStream(of: [UInt8].self)
    let process = try await pod.launch(
      try LaunchRequest(
        .path(FilePath(program)), arguments: ["\(crowd)", "stay"], options: user(), input: .none,
        output: .sink { bytes in
          if let bytes { more.yield(bytes) } else { more.finish() }
          return true
        }, error: .sameAsOutput))
    var text: [UInt8] = []
    for await bytes in lines {
      text += bytes
      if text.contains(UInt8(ascii: "\n")) { break }
    }
    let made = Int(String(decoding: text, as: UTF8.self).prefix { $0 != "\n" })
    #expect(made ?? 0 >= crowd, "\(String(decoding: text, as: UTF8.self))")
    return process
  }

  @Test(
    "a fork bomb that the pod's end ends", .timeLimit(.minutes(3)),
    arguments: TestBackend.usual)
  func bombEndsWithPod(backend: TestBackend) async throws {
    let crowd = Amount.of(300, long: 2_000)
    let program = try await TestPrograms.path("crowd")
    let clock = ContinuousClock()
    let begin = clock.now
    var system: SystemNames<ProcessID>?
    var physical: [Int32] = []
    let made = try await withPod(backend: backend.backend) { pod in
      _ = try await makeCrowd(pod, program, crowd)
      let made = clock.now
      system = pod.names.tables.processes.system
      physical = pod.names.processes.map(\.physicalIdentifier.rawValue)
      #expect(physical.count >= crowd + 2)
      return made
    }
    let ended = clock.now
    print(
      "\(backend): crowd of \(crowd): made in \(made - begin), ended with its pod in \(ended - made)"
    )
    for process in physical { #expect(kill(process, 0) != 0 || HostProcess(process)?.state == "Z") }
    let outside = try #require(system)
    #expect(physical.allSatisfy { outside.owner(of: PhysicalName(rawValue: $0)) == nil })
  }

  @Test(
    "a fork bomb that a signal ends", .timeLimit(.minutes(3)),
    arguments: TestBackend.usual)
  func bombIsKilled(backend: TestBackend) async throws {
    let crowd = Amount.of(300, long: 2_000)
    let program = try await TestPrograms.path("crowd")
    try await withPod(backend: backend.backend) { pod in
      let clock = ContinuousClock()
      let process = try await makeCrowd(pod, program, crowd)
      // The group is the first child's; its name is the second that the pod gave to a process of the program's.
      let leader = try #require(
        pod.names.processes.first { $0.parent == process.identifier })
      let begin = clock.now
      try await pod.send(signal: .kill, to: leader.identifier, toProcessGroup: true)
      try await pod.send(signal: .kill, to: process.identifier)
      #expect(await process.termination() == .signaled(SIGKILL))
      let space = pod.names.tables.processes.space
      let isOver = await eventually(within: 60) {
        _ = await pod.processes()
        return space.count == 1
      }
      #expect(isOver)
      print("\(backend): crowd of \(crowd): killed and forgotten in \(clock.now - begin)")
      await expectOnlyInit(pod)
    }
  }

  @Test(
    "no more processes for the user", .timeLimit(.minutes(2)),
    arguments: TestBackend.usual)
  func userLimit(backend: TestBackend) async throws {
    let program = try await TestPrograms.path("no_more_processes")
    try await withPod(backend: backend.backend) { pod in
      for _ in 0..<Amount.of(1, long: 5) {
        let result = try await pod.run(
          .path(FilePath(program)), arguments: ["\(Amount.of(60, long: 400))"],
          platformOptions: user(), output: .string(limit: 10_000), error: .combinedWithOutput)
        // A plain user has other processes, which the limit is for too.
        if getuid() == 0 {
          #expect(result.terminationStatus == .exited(0), "\(result.standardOutput)")
        }
        await expectOnlyInit(pod)
      }
    }
  }

  @Test(
    "no more numbers in the host's pid namespace", .timeLimit(.minutes(2)),
    arguments: TestBackend.usual)
  func noMoreNumbers(backend: TestBackend) async throws {
    let tier = try await TestPrograms.path("tier")
    let namespace = ["--pid-namespace", "--sysctl", "kernel/pid_max=360", "--"]
    let probe = try await TestEnvironment.native.run(tier, namespace + ["true"])
    guard probe.status == .exited(0) else {
      try Test.cancel("a pid namespace with a small pid_max can't be made here: \(probe.output)")
    }
    let program = try await TestPrograms.path("no_more_processes")
    let outcome = try await TestEnvironment.native.run(
      tier, namespace + [try TestPrograms.podrun()] + backend.options + ["--", program, "0"])
    #expect(outcome.status == .exited(0), "\(outcome.output)")
    // A handful are the host's: processes and threads of podrun, and init.
    let made = outcome.lines.first?.split(separator: " ").compactMap { Int($0) } ?? []
    #expect(made.count == 3 && made.allSatisfy { $0 > 20 }, "\(outcome.output)")
    print("\(backend): pid_max 360: \(outcome.lines)")
  }
}
