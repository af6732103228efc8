import Glibc
import PodCore
import PodTestSupport
import Testing

/// The programs of `Tests/Programs`: each exits with 0 natively, and so it must in every pod.
@Suite("Process names behave as the kernel's")
struct ProcessConformanceTests {
  static let programs = [
    "process_identity", "unknown_names", "waiting", "ignored_children", "orphans",
    "groups_and_sessions", "signal_senders", "signal_descriptors", "thread_names", "clone_words",
    "clone_flags",
    "exec_from_thread",
    "spawning", "lock_owners", "dumpable", "stop_and_continue", "interrupted_calls",
    "process_names_in", "no_way_out", "file_owners", "clocks_and_timers",
    "capabilities_and_priorities", "dying_threads", "segments", "many_threads", "parent_death",
    "killed_owners", "thread_churn", "thread_cancellation",
  ]

  /// What musl's own headers, which come without the kernel's and glibc's extensions, can't compile.
  static let needsKernelHeaders: Set = [
    "clone_words", "clone_flags", "lock_owners", "process_names_in", "clocks_and_timers",
    "capabilities_and_priorities", "file_owners", "killed_owners", "thread_cancellation",
  ]

  @Test("dynamic programs", arguments: programs, TestEnvironment.allCases)
  func dynamic(program: String, environment: TestEnvironment) async throws {
    let outcome = try await environment.run(try await TestPrograms.path(program))
    #expect(outcome.status == .exited(0), "\(outcome.output)")
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
    let outcome = try await environment.run(
      try await TestPrograms.path("outsider"), ["\(getpid())"])
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }

  @Test(
    "static programs of another C library",
    arguments: programs.filter { !needsKernelHeaders.contains($0) },
    [TestEnvironment.native, .ptrace, .ptraceEveryCall])
  func musl(program: String, environment: TestEnvironment) async throws {
    let outcome = try await environment.run(try await TestPrograms.path(program, .musl))
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }
}
