import Glibc
public import PodCore
import Subprocess
import SystemPackage
public import Testing

/// Where a test's program runs. Every test passes natively first.
public enum TestEnvironment: String, CaseIterable, Sendable, CustomTestStringConvertible {
  /// As the user that runs the tests, in no pod.
  case native
  /// As nobody, in no pod.
  case nativeUnprivileged = "native, unprivileged"
  /// In a pod of the seccomp backend within the test's own process.
  case seccomp
  /// In such a pod that podrun makes as nobody.
  case seccompUnprivileged = "seccomp, unprivileged"
  /// In a pod of the ptrace backend within the test's own process.
  case ptrace
  /// In such a pod without a filter: every call stops.
  case ptraceEveryCall = "ptrace, every call"
  /// In a pod of the ptrace backend that podrun makes as nobody.
  case ptraceUnprivileged = "ptrace, unprivileged"

  /// Those whose backends exist (``TestBackend/all``).
  public static let allCases = [
    native, nativeUnprivileged, seccomp, seccompUnprivileged, ptrace, ptraceEveryCall,
    ptraceUnprivileged,
  ].filter { $0.backend.map(TestBackend.all.contains) ?? true }

  /// Those in which the program is in a pod.
  public static let pods = allCases.filter(\.isPod)

  /// Those that are the user's who runs the tests, and in which a pod is made by the test's own process.
  public static let own = allCases.filter { !$0.isUnprivileged }

  /// Those of another user, where root runs the tests.
  public static let unprivileged = allCases.filter(\.isUnprivileged)

  /// The name in reports.
  public var testDescription: String { rawValue }

  /// Whether the program is in a pod.
  public var isPod: Bool { backend != nil }

  /// Whether the program is nobody's.
  public var isUnprivileged: Bool {
    switch self {
    case .nativeUnprivileged, .seccompUnprivileged, .ptraceUnprivileged: true
    case .native, .seccomp, .ptrace, .ptraceEveryCall: false
    }
  }

  /// What the pod is made with; nil in no pod.
  public var backend: TestBackend? {
    switch self {
    case .native, .nativeUnprivileged: nil
    case .seccomp, .seccompUnprivileged: .seccomp
    case .ptrace, .ptraceUnprivileged: .ptrace
    case .ptraceEveryCall: .ptraceEveryCall
    }
  }

  /// Runs a program and returns how it ended and what it wrote to both outputs.
  ///
  /// - Parameters:
  ///   - program: A name for PATH, or a path.
  ///   - arguments: Without the program's own name.
  ///   - configuration: Of a pod that the test's own process makes.
  ///   - seconds: After which, from its turn on, everything is killed and the result is nil.
  public func run(
    _ program: String, _ arguments: [String] = [],
    configuration: PodConfiguration = PodConfiguration(), seconds: Int = 60
  ) async throws -> Outcome {
    try await Turns.shared.take {
      try await runNow(program, arguments, configuration: configuration, seconds: seconds)
    }
  }

  private func runNow(
    _ program: String, _ arguments: [String], configuration: PodConfiguration, seconds: Int
  ) async throws -> Outcome {
    try await withTimeLimit(seconds: seconds) {
      guard let backend else {
        let command = [program] + arguments
        return try await native(isUnprivileged ? try Self.asNobody(command) : command)
      }
      if isUnprivileged {
        return try await native(
          try Self.asNobody(
            [try TestPrograms.podrun()] + backend.options + ["--", program] + arguments))
      }
      return try await withPod(configuration, backend: backend.backend) { pod in
        let result = try await pod.run(
          program.contains("/") ? .path(FilePath(program)) : .name(program),
          arguments: Pod.Arguments(arguments),
          environment: .inherit.updating(["PATH": Self.path, "POD_LIMITS": limitsForPrograms]),
          input: .none, output: .string(limit: 1 << 22), error: .combinedWithOutput)
        return Outcome(result.terminationStatus, result.standardOutput)
      }
    }
  }

  /// The system's own programs, which every user may execute.
  static let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

  /// A command that runs another one as nobody, where the tests run as root.
  public static func asNobody(_ command: [String]) throws -> [String] {
    guard getuid() == 0 else { return command }
    return ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"] + command
  }

  private func native(_ command: [String]) async throws -> Outcome {
    // As a shell does it: in the tests' own group, which can be an orphaned one, stop signals would be discarded.
    var options = PlatformOptions()
    options.processGroupID = 0
    let result = try await Subprocess.run(
      command[0].contains("/") ? .path(FilePath(command[0])) : .name(command[0]),
      arguments: Arguments(Array(command.dropFirst())),
      environment: .inherit.updating(["PATH": Self.path, "POD_LIMITS": limitsForPrograms]),
      workingDirectory: "/", platformOptions: options, input: .none,
      output: .string(limit: 1 << 22), error: .combinedWithOutput)
    switch result.terminationStatus {
    case .exited(let status):
      // podrun's status for a program that a signal killed.
      if isPod, status > 128, status <= 128 + 64 {
        return Outcome(.signaled(status - 128), result.standardOutput)
      }
      return Outcome(.exited(status), result.standardOutput)
    case .signaled(let signal): return Outcome(.signaled(signal), result.standardOutput)
    }
  }

  /// How a program ended and what it wrote.
  public struct Outcome: Sendable, Equatable {
    /// How it ended.
    public let status: Pod.TerminationStatus
    /// What it wrote to both outputs.
    public let output: String

    init(_ status: Pod.TerminationStatus, _ output: String) {
      (self.status, self.output) = (status, output)
    }

    /// The lines of the output, without empty ones.
    public var lines: [String] { output.split(separator: "\n").map(String.init) }
  }
}

/// Runs `body`, and cancels it and throws when it takes too long: a hang is a failure with a name.
public func withTimeLimit<T: Sendable>(
  seconds: Int, _ body: @escaping @Sendable () async throws -> T
) async throws -> T {
  try await withThrowingTaskGroup(of: T.self) { group in
    group.addTask { try await body() }
    group.addTask {
      try await Task.sleep(for: .seconds(seconds))
      throw TimeLimitExceeded(seconds: seconds)
    }
    defer { group.cancelAll() }
    guard let first = try await group.next() else { throw TimeLimitExceeded(seconds: seconds) }
    return first
  }
}

/// A test's program ran too long.
public struct TimeLimitExceeded: Error, CustomStringConvertible {
  let seconds: Int
  /// What happened.
  public var description: String { "the program had not ended after \(seconds) s" }
}
