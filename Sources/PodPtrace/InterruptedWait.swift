internal import CLinux
internal import Glibc
internal import PodCore
internal import PodLinux
internal import SystemPackage

/// A wait that a signal has ended which the program ignores.
///
/// Outside, who ignores a signal isn't woken by it. A traced thread is, so that its tracer sees the signal. Most calls then go
/// on by themselves; those that answer EINTR to any wake-up don't, so they are made again here, as if they had asked for it:
/// where the signal has a handler the kernel turns that into EINTR.
///
/// Source: signal(7), "Interruption of system calls and library functions by signal handlers"; kernel/signal.c,
/// `sig_ignored`.
enum InterruptedWait {
  /// What such calls answer that want to be made again unless a handler runs: ERESTARTNOHAND.
  static let restartUnlessHandled: Int32 = 514

  /// How long a call waits.
  enum Limit {
    /// Until something happens.
    case forever
    /// For what the `timespec` at this address says.
    case until(RemoteAddress)
  }

  /// How long a call waits that answers EINTR to any wake-up; nil for others, and for those of which nobody saw when they
  /// began.
  static func limit(of call: Syscall, _ arguments: CallArguments) -> Limit? {
    switch call {
    case .epoll_wait, .epoll_pwait: arguments.int(3) < 0 ? .forever : nil
    case .epoll_pwait2: arguments[3] == 0 ? .forever : nil
    case .semtimedop:
      arguments[3] == 0 ? .forever : .until(RemoteAddress(rawValue: arguments[3]))
    case .io_getevents, .io_pgetevents: arguments[4] == 0 ? .forever : nil
    case .semop: .forever
    case .rt_sigtimedwait:
      arguments[2] == 0 ? .forever : .until(RemoteAddress(rawValue: arguments[2]))
    default: nil
    }
  }
}

extension Tracee {
  /// Before a signal is delivered: lets the wait go on that it has ended, unless it has a handler, or has stopped the
  /// thread. One whose time limit the kernel keeps waits for all of it again, but is over at the first signal after that.
  ///
  /// Source: signal(7), "Interruption of system calls and library functions by stop signals".
  func goOnWaiting(after signal: Int32) {
    if stops(at: signal) { hasStopped = true }
    if hasStopped {
      if signal == SIGCONT { hasStopped = false }
      return
    }
    guard var registers = try? Registers(of: tid), registers.resultError == .interrupted,
      let call = UInt16(exactly: registers.syscallNumber).flatMap({ Syscall(rawValue: $0) }),
      let limit = InterruptedWait.limit(of: call, CallArguments(registers))
    else { return }
    var error = Errno(rawValue: InterruptedWait.restartUnlessHandled)
    if case .until(let address) = limit {
      guard begun == call, let time = duration(at: address) else { return }
      if began.duration(to: .now) >= time {
        error = .resourceTemporarilyUnavailable
      } else {
        goesOn = call
      }
    }
    registers.setResult(error: error)
    try? registers.set(to: tid)
  }

  /// Whether a signal stops the thread. One that has a handler doesn't, but ends the wait as well.
  private func stops(at signal: Int32) -> Bool {
    switch signal {
    case SIGSTOP: return true
    case SIGTSTP, SIGTTIN, SIGTTOU:
      let ignored = ProcessStatus.mask("SigIgn", of: tid) ?? 0
      return ignored & 1 << UInt64(signal - 1) == 0
    default: return false
    }
  }

  private func duration(at address: RemoteAddress) -> Duration? {
    var time: (seconds: Int64, nanoseconds: Int64) = (0, 0)
    do throws(Errno) {
      try withUnsafeMutableBytes(of: &time) { bytes throws(Errno) in
        try process.space.memory.read(address, into: bytes, stopped: tid)
      }
    } catch {
      return nil
    }
    // What the kernel has not refused; other numbers were put there meanwhile.
    guard (0...0xFFFF_FFFF).contains(time.seconds), (0..<1_000_000_000).contains(time.nanoseconds)
    else { return nil }
    return .seconds(time.seconds) + .nanoseconds(time.nanoseconds)
  }
}
