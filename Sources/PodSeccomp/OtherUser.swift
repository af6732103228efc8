internal import CLinux
internal import Glibc
internal import PodCore
internal import PodLinux
internal import SystemPackage

/// Access to processes of other users, for a host program of root's without the capability to trace them.
///
/// Whose process may be traced is decided by the real user and group of the thread that asks. So for this one call the
/// receiver's thread, and no other thread of the host program, acts for the other user.
///
/// Source: ptrace(2), "Ptrace access mode checking"; credentials(7); the raw calls change one thread only.
enum OtherUser {
  /// Runs `body` with the real user and group of a task.
  ///
  /// - Throws: What `body` throws; `.notPermitted` when the task has several users, or this program can't act for them.
  static func acting<T>(for task: Int32, _ body: () throws(Errno) -> T) throws(Errno) -> T {
    guard let user = single("Uid", of: task), let group = single("Gid", of: task) else {
      throw .notPermitted
    }
    let (ownUser, ownGroup) = (getuid(), getgid())
    guard user != ownUser || group != ownGroup, change(.setresgid, to: group) else {
      throw .notPermitted
    }
    defer { _ = change(.setresgid, to: ownGroup) }
    guard change(.setresuid, to: user) else { throw .notPermitted }
    defer { _ = change(.setresuid, to: ownUser) }
    return try body()
  }

  /// The one id that a task has in all its roles.
  private static func single(_ field: String, of task: Int32) -> UInt32? {
    guard let ids = ProcessStatus.numbers(field, of: task), let first = ids.first,
      ids.prefix(3).allSatisfy({ $0 == first })
    else { return nil }
    return UInt32(exactly: first)
  }

  private static func change(_ call: Syscall, to real: UInt32) -> Bool {
    let same = UInt64(UInt32.max)
    return CLinux_syscall(Int(call.rawValue), UInt64(real), same, same, 0, 0, 0) == 0
  }
}
