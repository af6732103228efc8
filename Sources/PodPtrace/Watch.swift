internal import CLinux
internal import Glibc
internal import PodCore
internal import PodLinux
internal import Synchronization
internal import SystemPackage

/// What a supervisor's thread shows of itself.
final class Pulse: Sendable {
  /// How many reports of programs it has served.
  let reports = Atomic<UInt64>(0)
  /// How many reports it has served, init's among them.
  let turns = Atomic<UInt64>(0)
  /// Whether it never sleeps in wait4, and finds what it missed by itself.
  let isWatchful = Atomic<Bool>(false)
  /// Its thread id; 0 before it runs and when it has ended.
  let tracer = Atomic<Int32>(0)
  /// Whether it has taken reports that it will serve later.
  let holdsReports = Atomic<Bool>(false)
  /// Whether it is to look for reports that it missed, as soon as it is awake.
  let isAskedToLook = Atomic<Bool>(false)
}

/// Looks after a supervisor that sleeps in wait4, which a report that somebody else took never wakes.
///
/// It looks seldom, and the more so the longer nothing happens: then init is made to stop, and the supervisor, awake, looks
/// for what it missed. When init itself stands still without a report, nothing can wake the supervisor but ends: the pod
/// is killed.
struct Watch: Sendable {
  let pulse: Pulse
  let podInit: PodInit
  let mailbox: Mailbox
  let setup: PodSetup

  private static let shortest = Duration.milliseconds(100)
  private static let longest = Duration.seconds(1)

  /// Runs until its task is cancelled.
  func run() async {
    var pause = Self.shortest
    var seen: UInt64 = 0
    while (try? await Task.sleep(for: pause)) != nil {
      let reports = pulse.reports.load(ordering: .relaxed)
      if reports != seen {
        (seen, pause) = (reports, Self.shortest)
      } else if await sleepsForEver() {
        return await giveUp()
      } else {
        pulse.isAskedToLook.store(true, ordering: .relaxed)
        mailbox.wake()
        pause = min(pause * 2, Self.longest)
      }
    }
  }

  /// Whether the supervisor sleeps, has done so for a while, and isn't going to hear of init. One that is awake, however
  /// long it doesn't get to run, lets init go on.
  private func sleepsForEver() async -> Bool {
    let turns = pulse.turns.load(ordering: .relaxed)
    guard isAsleep, standsStillUnseen(podInit.processID) else { return false }
    try? await Task.sleep(for: Self.shortest)
    return isAsleep && standsStillUnseen(podInit.processID)
      && pulse.turns.load(ordering: .relaxed) == turns
  }

  private var isAsleep: Bool {
    if pulse.isWatchful.load(ordering: .relaxed) || pulse.holdsReports.load(ordering: .relaxed) {
      return false
    }
    let task = "/proc/self/task/\(pulse.tracer.load(ordering: .relaxed))"
    // wait4 or waitid: with WNOHANG a thread is not to be seen there.
    let call = Self.text(of: task + "/syscall").split(separator: " ").first.flatMap { Int($0) }
    return call == Int(Syscall.wait4.rawValue) || call == Int(Syscall.waitid.rawValue)
  }

  /// Whether a tracee stands still, and its tracer isn't going to hear of it.
  ///
  /// Preconditions: it is never left in a group stop.
  private func standsStillUnseen(_ process: Int32) -> Bool {
    guard Self.state(of: process) == UInt8(ascii: "t") else { return false }
    var info = siginfo_t()
    let options = WEXITED | WSTOPPED | WNOHANG | WNOWAIT | Int32(CLinux_WAIT_ALL)
    guard CLinux_waitid(Int32(P_PID.rawValue), process, &info, options, nil) == 0,
      CLinux_siginfo_pid(&info) == 0
    else { return false }
    return Self.state(of: process) == UInt8(ascii: "t")
  }

  private func giveUp() async {
    HostReports.areTaken.store(true, ordering: .relaxed)
    setup.events(
      .failed(
        "a thread of the host program waits for any child and has taken the tracer's report of the pod's init"
      ))
    repeat {
      // Its number may be another thread's once it has ended.
      let tracer = pulse.tracer.load(ordering: .relaxed)
      if tracer == 0 { return }
      try? podInit.signal(SIGKILL)
      for process in Self.tracees(of: tracer) { Self.kill(process, tracedBy: tracer) }
    } while (try? await Task.sleep(for: Self.shortest)) != nil
  }

  /// Kills a tracee. Its number isn't enough: it may be another's meanwhile.
  static func kill(_ process: Int32, tracedBy tracer: Int32) {
    let pidfd = CLinux_pidfd_open(process, 0)
    guard pidfd >= 0 else { return }
    if Self.tracer(of: process) == tracer {
      _ = CLinux_pidfd_send_signal(pidfd, SIGKILL, nil, 0)
    }
    close(pidfd)
  }

  /// All processes that a thread traces.
  static func tracees(of tracer: Int32) -> [Int32] {
    guard tracer != 0, let directory = opendir("/proc") else { return [] }
    defer { closedir(directory) }
    var found: [Int32] = []
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
        pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if let process = Int32(name), Self.tracer(of: process) == tracer { found.append(process) }
    }
    return found
  }

  private static func text(of path: String) -> String {
    guard let file = try? FileDescriptor.open(FilePath(path), .readOnly) else { return "" }
    defer { try? file.close() }
    return withUnsafeTemporaryAllocation(byteCount: 2048, alignment: 1) { buffer in
      let count = (try? file.read(into: buffer)) ?? 0
      return String(decoding: buffer[..<count], as: UTF8.self)
    }
  }

  private static func tracer(of process: Int32) -> Int32? {
    text(of: "/proc/\(process)/status").split(separator: "\n")
      .first { $0.hasPrefix("TracerPid:") }
      .flatMap { Int32($0.dropFirst("TracerPid:\t".count)) }
  }

  private static func state(of process: Int32) -> UInt8? {
    // "PID (COMMAND) STATE …", and the command may have parentheses of its own.
    let text = Array(text(of: "/proc/\(process)/stat").utf8)
    guard let end = text.lastIndex(of: UInt8(ascii: ")")), end + 2 < text.count else { return nil }
    return text[end + 2]
  }
}
