public import PodCore
public import SystemPackage

/// A simulated kernel with processes in pods and outside.
///
/// In a nutshell: a program is a Swift closure that makes calls on its ``MockProcess``. A call of a process in a pod runs
/// ``Transaction/enter()`` with the pod's tables, the kernel's part here, and ``Transaction/leave(_:)``: the same wrappers
/// as on a real kernel. The kernel knows physical numbers only, gives them out cyclically from a small range, and
/// reuses one as soon as nobody shows it any more. It tells a pod's supervisor of ends and execs by events, late.
///
/// ```swift
/// let process = MockKernel(interposers: [NoNetwork()]).boot()
/// process.call(.connect, 3, 0, 16)  // .failure(.networkUnreachable)
/// ```
///
/// Lock order: the kernel's, then those of the tables of names.
public final class MockKernel: @unchecked Sendable {
  let monitor = Monitor()
  private let change = Monitor.Condition()
  private var state: KernelState
  private var pods: [PodID: MockPod] = [:]
  private var observers: [Int: @Sendable (KernelState.ProcessResult) -> Void] = [:]
  private var lastPod: UInt32 = 0
  /// By the identity of the thread.
  private var leftCalls: [Int: LeftCall] = [:]
  private let interposers: [any Interposer]
  let executor: any MockExecutor

  /// Which pod has which physical number.
  public let system: SystemNames<ProcessID>

  /// Makes a machine with nothing but its own init.
  ///
  /// - Parameters:
  ///   - numbers: The physical numbers that processes and threads get, above 1.
  ///   - interposers: The rules of the pods that ``boot()`` and ``makePod(names:lateNames:boundary:)`` make.
  ///   - confinesGroups: Whether setpgid is confined to the caller and its children in one session, as Linux does when the
  ///     call runs in the caller's context; false shows what happens where a supervisor makes the call.
  ///   - handler: What answers calls in the kernel's stead; see ``Handler``.
  public convenience init(
    numbers: ClosedRange<Int32> = 100...4_095, interposers: [any Interposer] = [],
    confinesGroups: Bool = true, handler: Handler? = nil
  ) {
    self.init(
      numbers: numbers, interposers: interposers, confinesGroups: confinesGroups,
      system: SystemNames(), executor: ThreadExecutor(), handler: handler)
  }

  init(
    numbers: ClosedRange<Int32>, interposers: [any Interposer] = [], confinesGroups: Bool = true,
    system: SystemNames<ProcessID> = SystemNames(), executor: any MockExecutor,
    handler: Handler? = nil
  ) {
    state = KernelState(range: numbers, confinesGroups: confinesGroups, handler: handler)
    self.interposers = interposers
    self.system = system
    self.executor = executor
  }

  // MARK: Calls

  /// A call as the kernel gets it: physical names.
  public struct Call: Sendable {
    /// Which.
    public let call: Syscall
    /// Its arguments.
    public let arguments: CallArguments
    /// Who makes it.
    public let caller: PhysicalName<ThreadID>
    var memory: AddressSpace

    /// Reads a 32-bit word of the caller's memory.
    ///
    /// - Throws: `.badAddress`.
    public func word(at address: RemoteAddress) throws(Errno) -> UInt32 {
      try memory.word(address)
    }

    /// Writes a 32-bit word of the caller's memory.
    ///
    /// - Throws: `.badAddress`.
    public mutating func write(word: UInt32, to address: RemoteAddress) throws(Errno) {
      try memory.setWord(address, word)
    }
  }

  /// Answers a call, or nil where the simulated kernel shall. It is asked first for every call that gets to the kernel, so
  /// it also sees what wrappers make of those that the simulated kernel doesn't know. It must not use the kernel.
  public typealias Handler = @Sendable (inout Call) -> CallResult?

  // MARK: Pods and processes

  /// Makes an empty pod: its init has entered, no program yet.
  ///
  /// - Parameters:
  ///   - names: The virtual numbers that it may give out.
  ///   - lateNames: See ``PodNames``.
  ///   - boundary: Its boundary table.
  public func makePod(
    names: ClosedRange<Int32> = 1...4_095, lateNames: Int = 1_024,
    boundary: BoundaryTable = .standard
  ) -> MockPod {
    let number = monitor.withLock {
      lastPod += 1
      return lastPod
    }
    return makePod(
      PodNames(
        pod: PodID(rawValue: number), system: system, range: names, capacity: names.count,
        lateNames: lateNames, boundary: boundary, interposers: interposers))
  }

  /// Makes a pod with tables that exist already.
  func makePod(
    _ names: PodNames, events: @escaping @Sendable (PodEvent) -> Void = { _ in }
  ) -> MockPod {
    let pod = MockPod(names: names, kernel: self, events: events)
    let initial = change { state -> Int32 in
      pods[names.pod] = pod
      guard
        let process = state.makeProcess(
          parent: KernelState.initial, like: nil, sharingMemory: false, isPinned: isPinned)
      else { return 0 }
      state.processes[process.number]?.pod = names.pod
      state.processes[process.number]?.isSubreaper = true
      state.processes[process.number]?.isPodInit = true
      return process.number
    }
    pod.adoptInit(PhysicalName(rawValue: initial))
    return pod
  }

  /// Makes a pod from a snapshot: processes and threads of the same shape, with numbers of this machine, and tables that
  /// are filled with the snapshot's names.
  ///
  /// - Parameters:
  ///   - snapshot: Of a pod on this machine or another.
  ///   - lateNames: See ``PodNames``.
  /// - Throws: ``SnapshotError``, with ``SnapshotError/unmatched(_:)`` when the machine has too few numbers.
  public func makePod(
    restoring snapshot: PodSnapshot, lateNames: Int = 1_024
  ) throws(SnapshotError) -> MockPod {
    let number = monitor.withLock {
      lastPod += 1
      return lastPod
    }
    let highest = snapshot.processes.highest
    let names = PodNames(
      pod: PodID(rawValue: number), system: system, range: 1...highest,
      capacity: Int(highest), lateNames: lateNames, interposers: interposers)
    let pod = MockPod(names: names, kernel: self)
    let made = change { state in
      pods[names.pod] = pod
      return state.restore(snapshot.processes, in: names.pod, isPinned: isPinned)
    }
    try names.processes.fill(from: snapshot.processes, physical: made)
    for name in snapshot.processes.names {
      guard let physical = made[name.number] else { continue }
      let identity = inspect { state in
        state.threads[physical.rawValue]?.identity ?? state.processes[physical.rawValue]?.identity
      }
      if let identity { pod.remember(identity, as: name.number) }
    }
    return pod
  }

  /// Makes a pod and starts one process in it, virtual process 2.
  public func boot() -> MockProcess { makePod().boot() }

  /// Starts a process outside all pods, in a session of its own.
  public func spawnOutside() -> MockProcess {
    let identity = change { state in
      state.makeProcess(
        parent: KernelState.initial, like: nil, sharingMemory: false, isPinned: isPinned)?.identity
    }
    return MockProcess(kernel: self, identity: identity ?? -1)
  }

  /// The main thread of a process by its physical number; nil when there is none that runs.
  public func process(_ number: PhysicalName<ProcessID>) -> MockProcess? {
    inspect { state in
      state.threads[number.rawValue].map { MockProcess(kernel: self, identity: $0.identity) }
    }
  }

  /// How many messages are in each message queue of the machine, by its physical id.
  public var queues: [Int32: Int] { inspect { $0.queues } }

  /// What the kernel knows of one process.
  public struct ProcessStatus: Sendable, Hashable {
    /// Its physical number.
    public let number: PhysicalName<ProcessID>
    /// Its parent.
    public let parent: PhysicalName<ProcessID>
    /// Its group.
    public let group: PhysicalName<ProcessID>
    /// Its session.
    public let session: PhysicalName<ProcessID>
    /// Its pod; nil outside.
    public let pod: PodID?
    /// Whether it has ended and waits to be reaped.
    public let isZombie: Bool
    /// Whether a signal has stopped it.
    public let isStopped: Bool
    /// Its threads' numbers, in the order of their births.
    public let threads: [PhysicalName<ThreadID>]
    /// The nice value of its main thread.
    public let nice: Int32
    /// Signals that it has not taken yet.
    public let pending: [MockSignal]
  }

  /// All processes but the machine's init, by number.
  public var processes: [ProcessStatus] {
    inspect { state in
      state.processes.values.filter { $0.number != KernelState.initial }
        .sorted { $0.number < $1.number }
        .map { process in
          ProcessStatus(
            number: PhysicalName(rawValue: process.number),
            parent: PhysicalName(rawValue: process.parent),
            group: PhysicalName(rawValue: process.group),
            session: PhysicalName(rawValue: process.session), pod: process.pod,
            isZombie: process.isZombie, isStopped: process.isStopped,
            threads: process.threads.map { PhysicalName(rawValue: $0) },
            nice: state.threads[process.number]?.nice ?? 0,
            pending: process.signals.pending)
        }
    }
  }

  // MARK: For processes and pods

  /// Changes the kernel's state in one step.
  func change<T>(_ body: (inout KernelState) -> T) -> T {
    let (value, footprint) = monitor.withLock {
      let value = body(&state)
      let footprint = state.footprint
      state.footprint = Footprint()
      change.signal()
      return (value, footprint)
    }
    executor.touch(footprint)
    return value
  }

  /// Looks without touching.
  func inspect<T>(_ body: (borrowing KernelState) -> T) -> T { monitor.withLock { body(state) } }

  /// Performs a call; waits where nothing else decides when it can go on.
  func perform(
    _ call: Syscall, _ arguments: CallArguments, by identity: Int, canBlock: Bool
  ) -> KernelOutcome {
    let (outcome, footprint) = monitor.withLock {
      while true {
        let outcome = state.perform(
          call, arguments, by: identity, isTrial: false, isPinned: isPinned)
        if case .blocked = outcome, canBlock, executor.appliesEventsAtOnce {
          monitor.wait(for: change)
          continue
        }
        let footprint = state.footprint
        state.footprint = Footprint()
        change.signal()
        return (outcome, footprint)
      }
    }
    executor.touch(footprint)
    return outcome
  }

  /// Whether a call would come to an end now.
  func isReady(_ call: Syscall, _ arguments: CallArguments, by identity: Int) -> Bool {
    monitor.withLock {
      var trial = state
      if case .blocked = trial.perform(
        call, arguments, by: identity, isTrial: true, isPinned: { _ in false })
      {
        return false
      }
      return true
    }
  }

  func hasLeftCall(_ identity: Int) -> Bool { monitor.withLock { leftCalls[identity] != nil } }

  func keep(_ call: LeftCall, of identity: Int) { monitor.withLock { leftCalls[identity] = call } }

  func dropLeftCall(_ identity: Int) {
    let call = monitor.withLock { leftCalls.removeValue(forKey: identity) }
    _ = call
  }

  func pod(_ pod: PodID) -> MockPod? { monitor.withLock { pods[pod] } }

  func remove(_ pod: PodID) { monitor.withLock { pods[pod] = nil } }

  /// Rule 5 of ``Backend``: a number isn't reused while a transaction refers to its name.
  ///
  /// Preconditions: the lock is held.
  private func isPinned(_ number: Int32) -> Bool {
    let physical = PhysicalName<ProcessID>(rawValue: number)
    return system.isHeldOutside(physical)
      || pods.values.contains { $0.names.processes.space.isHeld(physical) }
  }

  // MARK: Tables

  /// The entries of every pod's table, for comparison.
  var tables: [PodID: [VirtualName<ProcessID>: Entry<ProcessID>]] {
    let pods = monitor.withLock { self.pods }
    return pods.mapValues { pod in
      Dictionary(uniqueKeysWithValues: pod.names.processes.space.entries.map { ($0.virtual, $0) })
    }
  }

  // MARK: Events

  func hasEvents(about identity: Int? = nil) -> Bool {
    inspect { state in
      identity == nil
        ? !state.events.isEmpty : state.events.contains { $0.identity == identity }
    }
  }

  /// Whether the oldest event waits for somebody to apply it.
  func canApplyEvent() -> Bool {
    inspect { $0.wakes == 0 && $0.events.first?.isTaken == false }
  }

  /// Whether nobody holds the lock of System V objects between two steps.
  var isUnlocked: @Sendable () -> Bool { { [self] in inspect { $0.wakes == 0 } } }

  /// Applies the oldest event; up to those about one process when that is given. Events are applied one after the other,
  /// whoever does it.
  func applyEvents(about identity: Int?, on occasion: Occasion) {
    while !executor.isAborting, hasEvents(about: identity) {
      let event = change { state -> KernelState.Event? in
        state.footprint.add(.writing(Footprint.events))
        guard state.events.first?.isTaken == false else { return nil }
        state.events[0].isTaken = true
        return state.events.first
      }
      // Another thread applies it.
      guard let event else { continue }
      pod(event.pod)?.apply(event, on: occasion)
      change { state in
        state.footprint.add(.writing(Footprint.events))
        if !state.events.isEmpty { state.events.removeFirst() }
      }
      if identity == nil { return }
    }
  }

  /// Applies all events, where no explorer orders them.
  func settle() {
    guard executor.appliesEventsAtOnce else { return }
    while hasEvents() { applyEvents(about: nil, on: .event) }
    let ended = monitor.withLock {
      let ended = observers.compactMap { identity, observer in
        state.results[identity].map { (identity, observer, $0) }
      }
      for (identity, _, _) in ended {
        observers[identity] = nil
        state.results[identity] = nil
        state.observed.remove(identity)
      }
      return ended
    }
    for (_, observer, result) in ended { observer(result) }
  }

  /// Calls `body` once when a process of `observed` has ended, and its end is in the tables.
  func whenEnded(
    _ identity: Int, _ body: @escaping @Sendable (KernelState.ProcessResult) -> Void
  ) {
    monitor.withLock { observers[identity] = body }
    settle()
  }
}
