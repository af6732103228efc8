import Glibc
import Synchronization

/// Lets a few programs run at a time: hundreds at once on a small machine find no time to be ready in, wherever they run.
final class Turns: Sendable {
  private struct State {
    var free: Int
    var waiting: [CheckedContinuation<Void, Never>] = []
  }
  private let state: Mutex<State>

  /// Those that all tests of this process share.
  static let shared = Turns(max(3, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))))

  init(_ count: Int) { state = Mutex(State(free: count)) }

  /// Runs `body` in its turn.
  func take<T>(_ body: () async throws -> T) async rethrows -> T {
    await withCheckedContinuation { continuation in
      let isFree = state.withLock { state in
        if state.free > 0 {
          state.free -= 1
          return true
        }
        state.waiting.append(continuation)
        return false
      }
      if isFree { continuation.resume() }
    }
    defer {
      let next = state.withLock { state -> CheckedContinuation<Void, Never>? in
        if state.waiting.isEmpty {
          state.free += 1
          return nil
        }
        return state.waiting.removeFirst()
      }
      next?.resume()
    }
    return try await body()
  }
}
