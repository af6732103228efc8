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
  private let threads = Mutex<[Int32: ContinuousClock.Instant]>([:])

  func begin(_ tid: Int32) { threads.withLock { $0[tid] = .now } }
  func end(_ tid: Int32) { _ = threads.withLock { $0.removeValue(forKey: tid) } }

  private static let pause = Duration.milliseconds(250)

  /// Looks until its task is cancelled, or a report has been taken.
  ///
  /// - Returns: The thread whose report was taken.
  func watch() async -> Int32? {
    var suspect: Int32?
    while (try? await Task.sleep(for: Self.pause)) != nil {
      let late = threads.withLock { threads in
        threads.filter { ContinuousClock.now - $0.value > Self.pause }.map(\.key)
      }
      let still = late.first { standsStillUnseen($0) }
      if let still, still == suspect { return still }
      suspect = still
    }
    return nil
  }

  /// Whether a tracee stands still, and its tracer isn't going to hear of it.
  private func standsStillUnseen(_ tid: Int32) -> Bool {
    guard ProcessStatus.isInTracingStop(tid), !hasReport(tid) else { return false }
    return ProcessStatus.isInTracingStop(tid)
  }

  private func hasReport(_ tid: Int32) -> Bool {
    var info = siginfo_t()
    let options = WEXITED | WSTOPPED | WNOHANG | WNOWAIT | Int32(CLinux_WAIT_ALL)
    return CLinux_waitid(Int32(P_PID.rawValue), tid, &info, options, nil) == 0
      && CLinux_siginfo_pid(&info) == tid
  }
}
