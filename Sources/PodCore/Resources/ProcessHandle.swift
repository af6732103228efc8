internal import SystemPackage

/// Process descriptors: a process is named by a descriptor, which the kernel keeps from meaning another one.
///
/// A descriptor can come from outside: a directory of `/proc` counts as one, and sockets give one of their peer. So it is
/// no authority in a pod: what it names has to be the pod's. The negative constants that stand for the caller itself
/// (COVERAGE P33) pass.
public enum ProcessHandle {
  /// What a process descriptor names.
  public struct Target: Sendable, Hashable {
    /// The kernel's number of the task.
    public var physical: PhysicalName<ProcessID>
    /// Whether the descriptor is of the thread alone (`PIDFD_THREAD`).
    public var isThread: Bool

    /// Describes a target.
    public init(_ physical: PhysicalName<ProcessID>, isThread: Bool) {
      (self.physical, self.isThread) = (physical, isThread)
    }
  }

  private static let border = "descriptors of processes are checked where they enter a pod"
  private static let others = "no number; a process outside, if a descriptor of it was passed in"

  /// The rows of process descriptors. Source: include/uapi/linux/pidfd.h.
  public static let boundary: [BoundaryRow] = [
    .wrapped(
      .pidfd_send_signal, by: SendSignalByHandle(), performed: .inCaller),  // P32, P33
    .open(.pidfd_getfd, .notPermitted, until: border),  // P39
    .native(.process_madvise, until: border, leaks: others),  // P39
    .native(.process_mrelease, until: border, leaks: others),  // P39
    .open(
      .ioctl, when: .argument(1, masked: 0xFFFF, is: 0xFF0B, "PIDFD_GET_INFO"),
      .inappropriateIOCTLForDevice, until: "its pids are translated"),  // P34
  ]
}

/// Sends a signal by descriptor, to the pod only: by the number that the kernel has for what the descriptor names, since
/// another thread may make the descriptor another file's after the look.
///
/// Source: pidfd_send_signal(2); COVERAGE P30, P32, P33.
struct SendSignalByHandle: Wrapper {
  private static let ownThread: Int32 = -10_000
  private static let ownProcess: Int32 = -20_000
  private static let toThread: UInt32 = 1
  private static let toProcess: UInt32 = 2
  private static let toGroup: UInt32 = 4

  func preamble(_ transaction: inout Transaction) throws(Errno) {
    let arguments = transaction.arguments
    var scope = UInt32(bitPattern: arguments.int(3))
    guard [0, Self.toThread, Self.toProcess, Self.toGroup].contains(scope) else {
      throw .invalidArgument
    }
    let target = try target(of: arguments.int(0), in: transaction)
    if scope == 0 { scope = target.isThread ? Self.toThread : Self.toProcess }
    let signal = arguments.int(1)
    let hasInfo = arguments[2] != 0
    try transaction.passCopy(ofArgument: 2, byteCount: SignalInfo.size) {
      info, transaction throws(Errno) in
      guard info.load(as: Int32.self) == signal else { throw .invalidArgument }
      SignalInfo.nameSender(in: info, of: transaction.names)
    }

    let processes = transaction.names.processes
    guard let entry = processes.name(physical: target.physical.rawValue) else {
      throw .notPermitted
    }
    try transaction.hold(entry.virtual.rawValue)
    // As for a number: a zombie takes any signal, and init none.
    if entry.state == .dying || entry.leader == ProcessTable.initial {
      transaction.result = .success(0)
      return
    }
    let number = UInt64(target.physical.rawValue)
    let sent = UInt64(bitPattern: Int64(signal))
    let info = transaction.physicalArguments[2]
    switch scope {
    case Self.toThread:
      let leader = UInt64(try processes.task(entry.leader).physical.rawValue)
      transaction.physicalCall = hasInfo ? .rt_tgsigqueueinfo : .tgkill
      transaction.physicalArguments = CallArguments(leader, number, sent, info)
    case Self.toGroup:
      transaction.physicalCall = .kill
      transaction.physicalArguments = CallArguments(
        UInt64(bitPattern: -Int64(target.physical.rawValue)), sent)
    default:
      transaction.physicalCall = hasInfo ? .rt_sigqueueinfo : .kill
      transaction.physicalArguments = CallArguments(number, sent, info)
    }
  }

  private func target(
    of descriptor: Int32, in transaction: borrowing Transaction
  ) throws(Errno) -> ProcessHandle.Target {
    let thread = PhysicalName<ProcessID>(rawValue: transaction.caller.physicalThread.rawValue)
    switch descriptor {
    case Self.ownThread: return ProcessHandle.Target(thread, isThread: true)
    case Self.ownProcess: return ProcessHandle.Target(thread, isThread: false)
    default: return try transaction.host.task(behind: descriptor)
    }
  }
}
