/// What a backend knows of tasks of its pod that have no names yet: they were made without anybody's being told, and get
/// their names when somebody first needs them (the paper's init-pending, §4.1.2).
///
/// Called without any lock of the tables held, but for ``isThread(_:)``.
public protocol Newcomers: AnyObject, Sendable {
  /// Gives a task its name if it is one of the pod's that has none.
  ///
  /// - Parameter task: A kernel number, which may be anybody's.
  /// - Returns: Whether the table has its name now.
  func takeIn(_ task: PhysicalName<ProcessID>) -> Bool

  /// Gives their names to those members of a group that have none.
  ///
  /// - Returns: Whether there were any.
  @discardableResult
  func takeInMembers(ofGroup group: PhysicalName<ProcessID>) -> Bool

  /// Gives their names to all processes of the pod that have none.
  func takeInAll()

  /// Takes the name from a thread that has ended, of whose end nobody tells.
  func loseIfEnded(_ thread: PhysicalName<ProcessID>)

  /// Whether a number is that of a thread of the pod's which isn't its process's first. Its name may be its number although the
  /// table doesn't have it. Called while the tables are locked: it may not use them.
  func isThread(_ number: Int32) -> Bool
}
