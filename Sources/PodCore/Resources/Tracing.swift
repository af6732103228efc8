import SystemPackage

/// Calls that watch or control other processes, or the calls that they make.
public enum Tracing {
  private static let target = NameShape(
    ProcessID.self, minusOne: .everyone, unknown: .invalidArgument, onlyLooks: true)

  private static let thread = NameShape(ThreadID.self)

  private static func option(_ number: UInt32, _ label: String) -> Variant {
    .argument(0, is: number, label)
  }

  private static let ring =
    "its operations make calls of every kind without a system call; libraries fall back to others"
  private static let faults =
    "the supervisor would wait for the program when it reads a page whose faults the program answers, and messages "
    + "carry physical tids; so it is with unprivileged_userfaultfd 0"
  private static let strict = "strict mode kills a process for what the pod does in it"

  /// The rows of tracing. Source: include/uapi/linux/{prctl,seccomp}.h.
  public static let boundary: [BoundaryRow] = [
    .open(.ptrace, .notPermitted, until: "programs in pods can trace each other"),  // P49, S8
    .translated(
      .prctl, when: option(0x5961_6D61, "PR_SET_PTRACER"), in: [.argument(1, target)],
      performed: .inCaller),  // P50
    .refused(
      .perf_event_open, .permissionDenied,
      because: "records in its ring, which nobody sees pass, carry physical pids; so it is with "
        + "perf_event_paranoid 3"),  // P53
    .refused(
      .bpf, .notPermitted,
      because: "its programs and queries see the host's tasks; so it is without privileges"
    ),  // P54, R1
    .refused(.userfaultfd, .notPermitted, because: faults),  // P59
    .refused(
      .ioctl, when: .argument(1, is: 0xAA00, "USERFAULTFD_IOC_NEW"), .notPermitted,
      because: faults),  // P59
    .refused(
      .fanotify_init, .notPermitted,
      because: "its events carry physical pids; so it is without privileges, and inotify remains"
    ),  // P60
    .refused(.io_uring_setup, .noFunction, because: ring),  // P61
    .refused(.io_uring_enter, .noFunction, because: ring),  // P61
    .refused(.io_uring_register, .noFunction, because: ring),  // P61
    .refused(
      .seccomp, when: option(0, "SECCOMP_SET_MODE_STRICT"), .invalidArgument,
      because: strict),  // DESIGN.md §4.9
    .refused(
      .prctl,
      when: option(22, "PR_SET_SECCOMP").and(.argument(1, is: 1, "SECCOMP_MODE_STRICT")),
      .invalidArgument, because: strict),  // DESIGN.md §4.9
    .refused(
      .seccomp,
      when: option(1, "SECCOMP_SET_MODE_FILTER").and(
        .argument(1, masked: 8, is: 8, "SECCOMP_FILTER_FLAG_NEW_LISTENER")),
      .resourceBusy, because: "a process has one listener, and it can be the pod's"),  // P58
    .wrapped(
      .seccomp,
      when: option(1, "SECCOMP_SET_MODE_FILTER").and(.argument(1, masked: 8, is: 0, "")),
      out: [.result(thread)], by: InstallFilter(), performed: .inCaller),  // P58
    .wrapped(
      .prctl,
      when: option(22, "PR_SET_SECCOMP").and(.argument(1, is: 2, "SECCOMP_MODE_FILTER")),
      by: InstallFilter(), performed: .inCaller),  // P58
    .refused(
      .prctl, when: option(35, "PR_SET_MM"), .notPermitted,
      because: "the supervisor finds a program's arguments and auxiliary vector there"),  // P52, R2
  ]
}

/// Installs a filter of the program's own. With `SECCOMP_FILTER_FLAG_TSYNC` the result names a thread that couldn't
/// follow.
///
/// Source: seccomp(2); COVERAGE P58.
struct InstallFilter: Wrapper {
  func preamble(_ transaction: inout Transaction) throws(Errno) {
    transaction.host.willFilterCalls()
  }
}
