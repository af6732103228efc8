package import PodCore
package import SystemPackage

extension ProcessHandle.Target {
  /// What a process descriptor of a task names.
  ///
  /// - Throws: `.badFileDescriptor` when it is none; `.noSuchProcess` when what it names is gone; `.notPermitted`.
  ///
  /// Source: proc_pid_fdinfo(5); fs/pidfs.c, `pidfd_show_fdinfo`: the number is that of the namespace that /proc shows.
  package init(behind descriptor: Int32, of task: Int32) throws(Errno) {
    let exclusive: Int32 = 0o200
    let file: FileDescriptor
    do {
      file = try FileDescriptor.open("/proc/\(task)/fdinfo/\(descriptor)", .readOnly)
    } catch Errno.noSuchFileOrDirectory {
      throw .badFileDescriptor
    } catch {
      throw .notPermitted
    }
    defer { try? file.close() }
    let text = withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 1) { buffer in
      let count = (try? file.read(into: buffer)) ?? 0
      return String(decoding: buffer[..<count], as: UTF8.self)
    }
    var flags: Int32 = 0
    for line in text.split(separator: "\n") {
      if line.hasPrefix("flags:\t") { flags = Int32(line.dropFirst(7), radix: 8) ?? 0 }
      guard line.hasPrefix("Pid:\t"), let number = Int32(line.dropFirst(5)) else { continue }
      if number <= 0 { throw .noSuchProcess }
      self.init(PhysicalName(rawValue: number), isThread: flags & exclusive != 0)
      return
    }
    throw .badFileDescriptor
  }
}
