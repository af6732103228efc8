import ArgumentParser
import Foundation
import Subprocess
import SystemPackage

/// A C program of `Benchmarks/Programs`.
public enum CompiledProgram {
  /// Compiles one.
  ///
  /// - Parameters:
  ///   - name: The file's name, without ".c".
  ///   - flags: Of the compiler, beside -O2.
  /// - Returns: The program's path.
  /// - Throws: What the compiler said.
  public static func path(_ name: String, _ flags: [String] = ["-static", "-pthread"]) async throws
    -> String
  {
    let source = package.appending("Programs").appending("\(name).c")
    let headers = package.removingLastComponent().appending("Sources/CPodLayout/include")
    let target = "/tmp/pod-\(name.replacing("_", with: "-"))"
    _ = try await output(
      of: ["gcc", "-O2", "-I\(headers)"] + flags + ["-o", target, source.string])
    return target
  }

  /// The folder of this package.
  public static var package: FilePath {
    FilePath(#filePath).removingLastComponent().removingLastComponent().removingLastComponent()
  }

  /// What a command wrote to its output.
  ///
  /// - Throws: What it wrote to its error output, when it failed.
  public static func output(of command: [String], in directory: String? = nil) async throws
    -> String
  {
    let result = try await Subprocess.run(
      command[0].contains("/") ? .path(FilePath(command[0])) : .name(command[0]),
      arguments: Arguments(Array(command.dropFirst())),
      workingDirectory: directory.map { FilePath($0) }, output: .string(limit: 1 << 24),
      error: .string(limit: 1 << 20))
    guard result.terminationStatus.isSuccess else {
      throw ValidationError(
        "\(command.joined(separator: " ")): \(result.terminationStatus) \(result.standardError)")
    }
    return result.standardOutput
  }

  /// Whether a program is installed.
  public static func has(_ name: String) async -> Bool {
    (try? await output(of: ["sh", "-c", "command -v \(name)"])) != nil
  }
}

/// The machine's load in the last 1, 5 and 15 minutes.
public var load: String {
  let text = (try? String(contentsOfFile: "/proc/loadavg", encoding: .utf8)) ?? ""
  return text.split(separator: " ").prefix(3).joined(separator: " ")
}
