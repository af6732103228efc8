import Foundation
import Measuring
import PodCore
import PodPtrace
@_spi(Benchmarks) import PodSeccomp
import SystemPackage

extension Way {
  /// What makes the pod; nil in no pod.
  var backend: (any Backend)? {
    switch self {
    case .pod, .emulatingPod: return SeccompBackend(fallback: .none)
    case .unscopedPod:
      var backend = SeccompBackend(fallback: .none)
      backend.usesSignalScope = false
      return backend
    case .ptrace: return PtraceBackend(stops: .filtered)
    case .native, .allowAll, .proot: return nil
    }
  }

  /// What is asked of the pod.
  var configuration: PodConfiguration {
    var configuration = PodConfiguration()
    if self == .emulatingPod { configuration.systemV = .emulated }
    return configuration
  }
}

/// Starts a program that makes calls in each way, and runs `body` while they live.
///
/// - Parameter cpu: On which they stay; nil for none.
nonisolated(nonsending) func withWorkers<Result>(
  _ ways: [Way], program: String, cpu: Int?, _ started: [Way: Worker] = [:],
  _ body: nonisolated(nonsending) ([Way: Worker]) async throws -> Result
) async throws -> Result {
  guard let way = ways.first else { return try await body(started) }
  let rest = Array(ways.dropFirst())
  let more = way == .allowAll ? ["allow-all"] : []
  guard let backend = way.backend else {
    let worker = try Worker()
    defer { worker.end() }
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments =
      (way == .proot ? ["proot"] : []) + [program] + worker.arguments(cpu: cpu, more)
    try process.run()
    // proot doesn't end its programs with itself, but this one ends with its pipe.
    defer { process.terminate() }
    return try await withWorkers(
      rest, program: program, cpu: cpu, started.merging([way: worker]) { $1 }, body)
  }
  return try await withPod(way.configuration, backend: backend) { pod in
    let worker = try Worker { pod.statistics }
    defer { worker.end() }
    _ = try await pod.launch(
      LaunchRequest(
        .path(FilePath(program)), arguments: Pod.Arguments(worker.arguments(cpu: cpu, more)),
        input: .none, output: .discard, error: .descriptor(.standardError)))
    return try await withWorkers(
      rest, program: program, cpu: cpu, started.merging([way: worker]) { $1 }, body)
  }
}

extension Way {
  /// Runs a command to its end.
  ///
  /// - Returns: What the supervisor of its pod was asked.
  /// - Throws: What the command wrote, when it failed.
  func run(_ command: [String], in directory: String? = nil) async throws -> PodStatistics? {
    guard let backend else {
      _ = try await CompiledProgram.output(
        of: (self == .proot ? ["proot"] : []) + command, in: directory)
      return nil
    }
    return try await withPod(configuration, backend: backend) { pod in
      let result = try await pod.run(
        command[0].contains("/") ? .path(FilePath(command[0])) : .name(command[0]),
        arguments: Pod.Arguments(Array(command.dropFirst())),
        workingDirectory: directory.map { FilePath($0) }, input: .none,
        output: .string(limit: 1 << 24), error: .string(limit: 1 << 20))
      guard result.terminationStatus == .exited(0) else {
        throw CommandFailure(
          description: "in a pod: \(command.joined(separator: " ")): \(result.terminationStatus) "
            + "\(result.standardError)")
      }
      return pod.statistics
    }
  }
}

/// A command has failed in a pod.
struct CommandFailure: Error, CustomStringConvertible {
  let description: String
}
