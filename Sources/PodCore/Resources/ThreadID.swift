public import SystemPackage

/// Thread ids.
///
/// All calls that take one accept, besides the pod's virtual names, a physical tid of the caller's own process, since
/// that is what libraries find in a thread's control block (DESIGN.md §4.5). A virtual name wins, but for a thread
/// group's own members.
public enum ThreadID: Resource {
  /// "thread".
  public static let label = "thread"
  /// ESRCH.
  public static let unknownName = Errno.noSuchProcess
  /// The pod's init.
  public static let untouchable: Int32? = 1

  /// The kernel's number of a thread.
  ///
  /// - Throws: `.noSuchProcess`.
  public static func resolve(
    _ name: Int32, in transaction: inout Transaction
  ) throws(Errno) -> Int32 {
    let process = transaction.caller.process
    try transaction.hold(name)
    let physical = try transaction.step(.lookUp, on: name) { transaction throws(Errno) in
      let processes = transaction.names.processes
      do throws(Errno) {
        return try processes.task(VirtualName(rawValue: name)).physical.rawValue
      } catch {
        guard
          let own = try? processes.space.entry(PhysicalName<ProcessID>(rawValue: name)),
          own.state == .live, own.leader == process
        else { throw error }
        return name
      }
    }
    return physical ?? name
  }

  /// The pod's name of a thread.
  public static func virtualize(_ name: Int32, in names: PodNames) -> Int32? {
    ProcessID.virtualize(name, in: names)
  }

  private static let tid = NameShape(ThreadID.self, zero: .caller)
  private static let shown = NameShape(ThreadID.self, zero: .caller, onlyLooks: true)

  /// The rows of thread ids.
  public static let boundary: [BoundaryRow] = [
    .answered(.gettid, out: .result(tid)),  // P2
    .native(
      .set_tid_address, until: "never: lock words must hold what the kernel compares",
      leaks: "the caller's own physical tid"),  // P11
    .translated(.sched_setscheduler, in: [.argument(0, tid)]),  // P43
    .translated(.sched_getscheduler, in: [.argument(0, shown)]),  // P43
    .translated(.sched_setparam, in: [.argument(0, tid)]),  // P43
    .translated(.sched_getparam, in: [.argument(0, shown)]),  // P43
    .translated(.sched_setattr, in: [.argument(0, tid)]),  // P43
    .translated(.sched_getattr, in: [.argument(0, shown)]),  // P43
    .translated(.sched_setaffinity, in: [.argument(0, tid)]),  // P43
    .translated(.sched_getaffinity, in: [.argument(0, shown)]),  // P43
    .translated(.sched_rr_get_interval, in: [.argument(0, shown)]),  // P43
    .translated(.get_robust_list, in: [.argument(0, tid)]),  // P48
  ]

  /// Whether a word that `clone` stores a thread id in stays physical: it lies in the thread's control block, where the
  /// C library keeps what it compares lock words with, and the kernel compares those with physical ids.
  ///
  /// - Parameters:
  ///   - word: The address given with `CLONE_PARENT_SETTID` or `CLONE_CHILD_SETTID`.
  ///   - threadPointer: The TLS base of the thread whose id is stored.
  ///
  /// glibc's word is 0x2d0 bytes and musl's 0x30 bytes into the block.
  public static func staysPhysical(word: RemoteAddress, threadPointer: RemoteAddress) -> Bool {
    word >= threadPointer && word.rawValue - threadPointer.rawValue < 4096
  }
}
