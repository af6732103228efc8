internal import PodCore
internal import SystemPackage

/// The memory of a simulated process: the bytes that were written, in regions that were mapped.
struct AddressSpace: Sendable {
  private var regions: [Range<UInt64>] = []
  private var bytes: [UInt64: UInt8] = [:]
  private var next: UInt64 = 0x10000

  mutating func map(_ size: Int) -> RemoteAddress {
    let start = next
    // A page stays unmapped between regions.
    next += (UInt64(max(size, 1)) + 0x1FFF) & ~0xFFF
    regions.append(start..<start + UInt64(max(size, 1)))
    return RemoteAddress(rawValue: start)
  }

  mutating func unmap(_ address: RemoteAddress) {
    guard let index = regions.firstIndex(where: { $0.lowerBound == address.rawValue }) else {
      return
    }
    for byte in regions[index] { bytes[byte] = nil }
    regions.remove(at: index)
  }

  private func check(_ address: RemoteAddress, _ count: Int) throws(Errno) {
    let (end, overflow) = address.rawValue.addingReportingOverflow(UInt64(count))
    let isMapped = regions.contains { $0.lowerBound <= address.rawValue && end <= $0.upperBound }
    if overflow || !isMapped { throw .badAddress }
  }

  func read(_ address: RemoteAddress, _ count: Int) throws(Errno) -> [UInt8] {
    try check(address, count)
    return (0..<UInt64(count)).map { bytes[address.rawValue + $0] ?? 0 }
  }

  mutating func write(_ values: [UInt8], to address: RemoteAddress) throws(Errno) {
    try check(address, values.count)
    for (offset, value) in values.enumerated() { bytes[address.rawValue + UInt64(offset)] = value }
  }

  func word(_ address: RemoteAddress) throws(Errno) -> UInt32 {
    try read(address, 4).reversed().reduce(0) { $0 << 8 | UInt32($1) }
  }

  mutating func setWord(_ address: RemoteAddress, _ value: UInt32) throws(Errno) {
    try write((0..<4).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }, to: address)
  }
}
