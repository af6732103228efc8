internal import CLinux
internal import Glibc
package import PodCore
internal import Synchronization
package import SystemPackage

/// The bytes of a segment of System V shared memory: a file in memory that nobody can make shorter or longer.
///
/// Whether anybody has it mapped, or open, the kernel says when it is asked for a lease for writing, which it gives only to
/// the one who has the file open alone. So there are two open files: one is kept, and goes nowhere; mappings are made of the
/// other one, which is closed before the question.
///
/// Source: memfd_create(2); fcntl(2), "Leases"; fs/locks.c, `check_conflicting_open`.
package final class SegmentFile: SegmentMemory {
  package let identity: UInt64
  private let kept: OwnedDescriptor
  private let shared = Mutex<Int32>(-1)
  private let share: DescriptorShare

  /// Makes a file of zeros.
  ///
  /// - Throws: `.noMemory` when there is no memory, or no descriptor left for it, or the host program may make no files
  ///   of this size; `.invalidArgument` when there are no pages of this size.
  package init(_ request: SegmentRequest) throws(Errno) {
    share = try .take()
    var flags = UInt32(CLinux_MFD_ALLOW_SEALING | CLinux_MFD_EXEC)
    if let power = request.largePages {
      let usesLargePages: UInt32 = 4
      flags |= usesLargePages | UInt32(power) << 26
    }
    var size = request.size
    let made = OwnedDescriptor(owning: CLinux_memfd_create(request.name, flags))
    var status = stat()
    guard made.rawValue >= 0, fstat(made.rawValue, &status) == 0 else {
      // ENODEV: the machine has no such pages; natively that is EINVAL.
      let isUnknown = made.rawValue == -ENODEV || made.rawValue == -EINVAL
      throw isUnknown && request.largePages != nil ? .invalidArgument : .noMemory
    }
    if request.largePages != nil {
      // A file of large pages is of as many whole ones.
      let page = UInt64(status.st_blksize)
      let (sum, overflow) = size.addingReportingOverflow(page - 1)
      if overflow { throw .noMemory }
      size = sum / page * page
    }
    guard let length = Int(exactly: size), Self.mayMake(size),
      ftruncate(made.rawValue, length) == 0
    else { throw .noMemory }
    if request.largePages != nil {
      // Its pages are reserved when they are mapped for the first time, and stay so.
      let reserved = mmap(nil, length, PROT_READ | PROT_WRITE, MAP_SHARED, made.rawValue, 0)
      guard let reserved, reserved != MAP_FAILED else { throw .noMemory }
      munmap(reserved, length)
    }
    let seals = CLinux_F_SEAL_SHRINK | CLinux_F_SEAL_GROW | CLinux_F_SEAL_SEAL
    guard CLinux_add_seals(made.rawValue, Int32(seals)) == 0 else { throw .noMemory }
    // What memfd_create gives isn't counted among the files that are open.
    kept = OwnedDescriptor(owning: Self.reopened(made.rawValue, O_RDWR))
    guard kept.rawValue >= 0 else { throw .noMemory }
    identity = MemoryMap.identity(
      inode: UInt64(status.st_ino), minor: CLinux_minor(status.st_dev),
      major: CLinux_major(status.st_dev))
    // Who breaks a lease has a signal sent: to a thread that blocks it, and not to the host program.
    _ = CLinux_own_signals(kept.rawValue, CLinux_gettid())
  }

  deinit { shared.withLock { if $0 >= 0 { close($0) } } }

  /// Whether the host program may make a file of this size: else the kernel sends a signal that ends it.
  ///
  /// Source: getrlimit(2), RLIMIT_FSIZE.
  private static func mayMake(_ size: UInt64) -> Bool {
    let fileSize: Int32 = 1
    return size <= CLinux_limit(0, fileSize)
  }

  private static func reopened(_ descriptor: Int32, _ flags: Int32) -> Int32 {
    CLinux_open("/proc/self/fd/\(descriptor)", flags | O_CLOEXEC | O_NONBLOCK, 0)
  }

  /// A descriptor to map the file by, which the caller closes.
  ///
  /// - Throws: `.noMemory` when the host program has none left.
  package func descriptor(isWritable: Bool) throws(Errno) -> OwnedDescriptor {
    let number = shared.withLock { shared -> Int32 in
      if !isWritable { return Self.reopened(kept.rawValue, O_RDONLY) }
      if shared < 0 { shared = Self.reopened(kept.rawValue, O_RDWR) }
      return shared < 0 ? shared : CLinux_duplicate(shared, 0)
    }
    guard number >= 0 else { throw .noMemory }
    return OwnedDescriptor(owning: number)
  }

  package var isMapped: Bool {
    shared.withLock { shared in
      if shared >= 0 { close(shared) }
      shared = -1
      return CLinux_is_open_elsewhere(kept.rawValue) != 0
    }
  }

  package func mappings(in processes: [PhysicalName<ProcessID>]) -> UInt64 {
    guard isMapped else { return 0 }
    var sum: UInt64 = 0
    var seen: [Int32] = []
    for process in processes {
      let count = MemoryMap.count(of: identity, in: process.rawValue)
      if count == 0 || seen.contains(where: { MemoryMap.isShared(process.rawValue, $0) }) {
        continue
      }
      seen.append(process.rawValue)
      sum += count
    }
    return sum
  }

  package func allMappings(in processes: [PhysicalName<ProcessID>]) -> [UInt64: UInt64] {
    var sums: [UInt64: UInt64] = [:]
    var seen: [Int32] = []
    for process in processes {
      if seen.contains(where: { MemoryMap.isShared(process.rawValue, $0) }) { continue }
      let counts = MemoryMap.counts(in: process.rawValue)
      if !counts.isEmpty { seen.append(process.rawValue) }
      sums.merge(counts) { $0 + $1 }
    }
    return sums
  }

  package var resident: UInt64 {
    var status = stat()
    return fstat(kept.rawValue, &status) == 0 ? UInt64(status.st_blocks) * 512 : 0
  }

  /// What of a segment is mapped in a process, as it was mapped at an address; nil when nothing is.
  ///
  /// - Parameter file: `/proc/PID/maps`.
  ///
  /// Source: ipc/shm.c, `ksys_shmdt`.
  package static func pieces(
    at address: RemoteAddress, in file: FileDescriptor, _ table: SegmentTable
  ) -> (identity: UInt64, pieces: [Range<UInt64>])? {
    guard address.rawValue % SegmentTable.pageSize == 0 else { return nil }
    var found: (identity: UInt64, end: UInt64)?
    var pieces: [Range<UInt64>] = []
    var next = address.rawValue
    // What remains of it begins anywhere behind the address, but is where it would have been.
    while next < found?.end ?? .max, let mapping = MemoryMap.next(from: next, in: file) {
      next = mapping.end
      let isInPlace =
        mapping.start >= address.rawValue
        && mapping.start - address.rawValue == mapping.offset
      guard isInPlace, mapping.inode != 0 else { continue }
      if let found {
        if mapping.identity == found.identity, mapping.start < found.end {
          pieces.append(mapping.start..<mapping.end)
        }
      } else if let size = table.size(ofMemory: mapping.identity) {
        let (end, overflow) = address.rawValue.addingReportingOverflow((size + 4095) / 4096 * 4096)
        found = (mapping.identity, overflow ? .max : end)
        pieces.append(mapping.start..<mapping.end)
      }
    }
    return found.map { ($0.identity, pieces) }
  }
}

/// What one segment takes of the host program's descriptors: all segments of all pods together at most half of them, so that a
/// program in a pod can't take the host's last one.
private final class DescriptorShare: Sendable {
  private static let inUse = Atomic<UInt64>(0)
  private static let each: UInt64 = 2

  /// - Throws: `.noMemory` when none is left.
  static func take() throws(Errno) -> DescriptorShare {
    let limitNumber: Int32 = 7
    let share = DescriptorShare()
    guard inUse.load(ordering: .relaxed) <= CLinux_limit(0, limitNumber) / 2 else {
      throw .noMemory
    }
    return share
  }

  private init() { Self.inUse.add(Self.each, ordering: .relaxed) }
  deinit { Self.inUse.subtract(Self.each, ordering: .relaxed) }
}
