import SystemPackage

/// The kernel's own namespaces: a pod has those that it was started in.
public enum KernelNamespaces {
  /// The flags that make namespaces, from the lowest bit up.
  ///
  /// Source: include/uapi/linux/sched.h.
  private static let flags: [(flag: UInt64, label: String)] = [
    (0x80, "CLONE_NEWTIME"), (0x2_0000, "CLONE_NEWNS"), (0x200_0000, "CLONE_NEWCGROUP"),
    (0x400_0000, "CLONE_NEWUTS"), (0x800_0000, "CLONE_NEWIPC"), (0x1000_0000, "CLONE_NEWUSER"),
    (0x2000_0000, "CLONE_NEWPID"), (0x4000_0000, "CLONE_NEWNET"),
  ]

  /// The flags that `clone` has: it knows no CLONE_NEWTIME, whose bit belongs to its exit signal.
  ///
  /// Source: kernel/fork.c, `SYSCALL_DEFINE5(clone, …)`.
  static let flagsOfClone: UInt64 = 0x7E02_0000

  private static let nested = "a nested pid namespace hides physical ids"

  /// The rows of namespaces. Without a flag, `unshare` is nameless, and `clone` makes children.
  public static let boundary: [BoundaryRow] =
    [
      .refused(.clone, .notPermitted, because: nested),  // P15
      .refused(.setns, .notPermitted, because: nested),  // P15
    ]
    + flags.map { flag, label in
      // One row is for each call: that of the lowest flag in it.
      let lower = (flag - 1) & (flagsOfClone | 0x80)
      return .refused(
        .unshare, when: .argument(0, masked: lower | flag, is: flag, label), .notPermitted,
        because: nested)  // P15
    }
}
