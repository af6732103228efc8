internal import CLinux
internal import Glibc
package import PodCore
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

  /// The stack pointer of a task that waits in a call; nil when it doesn't, or is out of reach.
  ///
  /// Source: proc_pid_syscall(5): the number, six arguments, the stack pointer and the program counter.
  package static func stackPointer(of task: Int32) -> RemoteAddress? {
    let file = OwnedDescriptor(owning: CLinux_open("/proc/\(task)/syscall", O_RDONLY, 0))
    guard file.rawValue >= 0 else { return nil }
    return withUnsafeTemporaryAllocation(byteCount: 256, alignment: 1) { buffer in
      let count = Glibc.read(file.rawValue, buffer.baseAddress, buffer.count)
      guard count > 0 else { return nil }
      let words = buffer[..<count].split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\n") }
      guard words.count == 9 else { return nil }
      return UInt64(String(decoding: words[7].dropFirst(2), as: UTF8.self), radix: 16)
        .map(RemoteAddress.init(rawValue:))
    }
  }

  /// The process that a task belongs to, and that process's parent; nil when there is no such task.
  ///
  /// Source: proc_pid_status(5), "Tgid" and "PPid".
  package static func family(of task: Int32) -> (process: Int32, parent: Int32)? {
    if tellsFamilies {
      // Also of a thread that isn't its process's first (PIDFD_THREAD).
      let pidfd = OwnedDescriptor(owning: CLinux_pidfd_open(task, 0x80))
      if pidfd.rawValue >= 0 { return family(pidfd: pidfd.rawValue) }
      // There may be no descriptor left.
      if pidfd.rawValue == -ESRCH { return nil }
    }
    return listedFamily(of: task)
  }

  /// The same of the task that a descriptor is of, where the kernel tells.
  ///
  /// Source: pidfd_open(2), PIDFD_GET_INFO.
  package static func family(pidfd: Int32) -> (process: Int32, parent: Int32)? {
    var (process, parent): (Int32, Int32) = (0, 0)
    let result = CLinux_pidfd_family(pidfd, &process, &parent)
    return result == 0 && process > 0 ? (process, parent) : nil
  }

  /// Whether the kernel tells by a descriptor whose child a task is (Linux 6.13), which takes a tenth of the time.
  package static let tellsFamilies: Bool = {
    let pidfd = OwnedDescriptor(owning: CLinux_pidfd_open(getpid(), 0x80))
    var (process, parent): (Int32, Int32) = (0, 0)
    return pidfd.rawValue >= 0 && CLinux_pidfd_family(pidfd.rawValue, &process, &parent) == 0
      && process == getpid() && parent == getppid()
  }()

  private static func listedFamily(of task: Int32) -> (process: Int32, parent: Int32)? {
    var numbers: [Int32?] = [nil, nil]
    _ = read(task) { line in
      for (index, name) in familyFields.enumerated() where line.starts(with: name) {
        let digits = line.dropFirst(name.count)
        numbers[index] = digits.reduce(0) { $0 &* 10 &+ Int32($1) &- 48 }
      }
      return numbers.contains(nil)
    }
    guard let process = numbers[0], let parent = numbers[1] else { return nil }
    return (process, parent)
  }

  private static let familyFields = ["Tgid:\t", "PPid:\t"].map { Array($0.utf8) }

  /// Whether a task stands still for its tracer.
  ///
  /// Source: proc_pid_status(5), "State".
  package static func isInTracingStop(_ task: Int32) -> Bool {
    line("State", of: task)?.first == "t"
  }

  /// Whether a task sleeps, so that a signal or a request to stop would wake it.
  ///
  /// Source: proc_pid_status(5), "State".
  package static func isAsleep(_ task: Int32) -> Bool {
    line("State", of: task)?.first == "S"
  }

  /// Whether a task has ended, and nobody has waited for it.
  ///
  /// Source: proc_pid_status(5), "State".
  package static func hasEnded(_ task: Int32) -> Bool {
    line("State", of: task).map { $0.first == "Z" || $0.first == "X" } ?? true
  }

  /// For whom a task acts; nil when there is no such task.
  ///
  /// Source: proc_pid_status(5), "Uid", "Gid" (the second number is the effective id, the fourth that for files), "Groups"
  /// and "CapEff".
  package static func credentials(of task: Int32) -> CallerCredentials? {
    var user: UInt32?
    var (group, groups): (UInt32?, Set<UInt32>) = (nil, [])
    var capabilities: UInt64?
    _ = read(task) { line in
      let text = String(decoding: line, as: UTF8.self)
      let fields = text.split { $0 == "\t" || $0 == " " }
      switch fields.first {
      case "Uid:" where fields.count > 4: user = UInt32(fields[2])
      case "Gid:" where fields.count > 4:
        group = UInt32(fields[2])
        if let forFiles = UInt32(fields[4]) { groups.insert(forFiles) }
      case "Groups:": groups.formUnion(fields.dropFirst().compactMap { UInt32($0) })
      case "CapEff:": capabilities = fields.last.flatMap { UInt64($0, radix: 16) }
      default: break
      }
      return capabilities == nil
    }
    guard let user, let group, let capabilities else { return nil }
    return CallerCredentials(
      user: user, group: group, groups: groups,
      capabilities: CapabilitySet(rawValue: capabilities))
  }

  /// Who or what could come between a process's instructions.
  package struct Disturbances: Sendable {
    /// Its tracer; 0 without one.
    package var tracer = 0
    /// How many threads it has.
    package var threads = 0
    /// The signals that have a handler; signal 1 is the lowest bit.
    package var caughtSignals: UInt64 = 0
    /// How many seccomp filters the thread has; 0 also before Linux 5.9, which doesn't say.
    package var filters = 0

    /// Looks at the first thread of a process; nil when it is gone.
    ///
    /// Source: proc_pid_status(5).
    package init?(of task: Int32) {
      var found = 0
      let isRead = ProcessStatus.read(task) { line in
        for (index, name) in Self.names.enumerated() where line.starts(with: name) {
          let value = String(decoding: line.dropFirst(name.count + 2), as: UTF8.self)
          switch index {
          case 0: tracer = Int(value) ?? -1
          case 1: threads = Int(value) ?? -1
          case 2: caughtSignals = UInt64(value, radix: 16) ?? .max
          default: filters = Int(value) ?? -1
          }
          found += 1
        }
        return found < Self.names.count
      }
      guard isRead, found >= Self.names.count - 1 else { return nil }
    }

    /// In the kernel's order.
    private static let names = ["TracerPid", "Threads", "SigCgt", "Seccomp_filters"]
      .map { Array($0.utf8) }
  }

  private static func value<T>(
    _ field: String, of task: Int32, _ parse: (Substring) -> T?
  ) -> T? {
    line(field, of: task)?.split(separator: "\t").first.flatMap { parse($0) }
  }

  /// What stands behind a field's name.
  private static func line(_ field: String, of task: Int32) -> Substring? {
    var found: Substring?
    _ = read(task) { line in
      guard line.starts(with: field.utf8), line.dropFirst(field.utf8.count).first == colon else {
        return true
      }
      found = Substring(decoding: line.dropFirst(field.utf8.count + 2), as: UTF8.self)
      return false
    }
    return found
  }

  /// Goes through the lines until `body` returns false.
  ///
  /// - Returns: Whether there is such a task.
  private static func read(
    _ task: Int32, _ body: (Slice<UnsafeMutableRawBufferPointer>) -> Bool
  ) -> Bool {
    guard let file = try? FileDescriptor.open("/proc/\(task)/status", .readOnly) else {
      return false
    }
    defer { try? file.close() }
    return withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 1) { buffer in
      guard let base = buffer.baseAddress, let count = try? file.read(into: buffer) else {
        return false
      }
      var start = 0
      while start < count {
        let rest = count - start
        let end =
          memchr(base + start, Int32(UInt8(ascii: "\n")), rest)
          .map { UnsafeRawPointer($0) - UnsafeRawPointer(base) } ?? count
        // A name of a program is escaped there: no line begins in it.
        if !body(buffer[start..<end]) { return true }
        start = end + 1
      }
      return true
    }
  }

  private static let colon = UInt8(ascii: ":")
}
