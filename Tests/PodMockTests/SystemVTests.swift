internal import PodCore
internal import PodMock
internal import SystemPackage
internal import Testing

/// Message queues and semaphore sets of pods, on the simulated kernel.
@Suite("System V objects") struct SystemVTests {
  private static let create = 0o1600
  private static let noWait = 0o4000
  private static let remove = 0

  private let kernel = MockKernel(numbers: 1000...1999)

  private func semop(
    _ process: MockProcess, _ id: Int, _ change: Int16, _ flags: Int = 0, semaphore: UInt16 = 0
  ) -> CallResult {
    let address = process.allocate(8)
    defer { process.release(address) }
    var record = IPCRecord(size: 6)
    record.add(semaphore)
    record.add(change)
    record.add(Int16(flags))
    try? process.write(record.bytes, to: address)
    return process.call(.semop, id, Int(address.rawValue), 1)
  }

  private func send(_ process: MockProcess, _ id: Int, _ type: Int, _ text: String) -> CallResult {
    let address = process.allocate(256)
    defer { process.release(address) }
    var record = IPCRecord(size: 8)
    record.add(Int64(type))
    try? process.write(record.bytes + Array(text.utf8), to: address)
    return process.call(.msgsnd, id, Int(address.rawValue), text.utf8.count, Self.noWait)
  }

  private func receive(
    _ process: MockProcess, _ id: Int, _ type: Int = 0, _ flags: Int = noWait, room: Int = 100
  ) -> Result<String, Errno> {
    let address = process.allocate(256)
    defer { process.release(address) }
    return process.call(.msgrcv, id, Int(address.rawValue), room, type, flags).map { count in
      let bytes = try? process.bytes(at: address.advanced(by: 8), count)
      return String(decoding: bytes ?? [], as: UTF8.self)
    }
  }

  /// Until another thread's call waits.
  private func awaitWait(_ pod: MockPod, _ count: Int = 1) async {
    for _ in 0..<5000 where pod.names.systemV.waitCount != count {
      try? await Task.sleep(for: .milliseconds(1))
    }
    #expect(pod.names.systemV.waitCount == count)
  }

  @Test("two pods have different objects behind one key, and ids that say nothing of each other")
  func pods() {
    let (first, second) = (kernel.makePod(names: 1...97), kernel.makePod(names: 1...97))
    let (one, other) = (first.boot(), second.boot())
    #expect(one.call(.msgget, 0x1234, Self.create) == .success(0))
    #expect(send(one, 0, 1, "mine") == .success(0))
    #expect(other.call(.msgget, 0x1234, 0) == .failure(.noSuchFileOrDirectory))
    #expect(receive(other, 0) == .failure(.invalidArgument))
    #expect(other.call(.msgget, 0x1234, Self.create) == .success(0))
    #expect(receive(other, 0) == .failure(.noMessage))
    #expect(other.call(.msgctl, 0, Self.remove) == .success(0))
    #expect(receive(one, 0) == .success("mine"))
    #expect(one.call(.semget, 0x1234, 2, Self.create) == .success(0))
    #expect(other.call(.semget, 0x1234, 2, 0) == .failure(.noSuchFileOrDirectory))
    #expect(kernel.queues.isEmpty)
    first.end()
    second.end()
  }

  @Test("who changed a semaphore is told by its name in the pod")
  func names() {
    let pod = kernel.makePod(names: 1...97)
    let process = pod.boot()
    #expect(process.call(.semget, 0, 1, 0o600) == .success(0))
    #expect(process.call(.semctl, 0, 0, 11) == .success(0))
    #expect(semop(process, 0, 1) == .success(0))
    #expect(process.call(.semctl, 0, 0, 11) == .success(2))
    #expect(process.call(.semctl, 0, 0, 12) == .success(1))
    pod.end()
  }

  @Test("a waiter gets what it waits for, in the order in which waiters came")
  func parking() async {
    let pod = kernel.makePod(names: 1...97)
    let giver = pod.boot()
    #expect(giver.call(.semget, 0, 2, 0o600) == .success(0))
    for waiter: UInt16 in 0..<3 {
      giver.fork { child in
        let result = semop(child, 0, -1)
        child.exit(result == .success(0) ? Int(waiter) : 100)
      }
      await awaitWait(pod, Int(waiter) + 1)
    }
    #expect(giver.call(.semctl, 0, 0, 14) == .success(3))
    for waiter in 0..<3 {
      #expect(semop(giver, 0, 1) == .success(0))
      #expect(giver.wait().map(\.status) == .success(Int32(waiter) << 8))
    }
    #expect(giver.call(.semctl, 0, 0, 12) == .success(0))
    #expect(pod.names.systemV.waitCount == 0)
    pod.end()
  }

  @Test("who waits for an object that is removed hears of it, and nobody else does")
  func removal() async {
    let pod = kernel.makePod(names: 1...97)
    let remover = pod.boot()
    #expect(remover.call(.msgget, 0, 0o600) == .success(0))
    #expect(remover.call(.msgget, 0, 0o600) == .success(1))
    remover.fork { child in
      child.exit(receive(child, 0, 0, 0) == .failure(.identifierRemoved) ? 0 : 1)
    }
    await awaitWait(pod)
    #expect(remover.call(.msgctl, 1, Self.remove) == .success(0))
    #expect(pod.names.systemV.waitCount == 1)
    #expect(remover.call(.msgctl, 0, Self.remove) == .success(0))
    #expect(remover.wait().map(\.status) == .success(0))
    #expect(pod.names.systemV.objectCount == 0 && pod.names.systemV.waitCount == 0)
    pod.end()
  }

  @Test("a waiter that a signal reaches gets nothing, and what it would have got is still there")
  func signals() async {
    let pod = kernel.makePod(names: 1...97)
    let giver = pod.boot()
    #expect(giver.call(.msgget, 0, 0o600) == .success(0))
    let child = giver.fork { child in
      child.set(.handle, for: 10)
      child.exit(receive(child, 0, 0, 0) == .failure(.interrupted) ? 0 : 1)
    }
    await awaitWait(pod)
    #expect(giver.call(.kill, (try? child.get()) ?? 0, 10) == .success(0))
    #expect(send(giver, 0, 1, "kept") == .success(0))
    #expect(giver.wait().map(\.status) == .success(0))
    #expect(receive(giver, 0) == .success("kept"))
    pod.end()
  }

  @Test("a killed waiter waits no more, and gets nothing")
  func killed() async {
    let pod = kernel.makePod(names: 1...97)
    let giver = pod.boot()
    #expect(giver.call(.semget, 0, 1, 0o600) == .success(0))
    let child = giver.fork { child in
      _ = semop(child, 0, -1)
      child.exit(1)
    }
    await awaitWait(pod)
    #expect(giver.call(.kill, (try? child.get()) ?? 0, 9) == .success(0))
    #expect(giver.wait().map(\.status) == .success(9))
    #expect(pod.names.systemV.waitCount == 0)
    #expect(semop(giver, 0, 1) == .success(0))
    #expect(giver.call(.semctl, 0, 0, 12) == .success(1))
    pod.end()
  }

  @Test(
    "SEM_UNDO is done when a process has ended, before its wait returns, for what it shares when the last has"
  )
  func undo() {
    let pod = kernel.makePod(names: 1...97)
    let parent = pod.boot()
    let undo = 0x1000
    #expect(parent.call(.semget, 0, 1, 0o600) == .success(0))
    #expect(semop(parent, 0, 5, undo) == .success(0))
    parent.fork { child in
      _ = semop(child, 0, 3, undo)
      _ = semop(child, 0, 1)
      child.exit()
    }
    #expect(parent.wait().map(\.status) == .success(0))
    #expect(parent.call(.semctl, 0, 0, 12) == .success(6))
    // CLONE_SYSVSEM: it is the parent's, too.
    parent.fork(.clone, flags: 0x4_0000) { child in
      _ = semop(child, 0, 3, undo)
      child.exit()
    }
    #expect(parent.wait().map(\.status) == .success(0))
    #expect(parent.call(.semctl, 0, 0, 12) == .success(9))
    let other = pod.boot()
    parent.exit()
    #expect(other.call(.semctl, 0, 0, 12) == .success(1))
    pod.end()
  }

  @Test("others' objects are out of reach where their permissions say so")
  func permissions() {
    let pod = kernel.makePod(names: 1...97)
    let (root, user) = (pod.boot(), pod.boot())
    user.set(user: 1000)
    #expect(root.call(.msgget, 7, Self.create) == .success(0))
    #expect(user.call(.msgget, 7, 0o600) == .failure(.permissionDenied))
    #expect(receive(user, 0) == .failure(.permissionDenied))
    #expect(user.call(.msgctl, 0, Self.remove) == .failure(.notPermitted))
    #expect(user.call(.msgget, 8, Self.create) == .success(1))
    #expect(send(root, 1, 1, "root") == .success(0))
    pod.end()
  }

  @Test("words and ids that no program means are answered with the kernel's errno")
  func badInput() {
    let pod = kernel.makePod(names: 1...97)
    let process = pod.boot()
    let hostile = [-1, Int(Int32.min), Int(Int32.max), 32_767, 1 << 31]
    for id in hostile {
      #expect(semop(process, id, 1) == .failure(.invalidArgument))
      #expect(send(process, id, 1, "x") == .failure(.invalidArgument))
      #expect(receive(process, id) == .failure(.invalidArgument))
      for command in [0, 1, 2, 3, 11, 12, 13, 16, 17, 18, 19, 20, -1, Int(Int32.max)] {
        #expect(process.call(.semctl, id, -1, command, 1) != .success(0))
        #expect(process.call(.msgctl, id, command, 1) != .success(0))
      }
    }
    #expect(process.call(.semget, 0, 1, 0o600) == .success(0))
    #expect(process.call(.semop, 0, -1, 1) == .failure(.badAddress))
    #expect(process.call(.semop, 0, 1, 1 << 32) == .failure(.invalidArgument))
    #expect(process.call(.semop, 0, 1, -1) == .failure(.argListTooLong))
    #expect(semop(process, 0, 1, semaphore: 1) == .failure(.fileTooLarge))
    #expect(process.call(.msgget, 0, 0o600) == .success(0))
    #expect(process.call(.msgsnd, 0, 1, 1) == .failure(.badAddress))
    #expect(process.call(.msgrcv, 0, 1, Int.max, 0, Self.noWait) == .failure(.noMessage))
    #expect(process.call(.msgrcv, 0, 1, -1, 0, Self.noWait) == .failure(.invalidArgument))
    pod.end()
  }

  @Test("a pod has as many messages as it may have, and then no memory for more")
  func limits() {
    let pod = kernel.makePod(names: 1...97)
    let process = pod.boot()
    var sets = 0
    while case .success = process.call(.semget, 0, 32_000, 0o600) { sets += 1 }
    #expect(sets == 4_194_304 / 32_000)
    #expect(process.call(.semget, 0, 32_000, 0o600) == .failure(.noSpace))
    #expect(process.call(.semget, 0, 1, 0o600).map { _ in true } == .success(true))
    #expect(process.call(.semctl, 0, 0, Self.remove) == .success(0))
    #expect(process.call(.semget, 0, 32_000, 0o600).map { _ in true } == .success(true))
    pod.end()
  }
}
