internal import PodCore

/// Runs simulated processes one step at a time, in an order that it is given as far as it goes, and then by its own
/// choice; writes down what else could have been chosen.
final class Scheduler: MockExecutor, @unchecked Sendable {
  /// One place where the order could have been another.
  struct Node {
    let enabled: [Int]
    /// Who needn't be tried here: what they do next was tried before, and nothing since touches it.
    let sleep: [Int: Footprint]
    var chosen: Int
    /// What the chosen one's step touched.
    var footprint = Footprint()
    var line: TraceLine
    /// Who was chosen in earlier schedules.
    var done: [Int: Footprint] = [:]
  }

  enum Ending {
    case completed
    /// Whoever could go on was tried before.
    case redundant
    case violated(String)
  }

  private final class Actor {
    let name: String
    let isSupervisor: Bool
    let turn = Monitor.Condition()
    var isFinished = false
    var isStarting = true
    var pending: ScheduledStep?
    var isReady: (@Sendable () -> Bool)?
    init(_ name: String, isSupervisor: Bool) {
      (self.name, self.isSupervisor) = (name, isSupervisor)
    }
  }

  private static let controller = -1
  private static let maximumSteps = 5_000

  private let monitor = Monitor()
  private let controllerTurn = Monitor.Condition()
  private let pool: WorkerPool
  private let removed: Set<Protection>
  private let reduces: Bool
  private var actors: [Actor] = []
  private var running = controller
  private var spawners: [Int] = []
  private var segment = Footprint()
  private var prefix: [Node]
  private(set) var nodes: [Node] = []
  private var ending: Ending?
  private(set) var hasBegun = false
  private var isInspecting = false
  private var aborts = false
  /// The tables of names: what a step changes in them is seen by comparing.
  var tables: () -> [PodID: [VirtualName<ProcessID>: Entry<ProcessID>]] = { [:] }
  private var lastTables: [PodID: [VirtualName<ProcessID>: Entry<ProcessID>]] = [:]
  /// Checked after each step; says what is wrong.
  var invariant: () -> String? = { nil }

  init(prefix: [Node], removing removed: Set<Protection>, reduces: Bool, pool: WorkerPool) {
    (self.prefix, self.removed, self.reduces, self.pool) = (prefix, removed, reduces, pool)
  }

  // MARK: The executor

  var appliesEventsAtOnce: Bool { !hasBegun }
  var endsPrograms: Bool { false }
  var isAborting: Bool { aborts }
  var currentName: String { running < 0 ? "" : actors[running].name }

  func includes(_ step: ScheduledStep) -> Bool {
    !aborts && !(hasBegun && removed.contains { $0.covers(step) })
  }

  func touch(_ footprint: Footprint) {
    if hasBegun, !isInspecting { segment.add(footprint) }
  }

  func willRun(
    _ step: ScheduledStep, _ footprint: Footprint, isReady: (@Sendable () -> Bool)?
  ) -> Bool {
    if aborts { return false }
    guard hasBegun else { return true }
    if removed.contains(where: { $0.covers(step) }) { return false }
    let me = running
    monitor.withLock {
      actors[me].pending = step
      actors[me].isReady = isReady
      if actors[me].isStarting {
        actors[me].isStarting = false
        pass(to: spawners.removeLast())
      } else {
        endSegment()
        choose()
      }
      while running != me { monitor.wait(for: actors[me].turn) }
      segment = footprint
    }
    return !aborts
  }

  func spawn(_ name: String, _ body: @escaping @Sendable () -> Void) {
    spawn(name, isSupervisor: false, body)
  }

  private func spawn(
    _ name: String, isSupervisor: Bool, _ body: @escaping @Sendable () -> Void
  ) {
    if aborts { return }
    hasBegun = true
    let me = running
    monitor.withLock {
      let index = actors.count
      let count = actors.count { $0.name == name || $0.name.hasPrefix(name + "#") }
      actors.append(
        Actor(count == 0 ? name : "\(name)#\(count + 1)", isSupervisor: isSupervisor))
      spawners.append(me)
      // It runs up to its first step at once: that far it touches nothing.
      pass(to: index)
      pool.run {
        self.monitor.withLock {
          while self.running != index { self.monitor.wait(for: self.actors[index].turn) }
        }
        body()
        self.finish(index)
      }
      while running != me {
        monitor.wait(for: me == Self.controller ? controllerTurn : actors[me].turn)
      }
    }
  }

  private func finish(_ index: Int) {
    monitor.withLock {
      actors[index].isFinished = true
      if actors[index].isStarting {
        actors[index].isStarting = false
        pass(to: spawners.removeLast())
      } else if aborts {
        pass(to: Self.controller)
      } else {
        endSegment()
        choose()
      }
    }
  }

  // MARK: Order

  private func pass(to index: Int) {
    running = index
    (index == Self.controller ? controllerTurn : actors[index].turn).signal()
  }

  private func compareTables() {
    let now = tables()
    for (pod, entries) in now {
      let before = lastTables[pod] ?? [:]
      for (name, entry) in entries where before[name] != entry {
        segment.add(.writingEntry(entry, of: pod))
        if let old = before[name] {
          segment.add(.writingEntry(old, of: pod))
        } else {
          segment.add(.writing(Footprint.names(of: pod)))
        }
      }
      for (name, entry) in before where entries[name] == nil {
        segment.add(.writingEntry(entry, of: pod))
        segment.add(.writing(Footprint.names(of: pod)))
      }
    }
    lastTables = now
  }

  private func endSegment() {
    isInspecting = true
    compareTables()
    isInspecting = false
    guard !nodes.isEmpty else { return }
    nodes[nodes.count - 1].footprint = segment
    isInspecting = true
    if let wrong = invariant() { ending = ending ?? .violated(wrong) }
    isInspecting = false
  }

  private func choose() {
    if ending != nil { return pass(to: Self.controller) }
    isInspecting = true
    let enabled = actors.indices.filter {
      !actors[$0].isFinished && (actors[$0].isReady?() ?? true)
    }
    isInspecting = false
    let waiting = actors.filter { !$0.isFinished && !$0.isSupervisor }
    if enabled.isEmpty {
      ending =
        waiting.isEmpty
        ? .completed
        : .violated(
          "deadlock: "
            + waiting.map { "\($0.name) waits in \($0.pending?.description ?? "nothing")" }
            .joined(separator: ", "))
      return pass(to: Self.controller)
    }
    if nodes.count >= Self.maximumSteps {
      ending = .violated("no end after \(Self.maximumSteps) steps")
      return pass(to: Self.controller)
    }
    if nodes.count < prefix.count {
      var node = prefix[nodes.count]
      guard enabled.contains(node.chosen) else {
        ending = .violated("the schedule can't be replayed: the scenario isn't deterministic")
        return pass(to: Self.controller)
      }
      node.line = line(of: node.chosen)
      nodes.append(node)
      return pass(to: node.chosen)
    }
    var sleep: [Int: Footprint] = [:]
    if reduces, let last = nodes.last {
      for (index, footprint) in last.sleep.merging(last.done, uniquingKeysWith: { $1 })
      where index != last.chosen && !footprint.conflicts(with: last.footprint) {
        sleep[index] = footprint
      }
    }
    let candidates = enabled.filter { sleep[$0] == nil }
    guard let first = candidates.first else {
      ending = .redundant
      return pass(to: Self.controller)
    }
    // Staying with the one that runs costs no switch of threads.
    let chosen = candidates.contains(running) ? running : first
    nodes.append(
      Node(enabled: enabled, sleep: sleep, chosen: chosen, line: line(of: chosen)))
    pass(to: chosen)
  }

  private func line(of index: Int) -> TraceLine {
    TraceLine(
      process: actors[index].name,
      step: actors[index].pending
        ?? ScheduledStep(occasion: .condition, step: .perform, name: 0))
  }

  // MARK: The controller

  /// Runs what the scenario has spawned to an end, with a supervisor that applies `kernel`'s events.
  func run(_ kernel: MockKernel?) -> Ending {
    if let kernel {
      spawn("supervisor", isSupervisor: true) {
        let step = ScheduledStep(occasion: .event, step: .perform, name: 0)
        while self.willRun(
          step, .reading(Footprint.events), isReady: { kernel.canApplyEvent() })
        {
          kernel.applyEvents(about: nil, on: .event)
        }
      }
    }
    return monitor.withLock {
      if ending == nil {
        choose()
        while running != Self.controller { monitor.wait(for: controllerTurn) }
      }
      aborts = true
      // Who holds a lock first.
      let order = actors.indices.sorted {
        (actors[$0].pending?.occasion == .wake ? 0 : 1, $0)
          < (actors[$1].pending?.occasion == .wake ? 0 : 1, $1)
      }
      for index in order {
        while !actors[index].isFinished {
          pass(to: index)
          while running != Self.controller { monitor.wait(for: controllerTurn) }
        }
      }
      return ending ?? .completed
    }
  }
}
