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
  /// Whether it is ``standard``: what is made of that one need be made once.
  package let isStandard: Bool
  private let rowsByNumber: [[BoundaryRow]]
  private let descriptorRows: [Syscall: [BoundaryRow]]

  /// The table of this version. One line a file of `Resources/`.
  public static let standard = BoundaryTable(
    rows: [
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
      SharedMemory.boundary,
      SemaphoreSet.boundary,
      MessageQueue.boundary,
      PosixQueue.boundary,
      Keyring.boundary,
      HostName.boundary,
      Machine.boundary,
    ].flatMap(\.self), isStandard: true)

  /// The same, but that every path is looked at (``PodConfiguration/PathCoverage/everything``).
  public static let viewingPaths: BoundaryTable = {
    let viewed = Set(PathName.viewed.map(\.call))
    return BoundaryTable(
      rows: standard.rows.filter { !viewed.contains($0.call) } + PathName.viewed)
  }()

  /// Makes a table of rows.
  public init(rows: [BoundaryRow]) { self.init(rows: rows, isStandard: false) }

  private init(rows: [BoundaryRow], isStandard: Bool) {
    self.rows = rows
    self.isStandard = isStandard
    var byNumber = [[BoundaryRow]](repeating: [], count: Int(Syscall.highestNumber) + 1)
    descriptorRows = Dictionary(grouping: rows.filter { $0.descriptor != nil }, by: \.call)
    for row in rows where row.descriptor == nil { byNumber[Int(row.call.rawValue)].append(row) }
    // The default row is tried last.
    rowsByNumber = byNumber.map { rows in
      rows.filter { !$0.variant.conditions.isEmpty } + rows.filter { $0.variant.conditions.isEmpty }
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
