internal import CPodLayout
internal import Synchronization

/// The table of one pod's names of one resource: virtual ↔ physical, in constant time both ways.
///
/// An entry is born *allocated* (init-pending: it has a virtual name only), becomes *live* when it is bound to a
/// physical name, and *dying* when its object went away. A dying entry is freed when nobody refers to it any more: no
/// hold of a transaction in flight, no use by another object that shows the number (a process group outlives its
/// leader), and, for objects that are waited for, the reap. Only then the virtual number can be given out again.
///
/// Names can be *leased*: given out in advance to a process, whose own code then takes one without asking
/// (``lease(_:to:)``, ``redeem(_:by:)``). A leased name is no name yet: no look-up finds it, nobody else gets it.
///
/// Storage is one flat region without pointers (`pod_layout.h`), which a backend may map read-only into the pod's
/// processes (``memory``). Writers are serialized by the namespace's lock; look-ups take no lock.
///
/// Lock order: the namespace's lock is a leaf, except that ``SystemNames`` may be locked inside it.
///
/// At 1,000,000 names a look-up of a number among many independent ones takes some tens of nanoseconds, and a name 58 bytes
/// with both indexes (`Benchmarks`, `names`).
///
/// Source: paper §4 (tables), §4.1.1 (reference counts), DESIGN.md §4.4.
public final class Namespace<R: Resource>: Sendable {
  private struct State: ~Copyable {
    var free: FreeNumbers
    var next: Int32
    /// Names that were given out in advance and aren't in use, by lessee.
    var leases: [VirtualName<ProcessID>: Set<VirtualName<R>>] = [:]
    /// How many of them can be taken back.
    var reclaimable = 0
  }

  /// The pod whose names these are.
  public let pod: PodID
  /// The numbers that the policy may give out.
  public let range: ClosedRange<Int32>
  /// How numbers are chosen.
  public let policy: AllocationPolicy
  /// Where the table lives.
  public let memory: any TableMemory

  /// After the first round the search begins here, as the kernel's does, so that low numbers stay with daemons.
  ///
  /// Source: kernel/pid.c, `RESERVED_PIDS`.
  private let lowestAfterWrap: Int32
  private let system: SystemNames<R>
  private nonisolated(unsafe) let table: UnsafeMutablePointer<pod_table>
  private let state: Mutex<State>

  /// Makes an empty namespace.
  ///
  /// - Parameters:
  ///   - pod: The pod's number.
  ///   - range: Virtual numbers that the policy may give out, from 1.
  ///   - capacity: The most names at one time; memory is touched only as names are used.
  ///   - policy: How numbers are chosen.
  ///   - system: The host program's table of physical names.
  ///   - memory: Gives the table so many bytes of memory, zeroed; nil for some of the host program's own.
  public init(
    pod: PodID, range: ClosedRange<Int32>, capacity: Int, policy: AllocationPolicy = .compact,
    system: SystemNames<R>, memory: (_ size: Int) -> (any TableMemory)? = { _ in nil }
  ) {
    self.pod = pod
    self.range = range
    self.policy = policy
    self.system = system
    let capacity = UInt32(clamping: min(capacity, range.count))
    let size = Int(pod_table_size(capacity))
    guard let memory = memory(size) ?? OwnMemory(size: size) else {
      preconditionFailure("out of memory for a table of \(capacity) names")
    }
    precondition(memory.size >= size, "a table of \(capacity) names is larger than its memory")
    self.memory = memory
    table = memory.start.assumingMemoryBound(to: pod_table.self)
    pod_table_format(table, capacity, pod.rawValue)
    lowestAfterWrap = range.count > 1_000 ? range.lowerBound + 299 : range.lowerBound
    state = Mutex(State(free: FreeNumbers(range: range), next: range.lowerBound))
    let tables = TableReference(table: table)
    system.join(pod) { VirtualName(rawValue: tables.virtual(of: $0.rawValue)) }
  }

  deinit {
    for slot in 1...max(table.pointee.watermark, 1) {
      let view = pod_entry_read(table, slot)
      if view.state != POD_ENTRY_FREE.rawValue, view.physical_name != 0 {
        system.remove(PhysicalName(rawValue: view.physical_name), of: pod)
      }
    }
    system.leave(pod)
  }

  /// How many entries are not free.
  public var count: Int { state.withLock { _ in Int(table.pointee.count) } }

  /// How many names more there may be; what is leased and unused counts, since it would be taken back.
  public var room: Int {
    state.withLock { Int(table.pointee.capacity) - Int(table.pointee.count) + $0.reclaimable }
  }

  /// Where the search for the next number begins: the number after the last one that the policy gave out.
  public internal(set) var cursor: Int32 {
    get { state.withLock { $0.next } }
    set { state.withLock { $0.next = newValue } }
  }

  // MARK: Look-ups

  /// The entry of a virtual name.
  ///
  /// - Throws: ``NameError/unknownName``.
  /// - Complexity: O(1); takes no lock.
  public func entry(_ name: VirtualName<R>) throws(NameError) -> Entry<R> {
    let view = pod_table_find_virtual(table, name.rawValue)
    guard view.slot != 0, view.flags & UInt8(POD_ENTRY_LEASED.rawValue) == 0 else {
      throw .unknownName
    }
    return Entry(view)
  }

  /// The entry that a physical name means now: the live one, else the newest dying one.
  ///
  /// - Throws: ``NameError/unknownName`` when the name belongs to another pod or to none.
  /// - Complexity: O(1); takes no lock.
  public func entry(_ name: PhysicalName<R>) throws(NameError) -> Entry<R> {
    let view = pod_table_find_physical(table, name.rawValue, POD_PHYSICAL_CURRENT)
    guard name.rawValue > 0, view.slot != 0 else { throw .unknownName }
    return Entry(view)
  }

  /// The physical name behind a virtual one, and nothing else of the entry: nil when there is no such name, or it is
  /// allocated and not bound yet.
  ///
  /// - Complexity: O(1); takes no lock. The quickest look-up there is.
  public func physical(of name: VirtualName<R>) -> PhysicalName<R>? {
    if name.rawValue <= 0 { return nil }
    let number = pod_table_physical_of(table, name.rawValue)
    return number == 0 ? nil : PhysicalName(rawValue: number)
  }

  /// The virtual name that a physical one means now, as ``entry(_:)-(PhysicalName<R>)`` finds it, and nothing else of the
  /// entry.
  ///
  /// - Complexity: O(1); takes no lock.
  public func virtual(of name: PhysicalName<R>) -> VirtualName<R>? {
    if name.rawValue <= 0 { return nil }
    let number = pod_table_virtual_of(table, name.rawValue)
    return number == 0 ? nil : VirtualName(rawValue: number)
  }

  /// Whether anything in the pod has this physical number, or had it and is still shown.
  package func isKnown(_ name: PhysicalName<R>) -> Bool { virtual(of: name) != nil }

  /// The oldest dying, unreaped entry with a physical name: the one that a wait which returned this number reaped, even
  /// when the kernel has given the number to a newborn meanwhile.
  ///
  /// - Throws: ``NameError/unknownName``.
  public func dyingEntry(_ name: PhysicalName<R>) throws(NameError) -> Entry<R> {
    let view = pod_table_find_physical(table, name.rawValue, POD_PHYSICAL_OLDEST_DYING)
    guard view.slot != 0 else { throw .unknownName }
    return Entry(view)
  }

  /// Whether nothing in the pod has this virtual number.
  public func isFree(_ name: VirtualName<R>) -> Bool {
    pod_table_find_virtual(table, name.rawValue).slot == 0
  }

  /// All entries that are not free, in the order of their slots; leased names are none.
  public var entries: [Entry<R>] {
    state.withLock { _ in
      guard table.pointee.watermark > 0 else { return [] }
      return (1...table.pointee.watermark).compactMap { slot in
        let view = pod_entry_read(table, slot)
        guard view.flags & UInt8(POD_ENTRY_LEASED.rawValue) == 0 else { return nil }
        let entry = Entry<R>(view)
        return entry.state == .free ? nil : entry
      }
    }
  }

  // MARK: Allocation

  /// Allocates a virtual name that nothing in the pod uses.
  ///
  /// The name is *allocated* (init-pending) until ``bind(_:to:)`` makes it *live*.
  ///
  /// - Parameters:
  ///   - chosen: A number to use instead of the policy's choice (restore, `clone3`'s `set_tid`, IPC keys). It leaves the
  ///     policy's order as it is. It may be a live physical name of the pod: who asks for a number must have it, and a
  ///     virtual name wins where calls accept both.
  ///   - physical: The physical name to come, when it is known; ``AllocationPolicy/preserving`` takes its number.
  ///   - policy: A policy other than the namespace's.
  ///   - avoidingPhysical: Whether numbers that are live physical names of the pod are passed over, for resources whose
  ///     calls accept both (DESIGN.md §4.5).
  /// - Returns: The slot's name; give it back with ``giveBack(_:)`` if it is never bound.
  /// - Throws: ``NameError/rangeExhausted``, when there are no leased names to take back either; for a chosen number
  ///   ``NameError/outOfRange`` and ``NameError/nameInUse``, also when it is leased or its last object is dying.
  /// - Complexity: O(1); takes the namespace's lock once.
  ///
  /// Source: paper §4.1.1; COVERAGE P7, P12; clone(2).
  public func allocate(
    chosen: VirtualName<R>? = nil, for physical: PhysicalName<R>? = nil,
    policy: AllocationPolicy? = nil, avoidingPhysical: Bool = false
  ) throws(NameError) -> VirtualName<R> {
    let outcome = state.withLock { state -> Result<VirtualName<R>, NameError> in
      if let chosen {
        guard range.contains(chosen.rawValue) else { return .failure(.outOfRange) }
        guard state.free.isFree(chosen.rawValue) else { return .failure(.nameInUse) }
      }
      if table.pointee.count == table.pointee.capacity { takeBackLease(&state) }
      let number: Int32
      var flags: UInt8 = 0
      if let chosen {
        number = chosen.rawValue
        flags = UInt8(POD_ENTRY_CHOSEN.rawValue)
      } else if (policy ?? self.policy) == .preserving, let physical,
        state.free.isFree(physical.rawValue)
      {
        number = physical.rawValue
      } else if let next = nextNumber(&state, avoidingPhysical: avoidingPhysical)
        ?? (takeBackLease(&state)
          ? nextNumber(&state, avoidingPhysical: avoidingPhysical) : nil)
      {
        number = next
        state.next = next < range.upperBound ? next + 1 : lowestAfterWrap
      } else {
        return .failure(.rangeExhausted)
      }
      let slot = pod_table_allocate(table, number, flags)
      guard slot != 0 else { return .failure(.rangeExhausted) }
      if slot == Self.manyNames, slot == table.pointee.watermark { useLargePages() }
      state.free.take(number)
      return .success(VirtualName(rawValue: number))
    }
    return try outcome.get()
  }

  /// From so many names on the table is worth large pages; a pod with fewer would only be larger.
  private static var manyNames: UInt32 { 65_536 }

  private func useLargePages() {
    guard let end = pod_table_entry(table, table.pointee.watermark) else { return }
    let used = UnsafeRawPointer(end) - UnsafeRawPointer(table)
    memory.useLargePages(used)
  }

  private func nextNumber(_ state: inout State, avoidingPhysical: Bool) -> Int32? {
    var candidate = state.free.next(from: state.next)
    var wrapped = false
    // A taken number costs one more turn; the pod's live physical tids are the only ones, and few lie in the range.
    while true {
      if let number = candidate {
        if !avoidingPhysical || !isLivePhysical(number) { return number }
        candidate = number < range.upperBound ? state.free.next(from: number + 1) : nil
      } else if !wrapped {
        wrapped = true
        candidate =
          state.free.next(from: lowestAfterWrap) ?? state.free.next(from: range.lowerBound)
      } else {
        return nil
      }
    }
  }

  private func isLivePhysical(_ number: Int32) -> Bool {
    pod_table_find_physical(table, number, POD_PHYSICAL_CURRENT).state == POD_ENTRY_LIVE.rawValue
  }

  /// Gives back a name that was allocated and never bound.
  ///
  /// - Throws: ``NameError/unknownName`` when the name isn't in the state allocated.
  public func giveBack(_ name: VirtualName<R>) throws(NameError) {
    try update(name) { entry, slot throws(NameError) in
      guard entry.pointee.state == POD_ENTRY_ALLOCATED.rawValue else { throw .unknownName }
      pod_entry_set_state(
        entry, UInt8(POD_ENTRY_DYING.rawValue),
        entry.pointee.flags | UInt8(POD_ENTRY_REAPED.rawValue))
    }
  }

  // MARK: Leases

  /// Gives an allocated name out in advance: from now on it is the lessee's to use, and no name of the pod until it is
  /// redeemed. Unused ones are given back with ``endLease(of:)``, or taken back when nothing else is free.
  ///
  /// - Parameters:
  ///   - name: A name in the state allocated, without references.
  ///   - lessee: The process that may redeem it; 0 for who keeps it for a certain object (a restore), from whom it isn't
  ///     taken back.
  /// - Throws: ``NameError/unknownName``.
  /// - Complexity: O(1).
  public func lease(
    _ name: VirtualName<R>, to lessee: VirtualName<ProcessID>
  ) throws(NameError) {
    let isLeased = state.withLock { state in
      let slot = pod_table_find_virtual(table, name.rawValue).slot
      guard slot != 0, let entry = pod_table_entry(table, slot),
        entry.pointee.state == POD_ENTRY_ALLOCATED.rawValue, entry.pointee.holds == 0,
        entry.pointee.uses == 0, entry.pointee.flags & UInt8(POD_ENTRY_LEASED.rawValue) == 0
      else { return false }
      pod_entry_set_link(entry, 0, lessee.rawValue)
      pod_entry_set_state(
        entry, UInt8(POD_ENTRY_ALLOCATED.rawValue),
        entry.pointee.flags | UInt8(POD_ENTRY_LEASED.rawValue))
      state.leases[lessee, default: []].insert(name)
      if lessee.rawValue != 0 { state.reclaimable += 1 }
      return true
    }
    if !isLeased { throw .unknownName }
  }

  /// The lessee uses one of its names: it is allocated, as if it had been just now.
  ///
  /// - Throws: ``NameError/unknownName`` when the name isn't leased to this lessee, or was taken back meanwhile;
  ///   ``NameError/nameInUse`` with `avoidingPhysical` while the number is a live physical name of the pod: then the name
  ///   stays leased.
  /// - Complexity: O(1).
  public func redeem(
    _ name: VirtualName<R>, by lessee: VirtualName<ProcessID>, avoidingPhysical: Bool = false
  ) throws(NameError) {
    let error = state.withLock { state -> NameError? in
      guard state.leases[lessee]?.contains(name) == true else { return .unknownName }
      if avoidingPhysical, isLivePhysical(name.rawValue) { return .nameInUse }
      endLease(of: name, by: lessee, &state)
      return nil
    }
    if let error { throw error }
  }

  /// The lessee needs no more names, or is gone: what it didn't use is free.
  public func endLease(of lessee: VirtualName<ProcessID>) {
    state.withLock { state in
      for name in state.leases[lessee] ?? [] { takeBack(name, from: lessee, &state) }
    }
  }

  /// The names that a lessee may use, by number.
  public func leased(to lessee: VirtualName<ProcessID>) -> [VirtualName<R>] {
    state.withLock { $0.leases[lessee]?.sorted() ?? [] }
  }

  /// Who has names in advance, by number.
  public var lessees: [VirtualName<ProcessID>] { state.withLock { $0.leases.keys.sorted() } }

  private func endLease(
    of name: VirtualName<R>, by lessee: VirtualName<ProcessID>, _ state: inout State
  ) {
    state.leases[lessee]?.remove(name)
    if state.leases[lessee]?.isEmpty == true { state.leases[lessee] = nil }
    if lessee.rawValue != 0 { state.reclaimable -= 1 }
    let slot = pod_table_find_virtual(table, name.rawValue).slot
    guard slot != 0, let entry = pod_table_entry(table, slot) else { return }
    pod_entry_set_link(entry, 0, 0)
    pod_entry_set_state(
      entry, UInt8(POD_ENTRY_ALLOCATED.rawValue),
      entry.pointee.flags & ~UInt8(POD_ENTRY_LEASED.rawValue))
  }

  private func takeBack(
    _ name: VirtualName<R>, from lessee: VirtualName<ProcessID>, _ state: inout State
  ) {
    endLease(of: name, by: lessee, &state)
    let slot = pod_table_find_virtual(table, name.rawValue).slot
    if slot != 0 { pod_table_free(table, slot) }
    state.free.giveBack(name.rawValue)
  }

  /// Takes the name back that whoever has most in advance would use last.
  @discardableResult
  private func takeBackLease(_ state: inout State) -> Bool {
    guard state.reclaimable > 0,
      let (lessee, names) = state.leases.filter({ $0.key.rawValue != 0 })
        .max(by: { ($0.value.count, $0.key) < ($1.value.count, $1.key) }),
      let name = names.max()
    else { return false }
    takeBack(name, from: lessee, &state)
    return true
  }

  /// Binds an allocated name to a physical one and makes it live.
  ///
  /// Another live entry with the same physical name has lost it (the kernel has reused the number before its end was
  /// seen here): it becomes dying first.
  ///
  /// - Throws: ``NameError/unknownName`` when the name isn't in the state allocated, or the physical one isn't a name;
  ///   ``NameError/rangeExhausted`` when there is no memory.
  /// - Complexity: O(1).
  public func bind(_ name: VirtualName<R>, to physical: PhysicalName<R>) throws(NameError) {
    try update(name) { entry, slot throws(NameError) in
      guard entry.pointee.state == POD_ENTRY_ALLOCATED.rawValue, physical.rawValue > 0 else {
        throw .unknownName
      }
      try bind(slot, to: physical)
    }
  }

  private func bind(_ slot: UInt32, to physical: PhysicalName<R>) throws(NameError) {
    guard system.insert(physical, of: pod) else { throw .rangeExhausted }
    let old = pod_table_find_physical(table, physical.rawValue, POD_PHYSICAL_CURRENT)
    if old.slot != 0, old.slot != slot, old.state == POD_ENTRY_LIVE.rawValue {
      pod_entry_set_state(
        pod_table_entry(table, old.slot), UInt8(POD_ENTRY_DYING.rawValue), old.flags)
    }
    pod_table_bind(table, slot, physical.rawValue)
  }

  /// The entry's physical name is the pod's no more, unless another of its entries has it now.
  private func giveUpPhysical(_ slot: UInt32) {
    let number = pod_table_entry(table, slot)?.pointee.physical_name ?? 0
    guard number != 0,
      pod_table_find_physical(table, number, POD_PHYSICAL_CURRENT).slot == slot
    else { return }
    system.remove(PhysicalName(rawValue: number), of: pod)
  }

  /// Moves a live name to another physical name, for a restore. (After an exec by a thread that isn't the leader, the
  /// leader's name keeps its physical number.)
  ///
  /// - Throws: ``NameError/unknownName`` when the name isn't live.
  public func rebind(_ name: VirtualName<R>, to physical: PhysicalName<R>) throws(NameError) {
    try update(name) { entry, slot throws(NameError) in
      guard entry.pointee.state == POD_ENTRY_LIVE.rawValue, physical.rawValue > 0 else {
        throw .unknownName
      }
      giveUpPhysical(slot)
      try bind(slot, to: physical)
    }
  }

  // MARK: Ends

  /// The object behind a live name has ended but can still be waited for (a zombie): the entry is dying.
  ///
  /// - Throws: ``NameError/unknownName``, also when the name never was live.
  public func retire(_ name: VirtualName<R>) throws(NameError) {
    try update(name) { entry, _ throws(NameError) in
      guard entry.pointee.state != POD_ENTRY_ALLOCATED.rawValue else { throw .unknownName }
      pod_entry_set_state(entry, UInt8(POD_ENTRY_DYING.rawValue), entry.pointee.flags)
    }
  }

  /// A dying name is live again: a leader that had ended, whose number an exec by another thread took over.
  ///
  /// - Throws: ``NameError/unknownName``, also when it was reaped.
  public func revive(_ name: VirtualName<R>) throws(NameError) {
    try update(name) { entry, _ throws(NameError) in
      guard entry.pointee.state == POD_ENTRY_DYING.rawValue,
        entry.pointee.flags & UInt8(POD_ENTRY_REAPED.rawValue) == 0
      else { throw .unknownName }
      pod_entry_set_state(entry, UInt8(POD_ENTRY_LIVE.rawValue), entry.pointee.flags)
    }
  }

  /// Nobody can wait for the object any more; the name is freed as soon as nothing shows or holds it.
  ///
  /// - Throws: ``NameError/unknownName``.
  public func reap(_ name: VirtualName<R>) throws(NameError) {
    try update(name) { entry, _ in
      pod_entry_set_state(
        entry, UInt8(POD_ENTRY_DYING.rawValue),
        entry.pointee.flags | UInt8(POD_ENTRY_REAPED.rawValue))
    }
  }

  // MARK: References

  /// Takes a reference for a transaction in flight: until ``release(_:)`` the name is neither freed nor reused, and the
  /// backend keeps the physical number from being reused (``Backend``, rule 5).
  ///
  /// A name that was reaped can be held too while something still shows it: a group outlives its leader.
  ///
  /// - Throws: ``NameError/unknownName``; ``NameError/rangeExhausted`` when 65,535 transactions hold the name.
  ///
  /// Source: paper §4.1.1 ("incremented at the beginning of the transaction").
  public func hold(_ name: VirtualName<R>) throws(NameError) {
    try update(name) { entry, _ throws(NameError) in
      guard entry.pointee.holds < UInt16.max else { throw .rangeExhausted }
      entry.pointee.holds += 1
    }
  }

  /// Ends a ``hold(_:)``.
  ///
  /// - Throws: ``NameError/unknownName``.
  public func release(_ name: VirtualName<R>) throws(NameError) {
    try update(name) { entry, _ in if entry.pointee.holds > 0 { entry.pointee.holds -= 1 } }
  }

  /// Whether a transaction in flight holds any of the entries with this physical name.
  public func isHeld(_ physical: PhysicalName<R>) -> Bool {
    state.withLock { _ in pod_table_is_physical_held(table, physical.rawValue) != 0 }
  }

  /// Another object shows this number from now on: a member joins the group or session that is named by it.
  ///
  /// - Throws: ``NameError/unknownName``.
  public func retain(_ name: VirtualName<R>) throws(NameError) {
    try update(name) { entry, _ in entry.pointee.uses += 1 }
  }

  /// Ends a ``retain(_:)``.
  ///
  /// - Throws: ``NameError/unknownName``.
  public func drop(_ name: VirtualName<R>) throws(NameError) {
    try update(name) { entry, _ in if entry.pointee.uses > 0 { entry.pointee.uses -= 1 } }
  }

  /// How many show this number (``retain(_:)``); 0 for none.
  func uses(of name: VirtualName<R>) -> UInt32 {
    state.withLock { _ in
      let slot = pod_table_find_virtual(table, name.rawValue).slot
      return slot == 0 ? 0 : pod_table_entry(table, slot)?.pointee.uses ?? 0
    }
  }

  /// Lets readers see how many objects have got names, before one more is seen.
  func publish(births: Int32) {
    state.withLock { _ in pod_table_set_births(table, UInt32(bitPattern: births)) }
  }

  // MARK: The resource's own words

  /// Sets one of the four words, 0…3, that belong to the resource.
  ///
  /// - Throws: ``NameError/unknownName``.
  public func setLink(_ index: Int, of name: VirtualName<R>, to value: Int32) throws(NameError) {
    try update(name) { entry, _ in pod_entry_set_link(entry, UInt32(index), value) }
  }

  /// Sets what tells who is behind the name from everybody who is ever given the same physical one, until it is bound to
  /// another: 0 for unknown.
  ///
  /// - Throws: ``NameError/unknownName``.
  public func setIdentity(_ identity: UInt32, of name: VirtualName<R>) throws(NameError) {
    try update(name) { entry, _ in pod_entry_set_identity(entry, identity) }
  }

  /// The process behind the name has filters of its own for its calls.
  ///
  /// - Throws: ``NameError/unknownName``.
  public func setFiltered(_ name: VirtualName<R>) throws(NameError) {
    try update(name) { entry, _ in
      pod_entry_set_state(
        entry, entry.pointee.state, entry.pointee.flags | UInt8(POD_ENTRY_FILTERED.rawValue))
    }
  }

  /// Marks an entry as a thread that isn't its group's leader, or as a leader.
  ///
  /// - Throws: ``NameError/unknownName``.
  public func setThread(_ isThread: Bool, of name: VirtualName<R>) throws(NameError) {
    try update(name) { entry, _ in
      let flag = UInt8(POD_ENTRY_THREAD.rawValue)
      let flags = isThread ? entry.pointee.flags | flag : entry.pointee.flags & ~flag
      pod_entry_set_state(entry, entry.pointee.state, flags)
    }
  }

  private func update(
    _ name: VirtualName<R>,
    _ body: (UnsafeMutablePointer<pod_entry>, UInt32) throws(NameError) -> Void
  ) throws(NameError) {
    let outcome = state.withLock { state -> Result<Void, NameError> in
      let slot = pod_table_find_virtual(table, name.rawValue).slot
      guard slot != 0, let entry = pod_table_entry(table, slot),
        entry.pointee.flags & UInt8(POD_ENTRY_LEASED.rawValue) == 0
      else { return .failure(.unknownName) }
      do throws(NameError) {
        try body(entry, slot)
      } catch {
        return .failure(error)
      }
      let reaped = entry.pointee.flags & UInt8(POD_ENTRY_REAPED.rawValue) != 0
      if entry.pointee.state == POD_ENTRY_DYING.rawValue, reaped, entry.pointee.holds == 0,
        entry.pointee.uses == 0
      {
        let number = entry.pointee.virtual_name
        giveUpPhysical(slot)
        pod_table_free(table, slot)
        state.free.giveBack(number)
      }
      return .success(())
    }
    try outcome.get()
  }
}

/// What a namespace says of one name at one moment.
public struct Entry<R: Resource>: Sendable, Hashable {
  /// The life of an entry.
  public enum State: UInt8, Sendable {
    /// Nobody's.
    case free = 0
    /// Init-pending: a virtual name without a physical one.
    case allocated = 1
    /// In use.
    case live = 2
    /// Its object has ended.
    case dying = 3
  }

  /// The virtual name.
  public let virtual: VirtualName<R>
  /// The physical name; 0 while init-pending.
  public let physical: PhysicalName<R>
  /// Where the entry is in its life.
  public let state: State
  /// Dying, and nobody can wait for it any more.
  public let isReaped: Bool
  /// Not a thread-group leader.
  public let isThread: Bool
  let link0: Int32
  let link1: Int32
  let link2: Int32
  let link3: Int32

  init(_ view: pod_entry_view) {
    virtual = VirtualName(rawValue: view.virtual_name)
    physical = PhysicalName(rawValue: view.physical_name)
    state = State(rawValue: view.state) ?? .free
    isReaped = view.flags & UInt8(POD_ENTRY_REAPED.rawValue) != 0
    isThread = view.flags & UInt8(POD_ENTRY_THREAD.rawValue) != 0
    (link0, link1, link2, link3) = view.links
  }
}

/// The table of a namespace, for who looks at it while the namespace exists.
private struct TableReference: @unchecked Sendable {
  let table: UnsafeMutablePointer<pod_table>

  func virtual(of physical: Int32) -> Int32 { pod_table_virtual_of(table, physical) }
}
