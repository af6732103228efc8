internal import PodCore

/// What a step reads and changes, coarsely: two steps whose footprints don't conflict give the same in either order.
///
/// A bit of the first kind stands for the kernel's free numbers, the references to names, the events that the supervisor
/// hasn't applied, what scenarios write down, a pod's free names, and tasks; one of the second kind for entries of
/// tables. Several things share a bit: that only costs schedules.
struct Footprint: Sendable, Hashable {
  private(set) var reads: UInt64 = 0
  private(set) var writes: UInt64 = 0
  /// What is counted up or down, in any order.
  private(set) var counts: UInt64 = 0
  private(set) var entryReads: UInt64 = 0
  private(set) var entryWrites: UInt64 = 0

  static let numbers: UInt64 = 1
  static let holds: UInt64 = 2
  static let events: UInt64 = 4
  static let notes: UInt64 = 8
  static let allTasks: UInt64 = ~0 << 12

  /// The names that a pod has free.
  static func names(of pod: PodID) -> UInt64 { 1 << UInt64(4 + pod.rawValue % 8) }
  static func task(_ number: Int32) -> UInt64 { 1 << UInt64(12 + UInt32(bitPattern: number) % 52) }

  static func reading(_ bits: UInt64) -> Footprint {
    var footprint = Footprint()
    footprint.reads = bits
    return footprint
  }

  static func writing(_ bits: UInt64) -> Footprint {
    var footprint = Footprint()
    footprint.writes = bits
    return footprint
  }

  static func counting(_ bits: UInt64) -> Footprint {
    var footprint = Footprint()
    footprint.counts = bits
    return footprint
  }

  /// Every entry of a pod, or of all.
  static func readingTables(of pod: PodID? = nil) -> Footprint {
    var footprint = Footprint()
    footprint.entryReads = pod.map { 0xFFFF << first($0) } ?? ~0
    return footprint
  }

  /// A pod has 16 bits: 8 for virtual, 8 for physical names.
  private static func first(_ pod: PodID) -> UInt64 { UInt64(pod.rawValue % 4) * 16 }

  private static func virtual(_ name: Int32, _ pod: PodID) -> UInt64 {
    1 << (first(pod) + UInt64(UInt32(bitPattern: name) % 8))
  }

  private static func physical(_ name: Int32, _ pod: PodID) -> UInt64 {
    1 << (first(pod) + 8 + UInt64(UInt32(bitPattern: name) % 8))
  }

  /// The entries of a number, whichever side's it is.
  static func readingEntry(_ number: Int32, of pod: PodID) -> Footprint {
    var footprint = Footprint()
    footprint.entryReads = virtual(number, pod) | physical(number, pod)
    return footprint
  }

  static func writingEntry(_ entry: Entry<ProcessID>, of pod: PodID) -> Footprint {
    var footprint = Footprint()
    footprint.entryWrites =
      virtual(entry.virtual.rawValue, pod) | physical(entry.physical.rawValue, pod)
    return footprint
  }

  /// What a thread's fork in flight has written down.
  static func writingBirth(of thread: VirtualName<ThreadID>, in pod: PodID) -> Footprint {
    var footprint = Footprint()
    footprint.entryWrites = virtual(thread.rawValue, pod)
    return footprint
  }

  mutating func add(_ other: Footprint) {
    reads |= other.reads
    writes |= other.writes
    counts |= other.counts
    entryReads |= other.entryReads
    entryWrites |= other.entryWrites
  }

  func conflicts(with other: Footprint) -> Bool {
    let mine = reads | writes | counts
    let theirs = other.reads | other.writes | other.counts
    return writes & theirs != 0 || other.writes & mine != 0 || counts & other.reads != 0
      || other.counts & reads != 0 || entryWrites & (other.entryReads | other.entryWrites) != 0
      || other.entryWrites & entryReads != 0
  }
}
