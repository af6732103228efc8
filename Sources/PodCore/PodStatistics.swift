/// How often a pod's supervisor has been asked since the pod began, and what that took: counts that don't depend on how fast the
/// machine is.
///
/// Each is a sum over threads that go on counting while it is made: two that belong together may be one apart.
public struct PodStatistics: Sendable, Hashable {
  /// Calls of the pod's programs that waited for the supervisor, by the call. Calls that the supervisor made a program make, and
  /// what the pod's code in a process tells and asks (``hypercalls``), are among them.
  public var notifications: [Syscall: UInt64] = [:]
  /// What the pod's code in its processes told and asked, by its number in `pod_page.h`; in ``notifications`` these are
  /// ``Syscall/getpid``.
  public var hypercalls: [UInt32: UInt64] = [:]
  /// How often the supervisor attached to a thread by ptrace(2), by the call that the thread had made.
  public var attaches: [Syscall: UInt64] = [:]
  /// Into how many programs the supervisor began to bring the pod's code.
  public var injections: UInt64 = 0
  /// How many reports of stopped threads were served, under the ptrace backend.
  public var stops: UInt64 = 0
  /// How many threads of the host program wait for calls of this pod.
  public var receivers = 0

  /// Nothing yet.
  public init() {}

  /// All calls that waited for the supervisor.
  public var notificationCount: UInt64 { notifications.values.reduce(0, +) }

  /// How often the supervisor attached to a thread.
  public var attachCount: UInt64 { attaches.values.reduce(0, +) }

  /// What has come since an earlier time; receivers are those of now.
  ///
  /// - Parameter earlier: Of the same pod.
  public func since(_ earlier: PodStatistics) -> PodStatistics {
    var difference = self
    difference.notifications = Self.difference(notifications, earlier.notifications)
    difference.hypercalls = Self.difference(hypercalls, earlier.hypercalls)
    difference.attaches = Self.difference(attaches, earlier.attaches)
    difference.injections = Self.difference(injections, earlier.injections)
    difference.stops = Self.difference(stops, earlier.stops)
    return difference
  }

  private static func difference<Key>(
    _ counts: [Key: UInt64], _ earlier: [Key: UInt64]
  ) -> [Key: UInt64] {
    counts.merging(earlier) { difference($0, $1) }
      .filter { counts[$0.key] != nil && $0.value > 0 }
  }

  private static func difference(_ count: UInt64, _ earlier: UInt64) -> UInt64 {
    count > earlier ? count - earlier : 0
  }
}
