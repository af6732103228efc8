import Glibc
import PodCore
import PodTestSupport
import SystemPackage
import Testing

/// What differs with who has a pod's System V objects, and what must not.
@Suite("Objects of the kernel's and emulated ones")
struct ObjectProviderTests {
  private static let environments = TestEnvironment.own.filter(\.isPod)

  @Test(
    "programs do the same with either", .timeLimit(.minutes(3)),
    arguments: ["semaphores", "message_queues", "shared_memory"], environments)
  func programs(program: String, environment: TestEnvironment) async throws {
    let path = try await TestPrograms.path(program)
    // What can't be had cancels the rest: it comes last.
    for provider: PodConfiguration.SystemVProvider in [.emulated, .kernel] {
      let outcome = try await environment.run(path, configuration: try provider.configured())
      #expect(outcome.status == .exited(0), "\(provider): \(outcome.output)")
    }
  }

  @Test(
    "commands and languages do the same with either", .timeLimit(.minutes(3)),
    arguments: [
      ["bash", "ipcs.sh"],
      [
        "perl", "-e",
        """
        use IPC::SysV qw(IPC_PRIVATE IPC_CREAT IPC_STAT IPC_RMID S_IRUSR S_IWUSR ftok);
        use IPC::Msg; use IPC::Semaphore; use IPC::SharedMem;
        my $q = IPC::Msg->new(IPC_PRIVATE, IPC_CREAT | 0600) or die; $q->snd(5, "text") or die;
        my $s = IPC::Semaphore->new(IPC_PRIVATE, 2, IPC_CREAT | 0600) or die; $s->setval(1, 3) or die;
        my $m = IPC::SharedMem->new(IPC_PRIVATE, 4096, IPC_CREAT | 0600) or die; $m->attach or die;
        $m->write("text", 0, 4) or die;
        die "queue" unless $q->stat->lspid == $$;
        die "set" unless $s->getpid(1) == $$ and $s->getval(1) == 3;
        die "segment" unless $m->stat->cpid == $$ and $m->stat->lpid == $$;
        my $child = fork // die;
        if (!$child) { my $t; $q->rcv($t, 10, 5) == 5 or die; $s->op(1, -1, 0) or die; exit 0 }
        waitpid($child, 0) == $child or die; die "child" if $?;
        die "receiver" unless $q->stat->lrpid == $child;
        die "operator" unless $s->getpid(1) == $child;
        $q->remove; $s->remove; $m->remove;
        """,
      ],
    ], environments)
  func commands(command: [String], environment: TestEnvironment) async throws {
    try TestPrograms.require(command[0])
    var arguments = Array(command.dropFirst())
    if command[0] == "bash" {
      try TestPrograms.require("ipcmk")
      arguments = [try await TestPrograms.script("ipcs.sh")]
    }
    for provider: PodConfiguration.SystemVProvider in [.emulated, .kernel] {
      let outcome = try await environment.run(
        command[0], arguments, configuration: try provider.configured())
      #expect(outcome.status == .exited(0), "\(provider): \(outcome.output)")
    }
  }

  @Test("who made and used an object is told by virtual numbers", arguments: environments)
  func tables(environment: TestEnvironment) async throws {
    try TestPrograms.require("ipcmk")
    let script = """
      sh -c 'ipcmk -M 4096 >/dev/null; echo made by $PPID' && cat /proc/sysvipc/shm
      ipcs -m -p
      """
    let outcome = try await environment.run(
      "sh", ["-c", script], configuration: try PodConfiguration.SystemVProvider.kernel.configured())
    #expect(outcome.status == .exited(0))
    // The pod's first process is 2, its shell 3, and ipcmk 4: which has ended, as natively.
    let row = outcome.lines.first { $0.contains(" 4096 ") }?.split(separator: " ") ?? []
    #expect(row.count == 16 && row[4] == "4" && row[5] == "0", "\(outcome.output)")
    let listed = outcome.lines.last?.split(separator: " ") ?? []
    #expect(listed.suffix(2) == ["4", "0"], "\(outcome.output)")
  }

  @Test(
    "limits are the host's, ids begin anew, and queues have the names that programs give them",
    arguments: environments)
  func namespace(environment: TestEnvironment) async throws {
    let configuration = try PodConfiguration.SystemVProvider.kernel.configured()
    let limits = """
      cd /proc/sys; for f in kernel/sem kernel/msg[mn]* kernel/shm[am]* kernel/shm_r* fs/mqueue/*; do
        echo $f $(cat $f)
      done
      """
    let native = try await TestEnvironment.native.run("sh", ["-c", limits])
    let own = try await environment.run("sh", ["-c", limits], configuration: configuration)
    #expect(own.output == native.output && own.lines.count >= 7, "\(own.output)")
    // On a host with others than the kernel's defaults, which here is a namespace of its own.
    let changes = """
      cd /proc/sys; s=$1; shift
      echo 1000000 > kernel/shmmax; echo 5000 > kernel/shmall; echo 77 > kernel/shmmni; echo 4096 > kernel/msgmax
      echo 20000 > kernel/msgmnb; echo 99 > kernel/msgmni; echo 100 2000 50 20 > kernel/sem
      echo 1 > kernel/shm_rmid_forced; echo 20 > fs/mqueue/msg_max; echo 9 > fs/mqueue/queues_max
      before=$(sh -c "$s"); [ "$before" = "$("$@" sh -c "$s")" ] && [ -z "${before##*sem 100 2000 50 20*}" ]
      """
    if let backend = environment.backend {
      let podrun = [try TestPrograms.podrun()] + backend.options + ["--system-v", "kernel", "--"]
      let changed = try await TestEnvironment.native.run(
        "unshare", ["-i", "sh", "-c", changes, "sh", limits] + podrun)
      #expect(changed.status == .exited(0), "\(changed.output)")
    }
    let ids = try await environment.run(
      "sh", ["-c", "readlink /proc/self/ns/ipc; ipcmk -Q; ipcmk -S 1; ipcmk -M 1"],
      configuration: configuration)
    let host = try await TestEnvironment.native.run("readlink", ["/proc/self/ns/ipc"])
    #expect(ids.lines.count == 4 && ids.lines.first != host.lines.first, "\(ids.output)")
    #expect(ids.lines.dropFirst().allSatisfy { $0.hasSuffix(": 0") }, "\(ids.output)")
  }

  @Test(
    "no other namespace is entered or made, and the host's objects aren't found",
    arguments: environments)
  func hostileWays(environment: TestEnvironment) async throws {
    let configuration = try PodConfiguration.SystemVProvider.kernel.configured()
    let key = key_t.random(in: 1...key_t.max)
    let id = shmget(key, 4096, 0o3666)
    try #require(id >= 0)
    defer { shmctl(id, IPC_RMID, nil) }
    let script = """
      for p in 1 $PPID $1; do nsenter -t $p -i ipcs -m; nsenter -t $p -i -m ipcs -m; done
      unshare -i ipcs -m; unshare -U -r -i ipcs -m; ipcs -m; cat /proc/*/root/proc/sysvipc/shm
      """
    let outcome = try await environment.run(
      "sh", ["-c", script, "sh", "\(getpid())"], configuration: configuration)
    let found = String(UInt32(bitPattern: key), radix: 16)
    #expect(!outcome.output.contains(found), "\(outcome.output)")
    let row = outcome.lines.first { $0.contains(" \(key) ") || $0.hasPrefix("\(key) ") }
    #expect(row == nil, "\(outcome.output)")
  }

  @Test(
    "a plain user who asks for a user namespace has the kernel's objects and mounts, or is told why not",
    .timeLimit(.minutes(3)), arguments: TestBackend.usual)
  func userNamespace(backend: TestBackend) async throws {
    let tier = try await TestPrograms.path("tier")
    let user = getuid() == 0 ? ["--user", "64098"] : []
    let podrun =
      ["--", try TestPrograms.podrun()] + backend.options + ["--user-namespace", "--"]
    let denied = try await TestEnvironment.native.run(
      tier, user + ["--no-user-namespaces"] + podrun + ["true"])
    #expect(denied.status == .exited(125), "\(denied.output)")
    #expect(denied.output.contains("can't have a user namespace"), "\(denied.output)")

    let probe = ["--", "unshare", "-U", "-r", "-m", "-i", "mount", "--bind", "/", "/"]
    guard try await TestEnvironment.native.run(tier, user + probe).status == .exited(0) else {
      try Test.cancel("a plain user may make no user namespace here, or not mount in it")
    }
    let script = """
      set -e; id -u; id -g; grep CapEff /proc/self/status; readlink /proc/self/ns/ipc
      ipcmk -Q; echo text > /dev/shm/file; ls -A /dev/shm
      """
    let outcome = try await TestEnvironment.native.run(tier, user + podrun + ["sh", "-c", script])
    let id = user.last ?? "\(getuid())"
    let host = try await TestEnvironment.native.run("readlink", ["/proc/self/ns/ipc"])
    let lines = outcome.lines
    try #require(outcome.status == .exited(0) && lines.count == 6, "\(outcome.output)")
    #expect(lines[0] == id && lines[2].hasSuffix("0000000000000000"), "\(lines)")
    #expect(lines[3] != host.lines.first && lines[4].hasSuffix(": 0"), "\(lines)")
    #expect(lines[5] == "file", "\(lines)")
    for program in ["semaphores", "message_queues", "shared_memory", "posix_objects"] {
      let path = try await TestPrograms.path(program)
      let outcome = try await TestEnvironment.native.run(tier, user + podrun + [path])
      #expect(outcome.status == .exited(0), "\(program): \(outcome.output)")
    }
  }

  @Test("who starts a pod in /dev/shm has it in the pod's", arguments: TestBackend.usual)
  func directory(backend: TestBackend) async throws {
    let podrun = [try TestPrograms.podrun()] + backend.options + ["--system-v", "kernel"]
    _ = try PodConfiguration.SystemVProvider.kernel.configured()
    let script = """
      cd /dev/shm && mine=$(mktemp ./host-XXXXXX) || exit 9
      "$@" -- sh -c 'pwd; ls; echo text > own'; status=$?
      [ -e own ] && echo "made on the host"; rm -f "$mine" own; exit $status
      """
    let outcome = try await TestEnvironment.native.run("sh", ["-c", script, "sh"] + podrun)
    #expect(outcome.status == .exited(0) && outcome.lines == ["/dev/shm"], "\(outcome.output)")
  }

  @Test("nothing of a namespace is left with the host program", arguments: TestBackend.usual)
  func descriptors(backend: TestBackend) async throws {
    let configuration = try PodConfiguration.SystemVProvider.kernel.configured()
    func tables() -> Int {
      (0..<1024).count { descriptor in
        var target = [CChar](repeating: 0, count: 256)
        guard readlink("/proc/self/fd/\(descriptor)", &target, 255) > 0 else { return false }
        let path = target.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        return String(decoding: path, as: UTF8.self).contains("/sysvipc/")
      }
    }
    let ended = try await withPod(configuration, backend: backend.backend) { pod in
      #expect(pod.containment.parts[.ipc]?.mechanism.contains("IPC namespace") == true)
      #expect(tables() > 0)
      _ = try await pod.run(
        .name("ipcmk"), arguments: ["-Q"], output: .discarded, error: .discarded)
      return pod
    }
    defer { withExtendedLifetime(ended) {} }
    // Other tests' pods have theirs, but not for long.
    for _ in 0..<100 where tables() > 0 { try await Task.sleep(for: .milliseconds(50)) }
    #expect(tables() == 0)
  }

  @Test("what was asked for and can't be had is an error before anything runs")
  func unavailable() async throws {
    var configuration = PodConfiguration()
    configuration.systemV = .kernel
    configuration.mayMount = false
    #expect(configuration.faults.count == 1)
    let podrun = try TestPrograms.podrun()
    for backend in TestBackend.usual {
      let options = backend.options + ["--system-v", "kernel", "--", "touch", "/this-must-not-run"]
      let outcome = try await TestEnvironment.nativeUnprivileged.run(podrun, options)
      #expect(outcome.status == .exited(125))
      #expect(outcome.lines.count == 1 && outcome.output.contains("CAP_SYS_ADMIN"))
      let demand = try await TestEnvironment.nativeUnprivileged.run(
        podrun, backend.options + ["--require", "ipc", "--", "touch", "/this-must-not-run"])
      #expect(demand.status == .exited(125))
      #expect(demand.output.contains("can't contain ipc"), "\(demand.output)")
    }
  }

  @Test("IPC is contained where the kernel has the objects and Landlock what leads around them")
  func contained() async throws {
    _ = try PodConfiguration.SystemVProvider.kernel.configured()
    let podrun = try TestPrograms.podrun()
    let found = try await TestEnvironment.native.run(
      podrun, ["--backend", "seccomp", "--verbose", "--", "true"])
    guard found.output.contains("containment of processes: kernel") else {
      try Test.cancel("there is no Landlock, or an old one: \(found.output)")
    }
    let ways: [([String], Int32)] = [
      ([], 0), (["--system-v", "kernel"], 0), (["--system-v", "emulated"], 125),
      (["--no-mounts"], 125), (["--cap-add", "sys_admin"], 125), (["--cap-add", "sys_nice"], 0),
    ]
    for (options, status) in ways {
      let outcome = try await TestEnvironment.native.run(
        podrun, ["--backend", "seccomp", "--require", "ipc"] + options + ["--", "true"])
      #expect(outcome.status == .exited(status), "\(options): \(outcome.output)")
    }
    // A process outside whose /proc/PID/root only Landlock keeps from a pod of the same user.
    let script = """
      setpriv --bounding-set=-all --inh-caps=-all sleep 60 & ls /proc/$!/root/dev/shm >/dev/null || exit 2
      sleep 0.2; "$@" sh -c "ls /proc/$!/root/dev/shm || nsenter -t $! -i true"; status=$?; kill $!; exit $status
      """
    let outcome = try await TestEnvironment.native.run(
      "sh", ["-c", script, "sh", podrun, "--backend", "seccomp", "--require", "ipc", "--"])
    #expect(outcome.status == .exited(1), "\(outcome.output)")
  }
}
