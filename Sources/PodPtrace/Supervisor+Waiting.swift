internal import CLinux
internal import Glibc
internal import PodCore
internal import PodLinux
internal import Synchronization
internal import SystemPackage

/// Where the supervisor gets its reports from: wait4, or, where the host program takes them, the stopped threads
/// themselves.
///
/// A tracee can be waited for by every thread of the host program, not by the tracer alone. One that waits for any child
/// (`waitpid(-1)`, in a loop or in a handler of SIGCHLD) takes reports of stops and ends, and the tracer, which sleeps until
/// a report comes, never hears of them. The stop itself it can't take: the thread stands still until its tracer lets it go,
/// and tells its tracer why. So once a report is missed the supervisor goes on without sleeping in wait4 (watchful): it
/// looks for threads that stand still without a report. Ends are announced by a stop of their own then, since what was
/// taken with a process's last report is its status.
///
/// Source: ptrace(2), "the parent of a tracee"; kernel/exit.c, `do_wait_thread` and `ptrace_do_wait`.
extension Supervisor {
  // MARK: Reports

  /// The next report of any thread; nil when nothing of the pod is left.
  ///
  /// Of several threads that have reports wait4 takes the one that was made last, so a few young ones that call all the time
  /// would keep all others waiting. Every few reports, therefore, all that stand still are queued and served in turn, and
  /// then one that has ended; ends are taken only when they are served, since whoever is waited for loses its number.
  ///
  /// Source: kernel/ptrace.c, `__ptrace_link`; kernel/exit.c, `ptrace_do_wait`.
  func nextReport() -> (tid: Int32, status: Int32)? {
    if let next = takeQueued() { return next }
    if turns >= Self.turnsWithoutQueue, tracees.count > 2 {
      turns = 0
      queueStops()
      if let next = takeEndOrStop() { return next }
      if let next = takeQueued() { return next }
    }
    turns += 1
    var idle: UInt32 = 0
    while true {
      if !isWatchful, HostReports.areTaken.load(ordering: .relaxed) { becomeWatchful() }
      var status: Int32 = 0
      let options = CLinux_WAIT_ALL | CLinux_WAIT_NO_THREAD | (isWatchful ? Int(WNOHANG) : 0)
      let tid = CLinux_wait4(-1, &status, Int32(options), nil)
      if tid > 0 { return (tid, status) }
      if tid < 0, tid != -EINTR { return nil }
      guard isWatchful, tid == 0 else { continue }
      if let missed = findMissedReport() { return missed }
      // On a busy machine a yield can be long.
      idle &+= 1
      // Newborns of parents that are gone, and that nobody told us of.
      if tracees.isEmpty || isEnding, idle % 16 == 15 { endUnknown() }
      if idle < 4 { sched_yield() } else { usleep(min(idle, 250) * 20) }
    }
  }

  private static let turnsWithoutQueue = 4

  /// Takes the reports of all threads that stand still.
  private func queueStops() {
    pulse.holdsReports.store(true, ordering: .relaxed)
    var info = siginfo_t()
    let options = WSTOPPED | WNOHANG | Int32(CLinux_WAIT_ALL | CLinux_WAIT_NO_THREAD)
    while CLinux_waitid(Int32(P_ALL.rawValue), 0, &info, options, nil) == 0 {
      let tid = CLinux_siginfo_pid(&info)
      if tid == 0 { return }
      queue.append(
        QueuedStop(
          tid: tid, status: CLinux_siginfo_status(&info) << 8 | 0x7F, isKnown: tracees[tid] != nil))
    }
  }

  /// The next of those that still stand where they stood: a thread that was killed in its turn, or that an exec gave another
  /// one's number, has a newer report.
  private func takeQueued() -> (tid: Int32, status: Int32)? {
    while let next = queue.popFirst() {
      if next.isKnown, tracees[next.tid] == nil { continue }
      if HostReports.hasReport(next.tid) || isGone(next.tid) { continue }
      return (next.tid, next.status)
    }
    pulse.holdsReports.store(false, ordering: .relaxed)
    return nil
  }

  /// The report of one thread that has ended; of another one, should it have stopped meanwhile: waits of a tracer report
  /// stops whether they are asked for or not.
  private func takeEndOrStop() -> (tid: Int32, status: Int32)? {
    var status: Int32 = 0
    let options = CLinux_WAIT_ALL | CLinux_WAIT_NO_THREAD | Int(WNOHANG)
    let tid = CLinux_wait4(-1, &status, Int32(options), nil)
    return tid > 0 ? (tid, status) : nil
  }

  /// Waits for the next report of one thread, and takes that of no other: nothing that its call names can be reaped
  /// meanwhile.
  ///
  /// A thread-group leader that is killed, or that another thread's exec replaces, reports nothing before the ends of
  /// all other threads of the group were taken, so nobody sleeps for a leader that isn't alone.
  ///
  /// - Parameter mayRun: Whether the thread executes an instruction or makes a call for us, with memory and descriptors of the
  ///   program's: should it run on, or fall asleep, it is made to stop, and is ``Tracee/wasCaught``.
  /// - Throws: `.noChildProcess` when there is no such thread any more.
  ///
  /// Source: ptrace(2), "execve(2) under ptrace"; kernel/exit.c, `delay_group_leader`.
  func report(of tracee: Tracee, evenIfItRuns mayRun: Bool = false) throws(Errno) -> Int32 {
    let tid = tracee.tid
    var turn: UInt32 = 0
    var begin: UInt64?
    var sleeps = 0
    while true {
      let isLeader = tid == tracee.process.tgid && tracee.process.threads.count > 1
      if !isLeader, !mayRun, !isWatchful, turn == 0 { awaitAnyReport() }
      var status: Int32 = 0
      let options = CLinux_WAIT_ALL | Int(WNOHANG)
      let result = CLinux_wait4(tid, &status, Int32(options), nil)
      if result == tid { return status }
      if result == -ECHILD {
        becomeWatchful()
        return statusOfMissedEnd(of: tracee)
      }
      if result < 0, result != -EINTR { throw Errno(rawValue: -result) }
      turn += 1
      if isWatchful, let missed = missedStop(of: tracee) { return missed }
      if turn < 200 {
        sched_yield()
        continue
      }
      usleep(min(turn - 199, 20) * 50)
      if isLeader, hasEnded(leader: tid) { takeEnds(ofThreadsBeside: tracee) }
      if let missed = missedStop(of: tracee) { return missed }
      if mayRun, turn % 16 == 0, let time = timeOnCPU(of: tid) {
        // Another thread's exec gives its number, and so another clock, to a thread that has run less.
        let first = min(begin ?? time, time)
        begin = first
        sleeps = ProcessStatus.isAsleep(tid) ? sleeps + 1 : 0
        if time - first > Self.patience || sleeps > Self.sleeps, !tracee.wasCaught {
          tracee.wasCaught = CLinux_ptrace_interrupt(tid) == 0
        }
      }
    }
  }

  /// For how many nanoseconds of its CPU time a thread may run that was to execute one instruction: its code is where the
  /// program, or somebody with whom it shares memory, can put another.
  private static let patience: UInt64 = 50_000_000

  /// How often in a row, 16 ms apart, such a thread may be found asleep: what it does for us is over at once, unless somebody with
  /// whom it shares memory or descriptors has put others there.
  private static let sleeps = 8

  /// What a thread has used of a CPU, in nanoseconds; nil where the kernel doesn't say.
  private func timeOnCPU(of tid: Int32) -> UInt64? {
    guard let file = try? FileDescriptor.open("/proc/\(tid)/schedstat", .readOnly) else {
      return nil
    }
    defer { try? file.close() }
    return withUnsafeTemporaryAllocation(byteCount: 96, alignment: 1) { buffer in
      guard let count = try? file.read(into: buffer) else { return nil }
      return UInt64(String(decoding: buffer[..<count].prefix { $0 != 0x20 }, as: UTF8.self))
    }
  }

  /// Sleeps until there is a report of some thread, and leaves it there: the watch can wake us by any.
  private func awaitAnyReport() {
    var info = siginfo_t()
    let options =
      WEXITED | WSTOPPED | WNOWAIT | Int32(CLinux_WAIT_ALL) | Int32(CLinux_WAIT_NO_THREAD)
    while CLinux_waitid(Int32(P_ALL.rawValue), 0, &info, options, nil) == -EINTR {}
  }

  /// Ends the tracees that have no name.
  private func endUnknown() {
    let tracer = pulse.tracer.load(ordering: .relaxed)
    for process in Watch.tracees(of: tracer) where tracees[process] == nil {
      Watch.kill(process, tracedBy: tracer)
      // It may stand still before its end.
      _ = CLinux_ptrace_cont(process, 0)
    }
  }

  // MARK: What the host program took

  /// From now on nobody sleeps in wait4.
  func becomeWatchful() {
    guard !isWatchful else { return }
    isWatchful = true
    pulse.isWatchful.store(true, ordering: .relaxed)
    HostReports.areTaken.store(true, ordering: .relaxed)
    setup.degraded(
      "a thread of the host program waits for any child and takes the tracer's reports with it; they are looked for, "
        + "which is slower")
  }

  /// Looks for threads that nobody told us of: that stand still, and then that are gone.
  func findMissedReport() -> (tid: Int32, status: Int32)? {
    let queued = Set(queue.map(\.tid))
    for tracee in tracees.values where !queued.contains(tracee.tid) {
      if let status = missedStop(of: tracee) { return (tracee.tid, status) }
    }
    // A thread that execs gives up its number before it is known whose it takes.
    for tracee in tracees.values where isWatchful || tracee.process.threads.count == 1 {
      guard isGone(tracee.tid) else {
        tracee.missing = 0
        continue
      }
      // An exec may have given its number to another thread: then that one's stop is found first.
      tracee.missing += 1
      if tracee.missing < 3 { continue }
      becomeWatchful()
      return (tracee.tid, statusOfMissedEnd(of: tracee))
    }
    return nil
  }

  /// Why a thread stands still, if the report of it was taken by somebody else.
  func missedStop(of tracee: Tracee) -> Int32? {
    var info = siginfo_t()
    // Only a thread that stands still answers, and then it is ours to let go.
    guard CLinux_ptrace_getsiginfo(tracee.tid, &info) == 0,
      HostReports.isTaken(ofStop: tracee.tid, signal: info.si_signo, code: info.si_code)
    else { return nil }
    becomeWatchful()
    let event = info.si_code >> 8
    let isEvent =
      info.si_code > 0 && info.si_code & 0xFF == info.si_signo && isPlausible(event, of: tracee)
    if isEvent { return info.si_code << 8 | 0x7F }
    // With the kernel's mark for calls, which no signal has.
    if info.si_signo == SIGTRAP, info.si_code == SIGTRAP | 0x80 {
      return (SIGTRAP | 0x80) << 8 | 0x7F
    }
    return info.si_signo << 8 | 0x7F
  }

  /// Whether an event can be one: a process may send itself a signal that looks like it.
  private func isPlausible(_ event: Int32, of tracee: Tracee) -> Bool {
    let registers = try? Registers(of: tracee.tid)
    switch Int(event) {
    case CLinux_PTRACE_EVENT_FORK, CLinux_PTRACE_EVENT_VFORK, CLinux_PTRACE_EVENT_CLONE:
      // No signal is delivered in the middle of a fork.
      return tracee.awaitsNewborn || tracee.process.speaksForInit
    case CLinux_PTRACE_EVENT_EXEC:
      let calls = [Syscall.execve, .execveat].map { Int($0.rawValue) }
      return registers.map { calls.contains($0.syscallNumber) && $0.resultError == .noFunction }
        ?? false
    case CLinux_PTRACE_EVENT_SECCOMP:
      return registers?.resultError == .noFunction
    case CLinux_PTRACE_EVENT_STOP, CLinux_PTRACE_EVENT_EXIT: return true
    default: return false
    }
  }

  /// Makes a thread stop once more before it ends; its children inherit that.
  func announceEnd(of tracee: Tracee) {
    guard !tracee.announcesEnd else { return }
    tracee.announcesEnd = CLinux_ptrace_setoptions(tracee.tid, Self.optionsForWatching) == 0
  }

  /// The stop of a thread before it ends, with its status: its process's own when all of the process ends with it, or
  /// when it is the leader.
  func ending(_ tracee: Tracee) {
    var message: UInt = 0
    if CLinux_ptrace_geteventmsg(tracee.tid, &message) == 0,
      let registers = try? Registers(of: tracee.tid)
    {
      let status = Int32(truncatingIfNeeded: message)
      let endsAll =
        CLinux_WIFSIGNALED(status) != 0
        || registers.syscallNumber == Int(Syscall.exit_group.rawValue)
      if endsAll || tracee.tid == tracee.process.tgid { tracee.process.announcedStatus = status }
    }
    resume(tracee)
  }

  /// The status of an end whose report was taken: what its last stop announced. Who is killed makes no such stop.
  func statusOfMissedEnd(of tracee: Tracee) -> Int32 {
    if let status = tracee.process.announcedStatus { return status }
    let tellsHost = tracee.process.ended != nil || tracee.process.launch != nil
    if tellsHost, !tracee.announcesEnd, tracee.tid == tracee.process.tgid, !isEnding {
      fail(
        "a thread of the host program waits for any child and has taken the end of process "
          + "\(tracee.process.name), so that its status is unknown")
    }
    return SIGKILL
  }

  // MARK: Before anything is missed

  /// Finds out before the first program whether the host program takes reports: by looking at its threads, and by a report
  /// that is made for it to take. Nobody waits for this but a launch that comes within its first tenth of a millisecond.
  func seeWhetherHostTakesReports() {
    guard let tracee = tracees[podInit.processID], CLinux_ptrace_interrupt(tracee.tid) == 0 else {
      return
    }
    if HostReports.areTaken.load(ordering: .relaxed) || HostReports.someThreadWaitsForAnyChild() {
      becomeWatchful()
    }
    var info = siginfo_t()
    for _ in 0..<1000 {
      usleep(100)
      guard CLinux_ptrace_getsiginfo(tracee.tid, &info) == 0 else { continue }
      if !isWatchful,
        HostReports.isTaken(ofStop: tracee.tid, signal: info.si_signo, code: info.si_code)
      {
        becomeWatchful()
      }
      // Before it makes anybody.
      if isWatchful { announceEnd(of: tracee) }
      return
    }
  }
}
