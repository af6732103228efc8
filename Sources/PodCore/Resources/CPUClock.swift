import SystemPackage

/// Clock ids that encode a process or thread, and timers that send their signal to a thread.
///
/// Positive clock ids name nobody and are not interposed on, nor are those of clock descriptors.
public enum CPUClock {
  /// Negative ids have in their low three bits which clock it is and whether it is a thread's; 3 is a descriptor's.
  ///
  /// Source: include/linux/posix-timers.h.
  private static let process: [Variant] = [
    .argument(0, masked: 0x8000_0007, is: 0x8000_0002, "CPU clock of a process"),
    .argument(0, masked: 0x8000_0006, is: 0x8000_0000, "profiling clock of a process"),
  ]
  private static let thread: [Variant] = [
    .argument(0, masked: 0x8000_0004, is: 0x8000_0004, "CPU clock of a thread")
  ]

  private static func rows(
    _ call: Syscall, of clocks: [Variant], performed: Performance
  ) -> [BoundaryRow] {
    clocks.map {
      .wrapped(
        call, when: $0, by: NameClock(), naming: [.argument(0, name)], performed: performed)
    }
  }

  /// The rows of clocks. The kernel shows a thread's only to its own process.
  public static let boundary: [BoundaryRow] =
    rows(.clock_gettime, of: process, performed: .byValue)  // P56
    + rows(.clock_gettime, of: thread, performed: .inCaller)  // P56
    + rows(.clock_getres, of: process, performed: .byValue)  // P56
    + rows(.clock_getres, of: thread, performed: .inCaller)  // P56
    + rows(.clock_adjtime, of: process + thread, performed: .byValue)  // P56
    + rows(.clock_nanosleep, of: process + thread, performed: .inCallerBlocking)  // P56
    + [
      .wrapped(
        .timer_create, by: NameTimerTarget(),
        naming: [.argument(0, name), .field(16, of: 1, name)], performed: .inCaller)  // P55, P56
    ]

  private static let name = NameShape(
    ThreadID.self, unknown: .invalidArgument, onlyLooks: true)
  private static let descriptorClock: Int32 = 3

  /// The clock id with the kernel's number for the process or thread that it encodes.
  static func physical(
    of clock: Int32, in transaction: inout Transaction
  ) throws(Errno) -> Int32 {
    guard clock < 0, clock & 7 != descriptorClock else { return clock }
    let physical = try name.physical(of: ~(clock >> 3), in: &transaction)
    return ~physical << 3 | clock & 7
  }
}

/// Names the process or thread whose time a clock counts. It only shows how much that one has run.
///
/// Source: clock_getcpuclockid(3); COVERAGE P56.
struct NameClock: Wrapper {
  func preamble(_ transaction: inout Transaction) throws(Errno) {
    let clock = transaction.arguments.int(0)
    transaction.physicalArguments.setInt(
      0, to: try CPUClock.physical(of: clock, in: &transaction))
  }
}

/// Names the thread that gets a timer's signals. The kernel confines it to the caller's process.
///
/// Source: timer_create(2), `struct sigevent`; COVERAGE P55.
struct NameTimerTarget: Wrapper {
  private static let eventSize = 64
  private static let notifyOffset = 12
  private static let threadOffset = 16
  private static let notifyThread: Int32 = 4
  private static let thread = NameShape(
    ThreadID.self, unknown: .invalidArgument, onlyLooks: true)

  func preamble(_ transaction: inout Transaction) throws(Errno) {
    try NameClock().preamble(&transaction)
    try transaction.passCopy(ofArgument: 1, byteCount: Self.eventSize) {
      event, transaction throws(Errno) in
      guard event.load(fromByteOffset: Self.notifyOffset, as: Int32.self) == Self.notifyThread
      else { return }
      let name = event.load(fromByteOffset: Self.threadOffset, as: Int32.self)
      let physical = try Self.thread.physical(of: name, in: &transaction)
      event.storeBytes(of: physical, toByteOffset: Self.threadOffset, as: Int32.self)
    }
  }
}
