internal import CLinux
internal import Glibc
internal import PodCore
internal import PodLinux
internal import SystemPackage

/// How one call goes through: entry stop → preamble → kernel → exit stop → epilogue.
extension Supervisor {
  /// The entry or the exit of a call.
  func passBoundary(_ tracee: Tracee) {
    guard tracee.stopsAtEveryCall else { return leave(tracee) }
    var info = CLinux_syscall_info()
    // A thread that was killed in its stop; its end is reported by itself.
    guard CLinux_ptrace_get_syscall_info(tracee.tid, &info) == 0 else { return }
    switch Int(info.op) {
    case CLinux_SYSCALL_INFO_ENTRY: decide(tracee, info)
    case CLinux_SYSCALL_INFO_EXIT: leave(tracee)
    default: resume(tracee)
    }
  }

  /// Does at a call's entry what the filter does where there is one.
  private func decide(_ tracee: Tracee, _ info: CLinux_syscall_info) {
    let isOwn = info.arch == rules.rules.architecture
    let words = info.arguments
    let call = SeccompData(
      number: UInt32(truncatingIfNeeded: info.number), architecture: info.arch,
      instructionPointer: info.instruction_pointer,
      arguments: [words.0, words.1, words.2, words.3, words.4, words.5])
    let action = rules.rules.action(for: call)
    if action == .allow, isOwn, isOnKnownDescriptor(call, tracee) { return enter(tracee) }
    // What the filter stops comes once more.
    if tracee.process.isFiltered { return resume(tracee) }
    switch action {
    case .allow: resume(tracee)
    case .trace: enter(tracee)
    case .errno(let error) where isOwn:
      do throws(Errno) {
        tracee.registers = try Registers(of: tracee.tid)
      } catch {
        return
      }
      tracee.position = .entry
      tracee.endScratch()
      answer(tracee, .failure(Errno(rawValue: Int32(error))))
    case .errno(let error): answerForeign(tracee, Errno(rawValue: Int32(error)))
    case .notify, .trap, .killProcess: fail("the rules of calls are not for a tracer")
    }
  }

  /// Whether a call has a row for the kind of descriptor that it is made on.
  private func isOnKnownDescriptor(_ call: SeccompData, _ tracee: Tracee) -> Bool {
    guard tracee.process.hasKnownDescriptors,
      let name = UInt16(exactly: call.number).flatMap({ Syscall(rawValue: $0) })
    else { return false }
    let arguments = CallArguments(call.arguments[0])
    return setup.names.boundary.descriptorRow(for: name, arguments) { descriptor in
      kind(ofDescriptor: descriptor, of: tracee)
    } != nil
  }

  /// What the descriptor of a process is; asked only of processes that have opened one of a known kind, or inherited it.
  ///
  /// Source: fs/signalfd.c: the file's name is that of no path.
  func kind(ofDescriptor descriptor: Int32, of tracee: Tracee) -> DescriptorKind? {
    guard tracee.process.hasKnownDescriptors else { return nil }
    return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { buffer in
      guard let start = buffer.baseAddress else { return nil }
      let count = readlink("/proc/\(tracee.tid)/fd/\(descriptor)", start, buffer.count)
      guard count > 0 else { return nil }
      let isSignals = buffer[..<count].elementsEqual(Self.signalDescriptor)
      return isSignals ? .signals : nil
    }
  }

  private static let signalDescriptor = "anon_inode:[signalfd]".utf8.map { CChar($0) }

  /// Makes all threads of a process stop, so that from now on their calls do. One that is alone is stopped now.
  func stopEveryCall(of process: TracedProcess) {
    guard process.isFiltered, process.threads.count > 1 else { return }
    for thread in process.threads {
      if CLinux_ptrace_interrupt(thread) == 0 { tracees[thread]?.wasInterrupted = true }
    }
  }

  /// A call of another convention has other registers and numbers.
  private func answerForeign(_ tracee: Tracee, _ error: Errno) {
    do throws(Errno) {
      try Registers.replaceForeignCall(of: tracee.tid)
    } catch {
      return
    }
    tracee.answer = .foreign(error)
    resume(tracee)
  }

  /// A filter of the program's own wants a tracer, of which the program has none.
  ///
  /// Source: seccomp(2), SECCOMP_RET_TRACE.
  func withoutTracer(_ tracee: Tracee) {
    do throws(Errno) {
      var registers = try Registers(of: tracee.tid)
      registers.skipCall()
      registers.setResult(error: .noFunction)
      try registers.set(to: tracee.tid)
    } catch {
      return
    }
    resume(tracee)
  }

  /// A call that the filter hands to us, or that we decided to look at.
  func enter(_ tracee: Tracee) {
    do throws(Errno) {
      tracee.registers = try Registers(of: tracee.tid)
    } catch {
      return
    }
    let number = tracee.registers.syscallNumber
    guard let call = UInt16(exactly: number).flatMap({ Syscall(rawValue: $0) }) else {
      report(refused: number, nil, .noFunction, by: tracee)
      return answer(tracee, .failure(.noFunction))
    }
    tracee.process.threadPointer = tracee.registers.threadPointer
    tracee.position = .entry
    tracee.endScratch()
    if tracee.goesOn != call,
      case .until? = InterruptedWait.limit(of: call, CallArguments(tracee.registers))
    {
      (tracee.began, tracee.begun) = (.now, call)
    }
    tracee.goesOn = nil
    tracee.hasStopped = false
    if initHasZombies { reapGone(childrenOf: ProcessTable.initial) }
    if tracee.process.mayBeOutOfReach {
      tracee.comeWithinReach(self)
      if tracee.lost != nil { return serveLost(tracee) }
    }
    let host = StoppedCaller(tracee, self)
    var transaction = Transaction(
      call, CallArguments(tracee.registers), by: tracee.caller, names: names, host: host)
    // A call that our filter doesn't stop at was stopped by one of the program's own, which has no tracer.
    if transaction.row == nil, !names.interposers.contains(where: { $0.calls.contains(call) }) {
      guard CallRules.watched(in: names).contains(call) else {
        return answer(tracee, .failure(.noFunction))
      }
      let isThere =
        tracee.position != .exit || begin(tracee, call, transaction.arguments)
      return isThere ? resume(tracee) : answer(tracee, .failure(.badAddress))
    }
    let decision = transaction.enter()
    if tracee.lost != nil {
      drop(transaction)
      return serveLost(tracee)
    }
    switch decision {
    case .answer(let result):
      trace(transaction, kernel: nil, seen: result)
      if let error = transaction.row?.staticErrno {
        report(refused: number, call, error, by: tracee)
      }
      answer(tracee, result)
    case .perform where transaction.segmentChange != nil:
      let kernel = change(transaction.segmentChange, tracee)
      if tracee.lost != nil {
        drop(transaction)
        return serveLost(tracee)
      }
      let seen = transaction.leave(kernel)
      trace(transaction, kernel: kernel, seen: seen)
      answer(tracee, seen)
    case .perform:
      let changes =
        transaction.physicalArguments != transaction.arguments || transaction.physicalCall != call
      if changes || tracee.position == .exit {
        guard begin(tracee, transaction.physicalCall, transaction.physicalArguments) else {
          drop(transaction)
          if tracee.lost != nil { return serveLost(tracee) }
          // It was killed, and can't be answered, or its own code is no call any more.
          tracee.position = .exit
          return answer(tracee, .failure(.badAddress))
        }
      }
      let performed = transaction.row?.performed ?? .inCaller
      guard changes || transaction.hasEpilogue || setup.configuration.tracesCalls else {
        resume(tracee)
        return
      }
      tracee.awaitsNewborn = transaction.awaitsNewborn
      tracee.transaction = consume transaction
      resume(tracee)
      // The kernel's part of a call that doesn't block is waited for here and now: nothing that it names can be reaped
      // before it is over.
      if performed != .inCallerBlocking, !performed.isEmulated { finishNow(tracee) }
    }
  }

  /// Brings a thread to the point before the kernel's part, with physical arguments.
  private func begin(
    _ tracee: Tracee, _ call: Syscall, _ arguments: CallArguments
  ) -> Bool {
    do throws(Errno) {
      if tracee.position == .exit { try tracee.reenter(self) }
      try tracee.restoreSignals()
      var registers = tracee.registers
      registers.syscallNumber = Int(call.rawValue)
      registers.setArguments(arguments)
      try registers.set(to: tracee.tid)
      return true
    } catch {
      return false
    }
  }

  /// Ends a call without, or after, the kernel's part.
  private func answer(_ tracee: Tracee, _ result: CallResult) {
    var registers = tracee.registers
    if tracee.position == .entry, !tracee.process.isFiltered {
      // Filters that are not ours, an engine's or the program's, have not seen the call yet, and what they would do
      // with a skipped one is anybody's guess: so the kernel gets one that does nothing.
      tracee.answer = .result(result)
      registers.replaceCall()
    } else {
      registers.skipCall()
      registers.setResult(result)
    }
    do throws(Errno) {
      try tracee.restoreSignals()
      try registers.set(to: tracee.tid)
    } catch {
      return
    }
    resume(tracee)
  }

  /// Lets the program execute its system call instruction once more.
  private func repeatCall(_ tracee: Tracee) {
    tracee.endScratch()
    do throws(Errno) {
      try tracee.restoreSignals()
      try tracee.registersForRepetition.set(to: tracee.tid)
    } catch {
      return
    }
    resume(tracee)
  }

  private func drop(_ transaction: consuming Transaction) {}

  /// What ended a thread's call before it was over is an event like others.
  private func serveLost(_ tracee: Tracee) {
    guard let status = tracee.lost else { return }
    tracee.lost = nil
    serve(tracee.tid, status)
  }

  private func finishNow(_ tracee: Tracee) {
    while tracee.transaction != nil, tracees[tracee.tid] === tracee {
      do throws(Errno) {
        serve(tracee.tid, try report(of: tracee))
      } catch {
        fail("thread \(tracee.tid) vanished during a call")
        return
      }
    }
  }

  /// Whether a leader is a zombie whose end isn't reported yet.
  func hasEnded(leader tid: Int32) -> Bool {
    guard let file = try? FileDescriptor.open("/proc/\(tid)/stat", .readOnly) else { return true }
    defer { try? file.close() }
    return withUnsafeTemporaryAllocation(byteCount: 64, alignment: 1) { buffer in
      guard let count = try? file.read(into: buffer) else { return true }
      // "PID (COMMAND) STATE …", and the command may have parentheses of its own; it has 15 bytes at most.
      guard let end = buffer[..<count].lastIndex(of: UInt8(ascii: ")")), end + 2 < count else {
        return true
      }
      return [UInt8(ascii: "Z"), UInt8(ascii: "X")].contains(buffer[end + 2])
    }
  }

  func takeEnds(ofThreadsBeside leader: Tracee) {
    for tid in leader.process.threads.union(unclaimed.keys) where tid != leader.tid {
      var status: Int32 = 0
      // Stops stay where they are: only an end that can be taken is.
      var info = siginfo_t()
      let options = WEXITED | WNOHANG | WNOWAIT | Int32(CLinux_WAIT_ALL)
      guard CLinux_waitid(Int32(P_PID.rawValue), tid, &info, options, nil) == 0,
        CLinux_siginfo_pid(&info) == tid,
        CLinux_wait4(tid, &status, Int32(CLinux_WAIT_ALL) | WNOHANG, nil) == tid
      else { continue }
      serve(tid, status)
    }
  }

  /// The exit stop of a call in flight.
  func leave(_ tracee: Tracee) {
    if let answer = tracee.answer.take() { return show(answer, to: tracee) }
    guard var transaction = tracee.transaction.take() else {
      resume(tracee)
      return
    }
    let isBarren = tracee.awaitsNewborn
    tracee.awaitsNewborn = false
    var registers: Registers
    do throws(Errno) { registers = try Registers(of: tracee.tid) } catch { return }
    if isBarren && registers.resultError == nil || isTrapped(tracee, registers) {
      // Nothing was done. What looks like a result is the call's number, and nobody of that number is the program's. (A
      // fork that made somebody had its event before.)
      registers.setArguments(transaction.arguments)
      registers.syscallNumber = Int(transaction.call.rawValue)
      drop(transaction)
      tracee.endScratch()
      do throws(Errno) {
        try tracee.restoreSignals()
        try registers.set(to: tracee.tid)
      } catch {
        return
      }
      return resume(tracee)
    }
    // Who sleeps for something that the supervisor does has to be told at each end of the sleep, before a handler runs.
    let isAsleep = transaction.wait != nil
    let beginsAnew = transaction.wait?.beginsAnew ?? false
    if !registers.isRestarting || isAsleep {
      let kernel = registers.isRestarting ? .failure(.interrupted) : registers.callResult
      if kernel == .failure(.noChildProcess) { reapGone(childrenOf: tracee.caller.process) }
      tracee.position = .exit
      let seen = transaction.leave(kernel)
      if transaction.wantsRetry {
        drop(transaction)
        repeatCall(tracee)
        return
      }
      if beginsAnew, seen == .failure(.interrupted) {
        registers.setResult(error: Errno(rawValue: InterruptedWait.restartUnlessHandled))
      } else {
        registers.setResult(seen)
      }
      trace(transaction, kernel: kernel, seen: seen)
    }
    tracee.endScratch()
    // The kernel leaves a call's arguments as they were, and a restarted call begins with them.
    registers.setArguments(transaction.arguments)
    registers.syscallNumber = Int(transaction.call.rawValue)
    do throws(Errno) {
      try tracee.restoreSignals()
      try registers.set(to: tracee.tid)
    } catch {
      return
    }
    resume(tracee)
  }

  /// The exit of a call that was answered at its entry.
  private func show(_ answer: Tracee.Answer, to tracee: Tracee) {
    do throws(Errno) {
      switch answer {
      case .result(let result):
        var registers = tracee.registers
        registers.skipCall()
        registers.setResult(result)
        try registers.set(to: tracee.tid)
      case .foreign(let error):
        try Registers.setForeignResult(error, of: tracee.tid)
      }
    } catch {
      return
    }
    resume(tracee)
  }

  /// Whether a filter of the program's own has trapped a call after we looked at it: the kernel then puts the call's
  /// number where it was, in the result, and leaves a signal behind.
  ///
  /// Source: seccomp(2), SECCOMP_RET_TRAP; arch/x86/include/asm/syscall.h, `syscall_rollback`.
  private func isTrapped(_ tracee: Tracee, _ registers: Registers) -> Bool {
    guard registers.callResult == .success(registers.syscallNumber) else { return false }
    var info = siginfo_t()
    var index: UInt64 = 0
    while CLinux_ptrace_peeksiginfo(tracee.tid, index, &info) == 1 {
      if info.si_signo == SIGSYS, info.si_code == CLinux_SYS_SECCOMP { return true }
      index += 1
    }
    return false
  }

  private func report(refused number: Int, _ call: Syscall?, _ error: Errno, by tracee: Tracee) {
    guard setup.configuration.tracesCalls,
      tracee.process.reportedRefusals.insert(number).inserted
    else { return }
    setup.events(.refused(call, number: number, by: tracee.process.name, error))
  }

  private func trace(
    _ transaction: borrowing Transaction, kernel: CallResult?, seen: CallResult
  ) {
    guard setup.configuration.tracesCalls else { return }
    setup.events(
      .call(
        TracedCall(
          caller: transaction.caller, call: transaction.call,
          virtualArguments: transaction.arguments,
          physicalArguments: kernel == nil ? nil : transaction.physicalArguments,
          physicalResult: kernel, virtualResult: seen,
          namedArguments: transaction.row?.namedArguments ?? [])))
  }
}
