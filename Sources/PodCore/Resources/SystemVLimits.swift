/// How much there may be of System V objects: what sysctl(8) sets, as the kernel has it by default.
///
/// Source: proc_sys_kernel(5); include/uapi/linux/msg.h, sem.h, shm.h.
public struct SystemVLimits: Sendable, Equatable {
  /// Message queues (`msgmni`).
  public var queues = 32_000
  /// The bytes of a message (`msgmax`).
  public var message = 8_192
  /// The bytes in a queue, unless it is given more (`msgmnb`).
  public var queue: UInt64 = 16_384
  /// The semaphores of a set (`SEMMSL`).
  public var perSet = 32_000
  /// The semaphores of all sets (`SEMMNS`).
  public var semaphores = 1_024_000_000
  /// The operations of a call (`SEMOPM`).
  public var operations = 500
  /// Sets of semaphores (`SEMMNI`).
  public var sets = 32_000
  /// Segments of shared memory (`shmmni`).
  public var segments = 4_096
  /// The bytes of a segment (`shmmax`).
  public var segment = UInt64.max - 1 << 24
  /// The pages of all segments (`shmall`).
  public var pages = UInt64.max - 1 << 24

  /// The kernel's defaults.
  public init() {}

  /// The same, as far as the host program has that much for a pod: messages of 16 MiB, queues of 2 GiB, 65,536 semaphores in a
  /// set and 4,194,304 in all, calls of 65,536 operations, and 32,768 objects of a kind.
  public var bounded: SystemVLimits {
    var limits = self
    let objects = Int(IPCLimits.objects)
    limits.queues = min(queues, objects)
    limits.sets = min(sets, objects)
    limits.segments = min(segments, objects)
    limits.message = min(message, 16 << 20)
    limits.queue = min(queue, UInt64(Int32.max))
    limits.perSet = min(perSet, 65_536)
    limits.semaphores = min(semaphores, 4_194_304)
    limits.operations = min(operations, 65_536)
    return limits
  }
}

extension SegmentHost {
  /// The kernel's defaults.
  public var limits: SystemVLimits { SystemVLimits().bounded }
}
