import Measuring
import PodCore

/// What a pod's supervisor was asked for a piece of work, and what that took: counts, which are the same on every machine.
struct Account: Sendable {
  let notifications: Double
  let attaches: Double
  let injections: Double
  /// The calls it was asked for most, with how often it attached to a thread for them.
  let calls: [(name: String, notifications: Double, attaches: Double)]

  /// - Parameter count: Of how much work `statistics` are.
  init(_ statistics: PodStatistics, per count: Double) {
    notifications = Double(statistics.notificationCount) / count
    attaches = Double(statistics.attachCount) / count
    injections = Double(statistics.injections) / count
    calls = statistics.notifications.sorted { ($1.value, $0.key.name) < ($0.value, $1.key.name) }
      .map {
        ($0.key.name, Double($0.value) / count, Double(statistics.attaches[$0.key] ?? 0) / count)
      }
  }

  /// "6 / 2 / 0": notifications, attaches, injections.
  var summary: String {
    [notifications, attaches, injections].map(Self.short).joined(separator: " / ")
  }

  /// The most frequent calls, in words.
  var sentence: String {
    calls.prefix(8).map { call in
      "\(call.name) \(Self.short(call.notifications))"
        + (call.attaches >= 0.05 ? " (\(Self.short(call.attaches)) attached)" : "")
    }.joined(separator: ", ")
  }

  private static func short(_ value: Double) -> String {
    value < 0.05
      ? "0" : value >= 100 || value == value.rounded() ? value.written(0) : value.written(1)
  }
}
