internal import PodCore
internal import Synchronization

/// What one receiver has done. Only its own thread writes, so that no counting waits for another CPU; anybody reads.
final class ReceiverCounts: Sendable {
  /// Words that nobody else's lie on a cache line with.
  private let words: Words
  private struct Words: @unchecked Sendable {
    let start: UnsafeMutablePointer<Atomic<UInt64>>
  }

  private static let calls = 512
  private static let hypercalls = 64
  private static let attaches = calls + hypercalls
  private static let injections = attaches + calls
  private static let size = injections + 1
  private static let line = 64

  init() {
    let bytes = (Self.size * 8 + Self.line - 1) / Self.line * Self.line
    let start = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: Self.line)
      .bindMemory(to: Atomic<UInt64>.self, capacity: Self.size)
    for index in 0..<Self.size { (start + index).initialize(to: Atomic(0)) }
    words = Words(start: start)
  }

  deinit {
    words.start.deinitialize(count: Self.size)
    UnsafeMutableRawPointer(words.start).deallocate()
  }

  private func increase(_ index: Int) {
    let word = words.start + index
    word.pointee.store(word.pointee.load(ordering: .relaxed) &+ 1, ordering: .relaxed)
  }

  private func value(_ index: Int) -> UInt64 {
    words.start[index].load(ordering: .relaxed)
  }

  /// A notification was taken.
  func took(call number: Int) { if 0..<Self.calls ~= number { increase(number) } }
  /// It is one of the page's own.
  func took(hypercall number: UInt32) {
    if number < Self.hypercalls { increase(Self.calls + Int(number)) }
  }
  /// A thread that has made a call was attached to.
  func attached(call number: Int) {
    if 0..<Self.calls ~= number { increase(Self.attaches + number) }
  }
  /// The pod's area was sent into a program.
  func injected() { increase(Self.injections) }

  /// Adds what this receiver has done.
  func add(to sum: inout PodStatistics) {
    for number in 0..<Self.calls {
      guard let call = Syscall(rawValue: UInt16(number)) else { continue }
      let (notifications, attaches) = (value(number), value(Self.attaches + number))
      if notifications > 0 { sum.notifications[call, default: 0] += notifications }
      if attaches > 0 { sum.attaches[call, default: 0] += attaches }
    }
    for number in 0..<Self.hypercalls where value(Self.calls + number) > 0 {
      sum.hypercalls[UInt32(number), default: 0] += value(Self.calls + number)
    }
    sum.injections += value(Self.injections)
    sum.receivers += 1
  }
}
