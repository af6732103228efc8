internal import Synchronization
internal import SystemPackage

/// The message queues and semaphore sets of one pod, and who waits for them: emulated, so that nothing of a pod is in the
/// host's tables, whoever may use those.
///
/// One lock is held for each operation, for as long as the kernel would hold its own. It is a leaf: nothing but sleepers
/// (``Sleeper``) is called under it. Memory of the caller is read before, and written after.
///
/// Source: svipc(7); ipc/msg.c, ipc/sem.c.
public final class SystemVObjects: Sendable {
  struct State: ~Copyable {
    var queues = IPCTable<MessageQueueObject>(limit: Int(IPCLimits.objects))
    /// The bytes and numbers of all messages.
    var messageBytes = 0
    var messages = 0
    var sets = IPCTable<SemaphoreSetObject>(limit: Int(IPCLimits.objects))
    var semaphores = 0
    /// What is to be undone at the end of processes.
    var undo: [VirtualName<ProcessID>: UndoList] = [:]
    /// The waits of each process.
    var waits: [VirtualName<ProcessID>: [IPCWait]] = [:]
  }
  private let state = Mutex(State())

  init() {}

  func withState<T: Sendable, Failure: Error>(
    _ body: (inout State) throws(Failure) -> T
  ) throws(Failure) -> T {
    let result = state.withLock { (state: inout State) -> Result<T, Failure> in
      do throws(Failure) { return .success(try body(&state)) } catch { return .failure(error) }
    }
    return try result.get()
  }

  // MARK: Waits

  /// A wait is over, whatever the reason.
  ///
  /// - Returns: What it was given; nil when it was given nothing.
  func finish(_ wait: IPCWait) -> IPCWait.Outcome? {
    defer { wait.sleep.sleeper.end() }
    return state.withLock { state in
      state.drop(wait)
      return wait.outcome
    }
  }

  /// How many threads wait.
  public var waitCount: Int { state.withLock { $0.waits.values.reduce(0) { $0 + $1.count } } }

  /// How many objects there are, of both kinds.
  public var objectCount: Int { state.withLock { $0.queues.count + $0.sets.count } }

  // MARK: Processes

  /// A process has ended: nobody of it waits any more, and what it wanted to have undone is. Twice is once.
  func ended(_ process: VirtualName<ProcessID>) {
    state.withLock { state in
      state.dropWaits(of: process)
      guard let list = state.undo.removeValue(forKey: process) else { return }
      list.members -= 1
      if list.members == 0 { state.apply(list, of: process) }
    }
  }

  /// A process has executed a program: of its threads one is left, and that one doesn't wait. What is to be undone stays so.
  func executed(_ process: VirtualName<ProcessID>) {
    state.withLock { $0.dropWaits(of: process) }
  }

  /// A newborn process shares with its maker what is to be undone (`CLONE_SYSVSEM`): it is when both have ended. Twice is
  /// once.
  ///
  /// Source: ipc/sem.c, `copy_semundo`.
  func shareUndo(of maker: VirtualName<ProcessID>, with child: VirtualName<ProcessID>) {
    state.withLock { state in
      let list = state.undoList(of: maker)
      let own = state.undo[child]
      if own === list { return }
      list.members += 1
      // It may have run before anybody told of this.
      own?.members -= 1
      // Each was within bounds; what isn't any more is as far as it may be.
      let bound: Int32 = 32_767
      list.adjustments.merge(own?.adjustments ?? [:]) { max(-bound, min(bound, $0 + $1)) }
      state.undo[child] = list
    }
  }
}

extension SystemVObjects.State {
  /// Puts a wait into its object's list.
  mutating func park(_ wait: IPCWait, for object: any IPCObject) {
    wait.object = object
    waits[wait.caller.process, default: []].append(wait)
  }

  /// A thread that makes a call waits for nothing else: a handler has taken it out of an earlier wait.
  mutating func endWaits(of caller: Caller) {
    guard let own = waits[caller.process] else { return }
    for wait in own where wait.caller.thread == caller.thread { drop(wait) }
  }

  mutating func dropWaits(of process: VirtualName<ProcessID>) {
    for wait in waits[process] ?? [] { drop(wait) }
  }

  /// Takes a wait out of all lists. Twice is once.
  mutating func drop(_ wait: IPCWait) {
    let process = wait.caller.process
    if let index = waits[process]?.firstIndex(where: { $0 === wait }) {
      waits[process]?.remove(at: index)
      if waits[process]?.isEmpty == true { waits[process] = nil }
    }
    guard let object = wait.object else { return }
    wait.object = nil
    switch object {
    case let queue as MessageQueueObject:
      queue.receivers.removeAll { $0 === wait }
      queue.senders.removeAll { $0 === wait }
      if case .send(let message) = wait.wish { messageBytes -= message.charge }
    case let set as SemaphoreSetObject:
      set.altering.removeAll { $0 === wait }
      set.looking.removeAll { $0 === wait }
    default: break
    }
  }
}
