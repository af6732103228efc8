internal import CLinux
internal import Glibc
internal import PodCore
internal import PodLinux
internal import SystemPackage

/// A thread that waits for our answer as the host of a transaction that the receiver performs itself.
final class LookingCaller: TransactionHost, CallerState {
  private let thread: PodThread
  private unowned let supervisor: Supervisor
  private let notification: Notification
  /// What the caller has mapped, where somebody has that open.
  private let maps: () -> FileDescriptor?
  private var memory: RemoteMemory?
  /// Whether the kernel has denied the caller's memory, so that somebody has to attach to it.
  private(set) var isOutOfReach = false

  init(
    _ thread: PodThread, _ supervisor: Supervisor, _ notification: Notification,
    maps: @escaping () -> FileDescriptor? = { nil }
  ) {
    self.maps = maps
    self.thread = thread
    self.supervisor = supervisor
    self.notification = notification
  }

  var callerState: any CallerState { self }

  func willRun(_ step: Step, on name: Int32) -> Bool { true }

  func perform(
    _ call: Syscall, _ arguments: CallArguments, for caller: Caller
  ) throws(Errno) -> Int {
    try look(call, arguments).get()
  }

  /// Makes a call that has the same effect whoever makes it.
  func look(_ call: Syscall, _ arguments: CallArguments) -> CallResult {
    var arguments = arguments
    switch call {
    case .getppid:
      guard let family = ProcessStatus.family(of: thread.process.tgid) else {
        return .failure(.noSuchProcess)
      }
      return .success(Int(family.parent))
    case .getpgrp: return look(.getpgid, CallArguments(UInt64(thread.process.tgid)))
    case .getpgid, .getsid, .sched_getscheduler:
      if arguments.int(0) == 0 { arguments[0] = UInt64(thread.tid) }
    case .getpriority, .ioprio_get:
      if arguments.int(1) == 0 {
        let isGroup = arguments.int(0) == (call == .getpriority ? 1 : 2)
        let group = isGroup ? getpgid(thread.tid) : thread.tid
        arguments[1] = UInt64(UInt32(bitPattern: group))
      }
    case .kill: break
    case .sysinfo: return lookAtMachine(RemoteAddress(rawValue: arguments.a))
    default: return .failure(.noFunction)
    }
    let result = CLinux_syscall(
      Int(call.rawValue), arguments.a, arguments.b, arguments.c, arguments.d, arguments.e,
      arguments.f)
    return result < 0
      ? .failure(Errno(rawValue: Int32(truncatingIfNeeded: -result))) : .success(result)
  }

  /// Source: sysinfo(2), `struct sysinfo` on 64-bit machines.
  private func lookAtMachine(_ answer: RemoteAddress) -> CallResult {
    withUnsafeTemporaryAllocation(byteCount: 112, alignment: 8) { buffer in
      let address = UInt64(UInt(bitPattern: buffer.baseAddress))
      let result = CLinux_syscall(Int(Syscall.sysinfo.rawValue), address, 0, 0, 0, 0, 0)
      guard result == 0 else {
        return .failure(Errno(rawValue: Int32(truncatingIfNeeded: -result)))
      }
      // What is written to by way of the memory's file needn't be writable for the program.
      let (end, overflows) = answer.rawValue.addingReportingOverflow(UInt64(buffer.count))
      guard !overflows,
        CodeMapping.isWritable(answer..<RemoteAddress(rawValue: end), of: thread.tid) != false
      else { return .failure(.badAddress) }
      do throws(Errno) {
        try write(UnsafeRawBufferPointer(buffer), to: answer)
        return .success(0)
      } catch {
        return .failure(error)
      }
    }
  }

  func processGroup(
    of process: PhysicalName<ProcessID>, for caller: Caller
  ) throws(Errno) -> PhysicalName<ProcessID> {
    try process.group()
  }

  /// The caller's memory, by a descriptor that goes on meaning it when its number becomes another's.
  private func opened() throws(Errno) -> RemoteMemory {
    if let memory { return memory }
    let memory = RemoteMemory(of: thread.tid)
    guard memory.isOpen else {
      isOutOfReach = true
      throw .badAddress
    }
    guard CLinux_seccomp_id_valid(supervisor.listener.rawValue, notification.id) == 0 else {
      throw .noSuchProcess
    }
    self.memory = memory
    return memory
  }

  func read(_ address: RemoteAddress, into buffer: UnsafeMutableRawBufferPointer) throws(Errno) {
    guard let base = buffer.baseAddress, !buffer.isEmpty else { return }
    let count = CLinux_process_vm_read(thread.tid, address.rawValue, base, buffer.count)
    // What was read by its number is its own if it still waits. And it is asked first: an open descriptor reads what
    // the program itself can't.
    let isItsOwn = CLinux_seccomp_id_valid(supervisor.listener.rawValue, notification.id) == 0
    if isItsOwn, count == buffer.count { return }
    if isItsOwn, count >= 0 || count == -Int(EFAULT) { throw .badAddress }
    try opened().read(address, into: buffer)
  }

  func reachMemory() throws(Errno) { _ = try opened() }

  func credentials(of caller: Caller) throws(Errno) -> CallerCredentials {
    try supervisor.credentials(of: thread)
  }

  /// What is written to by way of the memory's file needn't be writable for the program. Where the kernel doesn't tell whether it is,
  /// memory that the program can't read isn't.
  func write(_ bytes: UnsafeRawBufferPointer, to address: RemoteAddress) throws(Errno) {
    let memory = try opened()
    let (end, overflows) = address.rawValue.addingReportingOverflow(UInt64(bytes.count))
    if overflows { throw .badAddress }
    let range = address..<RemoteAddress(rawValue: end)
    switch maps().flatMap({ CodeMapping.isWritable(range, in: $0) }) {
    case false?: throw .badAddress
    case true?: break
    case nil:
      if OwnReach.areDenied(bytes.count, at: address, of: thread.tid) { throw .badAddress }
    }
    try memory.write(address, bytes: bytes)
  }

  func compareExchange(
    _ address: RemoteAddress, expected: UInt32, desired: UInt32
  ) throws(Errno) -> Bool { throw .noFunction }

  func scratch(_ bytes: UnsafeRawBufferPointer) throws(Errno) -> RemoteAddress {
    throw .noFunction
  }

  var segmentHost: any SegmentHost { KernelSegments(of: thread.tid) }

  func isWaitable(_ zombie: Entry<ProcessID>) -> Bool { supervisor.isWaitable(zombie) }

  func directory(_ descriptor: Int32?) -> [UInt8]? {
    ProcessStatus.directory(descriptor, of: thread.tid)
  }

  func realUser(of task: PhysicalName<ProcessID>) throws(Errno) -> UInt32 {
    guard let user = ProcessStatus.number("Uid", of: task.rawValue) else { throw .noSuchProcess }
    return UInt32(truncatingIfNeeded: user)
  }

  // MARK: CallerState

  var threadPointer: RemoteAddress? { nil }
  var dumpable: Int32? {
    get { thread.process.dumpable }
    set { thread.process.dumpable = newValue }
  }
}

/// Whether a program could read its own memory, which an open descriptor reads and writes whatever its protection is.
private enum OwnReach {
  private static let pageSize: UInt64 = 4096

  /// Whether a byte of the range, or of its pages, is out of the program's own reach.
  static func areDenied(_ count: Int, at address: RemoteAddress, of tid: Int32) -> Bool {
    guard count > 0, address.rawValue <= UInt64.max - UInt64(count) else { return count > 0 }
    let last = address.rawValue + UInt64(count) - 1
    var at = address.rawValue
    while at <= last {
      var byte: UInt8 = 0
      if CLinux_process_vm_read(tid, at, &byte, 1) == -Int(EFAULT) { return true }
      guard at <= UInt64.max - pageSize else { return false }
      at = (at & ~(pageSize - 1)) + pageSize
    }
    return false
  }
}
