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

  private static let ownThread: Int32 = -10_000
  private static let ownProcess: Int32 = -20_000

  private static let task = NameShape(ThreadID.self)
  private static let process = NameShape(ProcessID.self)

  private static let namespaces = [
    "CGROUP", "IPC", "MNT", "NET", "PID", "PID_FOR_CHILDREN", "TIME", "TIME_FOR_CHILDREN", "USER",
    "UTS",
  ]

  /// The rows of process descriptors. Source: include/uapi/linux/pidfd.h.
  public static let boundary: [BoundaryRow] =
    [
      .wrapped(
        .pidfd_send_signal, by: SendSignalByHandle(),
        naming: [.field(SignalInfo.senderOffset, of: 2, process)],
        performed: .inCaller, reaching: .signalled),  // P32, P33
      .refused(
        .pidfd_getfd, .notPermitted,
        because:
          "another thread can make the descriptor somebody else's after a check, and what comes from there "
          + "can't be taken back"),  // P39
      .wrapped(
        .process_madvise, by: StayInPod(outside: .notPermitted), performed: .inCaller),  // P39
      .wrapped(
        .process_mrelease, by: StayInPod(outside: .notPermitted), performed: .inCaller),  // P39
      .wrapped(
        .ioctl, when: .argument(1, masked: 0xFFFF, is: 0xFF0B, "PIDFD_GET_INFO"),
        by: ShowHandle(),
        showing: [.field(16, of: 2, task), .field(20, of: 2, process), .field(24, of: 2, process)],
        performed: .inCaller),  // P34
    ]
    + namespaces.enumerated().map { index, name in
      .wrapped(
        .ioctl,
        when: .argument(1, is: 0xFF01 + UInt32(index), "PIDFD_GET_\(name)_NAMESPACE"),
        by: StayInPod(outside: .noSuchProcess), performed: .inCaller)  // P35
    }

  /// What a descriptor of the caller, or a constant for the caller itself, names now.
  ///
  /// - Throws: `.badFileDescriptor`; `.noSuchProcess` when the task is gone.
  static func target(
    of descriptor: Int32, in transaction: borrowing Transaction
  ) throws(Errno) -> Target {
    let thread = PhysicalName<ProcessID>(rawValue: transaction.caller.physicalThread.rawValue)
    switch descriptor {
    case ownThread: return Target(thread, isThread: true)
    case ownProcess: return Target(thread, isThread: false)
    default: return try transaction.host.task(behind: descriptor)
    }
  }

  /// What a descriptor names, held until the transaction ends.
  ///
  /// - Parameters:
  ///   - descriptor: The caller's, or a constant for the caller itself.
  ///   - outside: What the program is told when it names somebody outside the pod.
  ///   - transaction: The call.
  /// - Throws: `outside`; `.badFileDescriptor`; `.noSuchProcess` when the task is gone.
  static func hold(
    _ descriptor: Int32, outside: Errno, in transaction: inout Transaction
  ) throws(Errno) -> (target: Target, entry: Entry<ProcessID>) {
    let target = try target(of: descriptor, in: transaction)
    guard let entry = transaction.names.processes.name(physical: target.physical.rawValue) else {
      throw outside
    }
    try transaction.hold(entry.virtual.rawValue)
    // Between look and hold it may have been reaped, and its number given to another process of the pod.
    try transaction.step(.lookUp, on: entry.virtual.rawValue) { transaction throws(Errno) in
      if try Self.target(of: descriptor, in: transaction) != target { throw .noSuchProcess }
    }
    return (target, entry)
  }
}

/// Opens a descriptor of a process or thread of the pod. One that has ended can be opened until it was waited for, as
/// libraries do that start a program and then watch it.
///
/// The number of a process that has ended may be another's when the kernel looks. Then the descriptor is closed again; and
/// it would be no authority, since all that is done with it is checked here.
///
/// Source: pidfd_open(2); COVERAGE P31.
struct OpenHandle: Wrapper {
  private static let ofThread: UInt64 = 0x80
  private static let process = NameShape(ProcessID.self, onlyLooks: true)
  private static let thread = NameShape(ThreadID.self, onlyLooks: true)

  func preamble(_ transaction: inout Transaction) throws(Errno) {
    let name = transaction.arguments.int(0)
    let shape = transaction.arguments[1] & Self.ofThread != 0 ? Self.thread : Self.process
    do throws(Errno) {
      transaction.physicalArguments.setInt(0, to: try shape.physical(of: name, in: &transaction))
    } catch {
      guard name > 0,
        let zombie = transaction.zombie(VirtualName(rawValue: name))
      else { throw error }
      transaction.physicalArguments.setInt(0, to: zombie.physical.rawValue)
      transaction.note = Int(name)
    }
  }

  func epilogue(_ transaction: inout Transaction) throws(Errno) {
    guard case .success(let descriptor)? = transaction.result, transaction.note != 0 else { return }
    let name = VirtualName<ProcessID>(rawValue: Int32(truncatingIfNeeded: transaction.note))
    let isThere = transaction.step(.lookUp, on: name.rawValue) { transaction in
      transaction.names.processes.zombie(name) != nil
        && (try? transaction.host.task(behind: Int32(truncatingIfNeeded: descriptor))) != nil
    }
    if isThere ?? true { return }
    try transaction.step(.rollBack, on: name.rawValue) { transaction throws(Errno) in
      _ = try transaction.host.perform(
        .close, CallArguments(UInt64(bitPattern: Int64(descriptor))), for: transaction.caller)
    }
    throw .noSuchProcess
  }
}

/// Lets a call have what a descriptor names only where that is in the pod.
///
/// Another thread of the program may make the descriptor another file's between the look and the kernel's part. None of
/// these calls harms who it names: advice on memory, the memory of who is being killed, namespaces that can't be entered.
///
/// Source: process_madvise(2), process_mrelease(2), ioctl_pidfd(2); COVERAGE P35, P39.
struct StayInPod: Wrapper {
  /// The answer for a process outside.
  let outside: Errno

  func preamble(_ transaction: inout Transaction) throws(Errno) {
    do throws(Errno) {
      let (_, entry) = try ProcessHandle.hold(
        transaction.arguments.int(0), outside: outside, in: &transaction)
      // Namespaces are only looked at.
      if transaction.call != .ioctl, entry.leader == ProcessTable.initial { throw .notPermitted }
    } catch {
      // The kernel knows what other files answer to this request.
      if transaction.call == .ioctl, error == .badFileDescriptor { return }
      throw error
    }
  }
}

/// Shows whom a process descriptor names: by the pod's names, and only who is in the pod.
///
/// The kernel's answer goes to memory that the program doesn't know; of one that is longer than what this knows of, the
/// rest is zero, as a kernel does it that knows less.
///
/// Source: ioctl_pidfd(2), `struct pidfd_info`; fs/pidfs.c, `pidfd_info`; COVERAGE P34.
struct ShowHandle: Wrapper {
  private static let first = 64
  private static let known = 128
  private static let nameOffset = 16
  private static let hasNames: UInt64 = 1

  private func size(_ arguments: CallArguments) -> Int { Int(arguments[1] >> 16 & 0x3FFF) }

  func preamble(_ transaction: inout Transaction) throws(Errno) {
    let size = size(transaction.arguments)
    let address = RemoteAddress(rawValue: transaction.arguments[2])
    // Refused by the kernel.
    if size < Self.first || address.isNull { return }
    do throws(Errno) {
      let (_, entry) = try ProcessHandle.hold(
        transaction.arguments.int(0), outside: .noSuchProcess, in: &transaction)
      // What the answer names, too.
      let processes = transaction.names.processes
      if entry.leader != entry.virtual { try transaction.hold(entry.leader.rawValue) }
      if let leader = processes.name(entry.leader.rawValue), leader.parent.rawValue > 0 {
        try transaction.hold(leader.parent.rawValue)
      }
    } catch {
      // Another file, or one whose process is gone: the kernel has an answer for both.
      let isKernels = error == .badFileDescriptor || isGone(transaction)
      if !isKernels { throw error }
    }
    let count = min(size, Self.known)
    let mask = try transaction.read(UInt64.self, at: address)
    let host = transaction.host
    let scratch = try withUnsafeTemporaryAllocation(byteCount: count, alignment: 16) {
      buffer throws(Errno) -> RemoteAddress in
      buffer.initializeMemory(as: UInt8.self, repeating: 0)
      buffer.storeBytes(of: mask, as: UInt64.self)
      return try host.scratch(UnsafeRawBufferPointer(buffer))
    }
    transaction.physicalArguments[1] =
      transaction.arguments[1] & ~(0x3FFF << 16) | UInt64(count) << 16
    transaction.physicalArguments[2] = scratch.rawValue
  }

  private func isGone(_ transaction: borrowing Transaction) -> Bool {
    do throws(Errno) {
      _ = try ProcessHandle.target(of: transaction.arguments.int(0), in: transaction)
      return false
    } catch {
      return error == .noSuchProcess
    }
  }

  func epilogue(_ transaction: inout Transaction) throws(Errno) {
    guard case .success? = transaction.result,
      transaction.physicalArguments[2] != transaction.arguments[2]
    else { return }
    let size = size(transaction.arguments)
    let copy = RemoteAddress(rawValue: transaction.physicalArguments[2])
    let address = RemoteAddress(rawValue: transaction.arguments[2])
    let host = transaction.host
    try withUnsafeTemporaryAllocation(byteCount: size, alignment: 16) { buffer throws(Errno) in
      buffer.initializeMemory(as: UInt8.self, repeating: 0)
      let known = UnsafeMutableRawBufferPointer(rebasing: buffer[..<min(size, Self.known)])
      try host.read(copy, into: known)
      if buffer.load(as: UInt64.self) & Self.hasNames != 0 {
        let task = buffer.load(fromByteOffset: Self.nameOffset, as: Int32.self)
        try transaction.step(.virtualize, on: task) { transaction throws(Errno) in
          for index in 0..<3 {
            let offset = Self.nameOffset + 4 * index
            let physical = buffer.load(fromByteOffset: offset, as: Int32.self)
            let name = ProcessID.virtualize(physical, in: transaction.names) ?? 0
            // The descriptor became another file's on the way. A parent may be outside.
            if index < 2, name == 0 { throw .noSuchProcess }
            buffer.storeBytes(of: name, toByteOffset: offset, as: Int32.self)
          }
        }
      }
      try host.write(UnsafeRawBufferPointer(buffer), to: address)
    }
  }
}

/// Sends a signal by descriptor, to the pod only: by the number that the kernel has for what the descriptor names, since
/// another thread may make the descriptor another file's after the look.
///
/// Source: pidfd_send_signal(2); COVERAGE P30, P32, P33.
struct SendSignalByHandle: Wrapper {
  private static let toThread: UInt32 = 1
  private static let toProcess: UInt32 = 2
  private static let toGroup: UInt32 = 4

  func preamble(_ transaction: inout Transaction) throws(Errno) {
    let arguments = transaction.arguments
    var scope = UInt32(bitPattern: arguments.int(3))
    guard [0, Self.toThread, Self.toProcess, Self.toGroup].contains(scope) else {
      throw .invalidArgument
    }
    let target = try ProcessHandle.target(of: arguments.int(0), in: transaction)
    if scope == 0 { scope = target.isThread ? Self.toThread : Self.toProcess }
    let signal = arguments.int(1)
    let hasInfo = arguments[2] != 0
    try transaction.passCopy(ofArgument: 2, byteCount: SignalInfo.size) {
      info, transaction throws(Errno) in
      guard info.load(as: Int32.self) == signal else { throw .invalidArgument }
      SignalInfo.nameSender(of: signal, in: info, transaction.names)
    }

    let processes = transaction.names.processes
    let (held, entry) = try ProcessHandle.hold(
      arguments.int(0), outside: .notPermitted, in: &transaction)
    if held != target { throw .noSuchProcess }
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
}
