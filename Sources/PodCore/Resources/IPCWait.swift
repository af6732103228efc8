internal import SystemPackage

/// What ends the sleep of one thread, given by its backend.
///
/// Woken under the lock of the pod's System V objects: it doesn't block, and takes no lock that is held while one of theirs is
/// asked for.
public protocol Sleeper: AnyObject, Sendable {
  /// Wakes the thread.
  ///
  /// - Returns: Whether it slept, and is awake because of this. false when a signal came first, when it stands still for
  ///   job control, or when it hasn't begun to sleep: then it isn't going to sleep, or not any longer, without having looked
  ///   again.
  func wake() -> Bool

  /// Whether the thread sleeps now, and ``wake()`` would wake it.
  var isAsleep: Bool { get }

  /// It won't be woken any more.
  func end()
}

/// How a thread is to sleep: what the kernel gets in place of the program's call.
public struct Sleep: Sendable {
  /// What ends it.
  public let sleeper: any Sleeper
  /// The call that sleeps.
  public let call: Syscall
  /// What the kernel gets.
  public let arguments: CallArguments
  /// What the kernel answers when the time is over.
  public let timedOut: CallResult

  /// Says how.
  public init(
    _ sleeper: any Sleeper, call: Syscall, _ arguments: CallArguments, timedOut: CallResult
  ) {
    (self.sleeper, self.call, self.arguments) = (sleeper, call, arguments)
    self.timedOut = timedOut
  }
}

/// A thread that waits for a System V object: *parked*.
///
/// Who changes the object does what the thread waits for in its stead, in the order in which threads came, and wakes it; what
/// was done counts if the thread slept, else it is undone. So a thread that a signal has reached gets nothing that its handler,
/// which may leave the call for good, would lose. The kernel does the same.
///
/// Its state belongs to the lock of ``SystemVObjects``.
///
/// Source: ipc/sem.c, `update_queue`; ipc/msg.c, `pipelined_send`.
public final class IPCWait: @unchecked Sendable {
  /// What a thread gets.
  enum Outcome {
    case failed(Errno)
    case done
    case received(Message)
  }

  /// What it waits for.
  enum Wish {
    case send(Message)
    case receive(MessageSelector)
    case semaphores([SemaphoreOperation])
  }

  let caller: Caller
  let wish: Wish
  let sleep: Sleep
  /// The operation of several that can't be done now.
  var blocking = SemaphoreOperation(semaphore: 0, change: 0, flags: 0)
  /// The object; nil when the wait is over.
  var object: (any IPCObject)?
  var outcome: Outcome?
  /// The list in which the object has it.
  var isAltering = true

  init(_ caller: Caller, _ wish: Wish, _ sleep: Sleep) {
    (self.caller, self.wish, self.sleep) = (caller, wish, sleep)
  }

  /// Whether the call begins anew when the thread was woken for nothing it could see, a stop for job control above all. Calls
  /// on semaphores don't.
  ///
  /// Source: signal(7), "Interruption of system calls and library functions by stop signals".
  public var beginsAnew: Bool {
    if case .semaphores = wish { false } else { true }
  }

  /// Tells the thread that it waits in vain, whether it sleeps or is about to: nothing is lost with an errno.
  func fail(_ error: Errno) {
    outcome = .failed(error)
    object = nil
    _ = sleep.sleeper.wake()
  }

  /// Gives the thread what it waits for, if it sleeps.
  ///
  /// - Returns: Whether it gets it. When not, it is going to look again by itself.
  func give(_ outcome: Outcome) -> Bool {
    guard sleep.sleeper.wake() else { return false }
    self.outcome = outcome
    object = nil
    return true
  }
}

extension Transaction {
  /// Looks at the pod's System V objects, or changes them, in one step.
  ///
  /// Not once the caller's end is in the tables: the kernel does nothing for a task that has ended, who has waited for it may
  /// look at the objects, and what it wanted to have undone has been.
  ///
  /// - Parameters:
  ///   - step: What it is.
  ///   - id: The id or key that it is about.
  ///   - body: Runs under the objects' lock.
  /// - Throws: What `body` throws; an errno that nobody sees when the caller has ended.
  mutating func changeObjects<T: Sendable>(
    _ step: Step, on id: Int32, _ body: (inout SystemVObjects.State) throws(Errno) -> T
  ) throws(Errno) -> T {
    let mustLive = self.step(.hold, on: caller.process.rawValue) { _ in true } ?? false
    let done = try self.step(step, on: id) { transaction throws(Errno) in
      let (process, processes) = (transaction.caller.process, transaction.names.processes)
      return try transaction.names.systemV.withState { state throws(Errno) in
        if mustLive, processes.hasEnded(process) { throw .noSuchProcess }
        return try body(&state)
      }
    }
    guard let done else { throw .invalidArgument }
    return done
  }

  /// Parks the caller until what it waits for is done for it, unless it can be done now.
  ///
  /// Where the host has no way to sleep, ``wantsSleep`` is set, and nothing else happens.
  ///
  /// - Parameters:
  ///   - time: How long it sleeps at most; nil for as long as it takes.
  ///   - wish: What it waits for.
  ///   - id: The object.
  ///   - begin: Looks once more when it is told to, under the lock; returns the answer when there is one, else puts the wait
  ///     in its lists.
  /// - Throws: What `begin` throws, and the host when it has no memory for a sleep.
  mutating func sleep(
    for time: Duration?, _ wish: IPCWait.Wish, on id: Int32,
    _ begin: (inout SystemVObjects.State, IPCWait, _ looks: Bool) throws(Errno) -> CallResult?
  ) throws(Errno) {
    guard let sleep = try host.prepareSleep(for: time) else {
      wantsSleep = true
      return
    }
    let wait = IPCWait(caller, wish, sleep)
    let answer: CallResult?
    do throws(Errno) {
      let looks = step(.retry, on: id) { _ in true } ?? false
      answer = try changeObjects(.publish, on: id) { state throws(Errno) in
        try begin(&state, wait, looks)
      }
    } catch {
      sleep.sleeper.end()
      throw error
    }
    if let answer {
      sleep.sleeper.end()
      result = answer
      return
    }
    self.wait = wait
    physicalCall = sleep.call
    physicalArguments = sleep.arguments
  }

  /// After the sleep: what the caller was given.
  ///
  /// - Returns: nil when there is nothing to say yet: the call is made again.
  /// - Throws: What it was given in place of what it waited for; `.interrupted`; `.resourceTemporarilyUnavailable` when its
  ///   time is over.
  mutating func wokenOutcome() throws(Errno) -> IPCWait.Outcome? {
    guard let wait else { return nil }
    self.wait = nil
    switch step(.release, { $0.names.systemV.finish(wait) }) ?? nil {
    case .failed(let error): throw error
    case let outcome?: return outcome
    case nil: break
    }
    if result == .failure(.interrupted) { throw .interrupted }
    if result == wait.sleep.timedOut { throw .resourceTemporarilyUnavailable }
    wantsRetry = true
    return nil
  }
}
