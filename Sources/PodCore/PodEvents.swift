internal import Synchronization

/// What happens in a pod, for one subscriber: it has its own buffer, and one that is slow or stops reading harms nobody.
///
/// It can be read once. It ends with the pod, after what was buffered.
public struct PodEvents: AsyncSequence, Sendable {
  /// Events in the order in which they were reported.
  public typealias Element = PodEvent
  /// Never fails.
  public typealias Failure = Never

  let subscription: Subscription

  /// How many events were lost because the reader was slower: always the oldest.
  public var dropped: Int { subscription.dropped }

  /// Begins to read.
  public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(subscription: subscription) }

  /// Reads events.
  public struct AsyncIterator: AsyncIteratorProtocol {
    let subscription: Subscription

    /// The next event; nil when the pod has ended or the task was cancelled.
    public mutating func next(
      isolation actor: isolated (any Actor)? = #isolation
    ) async -> PodEvent? { await subscription.next() }

    /// The next event; nil when the pod has ended or the task was cancelled.
    public mutating func next() async -> PodEvent? { await subscription.next() }
  }
}

/// One subscriber's buffer; dropping it ends the subscription.
final class Subscription: Sendable {
  typealias Waiter = CheckedContinuation<PodEvent?, Never>

  private struct State {
    var ring: [PodEvent?]
    var first = 0
    var count = 0
    var dropped = 0
    var isFinished = false
    var waiters: [(identity: Int, continuation: Waiter)] = []
    var nextIdentity = 0

    mutating func append(_ event: PodEvent) {
      ring[(first + count) % ring.count] = event
      if count < ring.count {
        count += 1
      } else {
        first = (first + 1) % ring.count
        dropped += 1
      }
    }

    mutating func removeFirst() -> PodEvent? {
      if count == 0 { return nil }
      defer {
        ring[first] = nil
        first = (first + 1) % ring.count
        count -= 1
      }
      return ring[first]
    }
  }
  private let state: Mutex<State>
  private let hub: EventHub
  private let identity: Int
  private let isWanted: @Sendable (PodEvent) -> Bool

  init(
    hub: EventHub, identity: Int, capacity: Int,
    _ isWanted: @escaping @Sendable (PodEvent) -> Bool
  ) {
    self.hub = hub
    self.identity = identity
    self.isWanted = isWanted
    state = Mutex(State(ring: Array(repeating: nil, count: max(capacity, 1))))
  }

  deinit { hub.unsubscribe(identity) }

  var dropped: Int { state.withLock { $0.dropped } }

  func push(_ event: PodEvent) {
    guard isWanted(event) else { return }
    let waiter = state.withLock { state -> Waiter? in
      if state.isFinished { return nil }
      if !state.waiters.isEmpty { return state.waiters.removeFirst().continuation }
      state.append(event)
      return nil
    }
    waiter?.resume(returning: event)
  }

  func finish() {
    let waiters = state.withLock { state in
      state.isFinished = true
      defer { state.waiters = [] }
      return state.waiters
    }
    for waiter in waiters { waiter.continuation.resume(returning: nil) }
  }

  func next() async -> PodEvent? {
    let identity = state.withLock { state in
      state.nextIdentity += 1
      return state.nextIdentity
    }
    return await withTaskCancellationHandler {
      await withCheckedContinuation { (continuation: Waiter) in
        let answer = state.withLock { state -> PodEvent?? in
          if let event = state.removeFirst() { return event }
          if state.isFinished || Task.isCancelled { return .some(nil) }
          state.waiters.append((identity, continuation))
          return .none
        }
        if let answer { continuation.resume(returning: answer) }
      }
    } onCancel: {
      let waiter = state.withLock { state in
        state.waiters.firstIndex { $0.identity == identity }
          .map { state.waiters.remove(at: $0).continuation }
      }
      waiter?.resume(returning: nil)
    }
  }
}

/// Gives each event to each subscriber, without waiting for any.
final class EventHub: Sendable {
  private struct Reader {
    weak var subscription: Subscription?
  }
  private struct State {
    var readers: [Int: Reader] = [:]
    var nextIdentity = 0
    /// What was reported before anyone could subscribe; each subscriber gets it first.
    var early: [PodEvent] = []
    var isOpen = false
    var isFinished = false
    var failure: String?
  }
  private static let earlyLimit = 64
  private let state = Mutex(State())

  func report(_ event: PodEvent) {
    // Given out under the lock, which keeps the order; a subscription takes no lock but its own.
    let kept = state.withLock { state -> [Subscription] in
      if case .failed(let reason) = event, state.failure == nil { state.failure = reason }
      if !state.isOpen, state.early.count < Self.earlyLimit { state.early.append(event) }
      let subscriptions = state.readers.values.compactMap(\.subscription)
      for subscription in subscriptions { subscription.push(event) }
      return subscriptions
    }
    // The last reference may end here, and its deinit takes the lock.
    _ = kept
  }

  /// Why the pod failed, from the moment at which that was reported: before its programs are killed.
  var failure: String? { state.withLock { $0.failure } }

  /// The pod has started: who wants to know what happens now has to subscribe.
  func open() { state.withLock { $0.isOpen = true } }

  func subscribe(
    capacity: Int, _ isWanted: @escaping @Sendable (PodEvent) -> Bool
  ) -> Subscription {
    state.withLock { state in
      state.nextIdentity += 1
      let subscription = Subscription(
        hub: self, identity: state.nextIdentity, capacity: capacity, isWanted)
      for event in state.early { subscription.push(event) }
      state.readers[state.nextIdentity] = Reader(subscription: subscription)
      if state.isFinished { subscription.finish() }
      return subscription
    }
  }

  func unsubscribe(_ identity: Int) {
    state.withLock { $0.readers[identity] = nil }
  }

  func finish() {
    let subscriptions = state.withLock { state in
      state.isFinished = true
      return state.readers.values.compactMap(\.subscription)
    }
    for subscription in subscriptions { subscription.finish() }
  }
}
