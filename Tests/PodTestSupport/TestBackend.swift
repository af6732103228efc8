public import PodCore
import PodPtrace
import PodSeccomp
public import Testing

/// What tests make pods with: the one list of backends and of their modes.
public enum TestBackend: String, CaseIterable, Sendable, Codable, CustomTestStringConvertible {
  /// The seccomp backend, which may not fall back.
  case seccomp
  /// The ptrace backend with a filter.
  case ptrace
  /// The ptrace backend without a filter: every call stops.
  case ptraceEveryCall = "ptrace, every call"

  /// Those that exist, in all their modes: what every test that makes a pod runs with, and where the environments of
  /// ``TestEnvironment`` come from.
  public static let all: [TestBackend] = [.seccomp, .ptrace, .ptraceEveryCall]

  /// Each backend in its usual mode, for tests that take long.
  public static let usual = all.filter { $0 != .ptraceEveryCall }

  /// The name in reports.
  public var testDescription: String { rawValue }

  /// The backend.
  public var backend: any Backend {
    switch self {
    case .seccomp: SeccompBackend(fallback: .none)
    case .ptrace: PtraceBackend(stops: .filtered)
    case .ptraceEveryCall: PtraceBackend(stops: .everyCall)
    }
  }

  /// podrun's options for it.
  public var options: [String] {
    switch self {
    case .seccomp: ["--backend", "seccomp"]
    case .ptrace: ["--backend", "ptrace", "--ptrace-stops", "filtered"]
    case .ptraceEveryCall: ["--backend", "ptrace", "--ptrace-stops", "every-call"]
    }
  }
}
