import SystemPackage

/// The bytes of one segment of System V shared memory, held outside the pod's processes. When the value goes they stay
/// only where they are mapped.
public protocol SegmentMemory: AnyObject, Sendable {
  /// Tells it from all others that there are at the time.
  var identity: UInt64 { get }

  /// Whether a process may have it mapped; true where that can't be found out.
  var isMapped: Bool { get }

  /// In how many mappings the processes have it. Memory that several of them share counts once.
  ///
  /// - Complexity: Looks through all mappings of all the processes.
  func mappings(in processes: [PhysicalName<ProcessID>]) -> UInt64

  /// The same of all such bytes, by their ``identity``: in one look.
  func allMappings(in processes: [PhysicalName<ProcessID>]) -> [UInt64: UInt64]

  /// How many bytes of it there are.
  var resident: UInt64 { get }
}

/// What is wanted for a segment.
public struct SegmentRequest: Sendable {
  /// How many bytes, at least 1.
  public var size: UInt64
  /// The size of its pages as a power of two, 0 for the machine's usual large ones; nil for its own.
  public var largePages: Int?
  /// The key as `maps` shows it.
  public var name: String
}

/// What a process is to have mapped, as the kernel does it in `shmat`.
public struct SegmentMapping: Sendable {
  /// The bytes.
  public let memory: any SegmentMemory
  /// How many of them.
  public let size: UInt64
  /// Where it has to be; nil for anywhere.
  public let address: RemoteAddress?
  /// Whether what is there is replaced (`SHM_REMAP`).
  public let replaces: Bool
  /// Whether it may be written to.
  public let isWritable: Bool
  /// Whether it may be executed.
  public let isExecutable: Bool
}

/// What the kernel's part of a call is that changes what the caller has mapped.
public enum SegmentChange: Sendable {
  /// Its result is the address; `.invalidArgument` where something is already.
  case map(SegmentMapping)
  /// What was mapped at the address of one segment goes, as far as it is still there. Its result is the segment's
  /// ``SegmentMemory/identity``; `.invalidArgument` when nothing is.
  case unmap(RemoteAddress, SegmentTable)
}

extension TransactionHost {
  /// Nobody's rights, and no memory.
  public var segmentHost: any SegmentHost { NoSegments() }
}

private struct NoSegments: SegmentHost {
  var lockedMemoryLimit: UInt64 { 0 }
  func makeMemory(_ request: SegmentRequest) throws(Errno) -> any SegmentMemory {
    throw .noMemory
  }
  func checkMemory(for size: UInt64) throws(Errno) {}
}
