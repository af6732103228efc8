internal import SystemPackage

/// System V semaphores.
///
/// Source: semop(2), semctl(2); ipc/sem.c.
public enum SemaphoreSet {
  /// The rows of semaphore sets that are the kernel's, in a namespace of the pod's: who operated last.
  public static let kernelObjects: [BoundaryRow] = [
    .translated(
      .semctl, when: .argument(2, is: UInt32(ControlSemaphoreSet.Command.process), "GETPID"),
      out: [.result(NameShape(ProcessID.self))], performed: .inCaller, reaching: .caller)  // I11
  ]

  /// The rows of semaphore sets that are the host program's.
  public static let boundary: [BoundaryRow] = [
    .wrapped(.semget, by: GetSemaphoreSet(), performed: .emulated),  // I1, I2
    .wrapped(.semop, by: OperateSemaphores(), performed: .emulatedBlocking),  // I4
    .wrapped(.semtimedop, by: OperateSemaphores(), performed: .emulatedBlocking),  // I4
    .wrapped(.semctl, by: ControlSemaphoreSet(), performed: .emulated),  // I6–I11
  ]
}

/// What a pod may have of semaphores besides ``SystemVLimits``: what is to be undone, which the kernel counts as memory of those
/// who ask for it.
///
/// Source: include/uapi/linux/sem.h.
enum SemaphoreLimits {
  /// The highest value (`SEMVMX`), and the largest adjustment (`SEMAEM`).
  static let value: Int32 = 32_767
  /// The semaphores of one set that a process wants adjusted, together with those of other sets: `ENOMEM` beyond.
  static let adjustments = 65_536

  /// `SEM_UNDO`.
  static let undo: Int16 = 0x1000
  /// `IPC_NOWAIT`, as operations have it.
  static let noWait = Int16(IPCLimits.noWait)
}

/// `struct sembuf`.
struct SemaphoreOperation {
  let semaphore: UInt16
  let change: Int16
  let flags: Int16

  var undoes: Bool { flags & SemaphoreLimits.undo != 0 }
}

/// What is to be done to semaphores when the last of the processes that share it has ended.
///
/// Source: ipc/sem.c, `struct sem_undo_list`.
final class UndoList: @unchecked Sendable {
  struct Place: Hashable {
    let set: Int32
    let semaphore: UInt16
  }
  /// How many processes share it.
  var members = 1
  /// What is added, but for zeros.
  var adjustments: [Place: Int32] = [:]
}

/// A set of semaphores.
final class SemaphoreSetObject: IPCObject {
  struct Semaphore {
    var value: Int32 = 0
    var lastProcess: Int32 = 0
  }
  var permissions: IPCPermissions
  var semaphores: [Semaphore]
  var operationTime: Int64 = 0
  var changeTime = WallClock.now
  /// Who waits to change a value, the first one first.
  var altering: [IPCWait] = []
  /// Who waits for a zero.
  var looking: [IPCWait] = []

  init(_ permissions: IPCPermissions, count: Int) {
    self.permissions = permissions
    semaphores = [Semaphore](repeating: Semaphore(), count: count)
  }

  /// How many sleep until a semaphore becomes zero, or becomes larger: those that it is the first to keep waiting. Who is
  /// only about to sleep isn't counted: it would look again by itself.
  ///
  /// Source: ipc/sem.c, `count_semcnt`.
  func waiting(for semaphore: Int, toBecomeZero: Bool) -> Int {
    (altering + looking).count { wait in
      Int(wait.blocking.semaphore) == semaphore
        && (toBecomeZero ? wait.blocking.change == 0 : wait.blocking.change < 0)
        && wait.sleep.sleeper.isAsleep
    }
  }
}

// MARK: Operations

extension SystemVObjects.State {
  mutating func undoList(of process: VirtualName<ProcessID>) -> UndoList {
    if let list = undo[process] { return list }
    let list = UndoList()
    undo[process] = list
    return list
  }

  /// Tries all operations, or none.
  ///
  /// - Returns: The one that has to wait; nil when all are done.
  /// - Throws: `.outOfRange`; `.noMemory`.
  ///
  /// Source: ipc/sem.c, `perform_atomic_semop_slow`.
  private mutating func perform(
    _ operations: [SemaphoreOperation], on set: SemaphoreSetObject, by caller: Caller
  ) throws(Errno) -> SemaphoreOperation? {
    let id = set.permissions.id
    let needsUndo = operations.contains { $0.undoes && $0.change != 0 }
    let list = needsUndo ? undoList(of: caller.process) : nil
    if let list, list.adjustments.count + operations.count > SemaphoreLimits.adjustments {
      throw .noMemory
    }
    var done = 0
    var blocking: SemaphoreOperation?
    var isOutOfRange = false
    for operation in operations {
      let index = Int(operation.semaphore)
      let value = set.semaphores[index].value + Int32(operation.change)
      if operation.change == 0 ? value != 0 : value < 0 {
        blocking = operation
        break
      }
      if value > SemaphoreLimits.value {
        isOutOfRange = true
        break
      }
      if operation.undoes, operation.change != 0, let list {
        let place = UndoList.Place(set: id, semaphore: operation.semaphore)
        let adjustment = (list.adjustments[place] ?? 0) - Int32(operation.change)
        guard (-SemaphoreLimits.value - 1...SemaphoreLimits.value).contains(adjustment) else {
          isOutOfRange = true
          break
        }
        list.adjustments[place] = adjustment == 0 ? nil : adjustment
      }
      set.semaphores[index].value = value
      done += 1
    }
    if blocking == nil, !isOutOfRange { return nil }
    rollBack(operations[..<done], on: set, list)
    if isOutOfRange { throw .outOfRange }
    return blocking
  }

  private func rollBack(
    _ operations: ArraySlice<SemaphoreOperation>, on set: SemaphoreSetObject, _ list: UndoList?
  ) {
    for operation in operations {
      set.semaphores[Int(operation.semaphore)].value -= Int32(operation.change)
      guard operation.undoes, operation.change != 0, let list else { continue }
      let place = UndoList.Place(set: set.permissions.id, semaphore: operation.semaphore)
      let adjustment = (list.adjustments[place] ?? 0) + Int32(operation.change)
      list.adjustments[place] = adjustment == 0 ? nil : adjustment
    }
  }

  /// Source: ipc/sem.c, `do_semtimedop`.
  ///
  /// - Returns: The set and the operation that has to wait; nil when all are done.
  mutating func operate(
    _ operations: [SemaphoreOperation], on id: Int32, by caller: Caller,
    _ credentials: CallerCredentials
  ) throws(Errno) -> (set: SemaphoreSetObject, blocking: SemaphoreOperation)? {
    let set = try sets.object(id)
    let alters = operations.contains { $0.change != 0 }
    guard operations.allSatisfy({ Int($0.semaphore) < set.semaphores.count }) else {
      throw .fileTooLarge
    }
    try set.permissions.check(alters ? 0o222 : 0o444, by: credentials)
    if let blocking = try perform(operations, on: set, by: caller) { return (set, blocking) }
    noteProcess(operations, on: set, by: caller)
    set.operationTime = WallClock.now
    if alters { serveWaits(for: set) }
    return nil
  }

  private func noteProcess(
    _ operations: [SemaphoreOperation], on set: SemaphoreSetObject, by caller: Caller
  ) {
    for operation in operations {
      set.semaphores[Int(operation.semaphore)].lastProcess = caller.process.rawValue
    }
  }

  /// Values have changed: does for those who wait what can be done now, the first one first, and those before who wait for a
  /// zero.
  ///
  /// Source: ipc/sem.c, `do_smart_update`, `update_queue`.
  mutating func serveWaits(for set: SemaphoreSetObject) {
    if !set.looking.isEmpty { serve(\.looking, of: set) }
    var again = !set.altering.isEmpty
    while again {
      again = serve(\.altering, of: set)
      if again, !set.looking.isEmpty { serve(\.looking, of: set) }
    }
  }

  /// - Returns: Whether a value was changed.
  @discardableResult
  private mutating func serve(
    _ list: ReferenceWritableKeyPath<SemaphoreSetObject, [IPCWait]>, of set: SemaphoreSetObject
  ) -> Bool {
    for wait in set[keyPath: list] {
      guard case .semaphores(let operations) = wait.wish else { continue }
      do throws(Errno) {
        if let blocking = try perform(operations, on: set, by: wait.caller) {
          wait.blocking = blocking
          // What may not wait for this one.
          guard blocking.flags & SemaphoreLimits.noWait != 0 else { continue }
          if wait.give(.failed(.resourceTemporarilyUnavailable)) {
            set[keyPath: list].removeAll { $0 === wait }
          }
          continue
        }
      } catch {
        if wait.give(.failed(error)) { set[keyPath: list].removeAll { $0 === wait } }
        continue
      }
      guard wait.give(.done) else {
        rollBack(operations[...], on: set, undo[wait.caller.process])
        continue
      }
      set[keyPath: list].removeAll { $0 === wait }
      noteProcess(operations, on: set, by: wait.caller)
      set.operationTime = WallClock.now
      if wait.isAltering { return true }
    }
    return false
  }

  mutating func remove(_ set: SemaphoreSetObject) {
    sets.remove(set)
    semaphores -= set.semaphores.count
    for wait in set.altering + set.looking { wait.fail(.identifierRemoved) }
    (set.altering, set.looking) = ([], [])
    // Its id doesn't come again soon, and nothing of it may be undone to another set then.
    for list in undo.values where !list.adjustments.isEmpty {
      list.adjustments = list.adjustments.filter { $0.key.set != set.permissions.id }
    }
  }

  /// Values were set: nothing is to be undone for them.
  mutating func forgetUndo(of set: SemaphoreSetObject, _ semaphore: UInt16?) {
    let id = set.permissions.id
    for list in undo.values where !list.adjustments.isEmpty {
      if let semaphore {
        list.adjustments[UndoList.Place(set: id, semaphore: semaphore)] = nil
      } else {
        list.adjustments = list.adjustments.filter { $0.key.set != id }
      }
    }
  }

  /// A process has ended: its changes are undone, as far as values reach.
  ///
  /// Source: ipc/sem.c, `exit_sem`.
  mutating func apply(_ list: UndoList, of process: VirtualName<ProcessID>) {
    var changed: [Int32: SemaphoreSetObject] = [:]
    for (place, adjustment) in list.adjustments {
      guard let set = try? sets.object(place.set),
        Int(place.semaphore) < set.semaphores.count
      else { continue }
      let index = Int(place.semaphore)
      let value = set.semaphores[index].value + adjustment
      set.semaphores[index].value = min(max(value, 0), SemaphoreLimits.value)
      set.semaphores[index].lastProcess = process.rawValue
      changed[place.set] = set
    }
    for set in changed.values {
      set.operationTime = WallClock.now
      serveWaits(for: set)
    }
  }
}

// MARK: Calls

/// Finds or makes a set.
///
/// Source: semget(2).
struct GetSemaphoreSet: Wrapper {
  func preamble(_ transaction: inout Transaction) throws(Errno) {
    let (key, flags) = (transaction.arguments.int(0), transaction.arguments.int(2))
    let count = Int(transaction.arguments.int(1))
    let limits = transaction.host.segmentHost.limits
    guard count >= 0, count <= limits.perSet else { throw .invalidArgument }
    let credentials = try transaction.host.credentials(of: transaction.caller)
    let id = try transaction.changeObjects(.allocate, on: key) { state throws(Errno) in
      let used = state.semaphores
      state.sets.limit = limits.sets
      let before = state.sets.count
      let set = try state.sets.get(key: key, flags: flags, by: credentials) {
        set throws(Errno) in
        if count > set.semaphores.count { throw .invalidArgument }
      } make: { permissions throws(Errno) in
        if count == 0 { throw .invalidArgument }
        if used + count > limits.semaphores { throw .noSpace }
        return SemaphoreSetObject(permissions, count: count)
      }
      if state.sets.count > before { state.semaphores += count }
      return set.permissions.id
    }
    transaction.result = .success(Int(id))
  }
}

/// Changes semaphores, or waits until they can be changed.
///
/// Source: semop(2).
struct OperateSemaphores: Wrapper {
  func preamble(_ transaction: inout Transaction) throws(Errno) {
    let id = transaction.arguments.int(0)
    var time: (seconds: Int64, nanoseconds: Int64)?
    if transaction.call == .semtimedop, transaction.arguments[3] != 0 {
      let address = RemoteAddress(rawValue: transaction.arguments[3])
      time = (
        try transaction.read(Int64.self, at: address),
        try transaction.read(Int64.self, at: address.advanced(by: 8))
      )
    }
    let count = UInt64(UInt32(truncatingIfNeeded: transaction.arguments[2]))
    if count > UInt64(transaction.host.segmentHost.limits.operations) { throw .argListTooLong }
    if count < 1 { throw .invalidArgument }
    let operations = try Self.operations(Int(count), &transaction)
    if id < 0 { throw .invalidArgument }
    if let time {
      guard time.seconds >= 0, (0..<1_000_000_000).contains(time.nanoseconds) else {
        throw .invalidArgument
      }
    }
    let credentials = try transaction.host.credentials(of: transaction.caller)
    let caller = transaction.caller
    let blocking = try transaction.changeObjects(.lookUp, on: id) { state throws(Errno) in
      state.endWaits(of: caller)
      return try state.operate(operations, on: id, by: caller, credentials)?.blocking
    }
    guard let blocking else {
      transaction.result = .success(0)
      return
    }
    if blocking.flags & SemaphoreLimits.noWait != 0 { throw .resourceTemporarilyUnavailable }
    let limit = time.map { time in
      Duration(
        secondsComponent: min(time.seconds, 1 << 32),
        attosecondsComponent: time.nanoseconds * 1_000_000_000)
    }
    try transaction.sleep(for: limit, .semaphores(operations), on: id) {
      state, wait, looks throws(Errno) in
      let found =
        looks
        ? try state.operate(operations, on: id, by: caller, credentials)
        : (try state.sets.object(id), blocking)
      guard let (set, blocking) = found else { return .success(0) }
      if blocking.flags & SemaphoreLimits.noWait != 0 { throw .resourceTemporarilyUnavailable }
      wait.blocking = blocking
      wait.isAltering = operations.contains { $0.change != 0 }
      if wait.isAltering { set.altering.append(wait) } else { set.looking.append(wait) }
      state.park(wait, for: set)
      return nil
    }
  }

  func epilogue(_ transaction: inout Transaction) throws(Errno) {
    if try transaction.wokenOutcome() != nil { transaction.result = .success(0) }
  }

  private static let operationSize = 6

  private static func operations(
    _ count: Int, _ transaction: inout Transaction
  ) throws(Errno) -> [SemaphoreOperation] {
    let bytes = try transaction.readBytes(
      count * operationSize, at: RemoteAddress(rawValue: transaction.arguments[1]))
    return bytes.withUnsafeBytes { bytes in
      (0..<count).map { number in
        let start = number * operationSize
        return SemaphoreOperation(
          semaphore: bytes.loadUnaligned(fromByteOffset: start, as: UInt16.self),
          change: bytes.loadUnaligned(fromByteOffset: start + 2, as: Int16.self),
          flags: bytes.loadUnaligned(fromByteOffset: start + 4, as: Int16.self))
      }
    }
  }
}

/// Looks at sets, changes and removes them.
///
/// Source: semctl(2); arch/x86/include/uapi/asm/sembuf.h, `struct semid64_ds`; include/uapi/linux/sem.h, `struct seminfo`.
struct ControlSemaphoreSet: Wrapper {
  enum Command {
    static let process: Int32 = 11
    static let value: Int32 = 12
    static let values: Int32 = 13
    static let growthCount: Int32 = 14
    static let zeroCount: Int32 = 15
    static let setValue: Int32 = 16
    static let setValues: Int32 = 17
    static let statusByIndex: Int32 = 18
    static let totals: Int32 = 19
    static let anyStatusByIndex: Int32 = 20
  }
  private static let recordSize = 104

  func preamble(_ transaction: inout Transaction) throws(Errno) {
    let (id, command) = (transaction.arguments.int(0), transaction.arguments.int(2))
    let address = RemoteAddress(rawValue: transaction.arguments[3])
    guard id >= 0 else { throw .invalidArgument }
    let credentials = try transaction.host.credentials(of: transaction.caller)
    let limits = transaction.host.segmentHost.limits
    switch command {
    case IPCLimits.info, Command.totals:
      let (record, highest) = try transaction.changeObjects(.lookUp, on: id) { state in
        (
          Self.information(state, limits, isTotal: command == Command.totals),
          state.sets.highestIndex ?? 0
        )
      }
      try transaction.write(bytes: record, to: address)
      transaction.result = .success(Int(highest))
    case IPCLimits.status, Command.statusByIndex, Command.anyStatusByIndex:
      let (record, answer) = try transaction.changeObjects(.lookUp, on: id) {
        state throws(Errno) in
        let isById = command == IPCLimits.status
        let set = try isById ? state.sets.object(id) : state.sets.object(at: id)
        if command != Command.anyStatusByIndex {
          try set.permissions.check(0o444, by: credentials)
        }
        return (Self.record(of: set), isById ? 0 : set.permissions.id)
      }
      try transaction.write(bytes: record, to: address)
      transaction.result = .success(Int(answer))
    case IPCLimits.set:
      let record = try transaction.readBytes(Self.recordSize, at: address)
      try transaction.changeObjects(.publish, on: id) { state throws(Errno) in
        let set = try state.sets.object(id)
        try set.permissions.checkOwner(credentials)
        try set.permissions.update(
          user: record.word(at: 4), group: record.word(at: 8), mode: record.word(at: 20))
        set.changeTime = WallClock.now
      }
      transaction.result = .success(0)
    case IPCLimits.remove:
      try transaction.changeObjects(.retire, on: id) { state throws(Errno) in
        let set = try state.sets.object(id)
        try set.permissions.checkOwner(credentials)
        state.remove(set)
      }
      transaction.result = .success(0)
    case Command.setValue: try setValue(id, credentials, &transaction)
    case Command.values, Command.setValues:
      try allValues(id, credentials, sets: command == Command.setValues, &transaction)
    case Command.process, Command.value, Command.growthCount, Command.zeroCount:
      let index = Int(transaction.arguments.int(1))
      let number = try transaction.changeObjects(.lookUp, on: id) { state throws(Errno) in
        let set = try state.sets.object(id)
        try set.permissions.check(0o444, by: credentials)
        guard set.semaphores.indices.contains(index) else { throw .invalidArgument }
        return switch command {
        case Command.process: Int(set.semaphores[index].lastProcess)
        case Command.value: Int(set.semaphores[index].value)
        default: set.waiting(for: index, toBecomeZero: command == Command.zeroCount)
        }
      }
      transaction.result = .success(number)
    default: throw .invalidArgument
    }
  }

  /// Source: ipc/sem.c, `semctl_setval`.
  private func setValue(
    _ id: Int32, _ credentials: CallerCredentials, _ transaction: inout Transaction
  ) throws(Errno) {
    let index = Int(transaction.arguments.int(1))
    let value = transaction.arguments.int(3)
    let caller = transaction.caller
    guard (0...SemaphoreLimits.value).contains(value) else { throw .outOfRange }
    try transaction.changeObjects(.publish, on: id) { state throws(Errno) in
      let set = try state.sets.object(id)
      guard set.semaphores.indices.contains(index) else { throw .invalidArgument }
      try set.permissions.check(0o222, by: credentials)
      state.forgetUndo(of: set, UInt16(truncatingIfNeeded: index))
      set.semaphores[index] = .init(value: value, lastProcess: caller.process.rawValue)
      set.changeTime = WallClock.now
      state.serveWaits(for: set)
    }
    transaction.result = .success(0)
  }

  /// `GETALL` and `SETALL`. Source: ipc/sem.c, `semctl_main`.
  private func allValues(
    _ id: Int32, _ credentials: CallerCredentials, sets: Bool, _ transaction: inout Transaction
  ) throws(Errno) {
    let address = RemoteAddress(rawValue: transaction.arguments[3])
    let caller = transaction.caller
    let values = try transaction.changeObjects(.lookUp, on: id) { state throws(Errno) in
      let set = try state.sets.object(id)
      try set.permissions.check(sets ? 0o222 : 0o444, by: credentials)
      return set.semaphores.map { UInt16(truncatingIfNeeded: $0.value) }
    }
    if !sets {
      var record = IPCRecord(size: 2 * values.count)
      for value in values { record.add(value) }
      try transaction.write(bytes: record.bytes, to: address)
      transaction.result = .success(0)
      return
    }
    let bytes = try transaction.readBytes(2 * values.count, at: address)
    let given = bytes.withUnsafeBytes { bytes in
      values.indices.map { bytes.loadUnaligned(fromByteOffset: 2 * $0, as: UInt16.self) }
    }
    if given.contains(where: { Int32($0) > SemaphoreLimits.value }) { throw .outOfRange }
    try transaction.changeObjects(.publish, on: id) { state throws(Errno) in
      // It may be gone since, and natively it can't be another's.
      guard let set = try? state.sets.object(id) else { throw .identifierRemoved }
      state.forgetUndo(of: set, nil)
      for (index, value) in given.enumerated() {
        set.semaphores[index] = .init(value: Int32(value), lastProcess: caller.process.rawValue)
      }
      set.changeTime = WallClock.now
      state.serveWaits(for: set)
    }
    transaction.result = .success(0)
  }

  private static func record(of set: SemaphoreSetObject) -> [UInt8] {
    var record = IPCRecord(size: recordSize)
    record.add(set.permissions)
    record.add(set.operationTime)
    record.skip(8)
    record.add(set.changeTime)
    record.skip(8)
    record.add(UInt64(set.semaphores.count))
    return record.bytes
  }

  private static func information(
    _ state: borrowing SystemVObjects.State, _ limits: SystemVLimits, isTotal: Bool
  ) -> [UInt8] {
    let usual = SystemVLimits()
    var record = IPCRecord(size: 40)
    record.add(Int32(usual.semaphores))  // semmap
    record.add(Int32(limits.sets))  // semmni
    record.add(Int32(limits.semaphores))  // semmns
    record.add(Int32(usual.semaphores))  // semmnu
    record.add(Int32(limits.perSet))  // semmsl
    record.add(Int32(limits.operations))  // semopm
    record.add(Int32(usual.operations))  // semume
    record.add(isTotal ? Int32(state.sets.count) : 20)  // semusz
    record.add(SemaphoreLimits.value)  // semvmx
    record.add(isTotal ? Int32(state.semaphores) : SemaphoreLimits.value)  // semaem
    return record.bytes
  }
}
