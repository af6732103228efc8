internal import CLinux
internal import Glibc
internal import PodCore
internal import PodLinux
internal import SystemPackage

/// A stopped thread as the host of the transaction that it is in.
///
/// Kernel calls are made in the thread's own context: registers are rewritten, the call runs to its exit stop, and the
/// thread is brought back before the call that it made itself.
final class StoppedCaller: TransactionHost, MappingHost {
  private unowned let tracee: Tracee
  private unowned let supervisor: Supervisor

  init(_ tracee: Tracee, _ supervisor: Supervisor) {
    self.tracee = tracee
    self.supervisor = supervisor
  }

  var callerState: any CallerState { tracee.process }

  func willRun(_ step: Step, on name: Int32) -> Bool { true }

  func perform(
    _ call: Syscall, _ arguments: CallArguments, for caller: Caller
  ) throws(Errno) -> Int {
    try tracee.perform(call, arguments, supervisor).get()
  }

  func perform(_ call: Syscall, _ arguments: CallArguments) throws(Errno) -> CallResult {
    try tracee.perform(call, arguments, supervisor)
  }

  func processGroup(
    of process: PhysicalName<ProcessID>, for caller: Caller
  ) throws(Errno) -> PhysicalName<ProcessID> {
    try process.group()
  }

  func read(_ address: RemoteAddress, into buffer: UnsafeMutableRawBufferPointer) throws(Errno) {
    try tracee.process.space.memory.read(address, into: buffer, stopped: tracee.tid)
  }

  func write(_ bytes: UnsafeRawBufferPointer, to address: RemoteAddress) throws(Errno) {
    try tracee.process.space.memory.write(address, bytes: bytes, stopped: tracee.tid)
  }

  func scratch(_ bytes: UnsafeRawBufferPointer) throws(Errno) -> RemoteAddress {
    let address = try tracee.scratchAddress(for: bytes.count, supervisor)
    do throws(Errno) {
      try write(bytes, to: address)
      return address
    } catch .badAddress {
      // The program has unmapped or protected what it didn't map: it gets another piece.
      tracee.process.space.scratch = nil
      let address = try tracee.scratchAddress(for: bytes.count, supervisor)
      try write(bytes, to: address)
      return address
    }
  }

  func directory(_ descriptor: Int32?) -> [UInt8]? {
    ProcessStatus.directory(descriptor, of: tracee.tid)
  }

  /// Without memory the filter is installed all the same; calls that need some ask again.
  func willFilterCalls() {
    do throws(Errno) {
      _ = try tracee.scratchAddress(for: 0, supervisor)
      _ = try tracee.codePage(supervisor)
    } catch {}
  }

  func realUser(of task: PhysicalName<ProcessID>) throws(Errno) -> UInt32 {
    guard let user = ProcessStatus.number("Uid", of: task.rawValue) else { throw .noSuchProcess }
    return UInt32(truncatingIfNeeded: user)
  }

  var segmentHost: any SegmentHost { KernelSegments(of: tracee.tid) }

  func credentials(of caller: Caller) throws(Errno) -> CallerCredentials {
    guard let credentials = ProcessStatus.credentials(of: tracee.tid) else { throw .noSuchProcess }
    return credentials
  }

  /// It sleeps in ppoll(2), which waits for nothing and begins anew after a stop.
  func prepareSleep(for time: Duration?) throws(Errno) -> Sleep? {
    var limit: RemoteAddress?
    if let time {
      // It may have begun to wait before.
      let left = max(time - tracee.began.duration(to: .now), .zero)
      let (seconds, attoseconds) = left.components
      let words = [seconds, attoseconds / 1_000_000_000]
      limit = try words.withUnsafeBytes { bytes in
        Result { () throws(Errno) in try scratch(bytes) }
      }.get()
    }
    return Sleep(
      TraceeSleeper(tracee), call: .ppoll, CallArguments(0, 0, limit?.rawValue ?? 0),
      timedOut: .success(0))
  }

  func task(behind descriptor: Int32) throws(Errno) -> ProcessHandle.Target {
    try ProcessHandle.Target(behind: descriptor, of: tracee.tid)
  }

  func kind(ofDescriptor descriptor: Int32) -> DescriptorKind? {
    supervisor.kind(ofDescriptor: descriptor, of: tracee)
  }

  func compareExchange(
    _ address: RemoteAddress, expected: UInt32, desired: UInt32
  ) throws(Errno) -> Bool {
    try tracee.compareExchange(address, expected, desired, supervisor)
  }
}

/// The sleep of a traced thread: its tracer ends it by making the thread stop, and hears of any other end before the
/// program does. So until then it sleeps.
///
/// Used by the tracer's thread alone.
private final class TraceeSleeper: Sleeper, @unchecked Sendable {
  private weak var tracee: Tracee?

  init(_ tracee: Tracee) { self.tracee = tracee }

  func wake() -> Bool {
    guard let tracee else { return false }
    if CLinux_ptrace_interrupt(tracee.tid) == 0 { tracee.wasInterrupted = true }
    return true
  }

  /// As soon as its tracer has let it go, it hears of a wake.
  var isAsleep: Bool { tracee != nil }

  func end() {}
}

extension Tracee {
  /// Makes a kernel call in this thread's context while the call that it made waits.
  func perform(
    _ call: Syscall, _ arguments: CallArguments, _ supervisor: Supervisor
  ) throws(Errno) -> CallResult {
    try holdSignals()
    if position == .exit { try reenter(supervisor) }
    var injected = registers
    injected.syscallNumber = Int(call.rawValue)
    injected.setArguments(arguments)
    try injected.set(to: tid)
    try stepToExit(supervisor)
    position = .exit
    return try Registers(of: tid).callResult
  }

  /// At the entry of a call: gets access to memory that the kernel denies since the program has other users or was
  /// executed without the right to read it, and goes on showing the program the flag that it would see.
  ///
  /// Source: DESIGN.md §4.7; PR_SET_DUMPABLE(2const); kernel/ptrace.c, `ptrace_access_vm`.
  func comeWithinReach(_ supervisor: Supervisor) {
    var byte: UInt8 = 0
    do throws(Errno) {
      try withUnsafeMutableBytes(of: &byte) { bytes throws(Errno) in
        try process.space.memory.read(registers.stackPointer, into: bytes, stopped: tid)
      }
      process.mayBeOutOfReach = false
      return
    } catch {}
    let (get, set): (UInt64, UInt64) = (3, 4)
    do throws(Errno) {
      let flag = try perform(.prctl, CallArguments(get), supervisor)
      process.mayBeOutOfReach = false
      guard case .success(let value) = flag, value != 1 else { return }
      if process.dumpable == nil { process.dumpable = Int32(truncatingIfNeeded: value) }
      _ = try perform(.prctl, CallArguments(set, 1), supervisor)
    } catch {}
  }

  /// From the entry or exit of a call to the exit of the call that the registers say.
  private func stepToExit(_ supervisor: Supervisor) throws(Errno) {
    while true {
      try check(CLinux_ptrace_syscall(tid, 0))
      let status = try wait(supervisor)
      if CLinux_WIFSTOPPED(status) != 0, CLinux_WSTOPSIG(status) == SIGTRAP | 0x80 {
        var info = CLinux_syscall_info()
        try check(CLinux_ptrace_get_syscall_info(tid, &info))
        if Int(info.op) == CLinux_SYSCALL_INFO_EXIT { return }
      }
    }
  }

  /// Makes the thread, stopped at an exit, execute its own system call instruction again, up to the entry.
  func reenter(_ supervisor: Supervisor) throws(Errno) {
    try registersForRepetition.set(to: tid)
    try goToEntry(supervisor)
  }

  /// Goes on to the stop at the entry of the thread's own call: the filter's, where there is one.
  ///
  /// Whoever shares its memory may put other code there meanwhile. So the first call that it enters is made its own one; and
  /// who does something else instead, or stops again and again, has made no call.
  private func goToEntry(_ supervisor: Supervisor) throws(Errno) {
    for _ in 0..<Self.stopsOnTheWay {
      try check(CLinux_ptrace_syscall(tid, 0))
      let status = try wait(supervisor)
      if process.isFiltered, Int(status >> 16) == CLinux_PTRACE_EVENT_SECCOMP {
        position = .entry
        return
      }
      guard CLinux_WIFSTOPPED(status) != 0, CLinux_WSTOPSIG(status) == SIGTRAP | 0x80 else {
        continue
      }
      var info = CLinux_syscall_info()
      try check(CLinux_ptrace_get_syscall_info(tid, &info))
      guard Int(info.op) == CLinux_SYSCALL_INFO_ENTRY else { break }
      if !process.isFiltered {
        position = .entry
        return
      }
      try registers.set(to: tid)
    }
    position = .exit
    throw .badAddress
  }

  /// Stops that aren't calls, of a thread that is on its way to one: group stops and the like.
  private static let stopsOnTheWay = 64

  /// Blocks all signals of the thread while it makes calls that are not its own: one that came between them would be
  /// delivered on the way, to a handler that finds registers of ours.
  private func holdSignals() throws(Errno) {
    guard heldMask == nil else { return }
    var mask: UInt64 = 0
    try check(CLinux_ptrace_getsigmask(tid, &mask))
    try check(CLinux_ptrace_setsigmask(tid, .max))
    heldMask = mask
  }

  /// Ends ``holdSignals()``: the thread goes on with its own call.
  func restoreSignals() throws(Errno) {
    guard let mask = heldMask else { return }
    heldMask = nil
    try check(CLinux_ptrace_setsigmask(tid, mask))
    // A group stop that came meanwhile was passed over; the kernel reports it again when asked.
    if missedStop {
      missedStop = false
      try check(CLinux_ptrace_interrupt(tid))
    }
  }

  /// Lets a call go on that our stop has ended with EINTR: the kernel makes it again unless a signal has come too. Calls
  /// that wait for a time wait for all of it again.
  ///
  /// Source: signal(7), "Interruption of system calls and library functions by stop signals".
  func hideInterruption() {
    // A close has closed what it was to close, and would close another's.
    guard var registers = try? Registers(of: tid), registers.syscallNumber >= 0,
      registers.syscallNumber != Int(Syscall.close.rawValue), registers.resultError == .interrupted
    else { return }
    registers.setResult(error: Errno(rawValue: InterruptedWait.restartUnlessHandled))
    try? registers.set(to: tid)
  }

  /// The registers at the entry, back before the instruction that made the call.
  var registersForRepetition: Registers {
    var again = registers
    again.instructionPointer = registers.instructionPointer + -2
    again.result = UInt64(registers.syscallNumber)
    // Outside a call: the kernel must not take the change for a restart.
    again.skipCall()
    return again
  }

  /// Waits for this thread's next stop.
  private func wait(_ supervisor: Supervisor) throws(Errno) -> Int32 {
    let status = try supervisor.report(of: self, evenIfItRuns: true)
    let event = Int(status >> 16)
    // An exec's stop here is that of another thread, which has this one's number now.
    guard CLinux_WIFSTOPPED(status) != 0, event != CLinux_PTRACE_EVENT_EXEC else {
      lost = status
      throw .noSuchProcess
    }
    let isCaught = wasCaught
    wasCaught = false
    if event == CLinux_PTRACE_EVENT_STOP {
      if isCaught { throw .badAddress }
      missedStop = true
    } else if isCaught {
      // It made its call at the last moment, and finds our request to stop later.
      wasInterrupted = true
    }
    return status
  }

  private func check(_ result: Int32) throws(Errno) {
    if result < 0 { throw Errno(rawValue: -result) }
  }

  /// Memory of the process that no program uses, for `count` bytes of this transaction.
  func scratchAddress(for count: Int, _ supervisor: Supervisor) throws(Errno) -> RemoteAddress {
    let space = process.space
    let base: RemoteAddress
    if let known = space.scratch {
      base = known
    } else {
      base = try map(AddressSpace.scratchSize, protection: PROT_READ | PROT_WRITE, supervisor)
      space.scratch = base
    }
    if scratch == nil, let slot = space.takeSlot() { scratch = (space, slot, 0) }
    guard let used = scratch, used.used + count <= AddressSpace.slotSize else { throw .noMemory }
    scratch?.used += (count + 15) / 16 * 16
    return base + (used.slot * AddressSpace.slotSize + used.used)
  }

  private func map(
    _ size: Int, protection: Int32, _ supervisor: Supervisor
  ) throws(Errno) -> RemoteAddress {
    let result = try perform(
      .mmap,
      CallArguments(
        0, UInt64(size), UInt64(protection), UInt64(MAP_PRIVATE | MAP_ANONYMOUS), .max, 0),
      supervisor)
    return RemoteAddress(rawValue: UInt64(bitPattern: Int64(try result.get())))
  }

  /// `lock cmpxchg %esi, (%rdi)` and `syscall`, whose number is the word that was there.
  private static let compareExchangeCode: [UInt8] = [0xF0, 0x0F, 0xB1, 0x37, 0x0F, 0x05]
  private static let faults: UInt64 = 1 << UInt64(SIGSEGV - 1) | 1 << UInt64(SIGBUS - 1)

  /// Replaces a word atomically: the thread executes one instruction on a page of ours, and there makes a call, which
  /// becomes its own at the entry. A breakpoint or single step would be a signal, and a signal that is forced on a thread
  /// which blocks or ignores it takes the program's handler away.
  func compareExchange(
    _ address: RemoteAddress, _ expected: UInt32, _ desired: UInt32, _ supervisor: Supervisor
  ) throws(Errno) -> Bool {
    let page = try codePage(supervisor)
    try holdSignals()
    // Out of the call first: a skipped one has an exit stop too.
    if position == .entry {
      var skipped = registers
      if process.isFiltered { skipped.skipCall() } else { skipped.replaceCall() }
      try skipped.set(to: tid)
      try stepToExit(supervisor)
      position = .exit
    }
    var step = registers
    step.skipCall()
    step.instructionPointer = page
    step.result = UInt64(expected)
    step.arguments[0] = address.rawValue
    step.arguments[1] = UInt64(desired)
    try step.set(to: tid)
    try check(CLinux_ptrace_setsigmask(tid, .max & ~Self.faults))
    let found = try runToEntry(supervisor)
    try check(CLinux_ptrace_setsigmask(tid, .max))
    guard let found else { throw .badAddress }
    try registers.set(to: tid)
    // Without a filter the thread is at its call's entry already.
    if process.isFiltered { try goToEntry(supervisor) } else { position = .entry }
    return found == expected
  }

  /// The page with our code, put there again where the program has taken it away or written over it.
  func codePage(_ supervisor: Supervisor) throws(Errno) -> RemoteAddress {
    if let known = process.space.codePage {
      var found = [UInt8](repeating: 0, count: Self.compareExchangeCode.count)
      let isThere = found.withUnsafeMutableBytes { bytes in
        (try? process.space.memory.read(known, into: bytes, stopped: tid)) != nil
      }
      if isThere, found == Self.compareExchangeCode { return known }
      process.space.codePage = nil
    }
    let page = try map(4096, protection: PROT_READ | PROT_EXEC, supervisor)
    try process.space.memory.writeCode(page, bytes: Self.compareExchangeCode, stopped: tid)
    process.space.codePage = page
    return page
  }

  /// Runs our code to its call.
  ///
  /// - Returns: The call's number; nil when the code couldn't reach the word.
  private func runToEntry(_ supervisor: Supervisor) throws(Errno) -> UInt32? {
    for _ in 0..<Self.stopsOnTheWay {
      try check(CLinux_ptrace_syscall(tid, 0))
      let status = try wait(supervisor)
      let signal = CLinux_WSTOPSIG(status)
      if signal == SIGTRAP | 0x80 {
        return UInt32(truncatingIfNeeded: try Registers(of: tid).syscallNumber)
      }
      if status >> 16 == 0, signal == SIGSEGV || signal == SIGBUS {
        var info = siginfo_t()
        if CLinux_ptrace_getsiginfo(tid, &info) == 0, info.si_code > 0 { return nil }
      }
    }
    return nil
  }
}
