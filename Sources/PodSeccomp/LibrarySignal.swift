internal import PodCore
internal import PodLinux
internal import SystemPackage

/// The signals by which glibc's threads make each other cancel or change their user.
///
/// Their handlers believe only what comes from their own process: they compare the sender in the signal's frame, which is the
/// kernel's number where handlers have no stubs, with getpid(2). So a handler that runs for one there gets the kernel's
/// answer to that one call.
///
/// Source: nptl/pthread_cancel.c, `sigcancel_handler`, and nptl/nptl_setxid.c, `__nptl_setxid_sighandler`.
enum LibrarySignal {
  private static let signals: ClosedRange<Int32> = 32...33

  /// Whether a call sends one of them to a thread of the caller's own process.
  static func isOne(_ call: Syscall, _ arguments: CallArguments, from process: Int32) -> Bool {
    call == .tgkill && arguments.int(0) == process && signals.contains(arguments.int(2))
  }

  /// Whether a thread blocks a signal, as it does while its handler runs.
  static func isBlocked(_ signal: Int32, by thread: Int32) -> Bool {
    guard let mask = ProcessStatus.mask("SigBlk", of: thread) else { return false }
    return mask >> UInt64(signal - 1) & 1 != 0
  }
}
