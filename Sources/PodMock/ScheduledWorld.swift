public import PodCore
internal import Synchronization
internal import SystemPackage

/// What a scenario is built in: a machine, processes with programs, invariants, and a place to write down what programs
/// saw.
public final class ScheduledWorld: Sendable {
  private struct State {
    var kernel: MockKernel?
    var programs: [(name: String, process: MockProcess, program: MockProgram)] = []
    var invariants: [(String, @Sendable () -> Bool)] = []
    var ends: [@Sendable () -> String?] = []
    var notes: [String: Int] = [:]
  }

  private let state = Mutex(State())
  private let scheduler: Scheduler
  private let numbers: ClosedRange<Int32>

  init(numbers: ClosedRange<Int32>, scheduler: Scheduler) {
    (self.numbers, self.scheduler) = (numbers, scheduler)
  }

  /// The machine, as ``makeKernel(numbers:interposers:confinesGroups:)`` made it, or one with the explorer's numbers.
  public var kernel: MockKernel {
    if let kernel = state.withLock({ $0.kernel }) { return kernel }
    return makeKernel()
  }

  /// Makes the machine otherwise. To be called once, first.
  @discardableResult
  public func makeKernel(
    numbers: ClosedRange<Int32>? = nil, interposers: [any Interposer] = [],
    confinesGroups: Bool = true
  ) -> MockKernel {
    let kernel = MockKernel(
      numbers: numbers ?? self.numbers, interposers: interposers, confinesGroups: confinesGroups,
      executor: scheduler)
    state.withLock { $0.kernel = kernel }
    return kernel
  }

  /// Makes a pod with few names, which are then reused soon.
  public func makePod(
    names: ClosedRange<Int32> = 1...63, lateNames: Int = 16, boundary: BoundaryTable = .standard
  ) -> MockPod {
    kernel.makePod(names: names, lateNames: lateNames, boundary: boundary)
  }

  var usedKernel: MockKernel? { state.withLock { $0.kernel } }

  /// States what a process does.
  ///
  /// A program that returns leaves its process as it is: it ends when the program says so. Programs share nothing but calls, ``note(_:_:)`` and ``noted(_:)``.
  public func run(_ name: String, _ process: MockProcess, _ program: @escaping MockProgram) {
    state.withLock { $0.programs.append((name, process, program)) }
  }

  func start() {
    for (name, process, program) in state.withLock({ $0.programs }) {
      process.run(as: name, program)
    }
  }

  /// States what must hold after each step.
  public func always(_ what: String, _ holds: @escaping @Sendable () -> Bool) {
    state.withLock { $0.invariants.append((what, holds)) }
  }

  /// States what must hold when all programs have ended.
  public func finally(_ what: String, _ holds: @escaping @Sendable () -> Bool) {
    state.withLock { $0.ends.append { holds() ? nil : what } }
  }

  /// States that tables and kernel agree in the end, and that no name, reference or claim is left over.
  public func finallyConsistent(_ pod: MockPod) {
    state.withLock {
      $0.ends.append {
        let wrong = pod.inconsistencies
        return wrong.isEmpty
          ? nil : "\(pod.names.pod): " + wrong.joined(separator: "; ")
      }
    }
  }

  func brokenInvariant() -> String? {
    let invariants = state.withLock { $0.invariants }
    return invariants.first { !$0.1() }?.0
  }

  func brokenEnd() -> String? {
    for end in state.withLock({ $0.ends }) {
      if let wrong = end() { return wrong }
    }
    return nil
  }

  /// Writes down what a program saw.
  public func note(_ key: String, _ value: Int) {
    state.withLock { $0.notes[key] = value }
    scheduler.touch(.writing(Footprint.notes))
  }

  /// Writes down a call's answer: its value, or minus the errno.
  public func note(_ key: String, _ result: CallResult) {
    switch result {
    case .success(let value): note(key, value)
    case .failure(let error): note(key, -Int(error.rawValue))
    }
  }

  /// What was written down; nil when nothing was.
  public func noted(_ key: String) -> Int? {
    scheduler.touch(.reading(Footprint.notes))
    return state.withLock { $0.notes[key] }
  }

  /// Everything that was written down, in the order of the keys.
  public var notes: [String] {
    state.withLock { $0.notes.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" } }
  }
}
