import Synchronization

/// What a backend doesn't do yet, so that programs of the tests can't check it there: the one list of such things.
///
/// A program hears of the limits of its pod in the variable `POD_LIMITS` and leaves out the checks that they concern
/// (`limited` in `Tests/Programs/check.h`). Without the variable, so natively and in all other pods, it leaves out nothing.
public enum TestLimit: String, CaseIterable, Sendable {
  /// The records of signal descriptors are written by the kernel: nobody who can say which name a process has in the pod
  /// sees them (P62).
  case descriptors
  /// Nobody hears of a call while its notification waits to be taken. A signal that comes then, and whose handler doesn't ask
  /// for restarts, ends it with EINTR, also one that natively never ends so. The pod's code makes it again where the number
  /// is moved to eax right before the call's instruction, as in a C library, and no variant of the call may end so.
  case interrupted
  /// A segment of shared memory comes by a pair of sockets, which the caller makes: its other threads can see three
  /// descriptors for that moment.
  case attaching

  /// What isn't checked.
  var statement: String {
    switch self {
    case .attaching:
      "that other threads find the lowest descriptor free while one attaches shared memory"
    case .descriptors: "the numbers of processes in what signal descriptors deliver"
    case .interrupted:
      "that EINTR comes only from calls that wait, where a call's number comes from far"
    }
  }
}

extension TestBackend {
  /// What this one doesn't do yet.
  public var limits: [TestLimit] {
    switch self {
    case .seccomp: [.descriptors, .interrupted]
    case .ptrace, .ptraceEveryCall: [.attaching]
    }
  }
}

extension TestEnvironment {
  /// What the pod here doesn't do yet.
  public var limits: [TestLimit] { backend?.limits ?? [] }

  private static let stated = Mutex<Set<TestEnvironment>>([])

  /// The value of `POD_LIMITS`, nil where it isn't to be set. Says once what is left out.
  var limitsForPrograms: String? {
    if limits.isEmpty { return nil }
    if Self.stated.withLock({ $0.insert(self).inserted }) {
      for limit in limits { print("\(rawValue): not checked (\(limit)): \(limit.statement)") }
    }
    return limits.map(\.rawValue).joined(separator: " ")
  }
}
