internal import Glibc
internal import SystemPackage

/// What the kernel says of a task in `/proc/TID/status`.
package enum ProcessStatus {
  /// The first number of a line: "PPid", "Uid" …; nil when there is no such task or line.
  ///
  /// Source: proc_pid_status(5).
  package static func number(_ field: String, of task: Int32) -> Int? {
    value(field, of: task) { Int($0) }
  }

  /// A line with a set of signals: "SigBlk" …; signal 1 is the lowest bit.
  ///
  /// Source: proc_pid_status(5).
  package static func mask(_ field: String, of task: Int32) -> UInt64? {
    value(field, of: task) { UInt64($0, radix: 16) }
  }

  /// All numbers of a line: "Uid" has the real, effective, saved and file-system one.
  ///
  /// Source: proc_pid_status(5).
  package static func numbers(_ field: String, of task: Int32) -> [Int]? {
    line(field, of: task)?.split(separator: "\t").compactMap { Int($0) }
  }

  /// Whether a task stands still for its tracer.
  ///
  /// Source: proc_pid_status(5), "State".
  package static func isInTracingStop(_ task: Int32) -> Bool {
    line("State", of: task)?.first == "t"
  }

  /// Whether a task has ended, and nobody has waited for it.
  ///
  /// Source: proc_pid_status(5), "State".
  package static func hasEnded(_ task: Int32) -> Bool {
    line("State", of: task).map { $0.first == "Z" || $0.first == "X" } ?? true
  }

  private static func value<T>(
    _ field: String, of task: Int32, _ parse: (Substring) -> T?
  ) -> T? {
    line(field, of: task)?.split(separator: "\t").first.flatMap { parse($0) }
  }

  /// What stands behind a field's name.
  private static func line(_ field: String, of task: Int32) -> Substring? {
    guard let file = try? FileDescriptor.open("/proc/\(task)/status", .readOnly) else { return nil }
    defer { try? file.close() }
    return withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 1) { buffer in
      guard let base = buffer.baseAddress, let count = try? file.read(into: buffer) else {
        return nil
      }
      var start = 0
      while start < count {
        let rest = count - start
        let end =
          memchr(base + start, Int32(UInt8(ascii: "\n")), rest)
          .map { UnsafeRawPointer($0) - UnsafeRawPointer(base) } ?? count
        // A name of a program is escaped there: no line begins in it.
        let line = buffer[start..<end]
        if line.starts(with: field.utf8), line.dropFirst(field.utf8.count).first == colon {
          return Substring(decoding: line.dropFirst(field.utf8.count + 2), as: UTF8.self)
        }
        start = end + 1
      }
      return nil
    }
  }

  private static let colon = UInt8(ascii: ":")
}
