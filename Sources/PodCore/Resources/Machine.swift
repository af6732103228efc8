import SystemPackage

/// Calls that act on the whole machine or show what it does.
public enum Machine {
  private static let whole = "it acts on the whole machine"
  private static let fewer = "a pod that root starts has fewer capabilities"

  /// The rows of the machine.
  public static let boundary: [BoundaryRow] = [
    .wrapped(.sysinfo, by: CountTasks(), performed: .inCaller),  // P82
    .refused(
      .syslog, .notPermitted,
      because: "kernel messages carry physical pids; so it is with dmesg_restrict"),  // P85
    .refused(
      .acct, .notPermitted,
      because: "its records carry physical pids; so it is without privileges"),  // P80, R1
    .refused(.settimeofday, .notPermitted, because: whole),  // N21
    .refused(.clock_settime, .notPermitted, because: whole),  // N21, P56
    .native(.adjtimex, until: fewer, leaks: "the state of the host's clock"),  // N21
    .native(.clock_adjtime, until: fewer, leaks: "the state of the host's clock"),  // N21
    .refused(.reboot, .notPermitted, because: whole),  // N21
    .refused(.swapon, .notPermitted, because: whole),  // N21, R1
    .refused(.swapoff, .notPermitted, because: whole),  // N21, R1
    .refused(.iopl, .notPermitted, because: whole),  // N21
    .refused(.ioperm, .notPermitted, because: whole),  // N21
    .refused(.init_module, .notPermitted, because: whole),  // N21
    .refused(.finit_module, .notPermitted, because: whole),  // N21
    .refused(.delete_module, .notPermitted, because: whole),  // N21
    .refused(.kexec_load, .notPermitted, because: whole),  // N21
    .refused(.kexec_file_load, .notPermitted, because: whole),  // N21
  ]
}

/// Shows how many processes and threads there are: the pod's.
///
/// Source: sysinfo(2), `struct sysinfo` on 64-bit machines; COVERAGE P82.
struct CountTasks: Wrapper {
  private static let countOffset = 80

  func epilogue(_ transaction: inout Transaction) throws(Errno) {
    guard case .success? = transaction.result else { return }
    let tasks = transaction.names.processes.liveTasks.count
    try transaction.write(
      UInt16(clamping: tasks),
      to: RemoteAddress(rawValue: transaction.arguments[0]).advanced(by: Self.countOffset))
  }
}
