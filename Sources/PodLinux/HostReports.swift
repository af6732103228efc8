internal import CLinux
internal import Glibc
internal import PodCore
package import Synchronization
internal import SystemPackage

/// Reports of tracees that go to the host program instead of the tracer.
///
/// A tracee can be waited for by every thread of the host program, not by the tracer alone. One that waits for any child
/// (`waitpid(-1)`, in a loop or in a handler of SIGCHLD) takes reports of stops and ends. The stop itself it can't take: the
/// thread stands still until its tracer lets it go, and tells its tracer why.
///
/// Source: ptrace(2), "the parent of a tracee"; kernel/exit.c, `do_wait_thread` and `ptrace_do_wait`.
package enum HostReports {
  /// Whether a report was missed in any pod of this program: from then on nobody sleeps until one comes.
  package static let areTaken = Atomic<Bool>(false)

  /// Whether a thread that the calling one traces stands still, or has ended, and nobody has been told.
  package static func hasReport(_ tid: Int32) -> Bool {
    var info = siginfo_t()
    let options =
      WEXITED | WSTOPPED | WNOHANG | WNOWAIT | Int32(CLinux_WAIT_ALL | CLinux_WAIT_NO_THREAD)
    return CLinux_waitid(Int32(P_PID.rawValue), tid, &info, options, nil) == 0
      && CLinux_siginfo_pid(&info) == tid
  }

  /// Whether the report of a stop was taken by somebody else: it isn't there, and the thread that the calling one traces
  /// goes on standing still. One that was killed since the stop was seen has none either.
  ///
  /// - Parameters:
  ///   - tid: The thread.
  ///   - signal: The stop's signal, as PTRACE_GETSIGINFO said it.
  ///   - code: The stop's code.
  package static func isTaken(ofStop tid: Int32, signal: Int32, code: Int32) -> Bool {
    if hasReport(tid) { return false }
    var info = siginfo_t()
    return CLinux_ptrace_getsiginfo(tid, &info) == 0 && info.si_signo == signal
      && info.si_code == code
  }

  /// Whether a thread that the calling one traces has ended.
  private static func isGone(_ process: Int32) -> Bool {
    var info = siginfo_t()
    let options = WEXITED | WNOHANG | WNOWAIT | Int32(CLinux_WAIT_ALL | CLinux_WAIT_NO_THREAD)
    let result = CLinux_waitid(Int32(P_PID.rawValue), process, &info, options, nil)
    // A wait of a tracer takes stops too.
    return result < 0
      || CLinux_siginfo_pid(&info) == process && [1, 2, 3].contains(info.si_code)
  }

  /// Finds out whether the host program takes reports: by looking at its threads, and by a report of a process that is made to
  /// stop for it, and that no program of the pod is.
  package static func look(with process: Int32) {
    if areTaken.load(ordering: .relaxed) { return }
    if someThreadWaitsForAnyChild() { return areTaken.store(true, ordering: .relaxed) }
    guard hearsOfChildren, CLinux_ptrace_seize(process, 0) == 0 else { return }
    CLinux_ptrace_interrupt(process)
    var info = siginfo_t()
    var isSeen = false
    // Until it stands still, however long it doesn't get to run: nobody would let it go after that.
    var turn = 0
    while !isSeen {
      // Mostly it stands still at once, and the shortest sleep is longer.
      turn += 1
      if turn < 50 { sched_yield() } else { usleep(100) }
      if CLinux_ptrace_getsiginfo(process, &info) == 0 {
        isSeen = true
        if isTaken(ofStop: process, signal: info.si_signo, code: info.si_code) {
          areTaken.store(true, ordering: .relaxed)
        }
      } else if isGone(process) {
        // Its parent hears of it when its tracer has.
        CLinux_wait4(process, nil, WNOHANG | Int32(CLinux_WAIT_ALL | CLinux_WAIT_NO_THREAD), nil)
        return
      }
    }
    CLinux_ptrace_detach(process, 0)
  }

  /// Whether the host program may hear of a child by SIGCHLD: by a handler, or where its first thread blocks the signal for
  /// a descriptor or a wait. If not, a report is taken by a thread that waits, or by one that looks now and then, which a
  /// trial would hardly meet.
  private static var hearsOfChildren: Bool {
    var action = sigaction()
    guard sigaction(SIGCHLD, nil, &action) == 0 else { return true }
    let handler = unsafeBitCast(action.__sigaction_handler.sa_handler, to: UInt.self)
    let blocked = ProcessStatus.mask("SigBlk", of: getpid()) ?? .max
    return handler > 1 || blocked >> UInt64(SIGCHLD - 1) & 1 != 0
  }

  /// Whether one waits for children without saying which, and not for its own alone.
  ///
  /// Source: proc_pid_syscall(5).
  package static func someThreadWaitsForAnyChild() -> Bool {
    guard let directory = opendir("/proc/self/task") else { return false }
    defer { closedir(directory) }
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
        pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if Int32(name) != nil, waitsForAnyChild(name) { return true }
    }
    return false
  }

  private static func waitsForAnyChild(_ thread: String) -> Bool {
    guard let file = try? FileDescriptor.open("/proc/self/task/\(thread)/syscall", .readOnly) else {
      return false
    }
    defer { try? file.close() }
    let words = withUnsafeTemporaryAllocation(byteCount: 256, alignment: 1) { buffer in
      let count = (try? file.read(into: buffer)) ?? 0
      // Most threads are in other calls, or in none.
      let isWait = [Syscall.wait4, .waitid].contains { call in
        buffer[..<count].starts(with: "\(call.rawValue) ".utf8)
      }
      if !isWait { return [UInt64]() }
      return String(decoding: buffer[..<count], as: UTF8.self).split(separator: " ").map {
        UInt64($0.hasPrefix("0x") ? $0.dropFirst(2) : $0, radix: $0.hasPrefix("0x") ? 16 : 10) ?? 0
      }
    }
    guard words.count > 4 else { return false }
    switch words[0] {
    case UInt64(Syscall.wait4.rawValue):
      return Int32(truncatingIfNeeded: words[1]) <= 0
        && words[3] & UInt64(CLinux_WAIT_NO_THREAD) == 0
    case UInt64(Syscall.waitid.rawValue):
      return [0, 2].contains(words[1])
        && words[4] & UInt64(CLinux_WAIT_NO_THREAD | Int(WNOWAIT)) == 0
    default: return false
    }
  }
}
