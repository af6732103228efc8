internal import CLinux
internal import Glibc
package import PodCore
internal import Synchronization
package import SystemPackage

/// A thread that stands still outside its system call, held for a short time by ptrace, and makes calls for us.
///
/// In a nutshell: the thread waits in a call that its filter has handed to a supervisor. It is seized and asked to stop
/// (``init(seizing:)``); the supervisor answers the call with any value, and the thread stops on its way back to the
/// program (``stop()``). Then it executes its own system call instruction again as often as it is told to, with other
/// numbers and arguments (``perform(_:_:)``, ``perform(_:_:at:withSignals:makesTask:onBirth:)``), and is let go with the result that the
/// program is to see (``finish(_:)``). Signals wait meanwhile, and a stop of the whole group is taken up again afterwards.
///
/// All methods are called by the thread that made the value. A thread that is killed meanwhile makes them throw
/// `.noSuchProcess`; nothing waits for ever, since who is killed reports it.
///
/// Source: ptrace(2); DESIGN.md §5.
package final class AttachedThread {
  /// The thread.
  package private(set) var tid: Int32
  /// The registers of the program at its call, its result not yet in them.
  package private(set) var registers = Registers()
  /// Whether the thread has ended, or has become another's number, while it was held.
  package private(set) var isGone = false
  /// The thread's own signal mask while its signals wait.
  private var heldMask: UInt64?
  /// Whether a SIGSYS came that is to be sent again.
  private var isOwedTrap = false
  /// Reports that came while another one was waited for.
  private var early: [Int32: Int32] = [:]
  /// Whether the thread is made to stop when it sleeps, and whether it was.
  private var endsSleeps = false
  private var hasSlept = false

  /// Where it and the calling thread run meanwhile.
  private var place: SharedCPU?

  /// Called before each call that the thread makes, with what the kernel is going to get.
  package var willPerform: (Syscall, CallArguments) -> Void = { _, _ in }
  /// Called before each sleep, with whose reports it is for.
  package var willSleep: ([Int32]) -> Void = { _ in }

  /// Seizes a thread and asks it to stop as soon as it is out of the kernel.
  ///
  /// - Throws: `.notPermitted` when it may not be traced, or is traced already; `.noSuchProcess`.
  package init(seizing tid: Int32) throws(Errno) {
    self.tid = tid
    try Self.check(CLinux_ptrace_seize(tid, Self.options))
    do throws(Errno) {
      try Self.check(CLinux_ptrace_interrupt(tid))
    } catch {
      abandon()
      throw error
    }
  }

  /// Keeps the thread, until it is let go, on the CPU that the calling one is on.
  package func stayTogether() {
    if place == nil { place = SharedCPU(with: tid) }
  }

  private static let options = UInt(
    CLinux_PTRACE_O_TRACESYSGOOD | CLinux_PTRACE_O_TRACEFORK | CLinux_PTRACE_O_TRACEVFORK
      | CLinux_PTRACE_O_TRACECLONE | CLinux_PTRACE_O_TRACEEXEC | CLinux_PTRACE_O_EXITKILL)

  private static func check(_ result: Int32) throws(Errno) {
    if result < 0 { throw Errno(rawValue: -result) }
  }

  /// The next report of the thread, or of its newborn: the calling thread traces nobody else.
  ///
  /// It waits for any of them, since a first thread that is killed by another one's exec is not its number's when it goes, and
  /// who waits for the number sleeps for ever.
  ///
  /// Source: fs/exec.c, `de_thread`; kernel/exit.c, `eligible_pid`.
  private func report(of tid: Int32) throws(Errno) -> Int32 {
    while true {
      if let status = early.removeValue(forKey: tid) { return status }
      let (reporter, status) = try nextReport([tid])
      if reporter == tid { return status }
      early[reporter] = status
    }
  }

  /// How often in a row, 16 ms apart, a thread may be found asleep in a call that is over at once.
  private static let sleeps = 8

  /// The next report of whomever the calling thread traces.
  ///
  /// - Parameter awaited: Who is looked at where the host program takes reports.
  private func nextReport(_ awaited: [Int32]) throws(Errno) -> (tid: Int32, status: Int32) {
    var turn: UInt32 = 0
    var sleeps = 0
    willSleep(awaited)
    while true {
      let isWatchful = HostReports.areTaken.load(ordering: .relaxed) || endsSleeps
      var status: Int32 = 0
      let options = CLinux_WAIT_ALL | CLinux_WAIT_NO_THREAD | (isWatchful ? Int(WNOHANG) : 0)
      let reporter = CLinux_wait4(-1, &status, Int32(options), nil)
      if reporter > 0 { return (reporter, status) }
      if reporter == -EINTR { continue }
      if reporter < 0 { throw .noSuchProcess }
      for tid in awaited {
        if let status = missedStop(of: tid) { return (tid, status) }
      }
      turn &+= 1
      if turn < 8 { sched_yield() } else { usleep(min(turn, 50) * 10) }
      if endsSleeps, turn % 32 == 0 {
        sleeps = ProcessStatus.isAsleep(tid) ? sleeps + 1 : 0
        if sleeps > Self.sleeps {
          hasSlept = true
          _ = CLinux_ptrace_interrupt(tid)
        }
      }
    }
  }

  /// Why a thread stands still, if the report of it was taken by somebody else.
  private func missedStop(of tid: Int32) -> Int32? {
    var info = siginfo_t()
    let result = CLinux_ptrace_getsiginfo(tid, &info)
    // Only a thread that stands still answers, in a group stop that it has none.
    guard result == 0 || result == -EINVAL, !HostReports.hasReport(tid) else { return nil }
    if result == -EINVAL { return (SIGSTOP | Int32(CLinux_PTRACE_EVENT_STOP) << 8) << 8 | 0x7F }
    // With the kernel's mark for calls, which no signal has.
    if info.si_signo == SIGTRAP, info.si_code == SIGTRAP | 0x80 {
      return (SIGTRAP | 0x80) << 8 | 0x7F
    }
    let isEvent = info.si_signo == SIGTRAP && info.si_code > 0 && info.si_code & 0xFF == SIGTRAP
    return (isEvent ? info.si_code : info.si_signo) << 8 | 0x7F
  }

  /// The next stop of the thread.
  private func nextStop() throws(Errno) -> Stop {
    let status: Int32
    do throws(Errno) {
      status = try report(of: tid)
    } catch {
      isGone = true
      throw error
    }
    guard CLinux_WIFSTOPPED(status) != 0 else {
      isGone = true
      throw .noSuchProcess
    }
    return Stop(status)
  }

  private struct Stop {
    let signal: Int32
    let event: Int

    init(_ status: Int32) {
      signal = CLinux_WSTOPSIG(status)
      event = Int(status >> 16)
    }

    var isBirth: Bool {
      [CLinux_PTRACE_EVENT_FORK, CLinux_PTRACE_EVENT_VFORK, CLinux_PTRACE_EVENT_CLONE]
        .contains(event)
    }
    var isCall: Bool { event == 0 && signal == SIGTRAP | 0x80 }
    var isPause: Bool { event == CLinux_PTRACE_EVENT_STOP }
    var isSignal: Bool { event == 0 && !isCall }
  }

  // MARK: Stopping

  /// Waits until the thread stands still; its call has to be answered before.
  ///
  /// - Throws: `.noSuchProcess` when it ends instead.
  package func stop() throws(Errno) {
    var signal: Int32 = 0
    while true {
      let stop = try nextStop()
      if stop.isPause {
        do throws(Errno) {
          registers = try Registers(of: tid)
          registers.skipCall()
          try holdSignals()
        } catch {
          throw fail(error)
        }
        return
      }
      signal = stop.isSignal ? stop.signal : 0
      try resume(signal)
    }
  }

  /// Gives up: the thread was seized, and turned out to be another one than was meant, wherever it is.
  ///
  /// It is let go from whichever stop comes first: each one serves the request to stop, so that no other need come.
  ///
  /// Source: kernel/signal.c, `ptrace_stop`: "any trap clears pending STOP trap".
  package func withdraw() {
    if let stop = try? nextStop() {
      var message: UInt = 0
      if stop.isBirth, CLinux_ptrace_geteventmsg(tid, &message) == 0 {
        _ = welcome(Int32(truncatingIfNeeded: message)) { _ in false }
      }
      release(with: stop.isSignal ? stop.signal : 0)
    }
    greetOrphans { _ in false }
  }

  /// Whether the thread is still there, and held by the calling one.
  package var standsStill: Bool {
    var info = siginfo_t()
    let result = CLinux_ptrace_getsiginfo(tid, &info)
    return !isGone && (result == 0 || result == -EINVAL)
  }

  /// Blocks all signals of the thread: one that came between calls for us would be delivered on the way, to a handler
  /// that finds registers of ours.
  private func holdSignals() throws(Errno) {
    guard heldMask == nil else { return }
    var mask: UInt64 = 0
    try Self.check(CLinux_ptrace_getsigmask(tid, &mask))
    try Self.check(CLinux_ptrace_setsigmask(tid, Self.all))
    heldMask = mask
  }

  /// All signals but the one by which a filter of the program's own traps a call: one that is forced on a thread which blocks
  /// it takes the program's handler away.
  private static let all: UInt64 = .max & ~(1 << UInt64(SIGSYS - 1))

  private func restoreSignals() throws(Errno) {
    guard let mask = heldMask else { return }
    heldMask = nil
    try Self.check(CLinux_ptrace_setsigmask(tid, mask))
  }

  private func resume(_ signal: Int32) throws(Errno) {
    let result = CLinux_ptrace_syscall(tid, signal)
    if result < 0 { throw fail(Errno(rawValue: -result)) }
  }

  /// A stopped thread that can't be commanded was killed: its report is taken, so that nothing of it stays.
  private func fail(_ error: Errno) -> Errno {
    if !isGone { abandon() }
    return .noSuchProcess
  }

  private func abandon() {
    isGone = true
    place = nil
    while let status = try? report(of: tid), CLinux_WIFSTOPPED(status) != 0 {
      CLinux_ptrace_detach(tid, 0)
    }
  }

  // MARK: Calls

  /// How a call that the thread made ended.
  package enum Outcome {
    /// It returned.
    case returned(CallResult)
    /// A signal came before it did anything that lasts: the program's own call is to be made again.
    case interrupted
    /// It made a child that shares the thread's memory, and waits until that is done with it.
    case waitsForChild
    /// A filter of the program's own has trapped it, so that nothing was done.
    case trapped
  }

  /// Makes a call for us, with signals waiting.
  ///
  /// - Throws: `.noSuchProcess` when the thread was killed; `.badAddress` when its code isn't a call any more.
  package func perform(_ call: Syscall, _ arguments: CallArguments) throws(Errno) -> CallResult {
    for _ in 0..<Self.attempts {
      if case .returned(let result) = try perform(call, arguments, withSignals: false) {
        return result
      }
    }
    throw .badAddress
  }

  /// Something else keeps coming: group stops, or other threads that write over the code.
  private static let attempts = 64

  /// Makes a call that the program knows nothing of and that is over at once: it would sleep only if somebody with whom the thread
  /// shares memory or descriptors had put others there, and then is interrupted.
  package func performAtOnce(
    _ call: Syscall, _ arguments: CallArguments
  ) throws(Errno) -> CallResult {
    (endsSleeps, hasSlept) = (true, false)
    defer { endsSleeps = false }
    for _ in 0..<Self.attempts {
      if case .returned(let result) = try perform(call, arguments, withSignals: false) {
        return result
      }
      if hasSlept { return .failure(.interrupted) }
    }
    throw .badAddress
  }

  /// Makes a call.
  ///
  /// - Parameters:
  ///   - call: The call.
  ///   - arguments: What the kernel gets.
  ///   - instruction: The system call instruction to execute; nil for the program's own.
  ///   - withSignals: Whether the program's own signal mask holds in the kernel's part; else all signals wait.
  ///   - kept: What a register that calls leave alone is to hold for the code there; nil for the program's.
  ///   - makesTask: Whether it makes a process or a thread.
  ///   - onBirth: Called with each child that the call makes, which stands still and goes on afterwards. Returns whether
  ///     the thread is to be left in the call (``Outcome/waitsForChild``).
  /// - Throws: `.noSuchProcess`; `.badAddress` when the code there isn't a call any more.
  package func perform(
    _ call: Syscall, _ arguments: CallArguments, at instruction: RemoteAddress? = nil,
    keeping kept: UInt64? = nil, withSignals: Bool = false, makesTask: Bool = false,
    onBirth: (Newborn) -> Bool = { _ in false }
  ) throws(Errno) -> Outcome {
    do throws(Errno) {
      var wanted = registers
      wanted.instructionPointer = instruction ?? registers.instructionPointer.advanced(by: -2)
      if let kept { wanted.kept = kept }
      wanted.result = UInt64(call.rawValue)
      wanted.setArguments(arguments)
      try holdSignals()
      try wanted.set(to: tid)
      willPerform(call, arguments)
      try goToEntry(call, arguments, wanted)
      if withSignals { try restoreSignals() }
    } catch {
      throw error == .badAddress ? error : fail(error)
    }
    do throws(Errno) {
      return try goThrough(call, onBirth)
    } catch {
      if makesTask { greetOrphans(onBirth) }
      throw error
    }
  }

  /// From the entry of a call to its end.
  private func goThrough(_ call: Syscall, _ onBirth: (Newborn) -> Bool) throws(Errno) -> Outcome {
    var signal: Int32 = 0
    while true {
      try resume(signal)
      signal = 0
      let stop = try nextStop()
      if stop.isBirth {
        var message: UInt = 0
        guard CLinux_ptrace_geteventmsg(tid, &message) == 0 else { throw fail(.noSuchProcess) }
        let child = Int32(truncatingIfNeeded: message)
        if welcome(child, onBirth) { return .waitsForChild }
      } else if stop.isCall {
        do throws(Errno) {
          let now = try Registers(of: tid)
          if now.isRestarting { return .interrupted }
          return isTrapped(now, call) ? .trapped : .returned(now.callResult)
        } catch {
          throw fail(error)
        }
      } else if stop.isSignal {
        signal = stop.signal
      }
    }
  }

  /// Whether a filter of the program's own has trapped a call: the kernel then puts the call's number where it was, in the
  /// result, and leaves a signal behind.
  ///
  /// Source: seccomp(2), SECCOMP_RET_TRAP; arch/x86/include/asm/syscall.h, `syscall_rollback`.
  private func isTrapped(_ registers: Registers, _ call: Syscall) -> Bool {
    guard registers.callResult == .success(Int(call.rawValue)) else { return false }
    var info = siginfo_t()
    var index: UInt64 = 0
    while CLinux_ptrace_peeksiginfo(tid, index, &info) == 1 {
      if info.si_signo == SIGSYS, info.si_code == CLinux_SYS_SECCOMP { return true }
      index += 1
    }
    return false
  }

  /// From where it stands to the entry of the call that it is to make. Another thread may have put other code there; the
  /// first call that it enters is made the wanted one.
  private func goToEntry(
    _ call: Syscall, _ arguments: CallArguments, _ wanted: Registers
  ) throws(Errno) {
    var signal: Int32 = 0
    for _ in 0..<Self.attempts {
      try resume(signal)
      signal = 0
      let stop = try nextStop()
      if stop.isSignal {
        // Only what isn't blocked comes here: a stop, somebody's SIGSYS, or a fault in code that isn't ours any more.
        switch stop.signal {
        case SIGSTOP: signal = SIGSTOP
        case SIGSYS: isOwedTrap = true
        default: throw .badAddress
        }
      }
      guard stop.isCall else { continue }
      var info = CLinux_syscall_info()
      try Self.check(CLinux_ptrace_get_syscall_info(tid, &info))
      guard Int(info.op) == CLinux_SYSCALL_INFO_ENTRY else { break }
      let words = info.arguments
      let found = CallArguments(words.0, words.1, words.2, words.3, words.4, words.5)
      if info.number != UInt64(call.rawValue) || found != arguments {
        var entry = wanted
        entry.instructionPointer = wanted.instructionPointer.advanced(by: 2)
        entry.syscallNumber = Int(call.rawValue)
        try entry.set(to: tid)
      }
      return
    }
    throw .badAddress
  }

  /// Brings the thread to the entry of a call of the program's, with the program's own signal mask; ``release()`` lets it
  /// go on there.
  ///
  /// - Parameters:
  ///   - call: The call.
  ///   - arguments: What the kernel gets.
  ///   - instruction: The system call instruction to execute.
  ///   - kept: What a register that calls leave alone is to hold for the code there.
  /// - Throws: `.noSuchProcess`; `.badAddress` when the code there isn't a call any more.
  package func begin(
    _ call: Syscall, _ arguments: CallArguments, at instruction: RemoteAddress, keeping kept: UInt64
  ) throws(Errno) {
    do throws(Errno) {
      var wanted = registers
      wanted.kept = kept
      wanted.instructionPointer = instruction
      wanted.result = UInt64(call.rawValue)
      wanted.setArguments(arguments)
      try holdSignals()
      try wanted.set(to: tid)
      try goToEntry(call, arguments, wanted)
      try restoreSignals()
    } catch {
      throw error == .badAddress ? error : fail(error)
    }
  }

  // MARK: Exec

  /// Waits until the thread, which was seized before its call of execve went on, has executed a program or failed to.
  ///
  /// - Parameter leader: The number of its process, which it gets when it executes one.
  /// - Returns: The number that it had before; nil when it failed, or is gone.
  package func watchExec(leader: Int32) -> Int32? {
    while let (reporter, status) = try? nextReport([tid, leader]) {
      guard CLinux_WIFSTOPPED(status) != 0 else { continue }
      let stop = Stop(status)
      if stop.event == CLinux_PTRACE_EVENT_EXEC {
        var former: UInt = 0
        _ = CLinux_ptrace_geteventmsg(reporter, &former)
        tid = reporter
        return Int32(truncatingIfNeeded: former)
      }
      if stop.isPause { return nil }
      _ = CLinux_ptrace_cont(reporter, stop.isSignal ? stop.signal : 0)
    }
    isGone = true
    return nil
  }

  /// Whether the supervisor can read what the thread's process has in memory.
  package var canReadMemory: Bool {
    guard let registers = try? Registers(of: tid) else { return true }
    var byte: UInt8 = 0
    return withUnsafeMutableBytes(of: &byte) { bytes in
      CLinux_process_vm_read(tid, registers.stackPointer.rawValue, bytes.baseAddress, 1) == 1
    }
  }

  /// Lets a program that was just executed run to its first call, and skips that.
  ///
  /// - Returns: The call, which the program is to make again; nil when the thread is gone.
  package func goToFirstCall() -> Syscall? {
    do throws(Errno) {
      var signal: Int32 = 0
      while true {
        try resume(signal)
        signal = 0
        let stop = try nextStop()
        if stop.isSignal { signal = stop.signal }
        guard stop.isCall else { continue }
        var info = CLinux_syscall_info()
        try Self.check(CLinux_ptrace_get_syscall_info(tid, &info))
        guard Int(info.op) == CLinux_SYSCALL_INFO_ENTRY else { continue }
        registers = try Registers(of: tid)
        guard let call = UInt16(exactly: info.number).flatMap({ Syscall(rawValue: $0) }) else {
          continue
        }
        // A call that does nothing in its place, so that the thread stands behind it.
        var nothing = registers
        nothing.syscallNumber = Int(Syscall.sched_yield.rawValue)
        try nothing.set(to: tid)
        registers.skipCall()
        try holdSignals()
        repeat {
          try resume(0)
        } while try !nextStop().isCall
        return call
      }
    } catch {
      if !isGone { abandon() }
      return nil
    }
  }

  // MARK: Births

  /// A process or thread that an attached one has just made.
  package final class Newborn {
    /// Its number.
    package let tid: Int32
    fileprivate(set) package var isGone = false

    fileprivate init(_ tid: Int32) { self.tid = tid }

    /// Lets it begin where its maker's own call ended, rather than at code of ours, with the program's registers but its
    /// own stack.
    package func begin(as program: Registers, keepsStack: Bool) {
      do throws(Errno) {
        let own = try Registers(of: tid)
        var begin = program
        if keepsStack { begin.stackPointer = own.stackPointer }
        begin.result = 0
        begin.skipCall()
        try begin.set(to: tid)
      } catch {
        return
      }
    }
  }

  /// Looks after the newborn of a thread that was killed in the middle of a fork: whoever is left to the calling thread is
  /// a child whose event was lost, on the way or when its message was asked for.
  private func greetOrphans(_ onBirth: (Newborn) -> Bool) {
    for (child, status) in early where CLinux_WIFSTOPPED(status) != 0 { greet(child, onBirth) }
    early = [:]
    while let (child, status) = try? nextReport([]) {
      if CLinux_WIFSTOPPED(status) != 0 { greet(child, onBirth) }
    }
  }

  private func welcome(_ child: Int32, _ onBirth: (Newborn) -> Bool) -> Bool {
    guard let status = try? report(of: child), CLinux_WIFSTOPPED(status) != 0 else {
      let newborn = Newborn(child)
      newborn.isGone = true
      return onBirth(newborn)
    }
    return greet(child, onBirth)
  }

  @discardableResult
  private func greet(_ child: Int32, _ onBirth: (Newborn) -> Bool) -> Bool {
    let stays = onBirth(Newborn(child))
    if let heldMask { _ = CLinux_ptrace_setsigmask(child, heldMask) }
    place?.giveBack(to: child)
    if CLinux_ptrace_detach(child, 0) < 0 {
      // It was killed: its report is waited for, so that its parent can wait for it.
      while let status = try? report(of: child), CLinux_WIFSTOPPED(status) != 0 {
        CLinux_ptrace_detach(child, 0)
      }
    }
    return stays
  }

  // MARK: Letting go

  /// Lets the thread go on in the program, which sees this result of its call.
  package func finish(_ result: CallResult) {
    var end = registers
    end.setResult(result)
    if result == .failure(.interrupted) { end.markAsAnswered() }
    leave(with: end)
  }

  /// Lets the thread make the program's own call again, as if it had not been made.
  ///
  /// - Parameter call: What the program called.
  package func repeatCall(_ call: Syscall) {
    var again = registers
    again.instructionPointer = registers.instructionPointer.advanced(by: -2)
    again.result = UInt64(call.rawValue)
    leave(with: again)
  }

  /// Lets the thread make the program's own call in code of ours: it goes on there with the call's number, the return
  /// address below the red zone, and all else as the program has it.
  ///
  /// - Parameters:
  ///   - entry: Where the code begins, as `POD_PAGE_ENTER` is entered.
  ///   - call: What the program called.
  /// - Throws: `.badAddress` where the program has no stack to write to; the thread is held as before.
  ///
  /// Source: pod_page.h, POD_PAGE_ENTER; the System V ABI for x86-64, "The Stack Frame".
  package func enter(_ entry: RemoteAddress, for call: Syscall) throws(Errno) {
    let redZone = 128
    var inside = registers
    inside.stackPointer = registers.stackPointer.advanced(by: -redZone - MemoryLayout<UInt64>.size)
    try RemoteMemory().write(
      inside.stackPointer, value: registers.instructionPointer.rawValue, stopped: tid)
    inside.instructionPointer = entry
    inside.result = UInt64(call.rawValue)
    leave(with: inside)
  }

  private func leave(with end: Registers) {
    if isGone { return }
    do throws(Errno) {
      try end.set(to: tid)
      try restoreSignals()
    } catch {
      _ = fail(error)
      return
    }
    release()
  }

  /// Lets the thread go as it is, in the middle of a call that it makes as its own.
  package func release() { release(with: isOwedTrap ? SIGSYS : 0) }

  private func release(with signal: Int32) {
    if isGone { return }
    do throws(Errno) {
      try restoreSignals()
    } catch {
      _ = fail(error)
      return
    }
    place?.giveBack(to: tid)
    if CLinux_ptrace_detach(tid, signal) < 0 { _ = fail(.noSuchProcess) }
    place = nil
  }

  /// Takes the registers of the program from a call that code of ours has made in its stead.
  package func continueAs(_ program: Registers) { registers = program }

  // MARK: One instruction

  /// Lets the thread run at an address, with signals but faults waiting, until it is in a loop there.
  ///
  /// - Parameters:
  ///   - start: Where it begins.
  ///   - loop: Where it is when it is done.
  ///   - set: Puts arguments into its registers.
  /// - Returns: The registers at the end.
  /// - Throws: `.badAddress` when it faults, or leaves the way; `.noSuchProcess`.
  package func run(
    from start: RemoteAddress, until loop: ClosedRange<RemoteAddress>,
    _ set: (inout Registers) -> Void
  ) throws(Errno) -> Registers {
    do throws(Errno) {
      var begin = registers
      begin.instructionPointer = start
      set(&begin)
      try begin.set(to: tid)
      try Self.check(CLinux_ptrace_setsigmask(tid, Self.all & ~Self.faults))
      var end: Registers?
      var fault: Errno?
      var signal: Int32 = 0
      for attempt in 0..<Self.attempts where end == nil && fault == nil {
        try Self.check(CLinux_ptrace_cont(tid, signal))
        signal = 0
        // Asked at once, it stops before it has begun.
        usleep(UInt32(5 << min(attempt, 12)))
        // Asked while it stands still, it stops once more when it is let go, again and again.
        var info = siginfo_t()
        if CLinux_ptrace_getsiginfo(tid, &info) == -ESRCH {
          try Self.check(CLinux_ptrace_interrupt(tid))
        }
        let stop = try nextStop()
        if stop.isSignal {
          switch stop.signal {
          case SIGSTOP: signal = SIGSTOP
          case SIGSYS: isOwedTrap = true
          default: fault = .badAddress
          }
          continue
        }
        let now = try Registers(of: tid)
        if loop.contains(now.instructionPointer) {
          end = now
        } else if now.instructionPointer != start {
          fault = .badAddress
        }
      }
      try Self.check(CLinux_ptrace_setsigmask(tid, Self.all))
      // Where it stands behind a call it can be given a signal, here it can't.
      if isOwedTrap { _ = try perform(.sched_yield, CallArguments()) }
      guard let end else { throw fault ?? .badAddress }
      return end
    } catch {
      throw error == .badAddress ? error : fail(error)
    }
  }

  private static let faults: UInt64 = 1 << UInt64(SIGSEGV - 1) | 1 << UInt64(SIGBUS - 1)
}
