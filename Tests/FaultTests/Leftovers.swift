import Glibc

/// What may be left on a machine when a pod has ended.
enum Leftovers {
  /// Files and IPC objects of a user. Nothing where the tests run as a plain user, who has others.
  static func all(of user: UInt32) -> [String] {
    guard getuid() == 0 else { return [] }
    var found: [String] = []
    for directory in ["/tmp", "/dev/shm", "/var/tmp", "/dev/mqueue"] {
      for name in entries(of: directory) {
        var status = stat()
        if lstat("\(directory)/\(name)", &status) == 0, status.st_uid == user {
          found.append("\(directory)/\(name)")
        }
      }
    }
    for kind in ["shm", "sem", "msg"] {
      let lines = contents(of: "/proc/sysvipc/\(kind)")?.split(separator: "\n").dropFirst() ?? []
      found += lines.filter { $0.split(separator: " ").contains("\(user)") }.map {
        "\(kind): \($0)"
      }
    }
    return found
  }
}

/// What this process has that a pod may take and has to give back.
struct OwnUse: CustomStringConvertible {
  let descriptors: Int
  /// What they are.
  private let kinds: [String]
  let threads: Int
  /// Memory that is in use, in KiB.
  let memory: Int

  /// As it is now.
  init() {
    kinds = entries(of: "/proc/self/fd").map { descriptor in
      var target = [CChar](repeating: 0, count: 256)
      _ = readlink("/proc/self/fd/\(descriptor)", &target, 255)
      return String(
        decoding: target.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
    descriptors = kinds.count
    threads = entries(of: "/proc/self/task").count
    memory =
      contents(of: "/proc/self/status")?.split(separator: "\n")
      .first { $0.hasPrefix("RssAnon:") }?.split(whereSeparator: { " \t".contains($0) }).dropFirst()
      .first.flatMap { Int($0) } ?? 0
  }

  /// The descriptors that there are and that another moment didn't have.
  func more(than before: OwnUse) -> [String] {
    var left = before.kinds
    return kinds.filter { kind in
      guard let index = left.firstIndex(of: kind) else { return true }
      left.remove(at: index)
      return false
    }
  }

  var description: String { "\(descriptors) descriptors, \(threads) threads, \(memory) KiB" }
}
