internal import Synchronization
import SystemPackage

/// The segments of System V shared memory of one pod.
///
/// The kernel has no such object: a segment's bytes are a ``SegmentMemory``, made when it is attached for the first time,
/// and attachments are mappings of that. Nobody counts them: who wants to know their number looks, and a removed segment's
/// id ends when somebody has looked and found none.
///
/// Source: ipc/shm.c; shmget(2), shmctl(2), shmop(2).
public final class SegmentTable: Sendable {
  /// One segment.
  final class Segment: IPCObject {
    var permissions: IPCPermissions
    let size: UInt64
    /// As in ``SegmentRequest``.
    let largePages: Int?
    let creator: Int32
    /// The process of the last attach or detach; 0 when there was none.
    var last: Int32 = 0
    /// In seconds since 1970; 0 when there was none.
    var attached: Int64 = 0
    var detached: Int64 = 0
    var changed: Int64
    var memory: (any SegmentMemory)?
    /// How many attaches are under way.
    var uses = 0
    /// Whose locked memory it is.
    var locker: UInt32?

    init(
      _ permissions: IPCPermissions, size: UInt64, largePages: Int?, creator: Int32, made: Int64
    ) {
      self.permissions = permissions
      self.size = size
      self.largePages = largePages
      self.creator = creator
      changed = made
    }

    var pages: UInt64 { (size - 1) / SegmentTable.pageSize + 1 }
    var isRemoved: Bool { permissions.mode & SharedMemory.removedMark != 0 }
  }

  /// In bytes.
  public static let pageSize: UInt64 = 4096

  private struct State: ~Copyable {
    var segments = IPCTable<Segment>(limit: Int(IPCLimits.objects))
    var byMemory: [UInt64: Segment] = [:]
    var pages: UInt64 = 0
    /// Bytes that each user has locked.
    var locked: [UInt32: UInt64] = [:]
    var removed: [ObjectIdentifier: Segment] = [:]

    mutating func destroy(_ segment: Segment) {
      guard segments.isThere(segment) else { return }
      unlock(segment)
      segments.remove(segment)
      removed[ObjectIdentifier(segment)] = nil
      if let memory = segment.memory { byMemory[memory.identity] = nil }
      pages -= segment.pages
    }

    mutating func unlock(_ segment: Segment) {
      segment.permissions.mode &= ~SharedMemory.lockedMark
      guard let locker = segment.locker else { return }
      segment.locker = nil
      locked[locker, default: 0] -= segment.size
      if locked[locker] == 0 { locked[locker] = nil }
    }

    /// Ends removed segments that nobody has attached.
    mutating func sweep() {
      for segment in Array(removed.values) { endIfUnused(segment) }
    }

    mutating func endIfUnused(_ segment: Segment) {
      if segment.uses == 0, segment.memory?.isMapped != true { destroy(segment) }
    }

    /// - Throws: `.invalidArgument`.
    mutating func segment(_ id: Int32) throws(Errno) -> Segment {
      try ended(try segments.object(id))
      return try segments.object(id)
    }

    /// A removed one that nobody has attached any more isn't there.
    private mutating func ended(_ segment: Segment) throws(Errno) {
      guard segment.isRemoved else { return }
      endIfUnused(segment)
    }

    mutating func segment(at index: Int32) throws(Errno) -> Segment {
      try ended(try segments.object(at: index))
      return try segments.object(at: index)
    }
  }

  private let state = Mutex(State())
  /// How many removed segments there may be whose id hasn't ended.
  private let removedCount = Atomic<Int>(0)

  /// Makes an empty table.
  public init() {}

  private func change<T>(
    _ body: (inout State) throws(Errno) -> sending T
  ) throws(Errno) -> sending T {
    let result = state.withLock { state -> sending Result<T, Errno> in
      defer { removedCount.store(state.removed.count, ordering: .relaxed) }
      do throws(Errno) {
        return .success(try body(&state))
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }

  /// Ends the ids of removed segments that nobody has attached any more: called when a process has ended. Costs nothing
  /// when there are none.
  public func sweep() {
    guard removedCount.load(ordering: .relaxed) > 0 else { return }
    try? change { $0.sweep() }
  }

  /// Gives all memory back: the pod has ended.
  public func removeAll() {
    try? change { state in
      for segment in state.segments.objects { state.destroy(segment) }
    }
  }

  /// How many segments there are.
  public var count: Int { state.withLock { $0.segments.count } }

  // MARK: shmget

  /// Finds or makes a segment.
  ///
  /// - Returns: Its id.
  func get(
    key: Int32, size: UInt64, flags: Int32, by caller: CallerCredentials, _ process: Int32,
    now: Int64, limits: SystemVLimits, checkMemory: (UInt64) throws(Errno) -> Void,
    largeMemory: (SegmentRequest) throws(Errno) -> any SegmentMemory
  ) throws(Errno) -> Int32 {
    try change { state throws(Errno) -> Int32 in
      var pages = state.pages
      state.segments.limit = limits.segments
      let segment = try state.segments.get(key: key, flags: flags, by: caller) {
        found throws(Errno) in
        if found.size < size { throw .invalidArgument }
      } make: { permissions throws(Errno) -> Segment in
        let (rounded, overflow) = size.addingReportingOverflow(Self.pageSize - 1)
        if size < 1 || size > limits.segment { throw .invalidArgument }
        let (sum, isTooMuch) = pages.addingReportingOverflow(rounded / Self.pageSize)
        if overflow || isTooMuch || sum > limits.pages { throw .noSpace }
        let isLarge = flags & SharedMemory.largePages != 0
        let segment = Segment(
          permissions, size: size,
          largePages: isLarge ? Int(UInt32(bitPattern: flags) >> 26 & 0x3F) : nil,
          creator: process, made: now)
        if isLarge {
          segment.memory = try largeMemory(Self.request(segment))
        } else {
          // Files have signed sizes.
          if size > UInt64(Int64.max) { throw .invalidArgument }
          if flags & SharedMemory.unreserved == 0 { try checkMemory(size) }
        }
        pages = sum
        return segment
      }
      state.pages = pages
      if let memory = segment.memory { state.byMemory[memory.identity] = segment }
      return segment.permissions.id
    }
  }

  private static func request(_ segment: Segment) -> SegmentRequest {
    let key = String(UInt32(bitPattern: segment.permissions.key), radix: 16)
    let zeros = String(repeating: "0", count: 8 - key.count)
    return SegmentRequest(
      size: segment.size, largePages: segment.largePages, name: "SYSV" + zeros + key)
  }

  // MARK: shmat, shmdt

  /// A segment that is about to be attached: its id doesn't end meanwhile.
  final class Use: Sendable {
    let memory: any SegmentMemory
    let size: UInt64
    /// nil where the id isn't held.
    private let table: SegmentTable?

    fileprivate init(_ memory: any SegmentMemory, _ size: UInt64, _ table: SegmentTable?) {
      (self.memory, self.size, self.table) = (memory, size, table)
    }

    deinit { table?.end(memory) }
  }

  private func end(_ memory: any SegmentMemory) {
    try? change { state in state.byMemory[memory.identity]?.uses -= 1 }
  }

  /// Begins an attach.
  ///
  /// - Parameters:
  ///   - id: The segment.
  ///   - access: The permissions that it takes, as in ``IPCPermissions/check(_:by:)``.
  ///   - isHeld: Whether the id stays, whatever others do until the attach is over.
  ///   - make: Makes the memory.
  func use(
    _ id: Int32, access: UInt32, by caller: CallerCredentials, isHeld: Bool,
    _ make: (SegmentRequest) throws(Errno) -> any SegmentMemory
  ) throws(Errno) -> Use {
    try change { state throws(Errno) -> Use in
      let segment = try state.segment(id)
      try segment.permissions.check(access, by: caller)
      let memory: any SegmentMemory
      if let known = segment.memory {
        memory = known
      } else {
        memory = try make(Self.request(segment))
        segment.memory = memory
        state.byMemory[memory.identity] = segment
      }
      if isHeld { segment.uses += 1 }
      return Use(memory, segment.size, isHeld ? self : nil)
    }
  }

  /// How large the segment is whose memory it is; nil when it is none of this pod's.
  public func size(ofMemory identity: UInt64) -> UInt64? {
    state.withLock { $0.byMemory[identity]?.size }
  }

  func attached(_ memory: any SegmentMemory, by process: Int32, now: Int64) {
    try? change { state in
      guard let segment = state.byMemory[memory.identity] else { return }
      (segment.last, segment.attached) = (process, now)
    }
  }

  func detached(_ identity: UInt64, by process: Int32, now: Int64) {
    try? change { state in
      guard let segment = state.byMemory[identity] else { return }
      (segment.last, segment.detached) = (process, now)
      if segment.isRemoved { state.endIfUnused(segment) }
    }
  }

  // MARK: shmctl

  /// What `shmctl` shows of a segment, but for how often it is attached.
  struct Status {
    var permissions: IPCPermissions
    var size: UInt64
    var (attached, detached, changed): (Int64, Int64, Int64)
    var creator: Int32
    var last: Int32
    var memory: (any SegmentMemory)?

    init(_ segment: Segment) {
      (permissions, size, memory) = (segment.permissions, segment.size, segment.memory)
      (attached, detached, changed) = (segment.attached, segment.detached, segment.changed)
      (creator, last) = (segment.creator, segment.last)
    }
  }

  /// How a segment is named.
  enum Selector {
    case id(Int32)
    case index(Int32)
  }

  /// - Parameter caller: Who needs the right to read it; nil for everybody.
  func status(
    _ selector: Selector, by caller: CallerCredentials?
  ) throws(Errno) -> Status {
    try change { state throws(Errno) -> Status in
      let segment =
        switch selector {
        case .id(let id): try state.segment(id)
        case .index(let index): try state.segment(at: index)
        }
      if let caller { try segment.permissions.check(0o444, by: caller) }
      return Status(segment)
    }
  }

  func set(
    _ id: Int32, user: UInt32, group: UInt32, mode: UInt32, by caller: CallerCredentials,
    now: Int64
  ) throws(Errno) {
    try change { state throws(Errno) in
      let segment = try state.segment(id)
      try segment.permissions.checkOwner(caller)
      try segment.permissions.update(user: user, group: group, mode: mode)
      segment.changed = now
    }
  }

  func remove(_ id: Int32, by caller: CallerCredentials) throws(Errno) {
    try change { state throws(Errno) in
      let segment = try state.segment(id)
      try segment.permissions.checkOwner(caller)
      segment.permissions.mode |= SharedMemory.removedMark
      state.segments.makePrivate(segment)
      state.removed[ObjectIdentifier(segment)] = segment
      state.endIfUnused(segment)
    }
  }

  /// - Parameter limit: How many bytes the caller may lock.
  func setLock(
    _ id: Int32, _ isLocked: Bool, by caller: CallerCredentials, limit: UInt64
  ) throws(Errno) {
    try change { state throws(Errno) in
      let segment = try state.segment(id)
      let mayLock = caller.capabilities.contains(CallerCredentials.ipcLock)
      let permissions = segment.permissions
      if !mayLock {
        guard caller.user == permissions.user || caller.user == permissions.creator,
          !isLocked || limit > 0
        else { throw .notPermitted }
      }
      if segment.largePages != nil { return }
      if !isLocked { return state.unlock(segment) }
      if permissions.mode & SharedMemory.lockedMark != 0 { return }
      let pages = { (bytes: UInt64) in bytes / Self.pageSize }
      let locked = state.locked[caller.user] ?? 0
      if !mayLock, limit != .max, pages(locked) + segment.pages > pages(limit) {
        throw .noMemory
      }
      state.locked[caller.user] = locked + segment.size
      segment.locker = caller.user
      segment.permissions.mode |= SharedMemory.lockedMark
    }
  }

  /// What `SHM_INFO` and `IPC_INFO` count.
  struct Usage {
    var segments = 0
    var pages: UInt64 = 0
    var resident: UInt64 = 0
    var highestIndex: Int32 = 0
  }

  func usage(countsResident: Bool) -> Usage {
    let found = state.withLock { state in
      (
        Usage(
          segments: state.segments.count, pages: state.pages,
          highestIndex: state.segments.highestIndex ?? 0),
        countsResident ? state.segments.objects.compactMap(\.memory) : []
      )
    }
    var usage = found.0
    for memory in found.1 { usage.resident += memory.resident / Self.pageSize }
    return usage
  }

  // MARK: /proc/sysvipc/shm

  /// The rows of the pod's `/proc/sysvipc/shm` (``PathViews/SystemVTable/text(_:)``).
  ///
  /// - Parameter processes: The pod's.
  ///
  /// Source: proc_sysvipc(5); ipc/shm.c, `sysvipc_shm_proc_show`.
  func rows(_ processes: [PhysicalName<ProcessID>]) -> [[Int64]] {
    let found = state.withLock { state in state.segments.objects.map { Status($0) } }
    let mappings = found.lazy.compactMap(\.memory).first?.allMappings(in: processes) ?? [:]
    return found.map { status in
      let memory = status.memory
      return status.permissions.firstColumns
        + [
          Int64(clamping: status.size), Int64(status.creator), Int64(status.last),
          Int64(clamping: memory.flatMap { mappings[$0.identity] } ?? 0),
        ] + status.permissions.owners
        + [
          status.attached, status.detached, status.changed, Int64(clamping: memory?.resident ?? 0),
        ]
    }
  }
}
