internal import CLinux
internal import Glibc
package import SystemPackage

/// A pseudo-terminal: programs have one side as their terminal, the host program reads and writes the other.
package struct PseudoTerminal: ~Copyable, Sendable {
  private let ownController: OwnedDescriptor
  private var ownTerminal: OwnedDescriptor?

  /// The host program's side. Reading it fails with `.ioError` when no program has the other side any more.
  package var controller: FileDescriptor { ownController.borrowed }

  /// The programs' side, to be given to `run(…terminal:)`; nobody's controlling terminal yet. nil when it was closed.
  package var terminal: FileDescriptor? {
    switch ownTerminal {
    case .some(let descriptor): descriptor.borrowed
    case .none: nil
    }
  }

  /// Makes a pair, both sides close-on-exec, in the terminal's default mode.
  ///
  /// The programs' side is opened through the host's, never by a path, so it is the right one whatever is mounted at
  /// `/dev/pts`.
  ///
  /// - Parameter size: The size to begin with; nil leaves 0 × 0.
  /// - Throws: `.noSpace` when the system has no pseudo-terminal left, `.noSuchFileOrDirectory` without `/dev/ptmx`.
  ///
  /// Source: pty(7), ioctl_tty(2): TIOCGPTPEER, since kernel 4.13.
  package static func open(size: TerminalSize? = nil) throws(Errno) -> PseudoTerminal {
    let number = Glibc.open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
    if number < 0 { throw Errno(rawValue: errno) }
    let controller = OwnedDescriptor(owning: number)
    var unlocked: Int32 = 0
    _ = try withUnsafeMutablePointer(to: &unlocked) { pointer throws(Errno) in
      try valueOrErrno(CLinux_ioctl(number, CLinux_TIOCSPTLCK, pointer))
    }
    let terminal = OwnedDescriptor(
      owning: try valueOrErrno(
        CLinux_ioctl_value(
          number, CLinux_TIOCGPTPEER, UInt(O_RDWR | O_NOCTTY | O_CLOEXEC))))
    if let size { try size.set(on: controller.borrowed) }
    return PseudoTerminal(controller: controller, terminal: terminal)
  }

  private init(controller: consuming OwnedDescriptor, terminal: consuming OwnedDescriptor) {
    ownController = controller
    ownTerminal = consume terminal
  }

  /// Closes the host program's copy of the programs' side; to be done when a program has it.
  package mutating func closeTerminal() { ownTerminal = nil }
}

/// The size of a terminal.
package struct TerminalSize: Sendable, Hashable {
  /// Lines of text.
  package var rows: UInt16
  /// Characters in a line.
  package var columns: UInt16
  /// The width in pixels; 0 when it isn't known.
  package var width: UInt16
  /// The height in pixels; 0 when it isn't known.
  package var height: UInt16

  /// A size.
  package init(rows: UInt16, columns: UInt16, width: UInt16 = 0, height: UInt16 = 0) {
    self.rows = rows
    self.columns = columns
    self.width = width
    self.height = height
  }

  /// The size of a terminal, either side of a pseudo-terminal.
  ///
  /// - Throws: `.inappropriateIOCTLForDevice` when it isn't one.
  package init(of descriptor: FileDescriptor) throws(Errno) {
    var size = winsize()
    _ = try withUnsafeMutablePointer(to: &size) { pointer throws(Errno) in
      try valueOrErrno(CLinux_ioctl(descriptor.rawValue, UInt(TIOCGWINSZ), pointer))
    }
    self.init(
      rows: size.ws_row, columns: size.ws_col, width: size.ws_xpixel, height: size.ws_ypixel)
  }

  /// Sets the size; when it changes, the terminal's foreground processes get `SIGWINCH`.
  ///
  /// - Throws: `.inappropriateIOCTLForDevice` when it isn't a terminal.
  package func set(on descriptor: FileDescriptor) throws(Errno) {
    var size = winsize(ws_row: rows, ws_col: columns, ws_xpixel: width, ws_ypixel: height)
    _ = try withUnsafeMutablePointer(to: &size) { pointer throws(Errno) in
      try valueOrErrno(CLinux_ioctl(descriptor.rawValue, UInt(TIOCSWINSZ), pointer))
    }
  }
}

/// How a terminal treats what is typed and printed: a value to save, change and restore.
package struct TerminalMode: Sendable {
  private var attributes: termios

  /// A terminal's mode.
  ///
  /// - Throws: `.inappropriateIOCTLForDevice` when it isn't a terminal.
  package init(of descriptor: FileDescriptor) throws(Errno) {
    attributes = termios()
    if tcgetattr(descriptor.rawValue, &attributes) != 0 { throw Errno(rawValue: errno) }
  }

  /// This mode without echo, line editing, signals and any conversion: each byte goes through as it is.
  ///
  /// Source: termios(3), cfmakeraw.
  package var raw: TerminalMode {
    var mode = self
    cfmakeraw(&mode.attributes)
    return mode
  }

  /// Sets the mode when what was printed is out; what was typed stays.
  ///
  /// In a background process this stops the process (`SIGTTOU`), unless it blocks or ignores the signal.
  ///
  /// - Throws: `.inappropriateIOCTLForDevice`, or `.ioError` when the terminal is gone.
  package func set(on descriptor: FileDescriptor) throws(Errno) {
    try set(on: descriptor, TCSADRAIN)
  }

  /// Sets the mode at once, for a way out that must not wait for a terminal that is stopped.
  ///
  /// - Throws: As ``set(on:)``.
  package func setNow(on descriptor: FileDescriptor) throws(Errno) {
    try set(on: descriptor, TCSANOW)
  }

  private func set(on descriptor: FileDescriptor, _ when: Int32) throws(Errno) {
    var attributes = attributes
    while tcsetattr(descriptor.rawValue, when, &attributes) != 0 {
      if errno != EINTR { throw Errno(rawValue: errno) }
    }
  }

  /// Whether what is typed is echoed.
  package var echoes: Bool { attributes.c_lflag & tcflag_t(ECHO) != 0 }
}
