internal import PodCore
internal import Synchronization

/// What podrun says about the pod while it runs, on standard error.
final class Report: Sendable {
  private struct State {
    var failure: String?
    var follower: Task<Void, Never>?
    var statistics = PodStatistics()
  }
  private let state = Mutex(State())
  private let verbose: Bool
  private let trace: Bool
  private let capabilities: CapabilitySet

  init(verbose: Bool, trace: Bool, capabilities: CapabilitySet) {
    (self.verbose, self.trace) = (verbose, trace)
    self.capabilities = capabilities
  }

  /// Begins to follow a pod's events, to its end.
  func follow(_ pod: Pod, capacity: Int) {
    if verbose { describe(pod) }
    let (verbose, trace) = (verbose, trace)
    // Whoever reads an event has to be woken for it.
    let events = pod.events(bufferingNewest: capacity) { event in
      switch event {
      case .failed: true
      case .call: trace
      default: verbose
      }
    }
    let task = Task {
      for await event in events { take(event) }
      if events.dropped > 0, verbose || trace {
        Host.complain("\(events.dropped) events were lost: standard error was slower")
      }
    }
    state.withLock { $0.follower = task }
  }

  /// Why the pod failed, after all events were printed; nil when it didn't.
  func failure() async -> String? {
    await state.withLock { $0.follower }?.value
    return state.withLock { $0.failure }
  }

  /// Takes what is to be printed by ``printStatistics()``.
  func keep(_ statistics: PodStatistics) { state.withLock { $0.statistics = statistics } }

  /// How often the supervisor was asked, the most frequent call first, after all events were printed.
  func printStatistics() async {
    await state.withLock { $0.follower }?.value
    let statistics = state.withLock { $0.statistics }
    Host.complain("notifications: \(statistics.notificationCount)")
    list(statistics.notifications)
    for (number, count) in statistics.hypercalls.sorted(by: { $0.key < $1.key }) {
      Host.complain("  of these from the pod's code, number \(number): \(count)")
    }
    Host.complain("attaches: \(statistics.attachCount)")
    list(statistics.attaches)
    Host.complain("injections: \(statistics.injections)")
    Host.complain("stops: \(statistics.stops)")
    Host.complain("receivers: \(statistics.receivers)")
  }

  private func list(_ counts: [Syscall: UInt64]) {
    for (call, count) in counts.sorted(by: { ($1.value, $0.key.name) < ($0.value, $1.key.name) }) {
      Host.complain("  \(call.name): \(count)")
    }
  }

  private func describe(_ pod: Pod) {
    Host.complain("\(pod.identifier) has started")
    for subsystem in Containment.Subsystem.allCases {
      let part = pod.containment.parts[subsystem]
      let how = part.map { "\($0)" } ?? "none: the host's"
      Host.complain("containment of \(subsystem.rawValue): \(how)")
    }
    Host.complain("capabilities that a program keeps if it has them: \(capabilities)")
  }

  private func take(_ event: PodEvent) {
    switch event {
    case .call(let call):
      if trace { Host.say("\(call)") }
    case .failed(let reason):
      state.withLock { $0.failure = $0.failure ?? reason }
    case .degraded(let what):
      if verbose { Host.complain("degraded: \(what)") }
    case .started(let name, let physical, let parent):
      if verbose { Host.complain("process \(name) (\(physical)) started by \(parent)") }
    case .executed(let name):
      if verbose { Host.complain("process \(name) executes another program") }
    case .ended(let name, let status):
      if verbose { Host.complain("process \(name) ended: \(status)") }
    case .credentialsChanged(let name):
      if verbose { Host.complain("process \(name) changed its credentials") }
    case .refused(let call, let number, let name, let error):
      if verbose {
        Host.complain("process \(name): \(call?.name ?? "call \(number)") was refused: \(error)")
      }
    }
  }
}
