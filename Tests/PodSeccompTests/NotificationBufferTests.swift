import CLinux
import Glibc
import PodLinux
import PodSeccomp
import Synchronization
import SystemPackage
import Testing

@Suite("The memory of notifications")
struct NotificationBufferTests {
  /// A number that no kernel has.
  private static let number: UInt32 = 2000

  /// A thread that makes calls under a filter of its own.
  private final class Caller: Sendable {
    private struct State {
      var listener: Int32?
      var results: [Int] = []
    }
    private let state = Mutex(State())

    var listener: Int32? { state.withLock { $0.listener } }
    var results: [Int] { state.withLock { $0.results } }

    func run(_ program: BPFProgram, _ calls: [[UInt64]]) {
      let listener =
        CLinux_prctl(38, 1, 0, 0, 0) == 0
        ? CLinux_seccomp_install(
          program.bytes, program.instructions.count, CLinux_SECCOMP_FILTER_FLAG_NEW_LISTENER)
        : -EPERM
      state.withLock { $0.listener = listener }
      guard listener >= 0 else { return }
      for call in calls {
        let result = CLinux_syscall(
          Int(NotificationBufferTests.number), call[0], call[1], call[2], call[3], call[4], call[5])
        state.withLock { $0.results.append(result) }
      }
    }
  }

  @Test("each notification is whole, and each answer reaches its call")
  func exchange() throws {
    let program = try FilterRules([Self.number: .init(.notify)], unlisted: .allow).program()
    let calls = (0..<3 as Range<UInt64>).map { round in (0..<6).map { round << 60 | $0 << 32 | 7 } }
    let caller = Caller()
    let thread = try SupervisorThread.start(name: "filtered") { caller.run(program, calls) }
    while caller.listener == nil { sched_yield() }
    let listener = try #require(caller.listener)
    try #require(listener >= 0, "\(Errno(rawValue: -listener))")
    // A call without an answer would keep its thread for ever.
    defer {
      close(listener)
      thread.join()
    }
    var buffers = try NotificationBuffers()
    for (index, call) in calls.enumerated() {
      #expect(buffers.receive(from: listener) == 0)
      let (id, data) = (buffers.notification.id, buffers.notification.data)
      #expect(data.nr == Int32(Self.number))
      #expect(data.arch == FilterRules.nativeArchitecture)
      let words = [
        data.args.0, data.args.1, data.args.2, data.args.3, data.args.4, data.args.5,
      ]
      #expect(words == call)
      let answered =
        switch index {
        case 0: buffers.answer(id, value: 1 << 40, on: listener)
        case 1: buffers.answer(id, error: -ENOTNAM, on: listener)
        default: buffers.answer(id, flags: CLinux_SECCOMP_USER_NOTIF_FLAG_CONTINUE, on: listener)
        }
      #expect(answered == 0)
      // Before and after the caller has woken.
      #expect([-EINPROGRESS, -ENOENT].contains(buffers.answer(id, on: listener)))
    }
    while caller.results.count < 3 { sched_yield() }
    #expect(caller.results == [1 << 40, -Int(ENOTNAM), -Int(ENOSYS)])
  }
}
