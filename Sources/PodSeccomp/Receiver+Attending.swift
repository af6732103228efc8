internal import CLinux
internal import CPodLayout
internal import Glibc
internal import PodCore
internal import PodLinux
internal import SystemPackage

/// How a call is made in its caller's own context: the thread is attached to for so long, and makes the call with
/// physical names.
///
/// The call that it makes comes as a notification too, to another receiver, which knows it by its number and arguments and lets
/// it pass. Nobody can have changed them: they are in the registers of a thread that its tracer has set up.
extension Receiver {
  /// Attaches to a thread that waits for an answer, and answers it so that it stands still.
  ///
  /// - Parameter answered: Answers it; returns whether it still waited for that.
  /// - Returns: nil when it is gone.
  func attach(
    _ notification: Notification, _ thread: PodThread, answered: (() -> Bool)? = nil
  ) -> AttachedThread? {
    let attached: AttachedThread
    do throws(Errno) {
      attached = try supervisor.seize(thread)
      counts.attached(call: notification.number)
    } catch {
      answer(notification, .failure(Self.answer(to: error)))
      return nil
    }
    switch UInt16(exactly: notification.number).flatMap(Syscall.init(rawValue:)) {
    case .sched_setaffinity, .sched_getaffinity: break
    default: attached.stayTogether()
    }
    // Until here the number could have become another's.
    guard answered?() ?? answer(notification, .success(0)) else {
      supervisor.withdraw(attached)
      return nil
    }
    do throws(Errno) {
      try attached.stop()
      return attached
    } catch {
      return nil
    }
  }

  /// What a caller is told that isn't to be attached to.
  private static func answer(to error: Errno) -> Errno {
    switch error {
    case .noSuchProcess: .interrupted
    case .resourceTemporarilyUnavailable: restart
    default: .notPermitted
    }
  }

  /// ERESTARTNOINTR: who is about to stop makes its call again afterwards, and the program doesn't see it.
  ///
  /// Source: include/linux/errno.h; arch/x86/kernel/signal.c, `arch_do_signal_or_restart`.
  private static let restart = Errno(rawValue: 513)

  /// Makes a call in its caller's context.
  ///
  /// - Parameter inArea: Whether the caller is to make it itself, in the pod's area, if it can.
  func attend(
    _ notification: Notification, _ call: Syscall, _ thread: PodThread, inArea: Bool = false
  ) {
    defer { supervisor.attendance.end() }
    var words: Int32?
    if maySleep(call, notification.arguments), thread.process.space.waitWords == nil {
      do throws(Errno) {
        words = try bringWords(to: notification)
      } catch {
        answer(notification, .failure(.noMemory))
        return
      }
    }
    guard let attached = attach(notification, thread) else { return }
    let host = AttachedCaller(thread, supervisor)
    host.hold(attached)
    host.comeWithinReach()
    if let words {
      host.bring(wordsAs: words)
      do throws(Errno) {
        try host.settleWords()
      } catch {
        return finish(host, attached, .failure(.noMemory))
      }
    }
    if inArea,
      Self.pageMakes(
        call, notification.arguments, stack: attached.registers.stackPointer),
      enterArea(host, attached, call)
    {
      return
    }
    attendTo(host, attached, call, notification.arguments)
  }

  /// Sends a thread that stands behind its call into the pod's area, which makes the call and returns to the program.
  ///
  /// - Returns: Whether the thread was let go: else it is held as before, since there is no area in its memory, it is there
  ///   already, or has no stack.
  private func enterArea(
    _ host: AttachedCaller, _ attached: AttachedThread, _ call: Syscall
  ) -> Bool {
    let space = host.thread.process.space
    guard let area = supervisor.area, space.hasArea,
      !area.isCode(attached.registers.instructionPointer)
    else { return false }
    do throws(Errno) {
      // The program may have unmapped it, or have something else there.
      let entry = area.base.advanced(by: Int(POD_PAGE_ENTER))
      let found = try RemoteMemory().readBytes(
        entry, count: PodArea.beginning.count, stopped: attached.tid)
      guard found == PodArea.beginning else { return false }
      // A stack that ends before the page has done with it.
      let lowest = attached.registers.stackPointer.advanced(by: -Self.roomInPage)
      _ = try RemoteMemory().read(lowest, as: UInt64.self, stopped: attached.tid)
      // Another receiver may have its next call before this one goes on.
      host.letGo()
      try attached.enter(entry, for: call)
      return true
    } catch {
      host.hold(attached)
      return false
    }
  }

  /// The host's scratch memory is given back at the end, but for a call that goes on by itself: that one reads it.
  private func attendTo(
    _ host: AttachedCaller, _ attached: AttachedThread, _ call: Syscall, _ arguments: CallArguments
  ) {
    let caller = supervisor.caller(host.thread)
    // Another receiver may have a detached call's host before this one has returned.
    var isDetached = false
    defer { if !isDetached { host.endScratch() } }
    for _ in 0..<Self.retries {
      var transaction = Transaction(
        call, arguments, by: caller, names: supervisor.names, host: host)
      switch transaction.enter() {
      case .answer(let result):
        trace(transaction, kernel: nil, seen: result)
        return finish(host, attached, result)
      case .perform: break
      }
      if attached.isGone { return host.letGo() }
      // What it was to sleep on isn't there any more: its call comes again, and then it is brought once more.
      if transaction.wantsSleep {
        drop(consume transaction)
        return again(host, attached, call)
      }
      let result: CallResult
      do throws(Errno) {
        if transaction.awaitsNewborn {
          guard let made = try fork(&transaction, host, attached) else {
            isDetached = true
            return detach(consume transaction, host, attached)
          }
          result = made
        } else if let found = try look(transaction, host, attached) {
          result = found
        } else if transaction.row?.performed == .inCallerBlocking || transaction.wait != nil {
          let gate = try host.gate()
          try begin(transaction, at: gate.call, attached)
          isDetached = true
          return detach(consume transaction, host, attached)
        } else {
          result = try perform(transaction, host, attached)
        }
      } catch .interrupted {
        return again(host, attached, call)
      } catch Self.trapped {
        return finish(host, attached, .success(Int(call.rawValue)))
      } catch {
        giveUp(consume transaction, host)
        return finish(host, attached, .failure(error))
      }
      supervisor.prepare(transaction, result, host)
      let seen = transaction.leave(result)
      if transaction.wantsRetry { continue }
      trace(transaction, kernel: result, seen: seen)
      if call == .capset { supervisor.capabilitiesChanged() }
      host.settle()
      return finish(host, attached, seen)
    }
    finish(host, attached, .failure(.resourceTemporarilyUnavailable))
  }

  /// A call that a filter of the program's own has trapped: no errno of the kernel's.
  private static let trapped = Errno(rawValue: 4096)

  /// What a call names may change again and again; so often it is made anew.
  private static let retries = 1000

  private func finish(_ host: AttachedCaller, _ attached: AttachedThread, _ result: CallResult) {
    host.letGo()
    attached.finish(result)
  }

  /// A signal came first: it is delivered, and then the program makes its call again.
  func again(_ host: AttachedCaller, _ attached: AttachedThread, _ call: Syscall) {
    host.letGo()
    attached.repeatCall(call)
  }

  /// - Throws: `.interrupted` when a signal came first.
  private func perform(
    _ transaction: borrowing Transaction, _ host: AttachedCaller, _ attached: AttachedThread
  ) throws(Errno) -> CallResult {
    let (call, arguments) = (transaction.physicalCall, transaction.physicalArguments)
    if LibrarySignal.isOne(call, arguments, from: host.thread.process.tgid),
      !host.thread.process.space.hasArea
    {
      supervisor.expectHandler(of: arguments.int(2), in: arguments.int(1))
    }
    let withSignals = Self.choosesThread(call) && host.thread.process.mayHaveThreads
    return try supervisor.whilePinned(call, arguments, by: host.thread) {
      () throws(Errno) -> CallResult in
      switch try attached.perform(call, arguments, withSignals: withSignals) {
      case .returned(let result): return result
      case .interrupted, .waitsForChild: throw .interrupted
      case .trapped: throw Self.trapped
      }
    }
  }

  /// Calls that send a signal to whichever thread of a process takes it: the caller, too, if it doesn't block it.
  private static func choosesThread(_ call: Syscall) -> Bool {
    call == .kill || call == .rt_sigqueueinfo
  }

  // MARK: Calls that may wait

  /// Makes a wait for a child that doesn't wait.
  ///
  /// No signal can come in between, which native waits of this kind don't answer with EINTR; and who finds a child that has
  /// ended need not go to the gate.
  ///
  /// - Returns: nil when it is no wait, or when the caller is to wait.
  private func look(
    _ transaction: borrowing Transaction, _ host: AttachedCaller, _ attached: AttachedThread
  ) throws(Errno) -> CallResult? {
    let noHang: UInt64 = 1
    switch transaction.call {
    case .wait4:
      var arguments = transaction.physicalArguments
      let isPatient = arguments.c & noHang == 0
      arguments.c |= noHang
      let result = try attached.perform(.wait4, arguments)
      return isPatient && result == .success(0) ? nil : result
    case .waitid:
      if transaction.physicalArguments.d & noHang != 0 {
        return try attached.perform(.waitid, transaction.physicalArguments)
      }
      return try lookForChild(transaction, host, attached)
    default: return nil
    }
  }

  /// The answer of waitid(2) goes to memory of ours first: the kernel writes that there is nobody, too, which a call that
  /// waits doesn't.
  private func lookForChild(
    _ transaction: borrowing Transaction, _ host: AttachedCaller, _ attached: AttachedThread
  ) throws(Errno) -> CallResult? {
    let noHang: UInt64 = 1
    var arguments = transaction.physicalArguments
    let given = RemoteAddress(rawValue: arguments.c)
    arguments.d |= noHang
    var info = [UInt8](repeating: 0, count: Self.answeredInfo)
    if transaction.arguments.c != 0 {
      arguments.c = try info.withUnsafeBytes { bytes in
        Result { () throws(Errno) in try host.scratch(bytes) }
      }.get().rawValue
    }
    let result = try attached.perform(.waitid, arguments)
    guard case .success = result else { return result }
    let answer = RemoteAddress(rawValue: arguments.c)
    if try transaction.read(Int32.self, at: answer.advanced(by: SignalInfo.senderOffset)) == 0 {
      return nil
    }
    if answer != given {
      let copied = info.withUnsafeMutableBytes { bytes in
        Result { () throws(Errno) in
          try host.read(answer, into: bytes)
          try host.write(UnsafeRawBufferPointer(bytes), to: given)
        }
      }
      // The child has been waited for all the same.
      if case .failure(let error) = copied { return .failure(error) }
    }
    return result
  }

  /// How much of a `siginfo` waitid(2) writes, in bytes. Source: kernel/exit.c, `waitid`.
  private static let answeredInfo = 28

  private func begin(
    _ transaction: borrowing Transaction, at instruction: RemoteAddress, _ attached: AttachedThread
  ) throws(Errno) {
    try attached.begin(
      transaction.physicalCall, transaction.physicalArguments, at: instruction,
      keeping: Gate.firstReport(of: transaction.physicalCall))
  }

  /// Lets a call go on by itself.
  private func detach(
    _ transaction: consuming Transaction, _ host: AttachedCaller, _ attached: AttachedThread
  ) {
    let thread = host.thread
    thread.push(DetachedCall(attached.registers, consume transaction, host))
    host.letGo()
    attached.release()
  }

  /// A call that went on by itself is over.
  func end(_ notification: Notification, _ thread: PodThread) {
    defer { supervisor.attendance.end() }
    guard let attached = attach(notification, thread) else { return }
    guard let detached = thread.pop(stack: attached.registers.stackPointer),
      var transaction = detached.transaction.take()
    else {
      // Whoever jumps into the page without a call finds what is behind it.
      attached.finish(.failure(.badAddress))
      return
    }
    attached.continueAs(detached.registers)
    let host = detached.host
    host.hold(attached)
    var kernel = CallResult(word: notification.arguments.b)
    // The signal of a child's end may have come before the kernel looked for the child.
    if kernel == .failure(.interrupted),
      let found = (try? look(transaction, host, attached)) ?? nil
    {
      kernel = found
    }
    supervisor.prepare(transaction, kernel, host)
    // The program has unmapped what its thread was to sleep on.
    if transaction.wait != nil, kernel == .failure(.badAddress) {
      let space = thread.process.space
      space.settleWaitWords(nil, insteadOf: space.waitWords)
    }
    let seen = transaction.leave(kernel)
    // A lock never says that a signal came; the kernel makes such a call again by itself.
    let isCutOff = transaction.call == .futex && kernel == .failure(.interrupted)
    if transaction.wantsRetry || isCutOff {
      let (call, arguments) = (transaction.call, transaction.arguments)
      drop(consume transaction)
      attendTo(host, attached, call, arguments)
    } else {
      trace(transaction, kernel: kernel, seen: seen)
      finish(host, attached, seen)
      host.endScratch()
    }
  }

  private func drop(_ transaction: consuming Transaction) {}

  /// Rolls back the call of a thread that is gone. What the kernel did of it stays done: a group that the table had
  /// members of, and the kernel none, would be a number that the kernel gives to somebody outside.
  private func giveUp(_ transaction: consuming Transaction, _ host: AttachedCaller) {
    let call = transaction.call
    let target = transaction.physicalArguments.int(0)
    drop(consume transaction)
    guard call == .setpgid || call == .setsid else { return }
    let processes = supervisor.names.processes
    let number = call == .setsid || target == 0 ? host.thread.process.tgid : target
    guard let moved = processes.virtual(of: PhysicalName(rawValue: number)) else { return }
    if getsid(number) == number { try? processes.makeSession(moved) }
    if let group = processes.virtual(of: PhysicalName(rawValue: getpgid(number))) {
      try? processes.move(moved, toGroup: group)
    }
  }

  // MARK: Births

  /// Makes a child or a thread.
  ///
  /// - Returns: What the kernel answered; nil when the caller waits for its child (vfork), at the gate.
  /// - Throws: `.interrupted` when a signal came first.
  private func fork(
    _ transaction: inout Transaction, _ host: AttachedCaller, _ attached: AttachedThread
  ) throws(Errno) -> CallResult? {
    let flags = transaction.cloneFlags
    let waits = transaction.call == .vfork || flags & CloneFlags.vfork != 0
    let instruction = waits ? try host.gate().call : nil
    let (call, arguments) = (transaction.physicalCall, transaction.physicalArguments)
    let supervisor = supervisor
    let birth = Birth(
      flags: flags, sharesMemory: transaction.call == .vfork || flags & CloneFlags.vm != 0,
      arguments: transaction.arguments, maker: attached.registers, isAtGate: waits,
      hasStackOfItsOwn: transaction.call == .clone && transaction.arguments.b != 0)
    if birth.sharesMemory { host.leavePatchedSites() }
    let outcome = try attached.perform(
      call, arguments, at: instruction, keeping: waits ? Gate.firstReport(of: call) : nil,
      makesTask: true
    ) { child in
      supervisor.adoption.withLock {
        if (try? transaction.bindNewborn(PhysicalName(rawValue: child.tid))) != nil {
          supervisor.born(child, of: host.thread, birth)
        } else {
          // Only a thread can find no name here: the pod is full. It must not run unnamed.
          _ = Glibc.kill(child.tid, SIGKILL)
        }
      }
      return waits
    }
    switch outcome {
    case .waitsForChild: return nil
    case .interrupted: throw .interrupted
    case .trapped: throw Self.trapped
    case .returned(let result): return result
    }
  }

  // MARK: Exec

  /// Watches a thread execute a program.
  func attendExec(_ notification: Notification, _ thread: PodThread) {
    defer { supervisor.attendance.end() }
    let process = thread.process
    let attached: AttachedThread
    do throws(Errno) {
      attached = try supervisor.seize(thread)
      counts.attached(call: notification.number)
    } catch {
      // The kernel won't let us look: what it executes is found out at its next call.
      answer(notification, .failure(Self.answer(to: error)))
      return
    }
    attached.stayTogether()
    guard letPass(notification) else {
      supervisor.withdraw(attached)
      return
    }
    guard let former = attached.watchExec(leader: process.tgid) else {
      attached.release()
      return
    }
    supervisor.executed(process, former: former)
    let host = AttachedCaller(
      supervisor.thread(process.tgid) ?? PodThread(tid: process.tgid, process: process), supervisor)
    host.hold(attached)
    if !attached.canReadMemory, let call = attached.goToFirstCall() {
      host.comeWithinReach()
      again(host, attached, call)
      return
    }
    host.letGo()
    attached.release()
  }
}

/// What is to be known of a fork when its child is there.
struct Birth {
  let flags: UInt64
  let sharesMemory: Bool
  /// As the program passed them.
  let arguments: CallArguments
  /// The maker's registers at its call.
  let maker: Registers
  /// Whether the call was made at the gate, so that the child begins there.
  let isAtGate: Bool
  let hasStackOfItsOwn: Bool
}

extension CallResult {
  /// A result as it is in the result register.
  init(word: UInt64) {
    let value = Int(bitPattern: UInt(word))
    self =
      (-4095 ... -1).contains(value)
      ? .failure(Errno(rawValue: Int32(-value))) : .success(value)
  }
}
