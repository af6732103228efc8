internal import PodMock
internal import SystemPackage
internal import Testing

@testable internal import PodCore

/// The races of message queues and semaphore sets, in every order: waiters that are served while something else ends
/// their wait, objects that are removed under a call, and callers that end in the middle of one.
@Suite("Races of System V objects") struct SystemVRaceTests {
  private static let create = 0o1600
  private static let exclusive = 0o2000
  private static let noWait = 0o4000
  private static let undo = 0x1000
  private static let remove = 0
  private static let status = 2

  // MARK: Calls

  /// A process and memory for its calls, which is made before the schedule begins.
  private struct Program: Sendable {
    let process: MockProcess
    private let operation: RemoteAddress
    private let message: RemoteAddress

    init(_ process: MockProcess) {
      self.process = process
      operation = process.allocate(64)
      message = process.allocate(256)
    }

    func semop(_ id: Int, _ change: Int16, _ flags: Int = 0, limited: Bool = false) -> CallResult {
      var record = IPCRecord(size: 6)
      record.add(UInt16(0))
      record.add(change)
      record.add(Int16(flags))
      try? process.write(record.bytes, to: operation)
      let time = operation.advanced(by: 16)
      return limited
        ? process.call(.semtimedop, id, Int(operation.rawValue), 1, Int(time.rawValue))
        : process.call(.semop, id, Int(operation.rawValue), 1)
    }

    func send(_ id: Int, _ text: String, _ flags: Int = 0) -> CallResult {
      var record = IPCRecord(size: 8)
      record.add(Int64(1))
      try? process.write(record.bytes + Array(text.utf8), to: message)
      return process.call(.msgsnd, id, Int(message.rawValue), text.utf8.count, flags)
    }

    func receive(_ id: Int, _ flags: Int = 0, handlerLeaves: Bool = false) -> CallResult {
      handlerLeaves
        ? process.callUntilSignal(.msgrcv, id, Int(message.rawValue), 100, 0, flags)
        : process.call(.msgrcv, id, Int(message.rawValue), 100, 0, flags)
    }

    /// How many messages are in a queue, or minus the errno.
    func count(_ id: Int) -> Int {
      switch process.call(.msgctl, id, SystemVRaceTests.status, Int(message.rawValue)) {
      case .success:
        Int((try? process.word(at: message.advanced(by: 80))) ?? 0)
      case .failure(let error): -Int(error.rawValue)
      }
    }

    func value(_ id: Int) -> CallResult { process.call(.semctl, id, 0, 12) }

    func makeQueue(_ key: Int = 0) { process.call(.msgget, key, SystemVRaceTests.create) }

    func makeSet(value: Int) {
      process.call(.semget, 0, 1, 0o600)
      process.call(.semctl, 0, 0, 16, value)
    }
  }

  /// The value of a pod's set 0; nil when it isn't there. For when nothing runs any more.
  private static func value(_ pod: MockPod) -> Int32? {
    pod.names.systemV.withState { state in try? state.sets.object(0).semaphores[0].value }
  }

  /// How many messages are in a pod's queue 0; nil when it isn't there.
  private static func count(_ pod: MockPod) -> Int? {
    pod.names.systemV.withState { state in try? Int(state.queues.object(0).count) }
  }

  /// What is left when nothing waits.
  private func expectNoWaits(_ world: ScheduledWorld, _ pod: MockPod) {
    world.finally("nobody waits") { pod.names.systemV.waitCount == 0 }
  }

  // MARK: Creation

  @Test("of two that make an object with a key one makes it, whoever is first")
  func twoCreators() {
    for flags in [Self.create, Self.create | Self.exclusive] {
      expectProtected("two creators, flags \(flags)", removing: []) { world in
        let pod = world.makePod()
        for name in ["one", "other"] {
          world.run(name, pod.boot()) { process in
            world.note("\(name) queue", process.call(.msgget, 7, flags))
            world.note("\(name) set", process.call(.semget, 7, 1, flags))
            world.note("\(name) segment", process.call(.shmget, 7, 1, flags))
          }
        }
        for kind in ["queue", "set", "segment"] {
          world.finally("one \(kind) was made") {
            let found = [world.noted("one \(kind)"), world.noted("other \(kind)")]
            return flags & Self.exclusive == 0
              ? found == [0, 0] : found == [0, -17] || found == [-17, 0]
          }
        }
        world.finally("there are no others") {
          pod.names.systemV.objectCount == 2 && pod.names.segments.count == 1
        }
      }
    }
  }

  @Test(
    "who makes an object while another removes that with the key has it, or another, and it is whole"
  )
  func creationAgainstRemoval() {
    expectProtected("creation against removal", removing: []) { world in
      let pod = world.makePod()
      let (maker, remover) = (Program(pod.boot()), Program(pod.boot()))
      maker.makeQueue(7)
      world.run("remover", remover.process) {
        world.note("removed", $0.call(.msgctl, 0, Self.remove))
      }
      world.run("maker", maker.process) { process in
        guard case .success(let id) = process.call(.msgget, 7, Self.create) else { return }
        world.note("id", id)
        world.note("sent", maker.send(id, "text", Self.noWait))
      }
      world.finally("it was removed") { world.noted("removed") == 0 }
      world.finally("the message is in the new one, or went with the old one") {
        switch (world.noted("id"), world.noted("sent")) {
        case (1, 0): pod.names.systemV.objectCount == 1
        case (0, 0), (0, -22), (0, -43): pod.names.systemV.objectCount == 0
        default: false
        }
      }
    }
  }

  // MARK: Ids

  @Test(
    "a call that has found an object never changes the one that got its place meanwhile",
    arguments: [true, false])
  func reuse(sets: Bool) {
    // What SETALL and semop find, they look up a second time.
    expectProtected("id given again in \(sets ? "SETALL" : "semop")", removing: []) { world in
      let pod = world.makePod()
      let (user, other) = (Program(pod.boot()), Program(pod.boot()))
      // The next set gets the place of the first.
      user.makeSet(value: 1)
      for _ in 1..<64 {
        if case .success(let id) = user.process.call(.semget, 0, 1, 0o600) {
          user.process.call(.semctl, id, 0, Self.remove)
        }
      }
      let values = user.process.allocate(16)
      try? user.process.write([9, 0], to: values)
      world.run("user", user.process) { process in
        world.note(
          "used",
          sets
            ? process.call(.semctl, 0, 0, 17, Int(values.rawValue))
            : user.semop(0, -5, 0, limited: true))
      }
      world.run("other", other.process) { process in
        world.note("removed", process.call(.semctl, 0, 0, Self.remove))
        world.note("made", process.call(.semget, 0, 1, 0o600))
        process.call(.semctl, 1 << 15, 0, 16, 7)
      }
      world.finally("the new one has the old one's place") { world.noted("made") == 1 << 15 }
      world.finally("nothing has changed it, and nobody waits for it") {
        pod.names.systemV.withState { state in
          let set = try? state.sets.object(at: 0)
          return set?.semaphores[0].value == 7 && set?.altering.isEmpty == true
        }
      }
      world.finally("the old one was changed, or wasn't there") {
        [0, -11, -22, -43].contains(world.noted("used"))
      }
      expectNoWaits(world, pod)
    }
  }

  @Test("ids of another pod, guessed by number while it makes and removes them, are nobody's")
  func guesses() {
    expectProtected("guessed ids", removing: []) { world in
      let (pod, other) = (world.makePod(), world.makePod())
      let (owner, stranger) = (Program(pod.boot()), Program(other.boot()))
      world.run("owner", owner.process) { process in
        owner.makeQueue(7)
        world.note("sent", owner.send(0, "mine"))
        world.note("has", owner.count(0))
        world.note("removed", process.call(.msgctl, 0, Self.remove))
      }
      world.run("stranger", stranger.process) { process in
        world.note("found", process.call(.msgget, 7, 0))
        world.note("took", stranger.receive(0, Self.noWait))
        world.note("destroyed", process.call(.msgctl, 0, Self.remove))
      }
      world.finally("the owner's is as it left it") {
        world.noted("sent") == 0 && world.noted("has") == 1 && world.noted("removed") == 0
      }
      world.finally("the other finds none") {
        world.noted("found") == -2 && world.noted("took") == -22
          && world.noted("destroyed") == -22
      }
    }
  }

  // MARK: Waits

  @Test("a message that comes while somebody is about to wait for it isn't missed")
  func aboutToWait() {
    expectProtected(
      "message for who is about to wait",
      removing: [[.step(.retry, of: .msgrcv)], [.step(.publish, on: .wake)]]
    ) { world in
      let pod = world.makePod()
      let (sender, receiver) = (Program(pod.boot()), Program(pod.boot()))
      sender.makeQueue()
      world.run("sender", sender.process) { _ in world.note("sent", sender.send(0, "text")) }
      world.run("receiver", receiver.process) { _ in world.note("received", receiver.receive(0)) }
      world.finally("it is received") {
        world.noted("sent") == 0 && world.noted("received") == 4
      }
      expectNoWaits(world, pod)
    }
  }

  @Test("room in a queue that comes while somebody is about to wait for it isn't missed")
  func aboutToWaitForRoom() {
    expectProtected(
      "room for who is about to wait",
      removing: [[.step(.retry, of: .msgsnd)], [.step(.publish, on: .wake)]]
    ) { world in
      let pod = world.makePod()
      let (sender, receiver) = (Program(pod.boot()), Program(pod.boot()))
      sender.makeQueue()
      let record = sender.process.allocate(120)
      var change = IPCRecord(size: 120)
      change.skip(20)
      change.add(UInt32(0o600))
      change.skip(64)
      change.add(UInt64(4))
      try? sender.process.write(change.bytes, to: record)
      sender.process.call(.msgctl, 0, 1, Int(record.rawValue))
      _ = sender.send(0, "full")
      world.run("sender", sender.process) { _ in world.note("sent", sender.send(0, "text")) }
      world.run("receiver", receiver.process) { _ in
        world.note("received", receiver.receive(0))
        world.note("again", receiver.receive(0))
      }
      world.finally("both are received") {
        world.noted("sent") == 0 && world.noted("received") == 4 && world.noted("again") == 4
      }
      expectNoWaits(world, pod)
    }
  }

  @Test("a semaphore that is raised while somebody is about to wait for it isn't missed")
  func aboutToWaitForSemaphore() {
    expectProtected(
      "semaphore for who is about to wait",
      removing: [[.step(.retry, of: .semop)], [.step(.publish, on: .wake)]]
    ) { world in
      let pod = world.makePod()
      let (giver, taker) = (Program(pod.boot()), Program(pod.boot()))
      giver.makeSet(value: 0)
      world.run("giver", giver.process) { _ in world.note("given", giver.semop(0, 1)) }
      world.run("taker", taker.process) { _ in world.note("taken", taker.semop(0, -1)) }
      world.finally("it is taken") { world.noted("given") == 0 && world.noted("taken") == 0 }
      expectNoWaits(world, pod)
    }
  }

  @Test(
    "a waiter that a signal reaches when a message does gets one of them, and no message is lost",
    arguments: [false, true])
  func signalAgainstMessage(handlerLeaves: Bool) {
    expectProtected(
      "signal against message" + (handlerLeaves ? ", siglongjmp" : ""),
      removing: [[.step(handlerLeaves ? .lookUp : .publish, on: .wake)]]
    ) { world in
      let pod = world.makePod()
      let (sender, receiver) = (Program(pod.boot()), Program(pod.boot()))
      let killer = pod.boot()
      sender.makeQueue()
      receiver.process.set(.handle, for: 10)
      world.run("sender", sender.process) { _ in world.note("sent", sender.send(0, "text")) }
      world.run("killer", killer) { $0.call(.kill, 3, 10) }
      world.run("receiver", receiver.process) { process in
        let first = receiver.receive(0, handlerLeaves: handlerLeaves)
        world.note("received", first)
        guard first == .failure(.interrupted) else { return }
        // A handler runs, and the program goes on.
        _ = process.takeSignal()
        world.note("again", receiver.receive(0))
      }
      world.finally("it is received once") {
        world.noted("received") == 4 && world.noted("again") == nil
          || world.noted("received") == -4 && world.noted("again") == 4
      }
      expectNoWaits(world, pod)
    }
  }

  @Test("a wait whose time is over when the semaphore is raised takes it or leaves it")
  func timeAgainstSemaphore() {
    expectProtected(
      "time against semaphore", removing: [[.step(.release, of: .semtimedop)]]
    ) { world in
      let pod = world.makePod()
      let (giver, taker) = (Program(pod.boot()), Program(pod.boot()))
      giver.makeSet(value: 0)
      world.run("giver", giver.process) { _ in world.note("given", giver.semop(0, 1)) }
      world.run("taker", taker.process) { _ in
        world.note("taken", taker.semop(0, -1, 0, limited: true))
        world.note("value", taker.value(0))
        world.note("rest", taker.semop(0, -1, Self.noWait))
      }
      world.finally("it is taken once") {
        world.noted("taken") == 0
          ? world.noted("rest") == -11
          : world.noted("taken") == -11
            && [0, -11].contains(world.noted("rest"))
      }
      world.finally("and is there when it isn't taken") {
        let taken = [world.noted("taken"), world.noted("rest")].count { $0 == 0 }
        return Self.value(pod) == Int32(1 - taken)
      }
      expectNoWaits(world, pod)
    }
  }

  @Test("a message that is sent when a waiter's end is known doesn't go to it")
  func killedWaiter() {
    expectProtected("killed waiter", removing: [[.step(.hold, of: .msgrcv)]]) { world in
      let pod = world.makePod()
      let parent = Program(pod.boot())
      parent.makeQueue()
      parent.process.call(.fork)
      guard let process = pod.process(3) else { return }
      let victim = Program(process)
      world.run("victim", victim.process) { _ in _ = victim.receive(0) }
      world.run("parent", parent.process) { process in
        process.call(.kill, 3, 9)
        _ = process.wait(for: 3)
        _ = parent.send(0, "text")
      }
      world.finally("it is in the queue") { Self.count(pod) == 1 }
      expectNoWaits(world, pod)
      world.finallyConsistent(pod)
    }
  }

  // MARK: Removal

  @Test(
    "who waits for an object that is removed hears of it, and who comes later finds none",
    arguments: [true, false])
  func removalAgainstWaits(ofQueue: Bool) {
    expectProtected(
      "removal against a wait for a \(ofQueue ? "message" : "semaphore")",
      removing: [[.step(.publish, on: .wake)], [.step(.perform, on: .wake)]]
    ) { world in
      let pod = world.makePod()
      let (remover, waiter) = (Program(pod.boot()), Program(pod.boot()))
      if ofQueue { remover.makeQueue() } else { remover.makeSet(value: 0) }
      world.run("remover", remover.process) { process in
        world.note(
          "removed",
          ofQueue
            ? process.call(.msgctl, 0, Self.remove) : process.call(.semctl, 0, 0, Self.remove))
      }
      world.run("waiter", waiter.process) { _ in
        world.note("waited", ofQueue ? waiter.receive(0) : waiter.semop(0, -1))
      }
      world.finally("the waiter hears of it") { [-22, -43].contains(world.noted("waited")) }
      world.finally("it is removed") {
        world.noted("removed") == 0 && pod.names.systemV.objectCount == 0
      }
      expectNoWaits(world, pod)
    }
  }

  @Test("who may no longer use an object hears of it, also when it waits, or has used it before")
  func setAgainstWait() {
    expectProtected(
      "IPC_SET against a wait",
      removing: [[.step(.publish, of: .msgctl)], [.step(.perform, on: .wake)]]
    ) { world in
      let pod = world.makePod()
      let (owner, user) = (Program(pod.boot()), Program(pod.boot()))
      owner.process.call(.msgget, 0, 0o666)
      user.process.set(user: 1000)
      let record = owner.process.allocate(120)
      var change = IPCRecord(size: 120)
      change.skip(20)
      change.add(UInt32(0o600))
      change.skip(64)
      change.add(UInt64(16_384))
      try? owner.process.write(change.bytes, to: record)
      world.run("owner", owner.process) { process in
        world.note("changed", process.call(.msgctl, 0, 1, Int(record.rawValue)))
        world.note("sent", owner.send(0, "text"))
      }
      world.run("user", user.process) { _ in world.note("user", user.receive(0)) }
      world.finally("what is sent afterwards it doesn't get") {
        world.noted("user") == -13 && Self.count(pod) == 1
      }
      expectNoWaits(world, pod)
    }
  }

  // MARK: Ends

  @Test(
    "what a killed process has taken with SEM_UNDO is there again, wherever in its call it was",
    arguments: [0, 1])
  func undoOfKilled(value: Int) {
    expectProtected(
      "undo of a killed process, from \(value)",
      removing: [[.step(.hold, of: .semop)], [.step(.retire, on: .event)]]
    ) { world in
      let pod = world.makePod()
      let parent = Program(pod.boot())
      parent.makeSet(value: value)
      parent.process.call(.fork)
      guard let process = pod.process(3) else { return }
      let child = Program(process)
      world.run("child", child.process) { _ in _ = child.semop(0, -1, Self.undo) }
      world.run("parent", parent.process) { process in
        if value == 0 { process.call(.semctl, 0, 0, 16, 1) }
        process.call(.kill, 3, 9)
        _ = process.wait(for: 3)
        world.note("value", parent.value(0))
      }
      world.finally("it is there again when its parent knows of its end") {
        world.noted("value") == 1
      }
      world.finally("and stays there") { Self.value(pod) == 1 }
      expectNoWaits(world, pod)
      world.finallyConsistent(pod)
    }
  }

  @Test("a message isn't taken for a process whose parent knows of its end")
  func receptionOfKilled() {
    expectProtected(
      "reception of a killed process", removing: [[.step(.hold, of: .msgrcv)]]
    ) { world in
      let pod = world.makePod()
      let parent = Program(pod.boot())
      parent.makeQueue()
      _ = parent.send(0, "text")
      parent.process.call(.fork)
      guard let process = pod.process(3) else { return }
      let child = Program(process)
      world.run("child", child.process) { _ in _ = child.receive(0) }
      world.run("parent", parent.process) { process in
        process.call(.kill, 3, 9)
        _ = process.wait(for: 3)
        world.note("first", parent.count(0))
      }
      world.finally("what was there is there") { Self.count(pod) == world.noted("first") }
      expectNoWaits(world, pod)
    }
  }

  @Test(
    "SEM_UNDO at an end serves who waits, and touches nothing when the set is removed meanwhile")
  func undoAgainstRemoval() {
    expectProtected(
      "undo against a wait",
      removing: [[.step(.retire, on: .event), .step(.reap, on: .event)]]
    ) { world in
      let pod = world.makePod()
      let (holder, waiter) = (Program(pod.boot()), Program(pod.boot()))
      holder.makeSet(value: 1)
      _ = holder.semop(0, -1, Self.undo)
      world.run("holder", holder.process) { $0.exit() }
      world.run("waiter", waiter.process) { _ in world.note("waiter", waiter.semop(0, -1)) }
      world.finally("the waiter was served") {
        world.noted("waiter") == 0 && Self.value(pod) == 0
      }
      expectNoWaits(world, pod)
    }
    expectProtected("undo against removal", removing: []) { world in
      let pod = world.makePod()
      let (holder, remover) = (Program(pod.boot()), Program(pod.boot()))
      holder.makeSet(value: 1)
      _ = holder.semop(0, -1, Self.undo)
      // The next set gets the place of this one.
      for _ in 1..<64 {
        if case .success(let id) = holder.process.call(.semget, 0, 1, 0o600) {
          holder.process.call(.semctl, id, 0, Self.remove)
        }
      }
      world.run("holder", holder.process) { $0.exit() }
      world.run("remover", remover.process) { process in
        process.call(.semctl, 0, 0, Self.remove)
        world.note("made", process.call(.semget, 0, 1, 0o600))
      }
      world.finally("the next set is untouched") {
        world.noted("made") == 1 << 15
          && pod.names.systemV.withState {
            (try? $0.sets.object(at: 0).semaphores[0].value) == 0
          }
      }
    }
  }

  @Test("a pod that ends while calls are on their way, and somebody waits, ends")
  func podEnd() {
    expectProtected(
      "end of a pod",
      removing: [[.step(.retire, on: .event), .step(.reap, on: .event)]]
    ) { world in
      let pod = world.makePod()
      let host = world.kernel.spawnOutside()
      let (holder, waiter) = (Program(pod.boot()), Program(pod.boot()))
      holder.makeSet(value: 1)
      _ = holder.semop(0, -1, Self.undo)
      world.run("waiter", waiter.process) { _ in _ = waiter.semop(0, -1, Self.undo) }
      world.run("host", host) { _ in pod.end() }
      world.finally("what was to be undone is") { Self.value(pod) == 1 }
      expectNoWaits(world, pod)
    }
  }
}
