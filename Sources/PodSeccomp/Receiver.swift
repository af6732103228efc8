internal import CLinux
internal import CPodLayout
internal import Glibc
internal import PodCore
internal import PodLinux
internal import Synchronization
internal import SystemPackage

/// One receiver: a thread of the host program that takes notifications and answers them.
///
/// Identity calls are answered from the tables. Calls that only look at names are made by the receiver itself. All others
/// are made in the caller's own context: see ``attend(_:_:_:)``.
///
/// It is made inside its thread and never leaves it, since ptrace works from the seizing thread only.
final class Receiver {
  let supervisor: Supervisor
  let listener: Int32
  /// Whether it takes notifications; see ``ReceiverPool``. Who starts it passes the turn on to it.
  private var hasTurn = true
  private var buffers: NotificationBuffers
  let counts = ReceiverCounts()
  /// How many notifications it has served, and how often in a row more were waiting when it looked.
  private var turns: UInt32 = 0
  private var crowded = 0
  /// The last list of mappings that was asked for.
  var keptMaps: KeptMaps?
  /// How often in a row nobody was waiting.
  private var lonely = 0

  init(_ supervisor: Supervisor) throws(Errno) {
    self.supervisor = supervisor
    buffers = try NotificationBuffers()
    listener = supervisor.listener.rawValue
    supervisor.pool.counts(by: counts)
  }

  /// Starts a receiver's thread.
  static func start(_ supervisor: Supervisor) throws(Errno) -> SupervisorThread {
    try SupervisorThread.start(name: "\(supervisor.names.pod) call") {
      do throws(Errno) {
        try Receiver(supervisor).run()
      } catch {
        supervisor.fail("notifications can't be received: \(error)")
      }
    }
  }

  // MARK: Notifications

  /// The shortest slice that the kernel gives, in nanoseconds.
  private static let slice: UInt64 = 100_000

  private func run() {
    // A caller that a signal reaches before its notification was taken isn't heard of: the sooner it is taken, the less
    // often that happens.
    _ = CLinux_set_slice(Self.slice)
    while true {
      if !hasTurn {
        switch supervisor.pool.next() {
        case .receive: hasTurn = true
        case .serve(let waiting):
          serve(waiting)
          continue
        case .end: return
        }
      }
      let result = receive()
      if result == 0 {
        let notification = Notification(buffers.notification)
        counts.took(call: notification.number)
        supervisor.pool.beginServing()
        serve(notification)
        if hasTurn {
          supervisor.pool.endServing()
          lookAround()
        }
      } else if result == -ENOENT || result == -EINTR {
        guard isOver else { continue }
        return supervisor.pool.close()
      } else {
        supervisor.fail("notifications can't be received: \(Errno(rawValue: -result))")
        return supervisor.pool.close()
      }
    }
  }

  /// Waits for a notification and takes it.
  ///
  /// - Returns: 0, or a negative errno; `-ENOENT` also when nobody is left who could ask.
  private func receive() -> Int32 {
    if supervisor.wakesReceivers { return buffers.receive(from: listener) }
    return supervisor.receiving.withLock { _ in
      var entry = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
      let count = poll(&entry, 1, -1)
      if count < 0 { return -errno }
      return entry.revents & Int16(POLLIN) != 0 ? buffers.receive(from: listener) : -ENOENT
    }
  }

  /// Serves what was left for later, if it can, and looks now and then whether more calls are waiting, or served by somebody else: when
  /// it was so a few times on end, another receiver is to help, and when it wasn't for a while, one is not.
  private func lookAround() {
    let supervisor = supervisor
    let start = { () throws(Errno) in try Receiver.start(supervisor) }
    if supervisor.pool.hasBacklog,
      let waiting = supervisor.pool.takeWaiting(hasTurn: &hasTurn, start)
    {
      return serve(waiting)
    }
    turns &+= 1
    guard turns % Self.turnsPerLook == 0 else { return }
    var entry = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
    let isCrowded = poll(&entry, 1, 0) > 0 || supervisor.pool.isServing
    crowded = isCrowded ? crowded + 1 : 0
    lonely = isCrowded ? 0 : lonely + 1
    if crowded == Self.looksForHelp {
      crowded = 0
      supervisor.pool.grow(start)
    } else if lonely == Self.looksForRetreat {
      lonely = 0
      if supervisor.pool.retreat() { hasTurn = false }
    }
  }

  private static let turnsPerLook: UInt32 = 16
  private static let looksForHelp = 4
  private static let looksForRetreat = 16

  /// Whether nobody is left who could ask.
  private var isOver: Bool {
    var entry = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
    return poll(&entry, 1, 0) > 0 && entry.revents & Int16(POLLHUP) != 0
  }

  /// Lets the caller see a result. One that is gone needs none.
  ///
  /// - Returns: Whether the caller still waited for it.
  @discardableResult
  func answer(_ notification: Notification, _ result: CallResult) -> Bool {
    switch result {
    case .success(let value):
      buffers.answer(notification.id, value: Int64(value), on: listener) == 0
    case .failure(let error):
      buffers.answer(notification.id, error: -error.rawValue, on: listener) == 0
    }
  }

  /// Lets the kernel make the call as it is.
  @discardableResult
  func letPass(_ notification: Notification) -> Bool {
    buffers.answer(
      notification.id, flags: CLinux_SECCOMP_USER_NOTIF_FLAG_CONTINUE, on: listener) == 0
  }

  private func serve(_ notification: Notification) {
    if let name = identity(for: notification) {
      if supervisor.patchesSites, patchSite(of: notification) { return }
      answer(notification, .success(Int(name)))
    } else {
      serveOther(notification)
    }
  }

  /// What is answered without looking any further; nil for all calls but identity calls.
  ///
  /// Allocates nothing and makes no call (`Benchmarks`, `notification-costs`).
  private func identity(for notification: Notification) -> Int32? {
    let number = notification.number
    let first = notification.arguments.a
    guard number < supervisor.identities.count, first != Gate.magic, first != PodInit.bornMagic,
      first != UInt64(POD_PAGE_MAGIC), first != Bootstrap.magic
    else { return nil }
    let identity = supervisor.identities[number]
    guard identity != .none,
      let caller = supervisor.names.processes.caller(PhysicalName(rawValue: notification.tid))
    else { return nil }
    if caller.thread.rawValue != caller.process.rawValue {
      // Nobody tells of a thread's end, and its number may be somebody else's.
      guard
        let process = supervisor.names.processes.space.physical(
          of: VirtualName<ProcessID>(rawValue: caller.process.rawValue)),
        supervisor.isThread(notification.tid, of: process.rawValue)
      else { return nil }
    }
    if supervisor.expectsHandlers, identity == .process,
      let thread = supervisor.thread(notification.tid), supervisor.isInHandler(thread)
    {
      return thread.process.tgid
    }
    if !supervisor.awaitedAreas.isEmpty || !supervisor.execsUnderWay.isEmpty,
      let process = supervisor.thread(notification.tid)?.process,
      process.hasExecUnderWay || process.space.wantsArea()
    {
      return nil
    }
    return identity == .process ? caller.process.rawValue : caller.thread.rawValue
  }

  /// Does what there is to do for identity calls, again and again, but for waiting for them and sending the answers.
  ///
  /// - Returns: The sum of the answers.
  func rehearse(_ call: seccomp_notif, count: Int) -> Int {
    var sum = 0
    buffers.rehearse(call)
    for _ in 0..<count {
      if supervisor.pool.hasBacklog { return sum }
      buffers.rehearse(call)
      counts.took(call: Int(call.data.nr))
      supervisor.pool.beginServing()
      defer { supervisor.pool.endServing() }
      let notification = Notification(buffers.notification)
      guard let name = identity(for: notification) else { return sum }
      buffers.prepare(notification.id, value: Int64(name))
      sum &+= Int(name)
    }
    return sum
  }

  private func serveOther(_ notification: Notification) {
    let (tid, arguments) = (notification.tid, notification.arguments)
    let call = UInt16(exactly: notification.number).flatMap { Syscall(rawValue: $0) }
    if tid == supervisor.launcher {
      if call.map({ isHarmless($0, arguments) || Self.launches($0, arguments) }) ?? false {
        letPass(notification)
      } else {
        answer(notification, .failure(.notPermitted))
      }
      return
    }
    if isNewborn(notification, call, arguments) { return greetNewborn(notification) }
    guard var thread = supervisor.thread(tid) else { return serveUnknown(notification, call) }
    // Nobody tells of a thread's end, and its number may be somebody else's.
    if tid != thread.process.tgid, !supervisor.isThread(tid, of: thread.process.tgid) {
      supervisor.lose(thread)
      return serveUnknown(notification, call)
    }
    if thread.process.hasExecUnderWay {
      supervisor.settleExec(of: thread.process)
      thread = supervisor.thread(tid) ?? thread
    }
    if Self.introduces(call, arguments), !supervisor.isThere(thread) {
      return serveUnknown(notification, call)
    }
    if thread.isExpected(notification.number, arguments) {
      letPass(notification)
      return
    }
    guard let call else {
      report(refused: notification.number, nil, .noFunction, by: thread.process)
      answer(notification, .failure(.noFunction))
      return
    }
    let process = thread.process
    if process.speaksForInit, isHarmless(call, arguments) || Self.prepares(call, arguments) {
      letPass(notification)
      return
    }
    // Its code was changed while it was made to make a call.
    if thread.isAttended {
      answer(notification, .failure(.badAddress))
      return
    }
    if isFromPage(notification), Self.isHypercall(call, arguments) {
      return serveHypercall(notification, thread)
    }
    if let gate = process.space.gate.map({ Gate(address: $0) }), thread.hasDetachedCalls {
      if gate.reports(call, arguments, at: notification.instructionPointer) {
        return slowly(notification) { end(notification, thread) }
      }
      if notification.instructionPointer == gate.afterCall, goesOnAtGate(call, arguments) {
        letPass(notification)
        return
      }
    }
    if let area = supervisor.area, process.space.awaitsArea, wantsArea(notification, call, thread) {
      return slowly(notification) {
        if !brings(area, notification, call, thread) { dispatch(notification, call, thread) }
      }
    }
    dispatch(notification, call, thread)
  }

  private func dispatch(_ notification: Notification, _ call: Syscall, _ thread: PodThread) {
    let arguments = notification.arguments
    if supervisor.patchesSites, call != .rt_sigaction, patchSite(of: notification, call, thread) {
      return
    }
    switch call {
    case .execve, .execveat:
      guard passesInterposers(notification, call, thread) else { return }
      if leaveExec(notification, thread) { return }
      return slowly(notification) { attendExec(notification, thread) }
    case .exit:
      guard passesInterposers(notification, call, thread) else { return }
      supervisor.ending(thread: thread)
      letPass(notification)
      return
    case .rt_sigaction: return setAction(notification, thread)
    default: break
    }
    let row = supervisor.names.boundary.row(for: call, arguments)
    if let row, !row.paths.isEmpty, leadsToNoView(notification, row, thread) {
      if passesInterposers(notification, call, thread) { letPass(notification) }
      return
    }
    switch row?.verb {
    case nil, .native?:
      if passesInterposers(notification, call, thread) { letPass(notification) }
    case .answered?, .refused?:
      lookAt(notification, call, thread)
    case .open(let errno, _)? where row?.inputs.isEmpty == true:
      trace(thread, call, arguments, .failure(errno))
      report(refused: notification.number, call, errno, by: thread.process)
      answer(notification, .failure(errno))
    case _ where row?.performed == .emulatedSearching:
      slowly(notification) { emulate(notification, call, thread) }
    case _ where row?.performed.isEmulated == true:
      emulate(notification, call, thread)
    case _ where Self.onlyLooks(call, arguments, supervisor):
      lookAt(notification, call, thread)
    case _ where row?.performed == .inCallerMapping:
      slowly(notification) { attendMapping(notification, call, thread) }
    case .wrapped? where setsOwnIDs(notification, call):
      if passesInterposers(notification, call, thread) { letPass(notification) }
    default:
      let inArea = mayEnterArea(call, arguments, thread)
      slowly(notification) { attend(notification, call, thread, inArea: inArea) }
    }
  }

  private func setsOwnIDs(_ notification: Notification, _ call: Syscall) -> Bool {
    UserID.isIdle(call, notification.arguments) { ofGroups in
      ProcessStatus.numbers(ofGroups ? "Gid" : "Uid", of: notification.tid)
    }
  }

  /// Does what takes the receiver away from notifications, if another one is there for them.
  func slowly(_ notification: Notification, _ body: () -> Void) {
    let supervisor = supervisor
    if supervisor.pool.mayAttend(
      notification, hasTurn: &hasTurn, { () throws(Errno) in try Receiver.start(supervisor) })
    {
      body()
    }
  }

  /// TIOCSPGRP. Source: include/uapi/asm-generic/ioctls.h.
  private static let setForegroundGroup: UInt32 = 0x5410

  /// Calls that may wait go on at the gate, and come here again when a signal has made them begin anew. None of them
  /// reaches anybody that the caller couldn't reach by itself.
  private func goesOnAtGate(_ call: Syscall, _ arguments: CallArguments) -> Bool {
    switch call {
    case .wait4, .waitid, .rt_sigtimedwait, .clock_nanosleep, .futex: true
    case .ioctl: UInt32(truncatingIfNeeded: arguments.b) == Self.setForegroundGroup
    default: supervisor.names.boundary.row(for: call, arguments)?.paths.isEmpty == false
    }
  }

  // MARK: Init's code

  // The launcher and its children run code of ours until they execute a program. Nobody else's calls go on like theirs,
  // but what runs there needn't be ours any more: programs of the same user can write to /proc/PID/mem.

  /// Whether no name goes in with a call.
  private func isHarmless(_ call: Syscall, _ arguments: CallArguments) -> Bool {
    if call == .execve || call == .execveat || call == .exit { return false }
    let row = supervisor.names.boundary.row(for: call, arguments)
    return switch row?.verb {
    case nil, .native?: true
    default: row?.paths.isEmpty == false
    }
  }

  /// The launcher's one call in which names cross.
  private static func launches(_ call: Syscall, _ arguments: CallArguments) -> Bool {
    call == .clone && arguments.a == CloneFlags.parent | UInt64(SIGCHLD) && arguments.b == 0
  }

  /// What a launched process does to itself.
  private static func prepares(_ call: Syscall, _ arguments: CallArguments) -> Bool {
    switch call {
    case .setsid, .setgroups, .setresgid, .setresuid, .capset, .capget: true
    case .setpgid: arguments.int(0) == 0 && arguments.int(1) == 0
    default: false
    }
  }

  // MARK: Newcomers

  /// Whether the launcher's child says who it is, or somebody claims to be one.
  private static func introduces(_ call: Syscall?, _ arguments: CallArguments) -> Bool {
    call == .getpid && arguments.a == PodInit.bornMagic
  }

  /// Only the launcher's children are nobody that we know: they say who they are first. One of them may have the number of
  /// somebody whose end nobody has told yet.
  private func serveUnknown(_ notification: Notification, _ call: Syscall?) {
    let arguments = notification.arguments
    if Self.introduces(call, arguments) {
      let isBorn =
        supervisor.isChildOfInit(notification.tid)
        && supervisor.born(notification.tid, id: UInt32(truncatingIfNeeded: arguments.b))
      // Nobody who could say something else next, and be taken for an orphan.
      if !isBorn { kill(notification, tellsWhy: false) }
      answer(notification, isBorn ? .success(0) : .failure(.resourceTemporarilyUnavailable))
      return
    }
    // A program that makes a child in the middle of the page's code.
    if takeInNewborn(notification) != nil { return serveOther(notification) }
    // A name that isn't there may be given at this moment, and its thread has not run before; anybody else is nobody's.
    kill(notification)
    answer(notification, .failure(.notPermitted))
  }

  /// Kills who waits for an answer.
  ///
  /// - Parameter tellsWhy: Whether it is the pod's failure that it has to be.
  func kill(_ notification: Notification, tellsWhy: Bool = true) {
    let pidfd = OwnedDescriptor(owning: CLinux_pidfd_open(notification.tid, 0x80))
    // While it waits for us, its number is its own.
    guard pidfd.rawValue != -ESRCH, CLinux_seccomp_id_valid(listener, notification.id) == 0 else {
      return
    }
    // There may be no descriptor left.
    if pidfd.rawValue >= 0 {
      _ = CLinux_pidfd_send_signal(pidfd.rawValue, SIGKILL, nil, 0)
    } else {
      _ = Glibc.kill(notification.tid, SIGKILL)
    }
    guard tellsWhy else { return }
    supervisor.setup.events(
      .failed("thread \(notification.tid) of nobody in the pod made a call, and was killed"))
  }

  // MARK: Calls that only look

  /// Calls that have the same effect whoever makes them, with all they say in registers.
  static func onlyLooks(
    _ call: Syscall, _ arguments: CallArguments, _ supervisor: Supervisor
  ) -> Bool {
    switch call {
    case .getppid, .getpgrp, .getpgid, .getsid, .sched_getscheduler, .sysinfo: true
    case .getpriority: arguments.int(0) != 2
    case .ioprio_get: arguments.int(0) != 3
    case .kill: arguments.int(1) == 0 && arguments.int(0) > 0 && !supervisor.mayVaryCredentials
    default: false
    }
  }

  /// - Parameter arguments: The call's, where it isn't itself what was notified of.
  func lookAt(
    _ notification: Notification, _ call: Syscall, _ thread: PodThread,
    arguments: CallArguments? = nil
  ) {
    let host = LookingCaller(thread, supervisor, notification)
    var transaction = Transaction(
      call, arguments ?? notification.arguments, by: supervisor.caller(thread),
      names: supervisor.names, host: host)
    let result: CallResult
    switch transaction.enter() {
    case .answer(let given):
      trace(transaction, kernel: nil, seen: given)
      if let error = transaction.row?.staticErrno {
        report(refused: Int(call.rawValue), call, error, by: thread.process)
      }
      result = given
    case .perform:
      var kernel = host.look(transaction.physicalCall, transaction.physicalArguments)
      if let seen = NamedTasks.seen(transaction.physicalCall, transaction.physicalArguments),
        !supervisor.isStillThere(seen, for: thread)
      {
        kernel = .failure(.noSuchProcess)
      }
      result = transaction.leave(kernel)
      trace(transaction, kernel: kernel, seen: result)
    }
    answer(notification, result)
  }

  /// The embedder's own rules, where no others follow.
  func passesInterposers(
    _ notification: Notification, _ call: Syscall, _ thread: PodThread
  ) -> Bool {
    let interposers = supervisor.names.interposers.filter { $0.calls.contains(call) }
    if interposers.isEmpty { return true }
    let host = LookingCaller(thread, supervisor, notification)
    var transaction = Transaction(
      call, notification.arguments, by: supervisor.caller(thread), names: supervisor.names,
      host: host)
    do throws(Errno) {
      for interposer in interposers { try interposer.preamble(&transaction) }
    } catch {
      transaction.result = .failure(error)
    }
    guard let result = transaction.result else { return true }
    trace(transaction, kernel: nil, seen: result)
    answer(notification, result)
    return false
  }

  // MARK: Events

  func report(refused number: Int, _ call: Syscall?, _ error: Errno, by process: PodProcess) {
    guard supervisor.setup.configuration.tracesCalls, process.report(refused: number) else {
      return
    }
    supervisor.setup.events(.refused(call, number: number, by: process.name, error))
  }

  func trace(_ transaction: borrowing Transaction, kernel: CallResult?, seen: CallResult) {
    guard supervisor.setup.configuration.tracesCalls else { return }
    supervisor.setup.events(
      .call(
        TracedCall(
          caller: transaction.caller, call: transaction.call,
          virtualArguments: transaction.arguments,
          physicalArguments: kernel == nil ? nil : transaction.physicalArguments,
          physicalResult: kernel, virtualResult: seen,
          namedArguments: transaction.row?.namedArguments ?? [])))
  }

  private func trace(
    _ thread: PodThread, _ call: Syscall, _ arguments: CallArguments, _ seen: CallResult
  ) {
    guard supervisor.setup.configuration.tracesCalls else { return }
    supervisor.setup.events(
      .call(
        TracedCall(
          caller: supervisor.caller(thread), call: call, virtualArguments: arguments,
          physicalArguments: nil, physicalResult: nil, virtualResult: seen, namedArguments: [])))
  }
}
