internal import CLinux
internal import Glibc
internal import PodLinux
internal import Synchronization
internal import SystemPackage

/// The one terminal of the process that podrun has in raw mode, so that whatever ends podrun can restore it.
enum RawTerminal {
  private struct State {
    var descriptor: Int32
    var saved: TerminalMode
  }
  private static let state = Mutex<State?>(nil)

  // What the handler of a crash needs, which can't take a lock.
  private nonisolated(unsafe) static var crashMode = termios()
  private static let crashDescriptor = Atomic<Int32>(-1)

  /// Whether the terminal is in raw mode now.
  static var isRaw: Bool { crashDescriptor.load(ordering: .relaxed) >= 0 }

  /// Brings a terminal into raw mode, also if somebody has changed it since the last time.
  static func enter(_ descriptor: FileDescriptor) {
    state.withLock { state in
      guard let mode = try? TerminalMode(of: descriptor) else { return }
      if state == nil || mode.echoes {
        state = State(descriptor: descriptor.rawValue, saved: mode)
        if crashDescriptor.load(ordering: .relaxed) < 0 {
          tcgetattr(descriptor.rawValue, &crashMode)
        }
      }
      try? mode.raw.setNow(on: descriptor)
      crashDescriptor.store(descriptor.rawValue, ordering: .releasing)
    }
  }

  /// Gives the terminal the mode back that it had. Idempotent.
  static func leave() {
    state.withLock { state in
      crashDescriptor.store(-1, ordering: .relaxed)
      if let state {
        try? state.saved.setNow(on: FileDescriptor(rawValue: state.descriptor))
      }
      state = nil
    }
  }

  /// Leaves the terminal as it is: it is somebody else's now.
  static func forget() {
    state.withLock { state in
      crashDescriptor.store(-1, ordering: .relaxed)
      state = nil
    }
  }

  /// Restores the terminal when podrun crashes; the crash itself goes on.
  static func restoreOnCrash() {
    // Made now, since a handler can't wait for somebody else to make it.
    crashMode = termios()
    crashDescriptor.store(-1, ordering: .relaxed)
    for signal in [SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV] {
      var action = sigaction()
      action.__sigaction_handler.sa_handler = { signal in
        let descriptor = RawTerminal.crashDescriptor.load(ordering: .acquiring)
        if descriptor >= 0 { tcsetattr(descriptor, TCSANOW, &RawTerminal.crashMode) }
        raise(signal)
      }
      action.sa_flags = Int32(bitPattern: UInt32(SA_RESETHAND))
      sigaction(signal, &action, nil)
    }
  }
}
