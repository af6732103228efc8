/// System V semaphores.
public enum SemaphoreSet {
  /// The rows of semaphore sets.
  public static let boundary: [BoundaryRow] = [
    .native(.semget, until: SharedMemory.until, leaks: "host keys and ids"),  // I1, I2
    .native(.semop, until: SharedMemory.until, leaks: "host ids"),  // I4
    .native(.semtimedop, until: SharedMemory.until, leaks: "host ids"),  // I4
    .native(
      .semctl, until: SharedMemory.until,
      leaks: "host keys and ids, the physical pid of the last operation, user ids"),  // I6–I11
  ]
}
