internal import PodCore
internal import PodLinux
internal import SystemPackage

/// What becomes of each call of a pod's programs, and who decides it: a filter in the kernel, or the supervisor at each
/// call's entry. Both follow the same rules.
struct CallRules: Sendable {
  /// The rules of the boundary table and the embedder's.
  let rules: FilterRules
  /// The rules as a seccomp program; nil when every call is to stop.
  var filter: [UInt8]?
  /// Why there is no filter, when one was wanted.
  let obstacle: Errno?
  /// Whether every call may stop where a filter turns out not to be had.
  let mayDoWithout: Bool

  /// Makes the rules of a pod, and asks the kernel whether it takes filters.
  ///
  /// - Throws: What ``FilterRules/program()`` throws.
  init(_ setup: PodSetup, _ stops: PtraceBackend.Stops) throws(Errno) {
    rules = BoundaryFilter.rules(
      for: setup.names.boundary, interposers: setup.names.interposers, interposed: .trace(0),
      reportsRefusals: setup.configuration.tracesCalls, isIdle: setup.names.paths.isIdle)
    mayDoWithout = stops != .filtered
    obstacle = Self.obstacle(stops)
    filter = stops == .everyCall || obstacle != nil ? nil : try rules.program().bytes
  }

  /// Why there is no filter here when one is wanted.
  static func obstacle(_ stops: PtraceBackend.Stops) -> Errno? {
    stops == .everyCall ? nil : BoundaryFilter.obstacle
  }

  /// Whether an error of seccomp(2) means that there are no filters here, rather than that something else is short.
  static func meansNoFilters(_ error: Errno) -> Bool {
    [.noFunction, .invalidArgument, .notPermitted, .permissionDenied, .resourceBusy].contains(error)
  }

  static func withoutFilter(_ obstacle: Errno) -> String {
    "this machine takes no seccomp filter (\(obstacle)), so every system call of the pod stops twice"
  }
}
