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
  /// Its thread id; 0 before it runs.
  let tracer = Atomic<Int32>(0)
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
      } else if standsStillUnseen(podInit.processID) {
        try? await Task.sleep(for: Self.shortest)
        // A supervisor that is awake has let it go by now.
        if standsStillUnseen(podInit.processID) { return await giveUp() }
      } else {
        pulse.isAskedToLook.store(true, ordering: .relaxed)
        mailbox.wake()
        pause = min(pause * 2, Self.longest)
      }
    }
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
    Supervisor.hostTakesReports.store(true, ordering: .relaxed)
    setup.events(
      .failed(
        "a thread of the host program waits for any child and has taken the tracer's report of the pod's init"
      ))
    repeat {
      try? podInit.signal(SIGKILL)
      killTracees()
    } while (try? await Task.sleep(for: Self.shortest)) != nil
  }

  /// Kills what the supervisor traces. A number isn't enough: it may be another's meanwhile.
  private func killTracees() {
    let tracer = pulse.tracer.load(ordering: .relaxed)
    guard tracer != 0, let directory = opendir("/proc") else { return }
    defer { closedir(directory) }
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
        pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      guard let process = Int32(name) else { continue }
      let pidfd = CLinux_pidfd_open(process, 0)
      guard pidfd >= 0 else { continue }
      defer { close(pidfd) }
      if Self.tracer(of: process) == tracer {
        _ = CLinux_pidfd_send_signal(pidfd, SIGKILL, nil, 0)
      }
    }
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
