internal import CLinux
internal import Glibc
internal import PodCore
internal import PodLinux
internal import Synchronization
internal import SystemPackage

/// Who is attached to, for those who look whether it goes on.
///
/// A receiver sleeps until the thread that it is attached to stops. Should a thread of the host program that waits for any
/// child take that report, nothing wakes the receiver any more: then the pod fails, and later ones don't sleep.
final class Attendance: Sendable {
  private struct Attending: Equatable {
    /// Whose reports the receiver sleeps for.
    let tids: [Int32]
    /// The receiver's thread.
    let tracer: Int32
    let begin: ContinuousClock.Instant
  }
  private let receivers = Mutex<[Int32: Attending]>([:])

  /// The calling thread is about to sleep until one of these stops or ends.
  func sleeps(for tids: [Int32]) {
    let attending = Attending(tids: tids, tracer: CLinux_gettid(), begin: .now)
    receivers.withLock { $0[attending.tracer] = attending }
  }
  /// The calling thread attends to nobody.
  func end() {
    let tracer = CLinux_gettid()
    _ = receivers.withLock { $0.removeValue(forKey: tracer) }
  }

  private static let pause = Duration.milliseconds(250)

  /// Looks until its task is cancelled, or a report has been taken.
  ///
  /// - Returns: The thread whose report was taken.
  func watch() async -> Int32? {
    var suspect: Attending?
    while (try? await Task.sleep(for: Self.pause)) != nil {
      let late = receivers.withLock { receivers in
        receivers.values.filter { ContinuousClock.now - $0.begin > Self.pause }
      }
      let still = late.first { whoStandsStillUnseen($0) != nil }
      if let still, still == suspect, let tid = whoStandsStillUnseen(still) { return tid }
      suspect = still
    }
    return nil
  }

  /// The tracee that stands still, while its tracer sleeps and isn't going to hear of it.
  private func whoStandsStillUnseen(_ attending: Attending) -> Int32? {
    attending.tids.first { tid in
      isAsleep(attending.tracer) && standsStill(tid, for: attending.tracer) && !hasReport(tid)
        && standsStill(tid, for: attending.tracer) && isAsleep(attending.tracer)
    }
  }

  private func standsStill(_ tid: Int32, for tracer: Int32) -> Bool {
    ProcessStatus.isInTracingStop(tid)
      && ProcessStatus.number("TracerPid", of: tid) == Int(tracer)
  }

  /// Whether a thread of the host program sleeps in wait4. One that is awake, however long it doesn't get to run, isn't
  /// seen there.
  ///
  /// Source: proc_pid_syscall(5).
  private func isAsleep(_ thread: Int32) -> Bool {
    guard
      let file = try? FileDescriptor.open("/proc/self/task/\(thread)/syscall", .readOnly)
    else { return false }
    defer { try? file.close() }
    return withUnsafeTemporaryAllocation(byteCount: 256, alignment: 1) { buffer in
      guard let count = try? file.read(into: buffer) else { return false }
      return buffer[..<count].starts(with: "\(Syscall.wait4.rawValue) ".utf8)
    }
  }

  private func hasReport(_ tid: Int32) -> Bool {
    var info = siginfo_t()
    let options = WEXITED | WSTOPPED | WNOHANG | WNOWAIT | Int32(CLinux_WAIT_ALL)
    return CLinux_waitid(Int32(P_PID.rawValue), tid, &info, options, nil) == 0
      && CLinux_siginfo_pid(&info) == tid
  }
}
