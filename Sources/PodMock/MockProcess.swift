public import PodCore
public import SystemPackage

/// What a simulated process does. When it returns, the process exits with status 0.
public typealias MockProgram = @Sendable (MockProcess) -> Void

/// A call that a handler has left.
final class LeftCall: @unchecked Sendable {
  private let transaction: Transaction
  init(_ transaction: consuming Transaction) { self.transaction = transaction }
}

/// A simulated thread of a process, in a pod or outside, on which its program makes calls.
///
/// A call of a process in a pod takes the way of every backend: preamble, kernel, epilogue. After the process has ended,
/// calls do nothing and answer ESRCH.
public struct MockProcess: Sendable {
  /// The machine.
  public let kernel: MockKernel
  /// Which thread, whatever its number is now.
  let identity: Int

  // MARK: State

  /// Whether the thread exists.
  public var isRunning: Bool { kernel.inspect { $0.numberOf[identity] != nil } }

  /// Whether its program may go on making calls.
  private var isAlive: Bool { !kernel.executor.isAborting && isRunning }

  /// What the kernel knows of its process; nil when the thread has ended.
  public var status: MockKernel.ProcessStatus? {
    let number = physical
    return kernel.processes.first { $0.number == number }
  }

  /// The kernel's number of the thread; 0 when it has ended.
  public var physicalThread: PhysicalName<ThreadID> {
    PhysicalName(rawValue: kernel.inspect { $0.numberOf[identity] ?? 0 })
  }

  /// The kernel's number of its process; 0 when it has ended.
  public var physical: PhysicalName<ProcessID> {
    PhysicalName(
      rawValue: kernel.inspect { state in
        state.numberOf[identity].flatMap { state.threads[$0]?.process } ?? 0
      })
  }

  /// Its pod; nil outside.
  public var pod: MockPod? {
    let pod = kernel.inspect { state in state.processes[physicalNumber(state)]?.pod }
    return pod.flatMap { kernel.pod($0) }
  }

  /// Its process's virtual number; nil outside and while nobody has given it one.
  public var virtual: VirtualName<ProcessID>? {
    pod?.names.processes.caller(physicalThread)?.process
  }

  private func physicalNumber(_ state: borrowing KernelState) -> Int32 {
    state.numberOf[identity].flatMap { state.threads[$0]?.process } ?? 0
  }

  // MARK: Calls

  /// Makes a system call.
  ///
  /// - Parameters:
  ///   - call: Which.
  ///   - arguments: Up to six words: virtual names in a pod, physical ones outside.
  /// - Returns: What the program sees.
  @discardableResult
  public func call(_ call: Syscall, _ arguments: Int...) -> CallResult {
    var words = CallArguments()
    for (index, argument) in arguments.prefix(6).enumerated() {
      words[index] = UInt64(bitPattern: Int64(argument))
    }
    return self.call(call, words, child: nil)
  }

  /// Makes a child, which runs a program of its own.
  ///
  /// - Parameters:
  ///   - call: `fork`, `vfork` or `clone`.
  ///   - flags: Those of `clone`.
  ///   - name: What schedules call it.
  ///   - program: What it does.
  @discardableResult
  public func fork(
    _ call: Syscall = .fork, flags: UInt64 = 0, as name: String = "child",
    _ program: @escaping MockProgram
  ) -> CallResult {
    self.call(call, CallArguments(call == .clone ? flags : 0), child: (name, program))
  }

  /// Makes a thread of the same process.
  @discardableResult
  public func startThread(
    as name: String = "thread", _ program: @escaping MockProgram
  ) -> CallResult {
    fork(.clone, flags: CloneFlags.thread | CloneFlags.vm, as: name, program)
  }

  /// Asks for names in advance, as the code that a backend puts into processes does: by a call of its own.
  ///
  /// - Returns: The names, to be used with ``fork(leased:as:_:)``.
  public func leaseNames(_ count: Int) -> Result<[VirtualName<ProcessID>], Errno> {
    guard isAlive, let pod, let caller = pod.names.processes.caller(physicalThread) else {
      return .failure(.noSuchProcess)
    }
    defer { kernel.settle() }
    let arguments = CallArguments()
    let host = MockTransactionHost(self, .getpid, arguments, pod, caller)
    var transaction = Transaction(.getpid, arguments, by: caller, names: pod.names, host: host)
    do throws(Errno) {
      let names = try transaction.leaseNames(count)
      finish(consume transaction, host)
      return .success(names)
    } catch {
      finish(consume transaction, host)
      return .failure(error)
    }
  }

  /// Makes a child with a name that was leased to the process.
  ///
  /// - Returns: As ``fork(_:flags:as:_:)``; EAGAIN when the name isn't leased to the process any more.
  @discardableResult
  public func fork(
    leased name: VirtualName<ProcessID>, as title: String = "child",
    _ program: @escaping MockProgram
  ) -> CallResult {
    call(.fork, CallArguments(), child: (title, program)) { $0.leasedChild = name }
  }

  /// Makes a child with a name that the process chooses.
  ///
  /// - Returns: As ``fork(_:flags:as:_:)``; EEXIST or EINVAL for a name that can't be had.
  @discardableResult
  public func fork(
    chosen name: VirtualName<ProcessID>, as title: String = "child",
    _ program: @escaping MockProgram
  ) -> CallResult {
    call(.fork, CallArguments(), child: (title, program)) { $0.chosenChild = name }
  }

  /// Ends the process.
  public func exit(_ status: Int = 0) { call(.exit_group, status) }

  /// Waits for a child, as waitpid(2).
  ///
  /// - Returns: The child and its wait status.
  public func wait(
    for child: Int = -1, options: Int = 0
  ) -> Result<(child: Int, status: Int32), Errno> {
    let address = allocate(4)
    defer { release(address) }
    return call(.wait4, child, Int(address.rawValue), options).map { name in
      (name, Int32(bitPattern: (try? word(at: address)) ?? 0))
    }
  }

  /// Makes a system call that a signal handler leaves for good (siglongjmp(3)): its epilogue isn't run then, and what it holds
  /// is given back when the thread makes its next call.
  ///
  /// - Returns: What the program sees; `.interrupted` when a handler left.
  public func callUntilSignal(_ call: Syscall, _ arguments: Int...) -> CallResult {
    var words = CallArguments()
    for (index, argument) in arguments.prefix(6).enumerated() {
      words[index] = UInt64(bitPattern: Int64(argument))
    }
    return self.call(call, words, child: nil, handlersLeave: true)
  }

  func call(
    _ call: Syscall, _ arguments: CallArguments, child: (name: String, program: MockProgram)?,
    handlersLeave: Bool = false, prepare: (inout Transaction) -> Void = { _ in }
  ) -> CallResult {
    while true {
      if let result = callOnce(
        call, arguments, child: child, handlersLeave: handlersLeave, prepare: prepare)
      {
        return result
      }
    }
  }

  /// - Returns: nil when the call is to be made anew.
  private func callOnce(
    _ call: Syscall, _ arguments: CallArguments, child: (name: String, program: MockProgram)?,
    handlersLeave: Bool, prepare: (inout Transaction) -> Void
  ) -> CallResult? {
    guard isAlive else { return .failure(.noSuchProcess) }
    defer { kernel.settle() }
    guard let pod else { return callOutside(call, arguments, child) }
    let number = physicalThread
    var caller = pod.names.processes.caller(number)
    let host = MockTransactionHost(self, call, arguments, pod, caller)
    if kernel.hasLeftCall(identity) {
      _ = host.willRun(.release, on: 0)
      kernel.dropLeftCall(identity)
    }
    // Init-pending (paper §4.1.2): a task that nobody has named is named by its first call.
    if caller == nil, host.willRun(.bind, on: number.rawValue) {
      pod.register(identity, number.rawValue)
      caller = pod.names.processes.caller(number)
    }
    guard let caller else { return perform(call, arguments, nil, host, child).result }
    var transaction = Transaction(call, arguments, by: caller, names: pod.names, host: host)
    prepare(&transaction)
    switch transaction.enter() {
    case .answer(let result):
      finish(consume transaction, host)
      // Who was killed meanwhile sees nothing of it.
      return isAlive || call == .exit_group || call == .exit ? result : .failure(.noSuchProcess)
    case .perform where transaction.segmentChange != nil:
      let step = ScheduledStep(
        occasion: .call(host.call), step: .perform, name: Int32(truncatingIfNeeded: arguments.a))
      var outcome = CallResult.failure(.noFunction)
      if let change = transaction.segmentChange,
        kernel.executor.willRun(step, host.base, isReady: nil)
      {
        outcome = self.change(change)
      }
      guard isAlive else { return .failure(.noSuchProcess) }
      let result = transaction.leave(outcome)
      finish(consume transaction, host)
      return result
    case .perform:
      let outcome = perform(
        transaction.physicalCall, transaction.physicalArguments, caller, host, child)
      guard isAlive else {
        // Killed in the call. A newborn gets its name all the same; dropping the transaction undoes the rest.
        if case .born(let number, let identity) = outcome, host.willRun(.bind, on: number) {
          pod.register(identity, number)
        }
        if transaction.wait != nil { finish(consume transaction, host) }
        return .failure(.noSuchProcess)
      }
      if case .reaped(let number, let identity) = outcome, kernel.hasEvents(about: identity),
        host.willRun(.retire, on: number)
      {
        // Rule 6 of Backend: an end is in the tables before the wait for it returns.
        kernel.applyEvents(about: identity, on: .event)
      }
      if call == .execve || call == .execveat, case .answered(.success) = outcome,
        kernel.hasEvents(about: identity), host.willRun(.publish, on: physicalThread.rawValue)
      {
        kernel.applyEvents(about: identity, on: .event)
      }
      if handlersLeave, outcome.result == .failure(.interrupted) {
        kernel.keep(LeftCall(transaction), of: identity)
        return .failure(.interrupted)
      }
      let result = transaction.leave(outcome.result)
      if transaction.wantsRetry {
        finish(consume transaction, host)
        return nil
      }
      if case .born(_, let identity) = outcome, case .success(let name) = result {
        pod.remember(identity, as: VirtualName(rawValue: Int32(truncatingIfNeeded: name)))
      }
      finish(consume transaction, host)
      return result
    }
  }

  /// References end with the transaction, at a moment of their own.
  private func finish(_ transaction: consuming Transaction, _ host: MockTransactionHost) {
    // So does a wait that the caller's end has ended.
    if host.hasHolds || transaction.wait != nil { _ = host.willRun(.release, on: 0) }
    _ = consume transaction
  }

  private func perform(
    _ call: Syscall, _ arguments: CallArguments, _ caller: Caller?, _ host: MockTransactionHost,
    _ child: (name: String, program: MockProgram)?
  ) -> KernelOutcome {
    let kernel = kernel
    let identity = identity
    let step = ScheduledStep(
      occasion: .call(host.call), step: .perform, name: arguments.int(0))
    let isReady: @Sendable () -> Bool = { kernel.isReady(call, arguments, by: identity) }
    // A lock announces its waiters before it waits, and who sleeps until it is woken has to be asleep first.
    let mayBlock = call != .futex && (call != .ppoll || host.call == .ppoll)
    guard kernel.executor.willRun(step, host.base, isReady: mayBlock ? isReady : nil) else {
      return .answered(.failure(.noFunction))
    }
    var outcome = kernel.perform(call, arguments, by: identity, canBlock: true)
    if case .blocked = outcome, kernel.executor.willRun(step, host.base, isReady: isReady) {
      outcome = kernel.perform(call, arguments, by: identity, canBlock: true)
    }
    if case .born(let number, let newborn) = outcome {
      if let caller, let pod = host.pod {
        let flags = call == .clone ? arguments[0] : 0
        pod.born(
          newborn, of: caller, isThread: flags & CloneFlags.thread != 0,
          sharesParent: flags & CloneFlags.parent != 0)
      }
      if let child {
        MockProcess(kernel: kernel, identity: newborn).run(as: child.name, child.program)
      }
      if call == .vfork {
        // The parent goes on when the child has its own memory.
        let wake: @Sendable () -> Bool = { kernel.isReady(.sched_yield, arguments, by: identity) }
        if kernel.executor.willRun(step, host.base, isReady: wake) {
          _ = kernel.perform(.sched_yield, arguments, by: identity, canBlock: true)
        }
      }
      _ = number
    }
    return outcome
  }

  /// Runs the program on a thread.
  func run(as name: String, _ program: @escaping MockProgram) {
    kernel.executor.spawn(name) {
      program(self)
      // In a schedule each end is one the scenario asks for: others would only make it larger.
      if kernel.executor.endsPrograms, isAlive {
        let isLast = kernel.inspect { state in
          (state.processes[physicalNumber(state)]?.threads.count ?? 0) <= 1
        }
        call(isLast ? .exit_group : .exit, 0)
      }
    }
  }

  // MARK: Outside

  private func callOutside(
    _ call: Syscall, _ arguments: CallArguments, _ child: (name: String, program: MockProgram)?
  ) -> CallResult {
    let host = MockTransactionHost(self, call, arguments, nil, nil)
    let named = PhysicalName<ProcessID>(rawValue: arguments.int(0))
    let takesName: Set<Syscall> = [.kill, .tgkill, .getpgid, .getsid, .rt_sigqueueinfo]
    guard takesName.contains(call), named.rawValue > 0 else {
      return perform(call, arguments, nil, host, child).result
    }
    // The pseudo-pod (paper §4.1.1): what is in a pod is invisible, and what is referred to doesn't enter one.
    if kernel.system.owner(of: named) != nil { return .failure(.noSuchProcess) }
    kernel.executor.touch(.readingTables())
    var isHeld = false
    if host.willRun(.hold, on: named.rawValue) {
      do throws(NameError) {
        try kernel.system.holdOutside(named)
        isHeld = true
      } catch {
        return .failure(.noSuchProcess)
      }
    }
    let outcome = perform(call, arguments, nil, host, child)
    if isHeld {
      _ = host.willRun(.release, on: named.rawValue)
      kernel.system.releaseOutside(named)
    }
    return outcome.result
  }

  /// Enters a pod: by itself, in its own context, and not while somebody outside refers to it.
  ///
  /// - Parameter standing: Whether it leads a session there, or a group in that of the pod's init.
  /// - Returns: Its name in the pod; nil when it has ended.
  @discardableResult
  public func enter(
    _ pod: MockPod, as standing: ProcessTable.Standing = .sessionLeader
  ) -> VirtualName<ProcessID>? {
    guard isAlive else { return nil }
    let number = physical
    let system = kernel.system
    var footprint = Footprint.writing(Footprint.holds)
    footprint.add(.readingTables())
    let step = ScheduledStep(occasion: .entry, step: .bind, name: number.rawValue)
    while kernel.executor.willRun(
      step, footprint, isReady: { !system.isHeldOutside(number) }), isAlive
    {
      let name: VirtualName<ProcessID>
      do throws(NameError) {
        name = try pod.names.processes.enter(
          number, parent: ProcessTable.initial, as: standing)
      } catch {
        // Somebody referred to it just now.
        if error == .nameInUse { continue }
        return nil
      }
      let initial = pod.names.processes.physicalInit.rawValue
      kernel.change { state in
        state.writes(number.rawValue)
        state.processes[number.rawValue]?.pod = pod.names.pod
        state.processes[number.rawValue]?.parent = initial
        state.processes[number.rawValue]?.group = number.rawValue
        let session = state.processes[initial]?.session
        state.processes[number.rawValue]?.session =
          standing == .sessionLeader ? number.rawValue : session ?? number.rawValue
      }
      pod.remember(identity, as: name)
      return name
    }
    return nil
  }

  // MARK: Users and descriptors

  /// Makes it another user's.
  public func set(user: UInt32) {
    kernel.change { state in
      let number = physicalNumber(state)
      state.writes(number)
      state.processes[number]?.user = user
    }
  }

  /// Gives it a descriptor of a process, as it could get it from somebody outside its pod over a socket.
  ///
  /// - Returns: The descriptor; nil when one of them has ended.
  public func receive(handleOf other: MockProcess) -> Int? {
    kernel.change { state in
      let number = physicalNumber(state)
      guard state.processes[number] != nil, let target = state.numberOf[other.identity] else {
        return nil
      }
      return state.addHandle(
        KernelState.Handle(identity: other.identity, number: target), to: number)
    }
  }

  // MARK: Signals

  /// Says what is done with a signal.
  public func set(_ disposition: MockDisposition, for signal: Int32) {
    kernel.change { state in
      let number = physicalNumber(state)
      state.writes(number)
      state.processes[number]?.signals.set(disposition, for: signal)
    }
  }

  /// Keeps a signal pending until it is received by `rt_sigtimedwait`, or not any more.
  public func block(_ signal: Int32, _ isBlocked: Bool = true) {
    kernel.change { state in
      let number = physicalNumber(state)
      state.writes(number)
      if isBlocked {
        state.processes[number]?.signals.blocked.insert(signal)
      } else {
        state.processes[number]?.signals.blocked.remove(signal)
      }
    }
  }

  /// The next signal that a handler of the program would get, with its sender as the pod names it: 0 for who is
  /// outside. Doesn't wait.
  public func takeSignal() -> MockSignal? {
    let signalStep = ScheduledStep(occasion: .signal, step: .perform, name: 0)
    guard isAlive, kernel.executor.willRun(signalStep, base, isReady: nil) else { return nil }
    let taken = kernel.change { state -> MockSignal? in
      let number = physicalNumber(state)
      state.writes(number)
      guard let process = state.processes[number],
        let index = process.signals.pending.firstIndex(where: {
          !process.signals.blocked.contains($0.number)
        })
      else { return nil }
      return state.processes[number]?.signals.pending.remove(at: index)
    }
    guard var signal = taken else { return nil }
    guard let pod, SignalInfo.carriesProcess(signal: signal.number, code: signal.code) else {
      return signal
    }
    let step = ScheduledStep(occasion: .signal, step: .virtualize, name: signal.sender)
    var footprint = base
    footprint.add(.readingEntry(signal.sender, of: pod.names.pod))
    if kernel.executor.willRun(step, footprint, isReady: nil) {
      signal.sender = SignalInfo.virtualSender(signal.sender, in: pod.names)
    }
    return signal
  }

  /// What every step of its own looks at.
  var base: Footprint {
    var footprint = Footprint.reading(Footprint.task(physicalThread.rawValue))
    if let pod {
      footprint.add(.readingEntry(physicalThread.rawValue, of: pod.names.pod))
    }
    return footprint
  }

  /// Waits until a condition of the scenario holds.
  public func wait(until condition: @escaping @Sendable () -> Bool) {
    var everything = Footprint.reading(~0)
    everything.add(.readingTables())
    _ = kernel.executor.willRun(
      ScheduledStep(occasion: .condition, step: .perform, name: 0), everything,
      isReady: condition)
  }

  // MARK: Memory

  /// Maps zeroed memory.
  public func allocate(_ size: Int) -> RemoteAddress {
    changeMemory { $0.map(size) } ?? RemoteAddress(rawValue: 0)
  }

  /// Unmaps what ``allocate(_:)`` mapped.
  public func release(_ address: RemoteAddress) { changeMemory { $0.unmap(address) } }

  /// Reads bytes of the process.
  ///
  /// - Throws: `.badAddress`.
  public func bytes(at address: RemoteAddress, _ count: Int) throws(Errno) -> [UInt8] {
    let outcome = kernel.inspect { state -> Result<[UInt8], Errno> in
      guard let space = state.processes[physicalNumber(state)]?.space,
        let memory = state.spaces[space]
      else { return .failure(.noSuchProcess) }
      do throws(Errno) { return .success(try memory.read(address, count)) } catch {
        return .failure(error)
      }
    }
    return try outcome.get()
  }

  /// Writes bytes of the process.
  ///
  /// - Throws: `.badAddress`.
  public func write(_ bytes: [UInt8], to address: RemoteAddress) throws(Errno) {
    let outcome = changeMemory { memory -> Result<Void, Errno> in
      do throws(Errno) { return .success(try memory.write(bytes, to: address)) } catch {
        return .failure(error)
      }
    }
    try outcome?.get()
  }

  /// Reads a 32-bit word.
  ///
  /// - Throws: `.badAddress`.
  public func word(at address: RemoteAddress) throws(Errno) -> UInt32 {
    try bytes(at: address, 4).reversed().reduce(0) { $0 << 8 | UInt32($1) }
  }

  /// Writes a 32-bit word.
  ///
  /// - Throws: `.badAddress`.
  public func write(word: UInt32, to address: RemoteAddress) throws(Errno) {
    try write((0..<4).map { UInt8(truncatingIfNeeded: word >> ($0 * 8)) }, to: address)
  }

  @discardableResult
  func changeMemory<T>(_ body: (inout AddressSpace) -> T) -> T? {
    kernel.change { state in
      let number = physicalNumber(state)
      state.writes(number)
      guard let space = state.processes[number]?.space, var memory = state.spaces[space] else {
        return nil
      }
      defer { state.spaces[space] = memory }
      return body(&memory)
    }
  }
}
