import CLinux
import Glibc
import PodCore
import PodLinux
import SystemPackage
import Testing

@testable import PodSeccomp

@Suite("The receivers of a pod")
struct ReceiverPoolTests {
  private let pool = ReceiverPool()

  private func notification(_ id: UInt64) -> Notification {
    var raw = seccomp_notif()
    raw.id = id
    return Notification(raw)
  }

  private func start() throws(Errno) -> SupervisorThread {
    try SupervisorThread.start(name: "none") {}
  }

  private func startNobody() throws(Errno) -> SupervisorThread {
    Issue.record("another receiver")
    return try start()
  }

  private func lackThreads() throws(Errno) -> SupervisorThread {
    throw .resourceTemporarilyUnavailable
  }

  /// Asks with a receiver that has the turn.
  private func mayAttend(
    _ id: UInt64, _ start: () throws(Errno) -> SupervisorThread
  ) -> Bool {
    var hasTurn = true
    let may = pool.mayAttend(notification(id), hasTurn: &hasTurn, start)
    #expect(hasTurn != may, "who attends has no turn, and who doesn't keeps it")
    return may
  }

  /// The number of what a receiver without the turn is to serve; nil when it is to do something else.
  private var next: UInt64? {
    if case .serve(let notification) = pool.next() { notification.id } else { nil }
  }

  /// A thread that sleeps until it has the turn, and says what it is woken for.
  private func sleeper() throws -> (thread: SupervisorThread, woken: Promise<Bool>) {
    let woken = Promise<Bool>()
    let pool = pool
    let thread = try SupervisorThread.start(name: "sleeper") {
      if case .receive = pool.next() { woken.fulfil(true) } else { woken.fulfil(false) }
    }
    return (thread, woken)
  }

  private func waitUntilIdle(_ count: Int) { while pool.idleCount < count { usleep(1000) } }

  @Test("who has no turn attends without asking anybody")
  func withoutTurn() throws {
    try pool.begin(start)
    var hasTurn = false
    #expect(pool.mayAttend(notification(1), hasTurn: &hasTurn, startNobody))
    #expect(!hasTurn)
    #expect(!pool.hasBacklog)
    pool.join()
  }

  @Test("who has the turn passes it on to a new receiver before it attends")
  func another() throws {
    try pool.begin(start)
    #expect(mayAttend(1, start))
    #expect(pool.count == 2)
    #expect(mayAttend(2, start))
    #expect(pool.count == 3)
    #expect(!pool.hasBacklog)
    pool.join()
  }

  @Test("who became idle last has the turn next, and nobody is started")
  func idle() async throws {
    try pool.begin(start)
    let first = try sleeper()
    waitUntilIdle(1)
    let second = try sleeper()
    waitUntilIdle(2)
    #expect(mayAttend(1, startNobody))
    #expect(await second.woken.value)
    #expect(pool.idleCount == 1)
    #expect(mayAttend(2, startNobody))
    #expect(await first.woken.value)
    first.thread.join()
    second.thread.join()
    pool.join()
  }

  @Test("as many as there may be, then notifications wait, the oldest first")
  func most() throws {
    try pool.begin(start)
    for count in 2...ReceiverPool.most {
      #expect(mayAttend(0, start))
      #expect(pool.count == count)
    }
    for id in 1...5 as ClosedRange<UInt64> { #expect(!mayAttend(id, startNobody)) }
    #expect(pool.count == ReceiverPool.most)
    #expect(next == 1)
    #expect(next == 2)
    #expect(!mayAttend(6, startNobody))
    #expect((3...6).map { _ in next } == [3, 4, 5, 6])
    #expect(!pool.hasBacklog)
    pool.join()
  }

  @Test("a notification waits where no thread is to be had, until one is")
  func noThread() throws {
    try pool.begin(start)
    #expect(!mayAttend(9, lackThreads))
    #expect(pool.count == 1)
    #expect(pool.hasBacklog)
    var hasTurn = true
    #expect(pool.takeWaiting(hasTurn: &hasTurn, lackThreads) == nil)
    #expect(hasTurn)
    #expect(pool.takeWaiting(hasTurn: &hasTurn, start)?.id == 9)
    #expect(!hasTurn)
    #expect(!pool.hasBacklog)
    #expect(pool.count == 2)
    pool.join()
  }

  @Test("where no thread is to be had, one of several turns is given up, and the last one stays")
  func turnGivenUp() throws {
    try pool.begin(start)
    pool.grow(start)
    #expect(mayAttend(1, lackThreads))
    #expect(!mayAttend(2, lackThreads))
    #expect(next == 2)
    pool.join()
  }

  @Test("for calls that come at once there are as many turns as CPUs, and two at least; one stays")
  func growth() throws {
    try pool.begin(start)
    for _ in 0..<100 { pool.grow(start) }
    let processors = Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    let most = max(2, min(ReceiverPool.most, processors))
    #expect(pool.count == most)
    for _ in 1..<most { #expect(pool.retreat()) }
    #expect(!pool.retreat())
    // Without a thread it is as it was.
    pool.grow(lackThreads)
    #expect(pool.count == most)
    #expect(!pool.retreat())
    pool.join()
  }

  @Test("at the end who sleeps is woken, and nobody sleeps any more")
  func close() async throws {
    try pool.begin(start)
    let sleeper = try sleeper()
    waitUntilIdle(1)
    pool.close()
    #expect(await !sleeper.woken.value)
    if case .end = pool.next() {} else { Issue.record("there is something left to do") }
    sleeper.thread.join()
    pool.join()
  }

  @Test("a pod whose first receiver has no thread doesn't start")
  func noFirst() {
    #expect(throws: Errno.resourceTemporarilyUnavailable) {
      try pool.begin { () throws(Errno) in throw .resourceTemporarilyUnavailable }
    }
    #expect(pool.count == 0)
  }

  @Test("a notification is what the kernel says")
  func contents() {
    var raw = seccomp_notif()
    raw.id = 1 << 63
    raw.pid = 4_194_303
    raw.data.nr = 39
    raw.data.instruction_pointer = 0x7FFF_FFFF_F000
    raw.data.args = (1, 2, 3, 4, 5, .max)
    let notification = Notification(raw)
    #expect(notification.id == 1 << 63)
    #expect(notification.tid == 4_194_303)
    #expect(notification.number == 39)
    #expect(notification.instructionPointer.rawValue == 0x7FFF_FFFF_F000)
    #expect((0..<6).map { notification.arguments[$0] } == [1, 2, 3, 4, 5, .max])
  }
}
