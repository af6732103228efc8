internal import CLinux
internal import Glibc
internal import Synchronization
internal import SystemPackage

/// The thread of a pod that reads and writes the pipes of its programs.
///
/// There is one at most, from the first program with a pipe to ``close()``. It never blocks on a pipe and runs no code of
/// the embedder. All signals are blocked in it: a `SIGPIPE` stays pending there and is gone with the thread, so the host
/// program never sees one. Lock order: a pipe's lock, then the table's; neither is held across a call that blocks.
package final class StreamService: Sendable {
  let reactor = Reactor()

  /// Makes the service; the thread starts when it is needed.
  package init() {}

  deinit { reactor.close() }

  /// Ends the thread. What is waiting for a pipe gets its end. Idempotent.
  package func close() { reactor.close() }
}

/// One end of a pipe that the host program serves. It doesn't block.
final class PipeEnd: Sendable {
  private struct State: ~Copyable {
    var descriptor: OwnedDescriptor?
    /// How many bytes may still be read; nil: until the end.
    var budget: Int?
  }
  private let state: Mutex<State>
  /// For poll(2) only: the number may be somebody else's by then, and a wrong wake-up does no harm.
  let number: Int32

  /// - Throws: what fcntl(2) says.
  init(_ descriptor: consuming OwnedDescriptor) throws(Errno) {
    number = descriptor.rawValue
    if fcntl(number, F_SETFL, fcntl(number, F_GETFL) | O_NONBLOCK) < 0 {
      throw Errno(rawValue: errno)
    }
    state = Mutex(State(descriptor: consume descriptor))
  }

  enum Outcome {
    case bytes([UInt8])
    case wouldBlock
    case end
  }

  func read(with scratch: UnsafeMutableRawBufferPointer) -> Outcome {
    state.withLock { state in
      guard let descriptor = state.descriptor?.rawValue else { return .end }
      let count = min(scratch.count, state.budget ?? .max)
      if count == 0 { return .end }
      while true {
        let size = Glibc.read(descriptor, scratch.baseAddress, count)
        if size > 0 {
          state.budget = state.budget.map { $0 - size }
          return .bytes(Array(scratch[..<size]))
        }
        if size == 0 { return .end }
        switch errno {
        case EINTR: continue
        case EAGAIN: return state.budget == nil ? .wouldBlock : .end
        default: return .end
        }
      }
    }
  }

  /// Writes what fits.
  ///
  /// - Returns: How many bytes; nil when nobody reads any more.
  func write(_ bytes: ArraySlice<UInt8>) -> Int? {
    state.withLock { state in
      guard let descriptor = state.descriptor?.rawValue else { return nil }
      while true {
        let size = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        if size >= 0 { return size }
        switch errno {
        case EINTR: continue
        case EAGAIN: return 0
        default: return nil
        }
      }
    }
  }

  /// From now on only what is in the pipe is read.
  func limitToContent() {
    state.withLock { state in
      guard state.budget == nil, let descriptor = state.descriptor?.rawValue else { return }
      var count: Int32 = 0
      let result = withUnsafeMutablePointer(to: &count) {
        CLinux_ioctl(descriptor, UInt(FIONREAD), $0)
      }
      state.budget = result < 0 ? 0 : Int(count)
    }
  }

  func close() { state.withLock { $0.descriptor = nil } }
}

/// The loop: operations that wait for their pipe, and the thread that performs them.
final class Reactor: Sendable {
  private enum Kind {
    case read(CheckedContinuation<[UInt8]?, Never>)
    case write(ArraySlice<UInt8>, CheckedContinuation<Bool, Never>)
  }
  private struct Operation {
    let end: PipeEnd
    var kind: Kind
  }
  private struct State: ~Copyable {
    var operations: [Int: Operation] = [:]
    var nextIdentity = 0
    var thread: SupervisorThread?
    var wakePipe: Pipe?
    var isClosed = false
  }
  private let state = Mutex(State())

  /// Reads what there is, at least a byte.
  ///
  /// - Returns: nil at the end.
  func read(_ end: PipeEnd) async -> [UInt8]? {
    await withCheckedContinuation { add(Operation(end: end, kind: .read($0))) }
  }

  /// Writes everything.
  ///
  /// - Returns: false when nobody reads any more.
  func write(_ bytes: [UInt8], to end: PipeEnd) async -> Bool {
    if bytes.isEmpty { return true }
    return await withCheckedContinuation { add(Operation(end: end, kind: .write(bytes[...], $0))) }
  }

  /// Makes the thread look again at what waits for a pipe, which was changed.
  func wake() {
    state.withLock { state in
      guard let descriptor = state.wakePipe?.writeEnd.rawValue else { return }
      var byte: UInt8 = 1
      _ = Glibc.write(descriptor, &byte, 1)
    }
  }

  /// - Throws: what pipe2(2) and pthread_create(3) say.
  func start() throws(Errno) {
    try state.withLock { state throws(Errno) in
      guard state.thread == nil, !state.isClosed else { return }
      let pipe = try Pipe.make()
      for descriptor in [pipe.readEnd.rawValue, pipe.writeEnd.rawValue] {
        _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
      }
      let number = pipe.readEnd.rawValue
      state.thread = try SupervisorThread.start(name: "pod streams") { self.run(wake: number) }
      state.wakePipe = consume pipe
    }
  }

  func close() {
    let thread = state.withLock { state -> SupervisorThread? in
      state.isClosed = true
      defer { state.thread = nil }
      return state.thread
    }
    guard let thread else { return }
    wake()
    // The last reference may have been dropped by what the thread itself resumed; then it is let go.
    thread.join()
    state.withLock { $0.wakePipe = nil }
  }

  private func add(_ operation: Operation) {
    let isQueued = state.withLock { state in
      guard state.thread != nil, !state.isClosed else { return false }
      state.nextIdentity += 1
      state.operations[state.nextIdentity] = operation
      return true
    }
    if isQueued { wake() } else { abandon(operation) }
  }

  private func abandon(_ operation: Operation) {
    switch operation.kind {
    case .read(let continuation): continuation.resume(returning: nil)
    case .write(_, let continuation): continuation.resume(returning: false)
    }
  }

  // MARK: The thread

  private func run(wake: Int32) {
    let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 65_536, alignment: 16)
    defer { scratch.deallocate() }
    while true {
      let (waiting, isClosed) = state.withLock { state in (state.operations, state.isClosed) }
      if isClosed { break }
      // Tried first, then waited for: what changed besides readiness is seen by trying.
      var polled = [pollfd(fd: wake, events: Int16(POLLIN), revents: 0)]
      var isIdle = true
      for (identity, operation) in waiting {
        if attempt(identity, operation, scratch) {
          isIdle = false
          continue
        }
        let events = if case .read = operation.kind { POLLIN } else { POLLOUT }
        polled.append(pollfd(fd: operation.end.number, events: Int16(events), revents: 0))
      }
      let result = poll(&polled, nfds_t(polled.count), isIdle ? -1 : 0)
      if result > 0, polled[0].revents != 0 {
        while Glibc.read(wake, scratch.baseAddress, scratch.count) == scratch.count {}
      }
    }
    let left = state.withLock { state in
      defer { state.operations = [:] }
      return state.operations
    }
    for operation in left.values { abandon(operation) }
  }

  /// Whether the operation is done.
  private func attempt(
    _ identity: Int, _ operation: Operation, _ scratch: UnsafeMutableRawBufferPointer
  ) -> Bool {
    switch operation.kind {
    case .read(let continuation):
      switch operation.end.read(with: scratch) {
      case .wouldBlock: return false
      case .bytes(let bytes):
        remove(identity)
        continuation.resume(returning: bytes)
      case .end:
        remove(identity)
        continuation.resume(returning: nil)
      }
    case .write(let bytes, let continuation):
      guard let count = operation.end.write(bytes) else {
        remove(identity)
        continuation.resume(returning: false)
        return true
      }
      if count < bytes.count {
        if count > 0 {
          let rest = bytes.dropFirst(count)
          state.withLock { $0.operations[identity]?.kind = .write(rest, continuation) }
        }
        return false
      }
      remove(identity)
      continuation.resume(returning: true)
    }
    return true
  }

  private func remove(_ identity: Int) {
    state.withLock { state in _ = state.operations.removeValue(forKey: identity) }
  }
}

/// Both ends of a pipe.
struct Pipe: ~Copyable {
  let readEnd: OwnedDescriptor
  let writeEnd: OwnedDescriptor

  /// - Throws: what pipe2(2) says.
  static func make() throws(Errno) -> Pipe {
    let ends = try FileDescriptor.pipe(options: .closeOnExec)
    return Pipe(
      readEnd: OwnedDescriptor(owning: ends.readEnd.rawValue),
      writeEnd: OwnedDescriptor(owning: ends.writeEnd.rawValue))
  }
}
