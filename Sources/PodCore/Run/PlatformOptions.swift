extension Pod {
  /// What else a program is started with.
  public struct PlatformOptions: Sendable, Hashable {
    /// The user to become; nil keeps the host program's.
    public var userID: UInt32?
    /// The group to become; nil keeps the host program's.
    public var groupID: UInt32?
    /// The supplementary groups to have; nil keeps the host program's.
    public var supplementaryGroups: [UInt32]?
    /// The file mode creation mask; nil keeps the host program's.
    public var umask: UInt32?
    /// How the program is ended when the task that runs it is cancelled or the closure of `run` throws. It is killed after
    /// the last step.
    public var teardownSequence: [TeardownStep] = []

    /// Keeps everything.
    public init() {}
  }
}
