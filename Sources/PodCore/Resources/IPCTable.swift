public import SystemPackage

/// For whom a thread acts, as far as System V objects care.
///
/// Source: credentials(7); ipc/util.c, `ipcperms`.
public struct CallerCredentials: Sendable, Hashable {
  /// The effective user.
  public var user: UInt32
  /// The effective group, which a new object gets.
  public var group: UInt32
  /// The groups that count for permissions: the file-system group and the supplementary ones.
  public var groups: Set<UInt32>
  /// The effective capabilities.
  public var capabilities: CapabilitySet

  /// States credentials.
  public init(
    user: UInt32, group: UInt32, groups: Set<UInt32> = [], capabilities: CapabilitySet = []
  ) {
    (self.user, self.group, self.capabilities) = (user, group, capabilities)
    self.groups = groups
  }

  /// `CAP_IPC_LOCK`.
  static let ipcLock = CapabilitySet(number: 14)
  /// `CAP_IPC_OWNER`: ignore permissions of System V objects.
  static let ipcOwner = CapabilitySet(number: 15)
  /// `CAP_SYS_ADMIN`: change and remove what others own.
  static let administration = CapabilitySet(number: 21)
  /// `CAP_SYS_RESOURCE`: exceed limits.
  static let resources = CapabilitySet(number: 24)
}

/// Who owns a System V object, and who may use it.
///
/// Source: svipc(7), `struct ipc_perm`; ipc/util.c.
public struct IPCPermissions: Sendable, Hashable {
  /// The id: index + sequence × 32,768.
  public let id: Int32
  /// The key; 0 (`IPC_PRIVATE`) for an object that no key finds.
  public internal(set) var key: Int32
  /// The owner.
  public var user: UInt32
  /// The owner's group.
  public var group: UInt32
  /// Who made it.
  public let creator: UInt32
  /// The maker's group.
  public let creatorGroup: UInt32
  /// Permission bits, and above them what the resource adds: `SHM_DEST`.
  public var mode: UInt32

  /// The sequence number of the id.
  public var sequence: UInt16 { UInt16(truncatingIfNeeded: id >> IPCLimits.indexBits) }

  /// Whether a caller may use the object.
  ///
  /// - Parameter flags: The low nine bits are wanted permissions, in any of the three places, as the flags of a get call
  ///   have them: `0o444` to read, `0o222` to change.
  /// - Throws: `.permissionDenied`.
  ///
  /// Source: ipc/util.c, `ipcperms`.
  public func check(_ flags: UInt32, by caller: CallerCredentials) throws(Errno) {
    let wanted = flags >> 6 | flags >> 3 | flags
    var granted = mode
    if caller.user == creator || caller.user == user {
      granted >>= 6
    } else if caller.groups.contains(creatorGroup) || caller.groups.contains(group) {
      granted >>= 3
    }
    if wanted & ~granted & 0o7 != 0, !caller.capabilities.contains(CallerCredentials.ipcOwner) {
      throw .permissionDenied
    }
  }

  /// Whether a caller may change and remove the object (`IPC_SET`, `IPC_RMID`).
  ///
  /// - Throws: `.notPermitted`.
  ///
  /// Source: ipc/util.c, `ipcctl_obtain_check`.
  public func checkOwner(_ caller: CallerCredentials) throws(Errno) {
    if caller.user == creator || caller.user == user { return }
    if caller.capabilities.contains(CallerCredentials.administration) { return }
    throw .notPermitted
  }

  /// `IPC_SET`: takes the owner and the permission bits of another record.
  ///
  /// - Throws: `.invalidArgument` for −1, which is nobody.
  ///
  /// Source: ipc/util.c, `ipc_update_perm`.
  public mutating func update(user: UInt32, group: UInt32, mode: UInt32) throws(Errno) {
    if user == .max || group == .max { throw .invalidArgument }
    (self.user, self.group) = (user, group)
    self.mode = self.mode & ~0o777 | mode & 0o777
  }
}

/// Numbers of System V IPC that are the same for all three kinds of objects.
///
/// Source: include/linux/ipc.h; ipc/util.h; include/uapi/linux/ipc.h.
public enum IPCLimits {
  /// How many bits of an id are the index.
  static let indexBits: Int32 = 15
  /// How many objects of a kind there can be (`IPCMNI`).
  public static let objects: Int32 = 1 << indexBits
  /// The sequence numbers; then they begin anew.
  static let sequences: Int32 = Int32.max >> indexBits
  /// So many indices are used in turn before one is used again (`ipc_min_cycle`).
  static let shortestCycle: Int32 = 64

  /// `IPC_CREAT`.
  public static let create: Int32 = 0o1000
  /// `IPC_EXCL`.
  public static let exclusive: Int32 = 0o2000
  /// `IPC_NOWAIT`.
  public static let noWait: Int32 = 0o4000
  /// `IPC_RMID`.
  public static let remove: Int32 = 0
  /// `IPC_SET`.
  public static let set: Int32 = 1
  /// `IPC_STAT`.
  public static let status: Int32 = 2
  /// `IPC_INFO`.
  public static let info: Int32 = 3
}

/// A System V object in an ``IPCTable``: a class, since waits outlive look-ups.
public protocol IPCObject: AnyObject {
  /// Who owns it, and its id and key.
  var permissions: IPCPermissions { get set }
}

/// The System V objects of one kind in one pod: ids and keys as the kernel gives and finds them.
///
/// Ids are index + sequence × 32,768. Indices are used in turn, the sequence goes up each time that they begin anew, and so
/// an id comes back after 64 × 65,535 creations at the earliest. Nothing here is locked: the owner of the table is.
///
/// Look-ups, by id, index and key, take constant time; so does making and removing.
///
/// Source: ipc/util.c, `ipc_addid`, `ipc_idr_alloc`, `ipcget`, `ipc_obtain_object_check`.
public struct IPCTable<Object: IPCObject>: ~Copyable {
  private var slots: [Object?] = []
  private var keys: [Int32: Int32] = [:]
  private var free = FreeNumbers(range: 0...(IPCLimits.objects - 1))
  /// Where the search for a free index begins.
  private var next: Int32 = 0
  private var lastIndex: Int32 = -1
  private var sequence: Int32 = 0
  /// How many objects there may be at one time: `ENOSPC` beyond.
  public internal(set) var limit: Int
  /// How many objects there are.
  public private(set) var count = 0
  /// The highest index in use; nil when there is no object. What the `*_INFO` commands answer.
  public private(set) var highestIndex: Int32?

  /// Makes an empty table.
  ///
  /// - Parameter limit: How many objects there may be, at most ``IPCLimits/objects``.
  public init(limit: Int) { self.init(limit: limit, sequence: 0) }

  /// Makes an empty table that has given out ids before.
  package init(limit: Int, sequence: Int32) {
    self.limit = min(limit, Int(IPCLimits.objects))
    self.sequence = sequence
  }

  // MARK: Get

  /// Finds or makes an object: what the three get calls do.
  ///
  /// - Parameters:
  ///   - key: The key; 0 (`IPC_PRIVATE`) for a new object that no key finds.
  ///   - flags: The call's flags: permission bits, ``IPCLimits/create``, ``IPCLimits/exclusive``.
  ///   - caller: Who asks.
  ///   - check: What else an existing object must satisfy (its size), before its permissions are looked at.
  ///   - make: Makes an object with these permissions.
  /// - Returns: The object, whose id is in its permissions.
  /// - Throws: `.noSuchFileOrDirectory`, `.fileExists`, `.permissionDenied`; `.noSpace` when there are too many; what
  ///   `check` and `make` throw.
  public mutating func get(
    key: Int32, flags: Int32, by caller: CallerCredentials,
    check: (Object) throws(Errno) -> Void = { _ in },
    make: (IPCPermissions) throws(Errno) -> Object
  ) throws(Errno) -> Object {
    guard key != 0, let index = keys[key], let object = slots[Int(index)] else {
      if key != 0, flags & IPCLimits.create == 0 { throw .noSuchFileOrDirectory }
      return try add(key: key, flags: flags, by: caller, make)
    }
    let isExclusive = IPCLimits.create | IPCLimits.exclusive
    if flags & isExclusive == isExclusive { throw .fileExists }
    try check(object)
    try object.permissions.check(UInt32(bitPattern: flags), by: caller)
    return object
  }

  private mutating func add(
    key: Int32, flags: Int32, by caller: CallerCredentials,
    _ make: (IPCPermissions) throws(Errno) -> Object
  ) throws(Errno) -> Object {
    // The object first: what it has to say about its size comes before the number of objects.
    let cycle = min(max(Int32(count) * 3 / 2, IPCLimits.shortestCycle), IPCLimits.objects)
    let isFull = count >= limit
    let found = next < cycle ? free.next(from: next) : nil
    let index = found.flatMap { $0 < cycle ? $0 : nil } ?? free.next(from: 0) ?? 0
    var turn = sequence
    if index <= lastIndex { turn = turn + 1 >= IPCLimits.sequences ? 0 : turn + 1 }
    let object = try make(
      IPCPermissions(
        id: turn << IPCLimits.indexBits | index, key: key, user: caller.user,
        group: caller.group, creator: caller.user, creatorGroup: caller.group,
        mode: UInt32(bitPattern: flags) & 0o777))
    if isFull { throw .noSpace }
    (sequence, lastIndex, next) = (turn, index, index + 1)
    free.take(index)
    while slots.count <= Int(index) { slots.append(nil) }
    slots[Int(index)] = object
    if key != 0 { keys[key] = index }
    count += 1
    highestIndex = max(highestIndex ?? 0, index)
    return object
  }

  // MARK: Look-up

  /// The object with an id.
  ///
  /// - Throws: `.invalidArgument` when nothing has its index, or another object has it now.
  public func object(_ id: Int32) throws(Errno) -> Object {
    guard id >= 0 else { throw .invalidArgument }
    let object = try object(at: id & (IPCLimits.objects - 1))
    guard object.permissions.id == id else { throw .invalidArgument }
    return object
  }

  /// The object at an index, whatever its sequence is: what `MSG_STAT` and the like are given. As in the kernel, what an id
  /// has beyond the index isn't looked at.
  ///
  /// - Throws: `.invalidArgument` when there is none.
  public func object(at index: Int32) throws(Errno) -> Object {
    let index = Int(index & (IPCLimits.objects - 1))
    guard index < slots.count, let object = slots[index] else { throw .invalidArgument }
    return object
  }

  /// All objects, by index.
  public var objects: [Object] { slots.compactMap(\.self) }

  // MARK: Removal

  /// No key finds the object any more; its id does.
  ///
  /// Source: ipc/util.c, `ipc_set_key_private`.
  public mutating func makePrivate(_ object: Object) {
    let key = object.permissions.key
    guard key != 0, isThere(object) else { return }
    keys[key] = nil
    object.permissions.key = 0
  }

  /// Takes an object out of the table. Twice is once.
  public mutating func remove(_ object: Object) {
    guard isThere(object) else { return }
    let index = object.permissions.id & (IPCLimits.objects - 1)
    if object.permissions.key != 0 { keys[object.permissions.key] = nil }
    slots[Int(index)] = nil
    free.giveBack(index)
    count -= 1
    while case .some(nil) = slots.last { slots.removeLast() }
    highestIndex = slots.isEmpty ? nil : Int32(slots.count - 1)
  }

  /// Whether the object is in the table: it isn't any more once it was removed.
  public func isThere(_ object: Object) -> Bool {
    let index = Int(object.permissions.id & (IPCLimits.objects - 1))
    return index < slots.count && slots[index] === object
  }
}
