import ArgumentParser
import Dispatch
import Foundation
import Measuring
import PodCore
import SystemPackage

/// A program that makes calls when it is asked to, in whatever way it was started.
final class Worker: Sendable {
  private let directory: String
  private let requests: FileDescriptor
  private let answers: FileDescriptor
  /// What the supervisor of its pod has been asked; nil in no pod.
  let statistics: (@Sendable () -> PodStatistics)?

  /// Makes the pipes.
  init(_ statistics: (@Sendable () -> PodStatistics)? = nil) throws {
    self.statistics = statistics
    directory = FileManager.default.temporaryDirectory.path + "/pod-micro-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: false)
    for name in ["requests", "answers"] where mkfifo("\(directory)/\(name)", 0o600) != 0 {
      throw Errno(rawValue: errno)
    }
    // For both directions, so that nobody has to be there at the other end yet.
    requests = try .open("\(directory)/requests", .readWrite, options: .closeOnExec)
    answers = try .open("\(directory)/answers", .readWrite, options: .closeOnExec)
  }

  /// The program's arguments.
  func arguments(cpu: Int?, _ more: [String] = []) -> [String] {
    ["\(directory)/requests", "\(directory)/answers", "\(cpu ?? -1)"] + more
  }

  /// What one call costs, in nanoseconds.
  ///
  /// - Parameter count: How often it is made.
  /// - Throws: When the program doesn't know it, or has gone.
  func cost(of call: String, count: Int) async throws -> Double {
    try requests.writeAll("\(call) \(count)\n".utf8)
    let line = try await withCheckedThrowingContinuation { continuation in
      // Not on one of the few threads on which the pods' own tasks run.
      DispatchQueue.global().async { continuation.resume(with: Result { try self.line() }) }
    }
    guard let cost = Double(line) else { throw ValidationError("\(call) isn't known") }
    return cost
  }

  /// What its pod's supervisor is asked for one call; nil in no pod.
  func asked(for call: String) async throws -> Account? {
    guard let statistics else { return nil }
    let count = 48
    // What comes only once.
    _ = try await cost(of: call, count: count)
    let before = statistics()
    _ = try await cost(of: call, count: count)
    // The program makes a sixteenth more to warm up.
    return Account(statistics().since(before), per: Double(count + count / 16))
  }

  private static let patience: Int32 = 120_000

  private func line() throws -> String {
    var text: [UInt8] = []
    while text.last != UInt8(ascii: "\n") {
      var entry = pollfd(fd: answers.rawValue, events: Int16(POLLIN), revents: 0)
      guard poll(&entry, 1, Self.patience) > 0 else {
        throw ValidationError("a program that makes calls doesn't answer")
      }
      var byte: UInt8 = 0
      _ = try withUnsafeMutableBytes(of: &byte) { try answers.read(into: $0) }
      text.append(byte)
    }
    return String(decoding: text.dropLast(), as: UTF8.self)
  }

  /// Lets the program end.
  func end() {
    try? requests.close()
    try? answers.close()
    try? FileManager.default.removeItem(atPath: directory)
  }
}
