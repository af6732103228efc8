internal import PodCore
internal import PodMock
internal import Synchronization
internal import Testing

@Suite struct NamespaceTests {
  private typealias Virtual = VirtualName<ProcessID>
  private typealias Physical = PhysicalName<ProcessID>

  private let system = SystemNames<ProcessID>()

  private func make(
    _ range: ClosedRange<Int32> = 1...8, capacity: Int = 64, _ policy: AllocationPolicy = .compact,
    pod: UInt32 = 1
  ) -> Namespace<ProcessID> {
    Namespace(
      pod: PodID(rawValue: pod), range: range, capacity: capacity, policy: policy, system: system)
  }

  private func live(
    _ space: Namespace<ProcessID>, _ physical: Int32
  ) throws(NameError) -> Virtual {
    let name = try space.allocate()
    try space.bind(name, to: Physical(rawValue: physical))
    return name
  }

  @Test("a name is allocated, live, dying and free, in this order only")
  func states() throws {
    let space = make()
    let name = try space.allocate()
    #expect(try space.entry(name).state == .allocated)
    #expect(throws: NameError.unknownName) { try space.retire(name) }
    #expect(throws: NameError.unknownName) { try space.revive(name) }
    #expect(throws: NameError.unknownName) { try space.rebind(name, to: Physical(rawValue: 9)) }
    #expect(throws: NameError.unknownName) { try space.bind(name, to: Physical(rawValue: 0)) }
    try space.bind(name, to: Physical(rawValue: 100))
    #expect(throws: NameError.unknownName) { try space.bind(name, to: Physical(rawValue: 101)) }
    #expect(throws: NameError.unknownName) { try space.giveBack(name) }
    #expect(throws: NameError.unknownName) { try space.revive(name) }
    #expect(try space.entry(Physical(rawValue: 100)).virtual == name)
    #expect(system.owner(of: Physical(rawValue: 100))?.name == name)
    try space.retire(name)
    #expect(try space.entry(name).state == .dying)
    try space.revive(name)
    #expect(try space.entry(name).state == .live)
    try space.retire(name)
    try space.reap(name)
    #expect(throws: NameError.unknownName) { try space.entry(name) }
    #expect(throws: NameError.unknownName) { try space.entry(Physical(rawValue: 100)) }
    #expect(system.count == 0 && space.count == 0 && space.isFree(name))
  }

  @Test("a name that is given back is free, unless somebody holds it")
  func giveBack() throws {
    let space = make()
    let name = try space.allocate()
    try space.hold(name)
    try space.giveBack(name)
    #expect(try space.entry(name).isReaped)
    #expect(!space.isFree(name))
    try space.release(name)
    #expect(space.isFree(name))
    #expect(throws: NameError.unknownName) { try space.giveBack(name) }
  }

  @Test("a dying name stays while it is held, used or not reaped", arguments: 0..<6)
  func lastClaim(order: Int) throws {
    let space = make()
    let name = try live(space, 100)
    try space.retire(name)
    try space.hold(name)
    try space.hold(name)
    try space.retain(name)
    let ends: [(Namespace<ProcessID>) throws -> Void] = [
      { try $0.release(name) }, { try $0.drop(name) }, { try $0.reap(name) },
    ]
    try space.release(name)
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]][order]
    for end in orders {
      #expect(!space.isFree(name))
      try ends[end](space)
    }
    #expect(space.isFree(name) && space.count == 0)
    // Claims that don't exist can't be given up.
    #expect(throws: NameError.unknownName) { try space.release(name) }
  }

  @Test("numbers are the next free ones, cyclic, and low ones stay with those who had them first")
  func compactPolicy() throws {
    let space = make(1...4)
    let names = try (0..<4).map { _ in try space.allocate() }
    #expect(names.map(\.rawValue) == [1, 2, 3, 4])
    #expect(throws: NameError.rangeExhausted) { try space.allocate() }
    try space.giveBack(names[1])
    try space.giveBack(names[2])
    #expect(try space.allocate().rawValue == 2)
    try space.giveBack(names[0])
    #expect(try space.allocate().rawValue == 3)
    #expect(try space.allocate().rawValue == 1)

    let large = make(1...2_000, capacity: 4_000)
    for _ in 1...2_000 { _ = try large.allocate() }
    try large.giveBack(Virtual(rawValue: 5))
    try large.giveBack(Virtual(rawValue: 299))
    try large.giveBack(Virtual(rawValue: 300))
    #expect(try large.allocate().rawValue == 300)
    // Only when nothing else is free.
    #expect(try large.allocate().rawValue == 5)
  }

  @Test("a preserving name is the physical number while that is free")
  func preservingPolicy() throws {
    let space = make(1...200, .preserving)
    #expect(try space.allocate(for: Physical(rawValue: 150)).rawValue == 150)
    #expect(try space.allocate(for: Physical(rawValue: 150)).rawValue == 1)
    #expect(try space.allocate(for: Physical(rawValue: 70_000)).rawValue == 2)
    #expect(try space.allocate().rawValue == 3)
    let compact = make(1...200, pod: 2)
    #expect(
      try compact.allocate(for: Physical(rawValue: 9), policy: .preserving).rawValue == 9)
  }

  @Test("a chosen number is given, in use, or none of the pod's")
  func chosen() throws {
    let space = make()
    #expect(try space.allocate(chosen: Virtual(rawValue: 5)).rawValue == 5)
    #expect(throws: NameError.nameInUse) { try space.allocate(chosen: Virtual(rawValue: 5)) }
    for number in [9, 0, -1, .max, .min] as [Int32] {
      #expect(throws: NameError.outOfRange) {
        try space.allocate(chosen: Virtual(rawValue: number))
      }
    }
    // The policy's order is as if it hadn't been chosen.
    #expect(space.cursor == 1)
    #expect(try space.allocate().rawValue == 1)
    #expect(try space.allocate(chosen: Virtual(rawValue: 2)).rawValue == 2)
    #expect(try space.allocate().rawValue == 3)
  }

  @Test("a chosen number of something that is dying is in use until nothing shows it")
  func chosenDying() throws {
    let space = make()
    let name = try live(space, 100)
    try space.hold(name)
    try space.retire(name)
    try space.reap(name)
    #expect(throws: NameError.nameInUse) { try space.allocate(chosen: name) }
    try space.release(name)
    #expect(try space.allocate(chosen: name) == name)
  }

  @Test("a chosen number may be a physical one, which then finds no name of its own number")
  func chosenPhysical() throws {
    let space = make(1...200)
    _ = try live(space, 150)
    #expect(
      try space.allocate(chosen: Virtual(rawValue: 150), avoidingPhysical: true).rawValue == 150)
    let thread = try space.allocate(for: Physical(rawValue: 150), policy: .preserving)
    #expect(thread.rawValue == 2)
  }

  @Test("a full table takes a chosen number only when a leased one can be taken back")
  func chosenWhenFull() throws {
    let space = make(1...100, capacity: 2)
    _ = try space.allocate()
    let leased = try space.allocate()
    #expect(throws: NameError.rangeExhausted) { try space.allocate(chosen: Virtual(rawValue: 50)) }
    try space.lease(leased, to: Self.lessee)
    #expect(try space.allocate(chosen: Virtual(rawValue: 50)).rawValue == 50)
    #expect(space.isFree(leased) && space.lessees.isEmpty)
  }

  private static let lessee = VirtualName<ProcessID>(rawValue: 7)
  private static let other = VirtualName<ProcessID>(rawValue: 8)

  @Test("a leased name is nobody's: it isn't found, and nobody else gets it")
  func leased() throws {
    let space = make()
    let name = try space.allocate()
    try space.lease(name, to: Self.lessee)
    #expect(!space.isFree(name) && space.count == 1)
    #expect(space.entries.isEmpty)
    let uses: [(Virtual) throws -> Void] = [
      { _ = try space.entry($0) }, { try space.hold($0) }, { try space.retain($0) },
      { try space.giveBack($0) }, { try space.bind($0, to: Physical(rawValue: 100)) },
      { try space.retire($0) }, { try space.reap($0) }, { try space.setLink(0, of: $0, to: 1) },
      { try space.lease($0, to: Self.other) }, { try space.redeem($0, by: Self.other) },
    ]
    for (index, use) in uses.enumerated() {
      #expect(throws: NameError.unknownName, "use \(index)") { try use(name) }
    }
    #expect(throws: NameError.nameInUse) { try space.allocate(chosen: name) }
    for number in 2...8 as ClosedRange<Int32> {
      #expect(try space.allocate().rawValue == number)
    }
    #expect(space.leased(to: Self.lessee) == [name])
    try space.redeem(name, by: Self.lessee)
    #expect(throws: NameError.unknownName) { try space.redeem(name, by: Self.lessee) }
    try space.bind(name, to: Physical(rawValue: 100))
    #expect(try space.entry(name).physical.rawValue == 100)
    #expect(space.lessees.isEmpty)
  }

  @Test("only an allocated name without references can be leased")
  func notLeasable() throws {
    let space = make()
    let alive = try live(space, 100)
    let held = try space.allocate()
    try space.hold(held)
    let used = try space.allocate()
    try space.retain(used)
    for name in [alive, held, used, Virtual(rawValue: 8)] {
      #expect(throws: NameError.unknownName) { try space.lease(name, to: Self.lessee) }
    }
    #expect(space.lessees.isEmpty)
  }

  @Test("what a lessee didn't use is free when its lease ends")
  func leaseEnds() throws {
    let space = make()
    let names = try (0..<4).map { _ in try space.allocate() }
    for name in names { try space.lease(name, to: Self.lessee) }
    try space.redeem(names[0], by: Self.lessee)
    space.endLease(of: Self.lessee)
    #expect(!space.isFree(names[0]))
    #expect(names[1...].allSatisfy { space.isFree($0) })
    space.endLease(of: Self.lessee)
    #expect(space.count == 1 && space.room == 7)
    #expect(throws: NameError.unknownName) { try space.redeem(names[1], by: Self.lessee) }
  }

  @Test("unused leased names are taken back one by one when no other is free, and not a plan's")
  func leaseTakenBack() throws {
    let space = make(1...6)
    let names = try (0..<6).map { _ in try space.allocate() }
    for name in names[0..<3] { try space.lease(name, to: Self.lessee) }
    for name in names[3..<5] { try space.lease(name, to: Self.other) }
    try space.lease(names[5], to: Virtual(rawValue: 0))
    #expect(space.room == 5)
    // From whoever has most, what would be used last.
    #expect(try space.allocate() == names[2])
    #expect(space.leased(to: Self.lessee) == [names[0], names[1]])
    #expect(throws: NameError.unknownName) { try space.redeem(names[2], by: Self.lessee) }
    try space.redeem(names[0], by: Self.lessee)
    for _ in 0..<3 { _ = try space.allocate() }
    #expect(throws: NameError.rangeExhausted) { try space.allocate() }
    #expect(space.room == 0)
    try space.redeem(names[5], by: Virtual(rawValue: 0))
  }

  @Test("a leased number that became a physical one waits until it isn't any more")
  func leasedPhysical() throws {
    let space = make()
    let name = try space.allocate()
    try space.lease(name, to: Self.lessee)
    let task = try live(space, name.rawValue)
    #expect(throws: NameError.nameInUse) {
      try space.redeem(name, by: Self.lessee, avoidingPhysical: true)
    }
    try space.reap(task)
    try space.redeem(name, by: Self.lessee, avoidingPhysical: true)
  }

  @Test("a name can be held so often, and not once more")
  func holds() throws {
    let space = make()
    let name = try live(space, 100)
    for _ in 0..<Int(UInt16.max) { try space.hold(name) }
    #expect(throws: NameError.rangeExhausted) { try space.hold(name) }
    try space.reap(name)
    for _ in 0..<Int(UInt16.max) {
      #expect(!space.isFree(name))
      try space.release(name)
    }
    #expect(space.isFree(name))
  }

  @Test("the highest number of all is given out like others")
  func highestNumber() throws {
    let space = make((Int32.max - 2)...Int32.max)
    let names = try (0..<3).map { _ in try space.allocate() }
    #expect(names.map(\.rawValue) == [.max - 2, .max - 1, .max])
    #expect(throws: NameError.rangeExhausted) { try space.allocate() }
    try space.giveBack(names[2])
    #expect(try space.allocate(avoidingPhysical: true).rawValue == .max)
  }

  @Test("numbers that are live physical names are passed over where calls accept both")
  func avoidingPhysical() throws {
    let space = make(1...4)
    let first = try live(space, 2)
    #expect(first.rawValue == 1)
    #expect(try space.allocate(avoidingPhysical: true).rawValue == 3)
    try space.retire(first)
    #expect(try space.allocate(avoidingPhysical: true).rawValue == 4)
    #expect(try space.allocate(avoidingPhysical: true).rawValue == 2)
  }

  @Test("a full table refuses names, and takes them again later")
  func capacity() throws {
    let space = make(1...100, capacity: 3)
    let names = try (0..<3).map { _ in try space.allocate() }
    #expect(throws: NameError.rangeExhausted) { try space.allocate() }
    try space.giveBack(names[1])
    for turn in 0..<50 {
      let name = try live(space, 1_000 + Int32(turn))
      #expect(throws: NameError.rangeExhausted) { try space.allocate() }
      try space.reap(name)
    }
    #expect(space.count == 2)
  }

  @Test("a number that was reused means who has it now, and the oldest that ended for waits")
  func reusedNumber() throws {
    let space = make()
    let physical = Physical(rawValue: 100)
    let first = try live(space, 100)
    // The kernel has reused the number before the end of the first was seen here.
    let second = try live(space, 100)
    #expect(try space.entry(first).state == .dying)
    #expect(try space.entry(physical).virtual == second)
    #expect(try space.dyingEntry(physical).virtual == first)
    try space.retire(second)
    #expect(try space.entry(physical).virtual == second)
    #expect(try space.dyingEntry(physical).virtual == first)
    try space.hold(first)
    #expect(space.isHeld(physical))
    try space.reap(first)
    #expect(try space.dyingEntry(physical).virtual == second)
    try space.release(first)
    #expect(!space.isHeld(physical))
    #expect(system.owner(of: physical)?.name == second)
    try space.reap(second)
    #expect(throws: NameError.unknownName) { try space.dyingEntry(physical) }
    #expect(system.count == 0)
  }

  @Test("the end of an old owner doesn't take a number from its new one in another pod")
  func reusedElsewhere() throws {
    let space = make()
    let other = make(pod: 2)
    let name = try live(space, 100)
    let later = try live(other, 100)
    try space.reap(name)
    #expect(system.owner(of: Physical(rawValue: 100))?.pod == PodID(rawValue: 2))
    #expect(throws: NameError.unknownName) { try space.entry(Physical(rawValue: 100)) }
    #expect(try other.entry(Physical(rawValue: 100)).virtual == later)
  }

  @Test("a name that moves to another number is found there only, and takes it over")
  func rebind() throws {
    let space = make()
    let name = try live(space, 100)
    let other = try live(space, 101)
    try space.rebind(name, to: Physical(rawValue: 101))
    #expect(throws: NameError.unknownName) { try space.entry(Physical(rawValue: 100)) }
    #expect(try space.entry(Physical(rawValue: 101)).virtual == name)
    #expect(try space.entry(other).state == .dying)
    #expect(system.owner(of: Physical(rawValue: 100)) == nil)
    #expect(system.owner(of: Physical(rawValue: 101))?.name == name)
  }

  @Test("the list of entries is what was given out and not freed")
  func entries() throws {
    let space = make()
    #expect(space.entries.isEmpty)
    let names = try (0..<5).map { try live(space, 100 + Int32($0)) }
    try space.setLink(2, of: names[3], to: 77)
    try space.setThread(true, of: names[4])
    try space.reap(names[1])
    #expect(space.entries.map(\.virtual) == [names[0], names[2], names[3], names[4]])
    #expect(space.entries[2].group.rawValue == 77)
    #expect(space.entries.filter(\.isThread).map(\.virtual) == [names[4]])
  }

  @Test("a namespace that ends takes its numbers out of the host's table")
  func ends() throws {
    do {
      let space = make()
      _ = try live(space, 100)
      _ = try space.allocate()
      #expect(system.count == 1)
    }
    #expect(system.count == 0)
  }

  @Test("the look-ups of the number alone agree with those of the entry, in every state")
  func numbersAlone() throws {
    // Fewer buckets than names in a chain: long chains are gone through to their ends.
    let space = make(1...4_000, capacity: 600)
    var random = SystemRandomNumberGenerator()
    var names: [Virtual] = []
    for turn in 0..<6_000 {
      if names.count < 500, let name = try? space.allocate() {
        names.append(name)
        if turn % 5 != 0 {
          // Many numbers share a bucket, and some a number.
          try space.bind(
            name, to: Physical(rawValue: Int32.random(in: 1...40, using: &random) * 900))
        }
      }
      if let index = names.indices.randomElement(using: &random), turn % 2 == 0 {
        let name = names[index]
        if (try? space.retire(name)) == nil {
          try space.giveBack(name)
        } else {
          try space.reap(name)
        }
        names.remove(at: index)
      } else if let name = names.randomElement(using: &random) {
        try? space.retire(name)
      }
      guard turn % 200 == 0 else { continue }
      for number in 0...4_001 as ClosedRange<Int32> {
        let name = Virtual(rawValue: number)
        let physical = (try? space.entry(name))?.physical.rawValue ?? 0
        #expect(space.physical(of: name)?.rawValue ?? 0 == physical)
      }
      for number in -1...41 as ClosedRange<Int32> {
        let name = Physical(rawValue: number * 900)
        #expect(space.virtual(of: name) == (try? space.entry(name))?.virtual)
      }
    }
  }

  private final class Counters: Sendable {
    let isDone = Atomic(false)
    let torn = Atomic(0)
    let looks = Atomic(0)
  }

  @Test("readers without a lock see each name whole, whatever the writer does")
  func concurrentReaders() async throws {
    let space = make(1...64, capacity: 64)
    // Never touched by the writer: always found, on both sides.
    let fixed = try (0..<8).map { try live(space, 10_000 + Int32($0)) }
    let counters = Counters()
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<2 {
        group.addTask {
          var number: Int32 = 0
          while !counters.isDone.load(ordering: .relaxed) {
            number = (number + 1) % 64
            // The writer may need this thread.
            if number == 0 { await Task.yield() }
            for (index, name) in fixed.enumerated() {
              let physical = Physical(rawValue: 10_000 + Int32(index))
              if (try? space.entry(name))?.physical != physical
                || (try? space.entry(physical))?.virtual != name
                || space.physical(of: name) != physical || space.virtual(of: physical) != name
              {
                counters.torn.add(1, ordering: .relaxed)
              }
            }
            // The writer keeps the two numbers of a live name 1000 apart, and its first link equal to the name.
            if let entry = try? space.entry(Virtual(rawValue: number)), entry.state == .live,
              entry.physical.rawValue < 10_000,
              entry.physical.rawValue != entry.virtual.rawValue + 1_000
            {
              counters.torn.add(1, ordering: .relaxed)
            }
            if let entry = try? space.entry(Physical(rawValue: number + 1_000)),
              entry.virtual.rawValue != number
            {
              counters.torn.add(1, ordering: .relaxed)
            }
            // A name that has just been freed or given out anew has no physical one, or its own.
            if let physical = space.physical(of: Virtual(rawValue: number)),
              ![number + 1_000, 0].contains(physical.rawValue), physical.rawValue < 10_000
            {
              counters.torn.add(1, ordering: .relaxed)
            }
            if let name = space.virtual(of: Physical(rawValue: number + 1_000)),
              name.rawValue != number
            {
              counters.torn.add(1, ordering: .relaxed)
            }
            counters.looks.add(1, ordering: .relaxed)
          }
        }
      }
      group.addTask {
        var owned: [Virtual] = []
        for turn in 0..<60_000 {
          if owned.count < 40, let name = try? space.allocate() {
            try? space.bind(name, to: Physical(rawValue: name.rawValue + 1_000))
            owned.append(name)
          }
          if turn % 3 != 0, !owned.isEmpty {
            let name = owned.remove(at: turn * 7 % owned.count)
            try? space.retire(name)
            try? space.reap(name)
          }
        }
        counters.isDone.store(true, ordering: .relaxed)
      }
    }
    #expect(counters.torn.load(ordering: .relaxed) == 0)
    #expect(counters.looks.load(ordering: .relaxed) > 0)
  }
}
