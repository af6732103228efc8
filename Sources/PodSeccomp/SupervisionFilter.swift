internal import CPodLayout
package import PodCore
package import PodLinux
public import SystemPackage

/// The filter of a pod whose supervisor is asked by notification.
///
/// What happens to each call follows from the boundary table:
/// - a call in which no name crosses, or which passes for now, is allowed by its number alone, so that the kernel's
///   per-number cache answers; where a number has variants, those are told apart by their arguments;
/// - a call in which names cross is a notification, and so are ``watched`` calls; but the pod's own code in its processes
///   (the page) makes those by itself that reach nobody else (``PodCore/Reach``), except for what it tells the supervisor;
/// - a refused call has its errno from the filter, unless the embedder wants to see every call;
/// - other architectures, x32 and unknown numbers get ENOSYS (unknown numbers of this architecture are notifications
///   where every call is reported).
///
/// Rows for kinds of descriptors aren't in it: a filter doesn't see what a descriptor is.
///
/// Source: DESIGN.md §5; seccomp_unotify(2).
package enum SupervisionFilter {
  /// Calls in which no name crosses and which the supervisor still has to see: an exec, because a short attach attends
  /// it, and the end of a thread, which nothing else reports.
  package static let watched: Set<Syscall> = [.execve, .execveat, .exit]

  /// Calls that the supervisor has to see where there is a page, unless the page makes them: a C library's first one, at
  /// which the pod's area comes into a new program, and those that set handlers, which get stubs there.
  package static let watchedOutside: Set<Syscall> = [.set_tid_address, .rt_sigaction]

  /// What becomes of each call of a pod's programs.
  package static func rules(for setup: PodSetup) -> FilterRules {
    rules(
      for: setup.names.boundary, interposers: setup.names.interposers,
      reportsRefusals: setup.configuration.tracesCalls, page: setup.area?.base)
  }

  /// The same for the code that lies in the pod's processes: what it does by itself.
  package static func pageRules(for setup: PodSetup) -> [UInt8] {
    setup.names.boundary.pageRules(
      interposers: setup.names.interposers, watched: watched.union(watchedOutside))
  }

  fileprivate static func rules(
    for table: BoundaryTable, interposers: [any Interposer], reportsRefusals: Bool,
    page: RemoteAddress?
  ) -> FilterRules {
    var rules = BoundaryFilter.rules(
      for: table, interposers: interposers, watched: watched, interposed: .notify,
      reportsRefusals: reportsRefusals, page: page, watchedOutside: watchedOutside)
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
  /// The filter of a pod without an embedder's rules, as an array of `struct sock_filter`.
  ///
  /// - Throws: What `FilterRules.program` throws.
  @_spi(Benchmarks) public static func standardFilter() throws(Errno) -> [UInt8] {
    try SupervisionFilter.rules(
      for: .standard, interposers: [], reportsRefusals: false,
      page: RemoteAddress(rawValue: 0x6d00_0020_0000)
    ).program().bytes
  }

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
        watched: SupervisionFilter.watched.union(SupervisionFilter.watchedOutside)))
    let size = Int(POD_AREA_TABLE)
    return withExtendedLifetime(area) {
      Array(UnsafeRawBufferPointer(start: area.start - size, count: size))
    }
  }
}
