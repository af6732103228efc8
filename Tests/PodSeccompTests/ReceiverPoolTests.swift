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

  /// Asks with a receiver that is to start nobody.
  private func mayAttend(_ id: UInt64) -> Bool {
    pool.mayAttend(notification(id)) { () throws(Errno) in
      Issue.record("another receiver")
      return try start()
    }
  }

  private func mayAttendWithAnother(_ id: UInt64) -> Bool {
    pool.mayAttend(notification(id)) { () throws(Errno) in try start() }
  }

  @Test("where another receiver is free, none is started")
  func enough() throws {
    try pool.begin(start)
    #expect(pool.count == 1)
    #expect(mayAttend(1))
    #expect(pool.takeWaiting() == nil)
    pool.join()
  }

  @Test("the last free one starts another before it attends")
  func another() throws {
    try pool.begin(start)
    pool.becomeBusy()
    #expect(mayAttendWithAnother(1))
    #expect(pool.count == 2)
    // The new one is free.
    #expect(mayAttend(2))
    pool.becomeBusy()
    #expect(mayAttendWithAnother(3))
    #expect(pool.count == 3)
    pool.becomeFree()
    #expect(mayAttend(4))
    #expect(pool.takeWaiting() == nil)
    pool.join()
  }

  @Test("as many as there may be, then notifications wait, the oldest first")
  func most() throws {
    try pool.begin(start)
    pool.becomeBusy()
    for count in 2...ReceiverPool.most {
      #expect(mayAttendWithAnother(0))
      #expect(pool.count == count)
      pool.becomeBusy()
    }
    for id in 1...5 as ClosedRange<UInt64> { #expect(!mayAttend(id)) }
    #expect(pool.count == ReceiverPool.most)
    #expect(pool.takeWaiting()?.id == 1)
    #expect(pool.takeWaiting()?.id == 2)
    #expect(!mayAttend(6))
    #expect((3...6).map { _ in pool.takeWaiting()?.id } == [3, 4, 5, 6])
    #expect(pool.takeWaiting() == nil)
    pool.becomeFree()
    #expect(mayAttend(7))
    pool.join()
  }

  @Test("a notification waits where no thread is to be had")
  func noThread() throws {
    try pool.begin(start)
    pool.becomeBusy()
    let may = pool.mayAttend(notification(9)) { () throws(Errno) in
      throw .resourceTemporarilyUnavailable
    }
    #expect(!may)
    #expect(pool.count == 1)
    #expect(pool.takeWaiting()?.id == 9)
    #expect(mayAttendWithAnother(10))
    pool.join()
  }

  @Test("for calls that come at once there are as many as CPUs, and two at least")
  func growth() throws {
    try pool.begin(start)
    for _ in 0..<100 { pool.grow(start) }
    let processors = Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    #expect(pool.count == max(2, min(ReceiverPool.most, processors)))
    #expect(mayAttend(1))
    // Without a thread it is as it was.
    let count = pool.count
    pool.grow { () throws(Errno) in throw .resourceTemporarilyUnavailable }
    #expect(pool.count == count)
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
