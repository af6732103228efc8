import CPodLayout
import PodCore
import PodLinux
import SystemPackage

/// For each row of the call: what it is for, with names that mean the caller itself and with others, and then each word
/// that any row looks at with what matches, what differs in a bit or by one, none, all, and rubbish in the upper half.
/// The other words are all ones, with which no call does anything.
func interestingArguments(of number: UInt32) -> [CallArguments] {
  let ones = CallArguments(.max, .max, .max, .max, .max, .max)
  guard let call = UInt16(exactly: number).flatMap({ Syscall(rawValue: $0) }) else {
    return [ones]
  }
  let rows = BoundaryTable.standard.rows(for: call)
  var values: [Int: Set<UInt64>] = [:]
  var starts: Set<CallArguments> = [ones]
  for row in rows {
    var met = ones
    for condition in row.variant.conditions {
      let (word, value) = (condition.argument, condition.value)
      met[word] = met[word] & ~condition.mask | value
      values[word, default: []].formUnion(
        [0, 1, .max, value, value &+ 1, value &- 1, value | ~condition.mask]
          + (0..<64).filter { condition.mask >> $0 & 1 == 1 }.map { value ^ 1 << $0 }
          + [value & 0xFFFF_FFFF | 0xDEAD_BEEF << 32])
    }
    starts.insert(met)
    for condition in row.confined ?? [] {
      let (word, value) = (condition.argument, condition.value)
      met[word] = met[word] & ~condition.mask | value
      values[word, default: []].formUnion(
        [0, 1, .max, value, value &+ 1, value | ~condition.mask, 0xDEAD_BEEF << 32]
          + (0..<64).filter { condition.mask >> $0 & 1 == 1 }.map { value ^ 1 << $0 })
    }
    starts.insert(met)
    for case .argument(let index, _) in row.inputs {
      met[index] = 0
      values[index, default: []].formUnion(
        [0, 1, 2, .max, 0xFFFF_FFFF, 1 << 31, 1 << 32, 0xDEAD_BEEF << 32])
    }
    starts.insert(met)
  }
  if call == .getpid {
    let magic = UInt64(POD_PAGE_MAGIC)
    values[0, default: []].formUnion(
      [0, magic, magic + 1, magic & 0xFFFF_FFFF, magic ^ 1 << 63, magic ^ 1, magic ^ 1 << 32])
  }
  var all = starts
  for start in starts {
    for (word, values) in values {
      for value in values {
        var arguments = start
        arguments[word] = value
        all.insert(arguments)
      }
    }
  }
  return all.sorted { left, right in
    (0..<6).lazy.map { (left[$0], right[$0]) }.first { $0 != $1 }.map { $0 < $1 } ?? false
  }
}

extension SeccompData {
  /// A call as a program sees it, of this architecture if nothing else is said.
  static func native(
    _ number: UInt32, _ arguments: CallArguments = CallArguments(),
    architecture: UInt32 = FilterRules.nativeArchitecture,
    from instructionPointer: UInt64 = 0x7FFF_1234_5678
  ) -> SeccompData {
    SeccompData(
      number: number, architecture: architecture, instructionPointer: instructionPointer,
      arguments: (0..<6).map { arguments[$0] })
  }
}

extension PodSetup {
  /// A pod's tables and configuration, as far as its filter depends on them.
  static func sample(
    traced: Bool = false, interposers: [any Interposer] = [], area: PodArea? = nil
  ) -> PodSetup {
    let names = PodNames(
      pod: PodID(rawValue: 1), system: SystemNames(), range: 1...64, capacity: 64,
      interposers: interposers, memory: { _ in area })
    // As of a pod that sees its own paths with the supervisor's help.
    names.paths.places = NoPlaces()
    names.paths.systemVTables = { _ in [] }
    var configuration = PodConfiguration()
    configuration.tracesCalls = traced
    return PodSetup(names: names, configuration: configuration) { _ in }
  }
}

/// Places of a pod that has no files.
private final class NoPlaces: PodPlaces {
  let isShownByKernel = false
  let sharedMemory: [UInt8] = []
  let queueList: [UInt8]? = nil
  let systemVTables: [UInt8] = []
  let queuePrefix: [UInt8] = []
  func list(queue: [UInt8]) throws(Errno) {}
  func unlist(queue: [UInt8]) {}
  func has(object: [UInt8]) -> Bool { false }
  func hostHas(object: [UInt8]) -> Bool? { false }
  func show(_ table: PathViews.SystemVTable, _ text: [UInt8]) throws(Errno) {}
}

/// Instruction pointers in and around the code of a pod area, and whether they are in it.
func interestingPlaces(of area: PodArea) -> [(address: UInt64, isCode: Bool)] {
  let base = area.base.rawValue
  let size = UInt64(POD_AREA_CODE_SIZE)
  return [
    (base, true), (base + 2, true), (base + size / 2 + 1, true), (base + size - 1, true),
    (base - 1, false), (base + size, false), (base + size + 1, false), (base & 0xFFFF_FFFF, false),
    (base ^ 1 << 32, false), (base ^ 1 << 44, false), (base ^ 1 << 63, false),
    (base ^ 1 << 21, false), (base ^ 1 << 31, false), (base ^ 1 << 14, false), (0, false),
    (.max, false),
  ]
}
