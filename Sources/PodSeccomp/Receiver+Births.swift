internal import CLinux
internal import CPodLayout
internal import Glibc
internal import PodCore
internal import PodLinux
internal import SystemPackage

/// Births and waits that the pod's code in a process makes: what it tells and asks (`pod_page.h`), and in which order is
/// said in `Sources/CPodVDSO/page/births.h`.
///
/// A newborn is bound to its name by the number that its own notification has, or by the one that its maker says and the
/// kernel confirms.
extension Receiver {
  /// Whether a call that would be attended to is one that the caller can make in the pod's area.
  func mayEnterArea(_ call: Syscall, _ arguments: CallArguments, _ thread: PodThread) -> Bool {
    guard supervisor.area != nil, !thread.process.hasOwnFilters,
      !supervisor.names.interposers.contains(where: { $0.calls.contains(call) })
    else { return false }
    switch call {
    case .fork, .vfork, .clone: return true
    case .wait4: return supervisor.names.boundary.row(for: call, arguments)?.confined != nil
    case .waitid:
      // The page would let the program call again.
      return arguments.c == 0 && arguments.e == 0
        && supervisor.names.boundary.row(for: call, arguments)?.confined != nil
    default: return false
    }
  }

  /// Whether the page itself makes a call that comes from this place: one that it can't make it would let the program make
  /// again, for ever.
  static func pageMakes(
    _ call: Syscall, _ arguments: CallArguments, stack: RemoteAddress
  ) -> Bool {
    call != .clone
      || pod_page_birth_kind(arguments.a, arguments.b, stack.rawValue) != POD_PAGE_BIRTH_ELSEWHERE
  }

  // MARK: Makers

  func beginBirth(_ notification: Notification, _ thread: PodThread) {
    let words = notification.arguments
    let number = UInt16(truncatingIfNeeded: words.c >> 32)
    guard let call = Syscall(rawValue: number), [.fork, .vfork, .clone].contains(call) else {
      answer(notification, .failure(.invalidArgument))
      return
    }
    var arguments = CallArguments()
    if call == .clone {
      arguments[0] = words.c & 0xFFFF_FFFF
      arguments[2] = words.d
      arguments[supervisor.names.abi.cloneChildWord] = words.e
      arguments[supervisor.names.abi.cloneThreadPointer] = words.f
    }
    let transaction = Transaction(
      call, arguments, by: supervisor.caller(thread), names: supervisor.names,
      host: LookingCaller(thread, supervisor, notification))
    let ticket = supervisor.births.begin(
      transaction, PhysicalName(rawValue: thread.process.tgid),
      words: (RemoteAddress(rawValue: words.d), RemoteAddress(rawValue: words.e)),
      threadPointer: RemoteAddress(rawValue: words.f))
    answer(notification, ticket)
  }

  func sleepThroughBirth(_ notification: Notification, _ thread: PodThread) {
    let words = notification.arguments
    let isKept = supervisor.births.sleep(
      Int32(truncatingIfNeeded: words.c), PhysicalName(rawValue: thread.tid),
      stack: RemoteAddress(rawValue: words.d), end: words.e)
    answer(notification, isKept ? .success(0) : .failure(.invalidArgument))
  }

  func wakeFromBirth(_ notification: Notification, _ thread: PodThread) {
    let end = supervisor.births.wake(
      PhysicalName(rawValue: thread.tid),
      stack: RemoteAddress(rawValue: notification.arguments.c))
    answer(notification, .success(Int(truncatingIfNeeded: end ?? 0)))
  }

  func endBirth(_ notification: Notification, _ thread: PodThread) {
    let words = notification.arguments
    let kernel = CallResult(word: words.d)
    let result = supervisor.adoption.withLock {
      supervisor.births.end(
        Int32(truncatingIfNeeded: words.c), PhysicalName(rawValue: thread.tid),
        stack: RemoteAddress(rawValue: words.e), kernel, supervisor
      ) { birth, name in
        if birth.flags & CloneFlags.parentSetTID != 0, birth.flags & CloneFlags.pidfd == 0 {
          store(name, at: birth.words.maker, of: birth, notification)
        }
      }
    }
    answer(notification, result ?? kernel.flatMap { nameOfChild($0, of: thread) })
  }

  /// A maker says whom the kernel has made for it, and whom it had not announced.
  func nameMade(_ notification: Notification, _ thread: PodThread) {
    let words = notification.arguments
    let newborn = PhysicalName<ProcessID>(rawValue: Int32(truncatingIfNeeded: words.d))
    let process = PhysicalName<ProcessID>(rawValue: thread.process.tgid)
    let call = UInt16(truncatingIfNeeded: words.c >> 32)
    let flags =
      call == Syscall.vfork.rawValue
      ? CloneFlags.vm | CloneFlags.vfork : words.c & 0xFFFF_FFFF
    guard newborn.rawValue > 0 else {
      answer(notification, .failure(.invalidArgument))
      return
    }
    let births = Int32(truncatingIfNeeded: words.e)
    func name(_ witness: some NewbornWitness) -> VirtualName<ProcessID>? {
      UnannouncedBirth.name(
        of: newborn, flags, by: thread.process.name, process, since: births,
        names: supervisor.names, witness)
    }
    let told = ToldNewborn(newborn, flags, of: thread.process, supervisor)
    let name = told.map { name($0) } ?? name(supervisor)
    if let name {
      if flags & CloneFlags.semaphoreUndo != 0, flags & CloneFlags.thread == 0 {
        supervisor.names.shareUndo(of: thread.process.name, with: name)
      }
      answer(notification, .success(Int(name.rawValue)))
      return
    }
    // It must not run unnamed. Its maker waits for the answer, and nobody else waits for it.
    if let told {
      if told.kinship(of: newborn)?.parent == process { told.kill() }
    } else if supervisor.kinship(of: newborn)?.parent == process {
      _ = Glibc.kill(newborn.rawValue, SIGKILL)
    }
    answer(notification, .failure(.resourceTemporarilyUnavailable))
  }

  /// The name of a child that the kernel has made, by what the kernel says of it: nobody knows any more of a birth that so many
  /// were begun after, or another child was taken for this one. Never 0, which would make its maker a child.
  private func nameOfChild(_ number: Int, of thread: PodThread) -> CallResult {
    let physical = PhysicalName<ProcessID>(rawValue: Int32(truncatingIfNeeded: number))
    if let name = supervisor.name(of: physical) { return .success(Int(name.rawValue)) }
    let kinship = supervisor.kinship(of: physical)
    if kinship?.parent.rawValue == thread.process.tgid
      || kinship?.process.rawValue == thread.process.tgid,
      let child = supervisor.takeInEarly(physical.rawValue)
    {
      let name = supervisor.caller(child).thread
      if supervisor.isOfFamily(physical) { return .success(Int(name.rawValue)) }
      supervisor.takeBack(physical, VirtualName(rawValue: name.rawValue))
    }
    return supervisor.nameLost().map { .success(Int($0.rawValue)) }
      ?? .failure(.resourceTemporarilyUnavailable)
  }

  /// Stores a newborn's name where the kernel has stored its number, unless the kernel compares what is there.
  private func store(
    _ name: VirtualName<ProcessID>, at word: RemoteAddress, of birth: PageBirth,
    _ notification: Notification
  ) {
    guard !ThreadID.staysPhysical(word: word, threadPointer: birth.threadPointer) else { return }
    let memory = RemoteMemory(of: notification.tid)
    // Who still waits after the opening is who was opened.
    guard memory.isOpen, CLinux_seccomp_id_valid(listener, notification.id) == 0 else { return }
    try? memory.write(word, value: name.rawValue)
  }

  // MARK: Newborns

  /// Whether somebody says that it has just been made.
  func isNewborn(
    _ notification: Notification, _ call: Syscall?, _ arguments: CallArguments
  ) -> Bool {
    Self.isHypercall(call, arguments) && arguments.b == UInt64(POD_HYPERCALL_BORN.rawValue)
      && isFromPage(notification)
  }

  func greetNewborn(_ notification: Notification) {
    counts.took(hypercall: POD_HYPERCALL_BORN.rawValue)
    let ticket = Int32(truncatingIfNeeded: notification.arguments.c)
    do throws(Errno) {
      if let name = try name(notification, ticket: ticket) {
        confirm(notification, name)
        answer(notification, .success(Int(name.rawValue)))
        return
      }
    } catch {
      // It must not run unnamed.
      kill(notification)
      answer(notification, .failure(error))
      return
    }
    if let thread = supervisor.thread(notification.tid), supervisor.isThere(thread) {
      // Its maker has told of it, and of its own end since; or somebody else has needed its name; or it isn't one.
      let name = VirtualName<ProcessID>(rawValue: supervisor.caller(thread).thread.rawValue)
      if let birth = supervisor.births.announced(ticket) ?? supervisor.births.orphaned(ticket),
        birth.flags & CloneFlags.childSetTID != 0
      {
        store(name, at: birth.words.own, of: birth, notification)
      }
      answer(notification, .success(Int(name.rawValue)))
    } else if let thread = supervisor.adopt(notification.tid) {
      let name = VirtualName<ProcessID>(rawValue: supervisor.caller(thread).thread.rawValue)
      guard confirm(notification, name) else { return }
      if let birth = supervisor.births.orphaned(ticket), birth.flags & CloneFlags.childSetTID != 0 {
        store(name, at: birth.words.own, of: birth, notification)
      }
      answer(notification, .success(Int(name.rawValue)))
    } else {
      kill(notification)
      answer(notification, .failure(.notPermitted))
    }
  }

  /// Takes in who has been made without saying so.
  ///
  /// - Returns: nil when it is nobody's child.
  func takeInNewborn(_ notification: Notification) -> PodThread? {
    guard supervisor.area != nil else { return nil }
    let named =
      supervisor.namesLate ? nil : (try? name(notification, ticket: nil)) ?? nil
    // Nobody has announced it: any program can make a child where the page's code is.
    let taken =
      named != nil ? supervisor.thread(notification.tid) : supervisor.adopt(notification.tid)
    guard let taken else { return nil }
    let name = supervisor.caller(taken).thread
    return confirm(notification, VirtualName(rawValue: name.rawValue)) ? taken : nil
  }

  /// Whether a newborn that was taken in is who asked: who still waits after it was looked at is who was looked at. Who doesn't was
  /// killed, and unless the kernel says that its number is still one of the pod's, it may be anybody's by now.
  @discardableResult
  private func confirm(_ notification: Notification, _ name: VirtualName<ProcessID>) -> Bool {
    if isWaiting(notification) { return true }
    let physical = PhysicalName<ProcessID>(rawValue: notification.tid)
    if !supervisor.isOfFamily(physical) { supervisor.takeBack(physical, name) }
    return false
  }

  private func name(
    _ notification: Notification, ticket: Int32?
  ) throws(Errno) -> VirtualName<ProcessID>? {
    try supervisor.adoption.withLock { () throws(Errno) in
      try supervisor.births.born(
        PhysicalName(rawValue: notification.tid), ticket, supervisor
      ) { settlesMakers, birth, name in
        if settlesMakers, birth.flags & CloneFlags.parentSetTID != 0,
          birth.flags & CloneFlags.pidfd == 0
        {
          store(name, at: birth.words.maker, of: birth, notification)
        }
        if birth.flags & CloneFlags.childSetTID != 0 {
          store(name, at: birth.words.own, of: birth, notification)
        }
      }
    }
  }

  // MARK: Waits

  func endWait(_ notification: Notification, _ thread: PodThread) {
    let result = shownChild(notification, thread)
    // Who has been waited for shares no memory any more.
    patchWaitingSites(of: notification, thread)
    answer(notification, result)
  }

  /// What the caller of a wait is shown of its answer.
  private func shownChild(_ notification: Notification, _ thread: PodThread) -> CallResult {
    let words = notification.arguments
    guard case .success(let number) = CallResult(word: words.d) else {
      supervisor.reapGone(childrenOf: thread.process.name)
      return CallResult(word: words.d)
    }
    let physical = PhysicalName<ProcessID>(rawValue: Int32(truncatingIfNeeded: number))
    let isReaped = words.f != 0
    // Who was asked for by name has one.
    if words.c == 0, !supervisor.knows(physical) {
      if isReaped,
        let name = supervisor.births.lose(
          physical, of: PhysicalName(rawValue: thread.process.tgid))
          ?? supervisor.names.processes.lostChild(
            physical, of: thread.process.name, since: nil)
      {
        return .success(Int(name.rawValue))
      }
      // It stands still, or is a zombie still, and hasn't said that it is there. The kernel knows whose child it is; by the
      // caller's word alone anybody outside would be of the pod.
      if supervisor.kinship(of: physical)?.parent.rawValue == thread.process.tgid,
        let child = supervisor.takeInEarly(physical.rawValue), !supervisor.isOfFamily(physical)
      {
        // Another thread has reaped it meanwhile.
        supervisor.takeBack(
          physical, VirtualName(rawValue: supervisor.caller(child).thread.rawValue))
      }
    }
    let mayHave = supervisor.mayHaveWaited(thread.process, for: physical)
    let isGone =
      mayHave
      && supervisor.waited(
        for: physical.rawValue, status: isReaped ? Int32(truncatingIfNeeded: words.e) : nil,
        by: thread.process.name)
    var transaction = Transaction(
      .wait4, CallArguments(words.c), by: supervisor.caller(thread), names: supervisor.names,
      host: LookingCaller(thread, supervisor, notification))
    // Who was stopped when the page looked may have ended before it was waited for.
    let name = transaction.showChild(physical, isReaped: isGone)
    // Who had no name since the pod is full, and is nobody any more: 0 would mean that there was none.
    return .success(Int(name == 0 ? physical.rawValue : name))
  }
}

extension Supervisor: BirthWitness {
  func kinship(of task: PhysicalName<ProcessID>) -> Kinship? {
    // The pod's own helper is nobody's, whatever the kernel says of its parent.
    guard task.rawValue != launcher else { return nil }
    return kinship(ProcessStatus.family(of: task.rawValue), of: task)
  }

  /// The family that the kernel tells of; nil for a child of the launcher's that hasn't said yet who it is to be: until then it is in
  /// init's group, in which no program is.
  func kinship(
    _ family: (process: Int32, parent: Int32)?, of task: PhysicalName<ProcessID>
  ) -> Kinship? {
    guard let family,
      family.parent != podInit.processID || getpgid(task.rawValue) != podInit.processID
    else { return nil }
    return Kinship(
      process: PhysicalName(rawValue: family.process),
      parent: PhysicalName(rawValue: family.parent))
  }

  /// Whether a process can have waited for another one, as it says: for its child, or for an orphan whose new parent it is.
  /// Nobody else's child ends by its word.
  func mayHaveWaited(_ process: PodProcess, for child: PhysicalName<ProcessID>) -> Bool {
    let names = names.processes.space
    guard let entry = (try? names.dyingEntry(child)) ?? (try? names.entry(child)) else {
      return true
    }
    if entry.parent == process.name { return true }
    // Who has a new parent is known when the end of the old one is.
    guard let parent = try? names.entry(entry.parent), parent.state == .live else { return true }
    return entry.parent != ProcessTable.initial && hasEnded(parent.physical)
  }

  func hasEnded(_ process: PhysicalName<ProcessID>) -> Bool {
    guard let known = self.process(process.rawValue) else { return true }
    return known.hasEnded || isOver(known)
  }

  func name(of task: PhysicalName<ProcessID>) -> VirtualName<ProcessID>? {
    guard let thread = thread(task.rawValue), isThere(thread) else { return nil }
    return VirtualName(rawValue: caller(thread).thread.rawValue)
  }

  /// Takes in a task that has been made, and hasn't said so.
  func takeInEarly(_ tid: Int32) -> PodThread? {
    adoption.withLock {
      // Where nobody need announce births, one who says nothing is of none that was announced.
      if !namesLate,
        (try? births.bind(PhysicalName(rawValue: tid), self)) ?? nil != nil
      {
        return thread(tid)
      }
      return adopt(tid)
    }
  }

  /// The name of a child that was killed before it could say that it is there, as was its maker, and that was waited for:
  /// nobody's from now on.
  ///
  /// Only its parent says which number it had, and that may be anybody's outside: the name is never bound to it.
  func nameLost() -> VirtualName<ProcessID>? {
    guard let name = try? names.processes.space.allocate(avoidingPhysical: true) else { return nil }
    try? names.processes.space.giveBack(name)
    return name
  }

  func takeIn(
    _ newborn: PhysicalName<ProcessID>, _ name: VirtualName<ProcessID>, of birth: PageBirth
  ) {
    guard let entry = try? names.processes.space.entry(name),
      let maker = thread(birth.maker.physicalThread.rawValue)?.process
        ?? process(birth.process.rawValue)
    else { return }
    takeIn(entry, of: maker, birth.flags, sharesMemory: birth.sharesMemory)
  }

  func takeBack(_ newborn: PhysicalName<ProcessID>, _ name: VirtualName<ProcessID>) {
    if let process = process(newborn.rawValue), process.name == name {
      processEnded(process)
      if !reapIfGone(process) {
        names.processes.reaped(name)
        forget(process)
      }
    } else {
      names.processes.exited(name)
    }
  }

  /// Whether a task belongs to a process of the pod, or is the child of one, or of init. Nobody outside is.
  func isOfFamily(_ task: PhysicalName<ProcessID>) -> Bool {
    var last: Kinship?
    while let kinship = kinship(of: task), kinship != last {
      let relative = kinship.process == task ? kinship.parent : kinship.process
      if relative.rawValue == podInit.processID { return true }
      if process(relative.rawValue)?.isThere == true { return true }
      // Its parent may have ended since, and the kernel have given it to another.
      last = kinship
    }
    return false
  }

  /// Whether a number is that of a process of the pod, or was lately.
  func knows(_ process: PhysicalName<ProcessID>) -> Bool {
    self.process(process.rawValue) != nil || names.processes.virtual(of: process) != nil
  }
}
