import CLinux
import Glibc
import PodCore
import PodLinux
import Synchronization
import SystemPackage
import Testing

@testable import PodSeccomp

/// A supervisor of a pod in which no program runs.
private final class IdleSupervisor: Sendable {
  let supervisor: Supervisor

  init() throws {
    let setup = PodSetup(
      names: PodNames(pod: PodID(rawValue: 1), system: SystemNames()),
      configuration: PodConfiguration(), events: { _ in })
    let null = try FileDescriptor.open("/dev/null", .readWrite)
    supervisor = Supervisor(
      setup, podInit: try PodInit.start(mode: .supervised),
      listener: OwnedDescriptor(owning: null.rawValue), launcher: 0, isScoped: true)
  }

  deinit { supervisor.end() }

  func thread(_ tid: Int32 = 100) -> PodThread {
    PodThread(
      tid: tid,
      process: PodProcess(
        tgid: 100, name: VirtualName(rawValue: 2), tag: 1, identity: nil, space: AddressSpace()))
  }

  /// A wait of a thread that goes on by itself, with its stack there.
  func call(of thread: PodThread, stack: UInt64, _ mark: UInt64 = 0) -> DetachedCall {
    var registers = Registers()
    registers.stackPointer = RemoteAddress(rawValue: stack)
    let host = AttachedCaller(thread, supervisor)
    let transaction = Transaction(
      .wait4, CallArguments(mark), by: supervisor.caller(thread), names: supervisor.names,
      host: host)
    return DetachedCall(registers, transaction, host)
  }
}

private func stack(_ address: UInt64) -> RemoteAddress { RemoteAddress(rawValue: address) }

@Suite("What is known of a thread")
struct PodThreadTests {
  private let idle: IdleSupervisor
  private let thread: PodThread

  init() throws {
    idle = try IdleSupervisor()
    thread = idle.thread()
  }

  @Test("only the announced call is expected, with all its arguments")
  func expectation() {
    let arguments = CallArguments(1, 2, 3, 4, 5, 6)
    #expect(!thread.isExpected(62, arguments) && !thread.isAttended)
    thread.expect(.kill, arguments)
    #expect(thread.isAttended)
    #expect(thread.isExpected(62, arguments))
    // A call that a signal cut off is made again.
    #expect(thread.isExpected(62, arguments))
    #expect(!thread.isExpected(61, arguments))
    for index in 0..<6 {
      var other = arguments
      other[index] ^= 1 << 63
      #expect(!thread.isExpected(62, other))
    }
    thread.expect(.tgkill, arguments)
    #expect(!thread.isExpected(62, arguments))
    thread.expectNothing()
    #expect(!thread.isExpected(234, arguments) && !thread.isAttended)
  }

  @Test("a call that went on is found by its stack, once")
  func detached() {
    #expect(!thread.hasDetachedCalls)
    #expect(thread.pop(stack: stack(0x1000)) == nil)
    let call = idle.call(of: thread, stack: 0x1000)
    thread.push(call)
    #expect(thread.hasDetachedCalls)
    #expect(thread.pop(stack: stack(0x1008)) == nil)
    #expect(thread.pop(stack: stack(0x1000)) === call)
    #expect(!thread.hasDetachedCalls)
    #expect(thread.pop(stack: stack(0x1000)) == nil)
  }

  @Test("calls of handlers are inside those that they interrupted")
  func nested() {
    let calls = [0x3000, 0x2000, 0x1000].map { idle.call(of: thread, stack: $0) }
    for call in calls { thread.push(call) }
    #expect(thread.pop(stack: stack(0x1000)) === calls[2])
    #expect(thread.pop(stack: stack(0x2000)) === calls[1])
    #expect(thread.pop(stack: stack(0x3000)) === calls[0])
    // Who leaves a handler by longjmp leaves its calls, too.
    for call in calls { thread.push(call) }
    #expect(thread.pop(stack: stack(0x3000)) === calls[0])
    #expect(!thread.hasDetachedCalls)
  }

  @Test("of calls with the same stack the latest is meant")
  func sameStack() {
    let calls = (0..<2).map { _ in idle.call(of: thread, stack: 0x1000) }
    for call in calls { thread.push(call) }
    #expect(thread.pop(stack: stack(0x1000)) === calls[1])
    // A longjmp out of a handler had left the other.
    #expect(thread.pop(stack: stack(0x1000)) === calls[0])
  }

  @Test("of those that nobody comes back to the oldest are forgotten")
  func forgotten() {
    let calls = (1...40).map { idle.call(of: thread, stack: 0x100000 - UInt64($0) * 16) }
    for call in calls { thread.push(call) }
    for call in calls.prefix(8) { #expect(thread.pop(stack: call.stack) == nil) }
    for call in calls.suffix(32).reversed() { #expect(thread.pop(stack: call.stack) === call) }
    #expect(!thread.hasDetachedCalls)
  }

  @Test("a handler of a library's is expected once")
  func handlers() {
    #expect(thread.expectedHandler == nil)
    #expect(thread.expectHandler(of: 32))
    #expect(!thread.expectHandler(of: 33))
    #expect(thread.expectedHandler == 33)
    #expect(thread.forgetHandler())
    #expect(!thread.forgetHandler())
  }

  @Test("memory is shared in pieces that nobody has twice")
  func slots() {
    let space = AddressSpace()
    let count = AddressSpace.scratchSize / AddressSpace.slotSize
    let slots = (0..<count).compactMap { _ in space.takeSlot() }
    #expect(Set(slots) == Set(0..<count))
    #expect(space.takeSlot() == nil)
    space.giveBack(slot: 5)
    #expect(space.takeSlot() == 5)
    #expect(space.settleGate(stack(0x5000), insteadOf: nil) == stack(0x5000))
    // Of two threads that put one there at the same time, the first one's counts; and so when it is to be replaced.
    #expect(space.settleGate(stack(0x7000), insteadOf: nil) == stack(0x5000))
    #expect(space.gate == stack(0x5000))
    space.scratch = stack(0x6000)
    // A fork has the mappings, and none of the threads that use them.
    let copy = AddressSpace(copying: space)
    #expect(copy.gate == stack(0x5000) && copy.scratch == stack(0x6000))
    #expect(copy.takeSlot() == 0 && copy.sharers == 1)
    #expect(copy.settleGate(stack(0x8000), insteadOf: stack(0x5000)) == stack(0x8000))
    #expect(copy.settleGate(stack(0x9000), insteadOf: stack(0x5000)) == stack(0x8000))
    #expect(space.gate == stack(0x5000))
  }
}

@Suite("Where our code is in a program")
struct AddressSpaceTests {
  @Test("one page counts, whoever mapped another at the same time")
  func settling() {
    let space = AddressSpace()
    #expect(space.settleGate(stack(0x5000), insteadOf: nil) == stack(0x5000))
    #expect(space.settleGate(stack(0x7000), insteadOf: nil) == stack(0x5000))
    #expect(space.gate == stack(0x5000))
    // It was unmapped, or written over.
    #expect(space.settleGate(stack(0x7000), insteadOf: stack(0x5000)) == stack(0x7000))
    #expect(space.settleGate(stack(0x9000), insteadOf: stack(0x5000)) == stack(0x7000))
    #expect(space.gate == stack(0x7000))
  }

  @Test("who shares it is counted")
  func sharers() {
    let space = AddressSpace()
    space.share()
    space.share()
    space.leave()
    #expect(space.sharers == 2)
  }
}

@Suite("Signals of the C library")
struct LibrarySignalTests {
  @Test("only those that a process sends to its own threads")
  func recognition() {
    for signal in 1...64 as ClosedRange<UInt64> {
      let isOne = LibrarySignal.isOne(.tgkill, CallArguments(7, 9, signal), from: 7)
      #expect(isOne == (signal == 32 || signal == 33))
    }
    #expect(!LibrarySignal.isOne(.tgkill, CallArguments(8, 9, 32), from: 7))
    #expect(!LibrarySignal.isOne(.tkill, CallArguments(7, 9, 32), from: 7))
    #expect(!LibrarySignal.isOne(.kill, CallArguments(7, 32, 32), from: 7))
  }

  @Test("a handler runs where its signal is blocked")
  func blocking() throws {
    let results = Mutex<[Bool]>([])
    let thread = try SupervisorThread.start(name: "blocks") {
      // The C library's own functions leave these signals alone.
      func set(_ mask: UInt64) {
        var mask = mask
        withUnsafeMutablePointer(to: &mask) { pointer in
          let address = UInt64(UInt(bitPattern: pointer))
          _ = CLinux_syscall(Int(Syscall.rt_sigprocmask.rawValue), 2, address, 0, 8, 0, 0)
        }
      }
      let tid = CLinux_gettid()
      set(0)
      var found = [LibrarySignal.isBlocked(33, by: tid)]
      set(1 << 32)
      found += [LibrarySignal.isBlocked(33, by: tid), LibrarySignal.isBlocked(32, by: tid)]
      set(1 << 31)
      found += [LibrarySignal.isBlocked(33, by: tid), LibrarySignal.isBlocked(32, by: tid)]
      let all = found
      results.withLock { $0 = all }
    }
    thread.join()
    #expect(results.withLock({ $0 }) == [false, true, false, false, true])
    #expect(!LibrarySignal.isBlocked(32, by: .max))
  }
}
