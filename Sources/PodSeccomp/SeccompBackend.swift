internal import CSeccomp
public import PodCore
internal import PodLinux
public import PodPtrace
internal import SystemPackage

/// The backend that asks a supervisor by seccomp notification: the default.
///
/// Source: DESIGN.md §5.
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

  /// Makes the backend.
  ///
  /// - Parameter fallback: What is done where the machine lacks what it needs.
  public init(fallback: Fallback = .ptrace(.ptrace)) { self.fallback = fallback }

  /// Programs in the pod can't trace; process ids inside signal frames are the kernel's.
  public var capabilities: BackendCapabilities {
    BackendCapabilities(nestedTracing: false, signalFrames: false, unavailable: nil)
  }

  /// Starts a pod's init, its launcher and its supervisor.
  public func start(_ pod: PodSetup) async throws(PodError) -> any BackendSession {
    try await SeccompSession.start(pod, isScoped: (PodInit.landlockABI ?? 0) >= 6)
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
