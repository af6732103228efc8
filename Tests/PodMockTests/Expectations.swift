internal import PodCore
internal import PodMock
internal import Synchronization
internal import Testing

/// What each scenario cost, printed once so that growth is seen.
func report(_ name: String, _ exploration: Exploration) {
  print(
    "explored \(name): \(exploration.schedules) schedules, \(exploration.redundant) redundant, "
      + "\(exploration.steps) steps, \(exploration.duration)")
}

/// Every schedule holds with all steps, and leaving one out is found.
///
/// - Parameters:
///   - name: What the output calls it.
///   - removals: Protections, each of which alone must show a violation when it is left out.
func expectProtected(
  _ name: String, numbers: ClosedRange<Int32> = 100...107, removing removals: [Set<Protection>],
  sourceLocation: SourceLocation = #_sourceLocation, _ scenario: (ScheduledWorld) -> Void
) {
  let whole = ScheduleExplorer(limit: 30_000, numbers: numbers).explore(scenario)
  report(name, whole)
  if let violation = whole.violation {
    Issue.record("\(name): \(violation)", sourceLocation: sourceLocation)
  }
  #expect(whole.isComplete, "\(name) is too large", sourceLocation: sourceLocation)
  for removal in removals {
    let explorer = ScheduleExplorer(removing: removal, limit: 30_000, numbers: numbers)
    let less = explorer.explore(scenario)
    let words = removal.map(\.description).sorted().joined(separator: ", ")
    report("\(name) without \(words)", less)
    guard let violation = less.violation else {
      Issue.record("\(name): leaving out \(words) isn't noticed", sourceLocation: sourceLocation)
      continue
    }
    let again = explorer.replay(violation.choices, scenario)
    #expect(again?.message == violation.message, sourceLocation: sourceLocation)
    #expect(again?.trace == violation.trace, sourceLocation: sourceLocation)
    if violation.trace.count < 100 { print("  found: \(violation)") }
  }
}
