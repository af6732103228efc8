public import Logging
internal import Synchronization

/// Makes a pod, runs a closure with it, and ends it with everything in it.
///
/// In a nutshell: a program in the pod makes a system call → the backend stops it and makes a ``Transaction`` → the
/// boundary table says where names cross → the preamble turns virtual names into physical ones → the kernel → the epilogue
/// turns what comes out into virtual names → the program goes on. Lock order: the transaction's pod tables, then the host
/// program's table of physical names; events are reported under neither.
///
/// When the closure returns or throws, every process of the pod is killed, and nothing of the pod is left when this
/// returns. Cancelling the task kills the pod's processes at once.
///
/// - Parameters:
///   - configuration: What is asked of the pod.
///   - backend: How system calls are interposed on: `.ptrace`.
///   - interposers: Rules of the host program for calls, outermost first.
///   - logger: Where the pod logs.
///   - body: Gets the pod, which must not escape.
/// - Returns: What the closure returns.
/// - Throws: What the closure throws; ``PodError`` with ``PodError/Code/invalidConfiguration`` (all faults at once),
///   ``PodError/Code/backendUnavailable`` or ``PodError/Code/containmentUnavailable`` before anything has run;
///   `CancellationError` when the task was cancelled before the pod was started.
public nonisolated(nonsending) func withPod<Result: ~Copyable>(
  _ configuration: PodConfiguration = PodConfiguration(),
  backend: some Backend,
  interposers: [any Interposer] = [],
  logger: Logger = .current,
  body: nonisolated(nonsending) (Pod) async throws -> Result
) async throws -> Result {
  try Task.checkCancellation()
  let pod = try await Pod.start(
    configuration, backend: backend, interposers: interposers, logger: logger)
  var result: Result?
  var failure: (any Error)?
  await withTaskCancellationHandler {
    do { result = try await body(pod) } catch { failure = error }
  } onCancel: {
    pod.beginEnd()
  }
  await pod.end()
  if let failure { throw failure }
  guard let result = result.take() else { throw CancellationError() }
  return result
}

/// A group of processes with names of their own. It exists in the closure of ``withPod(_:backend:interposers:logger:body:)``.
public final class Pod: Sendable {
  /// The pod's number in the host program.
  public let identifier: PodID
  /// What encloses the pod on this machine.
  public let containment: Containment
  /// What the backend can do on this machine.
  public let capabilities: BackendCapabilities
  /// The pod's names, to look at.
  public let names: Names

  let session: any BackendSession
  private let hub: EventHub
  private let logger: Logger
  private let ending = Mutex<Task<Void, Never>?>(nil)

  private static let system = SystemNames<ProcessID>()
  private static let lastIdentifier = Atomic<UInt32>(0)

  private init(
    names: PodNames, session: any BackendSession, capabilities: BackendCapabilities,
    hub: EventHub, logger: Logger
  ) {
    identifier = names.pod
    containment = session.containment
    self.capabilities = capabilities
    self.names = Names(tables: names)
    self.session = session
    self.hub = hub
    self.logger = logger
  }

  static func start(
    _ configuration: PodConfiguration, backend: some Backend, interposers: [any Interposer],
    logger: Logger
  ) async throws(PodError) -> Pod {
    let faults = configuration.faults
    if !faults.isEmpty {
      throw PodError(.invalidConfiguration, faults.joined(separator: "; "))
    }
    let capabilities = backend.capabilities
    if let reason = capabilities.unavailable { throw PodError(.backendUnavailable, reason) }
    let name = type(of: backend).name
    try backend.containment(for: configuration).require(configuration.containment, of: name)
    var lack: PodError?
    let names = PodNames(
      pod: PodID(rawValue: lastIdentifier.add(1, ordering: .relaxed).newValue), system: system,
      range: 1...configuration.highestProcess, capacity: configuration.capacity,
      policy: configuration.processNames,
      boundary: .standard(.hostProgram, configuration.pathCoverage),
      kernelBoundary: .standard(.kernel, configuration.pathCoverage),
      interposers: interposers, abi: .host,
      memory: { size in
        do throws(PodError) {
          return try backend.tableMemory(for: configuration, size: size)
        } catch {
          lack = error
          return nil
        }
      },
      restoring: configuration.restoredNames)
    let hub = EventHub()
    let setup = PodSetup(
      names: names, configuration: configuration, logger: logger, events: { hub.report($0) })
    let session = try await backend.start(setup)
    // Only now: a pod that can't start has one thing to say.
    if let lack { setup.degraded(lack.description) }
    let pod = Pod(
      names: names, session: session, capabilities: capabilities, hub: hub, logger: logger)
    do throws(PodError) {
      try pod.containment.require(configuration.containment, of: name)
    } catch {
      await pod.end()
      throw error
    }
    hub.open()
    logger.debug("\(names.pod) started with \(name)")
    return pod
  }

  /// Ends the pod in the background.
  func beginEnd() { _ = endTask() }

  /// Ends the pod; also in a cancelled task, and more than once.
  func end() async { await endTask().value }

  private func endTask() -> Task<Void, Never> {
    ending.withLock { ending in
      if let ending { return ending }
      let (session, hub, logger, identifier) = (session, hub, logger, identifier)
      let (segments, paths) = (names.tables.segments, names.tables.paths)
      let task = Task.detached {
        await session.end()
        segments.removeAll()
        // What is shown there may keep a namespace of the kernel's.
        paths.systemVTables = nil
        hub.finish()
        logger.debug("\(identifier) ended")
      }
      ending = task
      return task
    }
  }

  private var hasEnded: Bool { ending.withLock { $0 != nil } }

  // MARK: What happens and what is there

  /// What happens in the pod from now on, for one subscriber, and what was reported while it started.
  ///
  /// 1,024 events are kept; then the oldest are dropped and counted (``PodEvents/dropped``).
  public var events: PodEvents { events(bufferingNewest: 1024) }

  /// What happens in the pod from now on, for one subscriber, and what was reported while it started.
  ///
  /// - Parameter capacity: How many events are kept, at least 1; then the oldest are dropped and counted.
  public func events(bufferingNewest capacity: Int) -> PodEvents {
    events(bufferingNewest: capacity) { _ in true }
  }

  /// What happens in the pod from now on of some kinds, for one subscriber, and what was reported of them while it started.
  ///
  /// Three events come with every process of the pod. Those that aren't wanted wake nobody.
  ///
  /// - Parameters:
  ///   - capacity: How many events are kept, at least 1; then the oldest are dropped and counted.
  ///   - isWanted: Called with each event, where it is reported: it must return at once, and call nothing of the pod.
  public func events(
    bufferingNewest capacity: Int = 1024, where isWanted: @escaping @Sendable (PodEvent) -> Bool
  ) -> PodEvents {
    PodEvents(subscription: hub.subscribe(capacity: capacity, isWanted))
  }

  /// The processes that are alive, the pod's init included, by number.
  public func processes() async -> [VirtualName<ProcessID>] { await session.processes() }

  /// How often the supervisor has been asked since the pod began, and what that took. Reading it disturbs nobody.
  public var statistics: PodStatistics { session.statistics }

  // MARK: Programs

  /// Starts a program from a request that says everything; `run` is made of this.
  ///
  /// The program ends with the pod at the latest. Its ``LaunchedProcess/termination`` is to be awaited once.
  ///
  /// - Throws: ``PodError``; with ``PodError/Code/podEnded`` after the pod's end.
  public func launch(_ request: LaunchRequest) async throws(PodError) -> LaunchedProcess {
    if hasEnded { throw PodError(.podEnded, "the pod has ended") }
    do throws(PodError) {
      return try await session.launch(request)
    } catch {
      throw explained(error)
    }
  }

  /// What a program's end by SIGKILL has been, when the pod failed: its programs are killed then.
  ///
  /// - Throws: ``PodError`` with ``PodError/Code/podEnded``.
  func requireNoFailure(_ status: TerminationStatus) throws(PodError) {
    if status == .signaled(Signal.kill.rawValue), let failure { throw failure }
  }

  /// With the reason, when the pod has ended because it failed.
  private func explained(_ error: PodError) -> PodError {
    error.code == .podEnded ? failure ?? error : error
  }

  private var failure: PodError? {
    hub.failure.map { PodError(.podEnded, "the pod failed: \($0)") }
  }

  /// Sends a signal to a process of the pod; it sees sender 0, as for any sender outside.
  ///
  /// - Parameters:
  ///   - signal: The signal.
  ///   - process: A process of the pod.
  ///   - shouldSendToProcessGroup: Whether all of the process's group get it.
  /// - Throws: ``PodError`` with ``PodError/Code/processEnded``, ``PodError/Code/podEnded``, or
  ///   ``PodError/Code/invalidConfiguration`` when the number is not 1…64.
  public func send(
    signal: Signal, to process: VirtualName<ProcessID>,
    toProcessGroup shouldSendToProcessGroup: Bool = false
  ) async throws(PodError) {
    guard (1...64).contains(signal.rawValue) else {
      throw PodError(.invalidConfiguration, "the signal is \(signal.rawValue); it must be 1…64")
    }
    if hasEnded { throw PodError(.podEnded, "the pod has ended") }
    do throws(PodError) {
      try await session.send(
        signal: signal.rawValue, to: process, toGroup: shouldSendToProcessGroup)
    } catch {
      throw explained(error)
    }
  }

  // MARK: Names

  /// The pod's names as they are at this moment: to write down, and to give to another pod
  /// (``PodConfiguration/restoredNames``).
  public func snapshot() -> PodSnapshot { names.tables.snapshot() }

  /// A pod's tables of names, to look at.
  public struct Names: Sendable {
    let tables: PodNames

    /// The processes that exist, those included that have ended and were not waited for, by number.
    public var processes: [Process] {
      (tables.processes.liveProcesses + tables.processes.zombies)
        .map { Process(entry: $0) }
        .sorted { $0.identifier < $1.identifier }
    }

    /// A process; nil when the pod has none of that number.
    public subscript(process: VirtualName<ProcessID>) -> Process? {
      processes.first { $0.identifier == process }
    }

    /// The name of a process of the host's kernel in this pod; nil when it isn't in it.
    public func virtual(of process: PhysicalName<ProcessID>) -> VirtualName<ProcessID>? {
      processes.first { $0.physicalIdentifier == process }?.identifier
    }
  }

  /// A process of a pod at one moment.
  public struct Process: Sendable, Hashable {
    /// Its number in the pod.
    public let identifier: VirtualName<ProcessID>
    /// The host kernel's number.
    public let physicalIdentifier: PhysicalName<ProcessID>
    /// Its parent; 0 for the pod's init.
    public let parent: VirtualName<ProcessID>
    /// Its process group.
    public let group: VirtualName<ProcessID>
    /// Its session.
    public let session: VirtualName<ProcessID>
    /// Whether it has ended and wasn't waited for.
    public let isZombie: Bool

    init(entry: Entry<ProcessID>) {
      identifier = entry.virtual
      physicalIdentifier = entry.physical
      parent = entry.parent
      group = entry.group
      session = entry.session
      isZombie = entry.state == .dying
    }
  }
}

extension CallABI {
  /// Of the machine that this runs on.
  static var host: CallABI {
    #if arch(arm64)
      .aarch64
    #else
      .x86_64
    #endif
  }
}
