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
    case .pod: return SeccompBackend(fallback: .none)
    case .unscopedPod:
      var backend = SeccompBackend(fallback: .none)
      backend.usesSignalScope = false
      return backend
    case .ptrace: return PtraceBackend(stops: .filtered)
    case .native, .allowAll, .proot: return nil
    }
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
  let worker = try Worker()
  defer { worker.end() }
  let arguments = worker.arguments(cpu: cpu, way == .allowAll ? ["allow-all"] : [])
  var all = started
  all[way] = worker
  guard let backend = way.backend else {
    let process = Process()
    let command = (way == .proot ? ["proot"] : []) + [program] + arguments
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = command
    try process.run()
    // proot doesn't end its programs with itself, but this one ends with its pipe.
    defer { process.terminate() }
    return try await withWorkers(rest, program: program, cpu: cpu, all, body)
  }
  return try await withPod(backend: backend) { pod in
    _ = try await pod.launch(
      LaunchRequest(
        .path(FilePath(program)), arguments: Pod.Arguments(arguments), input: .none,
        output: .discard, error: .descriptor(.standardError)))
    return try await withWorkers(rest, program: program, cpu: cpu, all, body)
  }
}

extension Way {
  /// Runs a command to its end.
  ///
  /// - Throws: What it wrote, when it failed.
  func run(_ command: [String], in directory: String? = nil) async throws {
    guard let backend else {
      _ = try await CompiledProgram.output(
        of: (self == .proot ? ["proot"] : []) + command, in: directory)
      return
    }
    try await withPod(backend: backend) { pod in
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
    }
  }
}

/// A command has failed in a pod.
struct CommandFailure: Error, CustomStringConvertible {
  let description: String
}
