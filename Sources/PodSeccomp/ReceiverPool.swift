internal import CLinux
internal import Glibc
internal import PodCore
internal import PodLinux
internal import Synchronization
internal import SystemPackage

/// The receivers of a pod: threads of the host program that take notifications.
///
/// They take *turns*: the kernel wakes all who wait for a notification, each time, so only who has the turn waits there, and
/// the others sleep here, where nobody wakes them. There is one turn, and one for each CPU while calls come faster than they are
/// answered. A receiver that attends to a thread needs another one, which continues the calls that the thread is made to
/// make; so it passes its turn on before, to who became idle last, whose memory is still in the CPU's caches, or to a new
/// thread; or, when there are as many as there may be, it keeps its turn and leaves the notification for the next that becomes idle.
final class ReceiverPool: Sendable {
  private struct State {
    var threads: [SupervisorThread] = []
    var count = 0
    /// How many turns there are.
    var turns = 0
    /// Who sleeps, the last one last.
    var idle: [IdleReceiver] = []
    var backlog: [Notification] = []
    var counts: [ReceiverCounts] = []
    var isClosed = false
  }
  private let state = Mutex(State())
  private let waiting = Atomic<Int>(0)
  private let serving = Atomic<Int>(0)

  /// How many receivers a pod has at most.
  static let most = 24

  /// What a receiver is to do that doesn't have the turn.
  enum Task {
    /// It has it now.
    case receive
    /// Serve a notification that was left for later.
    case serve(Notification)
    /// Nothing comes any more.
    case end
  }

  /// A receiver without the turn has nothing left to do: sleeps until there is something.
  func next() -> Task {
    let idle = IdleReceiver()
    let task = state.withLock { state -> Task? in
      if !state.backlog.isEmpty { return .serve(takeOldest(&state)) }
      if state.isClosed { return .end }
      state.idle.append(idle)
      return nil
    }
    return task ?? (idle.sleep() ? .receive : .end)
  }

  /// A receiver wants to attend to a thread.
  ///
  /// - Parameters:
  ///   - hasTurn: Whether it has the turn; it doesn't when somebody else has it now.
  ///   - start: Starts a receiver that has the turn.
  /// - Returns: Whether it may; else the notification is somebody else's.
  func mayAttend(
    _ notification: Notification, hasTurn: inout Bool,
    _ start: () throws(Errno) -> SupervisorThread
  ) -> Bool {
    if !hasTurn { return true }
    let isPassedOn = state.withLock { state in
      if passTurn(&state, start) || giveUpTurn(&state) {
        endServing()
        return true
      }
      state.backlog.append(notification)
      waiting.add(1, ordering: .relaxed)
      return false
    }
    hasTurn = !isPassedOn
    return isPassedOn
  }

  /// Whether notifications were left for later. Those who attend take them when they are done; where nobody attends, since no thread
  /// was to be had, ``takeWaiting(hasTurn:_:)`` tries again.
  var hasBacklog: Bool { waiting.load(ordering: .relaxed) > 0 }

  /// A notification that was left for later, when there is somebody else for the turn now.
  func takeWaiting(
    hasTurn: inout Bool, _ start: () throws(Errno) -> SupervisorThread
  ) -> Notification? {
    let taken = state.withLock { state -> Notification? in
      guard !state.backlog.isEmpty, passTurn(&state, start) || giveUpTurn(&state) else {
        return nil
      }
      return takeOldest(&state)
    }
    if taken != nil { hasTurn = false }
    return taken
  }

  private func takeOldest(_ state: inout State) -> Notification {
    waiting.subtract(1, ordering: .relaxed)
    return state.backlog.removeFirst()
  }

  /// Gives the turn to somebody who sleeps, or to a new receiver.
  private func passTurn(
    _ state: inout State, _ start: () throws(Errno) -> SupervisorThread
  ) -> Bool {
    if let last = state.idle.popLast() {
      last.wake(hasTurn: true)
      return true
    }
    guard state.count < Self.most, let thread = try? start() else { return false }
    state.threads.append(thread)
    state.count += 1
    return true
  }

  /// Where no thread is to be had, one turn less will do while somebody else has one.
  private func giveUpTurn(_ state: inout State) -> Bool {
    guard state.turns > 1 else { return false }
    state.turns -= 1
    return true
  }

  /// Who has the turn has a notification.
  func beginServing() { serving.add(1, ordering: .relaxed) }
  /// Who had the turn all the time has served it.
  func endServing() { serving.subtract(1, ordering: .relaxed) }
  /// Whether somebody is serving a notification who has the turn.
  var isServing: Bool { serving.load(ordering: .relaxed) > 0 }

  /// Notifications wait although nobody attends to anybody: the pod's programs call from several CPUs at once.
  func grow(_ start: () throws(Errno) -> SupervisorThread) {
    state.withLock { state in
      guard state.turns < Self.callers, passTurn(&state, start) else { return }
      state.turns += 1
    }
  }

  /// A receiver finds that it wasn't needed for a while.
  ///
  /// - Returns: Whether it has lost the turn, which others have.
  func retreat() -> Bool { state.withLock { giveUpTurn(&$0) } }

  /// How many turns there are at most, for calls that come at once.
  private static let callers = max(2, min(most, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))))

  /// Starts the first receiver, which has the turn.
  func begin(_ start: () throws(Errno) -> SupervisorThread) throws(Errno) {
    let thread = try start()
    state.withLock { state in
      state.threads.append(thread)
      state.count += 1
      state.turns += 1
    }
  }

  /// Nothing comes any more: who sleeps is to end.
  func close() {
    let idle = state.withLock { state in
      state.isClosed = true
      defer { state.idle = [] }
      return state.idle
    }
    for receiver in idle { receiver.wake(hasTurn: false) }
  }

  /// How many there are.
  var count: Int { state.withLock { $0.count } }

  /// How many sleep.
  var idleCount: Int { state.withLock { $0.idle.count } }

  /// A receiver says where it counts what it does.
  func counts(by counts: ReceiverCounts) { state.withLock { $0.counts.append(counts) } }

  /// What all have done.
  var statistics: PodStatistics {
    let counts = state.withLock { $0.counts }
    return counts.reduce(into: PodStatistics()) { $1.add(to: &$0) }
  }

  /// Waits until all receivers have ended.
  func join() {
    while let thread = state.withLock({ $0.threads.popLast() }) { thread.join() }
  }
}

/// A receiver that sleeps until it has the turn.
private final class IdleReceiver: Sendable {
  private struct Semaphore: @unchecked Sendable {
    let pointer: UnsafeMutablePointer<sem_t>
  }
  private let semaphore: Semaphore
  private let hasTurn = Atomic<Bool>(false)

  init() {
    let pointer = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
    sem_init(pointer, 0, 0)
    semaphore = Semaphore(pointer: pointer)
  }

  deinit {
    sem_destroy(semaphore.pointer)
    semaphore.pointer.deallocate()
  }

  /// Whether it has the turn, when it was woken.
  func sleep() -> Bool {
    while sem_wait(semaphore.pointer) != 0 {}
    return hasTurn.load(ordering: .acquiring)
  }

  func wake(hasTurn: Bool) {
    self.hasTurn.store(hasTurn, ordering: .releasing)
    sem_post(semaphore.pointer)
  }
}

/// A call that waits for our answer.
struct Notification: Sendable {
  let id: UInt64
  let tid: Int32
  let number: Int
  let instructionPointer: RemoteAddress
  let arguments: CallArguments

  init(_ raw: seccomp_notif) {
    id = raw.id
    tid = Int32(bitPattern: raw.pid)
    number = Int(raw.data.nr)
    instructionPointer = RemoteAddress(rawValue: raw.data.instruction_pointer)
    let words = raw.data.args
    arguments = CallArguments(words.0, words.1, words.2, words.3, words.4, words.5)
  }
}
