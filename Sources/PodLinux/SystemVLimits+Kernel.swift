internal import CLinux
internal import Glibc
package import PodCore
internal import Synchronization
internal import SystemPackage

extension SystemVLimits {
  /// What the machine has set, looked at once a second at most.
  package static var ofMachine: SystemVLimits {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now)
    return known.withLock { known in
      if known.second != now.tv_sec { known = (now.tv_sec, read { systemText($0) }.bounded) }
      return known.limits
    }
  }

  private static let known = Mutex<(second: Int, limits: SystemVLimits)>((-1, SystemVLimits()))

  /// The limits that files of `/proc/sys/kernel` state, and the kernel's defaults for those that can't be read.
  ///
  /// - Parameter text: What is in a file.
  package static func read(_ text: (String) -> String?) -> SystemVLimits {
    var limits = SystemVLimits()
    func numbers(_ name: String, _ count: Int) -> [UInt64]? {
      let words = text(name)?.split(whereSeparator: \.isWhitespace) ?? []
      let numbers = words.compactMap { UInt64($0) }
      return words.count == count && numbers.count == count ? numbers : nil
    }
    func number(_ name: String) -> UInt64? { numbers(name, 1)?.first }
    if let value = number("msgmni") { limits.queues = Int(clamping: value) }
    if let value = number("msgmax") { limits.message = Int(clamping: value) }
    if let value = number("msgmnb") { limits.queue = value }
    if let value = number("shmmni") { limits.segments = Int(clamping: value) }
    if let value = number("shmmax") { limits.segment = value }
    if let value = number("shmall") { limits.pages = value }
    if let values = numbers("sem", 4) {
      limits.perSet = Int(clamping: values[0])
      limits.semaphores = Int(clamping: values[1])
      limits.operations = Int(clamping: values[2])
      limits.sets = Int(clamping: values[3])
    }
    return limits
  }

  private static func systemText(_ name: String) -> String? {
    let path = "/proc/sys/kernel/\(name)"
    guard let file = try? FileDescriptor.open(path, .readOnly, options: .closeOnExec)
    else { return nil }
    defer { try? file.close() }
    var text = [UInt8](repeating: 0, count: 128)
    let count = try? text.withUnsafeMutableBytes { try file.read(into: $0) }
    guard let count else { return nil }
    return String(decoding: text[..<count], as: UTF8.self)
  }
}
