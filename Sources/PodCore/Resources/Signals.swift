internal import SystemPackage

/// Calls that send signals or receive them with who sent them.
public enum Signals {
  private static let sender = NameShape(ProcessID.self)
  private static let target = NameShape(ProcessID.self, minusOne: .everyone, negative: .group)
  private static let thread = NameShape(ThreadID.self)

  /// The rows of signals.
  public static let boundary: [BoundaryRow] = [
    .wrapped(
      .kill, by: SendSignal(), naming: [.argument(0, target)], reaching: .signalled),  // P25–P28
    .wrapped(
      .tkill, by: SendSignal(), naming: [.argument(0, thread)], reaching: .signalled),  // P29
    .wrapped(
      .tgkill, by: SendSignal(), naming: [.argument(0, thread), .argument(1, thread)],
      reaching: .signalled),  // P29
    .wrapped(
      .rt_sigqueueinfo, by: SendSignal(),
      naming: [.argument(0, target), .field(SignalInfo.senderOffset, of: 2, sender)],
      performed: .onCopy),  // P30
    .wrapped(
      .rt_tgsigqueueinfo, by: SendSignal(),
      naming: [
        .argument(0, thread), .argument(1, thread), .field(SignalInfo.senderOffset, of: 3, sender),
      ], performed: .onCopy),  // P30
    .wrapped(
      .rt_sigtimedwait, by: ReceiveSignal(),
      showing: [.field(SignalInfo.senderOffset, of: 1, sender)],
      performed: .inCallerBlocking),  // S5
    .wrapped(.signalfd, by: OpenSignalDescriptor(), performed: .inCaller),  // P62, S6
    .wrapped(.signalfd4, by: OpenSignalDescriptor(), performed: .inCaller),  // P62, S6
    .translated(.read, from: .signals, out: [.signals(of: 1, inVectors: false, sender)]),  // P62
    .translated(.readv, from: .signals, out: [.signals(of: 1, inVectors: true, sender)]),  // P62
    .translated(.preadv2, from: .signals, out: [.signals(of: 1, inVectors: true, sender)]),  // P62
  ]
}

/// What of a `siginfo` names a process.
///
/// Source: include/uapi/asm-generic/siginfo.h (64-bit layout); sigaction(2); COVERAGE S1–S4.
public enum SignalInfo {
  /// Where `si_code` is, in bytes.
  public static let codeOffset = 8
  /// Where `si_pid` is, in bytes, if the code says that there is one.
  public static let senderOffset = 16
  /// The size of the structure.
  public static let size = 128

  private static let child: Int32 = 17

  /// Whether a `siginfo` of this signal and code has a process id: of who sent it (SI_USER, SI_QUEUE, SI_TKILL,
  /// SI_MESGQ), or of the child that it is about.
  public static func carriesProcess(signal: Int32, code: Int32) -> Bool {
    switch code {
    case 0, -1, -3, -6: true
    default: signal == child && (1...6).contains(code)
    }
  }

  /// Added to a number that a sender made up, while the signal is the kernel's: no process has such a number.
  private static let madeUp: Int32 = 1 << 30
  /// The kernel's numbers are below. Source: include/linux/threads.h, `PID_MAX_LIMIT`.
  private static let firstImpossible: Int32 = 1 << 22

  /// Names the process that a `siginfo` of a program's own claims to be from as the kernel knows it, where the receiver
  /// is shown it as a name. Whatever else stands there arrives as it was sent.
  static func nameSender(
    of signal: Int32, in info: UnsafeMutableRawBufferPointer, _ names: PodNames
  ) {
    let code = info.load(fromByteOffset: codeOffset, as: Int32.self)
    guard carriesProcess(signal: signal, code: code) else { return }
    let sender = physicalSender(
      info.load(fromByteOffset: senderOffset, as: Int32.self), in: names)
    info.storeBytes(of: sender, toByteOffset: senderOffset, as: Int32.self)
  }

  /// What the kernel is given for a sender that a program names: ``virtualSender(_:in:)`` of it is what the program said,
  /// whether the pod has such a process or not.
  static func physicalSender(_ name: Int32, in names: PodNames) -> Int32 {
    guard name > 0, name < firstImpossible else { return name }
    guard let entry = names.processes.name(name), entry.state != .allocated, !entry.isReaped else {
      return name | madeUp
    }
    return entry.physical.rawValue
  }

  /// The sender as the receiver's pod names it: 0 for who is outside (COVERAGE G3).
  public static func virtualSender(_ physical: Int32, in names: PodNames) -> Int32 {
    guard physical > 0 else { return physical }
    if physical >= firstImpossible {
      let number = physical & ~madeUp
      return number < firstImpossible ? number : physical
    }
    return names.processes.named(PhysicalName(rawValue: physical))?.rawValue ?? 0
  }
}

/// Sends a signal: only to the pod, and never to the pod's init.
///
/// Source: kill(2), tgkill(2), rt_sigqueueinfo(2), pid_namespaces(7) ("signals from within"); COVERAGE P25–P30.
struct SendSignal: Wrapper {
  private static let process = NameShape(
    ProcessID.self, zero: .callersGroup, minusOne: .everyone, negative: .group, onlyLooks: true)
  private static let thread = NameShape(ThreadID.self, onlyLooks: true)

  func preamble(_ transaction: inout Transaction) throws(Errno) {
    switch transaction.call {
    case .kill:
      let target = transaction.arguments.int(0)
      try check(transaction.arguments.int(1))
      if target == -1 { return try broadcast(&transaction) }
      try address(target, 0, in: &transaction)
    case .rt_sigqueueinfo:
      try check(transaction.arguments.int(1))
      try copyInfo(2, of: transaction.arguments.int(1), in: &transaction)
      try address(transaction.arguments.int(0), 0, in: &transaction)
    case .tkill:
      // The thread's number alone could be another's by now: the kernel checks it with its process.
      let thread = transaction.arguments.int(0)
      if thread <= 0 { throw .invalidArgument }
      try check(transaction.arguments.int(1))
      let physical = try Self.thread.physical(of: thread, in: &transaction)
      let leader = try leader(of: physical, in: &transaction)
      transaction.physicalCall = .tgkill
      transaction.physicalArguments = CallArguments(
        UInt64(leader), UInt64(physical), transaction.arguments[1])
    case .tgkill, .rt_tgsigqueueinfo:
      let process = transaction.arguments.int(0)
      let thread = transaction.arguments.int(1)
      if process <= 0 || thread <= 0 { throw .invalidArgument }
      try check(transaction.arguments.int(2))
      if transaction.call == .rt_tgsigqueueinfo {
        try copyInfo(3, of: transaction.arguments.int(2), in: &transaction)
      }
      let physical = try member(thread, of: process, in: &transaction)
      transaction.physicalArguments.setInt(
        0, to: try leader(of: physical, in: &transaction))
      transaction.physicalArguments.setInt(1, to: physical)
    default: break
    }
    if transaction.result == nil, isInit(transaction.physicalArguments.int(0), in: transaction) {
      transaction.result = .success(0)
    }
  }

  private func check(_ signal: Int32) throws(Errno) {
    if !(0...64).contains(signal) { throw .invalidArgument }
  }

  private func isInit(_ target: Int32, in transaction: borrowing Transaction) -> Bool {
    let initial = transaction.names.processes.physicalInit.rawValue
    return target == initial || target == -initial
  }

  /// Translates a target; one that has ended gets the answer that the kernel gives for a zombie, without asking it.
  private func address(
    _ target: Int32, _ index: Int, in transaction: inout Transaction
  ) throws(Errno) {
    if target < -1, target != .min {
      let group = VirtualName<ProcessID>(rawValue: -target)
      let members = transaction.names.processes.members(ofGroup: group)
      if members.isEmpty { throw .noSuchProcess }
      // With only zombies left, the group's number is the kernel's to reuse once they are reaped.
      if members.allSatisfy({ $0.state == .dying }) {
        if !members.contains(where: { transaction.host.isWaitable($0) }) { throw .noSuchProcess }
        transaction.result = .success(0)
        return
      }
    }
    do throws(Errno) {
      transaction.physicalArguments.setInt(
        index, to: try Self.process.physical(of: target, in: &transaction))
    } catch {
      // Asked last: it may have ended meanwhile.
      guard target > 0, transaction.zombie(VirtualName(rawValue: target)) != nil
      else { throw error }
      transaction.result = .success(0)
    }
  }

  private func member(
    _ thread: Int32, of process: Int32, in transaction: inout Transaction
  ) throws(Errno) -> Int32 {
    let processes = transaction.names.processes
    // The process itself may be named by its physical number too: some libraries cache it.
    let group = try Self.thread.physical(of: process, in: &transaction)
    let leader = try processes.leader(ofPhysical: group)
    // Who has no name gets one.
    _ = processes.named(PhysicalName(rawValue: thread))
    for name in [processes.name(thread), processes.name(physical: thread)] {
      if let name, name.state == .live, name.leader == leader {
        try transaction.hold(name.virtual.rawValue)
        return name.physical.rawValue
      }
    }
    throw .noSuchProcess
  }

  private func leader(
    of physical: Int32, in transaction: inout Transaction
  ) throws(Errno) -> Int32 {
    let processes = transaction.names.processes
    return try processes.task(try processes.leader(ofPhysical: physical)).physical.rawValue
  }

  /// A signal for everyone goes to the pod: all its processes but init and the caller's own.
  private func broadcast(_ transaction: inout Transaction) throws(Errno) {
    let processes = transaction.names.processes
    processes.hearAll()
    var reached = false
    var answer: Errno?
    for target in processes.liveProcesses
    where target.virtual != ProcessTable.initial && target.virtual != transaction.caller.process {
      let arguments = CallArguments(
        UInt64(target.physical.rawValue), transaction.arguments[1])
      let caller = transaction.caller
      do throws(Errno) {
        let isThere = try transaction.whileHolding(target.virtual) { transaction throws(Errno) in
          let isThere = transaction.step(.lookUp, on: target.virtual.rawValue) { transaction in
            (try? transaction.names.processes.task(target.virtual))?.physical == target.physical
          }
          guard isThere ?? true else { return false }
          try transaction.step(.perform, on: target.virtual.rawValue) {
            transaction throws(Errno) in
            _ = try transaction.host.perform(.kill, arguments, for: caller)
          }
          return true
        }
        guard isThere == true else { continue }
        answer = nil
        reached = true
      } catch {
        if error == .noSuchProcess { continue }
        reached = true
        if error != .notPermitted { answer = error }
      }
    }
    if let answer { throw answer }
    if !reached { throw .noSuchProcess }
    transaction.result = .success(0)
  }

  /// Copies the sender's `siginfo` once. A null one is the kernel's to refuse.
  private func copyInfo(
    _ index: Int, of signal: Int32, in transaction: inout Transaction
  ) throws(Errno) {
    try transaction.passCopy(ofArgument: index, byteCount: SignalInfo.size) {
      info, transaction throws(Errno) in
      SignalInfo.nameSender(of: signal, in: info, transaction.names)
    }
  }
}

/// Makes a descriptor that delivers signals: who reads from it is told who sent them.
///
/// Source: signalfd(2); COVERAGE P62, S6.
struct OpenSignalDescriptor: Wrapper {
  func epilogue(_ transaction: inout Transaction) throws(Errno) {
    if case .success? = transaction.result { transaction.host.callerState.opened(.signals) }
  }
}

/// Receives a signal synchronously and shows who sent it.
///
/// Source: sigwaitinfo(2); COVERAGE S5.
struct ReceiveSignal: Wrapper {
  func epilogue(_ transaction: inout Transaction) throws(Errno) {
    guard case .success(let signal)? = transaction.result, signal > 0 else { return }
    let info = RemoteAddress(rawValue: transaction.arguments[1])
    if info.isNull { return }
    let code = try transaction.read(Int32.self, at: info.advanced(by: SignalInfo.codeOffset))
    guard SignalInfo.carriesProcess(signal: Int32(truncatingIfNeeded: signal), code: code) else {
      return
    }
    let address = info.advanced(by: SignalInfo.senderOffset)
    let physical = try transaction.read(Int32.self, at: address)
    let sender = transaction.step(.virtualize, on: physical) {
      SignalInfo.virtualSender(physical, in: $0.names)
    }
    try transaction.write(sender ?? physical, to: address)
  }
}
