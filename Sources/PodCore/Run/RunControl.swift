internal import Synchronization

/// What ends one run early: cancellation, an exceeded limit, a closure that throws.
final class RunControl: Sendable {
  private struct State {
    var process: VirtualName<ProcessID>?
    var hasEnded = false
    var wantsTeardown = false
    var naps: [Task<Void, Never>] = []
    var teardown: Task<Void, Never>?
  }
  private let state = Mutex(State())
  private let session: any BackendSession
  private let steps: [Pod.TeardownStep]

  init(session: any BackendSession, steps: [Pod.TeardownStep]) {
    (self.session, self.steps) = (session, steps)
  }

  /// The program runs.
  func started(_ process: VirtualName<ProcessID>) {
    let tearsDown = state.withLock { state in
      state.process = process
      return state.wantsTeardown
    }
    if tearsDown { beginTeardown() }
  }

  /// The program has ended.
  func ended() {
    let naps = state.withLock { state in
      state.hasEnded = true
      defer { state.naps = [] }
      return state.naps
    }
    for nap in naps { nap.cancel() }
  }

  /// Ends the program in the background, as soon as it runs; only the first request counts.
  func requestTeardown() {
    let begins = state.withLock { state in
      if state.wantsTeardown { return false }
      state.wantsTeardown = true
      return state.process != nil
    }
    if begins { beginTeardown() }
  }

  private func beginTeardown() {
    let task = Task { await teardown(using: steps) }
    state.withLock { $0.teardown = task }
  }

  /// Returns when nothing of ours is under way any more that would keep the session; to be called when the program has
  /// ended and nobody requests its end.
  func settled() async { await state.withLock { $0.teardown }?.value }

  func send(_ signal: Pod.Signal, toGroup: Bool) async throws(PodError) {
    guard (1...64).contains(signal.rawValue) else {
      throw PodError(.invalidConfiguration, "the signal is \(signal.rawValue); it must be 1…64")
    }
    let process = state.withLock { $0.hasEnded ? nil : $0.process }
    guard let process else { throw PodError(.processEnded, "the process has ended") }
    try await session.send(signal: signal.rawValue, to: process, toGroup: toGroup)
  }

  func teardown(using steps: [Pod.TeardownStep]) async {
    for step in steps {
      do throws(PodError) {
        try await send(step.signal, toGroup: step.toProcessGroup)
      } catch { return }
      let nap = Task { _ = try? await Task.sleep(for: step.duration) }
      let hasEnded = state.withLock { state in
        if !state.hasEnded { state.naps.append(nap) }
        return state.hasEnded
      }
      if hasEnded { nap.cancel() }
      await nap.value
    }
    try? await send(.kill, toGroup: false)
  }
}

/// Collects a program's output up to a limit.
final class OutputCollector: Sendable {
  private struct State {
    var bytes: [UInt8] = []
    var isExceeded = false
  }
  private let state = Mutex(State())
  let limit: Int

  init(limit: Int) { self.limit = limit }

  /// Takes a piece; false when there was more than the limit.
  func take(_ bytes: [UInt8]) -> Bool {
    state.withLock { state in
      if state.isExceeded || bytes.count > limit - state.bytes.count {
        state.isExceeded = true
        state.bytes = []
        return false
      }
      state.bytes.append(contentsOf: bytes)
      return true
    }
  }

  /// All that was collected; nil when it was more than the limit.
  var content: [UInt8]? { state.withLock { $0.isExceeded ? nil : $0.bytes } }
}
