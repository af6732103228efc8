/// System V shared memory.
public enum SharedMemory {
  static let until = "a pod has System V ids of its own"

  /// The rows of shared memory.
  public static let boundary: [BoundaryRow] = [
    .native(.shmget, until: until, leaks: "host keys and ids"),  // I1, I2
    .native(.shmat, until: until, leaks: "host ids"),  // I3
    .native(.shmctl, until: until, leaks: "host keys and ids, physical pids, user ids"),  // I6–I10
  ]
}
