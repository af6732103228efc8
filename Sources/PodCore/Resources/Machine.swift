import SystemPackage

/// Calls that act on the whole machine or show what it does.
public enum Machine {
  private static let whole = "it acts on the whole machine"
  private static let fewer = "a pod that root starts has fewer capabilities"

  /// The rows of the machine.
  public static let boundary: [BoundaryRow] = [
    .native(
      .sysinfo, until: "counts are made per pod",
      leaks: "the number of the host's processes"),  // P82
    .refused(.syslog, .notPermitted, because: "kernel messages carry physical pids"),  // P85
    .refused(.acct, .notPermitted, because: "its records carry physical pids"),  // P80, R1
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
