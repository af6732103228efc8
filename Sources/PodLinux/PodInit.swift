internal import CLinux
internal import CPodVDSO
internal import Glibc
internal import Synchronization
package import SystemPackage

/// A pod's process 1, as the host program holds it.
///
/// In a nutshell: ``start(mode:)`` runs the embedded image as a process that shares nothing with the
/// host but one socket. ``launch(_:id:descriptors:)`` sends it a specification; init forks, and the
/// child sets itself up and executes the program. In ``Mode/traced`` the tracer hears of it by
/// breakpoints, whose registers ``Signal`` names. In ``Mode/supervised`` the host first asks for a
/// filter and its listener (``supervise(_:)``), and then takes reports
/// (``nextReport(milliseconds:)``). When the value goes away, or by ``end()``, init sees the end of
/// its socket and exits; in supervised mode it first kills all processes of the pod.
///
/// All methods may be called from any thread, but ``nextReport(milliseconds:)`` from one at a time;
/// each is one system call on a socket or the pidfd.
package final class PodInit: Sendable {
  /// Who attends to init.
  package enum Mode: Sendable {
    /// Init and its children report by `int3`. Nothing may be asked of init before the tracer has
    /// seized it with the fork option: an untraced process dies of a breakpoint.
    case traced
    /// Init reports by messages, and ``ring()`` does nothing. Nothing is launched before
    /// ``PodInit/supervise(_:)``.
    case supervised
  }

  /// What a breakpoint (SIGTRAP stop) of init, or of a child of it before its execve, says.
  ///
  /// The tracer must only believe it of these: any program can put the same words into its registers.
  package enum Signal: Sendable, Equatable {
    /// Init answers ``PodInit/ring()``.
    case ring
    /// The stopped process is the one made for this launch, still with init's descriptors.
    case born(id: UInt32)
    /// The launch failed; the process exits with 127 next, unless init itself reported.
    case failed(Failure)

    /// Reads the signal from the registers at a stop; nil when it is something else.
    package init?(_ registers: Registers) {
      let (rax, rdi, rsi, rdx) = registers.signalRegisters
      switch rax {
      case UInt64(POD_MAGIC_RING):
        self = .ring
      case UInt64(POD_MAGIC_BORN):
        self = .born(id: UInt32(truncatingIfNeeded: rdi))
      case UInt64(POD_MAGIC_FAILED):
        self = .failed(
          Failure(
            id: UInt32(truncatingIfNeeded: rdi), error: UInt32(truncatingIfNeeded: rsi),
            stage: UInt32(truncatingIfNeeded: rdx)))
      default:
        return nil
      }
    }
  }

  /// Why a launch did not get to the program.
  package struct Failure: Sendable, Equatable {
    /// The launch, as given to ``PodInit/launch(_:id:descriptors:)``.
    package let id: UInt32
    /// The error of the step that failed.
    package let error: Errno
    /// The step.
    package let stage: Stage

    init(id: UInt32, error: UInt32, stage: UInt32) {
      self.id = id
      self.error = Errno(rawValue: CInt(truncatingIfNeeded: error))
      self.stage = Stage(rawValue: stage) ?? .specification
    }
  }

  /// The steps from a launch message to the program's first instruction.
  package enum Stage: UInt32, Sendable {
    case specification = 1
    case fork = 2
    case descriptors = 3
    case session = 4
    case terminal = 5
    case directory = 6
    case credentials = 7
    case capabilities = 8
    case filter = 9
    case exec = 10
  }

  /// A descriptor that a program gets, and its number there.
  package struct PassedDescriptor: Sendable {
    /// The host's descriptor; it stays the host's, a copy goes along.
    package let source: FileDescriptor
    /// The number in the program.
    package let target: Int32

    /// Passes `source` as number `target`.
    package init(_ source: FileDescriptor, as target: Int32) {
      self.source = source
      self.target = target
    }
  }

  /// Init's physical process id.
  ///
  /// Init may be reaped by process 1 once it has ended: use ``signal(_:)`` rather than the number.
  package let processID: Int32
  /// How init reports.
  package let mode: Mode
  let control: OwnedDescriptor
  /// Wakes who waits for a report: the end that is waited at, and the one that is rung at.
  let bell: OwnedDescriptor
  private let rope: OwnedDescriptor
  private let pidfd: OwnedDescriptor
  /// The launcher, once there is one; it is set once.
  let launcher = Mutex<Launcher?>(nil)
  /// Whether the launcher and all that could report by its socket are gone.
  let launcherHasEnded = Atomic(false)

  private init(
    processID: Int32, mode: Mode, control: consuming OwnedDescriptor,
    pidfd: consuming OwnedDescriptor
  ) {
    self.processID = processID
    self.mode = mode
    self.control = control
    self.pidfd = pidfd
    var ends: (Int32, Int32) = (-1, -1)
    // Without it, nobody is woken.
    if mode == .supervised { _ = CLinux_seqpacket_pair(&ends.0, &ends.1) }
    bell = OwnedDescriptor(owning: ends.0)
    rope = OwnedDescriptor(owning: ends.1)
  }

  /// Has ``nextReport(milliseconds:)`` return, now or when it is next called.
  ///
  /// - Returns: Whether it will.
  package func wake() -> Bool {
    var byte: UInt8 = 0
    let count = Glibc.send(rope.rawValue, &byte, 1, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
    return count == 1 || errno == EAGAIN
  }

  /// Starts a pod's init and waits until it can be traced and asked.
  ///
  /// Init's parent is not the host but the nearest subreaper or process 1, so that the host's
  /// `waitpid(-1)` doesn't see it and no SIGCHLD comes (docs/findings.md). Costs no fork of the host.
  ///
  /// - Throws: ``StartFailure``.
  package static func start(mode: Mode) throws(StartFailure) -> PodInit {
    #if arch(x86_64)
      let image = try step(.image, imageDescriptor)
      var ends: (Int32, Int32) = (-1, -1)
      _ = try step(.socket) { () throws(Errno) in
        try valueOrErrno(CLinux_seqpacket_pair(&ends.0, &ends.1))
      }
      let control = OwnedDescriptor(owning: ends.0)
      let inits = OwnedDescriptor(owning: ends.1)
      let argument: String
      switch mode {
      case .traced: argument = String(getpid())
      case .supervised: argument = "supervised"
      }
      var pidfdNumber: Int32 = -1
      var failed: Int32 = 0
      let result = withArgumentVector(["pod-init", argument]) { arguments in
        withArgumentVector([]) { environment in
          CLinux_spawn_init(
            inits.rawValue, image.rawValue, arguments, environment, 1, &pidfdNumber, &failed)
        }
      }
      let failedStep: StartFailure.Step =
        switch Int(failed) {
        case CLinux_SPAWN_DESCRIPTORS: .descriptors
        case CLinux_SPAWN_EXECUTE: .execute
        default: .process
        }
      let processID = try step(failedStep) { () throws(Errno) in try valueOrErrno(result) }
      let podInit = PodInit(
        processID: processID, mode: mode, control: control,
        pidfd: OwnedDescriptor(owning: pidfdNumber))
      close(inits.release())
      try step(.answer) { () throws(Errno) in
        let control = podInit.control.rawValue
        guard let (message, _) = try podInit.receive(from: control, milliseconds: 10_000),
          message.type == UInt32(POD_MESSAGE_READY)
        else {
          try podInit.signal(SIGKILL)
          throw .connectionReset
        }
      }
      return podInit
    #else
      throw StartFailure(step: .image, error: .noFunction)
    #endif
  }

  private static func step<Value: ~Copyable>(
    _ step: StartFailure.Step, _ body: () throws(Errno) -> Value
  ) throws(StartFailure) -> Value {
    do throws(Errno) {
      return try body()
    } catch {
      throw StartFailure(step: step, error: error)
    }
  }

  /// What kept a pod's init from being started.
  package struct StartFailure: Error, Sendable, Equatable {
    /// The steps from nothing to an init that answers.
    package enum Step: String, Sendable {
      /// A file in memory with init's code: memfd_create(2).
      case image
      /// The connection to it: socketpair(2).
      case socket
      /// A process: clone(2).
      case process
      /// Its descriptors: dup(2).
      case descriptors
      /// Its code: execveat(2) of the file in memory.
      case execute
      /// Its first message.
      case answer
    }

    /// Which step failed.
    package let step: Step
    /// What the kernel said.
    package let error: Errno

    /// What is missing and what to do about it, in words.
    package var explanation: String {
      switch (error, step) {
      case (.tooManyOpenFiles, _), (.tooManyOpenFilesInSystem, _):
        "no descriptors are left for a pod: raise the limit of open files (ulimit -n)"
      case (.resourceTemporarilyUnavailable, _):
        "no process is to be had for the pod's init: raise the limit of processes (ulimit -u, or the "
          + "container's limit of pids)"
      case (.noMemory, _): "no memory is to be had for the pod's init"
      case (_, .image):
        "the pod's init can't be put into a file in memory: memfd_create(2) is denied here, check the "
          + "container's seccomp profile and vm.memfd_noexec"
      case (_, .socket):
        "the pod's init can't be reached: socketpair(2) is denied here, check the container's seccomp profile"
      case (_, .process):
        "no process can be made for the pod's init: clone(2) is denied here, check the container's seccomp "
          + "profile"
      case (_, .descriptors): "the pod's init can't be given its descriptors"
      case (_, .execute):
        "the pod's init can't be executed: execveat(2) of files in memory is denied here, check the "
          + "container's seccomp profile and vm.memfd_noexec"
      case (_, .answer): "the pod's init was killed before it could answer"
      }
    }
  }

  /// Asks init to start a program.
  ///
  /// Returns as soon as the request is sent. What becomes of it is reported under `id`: by ``Signal``
  /// to the tracer, or, failures only, by ``nextReport(milliseconds:)``. In supervised mode the new
  /// process announces itself by the call `getpid(POD_MAGIC_BORN, id)`, before anything else.
  ///
  /// - Parameters:
  ///   - specification: The program and its surroundings.
  ///   - id: A number of the caller's choice, unique among the launches under way.
  ///   - descriptors: All descriptors that the program gets; every other number is closed there. With
  ///     ``LaunchSpecification/Flags/controllingTerminal`` there has to be a terminal at 0.
  /// - Throws: What ``LaunchSpecification/encoded(targets:)`` throws; `.brokenPipe` when init (or the
  ///   launcher) has ended; `.badFileDescriptor` before there is a launcher;
  ///   `.resourceTemporarilyUnavailable` when no message is taken for a second.
  package func launch(
    _ specification: LaunchSpecification, id: UInt32, descriptors: [PassedDescriptor]
  ) throws(Errno) {
    let file = try specification.written(targets: descriptors.map(\.target))
    let numbers = [file.rawValue] + descriptors.map(\.source.rawValue)
    try sendPatiently(
      message(POD_MESSAGE_LAUNCH, id: id), to: mode == .traced ? control.rawValue : launcherSocket,
      descriptors: numbers)
  }

  /// Makes init stop, so that a tracer that sleeps in wait4 wakes and looks at its mailbox.
  ///
  /// Never blocks. When the socket is full, requests are waiting in it, each of which stops init
  /// anyway.
  ///
  /// - Throws: `.brokenPipe` when init has ended.
  package func ring() throws(Errno) {
    do {
      try send(message(POD_MESSAGE_RING), to: control.rawValue, descriptors: [])
    } catch .resourceTemporarilyUnavailable {
      return
    }
  }

  /// Sends init a signal, by its pidfd.
  ///
  /// - Throws: `.noSuchProcess` when it has ended. Source: pidfd_send_signal(2).
  package func signal(_ number: Int32) throws(Errno) {
    _ = try valueOrErrno(CLinux_pidfd_send_signal(pidfd.rawValue, number, nil, 0))
  }

  /// Ends init.
  ///
  /// Traced, it exits when it has dealt with the requests before; programs are not ended. Supervised, it
  /// kills all processes of the pod at once, and exits when nothing is left. Without a scope
  /// (``Supervision/isScoped``) that needs the filter's listener closed, else processes that fork all the
  /// time can outrun it.
  package func end() {
    shutdown(control.rawValue, Int32(SHUT_RDWR))
  }

  /// Waits until init has ended, and reaps it where it is the host's child after all (a host that is a
  /// subreaper or process 1).
  ///
  /// A tracer has to have taken the exit's report first.
  ///
  /// - Parameter milliseconds: How long to wait at most; negative: without end.
  /// - Returns: Whether it has ended.
  package func waitUntilEnded(milliseconds: Int32) throws(Errno) -> Bool {
    guard try poll(pidfd.rawValue, events: POLLIN, milliseconds: milliseconds) else { return false }
    _ = CLinux_waitid(
      Int32(CLinux_P_PIDFD), pidfd.rawValue, nil,
      WEXITED | WNOHANG | Int32(CLinux_WAIT_ALL), nil)
    return true
  }

  func send(
    _ message: pod_message, to socket: Int32, descriptors: [Int32]
  ) throws(Errno) {
    let result = withUnsafeBytes(of: message) { bytes in
      CLinux_send(
        socket, bytes.baseAddress, bytes.count, descriptors, descriptors.count,
        Int32(MSG_DONTWAIT))
    }
    _ = try valueOrErrno(result)
  }

  /// Sends when there is room, which is waited for, for a second.
  ///
  /// Descriptors on their way are limited too: to as many of a user as a process may have open
  /// (ETOOMANYREFS).
  func sendPatiently(
    _ message: pod_message, to socket: Int32, descriptors: [Int32]
  ) throws(Errno) {
    for _ in 0..<1_000 {
      do {
        return try send(message, to: socket, descriptors: descriptors)
      } catch Errno.resourceTemporarilyUnavailable {
        _ = try poll(socket, events: POLLOUT, milliseconds: 1)
      } catch Errno(rawValue: ETOOMANYREFS) {
        _ = Glibc.poll(nil, 0, 1)
      }
    }
    throw .resourceTemporarilyUnavailable
  }

  /// The next message of a socket, if there is one in time, and the descriptor that came with it, where one is wanted.
  ///
  /// - Throws: `.connectionReset` at the socket's end.
  func receive(
    from socket: Int32, milliseconds: Int32, wantsDescriptor: Bool = false
  ) throws(Errno) -> (message: pod_message, descriptor: Int32)? {
    var descriptors = [Int32](repeating: -1, count: wantsDescriptor ? 1 : 0)
    let message = try receive(
      from: socket, milliseconds: milliseconds, descriptors: &descriptors)
    return message.map { ($0, descriptors.first ?? -1) }
  }

  /// The next message of a socket, if there is one in time.
  ///
  /// - Parameter descriptors: As many as are wanted at most; those that came with the message are put first, the caller's
  ///   to close.
  /// - Throws: `.connectionReset` at the socket's end.
  func receive(
    from socket: Int32, milliseconds: Int32, descriptors: inout [Int32]
  ) throws(Errno) -> pod_message? {
    guard try poll(socket, events: POLLIN, milliseconds: milliseconds) else { return nil }
    var message = pod_message()
    var count = descriptors.count
    let result = withUnsafeMutableBytes(of: &message) { bytes in
      CLinux_receive(
        socket, bytes.baseAddress, bytes.count, &descriptors, &count, Int32(MSG_DONTWAIT))
    }
    guard try valueOrErrno(result) == MemoryLayout<pod_message>.size else {
      throw .connectionReset
    }
    return message
  }

  /// A message to or from init, with what it needs of the fields.
  func message(_ type: Int, id: UInt32 = 0, tag: UInt64 = 0) -> pod_message {
    pod_message(type: UInt32(type), id: id, error: 0, stage: 0, tag: UInt(tag))
  }
}

/// Waits for events on one descriptor, through interruptions by signals.
///
/// An interruption starts the time anew: the limits here are safety nets, not deadlines.
private func poll(
  _ descriptor: Int32, events: Int32, milliseconds: Int32
) throws(Errno) -> Bool {
  var entry = pollfd(fd: descriptor, events: Int16(events), revents: 0)
  while true {
    let count = Glibc.poll(&entry, 1, milliseconds)
    if count >= 0 {
      return count > 0
    }
    let error = Errno(rawValue: errno)
    guard error == .interrupted else { throw error }
  }
}

/// The image as an executable memfd that can't be changed any more.
private func imageDescriptor() throws(Errno) -> OwnedDescriptor {
  let file = OwnedDescriptor(
    owning: try valueOrErrno(
      CLinux_memfd_create(
        "pod-init", UInt32(CLinux_MFD_ALLOW_SEALING) | UInt32(CLinux_MFD_EXEC))))
  let size = Int(CPodVDSO_init_image_size)
  let written = CLinux_pwrite(file.rawValue, CPodVDSO_init_image_bytes(), size, 0)
  guard try valueOrErrno(written) == size else { throw .ioError }
  let seals =
    CLinux_F_SEAL_SEAL | CLinux_F_SEAL_SHRINK | CLinux_F_SEAL_GROW | CLinux_F_SEAL_WRITE
  _ = try valueOrErrno(CLinux_add_seals(file.rawValue, Int32(seals)))
  return file
}

/// Calls `body` with a C argument vector of the strings.
private func withArgumentVector<R>(
  _ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> R
) -> R {
  var bytes: [CChar] = []
  var starts: [Int] = []
  for string in strings {
    starts.append(bytes.count)
    bytes.append(contentsOf: string.utf8.map { CChar(bitPattern: $0) })
    bytes.append(0)
  }
  return bytes.withUnsafeMutableBufferPointer { buffer in
    var pointers: [UnsafeMutablePointer<CChar>?] = starts.map { start in
      buffer.baseAddress.map { $0 + start }
    }
    pointers.append(nil)
    return body(pointers)
  }
}
