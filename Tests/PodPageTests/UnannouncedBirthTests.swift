internal import CPodLayout
internal import PodCore
internal import Synchronization
internal import SystemPackage
internal import Testing

/// A kernel that knows who is whose child, and a supervisor that takes in whoever it hears of.
private final class NewbornKernel: NewbornWitness, Newcomers, @unchecked Sendable {
  struct Task {
    var process: Int32
    var parent: Int32
    var group: Int32
    var isZombie = false
  }
  static let podInit: Int32 = 1000
  static let maker: Int32 = 1001
  static let outsider: Int32 = 999
  static let newborn: Int32 = 1002

  let names = PodNames(
    pod: PodID(rawValue: 1), system: SystemNames(), range: 1...2000, capacity: 400)
  var tasks: [Int32: Task] = [
    podInit: Task(process: podInit, parent: 1, group: podInit),
    maker: Task(process: maker, parent: podInit, group: maker),
    outsider: Task(process: outsider, parent: 1, group: outsider),
  ]
  let removed: Protection?
  /// Done when somebody has been taken in.
  var meanwhile: () -> Void = {}

  enum Protection: String, CaseIterable {
    /// Whose child a number is that a maker says.
    case kinship
    /// Whether it still is when it has its name.
    case secondLook
    /// Who is in a group whose last known member goes.
    case group
    /// Threads that have a number for a name.
    case threads
    /// Who has a name, and has ended.
    case ended
    /// Whose maker is killed while it tells.
    case orphans
  }

  init(without removed: Protection? = nil) {
    self.removed = removed
    names.processes.expect(self)
    _ = try? names.processes.enter(
      PhysicalName(rawValue: Self.podInit), parent: nil, chosen: ProcessTable.initial,
      as: .sessionLeader)
    _ = try? names.processes.enter(
      PhysicalName(rawValue: Self.maker), parent: ProcessTable.initial, as: .groupLeader)
  }

  static let makersName = VirtualName<ProcessID>(rawValue: 2)

  func clone(_ flags: UInt64) {
    let isThread = flags & CloneFlags.thread != 0
    tasks[Self.newborn] =
      isThread
      ? Task(process: Self.maker, parent: Self.podInit, group: Self.maker)
      : Task(process: Self.newborn, parent: Self.maker, group: Self.maker)
  }

  func entry(_ task: Int32) -> Entry<ProcessID>? {
    let entry = try? names.processes.space.entry(PhysicalName<ProcessID>(rawValue: task))
    return entry?.state == .live ? entry : nil
  }

  // MARK: NewbornWitness

  func kinship(of task: PhysicalName<ProcessID>) -> Kinship? {
    if removed == .kinship {
      return Kinship(process: task, parent: PhysicalName(rawValue: Self.maker))
    }
    return tasks[task.rawValue].map {
      Kinship(
        process: PhysicalName(rawValue: $0.process), parent: PhysicalName(rawValue: $0.parent))
    }
  }

  func isOfFamily(_ task: PhysicalName<ProcessID>) -> Bool {
    if removed == .secondLook || removed == .kinship { return true }
    guard let found = tasks[task.rawValue] else { return false }
    if removed == .orphans { return found.parent == Self.maker }
    return found.parent == Self.maker || found.parent == Self.podInit
  }

  func takeInUnannounced(_ newborn: PhysicalName<ProcessID>) -> VirtualName<ProcessID>? {
    guard let task = tasks[newborn.rawValue] else { return nil }
    let known = try? names.processes.space.entry(newborn)
    if let known, known.state == .live || removed != .ended { return known.virtual }
    let isThread = task.process != newborn.rawValue
    let parent = isThread ? task.process : task.parent
    let name = try? names.processes.initialize(
      newborn,
      by: Caller(
        thread: VirtualName(rawValue: 0),
        process: entry(parent)?.virtual ?? ProcessTable.initial,
        physicalThread: PhysicalName(rawValue: parent)), isThread: isThread, sharesParent: false,
      group: isThread ? nil : PhysicalName(rawValue: task.group))
    if task.isZombie, let name { names.processes.exited(name) }
    meanwhile()
    return name
  }

  func takeBack(_ newborn: PhysicalName<ProcessID>, _ name: VirtualName<ProcessID>) {
    names.processes.reaped(name)
  }

  // MARK: Newcomers

  func takeIn(_ task: PhysicalName<ProcessID>) -> Bool {
    guard let found = tasks[task.rawValue], task.rawValue != Self.outsider, !found.isZombie else {
      return false
    }
    return takeInUnannounced(task) != nil
  }

  func takeInMembers(ofGroup group: PhysicalName<ProcessID>) -> Bool {
    guard removed != .group else { return false }
    var found = false
    for (task, about) in tasks where about.group == group.rawValue && about.process == task {
      if (try? names.processes.space.entry(PhysicalName<ProcessID>(rawValue: task))) == nil,
        takeInUnannounced(PhysicalName(rawValue: task)) != nil
      {
        found = true
      }
    }
    return found
  }

  func takeInAll() {}

  func loseIfEnded(_ thread: PhysicalName<ProcessID>) {
    if tasks[thread.rawValue] == nil { names.processes.exited(thread) }
  }

  func isThread(_ number: Int32) -> Bool {
    removed != .threads && tasks[number].map { $0.process != number } ?? false
  }
}

/// One birth that nobody announced, and what can happen to those who take part in it.
private final class Newborn {
  enum Event: CaseIterable {
    /// It makes a call in which a name crosses.
    case calls
    /// Its maker tells.
    case makerTells
    /// Its maker is killed, and waited for.
    case makerDies
    case dies
    /// Its parent waits for it.
    case isReaped
  }
  let kernel: NewbornKernel
  let flags: UInt64
  /// What it was told itself, and its maker, and whoever waited for it.
  private(set) var told: [VirtualName<ProcessID>] = []
  private let births: Int32
  private var hasCalled = false
  private var makerHasTold = false

  init(_ flags: UInt64 = 17, without removed: NewbornKernel.Protection? = nil) {
    kernel = NewbornKernel(without: removed)
    self.flags = flags
    births = Self.births(kernel)
    kernel.clone(flags)
  }

  static func births(_ kernel: NewbornKernel) -> Int32 {
    let table = kernel.names.processes.space.memory.start.assumingMemoryBound(to: pod_table.self)
    return Int32(bitPattern: table.pointee.births)
  }

  private var task: NewbornKernel.Task? { kernel.tasks[NewbornKernel.newborn] }
  private var isMakerThere: Bool { kernel.tasks[NewbornKernel.maker] != nil }
  private var isThread: Bool { flags & CloneFlags.thread != 0 }
  private let physical = PhysicalName<ProcessID>(rawValue: NewbornKernel.newborn)

  func canHappen(_ event: Event) -> Bool {
    switch event {
    case .calls: task?.isZombie == false
    case .makerTells, .makerDies: isMakerThere
    case .dies: task?.isZombie == false && !isThread
    case .isReaped: task?.isZombie == true
    }
  }

  func happen(_ event: Event) {
    switch event {
    case .calls:
      hasCalled = true
      if let name = kernel.takeInUnannounced(physical) { told.append(name) }
    case .makerTells: tell(NewbornKernel.newborn)
    case .makerDies:
      kernel.tasks[NewbornKernel.maker] = nil
      if isThread {
        kernel.tasks[NewbornKernel.newborn] = nil
        kernel.names.processes.exited(physical)
      } else if !(task?.isZombie ?? true) {
        kernel.tasks[NewbornKernel.newborn]?.parent = NewbornKernel.podInit
      } else if task != nil {
        // Init reaps the orphan at once.
        kernel.tasks[NewbornKernel.newborn] = nil
        if let entry = try? kernel.names.processes.space.entry(physical) {
          kernel.names.processes.reaped(entry.virtual)
        }
      }
      kernel.names.processes.exited(NewbornKernel.makersName)
      kernel.names.processes.reaped(NewbornKernel.makersName)
    case .dies:
      kernel.tasks[NewbornKernel.newborn]?.isZombie = true
      if let entry = kernel.entry(NewbornKernel.newborn) {
        kernel.names.processes.exited(entry.virtual)
      }
    case .isReaped:
      // Who waits looks at it first.
      let known = try? kernel.names.processes.space.entry(physical)
      let name = known?.virtual ?? kernel.takeInUnannounced(physical)
      kernel.tasks[NewbornKernel.newborn] = nil
      guard let name else { return }
      kernel.names.processes.reaped(name)
      if isMakerThere { told.append(name) }
    }
  }

  /// The maker says what the kernel answered.
  func tell(_ number: Int32) {
    makerHasTold = true
    let name = UnannouncedBirth.name(
      of: PhysicalName(rawValue: number), flags, by: NewbornKernel.makersName,
      PhysicalName(rawValue: NewbornKernel.maker), since: births, names: kernel.names, kernel)
    if let name { told.append(name) }
  }

  /// What is wrong now; nil when all is right.
  var violation: String? {
    let processes = kernel.names.processes
    for entry in processes.liveTasks where kernel.tasks[entry.physical.rawValue] == nil {
      return "\(entry.virtual) is nobody"
    }
    if processes.space.entries.contains(where: { $0.state == .allocated }) {
      return "a name is nobody's"
    }
    if Set(told).count > 1 { return "one child was called \(told)" }
    if makerHasTold, told.isEmpty { return "the maker's child has no name" }
    if let entry = kernel.entry(NewbornKernel.newborn), let name = told.first,
      entry.virtual != name
    {
      return "\(entry.virtual) was called \(name)"
    }
    if task?.isZombie == false, hasCalled || makerHasTold,
      kernel.entry(NewbornKernel.newborn) == nil
    {
      return "who was heard of has no name"
    }
    // A signal for its group reaches it, whoever has been heard of.
    if task?.isZombie == false, !isThread {
      let group = VirtualName<ProcessID>(rawValue: 2)
      if !processes.members(ofGroup: group).contains(where: { $0.state == .live }) {
        return "nobody is in its group"
      }
    }
    return nil
  }
}

/// Births that nobody announces, in every order of what their parts do and of their ends.
@Suite("Births that nobody announces") struct UnannouncedBirthTests {
  private static let orders: [[Newborn.Event]] = {
    var found: [[Newborn.Event]] = [[]]
    var last = found
    for _ in Newborn.Event.allCases {
      last = last.flatMap { order in
        Newborn.Event.allCases.filter { !order.contains($0) }.map { order + [$0] }
      }
      found += last
    }
    return found
  }()

  private static let flags: [UInt64] = [17, 0x4111, 0x10100]

  private func violation(
    _ flags: UInt64, without removed: NewbornKernel.Protection? = nil
  ) -> String? {
    for order in Self.orders {
      let birth = Newborn(flags, without: removed)
      var happened: [Newborn.Event] = []
      for event in order where birth.canHappen(event) {
        birth.happen(event)
        happened.append(event)
        if let violation = birth.violation { return "\(violation) after \(happened)" }
      }
    }
    return nil
  }

  @Test("everybody has one name, and is reached in its group", arguments: flags)
  func everyOrder(flags: UInt64) {
    #expect(Self.orders.count == 326)
    let violation = violation(flags)
    #expect(violation == nil, "\(violation ?? "")")
  }

  @Test("a group whose last known member goes is looked through")
  func groupOfTheDead() {
    #expect(violation(17, without: .group) != nil)
  }

  @Test("who was heard of and has ended is told of by the same name")
  func ended() {
    #expect(violation(17, without: .ended) != nil)
  }

  @Test("a maker that says somebody else's number gets no name for it")
  func wrongNumber() {
    for removed in [nil, NewbornKernel.Protection.kinship] {
      let birth = Newborn(without: removed)
      birth.tell(NewbornKernel.outsider)
      #expect((birth.kernel.entry(NewbornKernel.outsider) == nil) == (removed == nil))
    }
  }

  @Test("a number that becomes somebody else's while it gets its name has none")
  func reusedNumber() {
    for removed in [nil, NewbornKernel.Protection.secondLook] {
      let birth = Newborn(without: removed)
      birth.kernel.meanwhile = {
        birth.kernel.tasks[NewbornKernel.newborn]?.parent = 1
      }
      birth.happen(.makerTells)
      #expect((birth.kernel.entry(NewbornKernel.newborn) == nil) == (removed == nil))
    }
  }

  @Test("a newborn whose maker is killed while it tells of it keeps its name")
  func orphan() {
    for removed in [nil, NewbornKernel.Protection.orphans] {
      let birth = Newborn(without: removed)
      birth.kernel.meanwhile = {
        birth.kernel.tasks[NewbornKernel.newborn]?.parent = NewbornKernel.podInit
      }
      birth.happen(.makerTells)
      #expect((birth.kernel.entry(NewbornKernel.newborn) != nil) == (removed == nil))
    }
  }

  @Test("who was waited for unheard is called the same by its maker")
  func lost() throws {
    let kernel = NewbornKernel()
    let processes = kernel.names.processes
    let maker = NewbornKernel.makersName
    let physical = PhysicalName<ProcessID>(rawValue: NewbornKernel.newborn)
    let births = Newborn.births(kernel)
    let waited = try #require(processes.lostChild(physical, of: maker, since: nil))
    #expect(processes.lostChild(physical, of: maker, since: births) == waited)
    #expect(processes.space.isFree(waited))
    // Of the next one that had the number, nobody has been told yet.
    let later = try #require(
      processes.lostChild(physical, of: maker, since: Newborn.births(kernel)))
    #expect(later != waited)
    #expect(processes.lostChild(physical, of: ProcessTable.initial, since: births) != waited)
  }

  // MARK: The page's part

  private let made = POD_HYPERCALL_MADE.rawValue

  /// A process whose page gives names late, and what it tells.
  private final class Maker {
    let kernel: NewbornKernel
    let model: ModelProcess
    let told = Mutex<[UInt32]>([])
    /// What the kernel answers to births.
    var answer = Int(NewbornKernel.newborn)
    var atBirth: () -> Void = {}
    var tid = Int(NewbornKernel.maker)
    /// The end of a stack for threads.
    var stack: Int { Int(bitPattern: stackStart) + 4096 }
    private let stackStart = UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 16)

    deinit { stackStart.deallocate() }

    init(without removed: NewbornKernel.Protection? = nil) {
      kernel = NewbornKernel(without: removed)
      model = ModelProcess(
        table: kernel.names.processes.space.memory.start, rules: BoundaryTable.standard.pageRules())
      model.namesLate = true
      model.kernel = { [unowned self] call, arguments in
        switch call {
        case .getpid where arguments[0] != UInt64(POD_PAGE_MAGIC):
          return Int(NewbornKernel.maker)
        case .gettid: return tid
        case .getpid:
          told.withLock { $0.append(UInt32(arguments[1])) }
          return 55
        case .fork, .vfork, .clone:
          atBirth()
          return answer
        default: return -38
        }
      }
    }

    func takeTold() -> [UInt32] {
      told.withLock { told in
        defer { told = [] }
        return told
      }
    }
  }

  @Test("a fork is told of once, or not at all; a thread never")
  func counts() {
    let maker = Maker()
    #expect(maker.model.call(.fork) == .success(55))
    #expect(maker.takeTold() == [made])
    maker.atBirth = { maker.kernel.clone(17) }
    #expect(maker.model.call(.vfork) == .success(55))
    #expect(maker.takeTold() == [made])
    // It has called exec by now.
    maker.atBirth = {
      maker.kernel.clone(17)
      _ = maker.kernel.takeIn(PhysicalName(rawValue: NewbornKernel.newborn))
    }
    #expect(maker.model.call(.vfork) == .success(3))
    #expect(maker.takeTold() == [])
    #expect(maker.model.cache.sharers == 0)
    maker.atBirth = {}
    maker.answer = 1700
    #expect(maker.model.call(.clone, 0x10100, maker.stack) == .success(1700))
    #expect(maker.takeTold() == [])
    maker.answer = -11
    for call in [Syscall.fork, .vfork] {
      #expect(maker.model.call(call) == .failure(.resourceTemporarilyUnavailable))
    }
    #expect(maker.takeTold() == [])
    #expect(maker.model.cache.sharers == 0)
  }

  @Test("a child that the table has from before is not the newborn")
  func olderChild() {
    for isProtected in [true, false] {
      let maker = Maker()
      maker.kernel.clone(17)
      _ = maker.kernel.takeIn(PhysicalName(rawValue: NewbornKernel.newborn))
      maker.model.step = { step, _ in step != .check || isProtected }
      // The kernel has given its number to the next one.
      #expect(maker.model.call(.fork) == .success(isProtected ? 55 : 3))
      #expect(maker.takeTold() == (isProtected ? [made] : []))
    }
  }

  @Test("where names are few, or stand in memory, births are announced")
  func announced() {
    let maker = Maker()
    maker.answer = -11
    let announced = POD_HYPERCALL_BIRTH_BEGIN.rawValue
    _ = maker.model.call(.clone, 17 | 0x100000, 0, 1 << 40)
    #expect(maker.takeTold().first == announced)
    maker.kernel.names.processes.fill(to: 400 - Int(POD_PAGE_BIRTH_ROOM_IN_TABLE))
    _ = maker.model.call(.fork)
    #expect(maker.takeTold() == [])
    maker.kernel.names.processes.fill(to: 401 - Int(POD_PAGE_BIRTH_ROOM_IN_TABLE))
    _ = maker.model.call(.fork)
    #expect(maker.takeTold().first == announced)
    maker.model.namesLate = false
    _ = maker.model.call(.clone, 0x10100, maker.stack)
    #expect(maker.takeTold().first == announced)
  }

  @Test("makers that sleep on one stack, in each other's middle, each find their own way back")
  func sleepers() {
    let maker = Maker()
    var depth = 0
    maker.atBirth = {
      #expect(maker.model.cache.sharers == UInt32(depth + 1))
      guard depth < 3 else { return }
      depth += 1
      // A newborn makes one too, which is another thread on the same stack.
      maker.tid += 1
      #expect(maker.model.call(.vfork) == .success(55))
      maker.tid -= 1
      depth -= 1
    }
    #expect(maker.model.call(.vfork) == .success(55))
    #expect(maker.takeTold() == [made, made, made, made])
    #expect(maker.model.cache.sharers == 0)
    // Those that were killed in it stay: beyond so many, the supervisor keeps what a maker needs.
    maker.atBirth = {}
    for thread in 0..<Int(POD_PAGE_SLEEPERS) { maker.model.occupySleeper(thread, owner: 5000) }
    #expect(maker.model.call(.vfork) == .success(55))
    #expect(
      maker.takeTold() == [
        POD_HYPERCALL_BIRTH_BEGIN.rawValue, POD_HYPERCALL_BIRTH_SLEEPS.rawValue,
        POD_HYPERCALL_BIRTH_WAKES.rawValue, POD_HYPERCALL_BIRTH_END.rawValue,
      ])
  }

  @Test("a thread whose number is somebody's name gets another one, whoever looks first")
  func numbers() throws {
    for removed in [nil, NewbornKernel.Protection.threads] {
      // Names are given out before the kernel makes the thread, before its maker looks, and after.
      for moment in 0..<3 {
        let maker = Maker(without: removed)
        let number: Int32 = 10
        var given: Set<Int32> = []
        func giveOut() {
          for _ in 0..<20 {
            if let name = try? maker.kernel.names.processes.announceBirth(
              by: Caller(
                thread: VirtualName(rawValue: Int32(given.count + 100)),
                process: NewbornKernel.makersName, physicalThread: PhysicalName(rawValue: 1)))
            {
              given.insert(name.rawValue)
            }
          }
        }
        maker.answer = Int(number)
        maker.atBirth = {
          if moment == 0 { giveOut() }
          maker.kernel.tasks[number] = .init(
            process: NewbornKernel.maker, parent: NewbornKernel.podInit,
            group: NewbornKernel.maker)
          if moment == 1 { giveOut() }
        }
        let result = maker.model.call(.clone, 0x10100, maker.stack)
        if moment == 2 { giveOut() }
        let isItsName = result == .success(Int(number))
        #expect(!given.isEmpty)
        let isClash = isItsName && given.contains(number)
        #expect(isClash == (removed != nil && moment == 2), "moment \(moment)")
        if !isItsName { #expect(maker.takeTold() == [made]) }
      }
    }
  }

  @Test("who waits has a child named that nobody has heard of, before the kernel gives it up")
  func waits() {
    let maker = Maker()
    maker.kernel.clone(17)
    var asked: [Syscall] = []
    maker.model.kernel = { call, arguments in
      if call == .getpid {
        maker.told.withLock { $0.append(UInt32(arguments[1])) }
        return 7
      }
      asked.append(call)
      if call == .waitid {
        UnsafeMutablePointer<Int32>(bitPattern: UInt(arguments[2]))?[4] = NewbornKernel.newborn
        UnsafeMutablePointer<Int32>(bitPattern: UInt(arguments[2]))?[2] = 1
        return 0
      }
      return call == .wait4 ? Int(NewbornKernel.newborn) : -38
    }
    #expect(maker.model.call(.wait4, -1) == .success(7))
    #expect(asked == [.waitid, .wait4])
    #expect(
      maker.takeTold() == [POD_HYPERCALL_NAME.rawValue, POD_HYPERCALL_WAITED.rawValue])
    _ = maker.kernel.takeIn(PhysicalName(rawValue: NewbornKernel.newborn))
    #expect(maker.model.call(.wait4, -1) == .success(7))
    #expect(maker.takeTold() == [POD_HYPERCALL_WAITED.rawValue])
  }
}

extension ProcessTable {
  /// Gives out names until so many are in use.
  fileprivate func fill(to count: Int) {
    while space.count < count, (try? space.allocate()) != nil {}
  }
}
