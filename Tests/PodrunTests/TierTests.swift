import Glibc
import PodCore
import PodTestSupport
import Testing

/// What a machine, a container's profile or a limit may lack: a pod does without, or says what is missing before the
/// program starts.
@Suite("What is missing is named", .timeLimit(.minutes(5)))
struct TierTests {
  /// A tier: what is taken away, and what podrun says; nil when it does without.
  struct Lack: CustomTestStringConvertible {
    let options: [String]
    let complaint: String?
    /// What it says where a filter that is here already denies clone3, as an engine's does.
    var orComplaint: String?
    var needsRoot = false
    /// The only backend that this matters to in this way; nil when it's the same to all.
    var only: TestBackend?
    var testDescription: String { options.joined(separator: " ") }
  }

  /// A lack and the backend that has to do without.
  struct Case: CustomTestStringConvertible {
    let lack: Lack
    let backend: TestBackend
    var testDescription: String { "\(backend) \(lack.testDescription)" }
  }

  static let cases = TestBackend.usual.flatMap { backend in
    lacks.filter { $0.only ?? backend == backend }.map { Case(lack: $0, backend: backend) }
  }

  /// A user for limits that count all of a user's processes.
  private static let user = "\(UInt32.random(in: 64_100...64_900))"
  private static let asUser = getuid() == 0 ? ["--user", user] : []

  static let lacks: [Lack] =
    [
      Lack(options: ["--engine"], complaint: nil),
      Lack(options: ["--no-user-namespaces"], complaint: nil),
      Lack(options: asUser + ["--engine"], complaint: nil),
      Lack(options: asUser + ["--no-user-namespaces"], complaint: nil),
      Lack(options: ["--deny", "clone3=ENOSYS"], complaint: nil),
      Lack(options: ["--deny", "process_vm_readv"], complaint: nil),
      Lack(options: ["--deny", "process_vm_writev=ENOSYS"], complaint: nil),
      Lack(options: ["--deny", "pidfd_open"], complaint: nil, only: .ptrace),
      Lack(options: ["--deny", "pidfd_send_signal"], complaint: nil, only: .ptrace),
      Lack(options: ["--deny", "pidfd_getfd"], complaint: nil),
      Lack(options: ["--deny", "close_range"], complaint: nil),
      Lack(options: ["--deny", "close_range=ENOSYS"], complaint: nil),
      Lack(options: ["--ignore-children"], complaint: nil),
      Lack(options: ["--close", "0", "--close", "1"], complaint: nil),
      Lack(options: ["--deny", "ptrace"], complaint: "doesn't let a program trace", only: .ptrace),
    ]
    + supervisions + machine

  /// What only supervision needs.
  private static let supervisions =
    [
      ("ptrace", "ptrace(2) is denied"), ("ptrace=ENOSYS", "ptrace(2) is denied"),
      ("seccomp", "seccomp(2) is denied"), ("seccomp=ENOSYS", "CONFIG_SECCOMP_FILTER"),
      ("pidfd_open", "pidfd_open(2) is denied"), ("pidfd_open=ENOSYS", "Linux 5.3"),
      ("pidfd_send_signal", "pidfd_send_signal(2) is denied"),
      ("landlock_create_ruleset=ENOSYS", nil), ("landlock_create_ruleset", nil),
      ("landlock_restrict_self", "Landlock"),
    ].map { Lack(options: ["--deny", $0.0], complaint: $0.1, only: .seccomp) } + [
      Lack(options: ["--listener"], complaint: "have a seccomp listener already", only: .seccomp),
      Lack(options: ["--listener"], complaint: nil, only: .ptrace),
      Lack(options: ["--old-listeners"], complaint: nil, only: .seccomp),
    ]

  /// What both need of the machine.
  private static let machine = [
    Lack(options: ["--deny", "memfd_create"], complaint: "memfd_create(2) is denied"),
    Lack(options: ["--deny", "memfd_create=ENOSYS"], complaint: "memfd_create(2) is denied"),
    Lack(options: ["--deny", "execveat"], complaint: "execveat(2) of files in memory is denied"),
    Lack(options: ["--deny", "execveat=ENOSYS"], complaint: "execveat(2)"),
    Lack(
      options: ["--deny", "clone"], complaint: "clone(2) is denied",
      orComplaint: "no threads are to be had"),
    Lack(options: ["--deny", "socketpair"], complaint: "socketpair(2) is denied"),
    Lack(options: ["--limit", "nofile=9"], complaint: "ulimit -n"),
    Lack(options: asUser + ["--limit", "nproc=3"], complaint: "ulimit -u", needsRoot: true),
    Lack(options: asUser + ["--limit", "nproc=6"], complaint: "ulimit -u", needsRoot: true),
    Lack(options: ["--hide", "/proc"], complaint: "/proc isn't mounted", needsRoot: true),
    Lack(
      options: ["--pid-namespace", "--sysctl", "vm/memfd_noexec=2"],
      complaint: "vm.memfd_noexec", needsRoot: true),
    Lack(options: ["--hide", "/dev/pts"], complaint: nil, needsRoot: true),
  ]

  @Test("without", arguments: cases)
  func lacking(_ item: Case) async throws {
    let lack = item.lack
    if lack.needsRoot, getuid() != 0 { try Test.cancel("only root can take this away") }
    let tier = try await TestPrograms.path("tier")
    let outcome = try await TestEnvironment.native.run(
      tier,
      lack.options + ["--", try TestPrograms.podrun()] + item.backend.options
        + ["--", "sh", "-c", "exit 7"], seconds: 30)
    if lack.needsRoot, outcome.status == .exited(99) {
      try Test.cancel("can't be taken away here: \(outcome.output)")
    }
    guard let complaint = lack.complaint else {
      #expect(outcome.status == .exited(7), "\(outcome.output)")
      return
    }
    #expect(outcome.status == .exited(125), "\(outcome.output)")
    #expect(outcome.output.hasPrefix("podrun: "), "\(outcome.output)")
    #expect(outcome.lines.count == 1, "\(outcome.output)")
    let expected = try await isUnderFilter() ? lack.orComplaint ?? complaint : complaint
    #expect(outcome.output.contains(expected), "\(outcome.output)")
  }

  @Test("without seccomp filters, in the mode in which every call stops")
  func withoutFilters() async throws {
    let tier = try await TestPrograms.path("tier")
    for options in [["--deny", "seccomp"], Self.asUser + ["--deny", "seccomp=EINVAL"]] {
      for program in ["process_identity", "waiting", "spawning"] {
        let outcome = try await TestEnvironment.native.run(
          tier,
          options + ["--", try TestPrograms.podrun(), "--backend", "ptrace", "--"]
            + [try await TestPrograms.path(program)])
        #expect(outcome.status == .exited(0), "\(program): \(outcome.output)")
      }
    }
  }

  @Test(
    "without what supervision needs, podrun traces, and says why",
    arguments: ["seccomp", "pidfd_open"])
  func fallsBack(denied: String) async throws {
    let outcome = try await TestEnvironment.native.run(
      try await TestPrograms.path("tier"),
      ["--deny", denied, "--", try TestPrograms.podrun(), "--backend", "auto", "--verbose", "--"]
        + ["sh", "-c", "echo $$ $PPID; exit 7"])
    #expect(outcome.status == .exited(7))
    #expect(outcome.lines.contains("2 1"), "\(outcome.output)")
    let reason = "degraded: processes are traced instead of supervised: \(denied)(2) is denied"
    #expect(outcome.output.contains(reason), "\(outcome.output)")
    #expect(outcome.output.contains("containment of processes: namedOnly"))
  }

  @Test("who demands containment isn't traced instead")
  func demands() async throws {
    for backend in ["auto", "seccomp"] {
      let outcome = try await TestEnvironment.native.run(
        try await TestPrograms.path("tier"),
        ["--deny", "seccomp", "--", try TestPrograms.podrun(), "--backend", backend]
          + ["--require", "processes", "--", "touch", "/this-must-not-run"])
      #expect(outcome.status == .exited(125))
      #expect(outcome.lines.count == 1, "\(outcome.output)")
    }
  }

  @Test("without Landlock, less is promised, and who demands it is refused")
  func withoutLandlock() async throws {
    let tier = try await TestPrograms.path("tier")
    let podrun = [try TestPrograms.podrun(), "--backend", "seccomp", "--verbose"]
    let found = try await TestEnvironment.native.run(
      podrun[0], podrun.dropFirst() + ["--", "true"])
    guard found.output.contains("containment of processes: kernel") else {
      try Test.cancel("there is no Landlock, or an old one: \(found.output)")
    }
    let words = ["--deny", "landlock_create_ruleset=ENOSYS", "--"] + podrun
    let outcome = try await TestEnvironment.native.run(tier, words + ["--", "true"])
    #expect(outcome.status == .exited(0))
    #expect(
      outcome.output.contains(/containment of processes: (namedOnly|supervisor)/),
      "\(outcome.output)")
    if outcome.output.contains("containment of processes: namedOnly") {
      let demanding = try await TestEnvironment.native.run(
        tier, words + ["--require", "processes", "--", "true"])
      #expect(demanding.status == .exited(125))
      #expect(demanding.output.contains("no Landlock"), "\(demanding.output)")
    }
  }

  @Test("without Landlock, the pod's code in programs sends no signals by itself")
  func signalsWithoutLandlock() async throws {
    let tier = try await TestPrograms.path("tier")
    let podrun = [try TestPrograms.podrun(), "--backend", "seccomp", "--"]
    let sending = try await TestPrograms.path("sent_signals")
    // It says by 77 that the code leaves them to the supervisor.
    let late = try await TestPrograms.path("late_signals")
    for (program, status) in [([sending], 0), ([late, "1"], 77)] as [([String], Int32)] {
      let outcome = try await TestEnvironment.native.run(
        tier, ["--deny", "landlock_create_ruleset=ENOSYS", "--"] + podrun + program)
      #expect(outcome.status == .exited(status), "\(outcome.output)")
    }
  }

  /// Segments come to their users as descriptors, and what a process of another user has mapped only that may look at.
  @Test(
    "shared memory, where nobody takes descriptors or looks at processes of other users",
    arguments: TestBackend.usual)
  func sharedMemory(backend: TestBackend) async throws {
    let program = try await TestPrograms.path("shared_memory")
    for options in [["--engine"], Self.asUser + ["--deny", "pidfd_getfd"]] {
      let outcome = try await TestEnvironment.native.run(
        try await TestPrograms.path("tier"),
        options + ["--", try TestPrograms.podrun()] + backend.options + ["--", program])
      #expect(outcome.status == .exited(0), "\(outcome.output)")
    }
  }

  @Test(
    "limits of System V objects are the machine's, where they are emulated",
    arguments: TestBackend.usual)
  func limits(backend: TestBackend) async throws {
    if getuid() != 0 { try Test.cancel("only root can set them") }
    try TestPrograms.require("unshare")
    let program = try await TestPrograms.path("object_limits")
    let tier = try await TestPrograms.path("tier")
    let set = """
      cd /proc/sys/kernel && echo 5 >msgmni && echo 100 >msgmax && echo 200 >msgmnb && echo 10 25 7 4 >sem \
      && echo 3 >shmmni && echo 8192 >shmmax && echo 4 >shmall && exec "$@"
      """
    let words = ["-i", "sh", "-c", set, "sh"]
    let native = try await TestEnvironment.native.run("unshare", words + [program])
    if native.output.contains("unshare failed") { try Test.cancel("\(native.output)") }
    #expect(native.status == .exited(0), "\(native.output)")
    // Without the privilege that an IPC namespace of the pod's own would need.
    let outcome = try await TestEnvironment.native.run(
      "unshare",
      words + [tier, "--engine", "--", try TestPrograms.podrun()] + backend.options
        + ["--", program])
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }

  @Test(
    "a pod in a pod is refused with the reason", arguments: TestBackend.usual, TestBackend.usual)
  func nested(outer: TestBackend, inner: TestBackend) async throws {
    let podrun = try TestPrograms.podrun()
    let outcome = try await TestEnvironment.native.run(
      podrun, outer.options + ["--", podrun] + inner.options + ["--", "true"])
    #expect(outcome.status == .exited(125))
    #expect(outcome.output.contains("this program is in a pod itself"), "\(outcome.output)")
  }

  @Test("a terminal of the pod's own, without a place for terminals")
  func withoutTerminals() async throws {
    if getuid() != 0 { try Test.cancel("only root can take it away") }
    try TestPrograms.require("script")
    let tier = try await TestPrograms.path("tier")
    let podrun = try TestPrograms.podrun()
    let outcome = try await TestEnvironment.native.run(
      "script", ["-qec", "\(tier) --hide /dev/pts -- \(podrun) -- true", "/dev/null"], seconds: 30)
    if outcome.status == .exited(99) { try Test.cancel("can't be taken away: \(outcome.output)") }
    #expect(outcome.status == .exited(125), "\(outcome.output)")
    #expect(outcome.output.contains("/dev/pts"), "\(outcome.output)")
  }

  @Test("few descriptors, and many processes in the pod", arguments: TestBackend.usual)
  func fewDescriptors(backend: TestBackend) async throws {
    let tier = try await TestPrograms.path("tier")
    let outcome = try await TestEnvironment.native.run(
      tier,
      ["--soft", "nofile=64", "--", try TestPrograms.podrun()] + backend.options
        + ["--", try await TestPrograms.path("crowd"), "200"])
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }
}
