internal import CLinux
internal import Glibc
internal import PodLinux
internal import Synchronization
internal import SystemPackage

/// podrun's own thread, which attends to signals and to the terminal.
///
/// In a nutshell: it sleeps in poll until a signal comes (signalfd), the terminal has something, or the rest of podrun
/// has. With a terminal, bytes go both ways unchanged, Ctrl-C, Ctrl-Z and Ctrl-\ among them, and the pod's terminal makes
/// signals of them; the outer terminal is raw while podrun is in the foreground. What is for the program goes to
/// ``requests``, in order, also what came before the program ran.
///
/// | signal to podrun | with a terminal | without |
/// | --- | --- | --- |
/// | HUP INT QUIT TERM USR1 USR2 ALRM | to the program | to the program; to its group when it comes from a terminal |
/// | WINCH | the size is copied | to the program's group |
/// | TSTP | restores the terminal, stops podrun | stops the program's group, then podrun |
/// | CONT | raw again, in the foreground | continues the program's group |
///
/// HUP, INT and QUIT aren't passed on when podrun was started with them ignored, by nohup(1) for one.
final class Attendant: Sendable {
  /// What the program is to get.
  enum Request: Sendable {
    case send(Int32, toGroup: Bool)
    /// Stop; podrun itself stops afterwards.
    case stop
  }

  private enum Command {
    case started
    case stopped
    case finish
  }

  /// What the program is to get, in the order in which podrun got it.
  let requests: AsyncStream<Request>
  /// The terminal that is the program's; nil when it has none of its own.
  var innerTerminal: FileDescriptor? { terminal?.inner }

  private let terminal: OuterTerminal?
  private let continuation: AsyncStream<Request>.Continuation
  private let commands = Mutex<[Command]>([])
  private let doorbell: OwnedDescriptor
  private let ended = Promise<Void>()

  private static let forwarded = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM]
  private static let taken = forwarded + [SIGWINCH, SIGTSTP, SIGCONT]

  /// Blocks the signals that the attendant takes, and those that only disturb a relay, in this thread and all that it
  /// starts.
  static func blockSignals() {
    var set = sigset(taken + [SIGPIPE, SIGTTIN, SIGTTOU])
    pthread_sigmask(SIG_BLOCK, &set, nil)
  }

  /// Starts the thread.
  ///
  /// - Throws: `Errno` when the system has no thread or descriptor left.
  static func start(terminal: OuterTerminal?) throws(Errno) -> Attendant {
    var set = sigset(taken)
    let signals = withUnsafePointer(to: &set) { set in
      CLinux_syscall(
        Int(SYS_signalfd4), UInt64(UInt32(bitPattern: -1)), UInt64(UInt(bitPattern: set)), 8,
        UInt64(O_CLOEXEC | O_NONBLOCK), 0, 0)
    }
    let doorbell = CLinux_syscall(
      Int(SYS_eventfd2), 0, UInt64(O_CLOEXEC | O_NONBLOCK), 0, 0, 0, 0)
    for result in [signals, doorbell] where result < 0 { throw Errno(rawValue: Int32(-result)) }
    let attendant = Attendant(
      terminal: terminal, doorbell: OwnedDescriptor(owning: Int32(doorbell)))
    RawTerminal.restoreOnCrash()
    let thread = try SupervisorThread.start(name: "podrun") {
      let loop = Loop(attendant, signals: OwnedDescriptor(owning: Int32(signals)))
      loop.run()
      attendant.continuation.finish()
      attendant.ended.fulfil(())
    }
    thread.detach()
    return attendant
  }

  private init(terminal: OuterTerminal?, doorbell: consuming OwnedDescriptor) {
    self.terminal = terminal
    self.doorbell = doorbell
    (requests, continuation) = AsyncStream.makeStream()
  }

  /// The program runs: the relay begins.
  func programStarted() { post(.started) }

  /// A request was carried out, or couldn't be.
  func carriedOut(_ request: Request) {
    if case .stop = request { post(.stopped) }
  }

  /// Returns when all that was printed is out and the terminal is restored; to be called when the pod has ended.
  func finish() async {
    post(.finish)
    await ended.value
  }

  private func post(_ command: Command) {
    commands.withLock { $0.append(command) }
    var one: UInt64 = 1
    _ = write(doorbell.rawValue, &one, 8)
  }

  private static func sigset(_ signals: [Int32]) -> sigset_t {
    var set = sigset_t()
    sigemptyset(&set)
    for signal in signals { sigaddset(&set, signal) }
    return set
  }

  // MARK: The thread's side

  /// What only the thread has.
  private final class Loop {
    private let attendant: Attendant
    private let terminal: OuterTerminal?
    private let signals: OwnedDescriptor
    private let ignored: Set<Int32>

    private var programRuns = false
    private var podHasEnded = false
    private var isDone = false
    /// Whether podrun is in the foreground and the outer terminal raw.
    private var isRelaying = false
    private var inputHasEnded = false
    private var outputHasEnded = false
    private var innerHasEnded = false
    private var typed: [UInt8] = []
    private var printed: [UInt8] = []

    private static let room = 65_536
    private static let fromKernel: Int32 = 0x80

    init(_ attendant: Attendant, signals: consuming OwnedDescriptor) {
      self.attendant = attendant
      terminal = attendant.terminal
      self.signals = signals
      ignored = Set([SIGHUP, SIGINT, SIGQUIT].filter(Self.isIgnored))
    }

    private static func isIgnored(_ signal: Int32) -> Bool {
      var action = sigaction()
      sigaction(signal, nil, &action)
      return unsafeBitCast(action.__sigaction_handler, to: Int.self) == 1
    }

    func run() {
      settle()
      while !isDone {
        wait()
        settle()
      }
      RawTerminal.leave()
      terminal?.hangUp()
    }

    private func wait() {
      var entries = [
        pollfd(fd: signals.rawValue, events: Int16(POLLIN), revents: 0),
        pollfd(fd: attendant.doorbell.rawValue, events: Int16(POLLIN), revents: 0),
      ]
      var timeout: Int32 = -1
      if let terminal, programRuns || podHasEnded {
        var inner: Int32 = 0
        if printed.count < Self.room { inner |= POLLIN }
        if !typed.isEmpty { inner |= POLLOUT }
        let readsInput = isRelaying && !inputHasEnded && !podHasEnded && typed.count < Self.room
        entries += [
          pollfd(
            fd: innerHasEnded || inner == 0 ? -1 : terminal.controller.rawValue,
            events: Int16(inner), revents: 0),
          pollfd(fd: readsInput ? terminal.input.rawValue : -1, events: Int16(POLLIN), revents: 0),
          pollfd(
            fd: printed.isEmpty ? -1 : terminal.output.rawValue, events: Int16(POLLOUT),
            revents: 0),
        ]
        // Nobody tells a running process that it is in the foreground now.
        if !isRelaying, !inputHasEnded { timeout = 200 }
      }
      guard poll(&entries, nfds_t(entries.count), timeout) > 0 else { return }
      if entries[0].revents != 0 { takeSignals() }
      if entries[1].revents != 0 { takeCommands() }
      guard entries.count > 2, let terminal else { return }
      if entries[4].revents != 0 { print(on: terminal) }
      if entries[2].revents & Int16(POLLOUT) != 0 { type(into: terminal) }
      if entries[2].revents & Int16(POLLIN | POLLHUP | POLLERR) != 0 { readPrinted(from: terminal) }
      if entries[3].revents != 0 { readTyped(from: terminal, entries[3].revents) }
    }

    /// Does what follows from the state.
    private func settle() {
      guard let terminal else {
        isDone = podHasEnded
        return
      }
      if programRuns, !podHasEnded, !isRelaying, !inputHasEnded, terminal.isOurs {
        RawTerminal.enter(terminal.input.borrowed)
        terminal.copySize()
        isRelaying = true
      }
      if podHasEnded, innerHasEnded, printed.isEmpty { isDone = true }
    }

    // MARK: Bytes

    private func readTyped(from terminal: OuterTerminal, _ events: Int16) {
      // Between poll and here podrun may have been sent to the background.
      guard terminal.isOurs else {
        isRelaying = false
        RawTerminal.forget()
        return
      }
      switch Self.read(terminal.input.rawValue, into: &typed) {
      case .some: break
      case .nothingNow: break
      case .end, .failure:
        inputHasEnded = true
        if events & Int16(POLLHUP) != 0 {
          // The outer terminal is gone.
          RawTerminal.forget()
          innerHasEnded = true
          terminal.hangUp()
        } else if let byte = terminal.endOfFile {
          typed.append(byte)
        }
      }
    }

    private func readPrinted(from terminal: OuterTerminal) {
      switch Self.read(terminal.controller.rawValue, into: &printed) {
      case .some, .nothingNow: break
      case .end, .failure: innerHasEnded = true
      }
      if outputHasEnded { printed = [] }
    }

    private func type(into terminal: OuterTerminal) {
      if !Self.write(&typed, to: terminal.controller.rawValue) { typed = [] }
    }

    private func print(on terminal: OuterTerminal) {
      if !Self.write(&printed, to: terminal.output.rawValue) {
        outputHasEnded = true
        printed = []
      }
    }

    private enum Reading {
      case some
      case nothingNow
      case end
      case failure
    }

    private static func read(_ descriptor: Int32, into buffer: inout [UInt8]) -> Reading {
      let old = buffer.count
      buffer.append(contentsOf: repeatElement(0, count: 16_384))
      let count = buffer.withUnsafeMutableBytes {
        Glibc.read(descriptor, $0.baseAddress?.advanced(by: old), 16_384)
      }
      let error = errno
      buffer.removeSubrange((old + max(count, 0))...)
      if count > 0 { return .some }
      if count == 0 { return .end }
      return error == EAGAIN || error == EINTR ? .nothingNow : .failure
    }

    /// - Returns: Whether the descriptor takes bytes, now or later.
    private static func write(_ buffer: inout [UInt8], to descriptor: Int32) -> Bool {
      let count = buffer.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
      if count < 0 { return errno == EAGAIN || errno == EINTR }
      buffer.removeFirst(count)
      return true
    }

    // MARK: Commands and signals

    private func takeCommands() {
      var count: UInt64 = 0
      _ = Glibc.read(attendant.doorbell.rawValue, &count, 8)
      let commands = attendant.commands.withLock { commands in
        defer { commands = [] }
        return commands
      }
      for command in commands {
        switch command {
        case .started: programRuns = true
        case .stopped: stop()
        case .finish:
          podHasEnded = true
          terminal?.closeInner()
        }
      }
    }

    private func takeSignals() {
      // Source: signalfd(2), struct signalfd_siginfo: ssi_signo, ssi_errno, ssi_code, …; 128 bytes.
      var info = [Int32](repeating: 0, count: 32)
      while Glibc.read(signals.rawValue, &info, 128) == 128 { take(info[0], code: info[2]) }
    }

    private func take(_ signal: Int32, code: Int32) {
      switch signal {
      case SIGWINCH:
        if let terminal {
          if !innerHasEnded { terminal.copySize() }
        } else {
          request(.send(signal, toGroup: true))
        }
      case SIGTSTP:
        // With a terminal, what is inside stops by itself at the latest when nobody serves it.
        if terminal != nil || !programRuns {
          stop()
        } else {
          request(.stop)
        }
      case SIGCONT:
        if terminal != nil {
          regain()
        } else {
          request(.send(signal, toGroup: true))
        }
      default:
        if podHasEnded {
          // Only what was printed is still on its way, and nobody seems to take it.
          isDone = true
        } else if !ignored.contains(signal) {
          request(.send(signal, toGroup: code == Self.fromKernel))
        }
      }
    }

    private func request(_ request: Request) { attendant.continuation.yield(request) }

    /// Stops podrun as the signal would have, with the terminal as it was.
    private func stop() {
      RawTerminal.leave()
      isRelaying = false
      var set = Attendant.sigset([SIGTSTP])
      pthread_sigmask(SIG_UNBLOCK, &set, nil)
      kill(getpid(), SIGTSTP)
      // podrun goes on here.
      pthread_sigmask(SIG_BLOCK, &set, nil)
    }

    /// podrun goes on after a stop, perhaps one that it couldn't see, and not always in the foreground.
    private func regain() {
      guard let terminal, isRelaying else { return }
      if terminal.isOurs {
        RawTerminal.enter(terminal.input.borrowed)
        terminal.copySize()
      } else {
        RawTerminal.forget()
        isRelaying = false
      }
    }
  }
}
