internal import SystemPackage

/// The one list of what happens where names cross the system-call boundary.
///
/// It is made of the rows of each resource's file; every call number of the kernel is in ``NamelessCalls`` or has rows
/// here, and a call keyed by a constant ends in a default row or is in ``NamelessCalls/defaults``. The mock kernel, the tracer and the filter generator read
/// it; `podrun syscalls` prints it.
///
/// Source: DESIGN.md §4.1; COVERAGE.md.
public struct BoundaryTable: Sendable {
  /// All rows, in the order of the resources.
  public let rows: [BoundaryRow]
  /// Which of this version's tables it is, nil for others: what is made of those need be made once.
  package let kind: Kind?
  private let rowsByNumber: [[BoundaryRow]]
  private let descriptorRows: [Syscall: [BoundaryRow]]

  /// The tables of this version.
  package struct Kind: Hashable, Sendable {
    /// Who has System V objects and POSIX message queues.
    package let objects: ObjectProvider
    /// Which calls with paths are looked at.
    package let coverage: PodConfiguration.PathCoverage
  }

  /// The table of this version, with objects that are emulated.
  public static let standard = BoundaryTable(.hostProgram)

  /// The same with objects that are the kernel's, in an IPC namespace of the pod's own: only what shows processes is in it.
  public static let kernelObjects = BoundaryTable(.kernel)

  /// As ``standard``, but that every path is looked at (``PodConfiguration/PathCoverage/everything``).
  public static let viewingPaths = BoundaryTable(standard, viewingPathsWith: .hostProgram)

  /// As ``kernelObjects``, but that every path is looked at.
  public static let viewingPathsWithKernelObjects = BoundaryTable(
    kernelObjects, viewingPathsWith: .kernel)

  /// One of this version's tables.
  ///
  /// - Parameters:
  ///   - objects: Who has System V objects and POSIX message queues.
  ///   - coverage: Which calls with paths are looked at.
  public static func standard(
    _ objects: ObjectProvider, _ coverage: PodConfiguration.PathCoverage
  ) -> BoundaryTable {
    switch (objects, coverage) {
    case (.hostProgram, .objects): standard
    case (.hostProgram, .everything): viewingPaths
    case (.kernel, .objects): kernelObjects
    case (.kernel, .everything): viewingPathsWithKernelObjects
    }
  }

  /// One line a file of `Resources/`.
  private init(_ objects: ObjectProvider) {
    let isKernel = objects == .kernel
    let rows = [
      ProcessID.boundary,
      ThreadID.boundary,
      ProcessGroup.boundary,
      SessionID.boundary,
      ProcessHandle.boundary,
      KernelNamespaces.boundary,
      Signals.boundary,
      Scheduling.boundary,
      CPUClock.boundary,
      FutexOwner.boundary,
      FileOwner.boundary,
      Credentials.boundary,
      Capability.boundary,
      UserID.boundary,
      Tracing.boundary,
      PathName.boundary,
      Mounts.boundary,
      Terminal.boundary,
      SocketAddress.boundary,
      isKernel ? SharedMemory.kernelObjects : SharedMemory.boundary,
      isKernel ? SemaphoreSet.kernelObjects : SemaphoreSet.boundary,
      isKernel ? MessageQueue.kernelObjects : MessageQueue.boundary,
      isKernel ? [] : PosixQueue.boundary,
      Keyring.boundary,
      HostName.boundary,
      Machine.boundary,
    ]
    self.init(rows: rows.flatMap(\.self), kind: Kind(objects: objects, coverage: .objects))
  }

  private init(_ table: BoundaryTable, viewingPathsWith objects: ObjectProvider) {
    let viewed = Set(PathName.viewed.map(\.call))
    self.init(
      rows: table.rows.filter { !viewed.contains($0.call) } + PathName.viewed,
      kind: Kind(objects: objects, coverage: .everything))
  }

  /// Makes a table of rows.
  public init(rows: [BoundaryRow]) { self.init(rows: rows, kind: nil) }

  private init(rows: [BoundaryRow], kind: Kind?) {
    self.rows = rows
    self.kind = kind
    var byNumber = [[BoundaryRow]](repeating: [], count: Int(Syscall.highestNumber) + 1)
    descriptorRows = Dictionary(grouping: rows.filter { $0.descriptor != nil }, by: \.call)
    for row in rows where row.descriptor == nil { byNumber[Int(row.call.rawValue)].append(row) }
    // The default row is tried last.
    rowsByNumber = byNumber.map { rows in
      if rows.count < 2 { return rows }
      return rows.filter { !$0.variant.conditions.isEmpty }
        + rows.filter { $0.variant.conditions.isEmpty }
    }
  }

  /// All rows of a call that are for any descriptor, the default row last; empty when it is nameless.
  public func rows(for call: Syscall) -> [BoundaryRow] { rowsByNumber[Int(call.rawValue)] }

  /// The rows of a call that are for some kinds of descriptors only.
  public func descriptorRows(for call: Syscall) -> [BoundaryRow] { descriptorRows[call] ?? [] }

  /// The row that is for a call on the descriptor in argument 0; nil when it is no kind that a row is for.
  ///
  /// - Parameter kind: Tells what a descriptor of the caller is; asked only where the call has such rows.
  public func descriptorRow(
    for call: Syscall, _ arguments: CallArguments, kind: (Int32) -> DescriptorKind?
  ) -> BoundaryRow? {
    guard let rows = descriptorRows[call], let kind = kind(arguments.int(0)) else { return nil }
    return rows.first { $0.descriptor == kind }
  }

  /// The row that is for a call with these arguments, whatever its descriptors are; nil when no name crosses.
  public func row(for call: Syscall, _ arguments: CallArguments) -> BoundaryRow? {
    rowsByNumber[Int(call.rawValue)].first { $0.variant.matches(arguments) }
  }
}
