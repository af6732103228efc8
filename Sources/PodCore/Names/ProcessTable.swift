internal import Synchronization
public import SystemPackage

/// The process names of one pod: a namespace whose entries are tasks, with what each task's number is also used for.
///
/// As in the kernel, one number may name a thread, a process, a process group and a session at once, and stays taken
/// while any of them exists (COVERAGE C15). Virtual process 1 is the pod's init.
public final class ProcessTable: Sendable {
  /// The words of an entry that belong to processes.
  enum Link: Int {
    /// A process: when it was born.
    case order = 0
    case parent = 1
    case group = 2
    case session = 3

    /// A thread: its process, and when it was born.
    static let process = 0
    static let threadOrder = 1
  }

  /// A fork in flight, from before the kernel's part until its epilogue (paper §4.1.2: init-pending).
  private struct Birth {
    /// The newborn's name; a thread has none before its number is known.
    var child: VirtualName<ProcessID>?
    /// The newborn, once somebody has given it its name.
    var physical: PhysicalName<ProcessID>?
    /// Whose child the name was planned for, in whose plan it stands again if nobody gets it.
    var plannedFor: VirtualName<ProcessID>?
  }

  /// A thread may be in several births at once: a signal's handler may fork in the middle of a fork.
  private struct BirthKey: Hashable {
    let thread: VirtualName<ThreadID>
    let number: Int
  }

  private struct State {
    var births: [BirthKey: Birth] = [:]
    var late: LateNames
    /// By their parent, so that an end costs no more than the children that are left.
    var children: [VirtualName<ProcessID>: Set<VirtualName<ProcessID>>] = [:]
    /// Init's children that have ended and can still be waited for.
    var initialZombies: Set<VirtualName<ProcessID>> = []
    /// Names that newborns are to have.
    var plan = BirthPlan()
    /// How many tasks were named, which orders them by birth; it may wrap around.
    var order: Int32 = 0
  }

  /// The names themselves.
  public let space: Namespace<ProcessID>
  /// The host program's table.
  public let system: SystemNames<ProcessID>
  /// Held for each change that concerns more than one entry. Lock order: this, the namespace's, ``SystemNames``.
  private let state: Mutex<State>
  /// Who knows of tasks without names; nil where none is made that nobody tells of.
  private let newcomers = Mutex(WeakNewcomers())
  private struct WeakNewcomers: Sendable {
    weak var value: (any Newcomers)?
  }

  /// The pod's init: the parent of programs that the host starts, and of orphans.
  public static let initial = VirtualName<ProcessID>(rawValue: 1)

  /// The most names that a process is given in advance.
  public static let longestLease = 64

  /// Who keeps the names of a ``BirthPlan``.
  static let planner = VirtualName<ProcessID>(rawValue: 0)

  /// What else of a process goes with its end, and with the program that it executed. Called while the table is locked.
  private let whenEnded: @Sendable (VirtualName<ProcessID>) -> Void
  private let whenExecuted: @Sendable (VirtualName<ProcessID>) -> Void

  init(
    pod: PodID, system: SystemNames<ProcessID>, range: ClosedRange<Int32>, capacity: Int,
    policy: AllocationPolicy, lateNames: Int, memory: (_ size: Int) -> (any TableMemory)?,
    restoring snapshot: PodSnapshot?,
    whenEnded: @escaping @Sendable (VirtualName<ProcessID>) -> Void = { _ in },
    whenExecuted: @escaping @Sendable (VirtualName<ProcessID>) -> Void = { _ in }
  ) {
    self.system = system
    (self.whenEnded, self.whenExecuted) = (whenEnded, whenExecuted)
    state = Mutex(State(late: LateNames(capacity: lateNames)))
    space = Namespace(
      pod: pod, range: range, capacity: capacity, policy: policy, system: system, memory: memory)
    if let snapshot { plan(snapshot.processes) }
  }

  // MARK: Newcomers

  /// From now on tasks may be made that nobody tells of.
  public func expect(_ newcomers: any Newcomers) {
    self.newcomers.withLock { $0.value = newcomers }
  }

  private var unheard: (any Newcomers)? { newcomers.withLock { $0.value } }

  /// The name that programs in the pod see for a physical number, as ``virtual(of:)``, but that a task of the pod without a
  /// name gets one.
  public func named(_ physical: PhysicalName<ProcessID>) -> VirtualName<ProcessID>? {
    if let entry = try? space.entry(physical) { return entry.virtual }
    if let unheard, unheard.takeIn(physical), let entry = try? space.entry(physical) {
      return entry.virtual
    }
    return virtual(of: physical)
  }

  /// Somebody names a task: a thread that nobody has heard of has its number for a name, and one whose end nobody has told of
  /// has none any more.
  func hear(_ name: VirtualName<ProcessID>) {
    guard let unheard else { return }
    if let entry = try? space.entry(name) {
      if entry.isThread, entry.state == .live { unheard.loseIfEnded(entry.physical) }
      // Its own call may be what gives it the name, at this moment: who does that has the lock.
      if entry.state == .allocated { state.withLock { _ in } }
    } else {
      _ = unheard.takeIn(PhysicalName(rawValue: name.rawValue))
    }
  }

  /// All processes of the pod that have no names get theirs.
  public func hearAll() { unheard?.takeInAll() }

  /// A name for who is to come, and no number that a thread of the pod has for a name without the table's knowing it: its maker
  /// looks for the name when the thread is there, and who gives it out looks for the thread when the name is there, so that at
  /// least one of them finds the other.
  private func allocate(
    for physical: PhysicalName<ProcessID>? = nil
  ) throws(NameError) -> VirtualName<ProcessID> {
    guard let unheard else { return try space.allocate(for: physical, avoidingPhysical: true) }
    var passedOver: [VirtualName<ProcessID>] = []
    defer { for name in passedOver { try? space.giveBack(name) } }
    while true {
      let name = try space.allocate(for: physical, avoidingPhysical: true)
      if !unheard.isThread(name.rawValue) { return name }
      passedOver.append(name)
    }
  }

  // MARK: Look-ups

  /// The name that programs in the pod see for a physical number: of a task that exists, or of one that had the number
  /// lately; nil when it was never the pod's, or too long ago.
  public func virtual(of physical: PhysicalName<ProcessID>) -> VirtualName<ProcessID>? {
    if let entry = try? space.entry(physical) { return entry.virtual }
    return state.withLock { $0.late[physical] }
  }

  /// A task of the pod that has not ended.
  ///
  /// - Throws: `.noSuchProcess`, also for one that is allocated or has ended.
  public func task(_ name: VirtualName<ProcessID>) throws(Errno) -> Entry<ProcessID> {
    guard let entry = try? space.entry(name), entry.state == .live else { throw .noSuchProcess }
    return entry
  }

  /// Whether the end of a process is in the table. Its number may be another's by now.
  func hasEnded(_ process: VirtualName<ProcessID>) -> Bool {
    guard let entry = name(process.rawValue) else { return true }
    return entry.isReaped || entry.state != .live && entry.state != .allocated
  }

  /// The entry with a virtual number, in any state; nil when there is none.
  func name(_ number: Int32) -> Entry<ProcessID>? {
    try? space.entry(VirtualName<ProcessID>(rawValue: number))
  }

  /// The entry with a physical number, in any state; nil when there is none.
  func name(physical number: Int32) -> Entry<ProcessID>? {
    try? space.entry(PhysicalName<ProcessID>(rawValue: number))
  }

  /// The process that a task belongs to.
  ///
  /// - Throws: `.noSuchProcess`.
  func leader(ofPhysical number: Int32) throws(Errno) -> VirtualName<ProcessID> {
    guard let entry = name(physical: number), entry.state == .live else { throw .noSuchProcess }
    return entry.leader
  }

  /// A process that has ended and can still be waited for; nil when the name isn't one.
  public func zombie(_ name: VirtualName<ProcessID>) -> Entry<ProcessID>? {
    guard let entry = try? space.entry(name), entry.state == .dying, !entry.isReaped,
      !entry.isThread
    else { return nil }
    return entry
  }

  /// The processes that have not ended.
  public var live: [Entry<ProcessID>] {
    space.entries.filter { !$0.isThread && $0.state == .live }
  }

  /// The processes of a group, ended ones included.
  public func members(ofGroup group: VirtualName<ProcessID>) -> [Entry<ProcessID>] {
    let known = knownMembers(ofGroup: group)
    guard let unheard, !known.contains(where: { $0.state == .live }),
      let physical = try? space.entry(group).physical, physical.rawValue > 0,
      unheard.takeInMembers(ofGroup: physical)
    else { return known }
    return knownMembers(ofGroup: group)
  }

  private func knownMembers(ofGroup group: VirtualName<ProcessID>) -> [Entry<ProcessID>] {
    space.entries.filter {
      $0.group == group && !$0.isThread && !$0.isReaped && $0.state != .allocated
    }
  }

  /// The kernel's number of the pod's init; 0 before it has entered.
  public var physicalInit: PhysicalName<ProcessID> {
    (try? space.entry(Self.initial))?.physical ?? PhysicalName(rawValue: 0)
  }

  /// The name of the newborn that a fork of the caller returned; nil while nobody has given it one. It may have ended,
  /// and even been waited for, already.
  public func newborn(
    _ physical: PhysicalName<ProcessID>, of caller: Caller, birth number: Int = 0
  ) -> VirtualName<ProcessID>? {
    state.withLock { state in
      guard let birth = state.births[BirthKey(thread: caller.thread, number: number)],
        birth.physical == physical
      else { return nil }
      return birth.child
    }
  }

  /// The caller that a physical thread is; nil while it is unknown (init-pending) or when it isn't in the pod.
  public func caller(_ physical: PhysicalName<ThreadID>) -> Caller? {
    guard
      let entry = try? space.entry(PhysicalName<ProcessID>(rawValue: physical.rawValue)),
      entry.state == .live
    else { return nil }
    return Caller(
      thread: VirtualName(rawValue: entry.virtual.rawValue), process: entry.leader,
      physicalThread: physical)
  }

  /// The live processes of the pod (thread-group leaders), init included.
  public var liveProcesses: [Entry<ProcessID>] {
    space.entries.filter { $0.state == .live && !$0.isThread }
  }

  /// The live processes and threads of the pod, init included.
  public var liveTasks: [Entry<ProcessID>] { space.entries.filter { $0.state == .live } }

  /// Processes that have ended and can still be waited for.
  public var zombies: [Entry<ProcessID>] {
    space.entries.filter { $0.state == .dying && !$0.isReaped && !$0.isThread }
  }

  /// Children of a process, or of init, that have ended and can still be waited for.
  public func zombies(of parent: VirtualName<ProcessID>) -> [Entry<ProcessID>] {
    state.withLock { state in
      (parent == Self.initial ? state.initialZombies : state.children[parent] ?? [])
        .compactMap { zombie($0) }
    }
  }

  /// The processes whose parent a process is, ended ones included. When it ends, its backend asks the kernel, which knows
  /// of subreapers, for the new parent of each.
  public func children(of parent: VirtualName<ProcessID>) -> [Entry<ProcessID>] {
    state.withLock { state in (state.children[parent] ?? []).compactMap { try? space.entry($0) } }
  }

  // MARK: Births

  /// Registers a process that enters the pod in its own context before any program of the pod can name it: init, or a
  /// program that the host starts.
  ///
  /// - Parameters:
  ///   - physical: Its kernel number.
  ///   - parent: Its virtual parent; init has none.
  ///   - chosen: A number to use.
  ///   - standing: Whether it leads a session or a group of its own.
  /// - Throws: ``NameError/nameInUse`` when a transaction outside refers to the number (paper §4.1.1), or when the
  ///   chosen number is taken; ``NameError/rangeExhausted``.
  @discardableResult
  public func enter(
    _ physical: PhysicalName<ProcessID>, parent: VirtualName<ProcessID>?,
    chosen: VirtualName<ProcessID>? = nil, as standing: Standing
  ) throws(NameError) -> VirtualName<ProcessID> {
    try state.withLock { state throws(NameError) in
      var planned: VirtualName<ProcessID>?
      if chosen == nil, let parent { planned = nextPlanned(childOf: parent, &state) }
      let name: VirtualName<ProcessID>
      if let planned {
        name = planned
      } else {
        name =
          chosen == nil
          ? try allocate(for: physical)
          : try space.allocate(chosen: chosen, for: physical, avoidingPhysical: true)
      }
      guard system.enter(physical, of: space.pod) else {
        try takeBack(name, plannedFor: planned == nil ? nil : parent, &state)
        throw .nameInUse
      }
      try space.bind(name, to: physical)
      state.late.forget(physical)
      var session = name
      if standing == .groupLeader, let parent, let entry = try? space.entry(parent) {
        session = entry.session
      }
      try settle(name, parent: parent, group: name, session: session, &state)
      return name
    }
  }

  /// What a process leads that the host starts.
  public enum Standing: Sendable {
    /// A session, and the only group in it.
    case sessionLeader
    /// A group in its parent's session.
    case groupLeader
  }

  /// Allocates the child's name before the fork, so that it exists whoever is first to use it, and so that a pod
  /// without free names refuses before anything happened. The child belongs to its family from now on: its parent may
  /// be gone when somebody first asks.
  ///
  /// - Parameters:
  ///   - caller: The thread that forks.
  ///   - sharesParent: `CLONE_PARENT`: the child's parent is the caller's.
  ///   - chosen: The number that the caller asks for.
  ///   - leased: The name that the caller's code took of those leased to its process.
  ///   - number: Which of the caller's births it is (``Transaction/birthNumber``).
  /// - Throws: ``NameError/rangeExhausted``; for a chosen number ``NameError/nameInUse`` and ``NameError/outOfRange``;
  ///   ``NameError/unknownName`` for a name that isn't leased to the process, or was taken back: it may ask again without.
  ///
  /// Source: paper §4.1.2; COVERAGE P7, P12, C3, C4.
  public func announceBirth(
    by caller: Caller, sharesParent: Bool = false, chosen: VirtualName<ProcessID>? = nil,
    leased: VirtualName<ProcessID>? = nil, birth number: Int = 0
  ) throws(NameError) -> VirtualName<ProcessID> {
    let key = BirthKey(thread: caller.thread, number: number)
    return try state.withLock { state throws(NameError) in
      endBirth(key, &state)
      let maker = family(of: caller)
      let parent = sharesParent ? maker?.parent ?? Self.initial : caller.process
      let name: VirtualName<ProcessID>
      var plannedFor: VirtualName<ProcessID>?
      if let leased, chosen == nil {
        try space.redeem(leased, by: caller.process)
        name = leased
      } else if chosen == nil, let planned = nextPlanned(childOf: parent, &state) {
        (name, plannedFor) = (planned, parent)
      } else {
        name =
          chosen == nil
          ? try allocate() : try space.allocate(chosen: chosen, avoidingPhysical: true)
      }
      try settle(
        name, parent: caller.process, group: maker?.group ?? name,
        session: maker?.session ?? name, &state)
      state.births[key] = Birth(child: name, plannedFor: plannedFor)
      return name
    }
  }

  /// The caller is about to make a thread: what its epilogue finds may have ended by then.
  ///
  /// - Parameters:
  ///   - caller: The thread that makes it.
  ///   - chosen: The number that it asks for.
  ///   - number: As for ``announceBirth(by:sharesParent:chosen:leased:birth:)``.
  /// - Throws: ``NameError/rangeExhausted`` when there may be no name for it, nor for those that others are making; for a
  ///   chosen number ``NameError/nameInUse`` and ``NameError/outOfRange``.
  public func announceThread(
    by caller: Caller, chosen: VirtualName<ProcessID>? = nil, birth number: Int = 0
  ) throws(NameError) {
    let key = BirthKey(thread: caller.thread, number: number)
    try state.withLock { state throws(NameError) in
      endBirth(key, &state)
      if let chosen {
        state.births[key] = Birth(child: try space.allocate(chosen: chosen))
        return
      }
      let unnamed = state.births.values.count { $0.child == nil }
      let hasPlanned = state.plan.threads[caller.process]?.isEmpty == false
      guard hasPlanned || space.room > unnamed else { throw .rangeExhausted }
      state.births[key] = Birth()
    }
  }

  /// Ends a birth that was announced: its epilogue has run, or the fork failed or was dropped. A name that nobody got is
  /// given back.
  public func endBirth(by caller: Caller, birth number: Int = 0) {
    state.withLock { endBirth(BirthKey(thread: caller.thread, number: number), &$0) }
  }

  private func endBirth(_ key: BirthKey, _ state: inout State) {
    guard let birth = state.births.removeValue(forKey: key), birth.physical == nil,
      let child = birth.child, let entry = try? space.entry(child)
    else { return }
    forgetParent(of: entry, &state)
    try? space.drop(entry.group)
    try? space.drop(entry.session)
    try? takeBack(child, plannedFor: birth.plannedFor, &state)
  }

  /// A name that was to be somebody's is nobody's.
  private func takeBack(
    _ name: VirtualName<ProcessID>, plannedFor parent: VirtualName<ProcessID>?,
    _ state: inout State
  ) throws(NameError) {
    if let parent, state.plan.isFor(parent) {
      try space.lease(name, to: Self.planner)
      state.plan.children[parent, default: []].append(name)
    } else {
      for name in state.plan.removeFamily(of: name) { forgetPlanned(name) }
      try space.giveBack(name)
    }
  }

  /// Gives a newborn its name: by whoever is first of the parent's epilogue, the child's first call and the backend's
  /// event. Later calls find the name and change nothing.
  ///
  /// - Parameters:
  ///   - physical: The newborn's kernel number.
  ///   - caller: The thread that forked it.
  ///   - isThread: `CLONE_THREAD`: it belongs to the caller's process.
  ///   - sharesParent: `CLONE_PARENT`: its parent is the caller's.
  ///   - group: The process group that the kernel says it is in; nil for its maker's. They differ when the maker was
  ///     moved right after the fork.
  ///   - session: The session that the kernel says it is in, for a newborn that wasn't announced; nil for its maker's.
  ///   - number: As for ``announceBirth(by:sharesParent:chosen:leased:birth:)``.
  /// - Returns: Its virtual name.
  /// - Throws: ``NameError/rangeExhausted`` for a newborn that wasn't announced, or a thread whose own number is taken.
  @discardableResult
  public func initialize(
    _ physical: PhysicalName<ProcessID>, by caller: Caller, isThread: Bool, sharesParent: Bool,
    group: PhysicalName<ProcessID>? = nil, session: PhysicalName<ProcessID>? = nil,
    birth number: Int = 0
  ) throws(NameError) -> VirtualName<ProcessID> {
    let key = BirthKey(thread: caller.thread, number: number)
    return try state.withLock { state throws(NameError) in
      var birth = state.births[key]
      if let birth, let name = birth.child, birth.physical == physical { return name }
      if birth?.physical != nil { birth = nil }
      if birth == nil, let known = try? space.entry(physical), known.state == .live,
        !isThread || known.leader == caller.process
      {
        return known.virtual
      }
      let name: VirtualName<ProcessID>
      if let announced = birth?.child {
        name = announced
      } else if let planned = isThread
        ? nextPlanned(threadOf: caller.process, &state)
        : birth == nil
          ? nextPlanned(
            childOf: sharesParent ? family(of: caller)?.parent ?? Self.initial : caller.process,
            &state) : nil
      {
        name = planned
      } else {
        // Threads keep their physical number while it is free (DESIGN.md §4.5): the words that the kernel compares with
        // thread ids then hold numbers that are also names in the pod.
        name =
          isThread
          ? try space.allocate(for: physical, policy: .preserving, avoidingPhysical: true)
          : try allocate(for: physical)
      }
      if isThread {
        state.order &+= 1
        try space.setThread(true, of: name)
        try space.setLink(Link.process, of: name, to: caller.process.rawValue)
        try space.setLink(Link.threadOrder, of: name, to: state.order)
      }
      try space.bind(name, to: physical)
      state.late.forget(physical)
      if birth != nil { state.births[key] = Birth(child: name, physical: physical) }
      if isThread { return name }
      let maker = family(of: caller)
      if birth == nil {
        // Nobody announced it: its maker may be gone.
        let known = session.flatMap { try? space.entry($0) }
        try settle(
          name, parent: maker?.state == .live ? caller.process : Self.initial,
          group: maker?.group ?? name, session: known?.virtual ?? maker?.session ?? name, &state)
      }
      if sharesParent { try setParent(of: name, to: maker?.parent ?? Self.initial, &state) }
      if let group, let entry = try? space.entry(group) {
        try move(name, toGroup: entry.virtual, &state)
      }
      return name
    }
  }

  /// The caller's process, unless it has given up its group and session.
  private func family(of caller: Caller) -> Entry<ProcessID>? {
    guard let entry = try? space.entry(caller.process), !entry.isReaped else { return nil }
    return entry
  }

  private func settle(
    _ name: VirtualName<ProcessID>, parent: VirtualName<ProcessID>?,
    group: VirtualName<ProcessID>, session: VirtualName<ProcessID>, _ state: inout State
  ) throws(NameError) {
    state.order &+= 1
    space.publish(births: state.order)
    try space.setLink(Link.order.rawValue, of: name, to: state.order)
    try setParent(of: name, to: parent ?? VirtualName(rawValue: 0), &state)
    try space.setLink(Link.group.rawValue, of: name, to: group.rawValue)
    try space.setLink(Link.session.rawValue, of: name, to: session.rawValue)
    try space.retain(group)
    try space.retain(session)
  }

  private func setParent(
    of process: VirtualName<ProcessID>, to parent: VirtualName<ProcessID>, _ state: inout State
  ) throws(NameError) {
    let entry = try space.entry(process)
    try space.setLink(Link.parent.rawValue, of: process, to: parent.rawValue)
    forgetParent(of: entry, &state)
    state.children[parent, default: []].insert(process)
    if parent == Self.initial, zombie(process) != nil { state.initialZombies.insert(process) }
  }

  private func forgetParent(of entry: Entry<ProcessID>, _ state: inout State) {
    state.children[entry.parent]?.remove(entry.virtual)
    if state.children[entry.parent]?.isEmpty == true { state.children[entry.parent] = nil }
    state.initialZombies.remove(entry.virtual)
  }

  // MARK: Names in advance

  /// Gives allocated names out in advance to a process.
  ///
  /// - Throws: `.noSuchProcess` when it has ended: who waited for its end would find the names in use for ever.
  func lease(
    _ names: [VirtualName<ProcessID>], to process: VirtualName<ProcessID>
  ) throws(Errno) {
    let isLive = state.withLock { _ in
      guard let entry = try? space.entry(process), entry.state == .live else { return false }
      for name in names { try? space.lease(name, to: process) }
      return true
    }
    if !isLive { throw .noSuchProcess }
  }

  private func plan(_ snapshot: PodSnapshot.Processes) {
    state.withLock { state in
      state.plan = BirthPlan(snapshot.names)
      for name in snapshot.names where name.number != Self.initial {
        guard (try? space.allocate(chosen: name.number)) != nil else { continue }
        try? space.lease(name.number, to: Self.planner)
      }
      if space.range.contains(snapshot.next) { space.cursor = snapshot.next }
    }
  }

  private func nextPlanned(
    childOf parent: VirtualName<ProcessID>, _ state: inout State
  ) -> VirtualName<ProcessID>? {
    while let name = state.plan.children[parent]?.popLast() {
      if (try? space.redeem(name, by: Self.planner)) != nil { return name }
    }
    return nil
  }

  private func nextPlanned(
    threadOf process: VirtualName<ProcessID>, _ state: inout State
  ) -> VirtualName<ProcessID>? {
    while let name = state.plan.threads[process]?.popLast() {
      if (try? space.redeem(name, by: Self.planner)) != nil { return name }
    }
    return nil
  }

  private func forgetPlanned(_ name: VirtualName<ProcessID>) {
    guard (try? space.redeem(name, by: Self.planner)) != nil else { return }
    try? space.giveBack(name)
  }

  // MARK: Snapshots

  /// The names of the pod as they are at this moment.
  func snapshot() -> PodSnapshot.Processes {
    state.withLock { state in
      let now = state.order
      // From the oldest: the difference stands the number's wrapping around.
      let entries = space.entries.filter { $0.state != .allocated }
        .sorted { ($0.order &- now, $0.virtual) < ($1.order &- now, $1.virtual) }
      var shown: Set<VirtualName<ProcessID>> = []
      for entry in entries where !entry.isThread && !entry.isReaped {
        shown.insert(entry.group)
        shown.insert(entry.session)
      }
      let names = entries.filter { !$0.isReaped || !$0.isThread && shown.contains($0.virtual) }
      return PodSnapshot.Processes(
        highest: space.range.upperBound, next: space.cursor, names: names.map { .init($0) })
    }
  }

  /// Fills an empty table from a snapshot: the processes exist already, with other physical numbers.
  ///
  /// - Parameters:
  ///   - snapshot: What to fill it with.
  ///   - physical: The number that each task, and each group or session whose leader is gone, has here.
  /// - Throws: ``SnapshotError/notEmpty``, ``SnapshotError/unmatched(_:)``, ``SnapshotError/notFitting(_:)``; the table is as
  ///   far filled as it got, and of no use.
  public func fill(
    from snapshot: PodSnapshot.Processes,
    physical: [VirtualName<ProcessID>: PhysicalName<ProcessID>]
  ) throws(SnapshotError) {
    try state.withLock { state throws(SnapshotError) in
      guard space.count == 0 else { throw .notEmpty }
      for name in snapshot.names {
        guard let number = physical[name.number], number.rawValue > 0 else {
          throw .unmatched(name.number)
        }
        do throws(NameError) {
          _ = try space.allocate(chosen: name.number)
          guard system.enter(number, of: space.pod) else { throw .nameInUse }
          try space.bind(name.number, to: number)
        } catch {
          throw .notFitting(name.number)
        }
      }
      do throws(NameError) {
        for name in snapshot.names { try settle(name, &state) }
        for name in snapshot.names where name.state == .shown { try space.reap(name.number) }
      } catch {
        throw .invalid("its names don't make a table")
      }
      space.cursor = snapshot.next
    }
  }

  private func settle(_ name: PodSnapshot.Name, _ state: inout State) throws(NameError) {
    switch (name.kind, name.state) {
    case (.thread, _):
      state.order &+= 1
      try space.setThread(true, of: name.number)
      try space.setLink(Link.process, of: name.number, to: name.process.rawValue)
      try space.setLink(Link.threadOrder, of: name.number, to: state.order)
    case (.process, .shown):
      state.order &+= 1
      try space.setLink(Link.order.rawValue, of: name.number, to: state.order)
      try space.setLink(Link.parent.rawValue, of: name.number, to: name.parent.rawValue)
      try space.retire(name.number)
    case (.process, _):
      try settle(
        name.number, parent: name.parent, group: name.group, session: name.session, &state)
      if name.state == .ended {
        try space.retire(name.number)
        if name.parent == Self.initial { state.initialZombies.insert(name.number) }
      }
    }
  }

  // MARK: Groups and sessions

  /// A process moved to another group. One that was waited for already is in none any more.
  ///
  /// - Throws: ``NameError/unknownName`` when the pod has no such process or group.
  public func move(
    _ process: VirtualName<ProcessID>, toGroup group: VirtualName<ProcessID>
  ) throws(NameError) {
    try state.withLock { state throws(NameError) in try move(process, toGroup: group, &state) }
  }

  private func move(
    _ process: VirtualName<ProcessID>, toGroup group: VirtualName<ProcessID>, _: inout State
  ) throws(NameError) {
    let entry = try space.entry(process)
    guard entry.group != group, !entry.isReaped else { return }
    try space.retain(group)
    try space.setLink(Link.group.rawValue, of: process, to: group.rawValue)
    try space.drop(entry.group)
  }

  /// A process made a session, and a group, of its own.
  ///
  /// - Throws: ``NameError/unknownName``.
  public func makeSession(_ process: VirtualName<ProcessID>) throws(NameError) {
    try state.withLock { state throws(NameError) in
      let entry = try space.entry(process)
      guard !entry.isReaped else { return }
      try move(process, toGroup: process, &state)
      guard entry.session != process else { return }
      try space.retain(process)
      try space.setLink(Link.session.rawValue, of: process, to: process.rawValue)
      try space.drop(entry.session)
    }
  }

  /// A process has a new parent.
  ///
  /// - Throws: ``NameError/unknownName``.
  public func reparent(
    _ process: VirtualName<ProcessID>, to parent: VirtualName<ProcessID>
  ) throws(NameError) {
    try state.withLock { state throws(NameError) in
      try setParent(of: process, to: parent, &state)
    }
  }

  // MARK: Ends

  /// A task has ended, for backends that hear of an end before the kernel can reuse the number.
  public func exited(_ physical: PhysicalName<ProcessID>) {
    state.withLock { state in
      guard let entry = try? space.entry(physical), entry.state == .live else { return }
      exited(entry, &state)
    }
  }

  /// A task has ended. A thread's name is given up; a process's (when its last thread has ended) stays until it is
  /// reaped, and its children become init's until ``reparent(_:to:)`` says otherwise.
  ///
  /// By name, since the kernel may have given the number to a newborn by now.
  public func exited(_ name: VirtualName<ProcessID>) {
    state.withLock { state in
      guard let entry = try? space.entry(name), entry.state != .allocated, !entry.isReaped else {
        return
      }
      exited(entry, &state)
    }
  }

  private func exited(_ entry: Entry<ProcessID>, _ state: inout State) {
    if entry.isThread {
      state.late.remember(entry)
      try? space.reap(entry.virtual)
      return
    }
    space.endLease(of: entry.virtual)
    for name in state.plan.removeFamily(of: entry.virtual) { forgetPlanned(name) }
    try? space.retire(entry.virtual)
    // Afterwards: who looks whether it has ended, and finds that it hasn't, comes before.
    whenEnded(entry.virtual)
    if entry.parent == Self.initial { state.initialZombies.insert(entry.virtual) }
    for child in state.children[entry.virtual] ?? [] {
      try? setParent(of: child, to: Self.initial, &state)
    }
  }

  /// A process that has ended can't be waited for any more: a wait returned it, or nobody wanted to know.
  public func reaped(_ process: VirtualName<ProcessID>) {
    hearGroup(of: process)
    state.withLock { state in
      guard let entry = try? space.entry(process), entry.state != .allocated, !entry.isReaped else {
        return
      }
      if entry.state == .live { exited(entry, &state) }
      guard !entry.isThread else { return }
      state.late.remember(entry)
      forgetParent(of: entry, &state)
      // The group's and session's claims go first: the reap frees the entry.
      try? space.drop(entry.group)
      try? space.drop(entry.session)
      try? space.reap(process)
    }
  }

  /// The last member of a group that the table has is about to leave it: who else is in it and has no name is to be of the same
  /// group, whose name goes with the last member.
  private func hearGroup(of process: VirtualName<ProcessID>) {
    guard let unheard, let entry = try? space.entry(process), !entry.isThread, !entry.isReaped,
      entry.state != .allocated,
      space.uses(of: entry.group) == (entry.session == entry.group ? 2 : 1),
      let group = try? space.entry(entry.group), group.physical.rawValue > 0
    else { return }
    unheard.takeInMembers(ofGroup: group.physical)
  }

  /// The name of a child that was waited for, or is gone unasked, before anybody had heard of it: as it was told to whoever
  /// waited for it, or another one, which is nobody's from now on.
  ///
  /// Only its parent says which number it had, and that may be anybody's outside by now: the name is never bound to it.
  ///
  /// - Parameters:
  ///   - physical: The number that it had.
  ///   - parent: Whose child it was.
  ///   - births: The number of births before it was born; nil for who has been waited for just now.
  /// - Returns: nil when the pod has no free name.
  package func lostChild(
    _ physical: PhysicalName<ProcessID>, of parent: VirtualName<ProcessID>, since births: Int32?
  ) -> VirtualName<ProcessID>? {
    state.withLock { state in
      // Who has been waited for may have been settled in the same moment.
      if let late = state.late.child(physical, of: parent),
        births.map({ late.order &- $0 > 0 }) ?? true
      {
        return late.name
      }
      guard let name = try? allocate() else { return nil }
      try? space.giveBack(name)
      state.order &+= 1
      space.publish(births: state.order)
      state.late.remember(
        physical, LateNames.Name(name: name, parent: parent, order: state.order))
      return name
    }
  }

  /// A task called exec: names that its old program had in advance are free. A thread that isn't the leader has the
  /// leader's number now, and its own is nobody's.
  public func execed(
    leader: PhysicalName<ProcessID>, former: PhysicalName<ProcessID>
  ) {
    state.withLock { state in
      if former != leader, let entry = try? space.entry(former), entry.isThread {
        state.late.remember(entry)
        try? space.reap(entry.virtual)
      }
      guard let entry = try? space.entry(leader) else { return }
      whenExecuted(entry.virtual)
      space.endLease(of: entry.virtual)
      if entry.state == .dying {
        try? space.revive(entry.virtual)
        state.initialZombies.remove(entry.virtual)
      }
    }
  }
}

/// Names that newborns are to have: those that a snapshot says, by whose child or thread they are, the next one last.
///
/// They are leased to ``ProcessTable/planner`` meanwhile, so that nobody else gets them.
struct BirthPlan {
  typealias Name = VirtualName<ProcessID>
  var children: [Name: [Name]] = [:]
  var threads: [Name: [Name]] = [:]
  /// Whose children it is about, or was.
  private var parents: Set<Name> = []

  init() {}

  /// - Parameter names: In the order of birth.
  init(_ names: [PodSnapshot.Name]) {
    for name in names.reversed() {
      switch name.kind {
      case .thread: threads[name.process, default: []].append(name.number)
      case .process where name.number != ProcessTable.initial:
        children[name.parent, default: []].append(name.number)
      case .process: break
      }
    }
    parents = Set(children.keys)
  }

  func isFor(_ parent: Name) -> Bool { parents.contains(parent) }

  /// A process has ended: who would have descended from it won't be born.
  ///
  /// - Returns: Their names.
  mutating func removeFamily(of process: Name) -> [Name] {
    var removed: [Name] = []
    var parents = [process]
    while let parent = parents.popLast() {
      let family = children.removeValue(forKey: parent) ?? []
      removed += family + (threads.removeValue(forKey: parent) ?? [])
      parents += family
      self.parents.remove(parent)
    }
    return removed
  }
}

/// What the last owners of physical numbers were called, for siginfo that outlives them (COVERAGE C13): the latest few,
/// since a pod that lives long would use up every number of the machine.
private struct LateNames {
  struct Name {
    let name: VirtualName<ProcessID>
    /// Of a process.
    let parent: VirtualName<ProcessID>
    let order: Int32
  }
  private var names: [PhysicalName<ProcessID>: (name: Name, turn: Int)] = [:]
  private var order: [PhysicalName<ProcessID>] = []
  private var turn = 0
  private let capacity: Int

  init(capacity: Int) { self.capacity = capacity }

  subscript(physical: PhysicalName<ProcessID>) -> VirtualName<ProcessID>? {
    names[physical]?.name.name
  }

  func child(_ physical: PhysicalName<ProcessID>, of parent: VirtualName<ProcessID>) -> Name? {
    guard let name = names[physical]?.name, name.parent == parent else { return nil }
    return name
  }

  mutating func remember(_ entry: Entry<ProcessID>) {
    let parent = entry.isThread ? VirtualName<ProcessID>(rawValue: 0) : entry.parent
    remember(
      entry.physical, Name(name: entry.virtual, parent: parent, order: entry.order))
  }

  mutating func remember(_ physical: PhysicalName<ProcessID>, _ name: Name) {
    guard capacity > 0 else { return }
    if turn < capacity {
      order.append(physical)
    } else {
      let oldest = order[turn % capacity]
      if names[oldest]?.turn == turn - capacity { names[oldest] = nil }
      order[turn % capacity] = physical
    }
    names[physical] = (name, turn)
    turn += 1
  }

  /// The number is somebody else's now.
  mutating func forget(_ physical: PhysicalName<ProcessID>) { names[physical] = nil }
}

extension Entry where R == ProcessID {
  /// The process that the task belongs to.
  public var leader: VirtualName<ProcessID> {
    isThread ? VirtualName(rawValue: link0) : virtual
  }
  /// When the task was born, compared to others; it may wrap around.
  var order: Int32 { isThread ? link1 : link0 }
  /// The process's parent as the table knows it; 0 for init.
  public var parent: VirtualName<ProcessID> { VirtualName(rawValue: link1) }
  /// The process group.
  public var group: VirtualName<ProcessID> { VirtualName(rawValue: link2) }
  /// The session.
  public var session: VirtualName<ProcessID> { VirtualName(rawValue: link3) }
}
