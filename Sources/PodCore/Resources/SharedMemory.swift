public import SystemPackage

/// System V shared memory.
///
/// Where a pod has an IPC namespace, its segments are the kernel's. Else no object of the kernel's is used: ids, keys and
/// permissions are in the pod's ``SegmentTable``, and a segment's bytes are a file in memory that the supervisor has, and has
/// the caller map.
///
/// Source: shmget(2), shmctl(2), shmop(2); include/uapi/linux/shm.h; ipc/shm.c.
public enum SharedMemory {
  private static let process = NameShape(ProcessID.self)
  /// What shows a segment.
  private static let status: [Variant] = [
    (IPCLimits.status, "IPC_STAT"), (ControlSegment.Command.status, "SHM_STAT"),
    (ControlSegment.Command.anyStatus, "SHM_STAT_ANY"),
  ].map { .argument(1, is: UInt32($0), $1) }

  /// The rows of segments that are the kernel's, in a namespace of the pod's: who made one and attached or detached it last.
  ///
  /// Source: include/uapi/asm-generic/shmbuf.h, `struct shmid64_ds`.
  public static let kernelObjects: [BoundaryRow] = status.map { variant in
    .translated(
      .shmctl, when: variant,
      out: [.field(80, of: 2, process), .field(84, of: 2, process)], performed: .inCaller,
      reaching: .caller)  // I6, I8, I12
  }

  /// The rows of segments that are the host program's.
  public static let boundary: [BoundaryRow] =
    shown + [
      .wrapped(.shmget, by: FindSegment(), performed: .emulated),  // I1, I2, I12
      .wrapped(.shmat, by: AttachSegment(), performed: .inCallerMapping),  // I3
      .wrapped(.shmdt, by: DetachSegment(), performed: .inCallerMapping),  // I3
      .wrapped(.shmctl, by: ControlSegment(), performed: .emulated),  // I6–I10, I12
    ]

  private static let shown: [BoundaryRow] = status.map { variant in
    .wrapped(.shmctl, when: variant, by: ControlSegment(), performed: .emulatedSearching)  // I6, I8
  }

  // Flags of shmget.
  static let largePages: Int32 = 0o4000
  static let unreserved: Int32 = 0o10000
  // Marks in a segment's mode.
  static let removedMark: UInt32 = 0o1000
  static let lockedMark: UInt32 = 0o2000
}

/// What System V shared memory needs of a caller and its machine.
public protocol SegmentHost {
  /// How many bytes the caller may lock (`RLIMIT_MEMLOCK`).
  var lockedMemoryLimit: UInt64 { get }
  /// How much there may be, of all kinds of objects.
  var limits: SystemVLimits { get }
  /// Makes the bytes of a segment, zero.
  ///
  /// - Throws: `.noMemory`; `.invalidArgument` when there are no pages of the size; `.notPermitted` when the caller may
  ///   not have large ones.
  func makeMemory(_ request: SegmentRequest) throws(Errno) -> any SegmentMemory
  /// Looks whether the machine has so much memory at all.
  ///
  /// - Throws: `.noMemory`.
  func checkMemory(for size: UInt64) throws(Errno)
}

/// shmget.
struct FindSegment: Wrapper {
  func preamble(_ transaction: inout Transaction) throws(Errno) {
    let arguments = transaction.arguments
    let host = transaction.host.segmentHost
    let caller = try transaction.host.credentials(of: transaction.caller)
    let process = transaction.caller.process.rawValue
    let id = try transaction.step(.allocate, on: arguments.int(0)) { transaction throws(Errno) in
      try transaction.names.segments.get(
        key: arguments.int(0), size: arguments.b, flags: arguments.int(2), by: caller, process,
        now: WallClock.now, limits: host.limits,
        checkMemory: { (size) throws(Errno) in try host.checkMemory(for: size) },
        largeMemory: { (request) throws(Errno) in try host.makeMemory(request) })
    }
    transaction.result = .success(Int(id ?? 0))
  }
}

/// shmat.
struct AttachSegment: Wrapper {
  private static let readOnly: Int32 = 0o10000
  private static let round: Int32 = 0o20000
  private static let remap: Int32 = 0o40000
  private static let executable: Int32 = 0o100000

  func preamble(_ transaction: inout Transaction) throws(Errno) {
    let arguments = transaction.arguments
    let (id, flags) = (arguments.int(0), arguments.int(2))
    if id < 0 { throw .invalidArgument }
    var address = arguments.b
    let replaces = flags & Self.remap != 0
    let isFixed = address != 0
    let offset = address & (SegmentTable.pageSize - 1)
    if offset != 0 {
      guard flags & Self.round != 0, !replaces || address > offset else {
        throw .invalidArgument
      }
      address -= offset
    }
    if !isFixed, replaces { throw .invalidArgument }
    let isWritable = flags & Self.readOnly == 0
    let isExecutable = flags & Self.executable != 0
    let host = transaction.host.segmentHost
    let caller = try transaction.host.credentials(of: transaction.caller)
    let access: UInt32 = (isWritable ? 0o666 : 0o444) | (isExecutable ? 0o111 : 0)
    let isHeld = transaction.step(.hold, on: id) { _ in true } ?? false
    let use = try transaction.step(.lookUp, on: id) { transaction throws(Errno) in
      try transaction.names.segments.use(id, access: access, by: caller, isHeld: isHeld) {
        request throws(Errno) in try host.makeMemory(request)
      }
    }
    guard let use else { throw .invalidArgument }
    // Behind the last address nothing can be.
    if isFixed, !replaces, address.addingReportingOverflow(use.size).overflow {
      throw .invalidArgument
    }
    transaction.segmentUse = use
    transaction.segmentChange = .map(
      SegmentMapping(
        memory: use.memory, size: use.size,
        address: isFixed ? RemoteAddress(rawValue: address) : nil, replaces: replaces,
        isWritable: isWritable, isExecutable: isExecutable))
  }

  func epilogue(_ transaction: inout Transaction) throws(Errno) {
    guard case .success? = transaction.result, let use = transaction.segmentUse else { return }
    let (process, now) = (transaction.caller.process.rawValue, WallClock.now)
    transaction.step(.publish) { transaction in
      transaction.names.segments.attached(use.memory, by: process, now: now)
    }
  }
}

/// shmdt.
struct DetachSegment: Wrapper {
  func preamble(_ transaction: inout Transaction) throws(Errno) {
    let address = transaction.arguments.a
    guard address % SegmentTable.pageSize == 0 else { throw .invalidArgument }
    transaction.segmentChange = .unmap(
      RemoteAddress(rawValue: address), transaction.names.segments)
  }

  func epilogue(_ transaction: inout Transaction) throws(Errno) {
    guard case .success(let identity)? = transaction.result else { return }
    let (process, now) = (transaction.caller.process.rawValue, WallClock.now)
    transaction.step(.publish) { transaction in
      transaction.names.segments.detached(
        UInt64(bitPattern: Int64(identity)), by: process, now: now)
    }
    transaction.result = .success(0)
  }
}

/// shmctl.
struct ControlSegment: Wrapper {
  enum Command {
    static let lock: Int32 = 11
    static let unlock: Int32 = 12
    static let status: Int32 = 13
    static let info: Int32 = 14
    static let anyStatus: Int32 = 15
  }

  func preamble(_ transaction: inout Transaction) throws(Errno) {
    let arguments = transaction.arguments
    let (id, command) = (arguments.int(0), arguments.int(1))
    let buffer = RemoteAddress(rawValue: arguments.c)
    let table = transaction.names.segments
    if id < 0 || command < 0 { throw .invalidArgument }
    let host = transaction.host.segmentHost
    var result = 0
    switch command {
    case IPCLimits.info:
      try transaction.write(bytes: Self.record(of: host.limits), to: buffer)
      result = Int(table.usage(countsResident: false).highestIndex)
    case Command.info:
      let usage = table.usage(countsResident: true)
      // struct shm_info, whose first member is an int.
      var record = IPCRecord(size: Self.usageSize)
      for number in [UInt64(usage.segments), usage.pages, usage.resident] { record.add(number) }
      try transaction.write(bytes: record.bytes, to: buffer)
      result = Int(usage.highestIndex)
    case IPCLimits.status, Command.status, Command.anyStatus:
      let selector: SegmentTable.Selector =
        command == IPCLimits.status ? .id(id) : .index(id)
      let caller =
        command == Command.anyStatus
        ? nil : try transaction.host.credentials(of: transaction.caller)
      let status = try transaction.step(.lookUp, on: id) { transaction throws(Errno) in
        try table.status(selector, by: caller)
      }
      guard let status else { throw .invalidArgument }
      try transaction.write(bytes: record(of: status, transaction.names), to: buffer)
      result = command == IPCLimits.status ? 0 : Int(status.permissions.id)
    case IPCLimits.set:
      // struct ipc64_perm: key, uid, gid, cuid, cgid, mode.
      let given = try transaction.readBytes(Self.recordSize, at: buffer)
      let (caller, now) = (try transaction.host.credentials(of: transaction.caller), WallClock.now)
      try transaction.step(.publish, on: id) { transaction throws(Errno) in
        try table.set(
          id, user: given.word(at: 4), group: given.word(at: 8), mode: given.word(at: 20),
          by: caller,
          now: now)
      }
    case IPCLimits.remove:
      let caller = try transaction.host.credentials(of: transaction.caller)
      try transaction.step(.retire, on: id) { transaction throws(Errno) in
        try table.remove(id, by: caller)
      }
    case Command.lock, Command.unlock:
      let (caller, limit) = (
        try transaction.host.credentials(of: transaction.caller), host.lockedMemoryLimit
      )
      try transaction.step(.publish, on: id) { transaction throws(Errno) in
        try table.setLock(id, command == Command.lock, by: caller, limit: limit)
      }
    default: throw .invalidArgument
    }
    transaction.result = .success(result)
  }

  /// struct shminfo64.
  private static func record(of limits: SystemVLimits) -> [UInt8] {
    var record = IPCRecord(size: 72)
    record.add(limits.segment)
    record.add(UInt64(1))
    record.add(UInt64(limits.segments))
    record.add(UInt64(limits.segments))
    record.add(limits.pages)
    return record.bytes
  }

  private static let usageSize = 48

  /// struct shmid64_ds, in bytes.
  private static let recordSize = 112

  private func record(of status: SegmentTable.Status, _ names: PodNames) -> [UInt8] {
    var record = IPCRecord(size: Self.recordSize)
    record.add(status.permissions)
    record.add(status.size)
    record.add(status.attached)
    record.add(status.detached)
    record.add(status.changed)
    record.add(status.creator)
    record.add(status.last)
    record.add(status.memory?.mappings(in: names.processes.live.map(\.physical)) ?? 0)
    return record.bytes
  }
}
