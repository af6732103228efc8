internal import CPodLayout
internal import PodCore
internal import Synchronization
internal import SystemPackage
internal import Testing

/// A kernel that knows who is whose child, and nothing else.
private final class FamilyKernel: BirthWitness, @unchecked Sendable {
  struct Task {
    var process: Int32
    var parent: Int32
    var isZombie = false
  }
  static let podInit: Int32 = 1000
  static let maker: Int32 = 1001
  static let outsider: Int32 = 999

  let names = PodNames(
    pod: PodID(rawValue: 1), system: SystemNames(), range: 1...40, capacity: 40)
  var tasks: [Int32: Task] = [
    podInit: Task(process: podInit, parent: 1), maker: Task(process: maker, parent: podInit),
    outsider: Task(process: outsider, parent: 1),
  ]
  /// Who was taken in.
  var taken: [Int32: VirtualName<ProcessID>] = [:]
  /// What of the supervisor's is left out.
  let removed: Protection?
  /// Done when a newborn is taken in.
  var meanwhile: () -> Void = {}
  private var next: Int32 = 1002

  enum Protection: String, CaseIterable {
    /// Whose child a number is that a maker says.
    case kinship
    /// Whether it still is when it has its name.
    case secondLook
    /// Who was taken in already, by what the kernel says.
    case known
    /// What an end leaves behind of births.
    case drop
    /// Who was killed before it could say anything.
    case lost
  }

  init(without removed: Protection? = nil) {
    self.removed = removed
    _ = try? names.processes.enter(
      PhysicalName(rawValue: Self.podInit), parent: nil, chosen: ProcessTable.initial,
      as: .sessionLeader)
    _ = try? names.processes.enter(
      PhysicalName(rawValue: Self.maker), parent: ProcessTable.initial, as: .groupLeader)
  }

  func fork(_ flags: UInt64) -> Int32 {
    defer { next += 1 }
    let isThread = flags & CloneFlags.thread != 0
    tasks[next] =
      isThread
      ? Task(process: Self.maker, parent: Self.podInit) : Task(process: next, parent: Self.maker)
    return next
  }

  // MARK: BirthWitness

  private var looks = 0

  func kinship(of task: PhysicalName<ProcessID>) -> Kinship? {
    looks += 1
    let isLeftOut = removed == .kinship || removed == .secondLook && looks > 1
    if isLeftOut {
      return Kinship(process: task, parent: PhysicalName(rawValue: Self.maker))
    }
    return tasks[task.rawValue].map {
      Kinship(
        process: PhysicalName(rawValue: $0.process), parent: PhysicalName(rawValue: $0.parent))
    }
  }

  func hasEnded(_ process: PhysicalName<ProcessID>) -> Bool {
    tasks[process.rawValue].map(\.isZombie) ?? true
  }

  func name(of task: PhysicalName<ProcessID>) -> VirtualName<ProcessID>? {
    removed == .known ? nil : taken[task.rawValue]
  }

  func takeIn(
    _ newborn: PhysicalName<ProcessID>, _ name: VirtualName<ProcessID>, of birth: PageBirth
  ) {
    taken[newborn.rawValue] = name
    meanwhile()
  }

  func takeBack(_ newborn: PhysicalName<ProcessID>, _ name: VirtualName<ProcessID>) {
    taken[newborn.rawValue] = nil
    names.processes.reaped(name)
  }
}

/// One birth, and what can happen to those who take part in it.
private final class Birth {
  enum Event: CaseIterable {
    case speaks, ends, makerDies, childDies, childIsReaped
  }
  let kernel: FamilyKernel
  let births = PageBirths()
  let flags: UInt64
  let child: Int32
  private let ticket: Int32
  /// What the newborn's maker and whoever waited for it were told.
  private(set) var told: [VirtualName<ProcessID>] = []
  private var hasSpoken = false
  private var wasAdopted = false

  static var maker: Caller {
    Caller(
      thread: VirtualName(rawValue: 2), process: VirtualName(rawValue: 2),
      physicalThread: PhysicalName(rawValue: FamilyKernel.maker))
  }

  init(_ flags: UInt64 = 17, without removed: FamilyKernel.Protection? = nil) throws {
    kernel = FamilyKernel(without: removed)
    self.flags = flags
    let transaction = Transaction(
      .clone, CallArguments(flags), by: Self.maker, names: kernel.names, host: NoHost())
    let begun = births.begin(
      transaction, PhysicalName(rawValue: FamilyKernel.maker),
      words: (RemoteAddress(rawValue: 0), RemoteAddress(rawValue: 0)),
      threadPointer: RemoteAddress(rawValue: 0))
    ticket = Int32(try begun.get())
    child = kernel.fork(flags)
  }

  private var isMakerThere: Bool { kernel.tasks[FamilyKernel.maker] != nil }

  /// - Returns: Whether it can happen now.
  func canHappen(_ event: Event) -> Bool {
    let task = kernel.tasks[child]
    return switch event {
    case .speaks: task != nil && task?.isZombie == false
    case .ends, .makerDies: isMakerThere
    case .childDies: task?.isZombie == false && flags & CloneFlags.thread == 0
    case .childIsReaped: task?.isZombie == true
    }
  }

  func happen(_ event: Event) {
    switch event {
    case .speaks: speak()
    case .ends: end(saying: child)
    case .makerDies:
      kernel.tasks[FamilyKernel.maker] = nil
      if kernel.tasks[child]?.process == FamilyKernel.maker { kernel.tasks[child] = nil }
      kernel.tasks[child]?.parent = FamilyKernel.podInit
      for (task, name) in kernel.taken where kernel.tasks[task] == nil {
        kernel.names.processes.exited(name)
      }
      kernel.names.processes.reaped(VirtualName(rawValue: 2))
      if kernel.removed != .drop { births.drop(PhysicalName(rawValue: FamilyKernel.maker)) }
    case .childDies:
      kernel.tasks[child]?.isZombie = true
      if let name = kernel.taken[child] { kernel.names.processes.exited(name) }
    case .childIsReaped: reap()
    }
  }

  private func speak() {
    let physical = PhysicalName<ProcessID>(rawValue: child)
    hasSpoken = true
    if (try? births.born(physical, ticket, kernel) { _, _, _ in }) ?? nil == nil { adopt() }
  }

  /// As the supervisor does it, which looks for a birth first: so what its maker is told may be another name.
  func adoptEarly() {
    adopt()
    wasAdopted = true
  }

  private func adopt() {
    guard kernel.taken[child] == nil, let task = kernel.tasks[child] else { return }
    let parent = VirtualName<ProcessID>(rawValue: task.parent == FamilyKernel.podInit ? 1 : 2)
    kernel.taken[child] = try? kernel.names.processes.initialize(
      PhysicalName(rawValue: child),
      by: Caller(
        thread: VirtualName(rawValue: 0), process: parent, physicalThread: PhysicalName(rawValue: 0)
      ),
      isThread: flags & CloneFlags.thread != 0, sharesParent: false)
  }

  /// The maker says what number the kernel gave.
  func end(saying number: Int32) {
    let result = births.end(
      ticket, PhysicalName(rawValue: FamilyKernel.maker), stack: RemoteAddress(rawValue: 0),
      .success(Int(number)), kernel
    ) { _, _ in }
    if case .success(let name)? = result { told.append(VirtualName(rawValue: Int32(name))) }
  }

  private func reap() {
    kernel.tasks[child] = nil
    if let name = kernel.taken[child] {
      told.append(name)
      kernel.names.processes.reaped(name)
    } else if isMakerThere {
      let physical = PhysicalName<ProcessID>(rawValue: child)
      let maker = PhysicalName<ProcessID>(rawValue: FamilyKernel.maker)
      if kernel.removed != .lost, let name = births.lose(physical, of: maker) {
        told.append(name)
      } else if let name = try? kernel.names.processes.initialize(
        physical, by: Self.maker, isThread: false, sharesParent: false)
      {
        kernel.names.processes.reaped(name)
        told.append(name)
      }
    }
    kernel.taken[child] = nil
  }

  /// What is wrong when nothing more happens; nil when all is right.
  var violation: String? {
    let processes = kernel.names.processes
    let isAlive = kernel.tasks[child] != nil
    var expected: Set<Int32> = [FamilyKernel.podInit]
    if isMakerThere { expected.insert(FamilyKernel.maker) }
    if isAlive, kernel.taken[child] != nil { expected.insert(child) }
    let entries = processes.space.entries.filter { !$0.isReaped }
    let found = entries.map(\.physical.rawValue).filter { $0 != 0 }
    if Set(found) != expected || found.count != expected.count {
      return "names of \(found), and there are \(expected)"
    }
    let announced = entries.filter { $0.state == .allocated }
    if hasSpoken, isAlive, kernel.taken[child] == nil { return "who has spoken has no name" }
    if births.count == 0, !announced.isEmpty { return "a name is nobody's: \(announced)" }
    if !isMakerThere, births.count > 0 { return "a birth of a maker that is gone" }
    if wasAdopted { return nil }
    if Set(told).count > 1 { return "one child was called \(told)" }
    if let name = kernel.taken[child], let other = told.first, other != name {
      return "\(name) was called \(other)"
    }
    return nil
  }
}

/// The kernel is not asked about groups.
private final class NoHost: TransactionHost {
  private final class State: CallerState {
    var threadPointer: RemoteAddress? { nil }
    var dumpable: Int32?
  }
  let callerState: any CallerState = State()
  func willRun(_ step: Step, on name: Int32) -> Bool { true }
  func perform(_: Syscall, _: CallArguments, for _: Caller) throws(Errno) -> Int {
    throw .noFunction
  }
  func read(_: RemoteAddress, into _: UnsafeMutableRawBufferPointer) throws(Errno) {
    throw .badAddress
  }
  func write(_: UnsafeRawBufferPointer, to _: RemoteAddress) throws(Errno) { throw .badAddress }
  func compareExchange(
    _: RemoteAddress, expected _: UInt32, desired _: UInt32
  ) throws(Errno) -> Bool { throw .badAddress }
  func scratch(_: UnsafeRawBufferPointer) throws(Errno) -> RemoteAddress { throw .noMemory }
}

/// Births that the page makes, in every order of what their parts say and of their ends.
@Suite("Births in the page") struct BirthTests {
  /// Every order in which some of the events can happen.
  private static let orders: [[Birth.Event]] = {
    var found: [[Birth.Event]] = [[]]
    var last = found
    for _ in Birth.Event.allCases {
      last = last.flatMap { order in
        Birth.Event.allCases.filter { !order.contains($0) }.map { order + [$0] }
      }
      found += last
    }
    return found
  }()

  private static let flags: [UInt64] = [17, 0x4111, 0x10100]

  /// - Returns: The first order after which something is wrong, and what.
  private func violation(
    _ flags: UInt64, without removed: FamilyKernel.Protection? = nil,
    _ prepare: (Birth) -> Void = { _ in }
  ) throws -> String? {
    for order in Self.orders {
      let birth = try Birth(flags, without: removed)
      prepare(birth)
      var happened: [Birth.Event] = []
      for event in order where birth.canHappen(event) {
        birth.happen(event)
        happened.append(event)
        if let violation = birth.violation { return "\(violation) after \(happened)" }
      }
    }
    return nil
  }

  @Test("everybody has one name, whoever says first that it is there", arguments: flags)
  func everyOrder(flags: UInt64) throws {
    #expect(Self.orders.count == 326)
    let violation = try violation(flags)
    #expect(violation == nil, "\(violation ?? "")")
  }

  @Test("who was taken in before it said so keeps its name", arguments: flags)
  func takenInEarly(flags: UInt64) throws {
    let violation = try violation(flags) { $0.adoptEarly() }
    #expect(violation == nil, "\(violation ?? "")")
    #expect(try self.violation(flags, without: .known) { $0.adoptEarly() } != nil)
  }

  @Test("what an end leaves behind, and who was killed unheard, are seen to")
  func protections() throws {
    #expect(try violation(17, without: .drop) != nil)
    #expect(try violation(17, without: .lost) != nil)
  }

  @Test("a maker that says somebody else's number gets no name for it")
  func wrongNumber() throws {
    let birth = try Birth()
    birth.end(saying: FamilyKernel.outsider)
    #expect(birth.kernel.taken == [:])
    #expect(birth.violation == nil)
    let unprotected = try Birth(without: .kinship)
    unprotected.end(saying: FamilyKernel.outsider)
    #expect(unprotected.kernel.taken != [:])
  }

  @Test("a number that becomes somebody else's while it gets its name has none")
  func reusedNumber() throws {
    for removed in [nil, FamilyKernel.Protection.secondLook] {
      let birth = try Birth(without: removed)
      // Its end was waited for by another thread, and its number is an outsider's.
      birth.kernel.meanwhile = {
        birth.kernel.tasks[birth.child] = FamilyKernel.Task(process: birth.child, parent: 1)
      }
      birth.happen(.ends)
      #expect(birth.kernel.taken.isEmpty == (removed == nil))
    }
  }

  @Test("births of one thread that began in each other's middle each have their own name")
  func nested() throws {
    let kernel = FamilyKernel()
    let births = PageBirths()
    func begin(_ flags: UInt64) throws -> Int32 {
      let transaction = Transaction(
        .clone, CallArguments(flags), by: Birth.maker, names: kernel.names, host: NoHost())
      let begun = births.begin(
        transaction, PhysicalName(rawValue: FamilyKernel.maker),
        words: (RemoteAddress(rawValue: 0), RemoteAddress(rawValue: 0)),
        threadPointer: RemoteAddress(rawValue: 0))
      return Int32(try begun.get())
    }
    func end(_ ticket: Int32, _ number: Int32) throws -> Int {
      let result = births.end(
        ticket, PhysicalName(rawValue: FamilyKernel.maker), stack: RemoteAddress(rawValue: 0),
        .success(Int(number)), kernel
      ) { _, _ in }
      return try #require(result).get()
    }
    let outer = try begin(17)
    let first = kernel.fork(17)
    let inner = try begin(0x10100)
    let second = kernel.fork(0x10100)
    #expect(try end(inner, second) == Int(try #require(kernel.taken[second]).rawValue))
    #expect(try end(outer, first) == Int(try #require(kernel.taken[first]).rawValue))
    let entries = kernel.names.processes.liveTasks
    #expect(entries.count == 4)
    #expect(entries.filter(\.isThread).map(\.physical.rawValue) == [second])
    // Those that a long jump leaves behind are so many at most.
    for _ in 0..<100 { _ = try begin(17) }
    #expect(births.count <= 34)
    births.drop(PhysicalName(rawValue: FamilyKernel.maker))
    #expect(births.count == 0)
    #expect(kernel.names.processes.space.entries.allSatisfy { $0.state != .allocated })
  }

  @Test("the page asks before and tells after, and counts who shares its memory")
  func page() throws {
    let kernel = FamilyKernel()
    let model = ModelProcess(table: kernel.names.processes.space.memory.start)
    let hypercalls = Mutex<[UInt64]>([])
    var answers: [Int] = [55]
    var sharers: UInt32 = 0
    model.kernel = { call, arguments in
      guard call == .getpid, arguments[0] == UInt64(POD_PAGE_MAGIC) else {
        sharers = model.cache.sharers
        return answers.removeFirst()
      }
      hypercalls.withLock { $0.append(arguments[1]) }
      return switch UInt32(arguments[1]) {
      case POD_HYPERCALL_BIRTH_BEGIN.rawValue: 9
      case POD_HYPERCALL_BIRTH_END.rawValue: Int(truncatingIfNeeded: arguments[2] &+ arguments[3])
      default: 0
      }
    }
    func told() -> [UInt32] {
      hypercalls.withLock { hypercalls in
        defer { hypercalls = [] }
        return hypercalls.map { UInt32($0) }
      }
    }
    let (begin, end) = (POD_HYPERCALL_BIRTH_BEGIN.rawValue, POD_HYPERCALL_BIRTH_END.rawValue)
    #expect(model.call(.fork) == .success(64))
    #expect(told() == [begin, end])
    #expect(sharers == 0)
    answers = [56]
    #expect(model.call(.vfork) == .success(56))
    #expect(
      told() == [
        begin, POD_HYPERCALL_BIRTH_SLEEPS.rawValue, POD_HYPERCALL_BIRTH_WAKES.rawValue, end,
      ])
    #expect(sharers == 1)
    #expect(model.cache.sharers == 0)
    answers = [-11]
    #expect(model.call(.vfork) == .failure(.resourceTemporarilyUnavailable))
    #expect(model.cache.sharers == 0)
    // Two on one stack at once, and a tracer's flags: the program's own instruction.
    for flags in [0x100, 0x800011, 0x2011] {
      _ = told()
      answers = [57]
      #expect(model.call(.clone, flags) == .success(57))
      #expect(told() == [])
    }
    // What the page puts on a newborn's stack is below the red zone.
    try withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 512) { stack in
      stack.initialize(repeating: 0xEE)
      let top = try #require(stack.baseAddress) + 512
      answers = [58]
      #expect(model.call(.clone, 0x111, Int(bitPattern: top)) == .success(67))
      #expect(model.cache.sharers == 1)
      let below = Int(POD_PAGE_NEWBORN_SIZE) / 8
      #expect(stack[(512 - 16)...].allSatisfy { $0 == 0xEE })
      #expect(stack[..<(512 - 16 - below)].allSatisfy { $0 == 0xEE })
      #expect(stack[512 - 16 - below] == 9)
      #expect(stack[512 - 16 - below + 3] == UInt64(UInt(bitPattern: top)))
    }
  }
}
