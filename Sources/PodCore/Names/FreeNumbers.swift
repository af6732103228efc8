internal import CPodLayout

/// The numbers of a range that are not taken, with "the next free one from here" in constant time.
///
/// A tree of bitmaps with 64 children a node: a set bit means taken (leaf) or full (inner node). Four levels hold 16
/// million numbers; memory is touched only where numbers were given out.
struct FreeNumbers: ~Copyable {
  let range: ClosedRange<Int32>
  private let levels: [UnsafeMutableBufferPointer<UInt64>]

  init(range: ClosedRange<Int32>) {
    self.range = range
    var levels: [UnsafeMutableBufferPointer<UInt64>] = []
    var bits = range.count
    repeat {
      let words = (bits + 63) / 64
      // Zeroed by the system, not by a loop: pages that are never used are never touched.
      guard let region = pod_region_allocate(UInt(words * MemoryLayout<UInt64>.size)) else {
        preconditionFailure("out of memory for \(range.count) numbers")
      }
      let level = UnsafeMutableBufferPointer(
        start: region.bindMemory(to: UInt64.self, capacity: words), count: words)
      // Bits past the end count as taken, so that a search never returns them.
      if bits % 64 != 0 { level[words - 1] = ~0 << UInt64(bits % 64) }
      levels.append(level)
      bits = words
    } while bits > 1
    self.levels = levels
  }

  deinit { for level in levels { pod_region_free(level.baseAddress) } }

  func isFree(_ number: Int32) -> Bool {
    guard range.contains(number) else { return false }
    let bit = Int(number - range.lowerBound)
    return levels[0][bit / 64] & (1 << UInt64(bit % 64)) == 0
  }

  mutating func take(_ number: Int32) {
    guard range.contains(number) else { return }
    var bit = Int(number - range.lowerBound)
    for level in levels {
      level[bit / 64] |= 1 << UInt64(bit % 64)
      if level[bit / 64] != ~0 { return }
      bit /= 64
    }
  }

  mutating func giveBack(_ number: Int32) {
    guard range.contains(number) else { return }
    var bit = Int(number - range.lowerBound)
    for level in levels {
      let wasFull = level[bit / 64] == ~0
      level[bit / 64] &= ~(1 << UInt64(bit % 64))
      if !wasFull { return }
      bit /= 64
    }
  }

  /// The lowest free number that is at least `start`; nil when there is none.
  func next(from start: Int32) -> Int32? {
    guard start <= range.upperBound else { return nil }
    var bit = Int(max(start, range.lowerBound) - range.lowerBound)
    var depth = 0
    // Up: look to the right in this word, else in the parent's word.
    while true {
      let level = levels[depth]
      guard bit / 64 < level.count else { return nil }
      let free = ~level[bit / 64] & (~0 << UInt64(bit % 64))
      if free != 0 {
        bit = bit / 64 * 64 + free.trailingZeroBitCount
        break
      }
      depth += 1
      guard depth < levels.count else { return nil }
      bit = bit / 64 + 1
    }
    // Down: the first free child.
    while depth > 0 {
      depth -= 1
      bit = bit * 64 + (~levels[depth][bit]).trailingZeroBitCount
    }
    return range.lowerBound + Int32(bit)
  }
}
