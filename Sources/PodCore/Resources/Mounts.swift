/// The root directory and what is mounted below it.
public enum Mounts {
  private static let mounts = "the host's mounts"

  /// The rows of mounts.
  public static let boundary: [BoundaryRow] = [
    .native(.chroot, until: PathName.until, leaks: PathName.paths),  // R1, N21
    .native(.pivot_root, until: PathName.until, leaks: PathName.paths),  // R1, N21
    .native(.mount, until: PathName.until, leaks: PathName.paths),  // R1, N21
    .native(.umount2, until: PathName.until, leaks: PathName.paths),  // R1, N21
    .native(.move_mount, until: PathName.until, leaks: PathName.paths),  // R1
    .native(.open_tree, until: PathName.until, leaks: PathName.paths),  // R1
    .native(.open_tree_attr, until: PathName.until, leaks: PathName.paths),  // R1
    .native(.fsopen, until: PathName.until, leaks: PathName.paths),  // R1
    .native(.fsconfig, until: PathName.until, leaks: PathName.paths),  // R1
    .native(.fsmount, until: PathName.until, leaks: PathName.paths),  // R1
    .native(.fspick, until: PathName.until, leaks: PathName.paths),  // R1
    .native(.mount_setattr, until: PathName.until, leaks: PathName.paths),  // R1
    .native(.statmount, until: PathName.until, leaks: mounts),  // R1, F12
    .native(.listmount, until: PathName.until, leaks: mounts),  // R1, F12
  ]
}
