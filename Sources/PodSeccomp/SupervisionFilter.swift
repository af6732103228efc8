internal import CPodLayout
package import PodCore
package import PodLinux
internal import Synchronization
public import SystemPackage

/// The filter of a pod whose supervisor is asked by notification.
///
/// What happens to each call follows from the boundary table:
/// - a call in which no name crosses, or which passes for now, is allowed by its number alone, so that the kernel's
///   per-number cache answers; where a number has variants, those are told apart by their arguments;
/// - a call in which names cross is a notification, and so are ``watched`` calls; but the pod's own code in its processes
///   (the page) makes those by itself that reach nobody else, or nobody outside (``PodCore/Reach``), except for what it
///   tells the supervisor;
/// - a refused call has its errno from the filter, unless the embedder wants to see every call;
/// - other architectures, x32 and unknown numbers get ENOSYS (unknown numbers of this architecture are notifications
///   where every call is reported).
///
/// Rows for kinds of descriptors aren't in it: a filter doesn't see what a descriptor is.
///
/// Source: DESIGN.md §5; seccomp_unotify(2).
package enum SupervisionFilter {
  /// Calls in which no name crosses and which the supervisor still has to see: an exec, because a short attach attends
  /// it.
  package static let watched: Set<Syscall> = [.execve, .execveat]

  /// Such a call where there is no page: the end of a thread. Where there is one, threads are mostly nobody's business.
  package static let watchedWithoutPage: Set<Syscall> = [.exit]

  /// Calls that the supervisor has to see where there is a page, unless the page makes them: those that set handlers, which
  /// get stubs there.
  package static let watchedOutside: Set<Syscall> = [.rt_sigaction]

  /// What becomes of each call of a pod's programs.
  ///
  /// - Parameter isScoped: Whether all of them are in one Landlock domain that keeps their signals in it.
  package static func rules(for setup: PodSetup, isScoped: Bool = false) -> FilterRules {
    rules(
      for: setup.names.boundary, interposers: setup.names.interposers,
      reportsRefusals: setup.configuration.tracesCalls, page: setup.area?.base,
      isScoped: isScoped, paths: setup.names.paths)
  }

  /// The program of ``rules(for:isScoped:)``. That of pods without an embedder's rules is made once, and then given their
  /// page.
  ///
  /// - Parameter isScoped: As for the rules.
  /// - Throws: What `FilterRules.program` throws.
  package static func program(
    for setup: PodSetup, isScoped: Bool = false
  ) throws(Errno) -> BPFProgram {
    let isUsual = setup.names.interposers.isEmpty && !setup.configuration.tracesCalls
    guard isUsual, let table = setup.names.boundary.kind, let page = setup.area?.base else {
      return try rules(for: setup, isScoped: isScoped).program()
    }
    let kind = Kind(
      table: table, isScoped: isScoped,
      paths: setup.names.boundary.rows.map(setup.names.paths.isIdle))
    if let usual = usual.withLock({ $0[kind] }),
      let program = usual.program.with(page: page, insteadOf: usual.page)
    {
      return program
    }
    let program = try rules(for: setup, isScoped: isScoped).program()
    usual.withLock { $0[kind] = (program, page) }
    return program
  }

  /// What a pod's program depends on.
  private struct Kind: Hashable {
    let table: BoundaryTable.Kind
    let isScoped: Bool
    /// Whether each row is idle.
    let paths: [Bool]
  }

  private static let usual = Mutex<[Kind: (program: BPFProgram, page: RemoteAddress)]>([:])

  /// The same for the code that lies in the pod's processes: what it does by itself.
  ///
  /// - Parameter isScoped: As for the rules of the filter.
  package static func pageRules(for setup: PodSetup, isScoped: Bool = false) -> [UInt8] {
    let (table, interposers) = (setup.names.boundary, setup.names.interposers)
    guard let kind = table.kind, interposers.isEmpty else {
      return pageRules(of: table, interposers, isScoped)
    }
    let page = PageKind(table: kind, isScoped: isScoped)
    if let usual = usualPageRules.withLock({ $0[page] }) { return usual }
    let rules = pageRules(of: table, [], isScoped)
    usualPageRules.withLock { $0[page] = rules }
    return rules
  }

  /// What the page's rules depend on.
  private struct PageKind: Hashable {
    let table: BoundaryTable.Kind
    let isScoped: Bool
  }

  private static let usualPageRules = Mutex<[PageKind: [UInt8]]>([:])

  private static func pageRules(
    of table: BoundaryTable, _ interposers: [any Interposer], _ isScoped: Bool
  ) -> [UInt8] {
    table.pageRules(
      interposers: interposers, watched: watched.union(watchedOutside), isScoped: isScoped)
  }

  /// By number, the calls that the page has a way of its own for, and that no embedder wants to see.
  static func gainingCalls(for setup: PodSetup, isScoped: Bool) -> [Bool] {
    let rules = pageRules(for: setup, isScoped: isScoped)
    let wanted = setup.names.interposers.reduce(into: Set<Syscall>()) { $0.formUnion($1.calls) }
    var gains = (0..<Int(POD_PAGE_CALLS)).map { number in
      let at = 8 + 2 * number
      return at + 1 < rules.count && (rules[at] != 0 || rules[at + 1] != 0)
    }
    for call in [Syscall.fork, .vfork, .clone, .rt_sigaction] where !wanted.contains(call) {
      gains[Int(call.rawValue)] = true
    }
    return gains
  }

  fileprivate static func rules(
    for table: BoundaryTable, interposers: [any Interposer], reportsRefusals: Bool,
    page: RemoteAddress?, isScoped: Bool, paths: PathViews
  ) -> FilterRules {
    var rules = BoundaryFilter.rules(
      for: table, interposers: interposers,
      watched: page == nil ? watched.union(watchedWithoutPage) : watched, interposed: .notify,
      reportsRefusals: reportsRefusals, page: page, watchedOutside: watchedOutside,
      isScoped: isScoped, isIdle: paths.isIdle)
    let hypercall = UInt32(Syscall.getpid.rawValue)
    if let page, let rule = rules.rules[hypercall], !rule.cases.isEmpty {
      let told = FilterRules.Case(
        BoundaryFilter.fromPage(at: page),
        FilterRules.Condition(.argument(0), value: UInt64(POD_PAGE_MAGIC)), action: .notify)
      rules.rules[hypercall]?.cases.insert(told, at: 0)
    }
    return rules
  }
}

extension SeccompBackend {
  /// What lies in the processes of a pod without an embedder's rules, but for the table of names: code, rules and stubs.
  ///
  /// - Throws: `.fileTooLarge`, or what keeps this machine from having it.
  @_spi(Benchmarks) public static func standardArea() throws(Errno) -> [UInt8] {
    let area: PodArea
    do throws(PodArea.Failure) {
      area = try PodArea.make(tableSize: 4096)
    } catch {
      throw error.error ?? .noFunction
    }
    try area.write(
      rules: BoundaryTable.standard.pageRules(
        watched: SupervisionFilter.watched.union(SupervisionFilter.watchedOutside),
        isScoped: true))
    let size = Int(POD_AREA_TABLE)
    return withExtendedLifetime(area) {
      Array(UnsafeRawBufferPointer(start: area.start - size, count: size))
    }
  }
}
