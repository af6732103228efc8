internal import CLinux
internal import Glibc
internal import PodCore
internal import PodLinux
internal import Synchronization
internal import SystemPackage

/// The receivers of a pod: threads of the host program that wait for notifications.
///
/// One is there from the start, and one for each CPU when calls come faster than they are answered. A receiver that attends
/// to a thread needs another one, which continues the calls that the thread is made to make; so the last one that is
/// free makes another before it attends to anybody, or, when there are as many as there may be, leaves the notification
/// for the next that becomes free.
final class ReceiverPool: Sendable {
  private struct State {
    var threads: [SupervisorThread] = []
    var count = 0
    var backlog: [Notification] = []
  }
  private let state = Mutex(State())
  private let free = Atomic<Int>(0)
  private let waiting = Atomic<Int>(0)

  /// How many receivers a pod has at most.
  static let most = 24

  /// A receiver is about to wait for a notification.
  func becomeFree() { free.add(1, ordering: .sequentiallyConsistent) }
  /// A receiver has a notification.
  func becomeBusy() { free.subtract(1, ordering: .sequentiallyConsistent) }

  /// A notification that was left for later.
  func takeWaiting() -> Notification? {
    guard waiting.load(ordering: .sequentiallyConsistent) > 0 else { return nil }
    return state.withLock { state in
      guard !state.backlog.isEmpty else { return nil }
      waiting.subtract(1, ordering: .sequentiallyConsistent)
      return state.backlog.removeFirst()
    }
  }

  /// A receiver wants to attend to a thread.
  ///
  /// - Returns: Whether it may; else the notification is somebody else's.
  func mayAttend(_ notification: Notification, _ start: () throws(Errno) -> SupervisorThread)
    -> Bool
  {
    if free.load(ordering: .sequentiallyConsistent) > 0 { return true }
    return state.withLock { state in
      if state.count < Self.most, let thread = try? start() {
        state.threads.append(thread)
        state.count += 1
        free.add(1, ordering: .sequentiallyConsistent)
        return true
      }
      state.backlog.append(notification)
      waiting.add(1, ordering: .sequentiallyConsistent)
      // Whoever becomes free looks once more afterwards; who did so before is seen here. So one of both has it.
      guard free.load(ordering: .sequentiallyConsistent) > 0 else { return false }
      state.backlog.removeLast()
      waiting.subtract(1, ordering: .sequentiallyConsistent)
      return true
    }
  }

  /// Notifications wait although nobody attends to anybody: the pod's programs call from several CPUs at once.
  func grow(_ start: () throws(Errno) -> SupervisorThread) {
    state.withLock { state in
      guard state.count < Self.callers, let thread = try? start() else { return }
      state.threads.append(thread)
      state.count += 1
      free.add(1, ordering: .sequentiallyConsistent)
    }
  }

  /// How many receivers there are at most for calls that come at once.
  private static let callers = max(2, min(most, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))))

  /// Starts the first receiver.
  func begin(_ start: () throws(Errno) -> SupervisorThread) throws(Errno) {
    let thread = try start()
    free.add(1, ordering: .sequentiallyConsistent)
    state.withLock { state in
      state.threads.append(thread)
      state.count += 1
    }
  }

  /// How many there are.
  var count: Int { state.withLock { $0.count } }

  /// Waits until all receivers have ended.
  func join() {
    while let thread = state.withLock({ $0.threads.popLast() }) { thread.join() }
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
