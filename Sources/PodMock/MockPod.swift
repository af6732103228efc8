public import PodCore
internal import Synchronization

/// A pod on a simulated kernel, with its supervisor.
public final class MockPod: Sendable {
  private struct Birth {
    let maker: Caller
    let isThread: Bool
    let sharesParent: Bool
  }

  private struct State {
    /// Newborns that nobody has named, by identity: who made them.
    var births: [Int: Birth] = [:]
    /// What the supervisor's descriptor of each task is: it outlives the number.
    var names: [Int: VirtualName<ProcessID>] = [:]
    var isEnding = false
  }

  /// The pod's tables.
  public let names: PodNames
  /// The machine it is on.
  public let kernel: MockKernel
  private let state = Mutex(State())
  private let events: @Sendable (PodEvent) -> Void

  init(
    names: PodNames, kernel: MockKernel, events: @escaping @Sendable (PodEvent) -> Void = { _ in }
  ) {
    (self.names, self.kernel, self.events) = (names, kernel, events)
  }

  // MARK: Processes

  func adoptInit(_ physical: PhysicalName<ProcessID>) {
    guard
      let name = try? names.processes.enter(
        physical, parent: nil, chosen: ProcessTable.initial, as: .sessionLeader),
      let identity = kernel.inspect({ $0.threads[physical.rawValue]?.identity })
    else { return }
    state.withLock { $0.names[identity] = name }
  }

  /// Starts a process as a child of the pod's init.
  ///
  /// - Parameter standing: Whether it leads a session, or a group in that of the pod's init.
  public func boot(as standing: ProcessTable.Standing = .sessionLeader) -> MockProcess {
    let initial = names.processes.physicalInit.rawValue
    let born = kernel.change { state -> (number: Int32, identity: Int)? in
      guard
        var child = state.makeProcess(
          parent: initial, like: state.processes[initial], sharingMemory: false,
          isPinned: { _ in
            false
          })
      else { return nil }
      child.isPodInit = false
      child.group = child.number
      if standing == .sessionLeader { child.session = child.number }
      state.processes[child.number] = child
      return (child.number, child.identity)
    }
    guard let born else { return MockProcess(kernel: kernel, identity: -1) }
    let physical = PhysicalName<ProcessID>(rawValue: born.number)
    if let name = try? names.processes.enter(
      physical, parent: ProcessTable.initial, as: standing)
    {
      remember(born.identity, as: name)
      events(.started(name, physical, parent: ProcessTable.initial))
    }
    return MockProcess(kernel: kernel, identity: born.identity)
  }

  /// The main thread of a process by its virtual number; nil when it has ended.
  public func process(_ name: VirtualName<ProcessID>) -> MockProcess? {
    guard let entry = try? names.processes.task(name) else { return nil }
    return kernel.process(entry.physical)
  }

  /// The main thread of a process, or a thread, by its virtual number.
  public func process(_ number: Int32) -> MockProcess? { process(VirtualName(rawValue: number)) }

  // MARK: The supervisor

  /// The kernel tells who made a newborn, before its name is known.
  func born(_ identity: Int, of maker: Caller, isThread: Bool, sharesParent: Bool) {
    state.withLock {
      $0.births[identity] = Birth(maker: maker, isThread: isThread, sharesParent: sharesParent)
    }
  }

  /// The descriptor of a task belongs to this name.
  func remember(_ identity: Int, as name: VirtualName<ProcessID>) {
    state.withLock {
      $0.names[identity] = name
      $0.births[identity] = nil
    }
    try? names.processes.space.setIdentity(UInt32(truncatingIfNeeded: identity), of: name)
  }

  /// Names a newborn that is first to ask, or whose end comes before anybody asked (paper §4.1.2).
  @discardableResult
  func register(_ identity: Int, _ number: Int32) -> VirtualName<ProcessID>? {
    let known = state.withLock { state in (state.names[identity], state.births[identity]) }
    if let name = known.0 { return name }
    guard let birth = known.1 else { return nil }
    kernel.executor.touch(.writingBirth(of: birth.maker.thread, in: names.pod))
    let group = kernel.inspect { $0.processes[number]?.group }
    guard
      let name = try? names.processes.initialize(
        PhysicalName(rawValue: number), by: birth.maker, isThread: birth.isThread,
        sharesParent: birth.sharesParent, group: group.map { PhysicalName(rawValue: $0) })
    else { return nil }
    remember(identity, as: name)
    if (try? names.processes.task(birth.maker.process)) == nil { adopt(name) }
    return name
  }

  /// A process whose parent has ended is init's, unless the kernel knows of a subreaper.
  private func adopt(_ orphan: VirtualName<ProcessID>) {
    guard let entry = try? names.processes.space.entry(orphan), !entry.isThread else { return }
    let found = kernel.change { state -> (parent: Int32, identity: Int)? in
      state.reads(entry.physical.rawValue)
      return state.processes[entry.physical.rawValue].map { ($0.parent, $0.identity) }
    }
    guard let found, state.withLock({ $0.names[found.identity] }) == orphan,
      let parent = names.processes.virtual(of: PhysicalName(rawValue: found.parent)),
      (try? names.processes.task(parent)) != nil
    else { return }
    try? names.processes.reparent(orphan, to: parent)
  }

  private func includes(_ step: Step, _ number: Int32, _ occasion: Occasion) -> Bool {
    var footprint = Footprint.reading(Footprint.holds)
    footprint.add(.readingTables(of: names.pod))
    kernel.executor.touch(footprint)
    return kernel.executor.includes(
      ScheduledStep(occasion: occasion, step: step, name: number))
  }

  /// Applies an event to the tables, in one step: a supervisor does nothing else meanwhile.
  func apply(_ event: KernelState.Event, on occasion: Occasion) {
    switch event.kind {
    case .exited(let byItself, let status):
      guard let name = register(event.identity, event.number) else { return }
      if includes(.retire, event.number, occasion) {
        let orphans = names.processes.children(of: name).map(\.virtual).sorted()
        names.processes.exited(name)
        if includes(.publish, event.number, occasion) {
          for orphan in orphans { adopt(orphan) }
        }
        events(
          .ended(name, status & 0x7F == 0 ? .exited(status >> 8 & 0xFF) : .signaled(status & 0x7F)))
      }
      if byItself {
        if includes(.reap, event.number, occasion) { names.processes.reaped(name) }
      } else {
        reapOrphan(event, name, on: occasion)
      }
    case .threadEnded:
      guard let name = register(event.identity, event.number) else { return }
      if includes(.retire, event.number, occasion) { names.processes.exited(name) }
    case .executed(let former):
      if includes(.publish, event.number, occasion) {
        names.processes.execed(
          leader: PhysicalName(rawValue: event.number), former: PhysicalName(rawValue: former))
        if let entry = try? names.processes.space.entry(
          PhysicalName<ProcessID>(rawValue: event.number))
        {
          remember(event.identity, as: entry.virtual)
          events(.executed(entry.virtual))
        }
      }
    case .orphaned:
      guard let name = register(event.identity, event.number) else { return }
      reapOrphan(event, name, on: occasion)
    }
  }

  /// The pod's init reaps what was left to it.
  private func reapOrphan(
    _ event: KernelState.Event, _ name: VirtualName<ProcessID>, on occasion: Occasion
  ) {
    let isOrphan = kernel.change { state in
      guard let process = state.processes[event.number], process.identity == event.identity else {
        return false
      }
      state.reads(event.number)
      return process.isZombie && state.processes[process.parent]?.isPodInit == true
    }
    guard isOrphan, includes(.reap, event.number, occasion) else { return }
    names.processes.reaped(name)
    kernel.change { $0.reap(event.number) }
  }

  // MARK: The end

  /// Kills everything in the pod and gives back what it used.
  ///
  /// Looks again until nothing is left: a process may fork while its parent is killed.
  public func end() {
    var again = true
    while again, !kernel.executor.isAborting {
      for process in living {
        guard
          kernel.executor.willRun(
            ScheduledStep(occasion: .end, step: .perform, name: process.number), Footprint(),
            isReady: nil)
        else { continue }
        kernel.change { state in
          // By its descriptor: the number may be another's.
          guard state.processes[process.number]?.identity == process.identity else { return }
          state.end(process.number, status: 9)
        }
      }
      again = kernel.executor.willRun(
        ScheduledStep(occasion: .end, step: .retry, name: 0), .reading(Footprint.allTasks),
        isReady: nil)
      if again { again = !living.isEmpty }
    }
    kernel.settle()
  }

  private var living: [(number: Int32, identity: Int)] {
    kernel.change { state in
      state.footprint.add(.reading(Footprint.allTasks))
      return state.processes.values
        .filter { $0.pod == names.pod && !$0.isZombie && !$0.isPodInit }
        .sorted { $0.number < $1.number }.map { ($0.number, $0.identity) }
    }
  }

  /// Takes the pod off the machine, init and all, when it has ended.
  func remove() {
    let initial = names.processes.physicalInit
    kernel.change { $0.reap(initial.rawValue) }
    names.processes.exited(ProcessTable.initial)
    names.processes.reaped(ProcessTable.initial)
    kernel.remove(names.pod)
  }

  // MARK: Inspection

  /// What the pod's tables and the kernel don't agree about, and what the tables have too much, in words. Nothing when
  /// all is well and no call is in flight.
  public var inconsistencies: [String] {
    var found: [String] = []
    let processes = names.processes
    let mine = kernel.processes.filter { $0.pod == names.pod }
    var entries: [PhysicalName<ProcessID>: Entry<ProcessID>] = [:]
    for entry in processes.space.entries {
      if processes.space.isHeld(entry.physical) { found.append("\(entry.virtual) is still held") }
      let isShown = processes.space.entries.contains {
        !$0.isReaped && !$0.isThread
          && ($0.group == entry.virtual || $0.session == entry.virtual)
      }
      switch entry.state {
      case .allocated: found.append("\(entry.virtual) was allocated and never given back")
      case .live:
        if entries.updateValue(entry, forKey: entry.physical) != nil {
          found.append("\(entry.physical) has two names")
        }
        let exists = mine.contains { process in
          !process.isZombie
            && process.threads.contains { $0.rawValue == entry.physical.rawValue }
        }
        let isProcess = mine.contains { !$0.isZombie && $0.number == entry.physical }
        if !exists, !isProcess { found.append("\(entry.virtual) is live and its task isn't") }
      case .dying where !entry.isReaped:
        if !mine.contains(where: { $0.isZombie && $0.number == entry.physical }) {
          found.append("\(entry.virtual) waits to be reaped and is gone")
        }
      case .dying:
        if !isShown { found.append("\(entry.virtual) is kept and nobody shows it") }
      case .free: break
      }
    }
    for lessee in processes.space.lessees where lessee.rawValue != 0 {
      if (try? processes.task(lessee)) == nil {
        found.append("\(lessee) has ended and has names in advance")
      }
    }
    for process in mine where !process.isZombie {
      for thread in process.threads {
        guard let entry = entries[PhysicalName(rawValue: thread.rawValue)] else {
          found.append("task \(thread) has no name")
          continue
        }
        if entry.isThread != (thread.rawValue != process.number.rawValue) {
          found.append("\(entry.virtual) is a thread in one view only")
        }
      }
      guard let entry = entries[process.number] else { continue }
      if let parent = processes.virtual(of: process.parent), parent != entry.parent {
        found.append(
          "\(entry.virtual) is a child of \(entry.parent), the kernel says \(process.parent)")
      }
      for (what, physical, virtual) in [
        ("group", process.group, entry.group), ("session", process.session, entry.session),
      ] where processes.virtual(of: physical) != virtual {
        found.append(
          "\(entry.virtual) is in \(what) \(virtual), the kernel says \(physical)")
      }
    }
    return found
  }
}
