/// System V message queues.
public enum MessageQueue {
  /// The rows of message queues.
  public static let boundary: [BoundaryRow] = [
    .native(.msgget, until: SharedMemory.until, leaks: "host keys and ids"),  // I1, I2
    .native(.msgsnd, until: SharedMemory.until, leaks: "host ids"),  // I5
    .native(.msgrcv, until: SharedMemory.until, leaks: "host ids"),  // I5
    .native(
      .msgctl, until: SharedMemory.until,
      leaks: "host keys and ids, physical pids of last sender and receiver, user ids"),  // I6–I10
  ]
}
