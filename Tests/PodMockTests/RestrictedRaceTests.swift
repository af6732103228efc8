internal import PodCore
internal import PodMock
internal import SystemPackage
internal import Testing

/// The race of the paper's §4.2: a queue is removed and its id is given out again, to another pod, while a call with the
/// old id is in flight. The wrappers are those of a resource without reference counts, at their smallest.
@Suite struct RestrictedRaceTests {
  /// Everything that the pods of a machine share of queues.
  private final class Machine: Sendable {
    let system = SystemNames<Queue>()
    let restricted = RestrictedNames<Queue>()

    func makePod(_ world: ScheduledWorld, _ number: UInt32) -> MockPod {
      let table = Namespace<Queue>(
        pod: PodID(rawValue: number), range: 1...8, capacity: 8, system: system)
      let use = UseQueue(table: table, restricted: restricted)
      return world.makePod(
        boundary: BoundaryTable(rows: [
          .wrapped(.msgget, by: MakeQueue(table: table, restricted: restricted)),
          .wrapped(.msgsnd, by: use),
          .wrapped(
            .msgctl, when: .argument(1, is: 0, "IPC_RMID"),
            by: RemoveQueue(table: table)),
          .wrapped(.msgctl, by: use),
        ]))
    }
  }

  private func expectProtected(
    _ name: String, removing: [Protection], _ scenario: (ScheduledWorld) -> Void
  ) {
    // Tables of queues aren't among those that the reduction compares.
    let whole = ScheduleExplorer(reduces: false).explore(scenario)
    report(name, whole)
    #expect(
      whole.violation == nil && whole.isComplete, "\(name): \(whole.violation?.description ?? "")")
    for protection in removing {
      let less = ScheduleExplorer(removing: [protection], reduces: false).explore(scenario)
      report("\(name) without \(protection)", less)
      if let violation = less.violation { print("  found: \(violation)") }
      #expect(less.violation != nil, "\(name): leaving out \(protection) isn't noticed")
    }
  }

  @Test("a message in flight doesn't come into another pod's queue that got the id meanwhile")
  func send() {
    expectProtected(
      "message in flight",
      removing: [
        .step(.restrict, of: .msgsnd), .step(.lookUp, of: .msgsnd),
        .step(.virtualize, of: .msgget),
      ]
    ) { world in
      let machine = Machine()
      let pod = machine.makePod(world, 1)
      let other = machine.makePod(world, 2)
      let sender = pod.boot()
      let remover = pod.boot()
      let maker = other.boot()
      sender.call(.msgget, 0)
      world.run("sender", sender) { world.note("sent", $0.call(.msgsnd, 1)) }
      world.run("remover", remover) { world.note("removed", $0.call(.msgctl, 1, 0)) }
      world.run("maker", maker) { world.note("made", $0.call(.msgget, 0)) }
      world.finally("the other pod's queue is empty, and is all that is left") {
        world.noted("made") == 1 && world.kernel.queues.values.sorted() == [0]
      }
      world.finally("the queue is removed") { world.noted("removed") == 0 }
      world.finally("nothing is restricted any more") { machine.restricted.count == 0 }
    }
  }

  @Test("a call in flight shows nothing of another pod's queue that got the id meanwhile")
  func show() {
    expectProtected("look in flight", removing: [.step(.retry, of: .msgctl)]) { world in
      let machine = Machine()
      let pod = machine.makePod(world, 1)
      let other = machine.makePod(world, 2)
      let watcher = pod.boot()
      let remover = pod.boot()
      let maker = other.boot()
      watcher.call(.msgget, 0)
      watcher.call(.msgsnd, 1)
      world.run("watcher", watcher) { world.note("messages", $0.call(.msgctl, 1, 2)) }
      world.run("remover", remover) { world.note("removed", $0.call(.msgctl, 1, 0)) }
      world.run("maker", maker) { world.note("made", $0.call(.msgget, 0)) }
      world.finally("it has its message, or is gone") {
        [1, -22].contains(world.noted("messages")) && world.noted("removed") == 0
      }
      world.finally("nothing is restricted any more") { machine.restricted.count == 0 }
    }
  }
}

/// Message queues, for this test.
private enum Queue: Resource {
  static let label = "queue"
  static let unknownName = Errno.invalidArgument
  static func resolve(_ name: Int32, in transaction: inout Transaction) throws(Errno) -> Int32 {
    throw unknownName
  }
  static func virtualize(_ name: Int32, in names: PodNames) -> Int32? { nil }
}

private struct MakeQueue: Wrapper {
  let table: Namespace<Queue>
  let restricted: RestrictedNames<Queue>

  func preamble(_ transaction: inout Transaction) throws(Errno) {
    transaction.announce(in: restricted)
  }

  func epilogue(_ transaction: inout Transaction) throws(Errno) {
    guard case .success(var id)? = transaction.result else { return }
    var refused: [Int] = []
    while !transaction.admits(PhysicalName(rawValue: Int32(id)), in: restricted) {
      // Another is taken first, or it would be the same.
      refused.append(id)
      id = try transaction.host.perform(.msgget, CallArguments(), for: transaction.caller)
    }
    for id in refused {
      let arguments = CallArguments(UInt64(id))
      transaction.step(.rollBack, on: Int32(id)) { transaction in
        _ = try? transaction.host.perform(.msgctl, arguments, for: transaction.caller)
      }
    }
    do throws(NameError) {
      let name = try table.allocate()
      try table.bind(name, to: PhysicalName(rawValue: Int32(id)))
      transaction.result = .success(Int(name.rawValue))
    } catch {
      throw .noSpace
    }
  }
}

private struct UseQueue: Wrapper {
  let table: Namespace<Queue>
  let restricted: RestrictedNames<Queue>

  private func find(_ transaction: borrowing Transaction) throws(Errno) -> PhysicalName<Queue> {
    let name = VirtualName<Queue>(rawValue: transaction.arguments.int(0))
    guard let entry = try? table.entry(name), entry.state == .live else { throw .invalidArgument }
    return entry.physical
  }

  func preamble(_ transaction: inout Transaction) throws(Errno) {
    let id = try find(transaction)
    try transaction.restrict(id, in: restricted)
    try transaction.step(.lookUp, on: id.rawValue) { transaction throws(Errno) in
      _ = try find(transaction)
    }
    transaction.physicalArguments[0] = UInt64(id.rawValue)
  }

  func epilogue(_ transaction: inout Transaction) throws(Errno) {
    let mayHaveMetAnother = transaction.mayHaveMetAnother { [table] transaction in
      let name = VirtualName<Queue>(rawValue: transaction.arguments.int(0))
      return (try? table.entry(name))?.state == .live
    }
    transaction.wantsRetry = mayHaveMetAnother
  }
}

/// The name is no more before its object is, so that who still finds the name finds the object.
private struct RemoveQueue: Wrapper {
  let table: Namespace<Queue>

  func preamble(_ transaction: inout Transaction) throws(Errno) {
    let name = VirtualName<Queue>(rawValue: transaction.arguments.int(0))
    try transaction.step(.retire, on: name.rawValue) { transaction throws(Errno) in
      guard let entry = try? table.entry(name), entry.state == .live else {
        throw .invalidArgument
      }
      transaction.physicalArguments[0] = UInt64(entry.physical.rawValue)
      do throws(NameError) { try table.retire(name) } catch { throw .invalidArgument }
    }
  }

  func epilogue(_ transaction: inout Transaction) throws(Errno) {
    let name = VirtualName<Queue>(rawValue: transaction.arguments.int(0))
    transaction.step(.reap, on: name.rawValue) { _ in try? table.reap(name) }
  }
}
