internal import PodCore
internal import SystemPackage

/// The memory of a simulated process: the bytes that were written, in regions that were mapped.
struct AddressSpace: Sendable {
  private var regions: [Range<UInt64>] = []
  private var bytes: [UInt64: UInt8] = [:]
  private var next: UInt64 = 0x10000
  /// What is mapped at the beginning of a region.
  private(set) var segments: [UInt64: MockSegment] = [:]

  /// Maps a segment; like the kernel, anywhere or where nothing else is.
  mutating func map(
    _ segment: MockSegment, at address: RemoteAddress?, replaces: Bool
  ) -> CallResult {
    let start: UInt64
    if let address {
      // Behind what programs have.
      if address.rawValue >> 47 != 0 { return .failure(.noMemory) }
      let wanted = address.rawValue..<address.rawValue + segment.size
      let taken = regions.filter { $0.overlaps(wanted) }
      if !taken.isEmpty, !replaces { return .failure(.invalidArgument) }
      for region in taken { unmap(RemoteAddress(rawValue: region.lowerBound)) }
      regions.append(wanted)
      start = address.rawValue
    } else {
      next = (next + 0xFFF) & ~0xFFF
      start = map(Int(segment.size)).rawValue
    }
    segments[start] = segment
    return .success(Int(start))
  }

  private func segment(of byte: UInt64) -> (segment: MockSegment, offset: UInt64)? {
    for (start, segment) in segments where start <= byte && byte - start < segment.size {
      return (segment, byte - start)
    }
    return nil
  }

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
    if segments.removeValue(forKey: address.rawValue) == nil {
      for byte in regions[index] { bytes[byte] = nil }
    }
    regions.remove(at: index)
  }

  private func check(_ address: RemoteAddress, _ count: Int) throws(Errno) {
    let (end, overflow) = address.rawValue.addingReportingOverflow(UInt64(count))
    let isMapped = regions.contains { $0.lowerBound <= address.rawValue && end <= $0.upperBound }
    if overflow || !isMapped { throw .badAddress }
  }

  func read(_ address: RemoteAddress, _ count: Int) throws(Errno) -> [UInt8] {
    try check(address, count)
    return (0..<UInt64(count)).map { offset in
      let byte = address.rawValue + offset
      if let found = segment(of: byte) { return found.segment[found.offset] }
      return bytes[byte] ?? 0
    }
  }

  mutating func write(_ values: [UInt8], to address: RemoteAddress) throws(Errno) {
    try check(address, values.count)
    for (offset, value) in values.enumerated() {
      let byte = address.rawValue + UInt64(offset)
      if let found = segment(of: byte) {
        found.segment[found.offset] = value
      } else {
        bytes[byte] = value
      }
    }
  }

  func word(_ address: RemoteAddress) throws(Errno) -> UInt32 {
    try read(address, 4).reversed().reduce(0) { $0 << 8 | UInt32($1) }
  }

  mutating func setWord(_ address: RemoteAddress, _ value: UInt32) throws(Errno) {
    try write((0..<4).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }, to: address)
  }
}
