import CLinux
import Glibc
import PodCore
import PodTestSupport
import SystemPackage
import Testing

/// The programs of `Tests/Programs`: each exits with 0 natively, and so it must in every pod.
@Suite("Process names behave as the kernel's")
struct ProcessConformanceTests {
  static let programs = [
    "process_identity", "unknown_names", "waiting", "ignored_children", "orphans",
    "groups_and_sessions", "signal_senders", "sent_signals", "signal_descriptors",
    "thread_names", "clone_words", "clone_flags", "first_calls",
    "exec_from_thread",
    "spawning", "lock_owners", "dumpable", "stop_and_continue", "interrupted_calls",
    "process_names_in", "no_way_out", "file_owners", "clocks_and_timers",
    "capabilities_and_priorities", "dying_threads", "segments", "many_threads", "parent_death",
    "crowd", "exec_chain", "busy_family", "without_scratch", "changing_code", "changing_calls",
    "killed_owners", "thread_churn", "thread_cancellation",
    "signalled_waits", "signal_payloads", "message_senders", "process_handles", "users_processes",
    "names_in_calls",
    "subreapers", "terminal_sessions", "fair_share", "ignored_signals",
    "direct_calls", "arguments_in_motion", "signal_storm", "exec_among_calls", "late_answers",
    "longjmp_out", "hostile_births", "handlers", "copies_of_memory", "semaphores",
    "message_queues", "shared_memory", "shared_memory_crowd",
  ]

  /// What musl's own headers, which come without the kernel's and glibc's extensions, can't compile.
  static let needsKernelHeaders: Set = [
    "clone_words", "clone_flags", "lock_owners", "process_names_in", "clocks_and_timers",
    "capabilities_and_priorities", "file_owners", "names_in_calls", "killed_owners",
    "thread_cancellation", "sent_signals",
  ]

  @Test("dynamic programs", arguments: programs, TestEnvironment.allCases)
  func dynamic(program: String, environment: TestEnvironment) async throws {
    let outcome = try await environment.run(try await TestPrograms.path(program))
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }

  @Test(
    "programs that may be executed and not read",
    arguments: ["waiting", "clone_words", "signal_payloads"],
    TestEnvironment.unprivileged)
  func unreadable(program: String, environment: TestEnvironment) async throws {
    guard getuid() == 0 else { try Test.cancel("only root can make a file that others can't read") }
    let outcome = try await environment.run(try await TestPrograms.unreadable(program))
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }

  /// Where every call stops, the tracer sees a call before the program's filters do: what they decide can come too late.
  @Test(
    "programs with filters of their own",
    arguments: TestEnvironment.allCases.filter { $0 != .ptraceEveryCall })
  func ownFilters(environment: TestEnvironment) async throws {
    let outcome = try await environment.run(try await TestPrograms.path("own_filters"))
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }

  /// The kernel shows a call whose arguments a tracer has changed to all filters once more.
  @Test(
    "a program's own filter that looks at numbers",
    arguments: TestEnvironment.allCases)
  func filteredNumbers(environment: TestEnvironment) async throws {
    let outcome = try await environment.run(try await TestPrograms.path("filtered_numbers"))
    withKnownIssue("a filter sees the host's numbers") {
      #expect(outcome.status == .exited(0), "\(outcome.output)")
    } when: {
      environment.isPod
    }
  }

  @Test("the pod's init is out of reach", arguments: TestEnvironment.pods)
  func podInit(environment: TestEnvironment) async throws {
    let outcome = try await environment.run(try await TestPrograms.path("pod_init"))
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }

  @Test("a call that the program's own filter traps does nothing", arguments: TestEnvironment.pods)
  func trapped(environment: TestEnvironment) async throws {
    let outcome = try await environment.run(try await TestPrograms.path("trapped_calls"))
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }

  @Test(
    "ways around the pod are refused", arguments: TestEnvironment.pods)
  func refused(environment: TestEnvironment) async throws {
    let outcome = try await environment.run(try await TestPrograms.path("refused"))
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }

  @Test("who is outside is out of reach", arguments: TestEnvironment.pods)
  func outsider(environment: TestEnvironment) async throws {
    let path = try TestPrograms.write("", to: "locked-\(environment.rawValue.hashValue)")
    let file = try FileDescriptor.open(FilePath(path), .readWrite)
    defer { try? file.close() }
    var lock = flock()
    lock.l_type = Int16(F_WRLCK)
    try #require(fcntl(file.rawValue, F_SETLK, &lock) == 0)
    let outcome = try await environment.run(
      try await TestPrograms.path("outsider"), ["\(getpid())", path])
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }

  @Test(
    "nothing is left of killed subreapers and their orphans", arguments: TestEnvironment.pods)
  func orphanStorm(environment: TestEnvironment) async throws {
    let outcome = try await environment.run(try await TestPrograms.path("orphan_storm"))
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }

  @Test(
    "a descriptor of a process outside gives nothing",
    arguments: TestBackend.all)
  func foreignHandle(backend: TestBackend) async throws {
    let program = try await TestPrograms.path("foreign_handle")
    let handle = CLinux_pidfd_open(getpid(), 0)
    try #require(handle >= 0)
    let result = try await withPod(backend: backend.backend) { pod in
      try await pod.run(
        .path(FilePath(program)),
        input: .fileDescriptor(
          FileDescriptor(rawValue: handle), closeAfterSpawningProcess: true),
        output: .string(limit: 4096), error: .combinedWithOutput)
    }
    #expect(result.terminationStatus == .exited(0), "\(result.standardOutput)")
  }

  @Test(
    "a user's processes outside keep their priorities",
    arguments: TestEnvironment.own.filter(\.isPod))
  func usersProcessesOutside(environment: TestEnvironment) async throws {
    let before = getpriority(Int32(PRIO_PROCESS.rawValue), UInt32(getpid()))
    let outcome = try await environment.run(
      try await TestPrograms.path("users_processes"), ["inside"])
    #expect(outcome.status == .exited(0), "\(outcome.output)")
    #expect(getpriority(Int32(PRIO_PROCESS.rawValue), UInt32(getpid())) == before)
  }

  @Test(
    "static programs of another C library",
    arguments: programs.filter { !needsKernelHeaders.contains($0) },
    TestEnvironment.own)
  func musl(program: String, environment: TestEnvironment) async throws {
    let outcome = try await environment.run(try await TestPrograms.path(program, .musl))
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }
}
