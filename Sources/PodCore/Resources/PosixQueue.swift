/// POSIX message queues.
public enum PosixQueue {
  private static let until = "a pod has queue names of its own"

  /// The rows of POSIX message queues. Messages carry no names: ``NamelessCalls``.
  public static let boundary: [BoundaryRow] = [
    .native(.mq_open, until: until, leaks: "host queue names"),  // I19, R1
    .native(.mq_unlink, until: until, leaks: "host queue names"),  // I19
    .native(
      .mq_notify, until: until,
      leaks: "the physical pid of who is notified, in /dev/mqueue"),  // P57, I19
  ]
}
