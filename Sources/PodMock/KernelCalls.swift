internal import PodCore
internal import SystemPackage

/// What the kernel did with a call.
enum KernelOutcome {
  case answered(CallResult)
  /// A fork-like call has made a thread or process.
  case born(number: Int32, identity: Int)
  /// A wait has given up a process's number for good.
  case reaped(number: Int32, identity: Int)
  /// The call waits.
  case blocked
  /// The caller exists no more.
  case gone

  var result: CallResult {
    switch self {
    case .answered(let result): result
    case .born(let number, _), .reaped(let number, _): .success(Int(number))
    case .blocked: .failure(.resourceTemporarilyUnavailable)
    case .gone: .failure(.noSuchProcess)
    }
  }
}

extension KernelState {
  /// Performs a call of a thread.
  ///
  /// - Parameter isTrial: Whether only to find out if it would block; then nothing is changed.
  mutating func perform(
    _ call: Syscall, _ arguments: CallArguments, by identity: Int, isTrial: Bool,
    isPinned: (Int32) -> Bool
  ) -> KernelOutcome {
    guard let number = numberOf[identity], let thread = threads[number],
      let process = processes[thread.process]
    else { return .gone }
    reads(number)
    reads(process.number)
    if process.isStopped || process.isBorrowed { return .blocked }
    if !isTrial, let answer = handle(call, arguments, number, process) { return .answered(answer) }
    switch call {
    case .wait4, .waitid:
      return wait(call, arguments, process, isTrial: isTrial)
    case .rt_sigtimedwait:
      return takeSignal(arguments, process, isTrial: isTrial)
    case .read:
      return readSignals(arguments, process, isTrial: isTrial)
    case .pause:
      return process.signals.interrupts ? .answered(.failure(.interrupted)) : .blocked
    case .ppoll:
      return sleep(arguments, identity, process, isTrial: isTrial)
    case .futex:
      return futex(arguments, number, identity, process, isTrial: isTrial)
    default: break
    }
    if isTrial { return .answered(.success(0)) }
    do throws(Errno) {
      switch call {
      case .fork, .vfork, .clone:
        return try fork(call, arguments, number, process, isPinned)
      case .exit:
        endThread(number, status: (arguments.int(0) & 0xFF) << 8)
        return .gone
      case .exit_group:
        end(process.number, status: (arguments.int(0) & 0xFF) << 8)
        return .gone
      default:
        return .answered(.success(try answer(call, arguments, number, process)))
      }
    } catch {
      return .answered(.failure(error))
    }
  }

  private mutating func answer(
    _ call: Syscall, _ arguments: CallArguments, _ number: Int32, _ process: Process
  ) throws(Errno) -> Int {
    switch call {
    case .getpid: return Int(process.number)
    case .gettid, .set_tid_address: return Int(number)
    case .getppid: return Int(process.parent)
    case .getpgrp: return Int(process.group)
    case .getpgid: return Int(try target(arguments.int(0), process).group)
    case .getsid: return Int(try target(arguments.int(0), process).session)
    case .setpgid: return try setGroup(arguments, process)
    case .setsid: return try setSession(process)
    case .execve, .execveat:
      execute(number)
      return 0
    case .kill:
      return try kill(
        arguments.int(0), MockSignal(number: arguments.int(1), sender: process.number), process)
    case .tkill:
      return try signalThread(
        nil, arguments.int(0),
        MockSignal(number: arguments.int(1), code: -6, sender: process.number))
    case .tgkill:
      return try signalThread(
        arguments.int(0), arguments.int(1),
        MockSignal(number: arguments.int(2), code: -6, sender: process.number))
    case .rt_sigqueueinfo:
      return try kill(
        arguments.int(0), try info(arguments[2], arguments.int(1), process), process)
    case .rt_tgsigqueueinfo:
      return try signalThread(
        arguments.int(0), arguments.int(1), try info(arguments[3], arguments.int(2), process))
    case .prctl:
      writes(process.number)
      switch arguments.int(0) {
      case 1: processes[process.number]?.deathSignal = arguments.int(1)
      case 36: processes[process.number]?.isSubreaper = arguments[1] != 0
      default: throw .invalidArgument
      }
      return 0
    case .pidfd_open:
      return try openHandle(arguments.int(0), process)
    case .pidfd_send_signal: return try sendByHandle(arguments, process)
    case .ioctl:
      return try describeHandle(arguments, process)
    case .getpriority:
      return Int(20 - (try priorities(arguments, process).map(\.nice).min() ?? 0))
    case .setpriority:
      for target in try priorities(arguments, process) {
        writes(target.number)
        threads[target.number]?.nice = arguments.int(2)
      }
      return 0
    case .write:
      let bytes = try memory(process).read(
        RemoteAddress(rawValue: arguments[1]), Int(arguments[2]))
      writes(process.number)
      processes[process.number]?.output += bytes
      return bytes.count
    case .signalfd4: return try openSignals(arguments, process)
    case .msgget, .msgsnd, .msgctl: return try useQueue(call, arguments)
    case .sched_yield: return 0
    default: throw .noFunction
    }
  }

  private func memory(_ process: Process) -> AddressSpace {
    spaces[process.space] ?? AddressSpace()
  }

  private mutating func target(_ number: Int32, _ process: Process) throws(Errno) -> Process {
    if number == 0 { return process }
    reads(number)
    let leader = threads[number]?.process ?? number
    guard let target = processes[leader] else { throw .noSuchProcess }
    return target
  }

  private mutating func handle(
    _ call: Syscall, _ arguments: CallArguments, _ number: Int32, _ process: Process
  ) -> CallResult? {
    guard let handler else { return nil }
    var asked = MockKernel.Call(
      call: call, arguments: arguments, caller: PhysicalName(rawValue: number),
      memory: memory(process))
    let answer = handler(&asked)
    spaces[process.space] = asked.memory
    return answer
  }

  // MARK: Process descriptors

  private mutating func openHandle(_ number: Int32, _ caller: Process) throws(Errno) -> Int {
    reads(number)
    guard let identity = threads[number]?.identity ?? processes[number]?.identity else {
      throw .noSuchProcess
    }
    return addHandle(Handle(identity: identity, number: number), to: caller.number)
  }

  mutating func addHandle(_ handle: Handle, to process: Int32) -> Int {
    let descriptor = (processes[process]?.handles.keys.max() ?? 2) + 1
    writes(process)
    processes[process]?.handles[descriptor] = handle
    return Int(descriptor)
  }

  /// A signal without a siginfo of the program's own, to the process or (`PIDFD_SIGNAL_PROCESS_GROUP`) to its group.
  private mutating func sendByHandle(
    _ arguments: CallArguments, _ caller: Process
  ) throws(Errno) -> Int {
    let group: UInt64 = 1 << 2
    guard let handle = caller.handles[arguments.int(0)] else { throw .badFileDescriptor }
    reads(handle.number)
    guard arguments[2] == 0, arguments[3] & ~group == 0 else { throw .noFunction }
    guard let number = number(behind: handle) else { throw .noSuchProcess }
    let signal = MockSignal(number: arguments.int(1), sender: caller.number)
    return try kill(arguments[3] == 0 ? number : -number, signal, caller)
  }

  /// `PIDFD_GET_INFO`, as far as names go.
  private mutating func describeHandle(
    _ arguments: CallArguments, _ caller: Process
  ) throws(Errno) -> Int {
    guard arguments[1] & 0xFFFF == 0xFF0B, let handle = caller.handles[arguments.int(0)] else {
      throw .inappropriateIOCTLForDevice
    }
    guard let number = number(behind: handle), let target = process(ofTask: number) else {
      throw .noSuchProcess
    }
    let address = RemoteAddress(rawValue: arguments[2])
    for (offset, word) in [(0, 1), (16, number), (20, target.number), (24, target.parent)] {
      try spaces[caller.space]?.setWord(
        address.advanced(by: offset), UInt32(bitPattern: Int32(word)))
    }
    return 0
  }

  private func process(ofTask number: Int32) -> Process? {
    processes[threads[number]?.process ?? number]
  }

  // MARK: Priorities

  private mutating func priorities(
    _ arguments: CallArguments, _ caller: Process
  ) throws(Errno) -> [(number: Int32, nice: Int32)] {
    let who = arguments.int(1)
    footprint.add(.reading(Footprint.allTasks))
    let found: [Int32]
    switch arguments.int(0) {
    case 0:
      found = who == 0 ? [caller.number] : threads[who] == nil ? [] : [who]
    case 2:
      let user = who == 0 ? caller.user : UInt32(bitPattern: who)
      found = processes.values.filter { $0.user == user }.flatMap(\.threads)
    default: throw .invalidArgument
    }
    if found.isEmpty { throw .noSuchProcess }
    return found.map { ($0, threads[$0]?.nice ?? 0) }
  }

  // MARK: Sleeps

  /// FUTEX_WAIT on a word that only a supervisor sets, written as a ppoll(2) of nothing: until the supervisor, a signal or the
  /// time ends it, which here passes when it is asked for.
  private mutating func sleep(
    _ arguments: CallArguments, _ identity: Int, _ process: Process, isTrial: Bool
  ) -> KernelOutcome {
    footprint.add(.reading(Footprint.events))
    var word = sleeps[identity] ?? WaitWord()
    let outcome: KernelOutcome
    if word.isWoken {
      outcome = .answered(.success(1))
    } else if process.signals.interrupts {
      outcome = .answered(.failure(.interrupted))
    } else if !word.isAsleep, word.isSet {
      outcome = .answered(.failure(.resourceTemporarilyUnavailable))
    } else if word.isAsleep, arguments[2] != 0 {
      outcome = .answered(.success(0))
    } else {
      outcome = .blocked
    }
    if !isTrial {
      // Who isn't in the queue any more can't be woken.
      if case .blocked = outcome { word.isAsleep = true } else { word.isAsleep = false }
      footprint.add(.writing(Footprint.events))
      if sleeps[identity] != nil { sleeps[identity] = word }
    }
    return outcome
  }

  /// A supervisor sets the word of a thread.
  mutating func setWord(_ identity: Int) {
    footprint.add(.writing(Footprint.events))
    sleeps[identity]?.isSet = true
  }

  /// FUTEX_WAKE.
  ///
  /// - Returns: Whether it slept. It is awake because of this then, whatever else happens.
  mutating func wake(_ identity: Int) -> Bool {
    footprint.add(.writing(Footprint.events))
    guard sleeps[identity]?.isAsleep == true, let number = numberOf[identity],
      let thread = threads[number], processes[thread.process]?.isStopped == false
    else { return false }
    writes(number)
    sleeps[identity]?.isAsleep = false
    sleeps[identity]?.isWoken = true
    return true
  }

  // MARK: Message queues

  /// Queues without keys and contents: ids are 1, 2, …, and the lowest that is free is given out next, since what races
  /// are about is ids that are reused.
  private mutating func useQueue(_ call: Syscall, _ arguments: CallArguments) throws(Errno) -> Int {
    footprint.add(.writing(Footprint.numbers))
    let queue = arguments.int(0)
    switch call {
    case .msgget:
      // IPC_PRIVATE
      guard queue == 0 else { throw .noFunction }
      var number: Int32 = 1
      while queues[number] != nil { number += 1 }
      queues[number] = 0
      return Int(number)
    case .msgsnd:
      guard let count = queues[queue] else { throw .invalidArgument }
      queues[queue] = count + 1
      return 0
    default:
      guard let count = queues[queue] else { throw .invalidArgument }
      // IPC_STAT: what it stores is the answer here.
      if arguments.int(1) == 2 { return count }
      // IPC_RMID
      guard arguments.int(1) == 0 else { throw .noFunction }
      queues[queue] = nil
      return 0
    }
  }

  // MARK: Groups and sessions

  private mutating func setGroup(_ arguments: CallArguments, _ caller: Process) throws(Errno) -> Int
  {
    let target = try target(arguments.int(0), caller)
    let group = arguments.int(1) == 0 ? target.number : arguments.int(1)
    if arguments.int(1) < 0 { throw .invalidArgument }
    if target.isZombie { throw .noSuchProcess }
    if confinesGroups {
      if target.number != caller.number, target.parent != caller.number { throw .noSuchProcess }
      if target.parent == caller.number, target.hasExecuted { throw .permissionDenied }
      if target.session != caller.session { throw .notPermitted }
    }
    if target.session == target.number { throw .notPermitted }
    footprint.add(.reading(Footprint.allTasks))
    if group != target.number {
      let exists = processes.values.contains { $0.group == group && $0.session == target.session }
      if confinesGroups, !exists { throw .notPermitted }
    }
    writes(target.number)
    footprint.add(.writing(Footprint.numbers))
    processes[target.number]?.group = group
    return 0
  }

  private mutating func setSession(_ caller: Process) throws(Errno) -> Int {
    footprint.add(.reading(Footprint.allTasks))
    if processes.values.contains(where: { $0.group == caller.number }) { throw .notPermitted }
    writes(caller.number)
    processes[caller.number]?.group = caller.number
    processes[caller.number]?.session = caller.number
    return Int(caller.number)
  }

  // MARK: Births

  private mutating func fork(
    _ call: Syscall, _ arguments: CallArguments, _ number: Int32, _ process: Process,
    _ isPinned: (Int32) -> Bool
  ) throws(Errno) -> KernelOutcome {
    let flags = call == .clone ? arguments[0] : 0
    if flags & CloneFlags.thread != 0 {
      guard let thread = makeThread(of: process.number, isPinned: isPinned) else {
        throw .resourceTemporarilyUnavailable
      }
      return .born(number: thread, identity: threads[thread]?.identity ?? 0)
    }
    guard
      let child = makeProcess(
        parent: flags & CloneFlags.parent != 0 ? process.parent : process.number, like: process,
        sharingMemory: flags & CloneFlags.vm != 0 || call == .vfork, isPinned: isPinned)
    else { throw .resourceTemporarilyUnavailable }
    if call == .vfork { processes[process.number]?.isBorrowed = true }
    return .born(number: child.number, identity: child.identity)
  }

  // MARK: Signals

  private mutating func kill(
    _ target: Int32, _ signal: MockSignal, _ caller: Process
  ) throws(Errno) -> Int {
    var targets: [Process]
    if target == .min { throw .noSuchProcess }
    switch target {
    case 1...:
      reads(target)
      targets = [try self.target(target, caller)]
    case -1:
      footprint.add(.reading(Footprint.allTasks))
      targets = processes.values.filter { $0.number != Self.initial && $0.number != caller.number }
        .sorted { $0.number < $1.number }
    default:
      footprint.add(.reading(Footprint.allTasks))
      targets = members(of: target == 0 ? caller.group : -target)
    }
    if targets.isEmpty { throw .noSuchProcess }
    for target in targets { send(signal, to: target.number) }
    return 0
  }

  private mutating func signalThread(
    _ process: Int32?, _ thread: Int32, _ signal: MockSignal
  ) throws(Errno) -> Int {
    reads(thread)
    guard let target = threads[thread], process == nil || process == target.process else {
      throw .noSuchProcess
    }
    send(signal, to: target.process)
    return 0
  }

  private func info(
    _ address: UInt64, _ number: Int32, _ process: Process
  ) throws(Errno) -> MockSignal {
    let memory = memory(process)
    func field(_ offset: Int) throws(Errno) -> Int32 {
      Int32(
        bitPattern: try memory.word(RemoteAddress(rawValue: address).advanced(by: offset)))
    }
    return MockSignal(
      number: number, code: try field(SignalInfo.codeOffset),
      sender: try field(SignalInfo.senderOffset), value: try field(24))
  }

  private mutating func takeSignal(
    _ arguments: CallArguments, _ process: Process, isTrial: Bool
  ) -> KernelOutcome {
    let wanted: UInt64
    do throws(Errno) {
      let memory = memory(process)
      let address = RemoteAddress(rawValue: arguments[0])
      wanted =
        UInt64(try memory.word(address)) | UInt64(try memory.word(address.advanced(by: 4))) << 32
    } catch {
      return .answered(.failure(error))
    }
    guard
      let index = process.signals.pending.firstIndex(where: {
        wanted & 1 << UInt64($0.number - 1) != 0
      })
    else { return .blocked }
    if isTrial { return .answered(.success(0)) }
    writes(process.number)
    let signal = process.signals.pending[index]
    processes[process.number]?.signals.pending.remove(at: index)
    return .answered(store(signal.bytes, arguments[1], process).map { Int(signal.number) })
  }

  /// A new descriptor, or other signals for one.
  private mutating func openSignals(
    _ arguments: CallArguments, _ process: Process
  ) throws(Errno) -> Int {
    let memory = memory(process)
    let address = RemoteAddress(rawValue: arguments[1])
    let mask =
      UInt64(try memory.word(address)) | UInt64(try memory.word(address.advanced(by: 4))) << 32
    let known = process.signalDescriptors
    let asked = arguments.int(0)
    if asked != -1, known[asked] == nil { throw .invalidArgument }
    // 0 to 2 are the streams.
    let descriptor = asked != -1 ? asked : (known.keys.max() ?? 2) + 1
    writes(process.number)
    processes[process.number]?.signalDescriptors[descriptor] = mask
    return Int(descriptor)
  }

  private mutating func readSignals(
    _ arguments: CallArguments, _ process: Process, isTrial: Bool
  ) -> KernelOutcome {
    guard let wanted = process.signalDescriptors[arguments.int(0)] else {
      return .answered(.failure(.badFileDescriptor))
    }
    let room = Int(clamping: arguments[2]) / SignalRecord.size
    if room == 0 { return .answered(.failure(.invalidArgument)) }
    let signals = process.signals.pending.filter { wanted & 1 << UInt64($0.number - 1) != 0 }
      .prefix(room)
    if signals.isEmpty { return .blocked }
    if isTrial { return .answered(.success(0)) }
    writes(process.number)
    for signal in signals {
      guard let index = processes[process.number]?.signals.pending.firstIndex(of: signal) else {
        continue
      }
      processes[process.number]?.signals.pending.remove(at: index)
    }
    let bytes = signals.flatMap(\.record)
    return .answered(store(bytes, arguments[1], process).map { bytes.count })
  }

  private mutating func store(
    _ bytes: [UInt8], _ address: UInt64, _ process: Process
  ) -> Result<Void, Errno> {
    guard address != 0 else { return .success(()) }
    do throws(Errno) {
      try spaces[process.space]?.write(bytes, to: RemoteAddress(rawValue: address))
      return .success(())
    } catch {
      return .failure(error)
    }
  }

  // MARK: Waits

  private mutating func wait(
    _ call: Syscall, _ arguments: CallArguments, _ caller: Process, isTrial: Bool
  ) -> KernelOutcome {
    let isWaitID = call == .waitid
    let options = arguments.int(isWaitID ? 3 : 2)
    // WNOHANG, WUNTRACED or WSTOPPED, WEXITED, WCONTINUED, WNOWAIT
    let wantsExits = !isWaitID || options & 4 != 0
    let children = children(of: caller.number).filter { child in
      if isWaitID {
        switch arguments.int(0) {
        case 1: return child.number == arguments.int(1)
        case 2: return child.group == (arguments.int(1) == 0 ? caller.group : arguments.int(1))
        default: return true
        }
      }
      switch arguments.int(0) {
      case 1...: return child.number == arguments.int(0)
      case 0: return child.group == caller.group
      case -1: return true
      default: return child.group == 0 &- arguments.int(0)
      }
    }
    if children.isEmpty { return .answered(.failure(.noChildProcess)) }
    for child in children { reads(child.number) }
    footprint.add(.reading(Footprint.events))
    let found = children.first { child in
      child.isZombie && wantsExits || options & 2 != 0 && child.stopToReport != nil
        || options & 8 != 0 && child.continueToReport
    }
    guard let found else {
      if options & 1 != 0 {
        if isWaitID, !isTrial {
          _ = store([UInt8](repeating: 0, count: SignalInfo.size), arguments[2], caller)
        }
        return .answered(.success(0))
      }
      return caller.signals.interrupts ? .answered(.failure(.interrupted)) : .blocked
    }
    if isTrial { return .answered(.success(0)) }
    return give(found, arguments, caller, isWaitID: isWaitID, keeps: options & 0x0100_0000 != 0)
  }

  private mutating func give(
    _ child: Process, _ arguments: CallArguments, _ caller: Process, isWaitID: Bool, keeps: Bool
  ) -> KernelOutcome {
    let status: Int32
    let code: Int32
    let value: Int32
    if let exit = child.status {
      (status, code) = (exit, exit & 0x7F == 0 ? 1 : 2)
      value = code == 1 ? exit >> 8 & 0xFF : exit & 0x7F
    } else if let signal = child.stopToReport {
      (status, code, value) = (signal << 8 | 0x7F, 5, signal)
    } else {
      (status, code, value) = (0xFFFF, 6, 18)
    }
    writes(child.number)
    let stored: Result<Void, Errno>
    if isWaitID {
      let signal = MockSignal(
        number: MockSignal.child, code: code, sender: child.number, value: value)
      stored = store(signal.bytes, arguments[2], caller)
    } else {
      stored = store(
        (0..<4).map { UInt8(truncatingIfNeeded: status >> ($0 * 8)) }, arguments[1], caller)
    }
    if case .failure(let error) = stored { return .answered(.failure(error)) }
    let answer = isWaitID ? 0 : Int(child.number)
    if keeps { return .answered(.success(answer)) }
    guard child.isZombie else {
      processes[child.number]?.stopToReport = nil
      processes[child.number]?.continueToReport = false
      return .answered(.success(answer))
    }
    reap(child.number)
    return .reaped(number: Int32(answer), identity: child.identity)
  }

  // MARK: Locks with priority inheritance

  private mutating func futex(
    _ arguments: CallArguments, _ number: Int32, _ identity: Int, _ process: Process, isTrial: Bool
  ) -> KernelOutcome {
    let address = RemoteAddress(rawValue: arguments[0])
    let operation = arguments.int(1) & 0x7F
    writes(process.number)
    do throws(Errno) {
      let word = try memory(process).word(address)
      let owner = Int32(bitPattern: word & 0x3FFF_FFFF)
      switch operation {
      case 6, 8, 13:
        if owner == number { throw .deadlock }
        if owner == 0 {
          if isTrial { return .answered(.success(0)) }
          lockWaiters[address]?.removeAll { $0 == identity }
          let isContended = lockWaiters[address]?.isEmpty == false
          try spaces[process.space]?.setWord(
            address, UInt32(bitPattern: number) | (isContended ? 0x8000_0000 : 0))
          return .answered(.success(0))
        }
        reads(owner)
        guard threads[owner] != nil else { throw .noSuchProcess }
        if operation == 8 { throw .resourceTemporarilyUnavailable }
        if isTrial { return .blocked }
        if !(lockWaiters[address, default: []].contains(identity)) {
          lockWaiters[address, default: []].append(identity)
          try spaces[process.space]?.setWord(address, word | 0x8000_0000)
        }
        return .blocked
      case 7:
        if owner != number { throw .notPermitted }
        if isTrial { return .answered(.success(0)) }
        try spaces[process.space]?.setWord(address, 0)
        return .answered(.success(0))
      default: throw .noFunction
      }
    } catch {
      return .answered(.failure(error))
    }
  }
}
