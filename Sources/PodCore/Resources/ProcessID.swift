public import SystemPackage

/// Process ids: thread-group leaders as programs name them.
public enum ProcessID: Resource {
  /// "process".
  public static let label = "process"
  /// ESRCH.
  public static let unknownName = Errno.noSuchProcess
  /// The pod's init.
  public static let untouchable: Int32? = 1

  /// The kernel's number of a process of the pod that has not ended, or of one of its threads.
  ///
  /// A process that has ended is unknown here: its physical number may be reused as soon as its parent has waited, so no
  /// call that names it goes to the kernel. Calls that have an answer for zombies give it from the table.
  ///
  /// - Throws: `.noSuchProcess`.
  public static func resolve(
    _ name: Int32, in transaction: inout Transaction
  ) throws(Errno) -> Int32 {
    try transaction.hold(name)
    let entry = try transaction.step(.lookUp, on: name) { transaction throws(Errno) in
      try transaction.names.processes.task(VirtualName(rawValue: name))
    }
    return entry?.physical.rawValue ?? name
  }

  /// The pod's name of a task; nil for what is outside.
  public static func virtualize(_ name: Int32, in names: PodNames) -> Int32? {
    names.processes.named(PhysicalName(rawValue: name))?.rawValue
  }

  private static let pid = NameShape(ProcessID.self, zero: .caller)
  private static let task = NameShape(ThreadID.self)
  private static let selfOrTask = NameShape(ThreadID.self, zero: .caller)

  /// The rows of process ids.
  public static let boundary: [BoundaryRow] = [
    .answered(.getpid, out: .result(pid)),  // P1
    // P3
    .wrapped(
      .getppid, out: [.result(pid)], by: ShowParent(), performed: .inCaller, reaching: .caller),
    .wrapped(
      .fork, by: Fork(), showing: [.result(pid)], performed: .inCallerBlocking,
      reaching: .children()),  // P7
    .wrapped(
      .vfork, by: Fork(), showing: [.result(pid)], performed: .inCallerBlocking,
      reaching: .children()),  // P7
    // P7–P10, P14, P16
    .wrapped(
      .clone,
      when: .argument(0, masked: KernelNamespaces.flagsOfClone, is: 0, "no CLONE_NEW…"),
      by: Fork(), showing: [.result(task), .memory(2, task), .memory(3, task)],
      performed: .inCallerBlocking,
      reaching: .children(
        when: .argument(
          0, masked: CloneFlags.ptrace | CloneFlags.untraced, is: 0, "no tracer's flags"))),
    .refused(
      .clone3, .noFunction,
      because: "its flags, and the ids that set_tid asks for, are in memory, where a sibling "
        + "thread can change them after a check; libraries fall back to clone"),  // P7, P12
    .wrapped(
      .wait4, by: WaitForChild(), naming: [.argument(0, pid)], showing: [.result(pid)],
      performed: .inCallerBlocking, reaching: .children()),  // P17, P19
    .wrapped(
      .waitid, by: WaitForChild(), naming: [.argument(1, pid)],
      showing: [.field(SignalInfo.senderOffset, of: 2, pid)],
      performed: .inCallerBlocking, reaching: .children()),  // P18, S7
    .wrapped(
      .pidfd_open, by: OpenHandle(), naming: [.argument(0, task)],
      performed: .inCaller, reaching: .signalled),  // P31
    .translated(.process_vm_readv, in: [.argument(0, task)]),  // P40
    .translated(.process_vm_writev, in: [.argument(0, task)]),  // P40
    .translated(.kcmp, in: [.argument(0, task), .argument(1, task)]),  // P41
    .translated(.prlimit64, in: [.argument(0, selfOrTask)]),  // P46
    .translated(.migrate_pages, in: [.argument(0, selfOrTask)]),  // P42
    .translated(.move_pages, in: [.argument(0, selfOrTask)]),  // P42
  ]
}

/// Makes a child, or a thread: its name exists before anyone can use it.
///
/// Source: paper §4.1.2 and Figure 3; clone(2).
struct Fork: Wrapper {
  func preamble(_ transaction: inout Transaction) throws(Errno) {
    let flags = transaction.cloneFlags
    if transaction.call == .clone {
      transaction.physicalArguments[0] = flags & ~(CloneFlags.ptrace | CloneFlags.untraced)
    }
    let isThread = flags & CloneFlags.thread != 0
    try transaction.step(.allocate) { transaction throws(Errno) in
      transaction.awaitsNewborn = true
      do throws(NameError) {
        // A thread's name is its physical number where that is free, so nothing can be allocated before.
        if isThread {
          try transaction.names.processes.announceThread(
            by: transaction.caller, chosen: transaction.chosenChild,
            birth: transaction.birthNumber)
        } else {
          transaction.child = try transaction.names.processes.announceBirth(
            by: transaction.caller, sharesParent: flags & CloneFlags.parent != 0,
            chosen: transaction.chosenChild, leased: transaction.leasedChild,
            birth: transaction.birthNumber)
        }
      } catch {
        switch error {
        // As clone3(2) says of `set_tid`.
        case .nameInUse: throw .fileExists
        case .outOfRange: throw .invalidArgument
        case .rangeExhausted, .unknownName: throw .resourceTemporarilyUnavailable
        }
      }
    }
    if flags & CloneFlags.semaphoreUndo != 0, let child = transaction.child {
      transaction.names.systemV.shareUndo(of: transaction.caller.process, with: child)
    }
  }

  func epilogue(_ transaction: inout Transaction) throws(Errno) {
    guard case .success(let result)? = transaction.result else {
      if transaction.cloneFlags & CloneFlags.semaphoreUndo != 0, let child = transaction.child {
        transaction.names.systemV.ended(child)
      }
      transaction.step(.rollBack, on: transaction.child?.rawValue ?? 0) { $0.endBirth() }
      return
    }
    let physical = PhysicalName<ProcessID>(rawValue: Int32(truncatingIfNeeded: result))
    // Only where no event of the backend came first; then this finds the name.
    let number = transaction.birthNumber
    if transaction.names.processes.newborn(physical, of: transaction.caller, birth: number) == nil {
      try transaction.step(.bind, on: physical.rawValue) { transaction throws(Errno) in
        try transaction.bindNewborn(physical)
      }
    }
    let name = transaction.step(.virtualize, on: physical.rawValue) { transaction in
      let processes = transaction.names.processes
      let name =
        processes.newborn(physical, of: transaction.caller, birth: number)
        ?? processes.virtual(of: physical)
      transaction.endBirth()
      return name
    }
    transaction.result = .success(Int((name ?? nil)?.rawValue ?? transaction.child?.rawValue ?? 0))
  }
}

extension Transaction {
  /// The flags of a fork-like call, `fork` and `vfork` included.
  public var cloneFlags: UInt64 { call == .clone ? arguments[0] : 0 }

  /// Gives a newborn of this call its name.
  ///
  /// - Throws: `.resourceTemporarilyUnavailable` when the pod has no free name.
  public func bindNewborn(_ physical: PhysicalName<ProcessID>) throws(Errno) {
    let isThread = cloneFlags & CloneFlags.thread != 0
    let group = isThread ? nil : try? host.processGroup(of: physical, for: caller)
    do throws(NameError) {
      _ = try names.processes.initialize(
        physical, by: caller, isThread: isThread,
        sharesParent: cloneFlags & CloneFlags.parent != 0, group: group, birth: birthNumber)
    } catch {
      throw .resourceTemporarilyUnavailable
    }
  }

  fileprivate mutating func endBirth() {
    awaitsNewborn = false
    names.processes.endBirth(by: caller, birth: birthNumber)
  }

  /// Shows a child that a wait has returned which was made by code in the process, and gives up its name if it was reaped.
  ///
  /// - Parameters:
  ///   - physical: The kernel's number of the child.
  ///   - isReaped: Whether the kernel has given up the child.
  /// - Returns: Its name; 0 when it is nobody of the pod.
  public mutating func showChild(_ physical: PhysicalName<ProcessID>, isReaped: Bool) -> Int32 {
    WaitForChild().report(physical, isReaped: isReaped, in: &self)
  }
}

/// Shows the caller's parent, which may end, and whose number may be another's, before the answer is translated.
///
/// Source: paper §4.1.1; getppid(2); COVERAGE P3, C2.
struct ShowParent: Wrapper {
  func preamble(_ transaction: inout Transaction) throws(Errno) {
    guard let entry = try? transaction.names.processes.space.entry(transaction.caller.process),
      entry.parent.rawValue > 0
    else { return }
    try transaction.hold(entry.parent.rawValue)
  }
}

/// Waits for a child: translates before the child's name is given up, and gives it up only when it was reaped.
///
/// Source: wait4(2), waitid(2); COVERAGE P17, P18, C14.
struct WaitForChild: Wrapper {
  private static let exited: Int32 = 4
  private static let noWait: Int32 = 0x0100_0000
  private static let selectProcess: Int32 = 1
  private static let selectGroup: Int32 = 2
  /// `struct siginfo` and its fields on 64-bit machines. Source: include/uapi/asm-generic/siginfo.h.
  private static let infoSize = 128

  private static let child = NameShape(
    AnyTask.self, zero: .callersGroup, minusOne: .anyChild, negative: .group,
    unknown: .noChildProcess)
  private static let group = NameShape(
    ProcessGroup.self, zero: .callersGroup, unknown: .noChildProcess)

  func preamble(_ transaction: inout Transaction) throws(Errno) {
    if transaction.call == .wait4 {
      let target = try Self.child.physical(of: transaction.arguments.int(0), in: &transaction)
      transaction.physicalArguments.setInt(0, to: target)
      // The status tells whether the child was reaped or only reported.
      if transaction.arguments[1] == 0, transaction.arguments.int(2) & 0xA != 0 {
        transaction.physicalArguments[1] = try zeroes(4, in: transaction).rawValue
      }
      return
    }
    switch transaction.arguments.int(0) {
    case Self.selectProcess:
      guard transaction.arguments.int(1) > 0 else { return }
      let target = try Self.child.physical(of: transaction.arguments.int(1), in: &transaction)
      transaction.physicalArguments.setInt(1, to: target)
    case Self.selectGroup:
      guard transaction.arguments.int(1) > 0 else { return }
      let target = try Self.group.physical(of: transaction.arguments.int(1), in: &transaction)
      transaction.physicalArguments.setInt(1, to: target)
    default: break
    }
    // Without a place for the answer the kernel would reap a child and tell nobody which.
    if transaction.arguments[2] == 0 {
      transaction.physicalArguments[2] = try zeroes(Self.infoSize, in: transaction).rawValue
    }
  }

  func epilogue(_ transaction: inout Transaction) throws(Errno) {
    guard case .success(let result)? = transaction.result else { return }
    if transaction.call == .wait4 {
      guard result > 0 else { return }
      let physical = PhysicalName<ProcessID>(rawValue: Int32(truncatingIfNeeded: result))
      var isReaped = true
      let status = RemoteAddress(rawValue: transaction.physicalArguments[1])
      if !status.isNull {
        let word = try transaction.read(UInt32.self, at: status)
        isReaped = word & 0xFF != 0x7F && word != 0xFFFF
      }
      let name = report(physical, isReaped: isReaped, in: &transaction)
      transaction.result = .success(Int(name))
      return
    }
    let info = RemoteAddress(rawValue: transaction.physicalArguments[2])
    let address = info.advanced(by: SignalInfo.senderOffset)
    let physical = PhysicalName<ProcessID>(
      rawValue: try transaction.read(Int32.self, at: address))
    guard physical.rawValue > 0 else { return }
    let code = try transaction.read(Int32.self, at: info.advanced(by: SignalInfo.codeOffset))
    let isReaped = (1...3).contains(code) && transaction.arguments.int(3) & Self.noWait == 0
    let name = report(physical, isReaped: isReaped, in: &transaction)
    if transaction.arguments[2] != 0 { try transaction.write(name, to: address) }
  }

  fileprivate func report(
    _ physical: PhysicalName<ProcessID>, isReaped: Bool, in transaction: inout Transaction
  ) -> Int32 {
    let asked = askedFor(transaction)
    let found = transaction.step(.virtualize, on: physical.rawValue) { transaction in
      let processes = transaction.names.processes
      // Who was asked for by name is meant, whoever else had the number.
      if let asked, let entry = try? processes.space.entry(asked), entry.physical == physical,
        !entry.isReaped, !entry.isThread
      {
        return (name: asked, isReaped: isReaped && entry.state == .dying)
      }
      // The number may be a newborn's already: what was reaped is the oldest that is dying. What hasn't ended wasn't
      // reaped, whatever another thread makes of the answer in memory.
      if isReaped, let dying = try? processes.space.dyingEntry(physical) {
        return (name: dying.virtual, isReaped: true)
      }
      return (name: processes.named(physical) ?? VirtualName(rawValue: 0), isReaped: false)
    }
    guard let (name, isReaped) = found else { return physical.rawValue }
    if isReaped {
      transaction.step(.reap, on: name.rawValue) { $0.names.processes.reaped(name) }
    }
    return name.rawValue
  }

  /// The one child that a wait is for.
  private func askedFor(_ transaction: borrowing Transaction) -> VirtualName<ProcessID>? {
    let name: Int32
    switch transaction.call {
    case .wait4: name = transaction.arguments.int(0)
    default:
      guard transaction.arguments.int(0) == Self.selectProcess else { return nil }
      name = transaction.arguments.int(1)
    }
    return name > 0 ? VirtualName(rawValue: name) : nil
  }

  private func zeroes(
    _ count: Int, in transaction: borrowing Transaction
  ) throws(Errno) -> RemoteAddress {
    let host = transaction.host
    return try withUnsafeTemporaryAllocation(byteCount: count, alignment: 16) {
      buffer throws(Errno) -> RemoteAddress in
      buffer.initializeMemory(as: UInt8.self, repeating: 0)
      return try host.scratch(UnsafeRawBufferPointer(buffer))
    }
  }
}

/// Any task of the pod, ended or not: what a wait may name. The kernel confines a wait to the caller's own children.
enum AnyTask: Resource {
  static let label = "process"
  static let unknownName = Errno.noSuchProcess

  static func resolve(_ name: Int32, in transaction: inout Transaction) throws(Errno) -> Int32 {
    let physical = try transaction.step(.lookUp, on: name) { transaction throws(Errno) in
      guard
        let entry = try? transaction.names.processes.space.entry(
          VirtualName<ProcessID>(rawValue: name)), !entry.isReaped, entry.state != .allocated
      else { throw .noSuchProcess }
      return entry.physical.rawValue
    }
    return physical ?? name
  }

  static func virtualize(_ name: Int32, in names: PodNames) -> Int32? {
    ProcessID.virtualize(name, in: names)
  }
}
