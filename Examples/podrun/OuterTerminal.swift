internal import Glibc
internal import PodLinux
internal import Synchronization
internal import SystemPackage

/// The terminal that podrun was started on, and the pod's own that it relays to it.
final class OuterTerminal: Sendable {
  /// What is typed comes from here.
  let input: OwnedDescriptor
  /// What programs print goes here.
  let output: OwnedDescriptor
  /// The programs' side of the pod's terminal.
  let inner: FileDescriptor
  /// podrun's side of it.
  let controller: FileDescriptor
  private let pair: Mutex<PseudoTerminal?>

  /// Opens the terminals; the pod's begins with the mode and size that the outer one has.
  ///
  /// - Throws: `Errno` when there is no pseudo-terminal to be had.
  static func open() throws(Errno) -> OuterTerminal {
    let input = try reopen(.standardInput)
    let output = try reopen(Host.isTerminal(.standardOutput) ? .standardOutput : .standardInput)
    let pair = try PseudoTerminal.open(size: try? TerminalSize(of: output.borrowed))
    guard let inner = pair.terminal else { throw .noSuchAddressOrDevice }
    try? TerminalMode(of: input.borrowed).setNow(on: inner)
    makeNonBlocking(pair.controller.rawValue)
    return OuterTerminal(input: input, output: output, inner: inner, pair: pair)
  }

  private init(
    input: consuming OwnedDescriptor, output: consuming OwnedDescriptor, inner: FileDescriptor,
    pair: consuming PseudoTerminal
  ) {
    self.input = input
    self.output = output
    controller = pair.controller
    self.inner = inner
    self.pair = Mutex(consume pair)
  }

  /// An open file of its own, so that O_NONBLOCK isn't set for everybody who has the terminal; where the terminal may not
  /// be opened again, the same one, which blocks.
  private static func reopen(_ descriptor: FileDescriptor) throws(Errno) -> OwnedDescriptor {
    let number = Glibc.open(
      "/proc/self/fd/\(descriptor.rawValue)", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)
    if number >= 0 { return OwnedDescriptor(owning: number) }
    let copy = fcntl(descriptor.rawValue, F_DUPFD_CLOEXEC, 3)
    if copy < 0 { throw Errno(rawValue: errno) }
    return OwnedDescriptor(owning: copy)
  }

  private static func makeNonBlocking(_ descriptor: Int32) {
    _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
  }

  /// Whether podrun may read from the terminal and set its mode: it is in the foreground, or the terminal isn't its
  /// controlling one, and nobody's job control is in the way.
  var isOurs: Bool {
    let foreground = tcgetpgrp(input.rawValue)
    return foreground < 0 || foreground == getpgrp()
  }

  /// Makes the inner terminal as large as the outer one.
  func copySize() {
    try? TerminalSize(of: output.borrowed).set(on: controller)
  }

  /// The byte that ends the input of a program that reads lines; nil when programs read byte by byte.
  var endOfFile: UInt8? {
    var mode = termios()
    guard tcgetattr(controller.rawValue, &mode) == 0, mode.c_lflag & tcflag_t(ICANON) != 0
    else { return nil }
    return withUnsafeBytes(of: mode.c_cc) { $0[Int(VEOF)] }
  }

  /// Closes podrun's copy of the programs' side: when the last program has gone, so has what they printed.
  func closeInner() { pair.withLock { $0?.closeTerminal() } }

  /// Closes the inner terminal: its programs get SIGHUP and read the end.
  func hangUp() { pair.withLock { $0 = nil } }
}
