internal import CLinux
internal import Glibc
internal import SystemPackage

/// The limits of a process.
enum ProcessLimits {
  /// A soft limit; the highest number where there is none.
  ///
  /// Source: prlimit(2); proc_pid_limits(5), for processes of other users.
  static func soft(_ number: Int32, _ label: String, of process: Int32) -> UInt64 {
    let limit = CLinux_limit(process, number)
    if limit != .max { return limit }
    guard
      let file = try? FileDescriptor.open("/proc/\(process)/limits", .readOnly)
    else { return .max }
    defer { try? file.close() }
    var text = [UInt8](repeating: 0, count: 4096)
    let count = (try? text.withUnsafeMutableBytes { try file.read(into: $0) }) ?? 0
    let lines = String(decoding: text[..<count], as: UTF8.self).split(separator: "\n")
    guard let line = lines.first(where: { $0.hasPrefix(label) }) else { return .max }
    return line.dropFirst(label.count).split(separator: " ").first.flatMap { UInt64($0) } ?? .max
  }
}

/// The descriptors of a process.
package enum ProcessDescriptors {
  /// The highest number of a descriptor that the process could have without a larger table, and has not; nil where there is
  /// none, or nobody may look.
  ///
  /// Source: proc_pid_status(5), "FDSize".
  package static func highestFree(of process: Int32, except used: Set<Int32>) -> Int32? {
    guard let size = ProcessStatus.number("FDSize", of: process) else { return nil }
    let end = Int32(clamping: min(UInt64(clamping: size), limit(of: process)))
    var status = stat()
    guard stat("/proc/\(process)/fd", &status) == 0 else { return nil }
    // Some programs have one at the end of the table, or a few.
    for number in stride(from: end - 1, to: max(end - 32, 2), by: -1)
    where !used.contains(number) {
      if lstat("/proc/\(process)/fd/\(number)", &status) != 0 {
        return errno == ENOENT ? number : nil
      }
    }
    return nil
  }

  /// RLIMIT_NOFILE. Source: include/uapi/asm-generic/resource.h.
  private static let limitNumber: Int32 = 7

  /// How many descriptors it may have.
  package static func limit(of process: Int32) -> UInt64 {
    ProcessLimits.soft(limitNumber, "Max open files", of: process)
  }

  /// Changes how many it may have.
  ///
  /// - Returns: Whether it could be done.
  package static func setLimit(of process: Int32, to limit: UInt64) -> Bool {
    CLinux_set_limit(process, limitNumber, limit) == 0
  }
}
