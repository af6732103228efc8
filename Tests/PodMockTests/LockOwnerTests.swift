internal import PodCore
internal import PodMock
internal import SystemPackage
internal import Testing

/// Lock words that name their owners (COVERAGE P63), in every order.
@Suite struct LockOwnerTests {
  @Test("a lock whose owner wrote its virtual number is the owner's for the kernel too")
  func lockOwner() {
    let lock = 6
    let unlock = 7
    expectProtected("lock owner", removing: [[.step(.publish, of: .futex)]]) { world in
      let pod = world.makePod()
      let process = pod.boot()
      process.call(.clone, 0x10100)
      guard let thread = pod.process(102) ?? pod.process(3) else { return }
      let word = process.allocate(4)
      // What Swift's Mutex does: the owner's gettid, by compare and exchange.
      try? process.write(word: 2, to: word)
      world.run("owner", process) { owner in
        world.note("unlock", owner.call(.futex, Int(word.rawValue), unlock))
      }
      world.run("waiter", thread) { waiter in
        world.note("lock", waiter.call(.futex, Int(word.rawValue), lock))
      }
      world.finally("the owner unlocked") { world.noted("unlock") == 0 }
      world.finally("the waiter locked") { world.noted("lock") == 0 }
    }
  }

  @Test("a lock that is freed, taken again and named again by another waiter is asked for again")
  func ownerReturns() {
    let tryLock = 8
    let unlock = 7
    expectProtected("lock owner returns", removing: []) { world in
      let pod = world.makePod(names: 1...63)
      let process = pod.boot()
      process.call(.clone, 0x10100)
      process.call(.clone, 0x10100)
      guard let waiter = pod.process(3), let other = pod.process(4) else { return }
      let word = process.allocate(4)
      try? process.write(word: 2, to: word)
      world.run("owner", process) { process in
        process.call(.sched_yield)
        // It frees its lock by the kernel where somebody waits, and takes it again.
        if (try? process.word(at: word)) == 2 { return world.note("taken", 0) }
        world.note("unlocked", process.call(.futex, Int(word.rawValue), unlock))
        guard (try? process.word(at: word)) == 0 else { return world.note("taken", 0) }
        try? process.write(word: 2, to: word)
        world.note("taken", 1)
      }
      world.run("other", other) { other in
        other.wait { world.noted("taken") != nil }
        guard world.noted("taken") == 1 else { return }
        world.note("tried", other.call(.futex, Int(word.rawValue), tryLock))
      }
      world.run("waiter", waiter) { waiter in
        world.note("lock", waiter.call(.futex, Int(word.rawValue), tryLock))
      }
      world.finally("the waiter is told that it is owned, or gets it") {
        [0, -11].contains(world.noted("lock") ?? 1)
      }
      world.finally("the other one too") { [0, -11].contains(world.noted("tried") ?? 0) }
      world.finally("who owned it could free it") { world.noted("unlocked") ?? 0 == 0 }
    }
  }

  @Test("a lock's owner is never a process outside")
  func ownerOutside() {
    let tryLock = 8
    let kernel = MockKernel()
    let outside = kernel.spawnOutside()
    let process = kernel.boot()
    let word = process.allocate(4)
    try? process.write(word: UInt32(bitPattern: outside.physical.rawValue), to: word)
    #expect(process.call(.futex, Int(word.rawValue), tryLock) == .failure(.noSuchProcess))
    // One that has ended was the pod's.
    process.call(.fork)
    try? process.write(word: 3, to: word)
    #expect(
      process.call(.futex, Int(word.rawValue), tryLock) == .failure(.resourceTemporarilyUnavailable)
    )
    process.call(.kill, 3, 9)
    #expect(process.call(.futex, Int(word.rawValue), tryLock) == .failure(.noSuchProcess))
    #expect(process.wait().map(\.child) == .success(3))
    #expect(process.call(.futex, Int(word.rawValue), tryLock) == .failure(.noSuchProcess))
  }

  @Test("a lock that is freed and taken under another virtual number on the way is asked for again")
  func ownerChanges() {
    let lock = 6
    let unlock = 7
    expectProtected(
      "lock owner changes", removing: [[.step(.retry, of: .futex)]]
    ) { world in
      let pod = world.makePod(names: 1...63)
      let process = pod.boot()
      process.call(.clone, 0x10100)
      process.call(.clone, 0x10100)
      guard let waiter = pod.process(3), let next = pod.process(4) else { return }
      let word = process.allocate(4)
      let owner: @Sendable () -> UInt32? = {
        (try? process.word(at: word)).map { $0 & 0x3FFF_FFFF }
      }
      try? process.write(word: 2, to: word)
      // Who owns it frees it by compare and exchange, or asks the kernel if that fails, as with any waiter.
      let free: @Sendable (MockProcess, UInt32) -> Void = { owning, name in
        if owner() == name {
          try? owning.write(word: 0, to: word)
        } else {
          world.note("unlock by \(name)", owning.call(.futex, Int(word.rawValue), unlock))
        }
      }
      world.run("owner", process) { process in
        process.call(.sched_yield)
        free(process, 2)
        // The next one takes it at once, if nobody else has.
        guard owner() == 0 else { return world.note("handed", 0) }
        try? process.write(word: 4, to: word)
        world.note("handed", 1)
      }
      world.run("next", next) { next in
        next.wait { world.noted("handed") != nil }
        if world.noted("handed") == 1 { free(next, 4) }
      }
      world.run("waiter", waiter) { waiter in
        world.note("lock", waiter.call(.futex, Int(word.rawValue), lock))
      }
      world.finally("the waiter gets it") { world.noted("lock") == 0 }
      world.finally("who owned it could free it") {
        world.noted("unlock by 2") ?? 0 == 0 && world.noted("unlock by 4") ?? 0 == 0
      }
    }
  }
}
