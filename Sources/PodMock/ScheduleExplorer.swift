public import PodCore

/// A step, in a connection or in all, that protects from a race: leaving it out shows what it is good for.
public struct Protection: Sendable, Hashable, CustomStringConvertible {
  /// Which step.
  public let step: Step
  /// In which connection; nil for all.
  public let occasion: Occasion?

  /// A step wherever it is run.
  public static func step(_ step: Step) -> Protection { Protection(step: step, occasion: nil) }

  /// A step of a call.
  public static func step(_ step: Step, of call: Syscall) -> Protection {
    Protection(step: step, occasion: .call(call))
  }

  /// A step in some other connection.
  public static func step(_ step: Step, on occasion: Occasion) -> Protection {
    Protection(step: step, occasion: occasion)
  }

  func covers(_ scheduled: ScheduledStep) -> Bool {
    step == scheduled.step && (occasion == nil || occasion == scheduled.occasion)
  }

  /// `getpgid.hold`.
  public var description: String { (occasion.map { "\($0)." } ?? "") + step.rawValue }
}

/// One step of a schedule: who ran which.
public struct TraceLine: Sendable, Hashable, CustomStringConvertible {
  /// The simulated process, by the scenario's name for it.
  public let process: String
  /// What it ran.
  public let step: ScheduledStep

  /// `A: getpgid.lookUp(3)`.
  public var description: String { "\(process): \(step)" }
}

/// What an explorer found.
public struct Exploration: Sendable {
  /// Something that must not happen, and how it came about.
  public struct Violation: Sendable, CustomStringConvertible {
    /// What is wrong.
    public let message: String
    /// Who ran at each step, for ``ScheduleExplorer/replay(_:_:)``.
    public let choices: [Int]
    /// The steps in words.
    public let trace: [TraceLine]

    /// The message and the numbered steps.
    public var description: String {
      message
        + trace.enumerated().map { "\n  \($0.offset + 1). \($0.element)" }.joined()
    }
  }

  /// The first violation; nil when there is none.
  public internal(set) var violation: Violation?
  /// Schedules that were run to their end.
  public internal(set) var schedules = 0
  /// Schedules that were given up when they could only repeat others.
  public internal(set) var redundant = 0
  /// Steps that were run, repetitions included.
  public internal(set) var steps = 0
  /// Whether every schedule was tried, or a violation found.
  public internal(set) var isComplete = false
  /// How long it took.
  public internal(set) var duration = Duration.zero
}

/// Runs a scenario in every order of its processes' steps, and looks for one that violates an invariant.
///
/// A step is what ``TransactionHost/willRun(_:on:)`` announces, and the kernel's part of a call; what lies between two of
/// them is atomic. Each schedule is run from scratch: the scenario builds a new world, states the programs and the
/// invariants, and must do the same each time. Orders that differ only in steps which touch nothing in common are
/// tried once (sleep sets; all states are still visited, so invariants may be checked after each step).
///
/// ```swift
/// let found = ScheduleExplorer(removing: [.step(.hold, of: .kill)]).explore { world in
///   let pod = world.kernel.makePod()
///   world.run("A", pod.boot()) { $0.call(.kill, 3, 15) }
///   world.always("nobody outside is hit") { … }
/// }
/// ```
public struct ScheduleExplorer: Sendable {
  /// Whether orders that can't differ are tried once only.
  public var reduces: Bool
  /// The steps that are left out.
  public var removed: Set<Protection>
  /// After how many schedules to give up.
  public var limit: Int
  /// The physical numbers of the worlds that it makes.
  public var numbers: ClosedRange<Int32>

  /// Makes an explorer.
  ///
  /// - Parameters:
  ///   - removed: Steps to leave out.
  ///   - reduces: False tries every order, to check the reduction itself on small worlds.
  ///   - limit: The most schedules.
  ///   - numbers: The physical numbers that processes get, above 1: few, so that they are reused.
  public init(
    removing removed: Set<Protection> = [], reduces: Bool = true, limit: Int = 200_000,
    numbers: ClosedRange<Int32> = 100...107
  ) {
    (self.removed, self.reduces, self.limit) = (removed, reduces, limit)
    self.numbers = numbers
  }

  /// Explores a scenario until a violation is found or every schedule was tried.
  public func explore(_ scenario: (ScheduledWorld) -> Void) -> Exploration {
    var exploration = Exploration()
    let clock = ContinuousClock()
    let start = clock.now
    let pool = WorkerPool()
    defer { pool.close() }
    var prefix: [Scheduler.Node] = []
    while true {
      let (ending, nodes) = runOnce(scenario, prefix, pool)
      exploration.steps += nodes.count
      exploration.duration = clock.now - start
      switch ending {
      case .completed: exploration.schedules += 1
      case .redundant: exploration.redundant += 1
      case .violated(let message):
        exploration.schedules += 1
        exploration.violation = Exploration.Violation(
          message: message, choices: nodes.map(\.chosen), trace: nodes.map(\.line))
        return exploration
      }
      guard let next = Self.next(after: nodes) else {
        exploration.isComplete = true
        return exploration
      }
      if exploration.schedules + exploration.redundant >= limit { return exploration }
      prefix = next
    }
  }

  /// Runs one schedule again.
  ///
  /// - Returns: The violation; nil when there is none this time.
  public func replay(
    _ choices: [Int], _ scenario: (ScheduledWorld) -> Void
  ) -> Exploration.Violation? {
    let pool = WorkerPool()
    defer { pool.close() }
    let step = ScheduledStep(occasion: .condition, step: .perform, name: 0)
    let prefix = choices.map {
      Scheduler.Node(
        enabled: [], sleep: [:], chosen: $0, line: TraceLine(process: "", step: step))
    }
    let (ending, nodes) = runOnce(scenario, prefix, pool)
    guard case .violated(let message) = ending else { return nil }
    return Exploration.Violation(
      message: message, choices: nodes.map(\.chosen), trace: nodes.map(\.line))
  }

  private func runOnce(
    _ scenario: (ScheduledWorld) -> Void, _ prefix: [Scheduler.Node], _ pool: WorkerPool
  ) -> (Scheduler.Ending, [Scheduler.Node]) {
    let scheduler = Scheduler(
      prefix: prefix, removing: removed, reduces: reduces, pool: pool)
    let world = ScheduledWorld(numbers: numbers, scheduler: scheduler)
    scenario(world)
    scheduler.invariant = { world.brokenInvariant() }
    scheduler.tables = { world.usedKernel?.tables ?? [:] }
    world.start()
    var ending = scheduler.run(world.usedKernel)
    if case .completed = ending, let wrong = world.brokenEnd() { ending = .violated(wrong) }
    scheduler.invariant = { nil }
    scheduler.tables = { [:] }
    return (ending, scheduler.nodes)
  }

  private static func next(after nodes: [Scheduler.Node]) -> [Scheduler.Node]? {
    var nodes = nodes
    while var last = nodes.popLast() {
      last.done[last.chosen] = last.footprint
      let other = last.enabled.first { last.sleep[$0] == nil && last.done[$0] == nil }
      if let other {
        last.chosen = other
        last.footprint = Footprint()
        return nodes + [last]
      }
    }
    return nil
  }
}
