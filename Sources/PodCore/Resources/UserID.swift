import SystemPackage

/// User and group ids of processes. (Owners of files by path: ``PathName``.)
public enum UserID {
  static let until = "a pod has user ids of its own"
  static let leaks = "host user ids"

  /// The rows of user and group ids.
  public static let boundary: [BoundaryRow] = [
    .native(.getuid, until: until, leaks: leaks),  // N5
    .native(.geteuid, until: until, leaks: leaks),  // N5
    .native(.getgid, until: until, leaks: leaks),  // N5
    .native(.getegid, until: until, leaks: leaks),  // N5
    .native(.getresuid, until: until, leaks: leaks),  // N5
    .native(.getresgid, until: until, leaks: leaks),  // N5
    .native(.getgroups, until: until, leaks: leaks),  // N5
    .wrapped(.setuid, by: ChangeCredentials(), performed: .inCaller),  // N6
    .wrapped(.setgid, by: ChangeCredentials(), performed: .inCaller),  // N6
    .wrapped(.setreuid, by: ChangeCredentials(), performed: .inCaller),  // N6
    .wrapped(.setregid, by: ChangeCredentials(), performed: .inCaller),  // N6
    .wrapped(.setresuid, by: ChangeCredentials(), performed: .inCaller),  // N6
    .wrapped(.setresgid, by: ChangeCredentials(), performed: .inCaller),  // N6
    .wrapped(.setfsuid, by: ChangeCredentials(), performed: .inCaller),  // N6
    .wrapped(.setfsgid, by: ChangeCredentials(), performed: .inCaller),  // N6
    .wrapped(.setgroups, by: ChangeCredentials(), performed: .inCaller),  // N6
    .native(.fchown, until: until, leaks: leaks),  // N9
    .native(.quotactl, until: until, leaks: leaks),  // P80, N18, R1
    .native(.quotactl_fd, until: until, leaks: leaks),  // P80, N18
  ]
}

extension UserID {
  /// Whether a call sets the ids that a thread has already: it is nothing then, whatever else such a call would change. make(1) does
  /// so in each of its children.
  ///
  /// - Parameters:
  ///   - call: The call; of another than setresuid and setresgid it isn't known.
  ///   - arguments: Its arguments.
  ///   - ids: The caller's real, effective and saved user ids, or group ids if it is about groups; nil when it is gone.
  ///
  /// Source: setresuid(2); kernel/sys.c, `__sys_setresuid`.
  package static func isIdle(
    _ call: Syscall, _ arguments: CallArguments, ids: (_ ofGroups: Bool) -> [Int]?
  ) -> Bool {
    guard call == .setresuid || call == .setresgid, let ids = ids(call == .setresgid),
      ids.count >= 3
    else { return false }
    return (0..<3).allSatisfy { index in
      let id = UInt32(truncatingIfNeeded: arguments[index])
      return id == .max || Int(id) == ids[index]
    }
  }
}

/// Changes who a thread acts for, which can take the supervisor's access to its memory away.
///
/// Source: DESIGN.md §4.6, §4.7; credentials(7); PR_SET_DUMPABLE(2const): the flag is reset when an effective or
/// file-system id changes.
struct ChangeCredentials: Wrapper {
  func epilogue(_ transaction: inout Transaction) throws(Errno) {
    guard case .success? = transaction.result else { return }
    let state = transaction.host.callerState
    // What the program took away stays away, also when the change was none; else the kernel's flag is shown.
    if state.dumpable != 0 { state.dumpable = nil }
    state.credentialsChanged()
  }
}
