import SystemPackage

/// Priorities of processes, groups and users, and core scheduling. (Policies and affinities: ``ThreadID``.)
public enum Scheduling {
  private static let tid = NameShape(ThreadID.self, zero: .caller)
  private static let shown = NameShape(ThreadID.self, zero: .caller, onlyLooks: true)
  private static let pgid = NameShape(LivingGroup.self, zero: .callersGroup)
  private static let shownGroup = NameShape(
    LivingGroup.self, zero: .callersGroup, onlyLooks: true)

  private static func which(_ number: UInt32, _ label: String) -> Variant {
    .argument(0, is: number, label)
  }

  /// The rows of priorities. Source: include/uapi/linux/{resource,ioprio,prctl}.h.
  public static let boundary: [BoundaryRow] = [
    .translated(
      .getpriority, when: which(0, "PRIO_PROCESS"), in: [.argument(1, shown)]),  // P44
    .translated(
      .getpriority, when: which(1, "PRIO_PGRP"), in: [.argument(1, shownGroup)]),  // P44
    .wrapped(.getpriority, when: which(2, "PRIO_USER"), by: ForUser()),  // P44
    .translated(.setpriority, when: which(0, "PRIO_PROCESS"), in: [.argument(1, tid)]),  // P44
    .translated(.setpriority, when: which(1, "PRIO_PGRP"), in: [.argument(1, pgid)]),  // P44
    .wrapped(.setpriority, when: which(2, "PRIO_USER"), by: ForUser()),  // P44
    .translated(
      .ioprio_get, when: which(1, "IOPRIO_WHO_PROCESS"), in: [.argument(1, shown)]),  // P45
    .translated(
      .ioprio_get, when: which(2, "IOPRIO_WHO_PGRP"), in: [.argument(1, shownGroup)]),  // P45
    .wrapped(.ioprio_get, when: which(3, "IOPRIO_WHO_USER"), by: ForUser()),  // P45
    .translated(
      .ioprio_set, when: which(1, "IOPRIO_WHO_PROCESS"), in: [.argument(1, tid)]),  // P45
    .translated(
      .ioprio_set, when: which(2, "IOPRIO_WHO_PGRP"), in: [.argument(1, pgid)]),  // P45
    .wrapped(.ioprio_set, when: which(3, "IOPRIO_WHO_USER"), by: ForUser()),  // P45
    .translated(
      .prctl, when: which(62, "PR_SCHED_CORE"), in: [.argument(2, tid)],
      performed: .inCaller),  // P51
  ]
}

/// Shows or changes the priority of a user's processes: of those in the pod. Each of their threads is asked by name, and
/// the answers become one as the kernel makes it. The pod's init isn't the user's.
///
/// Source: getpriority(2), ioprio_get(2); kernel/sys.c and block/ioprio.c; COVERAGE P44, P45.
struct ForUser: Wrapper {
  func preamble(_ transaction: inout Transaction) throws(Errno) {
    let caller = transaction.caller
    // 0 is the caller's user, but for `ioprio_set` it is user 0.
    let user =
      transaction.arguments.int(1) == 0 && transaction.call != .ioprio_set
      ? try transaction.host.realUser(of: PhysicalName(rawValue: caller.physicalThread.rawValue))
      : UInt32(bitPattern: transaction.arguments.int(1))
    var found: Int?
    var refusal: Errno?
    for task in transaction.names.processes.liveTasks where task.leader != ProcessTable.initial {
      do throws(Errno) {
        let value = try transaction.whileHolding(task.virtual) {
          transaction throws(Errno) -> Int? in
          let isThere = transaction.step(.lookUp, on: task.virtual.rawValue) { transaction in
            (try? transaction.names.processes.task(task.virtual))?.physical == task.physical
          }
          guard isThere ?? true, try transaction.host.realUser(of: task.physical) == user else {
            return nil
          }
          return try ask(task.physical, in: &transaction)
        }
        guard let value = value ?? nil else { continue }
        found = found.map { better($0, value, transaction.call) } ?? value
      } catch {
        if error == .noSuchProcess { continue }
        refusal = error
        // The kernel stops at the first thread that it can't change, and goes on for the other kind of priority.
        if transaction.call == .ioprio_set { break }
      }
    }
    if let refusal { throw refusal }
    guard let found else { throw .noSuchProcess }
    transaction.result = .success(found)
  }

  /// The same call for one thread.
  private func ask(
    _ task: PhysicalName<ProcessID>, in transaction: inout Transaction
  ) throws(Errno) -> Int? {
    var arguments = transaction.arguments
    let isIO = transaction.call == .ioprio_get || transaction.call == .ioprio_set
    arguments[0] = isIO ? 1 : 0
    arguments.setInt(1, to: task.rawValue)
    let (call, caller) = (transaction.call, transaction.caller)
    return try transaction.step(.perform, on: task.rawValue) { transaction throws(Errno) in
      try transaction.host.perform(call, arguments, for: caller)
    }
  }

  /// The higher priority: a high number of getpriority's, a low one of ioprio_get's.
  private func better(_ one: Int, _ other: Int, _ call: Syscall) -> Int {
    call == .ioprio_get ? min(one, other) : max(one, other)
  }
}
