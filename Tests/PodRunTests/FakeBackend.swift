import PodCore
import Synchronization
import SystemPackage

/// A backend without a kernel: its programs are closures.
struct FakeBackend: Backend {
  static let name = "fake"

  var unavailable: String?
  var startError: PodError?
  var containment = Containment([:])
  /// What is promised, when that isn't what a pod gets.
  var promisedContainment: Containment?
  var earlyEvents: [PodEvent] = []
  let record = Record()
  var program: @Sendable (FakeProgram) async -> Int32 = { _ in 0 }

  var capabilities: BackendCapabilities {
    BackendCapabilities(nestedTracing: false, signalFrames: false, unavailable: unavailable)
  }

  func containment(for configuration: PodConfiguration) -> Containment {
    promisedContainment ?? containment
  }

  func start(_ pod: PodSetup) async throws(PodError) -> any BackendSession {
    if let startError { throw startError }
    for event in earlyEvents { pod.events(event) }
    record.update { $0.starts += 1 }
    return FakeSession(backend: self, setup: pod)
  }

  /// What was asked of the backend.
  final class Record: Sendable {
    struct Content {
      var starts = 0
      var ends = 0
      var signals: [Int32] = []
      var requests: [LaunchRequest] = []
      var report: (@Sendable (PodEvent) -> Void)?
    }
    private let content = Mutex(Content())
    var now: Content { content.withLock { $0 } }
    func update(_ change: (inout Content) -> Void) { content.withLock { change(&$0) } }
  }
}

/// A program as its closure sees it.
struct FakeProgram: Sendable {
  let request: LaunchRequest
  let signals: AsyncStream<Int32>

  /// Writes to standard output; false stands for EPIPE.
  func write(_ text: String) async -> Bool { await write(Array(text.utf8)) }

  func write(_ bytes: [UInt8]) async -> Bool {
    guard case .sink(let sink) = request.output else { return true }
    return await sink(bytes)
  }

  func writeError(_ text: String) async -> Bool {
    guard case .sink(let sink) = request.error else { return true }
    return await sink(Array(text.utf8))
  }

  func readAll() async -> [UInt8] {
    switch request.input {
    case .bytes(let bytes): return bytes
    case .stream(let next, _):
      var all: [UInt8] = []
      while let bytes = await next() { all += bytes }
      return all
    case .none, .descriptor: return []
    }
  }

  /// Returns when the first signal comes that isn't SIGKILL.
  func waitForSignal() async -> Int32 {
    for await signal in signals { return signal }
    return 0
  }
}

final class FakeSession: BackendSession {
  private final class Running: Sendable {
    let signals: AsyncStream<Int32>.Continuation
    let status = Promise<Pod.TerminationStatus>()
    let closeInput: @Sendable () -> Void
    let body: Mutex<Task<Void, Never>?> = Mutex(nil)

    init(_ signals: AsyncStream<Int32>.Continuation, _ closeInput: @escaping @Sendable () -> Void) {
      (self.signals, self.closeInput) = (signals, closeInput)
    }

    func end(_ status: Pod.TerminationStatus) {
      if !self.status.fulfil(status) { return }
      closeInput()
      signals.finish()
      body.withLock { $0?.cancel() }
    }
  }

  let backend: FakeBackend
  let containment: Containment
  private let running = Mutex<[Int32: Running]>([:])

  init(backend: FakeBackend, setup: PodSetup) {
    self.backend = backend
    containment = backend.containment
    backend.record.update { $0.report = setup.events }
  }

  func launch(_ request: LaunchRequest) async throws(PodError) -> LaunchedProcess {
    backend.record.update { $0.requests.append(request) }
    if request.name == "missing" { throw PodError(.executableNotFound, "missing isn't there") }
    let (signals, continuation) = AsyncStream<Int32>.makeStream()
    var closeInput: @Sendable () -> Void = {}
    if case .stream(_, let closed) = request.input { closeInput = closed }
    let program = Running(continuation, closeInput)
    let number = running.withLock { running in
      let number = Int32(running.count + 2)
      running[number] = program
      return number
    }
    let body = Task { [backend] in
      let status = await backend.program(FakeProgram(request: request, signals: signals))
      for case .sink(let sink) in [request.output, request.error] { _ = await sink(nil) }
      program.end(.exited(status))
    }
    program.body.withLock { $0 = body }
    return LaunchedProcess(identifier: VirtualName(rawValue: number)) { await program.status.value }
  }

  func send(
    signal: Int32, to process: VirtualName<ProcessID>, toGroup: Bool
  ) async throws(PodError) {
    backend.record.update { $0.signals.append(toGroup ? -signal : signal) }
    guard let program = running.withLock({ $0[process.rawValue] }), !program.status.isFulfilled
    else { throw PodError(.processEnded, "gone") }
    if signal == 9 { program.end(.signaled(9)) } else { program.signals.yield(signal) }
  }

  func processes() async -> [VirtualName<ProcessID>] {
    running.withLock { running in
      running.filter { !$0.value.status.isFulfilled }.keys.sorted().map {
        VirtualName(rawValue: $0)
      }
    }
  }

  func end() async {
    backend.record.update { $0.ends += 1 }
    for program in running.withLock({ Array($0.values) }) { program.end(.signaled(9)) }
  }
}

/// A value that is given once and awaited by any number.
final class Promise<Value: Sendable>: Sendable {
  private struct State {
    var value: Value?
    var waiting: [CheckedContinuation<Value, Never>] = []
  }
  private let state = Mutex(State())

  var isFulfilled: Bool { state.withLock { $0.value != nil } }

  /// False when it had a value.
  @discardableResult
  func fulfil(_ value: Value) -> Bool {
    let waiting = state.withLock { state -> [CheckedContinuation<Value, Never>]? in
      if state.value != nil { return nil }
      state.value = value
      defer { state.waiting = [] }
      return state.waiting
    }
    for continuation in waiting ?? [] { continuation.resume(returning: value) }
    return waiting != nil
  }

  var value: Value {
    get async {
      await withCheckedContinuation { continuation in
        let value = state.withLock { state -> Value? in
          if state.value == nil { state.waiting.append(continuation) }
          return state.value
        }
        if let value { continuation.resume(returning: value) }
      }
    }
  }
}
