internal import Glibc
internal import PodLinux
internal import Synchronization
internal import SystemPackage

/// Processes that init isn't told to watch yet: most live for a moment only, and their parent waits for them, so that nobody
/// needs init's word. That saves some twenty calls, two messages and two wake-ups.
///
/// Who is still there after ``moment`` is watched. The thread that waits for init's reports sees to that: it is woken for the
/// first one, and then looks again and again until there has been none for a while.
final class LateWatches: Sendable {
  private struct Watch {
    let pidfd: Int32
    let tag: UInt64
    let since: ContinuousClock.Instant
  }
  private struct State {
    var watches: [Watch] = []
    var isLookedAt = false
    var emptyLooks = 0
  }
  private let state = Mutex(State())

  /// How long a look waits for the next one, in milliseconds.
  static let moment: Int32 = 5
  /// Descriptors of the host program's that they take at most.
  private static let most = 64
  private static let emptyLooks = 8

  /// - Returns: nil when there is no room, and the descriptor is still the caller's; else whether somebody has to be woken.
  func add(pidfd: Int32, tag: UInt64) -> Bool? {
    state.withLock { state in
      guard state.watches.count < Self.most else { return nil }
      state.watches.append(Watch(pidfd: pidfd, tag: tag, since: .now))
      defer { state.isLookedAt = true }
      return !state.isLookedAt
    }
  }

  /// Nobody needs to watch it any more.
  func remove(tag: UInt64) {
    let removed = state.withLock { state -> Watch? in
      state.watches.lastIndex { $0.tag == tag }.map { state.watches.remove(at: $0) }
    }
    if let removed { close(removed.pidfd) }
  }

  /// Whether somebody is to look.
  var areLookedAt: Bool { state.withLock { $0.isLookedAt } }

  /// Passes on those that have been there for a moment.
  func look(all: Bool = false, _ pass: (_ pidfd: Int32, _ tag: UInt64) -> Void) {
    let oldest = ContinuousClock.now - .milliseconds(Int(Self.moment) / 2)
    let due = state.withLock { state -> [Watch] in
      guard state.isLookedAt else { return [] }
      state.emptyLooks = state.watches.isEmpty ? state.emptyLooks + 1 : 0
      if state.emptyLooks > Self.emptyLooks || all {
        (state.isLookedAt, state.emptyLooks) = (false, 0)
      }
      let due = all ? state.watches.count : state.watches.prefix { $0.since <= oldest }.count
      defer { state.watches.removeFirst(due) }
      return Array(state.watches.prefix(due))
    }
    for watch in due {
      pass(watch.pidfd, watch.tag)
      close(watch.pidfd)
    }
  }

  deinit { look(all: true) { _, _ in } }
}
