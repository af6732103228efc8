public import PodCore
package import PodLinux
public import PodPtrace

/// The backend that asks a supervisor by seccomp notification: the default.
///
/// In a nutshell: the pod's init makes a launcher, which installs a seccomp filter made from the boundary table and hands
/// its listener to the host program; all programs of the pod are its descendants. Calls in which no name crosses go straight to
/// the kernel. The others are notifications, which the host program's receivers (``Receiver``) take: identity calls are
/// answered from the tables, calls that only look at names are made by the receiver, and all others in their caller's own
/// context, while the receiver is attached to it by ptrace (``AttachedThread``). Calls that may wait go on by themselves,
/// on a page of ours in the process (``Gate``). Nothing is traced but for the moments in which a thread is attached to.
///
/// Ends are told by init, which has a descriptor of each process, and by the waits that pass here.
///
/// Source: DESIGN.md §5; seccomp_unotify(2).
public struct SeccompBackend: Backend {
  /// "seccomp".
  public static let name = "seccomp"

  /// What is done where the machine lacks what this backend needs.
  public enum Fallback: Sendable {
    /// The pod is made by another backend, and an event says why (``PodCore/PodEvent/degraded(_:)``).
    case ptrace(PtraceBackend)
    /// No pod is made.
    case none
  }

  /// What is done where the machine lacks what this backend needs.
  public let fallback: Fallback
  /// Whether the kernel is to keep signals in the pod where it can; if not, the supervisor sends them all.
  @_spi(Benchmarks) public var usesSignalScope = true

  /// Makes the backend.
  ///
  /// - Parameter fallback: What is done where the machine lacks what it needs.
  public init(fallback: Fallback = .ptrace(.ptrace)) { self.fallback = fallback }

  /// Programs in the pod can't trace; signal frames are translated in those that have the pod's code.
  public var capabilities: BackendCapabilities {
    BackendCapabilities(nestedTracing: false, signalFrames: true, unavailable: unavailable)
  }

  /// Memory that the pod's processes see too, so that names can be looked up inside them.
  ///
  /// - Returns: nil where this backend doesn't make the pod, and for a pod that reports every call.
  /// - Throws: `.backendUnavailable` where the machine doesn't allow it: every name is then asked for by notification.
  public func tableMemory(
    for configuration: PodConfiguration, size: Int
  ) throws(PodError) -> (any TableMemory)? {
    guard !configuration.tracesCalls, MachineSupport.recent.obstacle == nil else { return nil }
    do throws(PodArea.Failure) {
      return try PodArea.make(tableSize: size)
    } catch {
      throw PodError(
        .backendUnavailable,
        "no names are answered inside processes, so that every call waits for the supervisor: "
          + error.explanation, underlyingError: error.error)
    }
  }

  /// Starts a pod's init, its launcher and its supervisor.
  ///
  /// - Throws: `.backendUnavailable` when the machine lacks what this backend needs, and there is no ``fallback`` that
  ///   works; `.containmentUnavailable`.
  public func start(_ pod: PodSetup) async throws(PodError) -> any BackendSession {
    try await orFallBack(pod) { machine throws(PodError) in
      var machine = machine
      if !usesSignalScope { machine.landlock = 0 }
      return try await SeccompSession.start(pod, machine)
    }
  }
}

extension Backend where Self == SeccompBackend {
  /// The backend that asks a supervisor by seccomp notification, and traces where it can't.
  public static var seccomp: SeccompBackend { SeccompBackend() }

  /// The backend that asks a supervisor by seccomp notification.
  public static func seccomp(fallback: SeccompBackend.Fallback) -> SeccompBackend {
    SeccompBackend(fallback: fallback)
  }
}

extension PodSetup {
  /// What of the pod lies in its processes; nil where nothing does.
  package var area: PodArea? {
    // What the embedder's rules want to see is no bootstrap.
    let isSeen = names.interposers.contains { !$0.calls.isDisjoint(with: Bootstrap.calls) }
    return isSeen ? nil : names.processes.space.memory as? PodArea
  }

  /// Whether tasks may be made without anybody's being told: nobody wants to see that, nor has chosen their names.
  var namesLate: Bool {
    let births: Set<Syscall> = [.fork, .vfork, .clone]
    // A thread's name is its number, whatever numbers the kernel gives. Source: include/linux/threads.h, `PID_MAX_LIMIT`.
    let highest: Int32 = (1 << 22) - 1
    return area != nil && configuration.restoredNames == nil
      && names.processes.space.range.upperBound >= highest
      && !names.interposers.contains { !$0.calls.isDisjoint(with: births) }
  }
}
