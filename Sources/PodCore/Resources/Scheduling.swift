import SystemPackage

/// Priorities of processes, groups and users, and core scheduling. (Policies and affinities: ``ThreadID``.)
public enum Scheduling {
  private static let tid = NameShape(ThreadID.self, zero: .caller)
  private static let pgid = NameShape(ProcessGroup.self, zero: .callersGroup)
  private static let byUser = "what a user's processes are is limited to the pod"

  private static func which(_ number: UInt32, _ label: String) -> Variant {
    .argument(0, is: number, label)
  }

  /// The rows of priorities. Source: include/uapi/linux/{resource,ioprio,prctl}.h.
  public static let boundary: [BoundaryRow] = [
    .translated(.getpriority, when: which(0, "PRIO_PROCESS"), in: [.argument(1, tid)]),  // P44
    .translated(.getpriority, when: which(1, "PRIO_PGRP"), in: [.argument(1, pgid)]),  // P44
    .open(.getpriority, when: which(2, "PRIO_USER"), .notPermitted, until: byUser),  // P44
    .translated(.setpriority, when: which(0, "PRIO_PROCESS"), in: [.argument(1, tid)]),  // P44
    .translated(.setpriority, when: which(1, "PRIO_PGRP"), in: [.argument(1, pgid)]),  // P44
    .open(.setpriority, when: which(2, "PRIO_USER"), .notPermitted, until: byUser),  // P44
    .translated(.ioprio_get, when: which(1, "IOPRIO_WHO_PROCESS"), in: [.argument(1, tid)]),  // P45
    .translated(.ioprio_get, when: which(2, "IOPRIO_WHO_PGRP"), in: [.argument(1, pgid)]),  // P45
    .open(.ioprio_get, when: which(3, "IOPRIO_WHO_USER"), .notPermitted, until: byUser),  // P45
    .translated(.ioprio_set, when: which(1, "IOPRIO_WHO_PROCESS"), in: [.argument(1, tid)]),  // P45
    .translated(.ioprio_set, when: which(2, "IOPRIO_WHO_PGRP"), in: [.argument(1, pgid)]),  // P45
    .open(.ioprio_set, when: which(3, "IOPRIO_WHO_USER"), .notPermitted, until: byUser),  // P45
    .translated(
      .prctl, when: which(62, "PR_SCHED_CORE"), in: [.argument(2, tid)],
      performed: .inCaller),  // P51
  ]
}
