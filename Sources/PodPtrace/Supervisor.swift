internal import CLinux
internal import Glibc
internal import PodCore
internal import PodLinux
internal import Synchronization
internal import SystemPackage

/// The tracer: one thread per pod that all of the pod's stops come to.
///
/// It is made inside its thread and never leaves it, since ptrace works from the seizing thread only.
final class Supervisor {
  let setup: PodSetup
  let names: PodNames
  let podInit: PodInit
  private let mailbox: Mailbox
  private(set) var rules: CallRules
  let pulse: Pulse
  /// Whether reports are looked for rather than slept for; see ``nextReport()``.
  var isWatchful = false
  /// Threads whose stops were taken together, in the order in which they are served.
  var queue: ArraySlice<QueuedStop> = []
  struct QueuedStop {
    let tid: Int32
    let status: Int32
    /// Whether its birth was known then.
    let isKnown: Bool
  }
  /// Reports since the last time that all were taken together.
  var turns = 0

  var tracees: [Int32: Tracee] = [:]
  /// Newborns that were seen before the event that tells whose they are, with the signal of their first stop; 0 while
  /// there was none.
  private(set) var unclaimed: [Int32: Int32] = [:]
  /// Forks whose caller died before the event.
  private var lostForks: [LostFork] = []
  private struct LostFork {
    let caller: Caller
    let group: VirtualName<ProcessID>?
    let session: VirtualName<ProcessID>?
    let flags: UInt64
    let process: TracedProcess
  }
  /// Most of them made nothing, so that they are never claimed.
  private static let lostForksKept = 64
  /// Launches that nobody has asked init for: it has few at a time, so that its socket never fills up.
  private var waitingLaunches: [Launch] = []
  /// Launches that init was asked for and hasn't forked, in the order in which it will.
  private var launches: [(id: UInt32, launch: Launch)] = []
  private static let launchesAtATime = 16
  private var nextLaunch: UInt32 = 1
  private(set) var isEnding = false
  private var initHasEnded = false
  /// Whether init has yet to wait for some of what was left to it: then each call, and each stop of init, looks whether it
  /// has.
  private(set) var initHasZombies = false

  init(
    _ setup: PodSetup, _ rules: CallRules, podInit: PodInit, mailbox: Mailbox, pulse: Pulse
  ) {
    self.pulse = pulse
    self.setup = setup
    self.rules = rules
    names = setup.names
    self.podInit = podInit
    self.mailbox = mailbox
  }

  // MARK: Life of the pod

  static let options = UInt(
    CLinux_PTRACE_O_TRACESYSGOOD | CLinux_PTRACE_O_TRACEFORK
      | CLinux_PTRACE_O_TRACEVFORK | CLinux_PTRACE_O_TRACECLONE
      | CLinux_PTRACE_O_TRACEEXEC | CLinux_PTRACE_O_TRACESECCOMP
      | CLinux_PTRACE_O_EXITKILL)

  /// With a stop before each end.
  static let optionsForWatching = options | UInt(CLinux_PTRACE_O_TRACEEXIT)

  func seizeInit() -> Result<Void, Errno> {
    pulse.tracer.store(CLinux_gettid(), ordering: .relaxed)
    let result = CLinux_ptrace_seize(podInit.processID, Self.options)
    if result < 0 { return .failure(Errno(rawValue: -result)) }
    let physical = PhysicalName<ProcessID>(rawValue: podInit.processID)
    do throws(NameError) {
      let name = try names.processes.enter(
        physical, parent: nil, chosen: ProcessTable.initial, as: .sessionLeader)
      let process = TracedProcess(
        tgid: podInit.processID, name: name, space: AddressSpace())
      process.speaksForInit = true
      add(podInit.processID, process)
    } catch {
      return .failure(.resourceTemporarilyUnavailable)
    }
    return .success(())
  }

  /// Serves stops until nothing of the pod is left.
  func run() {
    seeWhetherHostTakesReports()
    while let (tid, status) = nextReport() {
      if tid != podInit.processID { pulse.reports.add(1, ordering: .relaxed) }
      pulse.turns.add(1, ordering: .relaxed)
      serve(tid, status)
      if pulse.isAskedToLook.load(ordering: .relaxed) { look() }
    }
    closeMailbox()
    // Who could still be waiting: of what the host program took the last reports of.
    var left: [Int32: TracedProcess] = [:]
    for tracee in tracees.values { left[tracee.process.tgid] = tracee.process }
    for process in left.values { processEnded(process, SIGKILL) }
    pulse.tracer.store(0, ordering: .relaxed)
  }

  /// Looks for what was missed, without waiting for it.
  private func look() {
    pulse.isAskedToLook.store(false, ordering: .relaxed)
    // What is gone has to be found so three times, with time between them: its end may be under way.
    for pass in 0..<3 {
      if pass > 0 { usleep(1000) }
      while let (tid, status) = findMissedReport() { serve(tid, status) }
    }
  }

  /// Kills everything; init, which adopts and thereby reaps what is killed, last.
  private func end() {
    isEnding = true
    for process in Set(tracees.values.map(\.process.tgid)) where process != podInit.processID {
      kill(process, SIGKILL)
    }
    for tid in unclaimed.keys { kill(tid, SIGKILL) }
    endInitIfAlone()
  }

  private func endInitIfAlone() {
    guard isEnding, unclaimed.isEmpty, !initHasEnded,
      tracees.keys.allSatisfy({ $0 == podInit.processID })
    else { return }
    podInit.end()
    kill(podInit.processID, SIGKILL)
  }

  /// Our own machinery failed: nothing may run on without it.
  func fail(_ reason: String) {
    setup.events(.failed(reason))
    end()
  }

  private func closeMailbox() {
    for command in mailbox.close() { refuse(command) }
    for launch in launches.map(\.launch) + waitingLaunches {
      launch.answer(.failure(.podEnded))
    }
    launches = []
    waitingLaunches = []
  }

  private func refuse(_ command: Command) {
    switch command {
    case .launch(let launch): launch.answer(.failure(.podEnded))
    case .signal(_, _, _, let answer): answer(.failure(.podEnded))
    case .processes(let answer): answer([])
    case .end: break
    }
  }

  private func drainMailbox() {
    // Whose parent has ended the kernel reaps a moment after it has told of that end; the watch brings us here.
    if initHasZombies { reapGone(childrenOf: ProcessTable.initial) }
    for command in mailbox.drain() {
      if isEnding {
        refuse(command)
        continue
      }
      switch command {
      case .launch(let launch): waitingLaunches.append(launch)
      case .signal(let signal, let name, let toGroup, let answer):
        answer(send(signal, to: name, toGroup: toGroup))
      case .processes(let answer):
        answer(names.processes.liveProcesses.map(\.virtual).sorted())
      case .end: end()
      }
    }
    beginLaunches()
  }

  private func send(
    _ signal: Int32, to name: VirtualName<ProcessID>, toGroup: Bool
  ) -> Result<Void, PodError> {
    // While it is traced and not reaped by us, its number can't be another's.
    guard let entry = try? names.processes.space.entry(name), entry.state == .live,
      tracees[entry.physical.rawValue] != nil
    else { return .failure(PodError(.processEnded, "process \(name) has ended")) }
    let result = kill(
      toGroup ? -entry.physical.rawValue : entry.physical.rawValue, signal)
    if result == 0 { return .success(()) }
    let error = Errno(rawValue: errno)
    return .failure(
      PodError(
        .processEnded, "signal \(signal) could not be sent to process \(name)",
        underlyingError: error))
  }

  // MARK: Stops

  /// Serves one report of wait4.
  func serve(_ tid: Int32, _ status: Int32) {
    dispatch(tid, status)
    if tid == podInit.processID { drainMailbox() }
  }

  private func dispatch(_ tid: Int32, _ status: Int32) {
    if CLinux_WIFSTOPPED(status) == 0 {
      ended(tid, status)
      return
    }
    let signal = CLinux_WSTOPSIG(status)
    let event = status >> 16
    guard let tracee = tracees[tid] else {
      unclaimed[tid] = signal
      if isEnding { kill(tid, SIGKILL) }
      claimLostForks()
      return
    }
    if isWatchful { announceEnd(of: tracee) }
    switch Int(event) {
    case CLinux_PTRACE_EVENT_SECCOMP where tracee.process.isFiltered: enter(tracee)
    case CLinux_PTRACE_EVENT_SECCOMP: withoutTracer(tracee)
    case CLinux_PTRACE_EVENT_FORK, CLinux_PTRACE_EVENT_VFORK,
      CLinux_PTRACE_EVENT_CLONE:
      forked(tracee)
    case CLinux_PTRACE_EVENT_EXEC: executed(tracee)
    case CLinux_PTRACE_EVENT_EXIT: ending(tracee)
    case CLinux_PTRACE_EVENT_STOP: paused(tracee, signal)
    case 0 where signal == SIGTRAP | 0x80: passBoundary(tracee)
    case 0: deliver(signal, to: tracee)
    default: resume(tracee)
    }
  }

  /// Lets a thread run on: to its call's exit when a call is in flight, or to its next call when every call stops, else
  /// to the next event.
  func resume(_ tracee: Tracee, signal: Int32 = 0) {
    let result =
      tracee.transaction == nil && !tracee.stopsAtEveryCall
      ? CLinux_ptrace_cont(tracee.tid, signal) : CLinux_ptrace_syscall(tracee.tid, signal)
    checkAlive(result, tracee)
  }

  /// A thread that was killed in its stop answers ESRCH; its end is reported by itself.
  private func checkAlive(_ result: Int32, _ tracee: Tracee) {
    if result < 0, result != -ESRCH {
      fail("thread \(tracee.tid) could not be resumed: \(Errno(rawValue: -result))")
    }
  }

  private func paused(_ tracee: Tracee, _ signal: Int32) {
    if let birth = tracee.birth {
      tracee.birth = nil
      settleChildWord(tracee, birth)
    }
    if tracee.wasInterrupted {
      tracee.wasInterrupted = false
      tracee.hideInterruption()
    }
    // Init can't be stopped: the pod's end, and every program that starts, need it.
    let canStop = tracee.tid != podInit.processID
    switch signal {
    case SIGSTOP where canStop, SIGTSTP where canStop, SIGTTIN where canStop, SIGTTOU where canStop:
      checkAlive(CLinux_ptrace_listen(tracee.tid), tracee)
    default:
      resume(tracee)
    }
  }

  private func deliver(_ signal: Int32, to tracee: Tracee) {
    var info = siginfo_t()
    let hasInfo = CLinux_ptrace_getsiginfo(tracee.tid, &info) == 0
    // A breakpoint's code is the kernel's; others can send the signal too.
    if signal == SIGTRAP, tracee.process.speaksForInit, hasInfo, info.si_code > 0 {
      if let registers = try? Registers(of: tracee.tid),
        let message = PodInit.Signal(registers)
      {
        hear(message, from: tracee)
        resume(tracee)
        return
      }
    }
    if hasInfo, SignalInfo.carriesProcess(signal: info.si_signo, code: info.si_code) {
      let physical = CLinux_siginfo_pid(&info)
      let virtual = SignalInfo.virtualSender(physical, in: names)
      if virtual != physical {
        CLinux_siginfo_set_pid(&info, virtual)
        _ = CLinux_ptrace_setsiginfo(tracee.tid, &info)
      }
    }
    tracee.goOnWaiting(after: signal)
    resume(tracee, signal: signal)
  }

  // MARK: Programs that the host starts

  private func beginLaunches() {
    while launches.count < Self.launchesAtATime, !waitingLaunches.isEmpty, !isEnding {
      begin(waitingLaunches.removeFirst())
    }
  }

  private func begin(_ launch: Launch) {
    let id = nextLaunch
    nextLaunch &+= 1
    var launch = launch
    launch.specification.filter = rules.filter ?? []
    do throws(Errno) {
      try podInit.launch(launch.specification, id: id, descriptors: launch.descriptors)
      launches.append((id, launch))
    } catch {
      launch.answer(
        .failure(
          PodError(
            .launchFailed, "the pod's init could not be asked to start \(launch.request.name)",
            underlyingError: error)))
    }
  }

  /// Starts a program without the filter that the kernel didn't take: its calls all stop.
  private func beginAgain(_ launch: Launch, without error: Errno) -> Bool {
    guard !launch.specification.filter.isEmpty, rules.mayDoWithout, CallRules.meansNoFilters(error)
    else { return false }
    if rules.filter != nil {
      rules.filter = nil
      setup.degraded(CallRules.withoutFilter(error))
    }
    waitingLaunches.insert(launch, at: 0)
    beginLaunches()
    return true
  }

  private func hear(_ message: PodInit.Signal, from tracee: Tracee) {
    switch message {
    case .ring: drainMailbox()
    case .born:
      if tracee.process.launch?.specification.flags.contains(.newSession) == true {
        try? names.processes.makeSession(tracee.process.name)
      }
    case .failed(let failure):
      var launch = tracee.process.launch
      tracee.process.launch = nil
      if launch == nil, let index = launches.firstIndex(where: { $0.id == failure.id }) {
        launch = launches.remove(at: index).launch
      }
      if let launch, failure.stage == .filter, beginAgain(launch, without: failure.error) { return }
      launch?.answer(.failure(PodError(failure, of: launch?.request)))
      claimLostForks()
    }
  }

  // MARK: Births

  private func forked(_ tracee: Tracee) {
    var message: UInt = 0
    guard CLinux_ptrace_geteventmsg(tracee.tid, &message) == 0 else { return }
    let child = Int32(truncatingIfNeeded: message)
    // Somebody else has taken the end of who had the number before.
    if let former = tracees[child] { ended(child, statusOfMissedEnd(of: former)) }
    let physical = PhysicalName<ProcessID>(rawValue: child)
    if tracee.process.speaksForInit {
      adopt(physical)
    } else {
      let flags = tracee.transaction?.cloneFlags ?? 0
      let arguments = tracee.transaction?.arguments ?? CallArguments()
      var isBound = false
      do throws(Errno) {
        if tracee.transaction == nil {
          fail("process \(tracee.caller.process) forked without a call that was seen")
        }
        tracee.awaitsNewborn = false
        try tracee.transaction?.bindNewborn(physical)
        isBound = true
      } catch {
        // Only a thread can find no name here: the pod is full. It must not run unnamed.
        kill(child, SIGKILL)
      }
      if isBound { born(child, of: tracee.process, flags: flags, arguments: arguments, tracee) }
    }
    if let newborn = tracees[child] {
      newborn.announcesEnd = tracee.announcesEnd
      if let signal = unclaimed.removeValue(forKey: child) {
        if signal != 0 { paused(newborn, signal) }
      } else if isGone(child) {
        // Killed, and its end was reported, before anybody knew whose it was.
        ended(child, SIGKILL)
      }
    }
    resume(tracee)
    claimLostForks()
  }

  /// Whether we have nothing to expect of a task any more.
  func isGone(_ tid: Int32) -> Bool {
    var info = siginfo_t()
    let options =
      WEXITED | WSTOPPED | WNOHANG | WNOWAIT
      | Int32(CLinux_WAIT_ALL | CLinux_WAIT_NO_THREAD)
    return CLinux_waitid(Int32(P_PID.rawValue), tid, &info, options, nil) == -ECHILD
  }

  private func adopt(_ physical: PhysicalName<ProcessID>) {
    // Init forks for launches only, and in their order.
    let launch = launches.isEmpty ? nil : launches.removeFirst().launch
    do throws(NameError) {
      let name = try names.processes.enter(
        physical, parent: ProcessTable.initial, as: .groupLeader)
      let process = TracedProcess(
        tgid: physical.rawValue, name: name, space: AddressSpace())
      process.speaksForInit = true
      process.isFiltered = launch?.specification.filter.isEmpty == false
      process.launch = launch
      add(physical.rawValue, process)
      setup.events(.started(name, physical, parent: ProcessTable.initial))
    } catch {
      kill(physical.rawValue, SIGKILL)
      guard let launch else { return }
      launch.answer(
        .failure(
          PodError(
            .launchFailed, "the pod has no free name for \(launch.request.name)",
            underlyingError: .resourceTemporarilyUnavailable)))
    }
  }

  private func born(
    _ child: Int32, of parent: TracedProcess, flags: UInt64, arguments: CallArguments,
    _ tracee: Tracee?
  ) {
    guard let entry = try? names.processes.space.entry(PhysicalName<ProcessID>(rawValue: child))
    else { return }
    let process: TracedProcess
    if flags & CloneFlags.thread != 0 {
      process = parent
    } else {
      // vfork shares the memory too; its flags are the call's, not an argument's.
      let sharesMemory = flags & CloneFlags.vm != 0 || tracee?.transaction?.call == .vfork
      if sharesMemory { parent.space.sharers += 1 }
      process = TracedProcess(
        tgid: child, name: entry.virtual,
        space: sharesMemory ? parent.space : AddressSpace(copying: parent.space))
      process.dumpable = parent.dumpable
      process.mayBeOutOfReach = parent.mayBeOutOfReach
      process.isFiltered = parent.isFiltered
      process.hasKnownDescriptors = parent.hasKnownDescriptors
      setup.events(
        .started(entry.virtual, PhysicalName(rawValue: child), parent: entry.parent))
    }
    let newborn = add(child, process)
    guard let tracee else { return }
    let childWord = RemoteAddress(rawValue: arguments[names.abi.cloneChildWord])
    let threadPointer =
      flags & CloneFlags.setTLS != 0
      ? RemoteAddress(rawValue: arguments[names.abi.cloneThreadPointer])
      : tracee.registers.threadPointer
    if flags & CloneFlags.parentSetTID != 0, flags & CloneFlags.pidfd == 0 {
      let word = RemoteAddress(rawValue: arguments[2])
      if !ThreadID.staysPhysical(word: word, threadPointer: threadPointer) {
        try? tracee.process.space.memory.write(
          word, value: entry.virtual.rawValue, stopped: tracee.tid)
      }
    }
    if flags & CloneFlags.childSetTID != 0,
      !ThreadID.staysPhysical(word: childWord, threadPointer: threadPointer)
    {
      newborn.birth = (flags, childWord)
    }
  }

  private func settleChildWord(_ tracee: Tracee, _ birth: (flags: UInt64, childWord: RemoteAddress))
  {
    try? tracee.process.space.memory.write(
      birth.childWord, value: tracee.caller.thread.rawValue, stopped: tracee.tid)
  }

  @discardableResult
  private func add(_ tid: Int32, _ process: TracedProcess) -> Tracee {
    let physical = PhysicalName<ThreadID>(rawValue: tid)
    let caller =
      names.processes.caller(physical)
      ?? Caller(thread: VirtualName(rawValue: 0), process: process.name, physicalThread: physical)
    let tracee = Tracee(tid: tid, process: process, caller: caller)
    tracees[tid] = tracee
    process.threads.insert(tid)
    // What was on its way when the pod's end began.
    if isEnding { kill(process.tgid, SIGKILL) }
    process.onKnownDescriptor = { [unowned self, unowned process] in stopEveryCall(of: process) }
    process.onCredentialsChange = { [setup, name = process.name] in
      setup.events(.credentialsChanged(name))
    }
    return tracee
  }

  /// Claims newborns whose parent was killed between the birth and its event.
  private func claimLostForks() {
    guard !lostForks.isEmpty, !unclaimed.isEmpty else { return }
    for (child, signal) in unclaimed where !mayBeAnnounced(child) {
      let physical = PhysicalName<ProcessID>(rawValue: child)
      // Which of the lost forks made it, only its group and its session tell.
      let group = names.processes.virtual(of: PhysicalName(rawValue: getpgid(child)))
      let session = names.processes.virtual(of: PhysicalName(rawValue: getsid(child)))
      let index =
        lostForks.lastIndex { $0.group == group && $0.session == session }
        ?? lostForks.lastIndex { $0.session == session } ?? lostForks.count - 1
      guard lostForks.indices.contains(index) else { return }
      let lost = lostForks.remove(at: index)
      unclaimed[child] = nil
      do throws(NameError) {
        let name = try names.processes.initialize(
          physical, by: lost.caller, isThread: false, sharesParent: false,
          group: PhysicalName(rawValue: getpgid(child)))
        try names.processes.reparent(name, to: ProcessTable.initial)
        names.processes.adopt(
          [try names.processes.space.entry(name)], unlessOf: podInit.processID)
      } catch {
        kill(child, SIGKILL)
        continue
      }
      born(child, of: lost.process, flags: lost.flags, arguments: CallArguments(), nil)
      if let newborn = tracees[child], signal != 0 { paused(newborn, signal) }
    }
  }

  /// Whether a newborn may be that of a fork in flight, init's for a launch too, whose event is still to come.
  private func mayBeAnnounced(_ child: Int32) -> Bool {
    let makers = tracees.values.filter(\.awaitsNewborn).map(\.process.tgid)
    if makers.isEmpty, launches.isEmpty { return false }
    let group = getpgid(child)
    if !launches.isEmpty, group == getpgid(podInit.processID) { return true }
    return makers.contains { getpgid($0) == group }
  }

  /// Looks for newborns that nobody announced, when the last of a group has ended in which somebody was killed in a fork.
  /// A newborn keeps the group's number, so it has to be known before whoever waits for the others finds the group empty;
  /// but its first stop can be late.
  private func findNewborns(afterEndOf last: TracedProcess) {
    func group(of process: TracedProcess) -> VirtualName<ProcessID>? {
      (try? names.processes.space.entry(process.name))?.group
    }
    guard !isEnding, let left = group(of: last), lostForks.contains(where: { $0.group == left }),
      !tracees.values.contains(where: { $0.process !== last && group(of: $0.process) == left })
    else { return }
    for process in Watch.tracees(of: pulse.tracer.load(ordering: .relaxed))
    where tracees[process] == nil && unclaimed[process] == nil {
      unclaimed[process] = 0
    }
    claimLostForks()
    // Whose newborn isn't there made none.
    if unclaimed.isEmpty { lostForks = [] }
  }

  // MARK: Exec and end

  private func executed(_ tracee: Tracee) {
    let process = tracee.process
    var former: UInt = 0
    _ = CLinux_ptrace_geteventmsg(tracee.tid, &former)
    let formerTID = Int32(truncatingIfNeeded: former)
    if formerTID != tracee.tid {
      // The thread that called exec has the leader's number now; the leader's own end isn't reported.
      if let former = tracees.removeValue(forKey: formerTID) { giveUpCall(of: former) }
      process.threads.remove(formerTID)
    }
    names.processes.execed(
      leader: PhysicalName(rawValue: tracee.tid), former: PhysicalName(rawValue: formerTID))
    giveUpCall(of: tracee)
    tracee.birth = nil
    // The leader that this thread replaced may have been in the middle of a call of ours.
    tracee.heldMask = nil
    tracee.missedStop = false
    tracee.answer = nil
    tracee.caller.thread = VirtualName(rawValue: process.name.rawValue)
    process.space.sharers -= 1
    process.space = AddressSpace()
    process.dumpable = nil
    process.mayBeOutOfReach = true
    process.announcedStatus = nil
    process.speaksForInit = false
    if let launch = process.launch {
      process.launch = nil
      process.ended = launch.ended
      launch.answer(.success(process.name))
    }
    setup.events(.executed(process.name))
    resume(tracee)
  }

  private func ended(_ tid: Int32, _ status: Int32) {
    unclaimed[tid] = nil
    queue.removeAll { $0.tid == tid }
    guard let tracee = tracees.removeValue(forKey: tid) else { return endInitIfAlone() }
    let process = tracee.process
    process.threads.remove(tid)
    if tracee.awaitsNewborn, tracee.transaction?.child != nil,
      let flags = tracee.transaction?.cloneFlags
    {
      if lostForks.count == Self.lostForksKept { lostForks.removeFirst() }
      let maker = try? names.processes.space.entry(process.name)
      lostForks.append(
        LostFork(
          caller: tracee.caller, group: maker?.group, session: maker?.session, flags: flags,
          process: process))
    }
    giveUpCall(of: tracee)
    let orphans = tid == process.tgid ? names.processes.children(of: process.name) : []
    names.processes.exited(PhysicalName(rawValue: tid))
    names.processes.adopt(orphans, unlessOf: podInit.processID)
    if tid == process.tgid {
      findNewborns(afterEndOf: process)
      processEnded(process, status)
    }
    claimLostForks()
    if tid == podInit.processID {
      initHasEnded = true
      if !isEnding { fail("the pod's init was killed") }
      closeMailbox()
    }
    endInitIfAlone()
  }

  private func processEnded(_ process: TracedProcess, _ status: Int32) {
    let termination: TerminationStatus =
      CLinux_WIFSIGNALED(status) != 0
      ? .signaled(CLinux_WTERMSIG(status)) : .exited(CLinux_WEXITSTATUS(status))
    // Threads that an exec or a kill took along, and whose ends nobody reports.
    for thread in process.threads {
      names.processes.exited(PhysicalName(rawValue: thread))
      if let thread = tracees.removeValue(forKey: thread) { giveUpCall(of: thread) }
    }
    process.threads = []
    process.space.sharers -= 1
    reapGone(childrenOf: process.name)
    reapIfGone(process.tgid, process.name)
    if let launch = process.launch {
      process.launch = nil
      launch.answer(
        .failure(
          isEnding
            ? PodError.podEnded
            : PodError(.launchFailed, "\(launch.request.name) was killed before it could start")))
    }
    process.ended?(termination)
    process.ended = nil
    if process.tgid != podInit.processID { setup.events(.ended(process.name, termination)) }
  }

  /// Rolls back the call of a thread that is gone. What the kernel did of it stays done: a group that the table had
  /// members of, and the kernel none, would be a number that the kernel gives to somebody outside.
  private func giveUpCall(of tracee: Tracee) {
    let call = tracee.transaction?.call
    let target = tracee.transaction?.physicalArguments.int(0) ?? 0
    tracee.transaction = nil
    tracee.awaitsNewborn = false
    tracee.endScratch()
    guard call == .setpgid || call == .setsid else { return }
    let number = call == .setsid || target == 0 ? tracee.process.tgid : target
    guard let moved = names.processes.virtual(of: PhysicalName(rawValue: number)) else { return }
    if getsid(number) == number { try? names.processes.makeSession(moved) }
    if let group = names.processes.virtual(of: PhysicalName(rawValue: getpgid(number))) {
      try? names.processes.move(moved, toGroup: group)
    }
  }

  /// Gives up the names of zombies that the kernel reaped by itself: their parent ended, or ignores SIGCHLD.
  func reapGone(childrenOf parent: VirtualName<ProcessID>) {
    var zombies = names.processes.zombies(of: ProcessTable.initial)
    if parent != ProcessTable.initial { zombies += names.processes.zombies(of: parent) }
    for zombie in zombies { reapIfGone(zombie.physical.rawValue, zombie.virtual) }
    initHasZombies = !names.processes.zombies(of: ProcessTable.initial).isEmpty
  }

  private func reapIfGone(_ tgid: Int32, _ name: VirtualName<ProcessID>) {
    if kill(tgid, 0) != 0, errno == ESRCH { names.processes.reaped(name) }
  }
}
