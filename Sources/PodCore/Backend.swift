public import Logging
public import SystemPackage

/// A way to interpose on the system calls of a pod's processes.
///
/// What a backend **must** do:
/// 1. *Install.* From its first instruction on, every process of the pod, and every process that one of them makes, is
///    under interposition; nothing a program does takes it off.
/// 2. *Attribute.* It knows which thread makes a call, and reports a newborn (``ProcessTable/initialize(_:by:isThread:sharesParent:group:)``)
///    before the newborn's or its parent's next call is served.
/// 3. *Run each call once.* ``Transaction/enter()``, the kernel's part with the physical arguments, ``Transaction/leave(_:)``,
///    in this order, each exactly once; a call that its caller didn't survive is dropped, which rolls it back.
/// 4. *Never let go of a call that names somebody else* after it was checked: it is performed on a copy that the
///    program can't change, and while the target can't be reaped.
/// 5. *Keep held names.* A physical number whose name is held (``Namespace/hold(_:)``) is not reused by the kernel, or the
///    call that holds it doesn't reach the kernel.
/// 6. *Report ends in order.* ``ProcessTable/exited(_:)`` before any wait for the process returns, for a process when its last
///    thread has ended, and by virtual name where the kernel may have reused the number; ``ProcessTable/reaped(_:)`` for what
///    nobody waits for; execs and changes of credentials. A newborn is named even when its maker was killed in the fork.
/// 7. *Put nothing else in.* Only the descriptors that the embedder names enter a pod.
/// 8. *Fail closed.* When its own machinery fails, the pod's processes are killed, and an event says why.
/// 9. *End.* When ``BackendSession/end()`` returns, nothing of the pod is left: no process, thread or descriptor.
/// 10. *Be a good guest* (DESIGN.md §4.8): no signal handler, no `waitpid(-1)`, no fork of the host without exec.
///
/// What it **may** assume: wrappers don't block, don't keep a transaction, and don't call the kernel but through
/// ``TransactionHost``.
///
/// What a backend can't do is a value, ``capabilities``, not a method that traps.
public protocol Backend: Sendable {
  /// The word for this backend on command lines and in events: "ptrace".
  static var name: String { get }

  /// What this backend can do on this machine.
  var capabilities: BackendCapabilities { get }

  /// What will enclose a pod of this configuration on this machine, told before anything is made for it: a pod that
  /// demands more is refused. A pod may get more (``BackendSession/containment``), never less.
  func containment(for configuration: PodConfiguration) -> Containment

  /// Memory for the table of a pod's processes, where the backend wants to have it; asked for once a pod, before
  /// ``start(_:)``, which finds it in the table (``Namespace/memory``).
  ///
  /// - Parameters:
  ///   - configuration: What is asked of the pod.
  ///   - size: How many bytes it has to have at least; all of them are zero.
  /// - Returns: nil where the host program's own memory does.
  /// - Throws: ``PodError`` that says why there is none. The pod then does without it, and an event says so.
  func tableMemory(
    for configuration: PodConfiguration, size: Int
  ) throws(PodError) -> (any TableMemory)?

  /// Makes an empty pod: its init runs, no program yet.
  ///
  /// - Throws: ``PodError`` that says what the machine lacks and what to do.
  func start(_ pod: PodSetup) async throws(PodError) -> any BackendSession
}

extension Backend {
  /// None: the host program's own memory does.
  public func tableMemory(
    for configuration: PodConfiguration, size: Int
  ) throws(PodError) -> (any TableMemory)? { nil }
}

/// What a backend is given to make a pod.
public struct PodSetup: Sendable {
  /// The pod's tables.
  public let names: PodNames
  /// What the embedder asked for.
  public let configuration: PodConfiguration
  /// Where the backend reports what happens. It never blocks, and events are dropped that nobody reads.
  public let events: @Sendable (PodEvent) -> Void
  /// Where the backend logs what isn't an error, ``degraded(_:)`` above all.
  public let logger: Logger

  /// Collects what a backend needs.
  public init(
    names: PodNames, configuration: PodConfiguration, logger: Logger = .current,
    events: @escaping @Sendable (PodEvent) -> Void
  ) {
    (self.names, self.configuration, self.events) = (names, configuration, events)
    self.logger = logger
  }

  /// Says that something is not as good as it was asked for, as an event and in the log.
  public func degraded(_ what: String) {
    logger.warning("\(names.pod): \(what)")
    events(.degraded(what))
  }
}

/// What a backend can do on this machine.
public struct BackendCapabilities: Sendable, Hashable {
  /// Programs in the pod can use `ptrace` themselves.
  public var nestedTracing: Bool
  /// Process ids inside signal frames are virtual.
  public var signalFrames: Bool
  /// Why the backend can't work here at all; nil when it can.
  public var unavailable: String?

  /// States capabilities.
  public init(nestedTracing: Bool, signalFrames: Bool, unavailable: String? = nil) {
    (self.nestedTracing, self.signalFrames) = (nestedTracing, signalFrames)
    self.unavailable = unavailable
  }
}

/// A running pod as its backend sees it.
public protocol BackendSession: Sendable {
  /// What the pod got: at least what ``Backend/containment(for:)`` promised, or the pod is ended before any program runs.
  var containment: Containment { get }

  /// Starts a program as a child of the pod's init.
  ///
  /// - Returns: The process, once its exec has succeeded.
  /// - Throws: ``PodError`` with ``PodError/Code/executableNotFound``, ``PodError/Code/notExecutable`` and others.
  func launch(_ request: LaunchRequest) async throws(PodError) -> LaunchedProcess

  /// Sends a signal from outside; the receiver sees sender 0.
  ///
  /// - Parameters:
  ///   - signal: 1…64.
  ///   - process: A process that was launched.
  ///   - toGroup: Whether its whole process group gets it.
  /// - Throws: ``PodError/Code/processEnded``.
  func send(
    signal: Int32, to process: VirtualName<ProcessID>, toGroup: Bool
  ) async throws(PodError)

  /// The pod's live processes, by virtual number.
  func processes() async -> [VirtualName<ProcessID>]

  /// What the supervisor has been asked and has done.
  var statistics: PodStatistics { get }

  /// Kills everything in the pod and gives back what it used. Idempotent.
  func end() async
}

extension BackendSession {
  /// Nothing is counted.
  public var statistics: PodStatistics { PodStatistics() }
}

/// A program to start.
public struct LaunchRequest: Sendable {
  /// Paths to try in order, as execvp(3) does: one, or those made from a name and the program's PATH.
  public var candidates: [FilePath]
  /// How the executable was named, for errors.
  public var name: String
  /// `argv`, the program's own name first: bytes without NUL, since neither must be text.
  public var arguments: [[UInt8]]
  /// The environment, "KEY=value" each, without NUL.
  public var environment: [[UInt8]]
  /// Where to start; nil is the host program's directory.
  public var workingDirectory: FilePath?
  /// What becomes descriptor 0.
  public var input: InputSource
  /// What becomes descriptor 1.
  public var output: OutputTarget
  /// What becomes descriptor 2.
  public var error: OutputTarget
  /// Further descriptors of the host program, by the number they get in the program.
  public var descriptors: [Int32: FileDescriptor]
  /// Whether descriptor 0 is a terminal that becomes the controlling one.
  public var controllingTerminal: Bool
  /// User, groups, umask.
  public var options: Pod.PlatformOptions

  /// Where a program's input comes from.
  public enum InputSource: Sendable {
    /// Nothing: end of file at once.
    case none
    /// A descriptor of the host program; closed when the launch has succeeded or failed, or never.
    case descriptor(FileDescriptor, closeAfterLaunch: Bool = false)
    /// Bytes that the backend writes to a pipe.
    case bytes([UInt8])
    /// Bytes as they come, until nil. `closed` is called once when no more are asked for, because of the end or because
    /// nobody reads any more.
    case stream(@Sendable () async -> [UInt8]?, closed: @Sendable () -> Void = {})
  }

  /// Where a program's output goes.
  public enum OutputTarget: Sendable {
    /// Nowhere.
    case discard
    /// A descriptor of the host program; closed when the launch has succeeded or failed, or never.
    case descriptor(FileDescriptor, closeAfterLaunch: Bool = false)
    /// Bytes that the backend reads from a pipe; nil once at the end, unless it has answered false. No further byte
    /// is read until the call has returned, which makes a program wait that is faster than its reader. Answering false
    /// ends the reading: the program gets SIGPIPE or EPIPE on its next write.
    case sink(@Sendable ([UInt8]?) async -> Bool)
    /// What descriptor 1 is.
    case sameAsOutput
  }

  /// Makes a request.
  public init(
    candidates: [FilePath], name: String, arguments: [[UInt8]], environment: [[UInt8]],
    workingDirectory: FilePath?, input: InputSource, output: OutputTarget, error: OutputTarget,
    descriptors: [Int32: FileDescriptor] = [:], controllingTerminal: Bool = false,
    options: Pod.PlatformOptions = Pod.PlatformOptions()
  ) {
    self.candidates = candidates
    self.name = name
    self.arguments = arguments
    self.environment = environment
    self.workingDirectory = workingDirectory
    self.input = input
    self.output = output
    self.error = error
    self.descriptors = descriptors
    self.controllingTerminal = controllingTerminal
    self.options = options
  }
}

/// A program that was started.
public struct LaunchedProcess: Sendable {
  /// Its virtual number.
  public let identifier: VirtualName<ProcessID>
  /// Returns when it has ended and its output has been delivered: all that was written until then. What processes that
  /// it left behind write later is not waited for. Called once, whoever launched it.
  public let termination: @Sendable () async -> Pod.TerminationStatus

  /// Describes a started program.
  public init(
    identifier: VirtualName<ProcessID>,
    termination: @escaping @Sendable () async -> Pod.TerminationStatus
  ) {
    (self.identifier, self.termination) = (identifier, termination)
  }
}
