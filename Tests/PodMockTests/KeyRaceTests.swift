internal import PodCore
internal import PodMock
internal import Synchronization
internal import SystemPackage
internal import Testing

/// The races of the paper's §4.1.3 about keys: the kernel makes every object with IPC_PRIVATE, and which key means which one says
/// a table of the pod. The wrappers are the smallest that close them; a provider of objects in namespaces of their own, or of
/// emulated ones, needs no such table.
@Suite("Races of keys") struct KeyRaceTests {
  private static let exclusive = 0o3000

  private func makePod(_ world: ScheduledWorld) -> (MockPod, KeyTable) {
    let table = KeyTable()
    let pod = world.makePod(
      boundary: BoundaryTable(rows: [
        .wrapped(.msgget, by: GetByKey(table: table)),
        .wrapped(
          .msgctl, when: .argument(1, is: 0, "IPC_RMID"), by: RemoveWithKey(table: table)),
        .wrapped(.msgctl, by: Pass()), .wrapped(.msgsnd, by: Pass()),
      ]))
    return (pod, table)
  }

  private func expectProtected(
    _ name: String, removing: [Protection], _ scenario: (ScheduledWorld) -> Void
  ) {
    // The table of keys isn't among those that the reduction compares.
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

  @Test("of two that make a queue with one key one makes it, and the other has it or is told")
  func twoCreators() {
    for flags in [0o1000, Self.exclusive] {
      expectProtected(
        "two creators of a key, flags \(flags)",
        removing: [.step(.retry, of: .msgget), .step(.rollBack, of: .msgget)]
      ) { world in
        let (pod, table) = makePod(world)
        for name in ["one", "other"] {
          world.run(name, pod.boot()) { world.note(name, $0.call(.msgget, 7, flags)) }
        }
        world.finally("one queue is left, which the key means") {
          world.kernel.queues.count == 1 && table.id(of: 7) == world.kernel.queues.keys.first
        }
        world.finally("both have it, or one was told that it is there") {
          let id = table.id(of: 7).map(Int.init)
          let found = [world.noted("one"), world.noted("other")]
          return flags == Self.exclusive
            ? found == [id, -17] || found == [-17, id] : found == [id, id]
        }
      }
    }
  }

  @Test("a key doesn't mean a queue that is removed")
  func removal() {
    expectProtected("removal of a key", removing: [.step(.retire, of: .msgctl)]) { world in
      let (pod, table) = makePod(world)
      let (remover, maker) = (pod.boot(), pod.boot())
      maker.call(.msgget, 7, 0o1000)
      world.run("remover", remover) { world.note("removed", $0.call(.msgctl, 1, 0)) }
      world.run("maker", maker) { world.note("made", $0.call(.msgget, 7, 0o1000)) }
      world.finally("what the key means is there") {
        world.noted("removed") == 0
          && (table.id(of: 7).map { world.kernel.queues[$0] != nil } ?? true)
      }
    }
  }
}

/// Which id a key means.
private final class KeyTable: Sendable {
  private let ids = Mutex<[Int32: Int32]>([:])

  func id(of key: Int32) -> Int32? { ids.withLock { $0[key] } }

  /// - Returns: What the key means from now on.
  func set(_ key: Int32, to id: Int32, unlessThere: Bool) -> Int32 {
    ids.withLock { ids in
      if unlessThere, let known = ids[key] { return known }
      ids[key] = id
      return id
    }
  }

  func remove(_ id: Int32) { ids.withLock { ids in ids = ids.filter { $0.value != id } } }
}

private struct GetByKey: Wrapper {
  private static let exclusive: Int32 = 0o2000
  let table: KeyTable

  func preamble(_ transaction: inout Transaction) throws(Errno) {
    let key = transaction.arguments.int(0)
    let isExclusive = transaction.arguments.int(1) & Self.exclusive != 0
    let known = transaction.step(.lookUp, on: key) { [table] _ in table.id(of: key) } ?? nil
    if let known {
      if isExclusive { throw .fileExists }
      transaction.result = .success(Int(known))
    }
    // IPC_PRIVATE.
    transaction.physicalArguments[0] = 0
  }

  func epilogue(_ transaction: inout Transaction) throws(Errno) {
    guard case .success(let made)? = transaction.result else { return }
    let key = transaction.arguments.int(0)
    let looksAgain = transaction.step(.retry, on: key) { _ in true } ?? false
    let id =
      transaction.step(.publish, on: key) { [table] _ in
        table.set(key, to: Int32(made), unlessThere: looksAgain)
      } ?? Int32(made)
    if id == Int32(made) { return }
    let arguments = CallArguments(UInt64(made))
    transaction.step(.rollBack, on: Int32(made)) { transaction in
      _ = try? transaction.host.perform(.msgctl, arguments, for: transaction.caller)
    }
    if transaction.arguments.int(1) & Self.exclusive != 0 { throw .fileExists }
    transaction.result = .success(Int(id))
  }
}

/// The key means nothing any more before its object goes.
private struct RemoveWithKey: Wrapper {
  let table: KeyTable

  func preamble(_ transaction: inout Transaction) throws(Errno) {
    let id = transaction.arguments.int(0)
    transaction.step(.retire, on: id) { [table] _ in table.remove(id) }
  }
}

private struct Pass: Wrapper {
  func preamble(_ transaction: inout Transaction) throws(Errno) {}
}
