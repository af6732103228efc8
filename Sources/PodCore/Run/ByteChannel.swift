internal import Synchronization

/// Hands chunks of bytes from one side to the other and makes the faster side wait.
///
/// One chunk is kept; who sends another waits until that one was taken. No side waits for ever: the receiver's
/// ``close()`` and the sender's ``finish()`` end every wait, and so does the cancellation of the waiting task.
final class ByteChannel: Sendable {
  private struct Sender {
    let identity: Int
    let bytes: [UInt8]
    let continuation: CheckedContinuation<Bool, Never>
  }
  private struct Receiver {
    let identity: Int
    let continuation: CheckedContinuation<[UInt8]?, Never>
  }
  private struct State {
    var chunk: [UInt8]?
    var isFinished = false
    var isClosed = false
    var senders: [Sender] = []
    var receivers: [Receiver] = []
    var nextIdentity = 0

    mutating func identity() -> Int {
      nextIdentity += 1
      return nextIdentity
    }
  }
  private let state = Mutex(State())

  /// Whether the receiver has gone.
  var isClosed: Bool { state.withLock { $0.isClosed } }

  /// Sends a chunk.
  ///
  /// - Returns: false when it wasn't taken: the receiver has gone, the sender has finished, or the task was cancelled.
  func send(_ bytes: [UInt8]) async -> Bool {
    if bytes.isEmpty { return !isClosed }
    let identity = state.withLock { $0.identity() }
    return await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        enum Outcome {
          case answer(Bool)
          case handOver(Receiver)
          case wait
        }
        let outcome = state.withLock { state -> Outcome in
          if state.isClosed || state.isFinished || Task.isCancelled { return .answer(false) }
          if !state.receivers.isEmpty { return .handOver(state.receivers.removeFirst()) }
          if state.chunk == nil {
            state.chunk = bytes
            return .answer(true)
          }
          state.senders.append(
            Sender(identity: identity, bytes: bytes, continuation: continuation))
          return .wait
        }
        switch outcome {
        case .answer(let answer): continuation.resume(returning: answer)
        case .handOver(let receiver):
          receiver.continuation.resume(returning: bytes)
          continuation.resume(returning: true)
        case .wait: break
        }
      }
    } onCancel: {
      let sender = state.withLock { state in
        state.senders.firstIndex { $0.identity == identity }.map { state.senders.remove(at: $0) }
      }
      sender?.continuation.resume(returning: false)
    }
  }

  /// Takes a chunk.
  ///
  /// - Returns: nil at the end, or when the task was cancelled.
  func receive() async -> [UInt8]? {
    let identity = state.withLock { $0.identity() }
    return await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        enum Outcome {
          case answer([UInt8]?, next: Sender?)
          case wait
        }
        let outcome = state.withLock { state -> Outcome in
          if let chunk = state.chunk {
            let next = state.senders.isEmpty ? nil : state.senders.removeFirst()
            state.chunk = next?.bytes
            return .answer(chunk, next: next)
          }
          if state.isClosed || state.isFinished || Task.isCancelled {
            return .answer(nil, next: nil)
          }
          state.receivers.append(Receiver(identity: identity, continuation: continuation))
          return .wait
        }
        if case .answer(let chunk, let next) = outcome {
          next?.continuation.resume(returning: true)
          continuation.resume(returning: chunk)
        }
      }
    } onCancel: {
      let receiver = state.withLock { state in
        state.receivers.firstIndex { $0.identity == identity }
          .map { state.receivers.remove(at: $0) }
      }
      receiver?.continuation.resume(returning: nil)
    }
  }

  /// The sender has nothing more; what it sent can still be taken.
  func finish() {
    let receivers = state.withLock { state in
      state.isFinished = true
      defer { state.receivers = [] }
      return state.receivers
    }
    for receiver in receivers { receiver.continuation.resume(returning: nil) }
  }

  /// The receiver takes nothing more; what is waiting is dropped.
  func close() {
    let (senders, receivers) = state.withLock { state in
      state.isClosed = true
      state.chunk = nil
      defer { (state.senders, state.receivers) = ([], []) }
      return (state.senders, state.receivers)
    }
    for sender in senders { sender.continuation.resume(returning: false) }
    for receiver in receivers { receiver.continuation.resume(returning: nil) }
  }
}
