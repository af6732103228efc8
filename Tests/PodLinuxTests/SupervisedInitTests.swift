import CLinux
import Glibc
import Synchronization
import SystemPackage
import Testing

@testable import PodLinux

private let openFiles: __rlimit_resource_t = 7  // RLIMIT_NOFILE
private let canScope = (PodInit.landlockABI ?? 0) >= 6

@Suite("The pod's init, supervised", .timeLimit(.minutes(1)))
struct SupervisedInitTests {
  private let ways = canScope ? [false, true] : [false]

  @Test("a launch announces itself, runs, and is reaped")
  func life() throws {
    let pod = try SupervisedPod(isScoped: canScope)
    let podInit = pod.podInit
    try podInit.launch(
      .init(paths: ["/bin/true"], arguments: [[116]]), id: 0xfffe_dcba, descriptors: [])
    guard case .reaped(let pid, 0) = try pod.report() else {
      Issue.record("not reaped with status 0")
      return
    }
    // The launcher forks; the newborn's first call says whose it is, its next is the program.
    #expect(pod.calls.map(\.number) == [56, 39, 59])
    #expect(pod.calls.map(\.pid) == [podInit.launcherProcessID, pid, pid])
    #expect(pod.calls[1].bornID == 0xfffe_dcba)
    #expect(kill(pid, 0) == -1 && errno == ESRCH)

    try pod.launch("kill -9 $$", id: 2)
    guard case .reaped(_, SIGKILL) = try pod.report() else {
      Issue.record("not reaped with a signal")
      return
    }
    #expect(try podInit.nextReport(milliseconds: 0) == nil)
  }

  @Test("a failure is reported before its process is reaped")
  func failure() throws {
    let pod = try SupervisedPod(isScoped: canScope)
    for id: UInt32 in 1...50 {
      try pod.podInit.launch(
        .init(paths: ["/nowhere"], arguments: [[116]]), id: id, descriptors: [])
    }
    var failed: Set<UInt64> = []
    for _ in 1...100 {
      switch try pod.report() {
      case .failed(let failure):
        #expect(failure.stage == .exec && failure.error == .noSuchFileOrDirectory)
        failed.insert(UInt64(failure.id))
      case .reaped(let pid, let status):
        #expect(status == 127 << 8)
        #expect(
          pod.calls.contains { $0.pid == pid && failed.contains($0.bornID ?? .max) })
      case let other: Issue.record("\(other)")
      }
    }
    #expect(failed.count == 50)
  }

  /// Has the ends of calling processes reported, under the numbers of their calls, which unlike process ids are used once.
  private func watching(_ isWanted: @escaping @Sendable (SupervisedPod.Call) -> Bool) throws
    -> SupervisedPod
  {
    let count = Mutex<UInt64>(0)
    return try SupervisedPod(isScoped: canScope) { podInit, call in
      let number = count.withLock { count in
        defer { count += 1 }
        return count
      }
      guard isWanted(call) else { return }
      let pidfd = OwnedDescriptor(owning: CLinux_pidfd_open(call.pid, 0))
      do {
        try podInit.watch(pidfd: pidfd.rawValue, tag: 1 << 63 | number)
      } catch {
        Issue.record("watch: \(error)")
      }
    }
  }

  @Test("the end of a process is reported before it is reaped, and that of others' children too")
  func ends() throws {
    // Every process that executes a program.
    let pod = try watching { $0.isExecute }
    // The shell reaps its own child, which init never sees.
    for id: UInt32 in 1...50 {
      try pod.launch("/bin/true & wait", id: id)
    }
    var ended: [UInt64: Int32] = [:]
    var reaped = 0
    while reaped < 50 {
      switch try pod.report() {
      case .ended(let tag):
        let call = pod.calls[Int(tag & ~(1 << 63))]
        #expect(call.isExecute && ended.updateValue(call.pid, forKey: tag) == nil)
      case .reaped(let pid, 0):
        #expect(ended.values.contains(pid))
        reaped += 1
      case let other: Issue.record("\(other)")
      }
    }
    #expect(ended.count == 100)
    // Nothing is kept of them.
    #expect(try descriptors(of: pod.podInit.processID).count == 4)
  }

  @Test("an orphan is adopted and reaped by init")
  func orphan() throws {
    let pod = try SupervisedPod(isScoped: canScope)
    #expect(try pod.output("(sleep 0.1; echo orphan >&3) & exit 3") == "orphan\n")
    var statuses: [Int32] = []
    while statuses.count < 2 {
      guard case .reaped(_, let status) = try pod.report() else { continue }
      statuses.append(status)
    }
    #expect(statuses == [3 << 8, 0])
  }

  @Test("the launcher's end is reported, and the rest goes on")
  func launcherEnds() throws {
    let pod = try SupervisedPod(isScoped: canScope)
    let launcher = try #require(pod.podInit.launcherProcessID)
    let (reading, writing) = try makePipe()
    defer { close(reading) }
    do {
      let end = OwnedDescriptor(owning: writing)
      try pod.launch("echo a >&3; sleep 0.3; echo b >&3", passing: [end.rawValue])
    }
    // Until its execve the program has a copy of the launcher's socket.
    var buffer: [UInt8] = [0, 0]
    try #require(read(reading, &buffer, 2) == 2)
    try #require(kill(launcher, SIGKILL) == 0)
    #expect(try pod.report() == .reaped(processID: launcher, status: SIGKILL))
    #expect(throws: Errno.brokenPipe) { try pod.launch("true") }
    #expect(readToEnd(reading) == "b\n")
    guard case .reaped(_, 0) = try pod.report() else {
      Issue.record("the program was not reaped with status 0")
      return
    }
    #expect(try pod.podInit.nextReport(milliseconds: 50) == nil)
  }

  @Test("reports wait for a host that doesn't read, and none is lost")
  func patience() throws {
    let pod = try watching { $0.bornID != nil }
    // Far more than a socket holds.
    let count = 400
    for id in 0..<count {
      try pod.podInit.launch(
        .init(paths: ["/bin/true"], arguments: [[116]]), id: UInt32(id), descriptors: [])
      while pod.calls.count(where: \.isExecute) < id { usleep(200) }
    }
    usleep(200_000)
    var ended: [UInt64: Int32] = [:]
    for _ in 0..<count * 2 {
      switch try pod.report() {
      case .ended(let tag):
        let call = pod.calls[Int(tag & ~(1 << 63))]
        #expect(ended.updateValue(call.pid, forKey: tag) == nil)
      case .reaped(let pid, let status): #expect(ended.values.contains(pid) && status == 0)
      case let other: Issue.record("\(other)")
      }
    }
    #expect(ended.count == count)
    #expect(try pod.podInit.nextReport(milliseconds: 50) == nil)
  }

  @Test("what init has no room to watch is said so")
  func tooMany() throws {
    let pod = try SupervisedPod(isScoped: canScope)
    var few = rlimit(rlim_cur: 20, rlim_max: 20)
    let result = withUnsafePointer(to: &few) { limits in
      CLinux_syscall(
        Int(SYS_prlimit64), UInt64(pod.podInit.processID), UInt64(openFiles),
        UInt64(UInt(bitPattern: limits)), 0, 0, 0)
    }
    try #require(result == 0)
    let sleeper = try Sleeper()
    let pidfd = OwnedDescriptor(owning: CLinux_pidfd_open(sleeper.pid, 0))
    for tag: UInt64 in 0..<30 {
      try pod.podInit.watch(pidfd: pidfd.rawValue, tag: tag)
    }
    // It has four of its own.
    for tag: UInt64 in 0..<30 where tag >= 16 {
      #expect(try pod.report() == .unwatched(tag: tag))
    }
    sleeper.end()
    var ended: [UInt64] = []
    for _ in 0..<16 {
      guard case .ended(let tag) = try pod.report() else { continue }
      ended.append(tag)
    }
    #expect(ended.sorted() == Array(0..<16))
    // Each once, though the host still has the descriptor.
    #expect(try pod.podInit.nextReport(milliseconds: 50) == nil)
    #expect(try pod.output("echo on >&3") == "on\n")
  }

  @Test("nobody in the pod has the listener, and a program has what it was passed")
  func noCopies() throws {
    let pod = try SupervisedPod(isScoped: canScope)
    let launcher = try #require(pod.podInit.launcherProcessID)
    let launchers = try descriptors(of: launcher)
    #expect(launchers.count == 1 && launchers.first?.hasPrefix("socket:") == true, "\(launchers)")
    let own = try descriptors(of: pod.podInit.processID)
    #expect(!own.contains { $0.contains("seccomp") })
    #expect(own.count == 4)
    let programs = try pod.output("exec 1>&3; ls -C /proc/$$/fd")
    #expect(programs == "0  1  2  3\n")
  }

  @Test("a program has the host's limit of open files, whatever init has")
  func limits() throws {
    var before = rlimit()
    try #require(getrlimit(openFiles, &before) == 0)
    // A number that nothing else would make: init raises its own to the hard limit.
    var lowered = rlimit(rlim_cur: before.rlim_cur - 1, rlim_max: before.rlim_max)
    try #require(setrlimit(openFiles, &lowered) == 0)
    defer { setrlimit(openFiles, &before) }
    let pod = try SupervisedPod(isScoped: canScope)
    #expect(try pod.output("ulimit -Sn >&3") == "\(lowered.rlim_cur)\n")
  }

  @Test("a program can signal the pod and nobody else", .enabled(if: canScope))
  func scope() throws {
    let pod = try SupervisedPod(isScoped: true)
    let script = """
      for p in $$ \(pod.podInit.launcherProcessID ?? 0) \(pod.podInit.processID) \(getpid()) $PPID; do
        kill -0 $p 2>/dev/null && echo yes >&3 || echo no >&3
      done
      sleep 100 & kill $! && echo child >&3
      """
    #expect(try pod.output(script) == "yes\nyes\nno\nno\nno\nchild\n")
    // Without the scope it is the user that decides, who is the same.
    let open = try SupervisedPod(isScoped: false)
    #expect(
      try open.output("kill -0 \(open.podInit.processID) && echo yes >&3; exit 0") == "yes\n")
  }

  /// Ends of a pod whose processes fork all the time, have sessions of their own and ignore signals.
  @Test("the pod ends with its socket, and nobody else does", arguments: [false, true])
  func end(isScoped: Bool) throws {
    guard canScope || !isScoped else { return }
    let bystander = try Sleeper()
    let pod = try SupervisedPod(isScoped: isScoped)
    let (reading, writing) = try makePipe()
    defer { close(reading) }
    do {
      let end = OwnedDescriptor(owning: writing)
      for id: UInt32 in 1...5 {
        try pod.launch(
          """
          trap '' TERM HUP INT
          for i in 1 2 3 4; do (while :; do (:); done) & (setsid sleep 100) & done
          (kill -STOP $(exec sh -c 'echo $PPID')) & printf x >&3; wait
          """, id: id, passing: [end.rawValue])
      }
    }
    var buffer = [UInt8](repeating: 0, count: 5)
    var started = 0
    while started < 5, case let count = read(reading, &buffer, 5), count > 0 { started += count }
    usleep(50_000)
    // Without a scope the listener has to be closed, as it is when the host is killed.
    if !isScoped { pod.stop() }
    pod.podInit.end()
    #expect(try pod.podInit.waitUntilEnded(milliseconds: 20_000))
    // The pipe's writers are all gone, so this doesn't wait.
    var entry = pollfd(fd: reading, events: Int16(POLLIN), revents: 0)
    #expect(poll(&entry, 1, 0) == 1)
    #expect(readToEnd(reading) == "")
    #expect(bystander.isAlive)
    #expect(throws: Errno.brokenPipe) { try pod.launch("true") }
    #expect(throws: Errno.connectionReset) {
      while try pod.podInit.nextReport(milliseconds: 5_000) != nil {}
    }
  }

  @Test("the pod ends with the host's process, whoever else has its socket")
  func hostProcess() throws {
    let host = try Sleeper()
    let podInit = try PodInit.start(mode: .supervised)
    let pidfd = OwnedDescriptor(owning: CLinux_pidfd_open(host.pid, 0))
    let filter = try FilterRules([:], unlisted: .allow).program().bytes
    _ = try podInit.supervise(.init(filter: filter, isScoped: canScope), host: pidfd.rawValue)
    try podInit.launch(
      .init(paths: ["/bin/sleep"], arguments: [[115], Array("100".utf8)]), id: 1, descriptors: [])
    #expect(try !podInit.waitUntilEnded(milliseconds: 50))
    host.end()
    #expect(try podInit.waitUntilEnded(milliseconds: 5_000))
  }

  @Test("each thing that is missing has its own words")
  func refusals() throws {
    let allowing = try FilterRules([:], unlisted: .allow).program().bytes
    let podInit = try PodInit.start(mode: .supervised)
    func failure(_ supervision: PodInit.Supervision) -> PodInit.SupervisionFailure? {
      do throws(PodInit.SupervisionFailure) {
        _ = try podInit.supervise(supervision)
        return nil
      } catch {
        return error
      }
    }
    #expect(
      failure(.init(filter: allowing, flags: 1 << 30, isScoped: false))
        == .init(step: .filter, error: .invalidArgument))
    #expect(
      failure(.init(filter: [], isScoped: false)) == .init(step: .filter, error: .invalidArgument))
    // It can be tried again, once with success.
    #expect(failure(.init(filter: allowing, isScoped: canScope)) == nil)
    #expect(
      failure(.init(filter: allowing, isScoped: false))
        == .init(step: .request, error: Errno(rawValue: EALREADY)))
    if !canScope {
      let other = try PodInit.start(mode: .supervised)
      let error = #expect(throws: PodInit.SupervisionFailure.self) {
        _ = try other.supervise(.init(filter: allowing, isScoped: true))
      }
      #expect(error?.step == .landlock)
    }
  }

  @Test("a second listener is refused")
  func occupied() throws {
    try onOwnThread {
      let allowing = try FilterRules([:], unlisted: .allow).program().bytes
      try #require(CLinux_prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
      let listener = OwnedDescriptor(
        owning: CLinux_seccomp_install(
          allowing, allowing.count / 8, CLinux_SECCOMP_FILTER_FLAG_NEW_LISTENER))
      try #require(listener.rawValue >= 0)
      let podInit = try PodInit.start(mode: .supervised)
      let error = #expect(throws: PodInit.SupervisionFailure.self) {
        _ = try podInit.supervise(.init(filter: allowing, isScoped: false))
      }
      #expect(error == .init(step: .filter, error: .resourceBusy))
      #expect(try #require(error).explanation.contains("listener already"))
    }
  }
}

/// What the descriptors of a process are, in the order of their numbers.
private func descriptors(of pid: Int32) throws -> [String] {
  try (0..<64).compactMap { number in
    try withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
      let start = try #require(buffer.baseAddress)
      let count = readlink("/proc/\(pid)/fd/\(number)", start, 255)
      guard count >= 0 else { return nil }
      buffer[count] = 0
      return String(cString: start)
    }
  }
}

/// A process of the same user that belongs to no pod.
private final class Sleeper: Sendable {
  let pid: Int32
  private let hasEnded = Atomic(false)

  init() throws {
    var pid: pid_t = 0
    var arguments: [UnsafeMutablePointer<CChar>?] = [strdup("sleep"), strdup("100"), nil]
    defer { arguments.forEach { free($0) } }
    try #require(posix_spawn(&pid, "/bin/sleep", nil, nil, &arguments, environ) == 0)
    self.pid = pid
  }

  var isAlive: Bool {
    var status: Int32 = 0
    return waitpid(pid, &status, WNOHANG) == 0
  }

  func end() {
    guard !hasEnded.exchange(true, ordering: .relaxed) else { return }
    kill(pid, SIGKILL)
    var status: Int32 = 0
    waitpid(pid, &status, 0)
  }

  deinit { end() }
}
