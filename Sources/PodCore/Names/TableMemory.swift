internal import CPodLayout

/// The memory that a table of names lives in: zeroed, of a fixed size, never moved.
///
/// By default it is the host program's alone. A backend may give memory that it also maps, read-only, into the processes of
/// the pod (``Backend/tableMemory(for:size:)``).
///
/// Source: DESIGN.md §4.4.
public protocol TableMemory: AnyObject, Sendable {
  /// Where it begins: on a cache line of its own, and writable by the host program as long as the object lives.
  var start: UnsafeMutableRawPointer { get }
  /// How many bytes there are.
  var size: Int { get }
  /// The table is used in earnest, so that each look-up would miss the translation buffer: its first `used` bytes now, and
  /// others later.
  func useLargePages(_ used: Int)
}

/// Memory of the host program's alone.
final class OwnMemory: TableMemory {
  nonisolated(unsafe) let start: UnsafeMutableRawPointer
  let size: Int

  /// - Returns: nil when there is none.
  init?(size: Int) {
    guard let region = pod_region_allocate(UInt(size)) else { return nil }
    (start, self.size) = (region, size)
  }

  deinit { pod_region_free(start) }

  func useLargePages(_ used: Int) { pod_region_use_large_pages(start, UInt(used)) }
}
