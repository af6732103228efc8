internal import CLinux
public import PodCore
internal import PodLinux
internal import SystemPackage

/// The backend that works wherever `ptrace` does, and the reference for correctness.
///
/// In a nutshell: the host program's tracer thread (``Supervisor``) seizes the pod's init, whose descendants are traced
/// from birth. Each installs a seccomp filter made from the boundary table before its first program, so that only calls
/// in which names cross stop: at the entry the supervisor runs the preamble and writes physical names into the registers,
/// at the exit it runs the epilogue and writes virtual ones. Newborns, execs and ends are ptrace events. A call that names
/// somebody else and doesn't block is run to its exit while the supervisor waits for nobody else, so that its target
/// can't be reaped meanwhile.
///
/// Where no such filter can be had, every call stops at its entry and its exit, and the supervisor decides by the same
/// rules (``Stops/everyCall``): each call then costs two stops, nameless ones too.
///
/// Programs that use `ptrace` themselves get EPERM in its pods.
///
/// Lock order: the mailbox's lock is a leaf; everything else belongs to the supervisor's thread.
///
/// Source: DESIGN.md §6.
public struct PtraceBackend: Backend {
  /// "ptrace".
  public static let name = "ptrace"

  /// Which calls of a pod's programs stop.
  public enum Stops: String, Sendable, Hashable, CaseIterable {
    /// ``filtered`` where the machine takes a filter, else ``everyCall`` with an event, ``PodCore/PodEvent/degraded(_:)``.
    case automatic
    /// Only calls in which names cross, by a seccomp filter. Without filters no pod can be made.
    case filtered
    /// Every call, at its entry and its exit. A program's own seccomp filter sees what the kernel gets: calls that the
    /// supervisor answers look like getpid(2) to it.
    case everyCall
  }

  /// Which calls stop.
  public let stops: Stops

  /// Makes the backend.
  ///
  /// - Parameter stops: Which calls stop.
  public init(stops: Stops = .automatic) { self.stops = stops }

  /// Signal frames are translated; programs in the pod can't trace.
  public var capabilities: BackendCapabilities {
    BackendCapabilities(nestedTracing: false, signalFrames: true, unavailable: Self.obstacle)
  }

  /// Names are private; nothing keeps a program from what is the user's in /proc.
  public func containment(for configuration: PodConfiguration) -> Containment {
    Self.containment(of: configuration, objects: KernelObjects.expected(for: configuration))
  }

  static func containment(
    of configuration: PodConfiguration, objects: ObjectProvider, hasDirectory: Bool = true
  ) -> Containment {
    Containment([
      .processes: .init(
        .namedOnly,
        by:
          "the tracer translates or refuses every call that names a process; the files of /proc are "
          + "the host's, and what the user may do there a program in the pod may too"),
      .ipc: KernelObjects.containment(
        of: configuration, objects: objects, hasDirectory: hasDirectory, isScoped: false),
      .terminals: .init(
        .namedOnly, by: "a program on a terminal has a session of its own, and no host terminal"),
    ])
  }

  /// Starts a pod's init and its tracer thread.
  ///
  /// - Throws: `.backendUnavailable` when the machine doesn't let us trace, has no filters though they were asked for, or
  ///   isn't x86-64 Linux.
  public func start(_ pod: PodSetup) async throws(PodError) -> any BackendSession {
    if let obstacle = Self.obstacle { throw PodError(.backendUnavailable, obstacle) }
    return try await PtraceSession.start(pod, stops)
  }

  private static var obstacle: String? {
    #if os(Linux) && arch(x86_64)
      nil
    #else
      "the ptrace backend runs on Linux on x86-64 only"
    #endif
  }
}

extension Backend where Self == PtraceBackend {
  /// The backend that traces the pod's processes.
  public static var ptrace: PtraceBackend { PtraceBackend() }

  /// The backend that traces the pod's processes, and which of their calls stop.
  public static func ptrace(stops: PtraceBackend.Stops) -> PtraceBackend {
    PtraceBackend(stops: stops)
  }
}
