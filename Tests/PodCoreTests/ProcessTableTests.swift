internal import PodCore
internal import Testing

@Suite struct ProcessTableTests {
  private typealias Virtual = VirtualName<ProcessID>
  private typealias Physical = PhysicalName<ProcessID>

  private let names: PodNames
  private let processes: ProcessTable
  private let program: Virtual
  private let caller: Caller

  init() throws {
    names = PodNames(
      pod: PodID(rawValue: 1), system: SystemNames(), range: 1...20, capacity: 64, lateNames: 2)
    processes = names.processes
    try processes.enter(
      Physical(rawValue: 100), parent: nil, chosen: ProcessTable.initial, as: .sessionLeader)
    program = try processes.enter(
      Physical(rawValue: 101), parent: ProcessTable.initial, as: .sessionLeader)
    caller = Caller(
      thread: VirtualName(rawValue: 2), process: program,
      physicalThread: PhysicalName(rawValue: 101))
  }

  private func fork(_ physical: Int32, by maker: Caller? = nil) throws -> Virtual {
    let maker = maker ?? caller
    let name = try processes.announceBirth(by: maker)
    try processes.initialize(
      Physical(rawValue: physical), by: maker, isThread: false, sharesParent: false)
    processes.endBirth(by: maker)
    return name
  }

  private func end(_ name: Virtual) {
    processes.exited(name)
    processes.reaped(name)
  }

  @Test("a child is in its parent's group and session, and the announced name is its own")
  func birth() throws {
    let name = try processes.announceBirth(by: caller)
    #expect(try processes.space.entry(name).state == .allocated)
    #expect(processes.newborn(Physical(rawValue: 102), of: caller) == nil)
    for _ in 0..<2 {
      #expect(
        try processes.initialize(
          Physical(rawValue: 102), by: caller, isThread: false, sharesParent: false) == name)
    }
    #expect(processes.newborn(Physical(rawValue: 102), of: caller) == name)
    let entry = try processes.task(name)
    #expect(entry.parent == program && entry.group == program && entry.session == program)
    #expect(processes.caller(PhysicalName(rawValue: 102))?.process == name)
    processes.endBirth(by: caller)
    #expect(try processes.task(name).physical.rawValue == 102)
  }

  @Test("a birth that doesn't happen leaves nothing, also when it is followed by another")
  func noBirth() throws {
    let before = processes.space.count
    let first = try processes.announceBirth(by: caller)
    _ = try processes.announceBirth(by: caller)
    #expect(processes.space.isFree(first))
    processes.endBirth(by: caller)
    processes.endBirth(by: caller)
    #expect(processes.space.count == before)
    end(program)
    #expect(processes.space.count == 1)
  }

  @Test("a child that ended and was waited for before its parent's epilogue is still found by it")
  func shortLife() throws {
    let name = try processes.announceBirth(by: caller)
    try processes.initialize(
      Physical(rawValue: 102), by: caller, isThread: false, sharesParent: false)
    end(name)
    #expect(processes.newborn(Physical(rawValue: 102), of: caller) == name)
    processes.endBirth(by: caller)
    #expect(processes.space.isFree(name))
  }

  @Test("a newborn whose parent is gone belongs to init and to its group all the same")
  func orphan() throws {
    let parent = try fork(102)
    let maker = Caller(
      thread: VirtualName(rawValue: parent.rawValue), process: parent,
      physicalThread: PhysicalName(rawValue: 102))
    let name = try processes.announceBirth(by: maker)
    end(parent)
    try processes.initialize(
      Physical(rawValue: 103), by: maker, isThread: false, sharesParent: false)
    let entry = try processes.task(name)
    #expect(entry.parent == ProcessTable.initial)
    #expect(entry.group == program && entry.session == program)
  }

  @Test("the kernel's word counts for the group of a newborn whose maker was moved meanwhile")
  func movedMaker() throws {
    let parent = try fork(102)
    let maker = Caller(
      thread: VirtualName(rawValue: parent.rawValue), process: parent,
      physicalThread: PhysicalName(rawValue: 102))
    let name = try processes.announceBirth(by: maker)
    try processes.move(parent, toGroup: parent)
    try processes.initialize(
      Physical(rawValue: 103), by: maker, isThread: false, sharesParent: false,
      group: Physical(rawValue: 102))
    #expect(try processes.task(name).group == parent)
    end(name)
    end(parent)
    end(program)
    #expect(processes.space.count == 1)
  }

  @Test("a thread keeps its number while that is free, and gives it up when it ends")
  func threads() throws {
    try processes.announceThread(by: caller)
    let name = try processes.initialize(
      Physical(rawValue: 15), by: caller, isThread: true, sharesParent: false)
    #expect(name.rawValue == 15)
    #expect(processes.caller(PhysicalName(rawValue: 15))?.process == program)
    #expect(try processes.task(name).isThread)
    #expect(processes.liveProcesses.count == 2)
    processes.exited(Physical(rawValue: 15))
    #expect(processes.newborn(Physical(rawValue: 15), of: caller) == name)
    processes.endBirth(by: caller)
    #expect(processes.space.isFree(name))
    #expect(processes.virtual(of: Physical(rawValue: 15)) == name)
  }

  @Test("a group keeps its leader's number until its last member is gone (COVERAGE C15)")
  func groupOutlivesLeader() throws {
    let leader = try fork(102)
    let member = try fork(103)
    try processes.move(leader, toGroup: leader)
    try processes.move(member, toGroup: leader)
    end(leader)
    #expect(!processes.space.isFree(leader))
    #expect(processes.virtual(of: Physical(rawValue: 102)) == leader)
    #expect(processes.members(ofGroup: leader).map(\.virtual) == [member])
    #expect(throws: (any Error).self) { try processes.task(leader) }
    #expect(processes.zombie(leader) == nil)
    try processes.move(member, toGroup: program)
    #expect(processes.space.isFree(leader))
    #expect(throws: NameError.unknownName) { try processes.move(member, toGroup: leader) }
  }

  @Test("what was waited for isn't moved any more, however late the call's epilogue is")
  func lateMove() throws {
    let child = try fork(102)
    try processes.space.hold(child)
    end(child)
    try processes.move(child, toGroup: child)
    try processes.makeSession(child)
    try processes.space.release(child)
    #expect(processes.space.isFree(child))
    end(program)
    #expect(processes.space.count == 1)
  }

  @Test("a session and a group of its own, and their ends, leave no name")
  func sessions() throws {
    let child = try fork(102)
    try processes.makeSession(child)
    try processes.makeSession(child)
    let entry = try processes.task(child)
    #expect(entry.group == child && entry.session == child)
    end(child)
    #expect(processes.space.isFree(child))
  }

  @Test("an end that is reported late, by name, doesn't hit who has the number now")
  func lateEnd() throws {
    let first = try fork(102)
    let second = try fork(102)
    processes.exited(first)
    #expect(try processes.task(second).state == .live)
    #expect(processes.zombie(first) != nil)
    processes.reaped(first)
    processes.reaped(first)
    #expect(try processes.task(second).physical.rawValue == 102)
    #expect(processes.space.isFree(first))
  }

  @Test("the children of a process that ended are init's, in the table too")
  func reparenting() throws {
    let child = try fork(102)
    processes.exited(program)
    #expect(try processes.task(child).parent == ProcessTable.initial)
    processes.reaped(program)
    // Its session's and group's number stays.
    #expect(!processes.space.isFree(program))
    end(child)
    #expect(processes.space.isFree(program))
  }

  @Test("a thread that calls exec takes the process's number, also when its leader had ended")
  func exec() throws {
    let name = try processes.initialize(
      Physical(rawValue: 15), by: caller, isThread: true, sharesParent: false)
    processes.exited(Physical(rawValue: 101))
    processes.execed(leader: Physical(rawValue: 101), former: Physical(rawValue: 15))
    #expect(processes.space.isFree(name))
    #expect(try processes.task(program).state == .live)
  }

  @Test("late names are the latest, and a newborn's number is its own")
  func lateNames() throws {
    let children = try [102, 103, 104].map { try fork($0) }
    for child in children { end(child) }
    #expect(processes.virtual(of: Physical(rawValue: 102)) == nil)
    #expect(processes.virtual(of: Physical(rawValue: 103)) == children[1])
    #expect(processes.virtual(of: Physical(rawValue: 104)) == children[2])
    let next = try fork(104)
    #expect(processes.virtual(of: Physical(rawValue: 104)) == next)
    try processes.space.hold(next)
    end(next)
    try processes.space.release(next)
    #expect(processes.virtual(of: Physical(rawValue: 104)) == next)
  }

  @Test("ten thousand births and ends leave the table as it was")
  func noLeak() throws {
    let before = processes.space.count
    for turn in 0..<10_000 {
      let child = try fork(200 + Int32(turn % 300))
      if turn % 3 == 0 { try processes.makeSession(child) }
      if turn % 5 == 0 { try processes.move(child, toGroup: child) }
      end(child)
    }
    #expect(processes.space.count == before)
    #expect(processes.system.count == before)
  }
}
