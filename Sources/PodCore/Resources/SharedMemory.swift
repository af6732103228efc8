public import SystemPackage

/// System V shared memory.
///
/// No object of the kernel's is used: ids, keys and permissions are in the pod's ``SegmentTable``, and a segment's bytes are
/// a file in memory that the supervisor has, and has the caller map.
///
/// Source: shmget(2), shmctl(2), shmop(2); include/uapi/linux/shm.h; ipc/shm.c.
public enum SharedMemory {
  static let until = "a pod has System V ids of its own"

  /// The rows of shared memory.
  public static let boundary: [BoundaryRow] = [
    .wrapped(.shmget, by: FindSegment(), performed: .bySupervisor),  // I1, I2, I12
    .wrapped(.shmat, by: AttachSegment(), performed: .inCallerMapping),  // I3
    .wrapped(.shmdt, by: DetachSegment(), performed: .inCallerMapping),  // I3
    .wrapped(.shmctl, by: ControlSegment(), performed: .bySupervisor),  // I6–I10, I12
  ]

  // Flags of shmget.
  static let largePages: Int32 = 0o4000
  static let unreserved: Int32 = 0o10000
  // Marks in a segment's mode.
  static let removedMark: UInt32 = 0o1000
  static let lockedMark: UInt32 = 0o2000
}

/// What System V shared memory needs of a caller and its machine.
public protocol SegmentHost {
  /// For whom the caller acts.
  ///
  /// - Throws: `.noSuchProcess`.
  func credentials() throws(Errno) -> CallerCredentials
  /// The present time, in seconds since 1970.
  var now: Int64 { get }
  /// How many bytes the caller may lock (`RLIMIT_MEMLOCK`).
  var lockedMemoryLimit: UInt64 { get }
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
    let caller = try host.credentials()
    let process = transaction.caller.process.rawValue
    let id = try transaction.step(.allocate, on: arguments.int(0)) { transaction throws(Errno) in
      try transaction.names.segments.get(
        key: arguments.int(0), size: arguments.b, flags: arguments.int(2), by: caller, process,
        now: host.now,
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
    let caller = try host.credentials()
    let access: UInt32 = (isWritable ? 0o666 : 0o444) | (isExecutable ? 0o111 : 0)
    let use = try transaction.step(.hold, on: id) { transaction throws(Errno) in
      try transaction.names.segments.use(id, access: access, by: caller) {
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
    let (process, now) = (transaction.caller.process.rawValue, transaction.host.segmentHost.now)
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
    let (process, now) = (transaction.caller.process.rawValue, transaction.host.segmentHost.now)
    transaction.step(.publish) { transaction in
      transaction.names.segments.detached(
        UInt64(bitPattern: Int64(identity)), by: process, now: now)
    }
    transaction.result = .success(0)
  }
}

/// shmctl.
struct ControlSegment: Wrapper {
  private enum Command {
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
      try transaction.write(Self.limits, to: buffer)
      result = Int(table.usage(countsResident: false).highestIndex)
    case Command.info:
      let usage = table.usage(countsResident: true)
      try transaction.write(
        [UInt64(usage.segments), usage.pages, usage.resident, 0, 0, 0], to: buffer)
      result = Int(usage.highestIndex)
    case IPCLimits.status, Command.status, Command.anyStatus:
      let selector: SegmentTable.Selector =
        command == IPCLimits.status ? .id(id) : .index(id)
      let caller = command == Command.anyStatus ? nil : try host.credentials()
      let status = try transaction.step(.lookUp, on: id) { transaction throws(Errno) in
        try table.status(selector, by: caller)
      }
      guard let status else { throw .invalidArgument }
      try transaction.write(record(of: status, transaction.names), to: buffer)
      result = command == IPCLimits.status ? 0 : Int(status.permissions.id)
    case IPCLimits.set:
      // struct ipc64_perm: key, uid, gid, cuid, cgid, mode.
      let owner = try transaction.read((UInt32, UInt32, UInt32, UInt32, UInt32, UInt32).self, at: buffer)
      // All of it is read, as the kernel does.
      _ = try transaction.read(UInt8.self, at: buffer.advanced(by: Self.recordSize - 1))
      let (caller, now) = (try host.credentials(), host.now)
      try transaction.step(.publish, on: id) { transaction throws(Errno) in
        try table.set(id, user: owner.1, group: owner.2, mode: owner.5, by: caller, now: now)
      }
    case IPCLimits.remove:
      let caller = try host.credentials()
      try transaction.step(.retire, on: id) { transaction throws(Errno) in
        try table.remove(id, by: caller)
      }
    case Command.lock, Command.unlock:
      let (caller, limit) = (try host.credentials(), host.lockedMemoryLimit)
      try transaction.step(.publish, on: id) { transaction throws(Errno) in
        try table.setLock(id, command == Command.lock, by: caller, limit: limit)
      }
    default: throw .invalidArgument
    }
    transaction.result = .success(result)
  }

  /// struct shminfo64.
  private static let limits: [UInt64] = [
    SegmentTable.Limits.bytes, 1, UInt64(SegmentTable.Limits.segments),
    UInt64(SegmentTable.Limits.segments), SegmentTable.Limits.pages, 0, 0, 0, 0,
  ]

  /// struct shmid64_ds, in bytes.
  private static let recordSize = 112

  private func record(of status: SegmentTable.Status, _ names: PodNames) -> [UInt64] {
    let permissions = status.permissions
    let pair = { (low: UInt32, high: UInt32) in UInt64(low) | UInt64(high) << 32 }
    let mappings =
      status.memory?.mappings(in: names.processes.live.map(\.physical)) ?? 0
    return [
      pair(UInt32(bitPattern: permissions.key), permissions.user),
      pair(permissions.group, permissions.creator),
      pair(permissions.creatorGroup, permissions.mode),
      UInt64(permissions.sequence), 0, 0,
      status.size,
      UInt64(bitPattern: status.attached), UInt64(bitPattern: status.detached),
      UInt64(bitPattern: status.changed),
      pair(UInt32(bitPattern: status.creator), UInt32(bitPattern: status.last)),
      mappings, 0, 0,
    ]
  }
}

extension Transaction {
  /// Writes words to the caller's memory.
  fileprivate func write(_ words: [UInt64], to address: RemoteAddress) throws(Errno) {
    let result = words.withUnsafeBytes { bytes in
      Result { () throws(Errno) in try host.write(bytes, to: address) }
    }
    try result.get()
  }
}
