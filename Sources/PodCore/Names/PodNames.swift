internal import Synchronization

/// Every table of names of one pod, and what is done at its boundary.
public final class PodNames: Sendable {
  /// The pod's number.
  public let pod: PodID
  /// What happens where names cross: follows from ``objects``.
  public var boundary: BoundaryTable {
    _read {
      let tables = hasKernelObjects.load(ordering: .relaxed) ? kernelBoundary : emulatingBoundary
      yield tables.made.table
    }
  }
  private let emulatingBoundary: LazyTable
  private let kernelBoundary: LazyTable
  private let hasKernelObjects = Atomic(false)
  /// The embedder's rules, outermost first.
  public let interposers: [any Interposer]
  /// Where the machine's ABI puts things that wrappers have to find.
  public let abi: CallABI
  /// Processes, threads, groups and sessions: one number space.
  public let processes: ProcessTable
  /// System V message queues and semaphore sets.
  public let systemV: SystemVObjects
  /// System V shared memory.
  public let segments: SegmentTable
  /// Which paths lead to what is the pod's own.
  public let paths = PathViews()

  /// Makes the tables of a new pod.
  ///
  /// - Parameters:
  ///   - pod: The pod's number.
  ///   - system: The host program's table of physical process names.
  ///   - range: Virtual process numbers that may be given out, from 1; the first is the pod's init.
  ///   - capacity: The most processes and threads at one time.
  ///   - policy: How process numbers are chosen.
  ///   - lateNames: Of how many ended tasks the names are remembered, for signals that arrive after their sender's end.
  ///   - boundary: The boundary table, for objects that the host program has; made when it is first needed.
  ///   - kernelBoundary: The same for objects that the kernel has.
  ///   - interposers: The embedder's rules.
  ///   - abi: Of the machine.
  ///   - memory: Gives the table of processes so many bytes of memory, zeroed; nil for some of the host program's own.
  ///   - snapshot: Names that the pod's processes are to have (``PodConfiguration/restoredNames``). Those that don't fit the
  ///     range or the capacity are left out.
  public init(
    pod: PodID, system: SystemNames<ProcessID>, range: ClosedRange<Int32> = 1...4_194_303,
    capacity: Int = 131_072, policy: AllocationPolicy = .compact, lateNames: Int = 1_024,
    boundary: @autoclosure @escaping @Sendable () -> BoundaryTable = .standard,
    kernelBoundary: @autoclosure @escaping @Sendable () -> BoundaryTable = .kernelObjects,
    interposers: [any Interposer] = [],
    abi: CallABI = .x86_64, memory: (_ size: Int) -> (any TableMemory)? = { _ in nil },
    restoring snapshot: PodSnapshot? = nil
  ) {
    self.pod = pod
    emulatingBoundary = LazyTable(boundary)
    self.kernelBoundary = LazyTable(kernelBoundary)
    self.interposers = interposers
    self.abi = abi
    let (systemV, segments) = (SystemVObjects(), SegmentTable())
    (self.systemV, self.segments) = (systemV, segments)
    processes = ProcessTable(
      pod: pod, system: system, range: range, capacity: capacity, policy: policy,
      lateNames: lateNames, memory: memory, restoring: snapshot,
      whenEnded: {
        systemV.ended($0)
        segments.sweep()
      },
      whenExecuted: {
        systemV.executed($0)
        segments.sweep()
      })
    showEmulatedObjects()
  }

  /// Who has the pod's System V objects and POSIX message queues.
  public var objects: ObjectProvider {
    hasKernelObjects.load(ordering: .relaxed) ? .kernel : .hostProgram
  }

  /// Objects are the host program's, as they are in the beginning.
  ///
  /// - Precondition: No program of the pod has run.
  package func emulateObjects() {
    hasKernelObjects.store(false, ordering: .relaxed)
    showEmulatedObjects()
  }

  /// Makes what ``leaveObjectsToKernel(rows:)`` needs, ahead of it.
  package func expectKernelObjects() { _ = kernelBoundary.made }

  /// Objects are the kernel's, in a namespace that the pod's processes have to themselves.
  ///
  /// - Precondition: No program of the pod has run.
  /// - Parameter rows: The namespace's `/proc/sysvipc` as it is at a moment, with physical process numbers
  ///   (``PathViews/SystemVTable/rows(of:)``). Called by a supervisor's thread: it has to return at once.
  package func leaveObjectsToKernel(
    rows: @escaping @Sendable (PathViews.SystemVTable) -> [[Int64]]
  ) {
    hasKernelObjects.store(true, ordering: .relaxed)
    paths.systemVTables = { [processes] table in table.text(translating: rows(table), processes) }
  }

  private func showEmulatedObjects() {
    paths.systemVTables = { [processes, systemV, segments] table in
      switch table {
      case .msg: table.text(systemV.queueRows)
      case .sem: table.text(systemV.setRows)
      case .shm: table.text(segments.rows(processes.liveProcesses.map(\.physical)))
      }
    }
  }

  /// A process was made with `CLONE_SYSVSEM`: it shares with its maker what is to be undone to semaphores. For newborns
  /// that have a name and of which nobody spoke before.
  package func shareUndo(of maker: VirtualName<ProcessID>, with child: VirtualName<ProcessID>) {
    systemV.shareUndo(of: maker, with: child)
    // It may have ended meanwhile, and nobody tells of that again.
    if (try? processes.task(child)) == nil { systemV.ended(child) }
  }

  /// The pod's names as they are at this moment.
  ///
  /// - Complexity: As the number of names, and sorts them; forks and ends wait meanwhile, other calls don't.
  public func snapshot() -> PodSnapshot {
    processes.hearAll()
    return PodSnapshot(unchecked: processes.snapshot())
  }
}

/// A boundary table that is made when it is first asked for: it takes a tenth of a millisecond, and a pod uses one of two.
private final class LazyTable: Sendable {
  final class Made: Sendable {
    let table: BoundaryTable

    init(_ table: BoundaryTable) { self.table = table }
  }

  private let reference = AtomicLazyReference<Made>()
  private let make: @Sendable () -> BoundaryTable

  init(_ make: @escaping @Sendable () -> BoundaryTable) { self.make = make }

  /// The table, the same each time.
  var made: Made { reference.load() ?? reference.storeIfNil(Made(make())) }
}

/// Who has a pod's System V objects and POSIX message queues.
public enum ObjectProvider: String, Sendable, Hashable, CaseIterable {
  /// The host program: they are emulated, and no kernel object is made. (POSIX queues are the kernel's, behind names that
  /// nobody outside guesses.)
  case hostProgram
  /// The kernel, in an IPC namespace that the pod has to itself.
  case kernel
}

/// Where a machine's system-call ABI puts the arguments of `clone`, which are not in one order everywhere.
///
/// Source: clone(2), "C library/kernel differences".
public struct CallABI: Sendable, Hashable {
  /// The index of `clone`'s argument with the address for the child's tid.
  public let cloneChildWord: Int
  /// The index of `clone`'s argument with the new TLS base.
  public let cloneThreadPointer: Int

  // swift-format-ignore: AlwaysUseLowerCamelCase
  /// x86-64.
  public static let x86_64 = CallABI(cloneChildWord: 3, cloneThreadPointer: 4)
  /// 64-bit ARM.
  public static let aarch64 = CallABI(cloneChildWord: 4, cloneThreadPointer: 3)
}
