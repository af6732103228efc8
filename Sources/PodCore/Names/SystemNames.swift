internal import CPodLayout
internal import Synchronization

/// The system-wide table of one resource: which pod of this host program has a physical name, and under which virtual one.
///
/// It never enters a pod. A physical name that is in no pod belongs to the pseudo-pod *outside*: programs in pods see it
/// as 0, and a name that an outside transaction refers to can't enter a pod until the reference ends.
///
/// Source: paper §4 (system-wide hash table) and §4.1.1 (pseudo-pod, entering while referenced).
public final class SystemNames<R: Resource>: Sendable {
  private struct State: ~Copyable {
    var owners = OwnerTable()
    var outsideHolds: [PhysicalName<R>: Int] = [:]
    /// What a pod calls a physical name that it has.
    var pods: [PodID: @Sendable (PhysicalName<R>) -> VirtualName<R>] = [:]
  }
  private let state = Mutex(State())

  /// Makes an empty table.
  public init() {}

  /// The pod and the virtual name behind a physical name; nil when it is outside.
  public func owner(of physical: PhysicalName<R>) -> (pod: PodID, name: VirtualName<R>)? {
    state.withLock { state -> (pod: PodID, name: VirtualName<R>)? in
      guard let pod = state.owners[physical.rawValue], let look = state.pods[pod] else {
        return nil
      }
      return (pod, look(physical))
    }
  }

  /// How many physical names are in pods.
  public var count: Int { state.withLock { $0.owners.count } }

  /// Takes a reference to a name that is outside all pods: while it exists, the name can't enter one.
  ///
  /// - Throws: ``NameError/unknownName`` when the name is in a pod: what is in a pod is invisible outside.
  public func holdOutside(_ physical: PhysicalName<R>) throws(NameError) {
    let isOutside = state.withLock { state in
      guard state.owners[physical.rawValue] == nil else { return false }
      state.outsideHolds[physical, default: 0] += 1
      return true
    }
    if !isOutside { throw .unknownName }
  }

  /// Ends a ``holdOutside(_:)``.
  public func releaseOutside(_ physical: PhysicalName<R>) {
    state.withLock { state in
      guard let holds = state.outsideHolds[physical] else { return }
      state.outsideHolds[physical] = holds > 1 ? holds - 1 : nil
    }
  }

  /// Whether a transaction of the outside refers to the name, so that it must not enter a pod now.
  public func isHeldOutside(_ physical: PhysicalName<R>) -> Bool {
    state.withLock { $0.outsideHolds[physical] != nil }
  }

  /// Makes a name a pod's, if no transaction of the outside refers to it: one step, so that none can begin in between.
  ///
  /// - Returns: Whether it is the pod's now; not when there is no memory either.
  func enter(_ physical: PhysicalName<R>, of pod: PodID) -> Bool {
    state.withLock { state in
      state.outsideHolds[physical] == nil && state.owners.set(physical.rawValue, to: pod)
    }
  }

  /// - Returns: Whether there was memory for it.
  func insert(_ physical: PhysicalName<R>, of pod: PodID) -> Bool {
    state.withLock { $0.owners.set(physical.rawValue, to: pod) }
  }

  /// The pod has the name no more; another pod that has it by now keeps it.
  func remove(_ physical: PhysicalName<R>, of pod: PodID) {
    state.withLock { state in
      if state.owners[physical.rawValue] == pod { state.owners.remove(physical.rawValue) }
    }
  }

  /// A pod's table says what it calls a name. It is asked with this table's lock held, and takes none.
  func join(_ pod: PodID, _ look: @escaping @Sendable (PhysicalName<R>) -> VirtualName<R>) {
    state.withLock { $0.pods[pod] = look }
  }

  func leave(_ pod: PodID) { state.withLock { $0.pods[pod] = nil } }
}

/// Which pod has a number: 8 bytes a slot, 9 to 10 a number, since there may be as many as the machine has processes.
///
/// Open addressing with linear probing; what follows a removed number moves up, so that nothing marks its place.
private struct OwnerTable: ~Copyable {
  private struct Slot {
    /// 0: empty.
    var number: Int32
    var pod: UInt32
  }

  private var slots: UnsafeMutableBufferPointer<Slot>
  private(set) var count = 0

  init() { slots = Self.allocate(16) ?? UnsafeMutableBufferPointer(start: nil, count: 0) }

  deinit { pod_region_free(slots.baseAddress) }

  /// Not from the heap, which keeps what it has when the table moves to a larger place.
  private static func allocate(_ count: Int) -> UnsafeMutableBufferPointer<Slot>? {
    guard let region = pod_region_allocate(UInt(count * MemoryLayout<Slot>.stride)) else {
      return nil
    }
    return UnsafeMutableBufferPointer(
      start: region.bindMemory(to: Slot.self, capacity: count), count: count)
  }

  /// Numbers in a row are spread: they would make one long run.
  private func home(of number: Int32) -> Int {
    let hash = UInt32(bitPattern: number) &* 2_654_435_761
    return Int((UInt64(hash) &* UInt64(slots.count)) >> 32)
  }

  private func next(_ index: Int) -> Int { index + 1 == slots.count ? 0 : index + 1 }

  private func find(_ number: Int32) -> Int {
    var index = home(of: number)
    while slots[index].number != number, slots[index].number != 0 { index = next(index) }
    return index
  }

  subscript(number: Int32) -> PodID? {
    if slots.isEmpty { return nil }
    let slot = slots[find(number)]
    return number != 0 && slot.number == number ? PodID(rawValue: slot.pod) : nil
  }

  /// - Returns: Whether there was memory for it.
  mutating func set(_ number: Int32, to pod: PodID) -> Bool {
    if number == 0 { return false }
    if slots.isEmpty || (count + 1) * 10 > slots.count * 9 { grow() }
    // One slot stays empty, where searches end.
    guard count + 1 < slots.count else { return false }
    let index = find(number)
    if slots[index].number != number { count += 1 }
    slots[index] = Slot(number: number, pod: pod.rawValue)
    return true
  }

  private mutating func grow() {
    guard let larger = Self.allocate(slots.count + slots.count / 8 + 16) else { return }
    let old = slots
    slots = larger
    for slot in old where slot.number != 0 { slots[find(slot.number)] = slot }
    pod_region_free(old.baseAddress)
  }

  mutating func remove(_ number: Int32) {
    if slots.isEmpty { return }
    var hole = find(number)
    guard number != 0, slots[hole].number == number else { return }
    count -= 1
    var index = next(hole)
    while slots[index].number != 0 {
      // Who lives between the hole and its own place stays.
      let home = home(of: slots[index].number)
      let staysBehind = hole <= index ? hole < home && home <= index : hole < home || home <= index
      if !staysBehind {
        slots[hole] = slots[index]
        hole = index
      }
      index = next(index)
    }
    slots[hole] = Slot(number: 0, pod: 0)
  }
}
