/// POSIX message queues.
public enum PosixQueue {
  private static let until = "a pod has queue names of its own"

  /// The rows of POSIX message queues. Messages carry no names, and who sent one is told by a
  /// signal, where it is translated: ``NamelessCalls``.
  public static let boundary: [BoundaryRow] = [
    .native(
      .mq_open, until: until,
      leaks: "host queue names; physical pids of who is notified, in /dev/mqueue"),  // I19, P57, R1
    .native(.mq_unlink, until: until, leaks: "host queue names"),  // I19
  ]
}
