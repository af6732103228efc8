internal import Glibc
package import PodCore
internal import Synchronization
package import SystemPackage

/// The standard input, output and error of one program: the descriptors that it gets, and what serves their pipes.
///
/// Output is delivered to its end while the program is alive; when it has ended, ``finish()`` delivers what is in the
/// pipes at that moment and waits for nobody else: a process that the program left behind, with the pipe still open,
/// doesn't keep its run from ending. If that process writes later, it gets `SIGPIPE`.
package final class StandardStreams: Sendable {
  /// What becomes descriptor 0. Valid until ``closeChildEnds()``.
  package let input: FileDescriptor
  /// What becomes descriptor 1. Valid until ``closeChildEnds()``.
  package let output: FileDescriptor
  /// What becomes descriptor 2. Valid until ``closeChildEnds()``.
  package let error: FileDescriptor

  private let childEnds: Mutex<Set<Int32>>
  private let inputPump: InputPump?
  private let outputPumps: [OutputPump]
  private let deliveries: [Task<Void, Never>]
  private let service: StreamService

  private init(plan: consuming Plan, service: StreamService) {
    input = FileDescriptor(rawValue: plan.input)
    output = FileDescriptor(rawValue: plan.output)
    error = FileDescriptor(rawValue: plan.error)
    childEnds = Mutex(plan.childEnds)
    inputPump = plan.inputPump
    outputPumps = plan.outputPumps
    self.service = service
    inputPump?.begin()
    deliveries = plan.outputPumps.map { $0.begin() }
  }

  deinit {
    closeChildEnds()
    inputPump?.stop()
  }

  /// Makes pipes and opens what a request asks for; from now on the pipes are served.
  ///
  /// - Throws: ``PodError`` with `.launchFailed` when the host program has no descriptors left.
  package static func open(
    _ request: LaunchRequest, _ service: StreamService
  ) throws(PodError) -> StandardStreams {
    var plan = Plan(reactor: service.reactor)
    do throws(Errno) {
      try plan.openInput(request.input)
      plan.output = try plan.openOutput(request.output)
      if case .sameAsOutput = request.error {
        plan.error = plan.output
      } else {
        plan.error = try plan.openOutput(request.error)
      }
      if !plan.outputPumps.isEmpty || plan.inputPump != nil { try service.reactor.start() }
    } catch {
      // What was not opened yet is closed too, when it was promised.
      plan.promise(request)
      plan.abandon()
      throw PodError(
        .launchFailed, "the pipes for \(request.name) could not be made", underlyingError: error)
    }
    return StandardStreams(plan: plan, service: service)
  }

  /// Closes what the program has now got, or will not get. Idempotent.
  package func closeChildEnds() {
    let numbers = childEnds.withLock { numbers in
      defer { numbers = [] }
      return numbers
    }
    for number in numbers { close(number) }
  }

  /// Returns when the output that was written until now has been delivered; to be called when the program has ended, or
  /// was not started. Idempotent.
  package func finish() async {
    closeChildEnds()
    inputPump?.stop()
    for pump in outputPumps { pump.end.limitToContent() }
    service.reactor.wake()
    // To the end of each task, not only of its output: what a sink holds is gone when the program's end is told.
    for delivery in deliveries { await delivery.value }
  }
}

/// What is opened for a program, before all of it is.
private struct Plan {
  let reactor: Reactor
  var input: Int32 = -1
  var output: Int32 = -1
  var error: Int32 = -1
  var childEnds: Set<Int32> = []
  var inputPump: InputPump?
  var outputPumps: [OutputPump] = []

  init(reactor: Reactor) { self.reactor = reactor }

  mutating func openInput(_ source: LaunchRequest.InputSource) throws(Errno) {
    switch source {
    case .none: input = try null()
    case .descriptor(let descriptor, let closes): input = take(descriptor, closes)
    case .bytes(let bytes):
      let once = Once(bytes)
      input = try pipeForInput(next: { once.take() }, closed: {})
    case .stream(let next, let closed):
      input = try pipeForInput(next: next, closed: closed)
    }
  }

  mutating func openOutput(_ target: LaunchRequest.OutputTarget) throws(Errno) -> Int32 {
    switch target {
    case .discard, .sameAsOutput: return try null()
    case .descriptor(let descriptor, let closes): return take(descriptor, closes)
    case .sink(let sink):
      let pipe = try Pipe.make()
      let end = try PipeEnd(pipe.readEnd)
      outputPumps.append(OutputPump(end: end, reactor: reactor, sink: sink))
      return keep(pipe.writeEnd)
    }
  }

  /// Closes what the caller gave away and wasn't reached.
  mutating func promise(_ request: LaunchRequest) {
    if case .descriptor(let descriptor, true) = request.input { _ = take(descriptor, true) }
    for target in [request.output, request.error] {
      if case .descriptor(let descriptor, true) = target { _ = take(descriptor, true) }
    }
  }

  func abandon() {
    for number in childEnds { close(number) }
    inputPump?.stop()
    for pump in outputPumps { pump.end.close() }
  }

  private mutating func pipeForInput(
    next: @escaping @Sendable () async -> [UInt8]?, closed: @escaping @Sendable () -> Void
  ) throws(Errno) -> Int32 {
    let pipe = try Pipe.make()
    let end = try PipeEnd(pipe.writeEnd)
    inputPump = InputPump(end: end, reactor: reactor, next: next, closed: closed)
    return keep(pipe.readEnd)
  }

  private mutating func null() throws(Errno) -> Int32 {
    let number = Glibc.open("/dev/null", O_RDWR | O_CLOEXEC)
    if number < 0 { throw Errno(rawValue: errno) }
    return keep(OwnedDescriptor(owning: number))
  }

  private mutating func keep(_ descriptor: consuming OwnedDescriptor) -> Int32 {
    let number = descriptor.release()
    childEnds.insert(number)
    return number
  }

  private mutating func take(_ descriptor: FileDescriptor, _ closes: Bool) -> Int32 {
    if closes { childEnds.insert(descriptor.rawValue) }
    return descriptor.rawValue
  }
}

/// Bytes that are given once.
private final class Once: Sendable {
  private let bytes: Mutex<[UInt8]?>

  init(_ bytes: [UInt8]) { self.bytes = Mutex(bytes) }

  func take() -> [UInt8]? {
    bytes.withLock { bytes in
      defer { bytes = nil }
      return bytes
    }
  }
}

/// Takes a program's output from a pipe to a sink, one piece at a time.
private final class OutputPump: Sendable {
  let end: PipeEnd
  private let reactor: Reactor
  private let sink: @Sendable ([UInt8]?) async -> Bool

  init(end: PipeEnd, reactor: Reactor, sink: @escaping @Sendable ([UInt8]?) async -> Bool) {
    (self.end, self.reactor, self.sink) = (end, reactor, sink)
  }

  func begin() -> Task<Void, Never> {
    Task.detached { [self] in
      var isWanted = true
      while isWanted, let bytes = await reactor.read(end) { isWanted = await sink(bytes) }
      end.close()
      if isWanted { _ = await sink(nil) }
    }
  }
}

/// Takes a program's input from a source to a pipe.
private final class InputPump: Sendable {
  private let end: PipeEnd
  private let reactor: Reactor
  private let next: @Sendable () async -> [UInt8]?
  private let closed: Mutex<(@Sendable () -> Void)?>

  init(
    end: PipeEnd, reactor: Reactor, next: @escaping @Sendable () async -> [UInt8]?,
    closed: @escaping @Sendable () -> Void
  ) {
    (self.end, self.reactor, self.next) = (end, reactor, next)
    self.closed = Mutex(closed)
  }

  func begin() {
    Task.detached { [self] in
      while let bytes = await next(), await reactor.write(bytes, to: end) {}
      stop()
    }
  }

  /// Ends the input. A write that waits ends; a source that is being asked is told, and its answer dropped.
  func stop() {
    end.close()
    reactor.wake()
    let closed = closed.withLock { closed in
      defer { closed = nil }
      return closed
    }
    closed?()
  }
}
