public import PodCore

/// In what connection a step is run.
public enum Occasion: Sendable, Hashable, CustomStringConvertible {
  /// A system call of a process.
  case call(Syscall)
  /// The delivery of a signal to a process.
  case signal
  /// An event that the supervisor applies to the tables: an end, an exec.
  case event
  /// A process enters a pod.
  case entry
  /// The end of a pod.
  case end
  /// A supervisor wakes a thread that sleeps until it does. The lock of System V objects is held meanwhile.
  case wake
  /// A scenario's own condition.
  case condition

  /// The call's name, or a word.
  public var description: String {
    switch self {
    case .call(let call): "\(call)"
    case .signal: "signal"
    case .event: "supervisor"
    case .entry: "enter"
    case .end: "end"
    case .wake: "wake"
    case .condition: "until"
    }
  }
}

/// A step that is about to run: what the explorer orders, and what a trace shows.
public struct ScheduledStep: Sendable, Hashable, CustomStringConvertible {
  /// In what connection.
  public let occasion: Occasion
  /// Which step.
  public let step: Step
  /// The name it is about, virtual or physical; 0 for none.
  public let name: Int32

  /// `getpgid.lookUp(3)`.
  public var description: String {
    "\(occasion).\(step.rawValue)" + (name == 0 ? "" : "(\(name))")
  }
}

/// Who runs the steps of simulated processes: one thread each as it comes, or the explorer.
protocol MockExecutor: AnyObject, Sendable {
  /// Called before a step.
  ///
  /// - Parameters:
  ///   - footprint: What the step touches beyond what ``touch(_:)`` reports while it runs.
  ///   - isReady: Whether the step can run now; nil when it always can. Evaluated by any thread.
  /// - Returns: Whether to run it.
  func willRun(
    _ step: ScheduledStep, _ footprint: Footprint, isReady: (@Sendable () -> Bool)?
  ) -> Bool

  /// Whether a part of the running step is to be done: one that can be left out like a step.
  func includes(_ step: ScheduledStep) -> Bool

  /// Reports what the running step touches.
  func touch(_ footprint: Footprint)

  /// Runs a new simulated process.
  func spawn(_ name: String, _ body: @escaping @Sendable () -> Void)

  /// The name of the running one.
  var currentName: String { get }

  /// Whether events are applied by whoever caused them, at once.
  var appliesEventsAtOnce: Bool { get }

  /// Whether a program that returns has exited.
  var endsPrograms: Bool { get }

  /// Whether simulated processes have to come to their end without doing anything more.
  var isAborting: Bool { get }
}

/// Runs each simulated process on a thread of its own, as it comes.
final class ThreadExecutor: MockExecutor {
  func willRun(
    _ step: ScheduledStep, _ footprint: Footprint, isReady: (@Sendable () -> Bool)?
  ) -> Bool { true }
  func includes(_ step: ScheduledStep) -> Bool { true }
  func touch(_ footprint: Footprint) {}
  func spawn(_ name: String, _ body: @escaping @Sendable () -> Void) {
    WorkerPool.startThread(body)
  }
  var currentName: String { "" }
  var appliesEventsAtOnce: Bool { true }
  var endsPrograms: Bool { true }
  var isAborting: Bool { false }
}
