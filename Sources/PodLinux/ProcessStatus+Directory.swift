internal import Glibc
internal import SystemPackage

extension ProcessStatus {
  /// The absolute path of a directory of a task, by its descriptor, or of its working directory; nil when it has none, or
  /// the path is longer than PATH_MAX.
  ///
  /// Source: proc_pid_fd(5), proc_pid_cwd(5).
  package static func directory(_ descriptor: Int32?, of task: Int32) -> [UInt8]? {
    let link = descriptor.map { "/proc/\(task)/fd/\($0)" } ?? "/proc/\(task)/cwd"
    return withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(PATH_MAX)) { buffer in
      guard let start = buffer.baseAddress else { return nil }
      let count = readlink(link, start, buffer.count)
      guard count > 0, count < buffer.count, buffer[0] == CChar(UInt8(ascii: "/")) else {
        return nil
      }
      return buffer[..<count].map { UInt8(bitPattern: $0) }
    }
  }
}
