internal import CLinux

/// Keeps a thread that is attached to, and the one that attaches to it, on one CPU while they take turns: a wake-up that
/// crosses CPUs costs several times the rest of a turn (DESIGN.md §2).
///
/// The affinity of the thread is another for so long. It stands still or makes calls for us meanwhile and can't see it;
/// others could.
package struct SharedCPU: ~Copyable {
  private let own: CPUSet
  private let theirs: CPUSet
  private let shared: CPUSet

  /// Brings a thread to the CPU that the calling one is on, and keeps both there. nil when that isn't allowed to both.
  package init?(with tid: Int32) {
    let cpu = Int(CLinux_cpu())
    guard let own = CPUSet(of: 0), let theirs = CPUSet(of: tid), let shared = CPUSet(only: cpu),
      own.contains(cpu), theirs.contains(cpu), shared.set(for: tid)
    else { return nil }
    guard shared.set(for: 0) else {
      theirs.set(for: tid)
      return nil
    }
    (self.own, self.theirs, self.shared) = (own, theirs, shared)
  }

  /// Gives a thread, or a newborn of it, its own CPUs back.
  package borrowing func giveBack(to tid: Int32) {
    // Somebody may have set others meanwhile.
    if CPUSet(of: tid) == shared { theirs.set(for: tid) }
  }

  /// The calling thread may run anywhere again.
  deinit { own.set(for: 0) }
}

/// A set of CPUs, of the first 1,024.
private struct CPUSet: Equatable {
  private var words: InlineArray<16, UInt64> = .init(repeating: 0)

  /// The CPUs that a thread may run on; nil when there is no such thread, or the machine has more CPUs.
  init?(of tid: Int32) {
    var found = words
    let result = withUnsafeMutableBytes(of: &found) { bytes in
      CLinux_sched_getaffinity(tid, bytes.bindMemory(to: UInt64.self).baseAddress, 16)
    }
    guard result > 0 else { return nil }
    words = found
  }

  init?(only cpu: Int) {
    guard (0..<1024).contains(cpu) else { return nil }
    words[cpu / 64] = 1 << UInt64(cpu % 64)
  }

  func contains(_ cpu: Int) -> Bool {
    (0..<1024).contains(cpu) && words[cpu / 64] >> UInt64(cpu % 64) & 1 != 0
  }

  @discardableResult
  func set(for tid: Int32) -> Bool {
    var words = words
    return withUnsafeBytes(of: &words) { bytes in
      CLinux_sched_setaffinity(tid, bytes.bindMemory(to: UInt64.self).baseAddress, 16) == 0
    }
  }

  static func == (left: CPUSet, right: CPUSet) -> Bool {
    (0..<16).allSatisfy { left.words[$0] == right.words[$0] }
  }
}
