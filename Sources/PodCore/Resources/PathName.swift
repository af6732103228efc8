import SystemPackage

/// Paths of files, and what files are known by: owners, handles, inode and device numbers.
public enum PathName {
  static let until = "a pod has a root directory of its own"
  static let paths = "host paths"
  private static let pathsAndOwners = "host paths and user ids"
  private static let identity = "host user ids, inode and device numbers"
  private static let listing = "/proc and /dev/pts are the pod's"
  private static let entries =
    "physical pids and terminals of the host, as names in /proc and /dev/pts"

  /// The rows of paths.
  public static let boundary: [BoundaryRow] = [
    .native(.open, until: until, leaks: paths),  // R1
    .native(.openat, until: until, leaks: paths),  // R1
    .native(.openat2, until: until, leaks: paths),  // R1
    .native(.creat, until: until, leaks: paths),  // R1
    .native(.stat, until: until, leaks: pathsAndOwners),  // R1, N8
    .native(.lstat, until: until, leaks: pathsAndOwners),  // R1, N8
    .native(.newfstatat, until: until, leaks: pathsAndOwners),  // R1, N8
    .native(.statx, until: until, leaks: pathsAndOwners),  // R1, N8
    .native(.access, until: until, leaks: paths),  // R1, N10
    .native(.faccessat, until: until, leaks: paths),  // R1, N10
    .native(.faccessat2, until: until, leaks: paths),  // R1, N10
    .native(.readlink, until: until, leaks: paths),  // R1, F3, F4
    .native(.readlinkat, until: until, leaks: paths),  // R1, F3, F4
    .native(.chdir, until: until, leaks: paths),  // R1
    .native(.fchdir, until: until, leaks: paths),  // R1
    .native(.getcwd, until: until, leaks: paths),  // R1
    .native(.mkdir, until: until, leaks: paths),  // R1
    .native(.mkdirat, until: until, leaks: paths),  // R1
    .native(.rmdir, until: until, leaks: paths),  // R1
    .native(.unlink, until: until, leaks: paths),  // R1
    .native(.unlinkat, until: until, leaks: paths),  // R1
    .native(.rename, until: until, leaks: paths),  // R1
    .native(.renameat, until: until, leaks: paths),  // R1
    .native(.renameat2, until: until, leaks: paths),  // R1
    .native(.link, until: until, leaks: paths),  // R1
    .native(.linkat, until: until, leaks: paths),  // R1
    .native(.symlink, until: until, leaks: paths),  // R1
    .native(.symlinkat, until: until, leaks: paths),  // R1
    .native(.mknod, until: until, leaks: paths),  // R1, D3
    .native(.mknodat, until: until, leaks: paths),  // R1, D3
    .native(.chmod, until: until, leaks: pathsAndOwners),  // R1, N9
    .native(.fchmodat, until: until, leaks: pathsAndOwners),  // R1, N9
    .native(.fchmodat2, until: until, leaks: pathsAndOwners),  // R1, N9
    .native(.chown, until: until, leaks: pathsAndOwners),  // R1, N9
    .native(.lchown, until: until, leaks: pathsAndOwners),  // R1, N9
    .native(.fchownat, until: until, leaks: pathsAndOwners),  // R1, N9
    .native(.utime, until: until, leaks: paths),  // R1
    .native(.utimes, until: until, leaks: paths),  // R1
    .native(.futimesat, until: until, leaks: paths),  // R1
    .native(.utimensat, until: until, leaks: paths),  // R1
    .native(.truncate, until: until, leaks: paths),  // R1
    .native(.statfs, until: until, leaks: paths),  // R1
    .native(.setxattr, until: until, leaks: pathsAndOwners),  // R1, N19
    .native(.lsetxattr, until: until, leaks: pathsAndOwners),  // R1, N19
    .native(.fsetxattr, until: UserID.until, leaks: UserID.leaks),  // N19
    .native(.getxattr, until: until, leaks: pathsAndOwners),  // R1, N19
    .native(.lgetxattr, until: until, leaks: pathsAndOwners),  // R1, N19
    .native(.fgetxattr, until: UserID.until, leaks: UserID.leaks),  // N19
    .native(.listxattr, until: until, leaks: paths),  // R1
    .native(.llistxattr, until: until, leaks: paths),  // R1
    .native(.flistxattr, until: until, leaks: paths),  // R1
    .native(.removexattr, until: until, leaks: paths),  // R1
    .native(.lremovexattr, until: until, leaks: paths),  // R1
    .native(.fremovexattr, until: until, leaks: paths),  // R1
    .native(.setxattrat, until: until, leaks: pathsAndOwners),  // R1, N19
    .native(.getxattrat, until: until, leaks: pathsAndOwners),  // R1, N19
    .native(.listxattrat, until: until, leaks: paths),  // R1
    .native(.removexattrat, until: until, leaks: paths),  // R1
    .native(.file_getattr, until: until, leaks: paths),  // R1
    .native(.file_setattr, until: until, leaks: paths),  // R1
    .native(.inotify_add_watch, until: until, leaks: paths),  // R1
    .native(.fanotify_mark, until: until, leaks: paths),  // R1
    .native(.execve, until: until, leaks: paths),  // R1, R2, N11
    .native(.execveat, until: until, leaks: paths),  // R1, R2, N11
    .native(.uselib, until: until, leaks: paths),  // R1
    .native(.fstat, until: until, leaks: identity),  // N8, R4, T7, P37
    .native(.fstatfs, until: until, leaks: "that a descriptor is a process's"),  // P37
    .native(.ustat, until: until, leaks: "host device numbers"),  // R4
    .native(.getdents, until: listing, leaks: entries),  // F1, T6, R1
    .native(.getdents64, until: listing, leaks: entries),  // F1, T6, R1
    .native(.name_to_handle_at, until: until, leaks: "host file handles"),  // R1, R4, P37
    .refused(
      .open_by_handle_at, .notPermitted,
      because: "a handle is a name outside any root, and of any process"),  // R1, R4, P37
  ]
}
