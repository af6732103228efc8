internal import PodCore
internal import SystemPackage

/// What a transaction has on the simulated kernel.
final class MockTransactionHost: TransactionHost {
  let process: MockProcess
  let call: Syscall
  let pod: MockPod?
  /// What every part of a call may look at: its own task and entry, and those that its arguments name.
  let base: Footprint
  private let thread: VirtualName<ThreadID>
  let callerState: any CallerState
  private(set) var hasHolds = false
  /// Whether the call is about objects that the supervisor has, which others change under a lock.
  private var takesLock = false
  private var scratches: [RemoteAddress] = []

  init(
    _ process: MockProcess, _ call: Syscall, _ arguments: CallArguments, _ pod: MockPod?,
    _ caller: Caller?
  ) {
    self.process = process
    self.call = call
    self.pod = pod
    let number = process.physicalThread.rawValue
    thread = caller?.thread ?? VirtualName(rawValue: number)
    var base = process.base
    if let pod {
      let named = [arguments.int(0), arguments.int(1)]
      if Self.namesOthers.contains(call), arguments.int(0) <= 0 || !Self.isNarrow(call) {
        base.add(.readingTables(of: pod.names.pod))
      }
      for name in named where name > 0 { base.add(.readingEntry(name, of: pod.names.pod)) }
      if let caller {
        base.add(.readingEntry(caller.thread.rawValue, of: pod.names.pod))
        base.add(.readingEntry(caller.process.rawValue, of: pod.names.pod))
      }
      base.add(.readingEntry(ProcessTable.initial.rawValue, of: pod.names.pod))
      // Objects that the supervisor has, which ends of processes change too.
      let performed = pod.names.boundary.row(for: call, arguments)?.performed
      takesLock = performed?.isEmulated == true
      if performed == .inCallerMapping || Self.segmentCalls.contains(call) {
        base.add(.writing(Footprint.events))
      }
    }
    self.base = base
    callerState =
      process.kernel.inspect { $0.threads[number]?.state } ?? MockCallerState()
    process.kernel.executor.touch(base)
  }

  /// Calls whose preambles look at the tables between their steps.
  private static let namesOthers: Set<Syscall> = [
    .kill, .tkill, .tgkill, .rt_sigqueueinfo, .rt_tgsigqueueinfo, .futex, .pidfd_send_signal,
    .pidfd_open, .pidfd_getfd, .ioctl, .getpriority, .setpriority,
  ]

  /// Calls on segments look at their table between their steps, too.
  private static let segmentCalls: Set<Syscall> = [.shmget, .shmctl]

  /// Of these, those that look only at what their arguments name, if that is a process.
  private static func isNarrow(_ call: Syscall) -> Bool { call == .kill }

  private static let births: Set<Syscall> = [.fork, .vfork, .clone]

  deinit { for address in scratches { process.release(address) } }

  func willRun(_ step: Step, on name: Int32) -> Bool {
    var footprint = base
    if let pod, name > 0 { footprint.add(.readingEntry(name, of: pod.names.pod)) }
    // The record of a birth is in no entry.
    if let pod, Self.births.contains(call) {
      footprint.add(.writingBirth(of: thread, in: pod.names.pod))
    }
    switch step {
    case .hold where takesLock: break
    case .hold:
      footprint.add(.counting(Footprint.holds))
    case .release:
      footprint.add(.counting(Footprint.holds))
    case .lookUp, .virtualize, .perform:
      break
    case .retry where takesLock: break
    case .retry:
      // It looks at memory that others may have changed.
      footprint.add(.reading(Footprint.allTasks))
    case .allocate, .lease, .bind, .publish, .retire, .reap, .restrict, .rollBack:
      // What they change is seen by comparing the tables.
      footprint.add(.reading(Footprint.holds))
      footprint.add(.readingTables(of: pod?.names.pod))
    }
    // These two only say how what follows is done.
    let locks = takesLock && step != .hold && step != .retry
    if locks { footprint.add(.writing(Footprint.events)) }
    let isRun = process.kernel.executor.willRun(
      ScheduledStep(occasion: .call(call), step: step, name: name), footprint,
      isReady: locks || step == .retire || step == .publish ? process.kernel.isUnlocked : nil)
    if isRun, step == .hold, !takesLock { hasHolds = true }
    return isRun
  }

  func perform(
    _ call: Syscall, _ arguments: CallArguments, for caller: Caller
  ) throws(Errno) -> Int {
    let outcome = process.kernel.perform(
      call, arguments, by: process.identity, canBlock: false)
    return try outcome.result.get()
  }

  func task(behind descriptor: Int32) throws(Errno) -> ProcessHandle.Target {
    let own = process.physical.rawValue
    let found = process.kernel.change { state -> Result<ProcessHandle.Target, Errno> in
      guard let handle = state.processes[own]?.handles[descriptor] else {
        return .failure(.badFileDescriptor)
      }
      guard let number = state.number(behind: handle) else { return .failure(.noSuchProcess) }
      return .success(ProcessHandle.Target(PhysicalName(rawValue: number), isThread: false))
    }
    return try found.get()
  }

  func credentials(of caller: Caller) throws(Errno) -> CallerCredentials {
    let own = process.physical.rawValue
    guard let user = process.kernel.inspect({ $0.processes[own]?.user }) else {
      throw .noSuchProcess
    }
    return CallerCredentials(
      user: user, group: user, groups: [user], capabilities: user == 0 ? .all : [])
  }

  var segmentHost: any SegmentHost { MockSegmentHost(kernel: process.kernel) }

  func prepareSleep(for time: Duration?) throws(Errno) -> Sleep? {
    let (kernel, identity) = (process.kernel, process.identity)
    kernel.change { $0.sleeps[identity] = KernelState.WaitWord() }
    return Sleep(
      MockSleeper(kernel, identity), call: .ppoll, CallArguments(0, 0, time == nil ? 0 : 1),
      timedOut: .success(0))
  }

  func realUser(of task: PhysicalName<ProcessID>) throws(Errno) -> UInt32 {
    let user = process.kernel.change { state -> UInt32? in
      state.reads(task.rawValue)
      return state.processes[state.threads[task.rawValue]?.process ?? task.rawValue]?.user
    }
    guard let user else { throw .noSuchProcess }
    return user
  }

  func read(_ address: RemoteAddress, into buffer: UnsafeMutableRawBufferPointer) throws(Errno) {
    buffer.copyBytes(from: try process.bytes(at: address, buffer.count))
  }

  func write(_ bytes: UnsafeRawBufferPointer, to address: RemoteAddress) throws(Errno) {
    try process.write(Array(bytes), to: address)
  }

  func kind(ofDescriptor descriptor: Int32) -> DescriptorKind? {
    let number = process.physical.rawValue
    return process.kernel.inspect { state in
      state.processes[number]?.signalDescriptors[descriptor] == nil ? nil : .signals
    }
  }

  func compareExchange(
    _ address: RemoteAddress, expected: UInt32, desired: UInt32
  ) throws(Errno) -> Bool {
    let outcome = process.changeMemory { memory -> Result<Bool, Errno> in
      do throws(Errno) {
        guard try memory.word(address) == expected else { return .success(false) }
        try memory.setWord(address, desired)
        return .success(true)
      } catch {
        return .failure(error)
      }
    }
    return try outcome?.get() ?? false
  }

  func scratch(_ bytes: UnsafeRawBufferPointer) throws(Errno) -> RemoteAddress {
    let address = process.allocate(bytes.count)
    try process.write(Array(bytes), to: address)
    scratches.append(address)
    return address
  }
}

/// The sleep of a simulated thread.
private final class MockSleeper: Sleeper {
  private let kernel: MockKernel
  private let identity: Int

  init(_ kernel: MockKernel, _ identity: Int) { (self.kernel, self.identity) = (kernel, identity) }

  /// The word first, as the futexes of a real supervisor: who is about to sleep sees it.
  func wake() -> Bool {
    let executor = kernel.executor
    kernel.change { $0.wakes += 1 }
    defer { kernel.change { $0.wakes -= 1 } }
    let footprint = Footprint.writing(Footprint.events)
    func runs(_ step: Step) -> Bool {
      executor.willRun(
        ScheduledStep(occasion: .wake, step: step, name: 0), footprint, isReady: nil)
    }
    if runs(.publish) { kernel.change { $0.setWord(identity) } }
    let slept = runs(.perform) && kernel.change { $0.wake(identity) }
    // Whether it slept is asked.
    return slept
      || !executor.includes(ScheduledStep(occasion: .wake, step: .lookUp, name: 0))
  }

  var isAsleep: Bool { kernel.inspect { $0.sleeps[identity]?.isAsleep == true } }
  func end() { kernel.change { $0.sleeps[identity] = nil } }
}
