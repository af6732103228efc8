public import SystemPackage

/// The six words that a program passes with a call.
public struct CallArguments: Sendable, Hashable {
  /// Argument 0.
  public var a: UInt64 = 0
  /// Argument 1.
  public var b: UInt64 = 0
  /// Argument 2.
  public var c: UInt64 = 0
  /// Argument 3.
  public var d: UInt64 = 0
  /// Argument 4.
  public var e: UInt64 = 0
  /// Argument 5.
  public var f: UInt64 = 0

  /// Makes arguments; missing ones are 0.
  public init(
    _ a: UInt64 = 0, _ b: UInt64 = 0, _ c: UInt64 = 0, _ d: UInt64 = 0, _ e: UInt64 = 0,
    _ f: UInt64 = 0
  ) {
    (self.a, self.b, self.c, self.d, self.e, self.f) = (a, b, c, d, e, f)
  }

  /// The argument with an index of 0…5; others read as 0 and can't be set.
  public subscript(index: Int) -> UInt64 {
    get {
      switch index {
      case 0: a
      case 1: b
      case 2: c
      case 3: d
      case 4: e
      case 5: f
      default: 0
      }
    }
    set {
      switch index {
      case 0: a = newValue
      case 1: b = newValue
      case 2: c = newValue
      case 3: d = newValue
      case 4: e = newValue
      case 5: f = newValue
      default: break
      }
    }
  }

  /// The low 32 bits of an argument as the kernel reads an `int` or a `pid_t`.
  public func int(_ index: Int) -> Int32 { Int32(truncatingIfNeeded: self[index]) }

  mutating func setInt(_ index: Int, to value: Int32) {
    self[index] = UInt64(bitPattern: Int64(value))
  }
}

/// An address in a pod process; never a pointer here.
public struct RemoteAddress: RawRepresentable, Hashable, Sendable, Comparable,
  CustomStringConvertible
{
  /// The address as the program has it.
  public let rawValue: UInt64

  /// Makes an address.
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// Whether it is the null pointer.
  public var isNull: Bool { rawValue == 0 }

  /// The address `bytes` further on.
  public func advanced(by bytes: Int) -> RemoteAddress {
    RemoteAddress(rawValue: rawValue &+ UInt64(bitPattern: Int64(bytes)))
  }

  /// Orders by number.
  public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }

  /// Hexadecimal, with 0x.
  public var description: String { "0x" + String(rawValue, radix: 16) }
}

/// Who makes a call.
public struct Caller: Sendable, Hashable {
  /// The calling thread.
  public var thread: VirtualName<ThreadID>
  /// Its process (thread-group leader).
  public var process: VirtualName<ProcessID>
  /// The kernel's number of the thread.
  public var physicalThread: PhysicalName<ThreadID>

  /// Makes a caller.
  public init(
    thread: VirtualName<ThreadID>, process: VirtualName<ProcessID>,
    physicalThread: PhysicalName<ThreadID>
  ) {
    (self.thread, self.process, self.physicalThread) = (thread, process, physicalThread)
  }
}

/// The atomic steps of which preambles and epilogues are made. The set is closed: the schedule explorer interleaves
/// exactly these, and the code inside the process has the same ones.
public enum Step: String, Sendable, CaseIterable {
  /// Take a reference to a name for the transaction.
  case hold
  /// Virtual → physical.
  case lookUp
  /// Physical → virtual.
  case virtualize
  /// Give out a virtual name, init-pending.
  case allocate
  /// Give out names in advance to a holder outside the supervisor.
  case lease
  /// Make an allocated name live.
  case bind
  /// Make something about a live name visible to others: its group, its session, its parent.
  case publish
  /// Mark a name dying.
  case retire
  /// Give up the last claim on a dying name after its reap.
  case reap
  /// Enter a name without reference count in the restricted-id table.
  case restrict
  /// Make the kernel call again because what it named has changed.
  case retry
  /// Undo what the preamble did.
  case rollBack
  /// Give back a reference.
  case release
  /// The kernel's own part of the call.
  case perform
}

/// What a backend provides for one transaction: memory of the caller, kernel calls, and the execution of steps.
public protocol TransactionHost: AnyObject {
  /// Called before each step, with the name (virtual or physical, 0 if none) that it is about.
  ///
  /// - Returns: Whether to run the step. A backend for real programs always answers true; the schedule explorer yields
  ///   here, and leaves a step out to show what it protects from.
  func willRun(_ step: Step, on name: Int32) -> Bool

  /// Makes a kernel call that doesn't block, with physical names, in the caller's context or on its behalf.
  func perform(_ call: Syscall, _ arguments: CallArguments, for caller: Caller) throws(Errno) -> Int

  /// The process group that a process is in, as the kernel says.
  ///
  /// It needs nobody's context, and may be asked in the middle of the caller's own call.
  ///
  /// - Throws: `.noSuchProcess`. Source: getpgid(2).
  func processGroup(
    of process: PhysicalName<ProcessID>, for caller: Caller
  ) throws(Errno) -> PhysicalName<ProcessID>

  /// Reads from the caller's memory.
  ///
  /// - Throws: `.badAddress` when any byte can't be read.
  func read(_ address: RemoteAddress, into buffer: UnsafeMutableRawBufferPointer) throws(Errno)

  /// Writes to the caller's memory.
  ///
  /// - Throws: `.badAddress` when any byte can't be written.
  func write(_ bytes: UnsafeRawBufferPointer, to address: RemoteAddress) throws(Errno)

  /// Replaces a word of the caller's memory atomically, if it still has a value.
  ///
  /// - Returns: Whether it was replaced.
  /// - Throws: `.badAddress`.
  func compareExchange(
    _ address: RemoteAddress, expected: UInt32, desired: UInt32
  ) throws(Errno) -> Bool

  /// Puts bytes in private scratch memory that the caller can read until the call returns.
  func scratch(_ bytes: UnsafeRawBufferPointer) throws(Errno) -> RemoteAddress

  /// The task behind a process descriptor of the caller. The descriptor may be another's file a moment later.
  ///
  /// - Throws: `.badFileDescriptor` when it is none; `.noSuchProcess` when the task is gone.
  func task(behind descriptor: Int32) throws(Errno) -> ProcessHandle.Target

  /// What a descriptor of the caller is; nil for one of no kind that rows are for. Asked only for calls that have rows for
  /// kinds of descriptors.
  func kind(ofDescriptor descriptor: Int32) -> DescriptorKind?

  /// The absolute path of a directory of the caller, by its descriptor, or of its working directory; nil where nobody
  /// knows it. It may be another one a moment later.
  func directory(_ descriptor: Int32?) -> [UInt8]?

  /// The real user id of a task.
  ///
  /// - Throws: `.noSuchProcess`.
  func realUser(of task: PhysicalName<ProcessID>) throws(Errno) -> UInt32

  /// The caller is about to install a filter of its own for its calls, which may not allow those that a backend makes in
  /// its context to get memory there: what it will need, it gets now.
  func willFilterCalls()

  /// Whether a process that the tables call a zombie can be waited for, as the kernel knows.
  func isWaitable(_ zombie: Entry<ProcessID>) -> Bool

  /// The state of the caller that isn't in the tables of names.
  var callerState: any CallerState { get }

  /// For whom the caller acts.
  ///
  /// - Throws: `.noSuchProcess`.
  func credentials(of caller: Caller) throws(Errno) -> CallerCredentials

  /// Makes sure of the caller's memory, before something is done that can't be undone when it is out of reach.
  ///
  /// - Throws: When it is: nothing is done then.
  func reachMemory() throws(Errno)

  /// Gets ready for a sleep of the caller, made by the kernel in place of its call.
  ///
  /// - Parameter time: How long at most; nil for as long as it takes.
  /// - Returns: nil where this host can't: the call is to be made with one that can.
  /// - Throws: `.noMemory` and the like.
  func prepareSleep(for time: Duration?) throws(Errno) -> Sleep?

  /// What System V shared memory needs of the caller and the machine.
  var segmentHost: any SegmentHost { get }
}

extension TransactionHost {
  /// Root, where the host knows of no users.
  public func credentials(of caller: Caller) throws(Errno) -> CallerCredentials {
    CallerCredentials(user: 0, group: 0, capabilities: .all)
  }

  /// It always is within reach.
  public func reachMemory() throws(Errno) {}

  /// None.
  public func prepareSleep(for time: Duration?) throws(Errno) -> Sleep? { nil }
}

extension TransactionHost {
  /// The tables know, for hosts that see the end of each wait.
  public func isWaitable(_ zombie: Entry<ProcessID>) -> Bool { true }
}

extension TransactionHost {
  /// Does nothing, for hosts that need nothing in the caller.
  public func willFilterCalls() {}
}

extension TransactionHost {
  /// No descriptor is of a kind where the host knows of none.
  public func kind(ofDescriptor descriptor: Int32) -> DescriptorKind? { nil }
}

extension TransactionHost {
  /// Nobody knows it where the host has no files.
  public func directory(_ descriptor: Int32?) -> [UInt8]? { nil }
}

extension TransactionHost {
  /// No descriptor is a process's where the host knows of none.
  public func task(behind descriptor: Int32) throws(Errno) -> ProcessHandle.Target {
    throw .badFileDescriptor
  }

  /// There is one user where the host knows of none.
  public func realUser(of task: PhysicalName<ProcessID>) throws(Errno) -> UInt32 { 0 }
}

extension TransactionHost {
  /// Asks by a call, for hosts that can make one at any time.
  public func processGroup(
    of process: PhysicalName<ProcessID>, for caller: Caller
  ) throws(Errno) -> PhysicalName<ProcessID> {
    let group = try perform(
      .getpgid, CallArguments(UInt64(bitPattern: Int64(process.rawValue))), for: caller)
    return PhysicalName(rawValue: Int32(truncatingIfNeeded: group))
  }
}

/// What wrappers need to know of the caller beyond its names, and what they tell the backend of it.
public protocol CallerState: AnyObject {
  /// The start of the thread's control block (the TLS base); nil where the backend doesn't know it.
  var threadPointer: RemoteAddress? { get }
  /// What the program set with `PR_SET_DUMPABLE`; nil when it didn't.
  var dumpable: Int32? { get set }
  /// Whether no other thread has the caller's memory, so that what is put there is there when the kernel looks.
  var hasMemoryOfItsOwn: Bool { get }
  /// The caller may have other user or group ids from now on.
  func credentialsChanged()
  /// The caller has opened a descriptor of a kind that rows are for: from now on, calls that have such rows are to be
  /// looked at, also those of its threads and of the children that it makes.
  func opened(_ kind: DescriptorKind)
}

extension CallerState {
  /// So it is where threads aren't made of memory.
  public var hasMemoryOfItsOwn: Bool { true }
  /// Does nothing.
  public func credentialsChanged() {}
  /// Does nothing.
  public func opened(_ kind: DescriptorKind) {}
}

/// What the kernel, or a wrapper in its stead, answers.
public typealias CallResult = Result<Int, Errno>

/// One system call of one process on its way through the boundary: preamble → kernel → epilogue.
///
/// It owns what lives between preamble and epilogue; dropping it before the epilogue rolls it back.
public struct Transaction: ~Copyable {
  /// The names of the caller's pod.
  public let names: PodNames
  /// Who calls.
  public let caller: Caller
  /// The call that the program made.
  public let call: Syscall
  /// The row of the boundary table that is for it; nil when no name crosses.
  public let row: BoundaryRow?
  /// What the program passed: virtual names.
  public let arguments: CallArguments
  /// The call that the kernel gets.
  public var physicalCall: Syscall
  /// What the kernel gets: physical names.
  public var physicalArguments: CallArguments
  /// The answer: set by a preamble to answer without the kernel, by the backend after the kernel's part, and by
  /// epilogues.
  public var result: CallResult?
  /// The name that a fork has allocated for the child.
  public var child: VirtualName<ProcessID>?
  /// Whether a fork was announced whose epilogue has not run.
  public var awaitsNewborn = false
  /// Set by an epilogue when what the call named changed on the way: the backend makes the whole call again, with a new
  /// transaction.
  public var wantsRetry = false
  /// Set by a preamble that found that the caller has to sleep, on a host that can't have it do so: the backend begins the call
  /// again with a host that can.
  public var wantsSleep = false
  /// What the caller waits for while its call is replaced by a sleep.
  public internal(set) var wait: IPCWait?
  /// A name that a fork's child is to have because the caller asks for it (clone3(2), `set_tid`).
  public var chosenChild: VirtualName<ProcessID>?
  /// A name leased to the caller's process that its own code took for a fork's child.
  public var leasedChild: VirtualName<ProcessID>?
  /// Which of its thread's births a fork is, for backends in which a thread may be in several at once.
  public var birthNumber = 0
  /// What is done with the caller's mappings in the kernel's stead, when the preamble has set it: no call is made as the
  /// program made it.
  public var segmentChange: SegmentChange?
  /// The segment that is attached.
  var segmentUse: SegmentTable.Use?
  /// A word that a wrapper keeps from its preamble to its epilogue.
  public var note: Int = 0
  /// The POSIX message queue that the call is about, by the pod's name.
  var queue: [UInt8] = []
  /// Whether the call may be about to make it.
  var makesQueue = false

  /// Memory, kernel and steps.
  public let host: any TransactionHost

  private var held = HeldNames()
  /// A process that has ended, which the call looks at, and the answer if it is gone.
  private var seenZombie: (name: VirtualName<ProcessID>, unknown: Errno)?
  /// Ends the restriction of the physical name that the call is about, and says whether it has to be made again.
  var restriction: (@Sendable () -> Bool)?
  /// The object that the call makes.
  var creation: Creation?
  /// Names that are about to be leased.
  private var unleased: [VirtualName<ProcessID>] = []

  /// Begins a transaction; ``enter()`` runs its preamble.
  public init(
    _ call: Syscall, _ arguments: CallArguments, by caller: Caller, names: PodNames,
    host: any TransactionHost
  ) {
    self.names = names
    self.caller = caller
    self.call = call
    self.arguments = arguments
    self.host = host
    physicalCall = call
    physicalArguments = arguments
    row =
      names.boundary.row(for: call, arguments)
      ?? names.boundary.descriptorRow(for: call, arguments) { host.kind(ofDescriptor: $0) }
  }

  deinit {
    if awaitsNewborn {
      names.processes.endBirth(by: caller, birth: birthNumber)
      if let child, cloneFlags & CloneFlags.semaphoreUndo != 0 { names.systemV.ended(child) }
    }
    for index in 0..<held.count { try? names.processes.space.release(held[index]) }
    for name in unleased { try? names.processes.space.giveBack(name) }
    _ = restriction?()
    creation?.end()
    if let wait { _ = names.systemV.finish(wait) }
    if makesQueue { names.paths.hasMade(queue: queue, false) }
  }

  /// Runs one step, if the executor lets it.
  ///
  /// - Returns: nil when the executor left it out.
  /// - Throws: What the step throws.
  @discardableResult
  public mutating func step<T, Failure: Error>(
    _ step: Step, on name: Int32 = 0, _ body: (inout Transaction) throws(Failure) -> T
  ) throws(Failure) -> T? {
    guard host.willRun(step, on: name) else { return nil }
    return try body(&self)
  }

  /// Takes a reference to a process, thread, group or session name until the transaction ends. A name that the pod doesn't
  /// have is left to the look-up that follows.
  ///
  /// - Throws: `.noMemory` when the transaction holds four, since no call names more, or when too many hold the name.
  public mutating func hold(_ name: Int32) throws(Errno) {
    guard held.hasRoom else { throw .noMemory }
    names.processes.hear(VirtualName(rawValue: name))
    try step(.hold, on: name) { transaction throws(Errno) in
      let name = VirtualName<ProcessID>(rawValue: name)
      do throws(NameError) {
        try transaction.names.processes.space.hold(name)
      } catch {
        if error == .unknownName { return }
        throw .noMemory
      }
      transaction.held.append(name)
    }
  }

  /// Gives names in advance to the caller's process, so that its own code names children without asking
  /// (DESIGN.md §4.4). What it doesn't use is free again when it ends, calls exec, or when no other name is.
  ///
  /// - Parameter count: How many are wanted, at most ``ProcessTable/longestLease``.
  /// - Returns: The names in the order in which they are to be used; fewer when the pod has fewer.
  /// - Throws: `.resourceTemporarilyUnavailable` when it has none; `.invalidArgument`.
  public mutating func leaseNames(_ count: Int) throws(Errno) -> [VirtualName<ProcessID>] {
    guard (1...ProcessTable.longestLease).contains(count) else { throw .invalidArgument }
    step(.allocate) { transaction in
      while transaction.unleased.count < count,
        let name = try? transaction.names.processes.space.allocate(avoidingPhysical: true)
      { transaction.unleased.append(name) }
    }
    let names = unleased
    if names.isEmpty { throw .resourceTemporarilyUnavailable }
    // From here on they are the process's; until here they are the transaction's, and end with it.
    try step(.lease, on: names.first?.rawValue ?? 0) { transaction throws(Errno) in
      try transaction.names.processes.lease(names, to: transaction.caller.process)
      transaction.unleased = []
    }
    return names
  }

  /// Runs a part of the call that concerns one name, with a reference to it for just so long: for calls that name more
  /// than a transaction can hold.
  ///
  /// - Returns: What the part returned; nil when the pod has no such name.
  /// - Throws: What the part throws.
  public mutating func whileHolding<T>(
    _ name: VirtualName<ProcessID>, _ body: (inout Transaction) throws(Errno) -> T
  ) throws(Errno) -> T? {
    let space = names.processes.space
    let isHeld = step(.hold, on: name.rawValue) { _ in (try? space.hold(name)) != nil }
    if isHeld == false { return nil }
    let outcome: Result<T, Errno>
    do throws(Errno) {
      outcome = .success(try body(&self))
    } catch {
      outcome = .failure(error)
    }
    if isHeld == true { step(.release, on: name.rawValue) { _ in try? space.release(name) } }
    return try outcome.get()
  }

  // MARK: Preamble

  /// What the backend has to do next.
  public enum Decision: Sendable {
    /// The call is answered; the kernel isn't asked.
    case answer(CallResult)
    /// The kernel gets ``physicalCall`` with ``physicalArguments``; then ``leave(_:)``.
    case perform
  }

  /// Runs the preamble: interposers, translation of what goes in, the wrapper's preamble.
  public mutating func enter() -> Decision {
    do throws(Errno) {
      for interposer in names.interposers where interposer.calls.contains(call) {
        try interposer.preamble(&self)
      }
      if let result { return .answer(result) }
      guard let row else { return .perform }
      switch row.verb {
      case .refused(let errno, _): throw errno
      case .native: return .perform
      case .open(let errno, _):
        for place in row.inputs { try passOnSelf(place, else: errno) }
        if row.inputs.isEmpty { throw errno }
        return .perform
      case .answered:
        return .answer(.success(Int(answer(row))))
      case .translated:
        for place in row.inputs { try translateIn(place) }
        return .perform
      case .wrapped(let wrapper):
        for place in row.inputs { try translateIn(place) }
        try wrapper.preamble(&self)
        if let result { return .answer(result) }
        return .perform
      }
    } catch {
      return .answer(.failure(error))
    }
  }

  private func answer(_ row: BoundaryRow) -> Int32 {
    switch row.outputs.first?.shape.resource {
    case is ThreadID.Type: caller.thread.rawValue
    default: caller.process.rawValue
    }
  }

  private mutating func translateIn(_ place: Place) throws(Errno) {
    switch place {
    case .argument(let index, let shape):
      let value = try physical(of: arguments.int(index), shape)
      if value != arguments.int(index) { physicalArguments.setInt(index, to: value) }
    case .memory(let index, let shape):
      try translateIn(.field(0, of: index, shape))
    case .field(let offset, let index, let shape):
      let address = RemoteAddress(rawValue: arguments[index])
      if address.isNull { return }
      var value = try read(Int32.self, at: address.advanced(by: offset))
      value = try shape.physical(of: value, in: &self)
      // Only a lone word is redirected; a structure needs a wrapper that copies it whole.
      let scratch = try withUnsafeBytes(of: &value) { bytes throws(Errno) in
        try host.scratch(UnsafeRawBufferPointer(bytes))
      }
      physicalArguments[index] = scratch.rawValue
    case .result, .signals: break
    }
  }

  /// A process that has ended and can still be waited for.
  func zombie(_ name: VirtualName<ProcessID>) -> Entry<ProcessID>? {
    guard let zombie = names.processes.zombie(name), host.isWaitable(zombie) else { return nil }
    return zombie
  }

  /// The physical value of a name. Who only looks at threads sees processes that have ended too, until they were waited for:
  /// the answer counts when that was not meanwhile.
  private mutating func physical(of name: Int32, _ shape: NameShape) throws(Errno) -> Int32 {
    do throws(Errno) {
      return try shape.physical(of: name, in: &self)
    } catch {
      guard name > 0, shape.onlyLooks, shape.resource is ThreadID.Type,
        error == shape.unknown ?? ThreadID.unknownName
      else { throw error }
      let zombie = step(.lookUp, on: name) { transaction in
        transaction.zombie(VirtualName(rawValue: name))
      }
      guard case let zombie?? = zombie else { throw error }
      seenZombie = (zombie.virtual, error)
      return zombie.physical.rawValue
    }
  }

  private mutating func passOnSelf(_ place: Place, else errno: Errno) throws(Errno) {
    guard case .argument(let index, _) = place else { throw errno }
    let value = arguments.int(index)
    if value == 0 { return }
    guard value == caller.thread.rawValue || value == caller.physicalThread.rawValue
    else { throw errno }
    physicalArguments.setInt(index, to: caller.physicalThread.rawValue)
  }

  // MARK: Epilogue

  /// Runs the epilogue on what the kernel answered: the wrapper's epilogue, translation of what comes out.
  ///
  /// - Parameter kernelResult: What the kernel returned.
  /// - Returns: What the program sees, unless ``wantsRetry`` is set.
  public mutating func leave(_ kernelResult: CallResult) -> CallResult {
    result = kernelResult
    do throws(Errno) {
      if case .wrapped(let wrapper)? = row?.verb { try wrapper.epilogue(&self) }
      if case .success(let value)? = result, let row {
        for place in row.outputs { try translateOut(place, value) }
      }
      if let (name, unknown) = seenZombie {
        let isThere = step(.lookUp, on: name.rawValue) { transaction in
          transaction.names.processes.zombie(name) != nil
        }
        if isThere == false { throw unknown }
      }
    } catch {
      result = .failure(error)
    }
    return result ?? kernelResult
  }

  /// Whether anything remains to be done after the kernel's part.
  public var hasEpilogue: Bool {
    if row?.paths.isEmpty == false { return false }
    if case .wrapped? = row?.verb { return true }
    if seenZombie != nil { return true }
    return !(row?.outputs.isEmpty ?? true)
  }

  private mutating func translateOut(_ place: Place, _ value: Int) throws(Errno) {
    switch place {
    case .result(let shape):
      let physical = Int32(truncatingIfNeeded: value)
      let virtual = try step(.virtualize, on: physical) { transaction throws(Errno) in
        shape.virtual(of: physical, in: transaction.names)
      }
      result = .success(Int(virtual ?? physical))
    case .memory(let index, let shape):
      try translateOut(.field(0, of: index, shape), value)
    case .field(let offset, let index, let shape):
      let address = RemoteAddress(rawValue: arguments[index])
      if address.isNull { return }
      let physical = try read(Int32.self, at: address.advanced(by: offset))
      let virtual = try step(.virtualize, on: physical) { transaction throws(Errno) in
        shape.virtual(of: physical, in: transaction.names)
      }
      try write(virtual ?? physical, to: address.advanced(by: offset))
    case .signals(let index, let inVectors, let shape):
      translateSignals(of: index, inVectors: inVectors, count: value, shape)
    case .argument: break
    }
  }

  // MARK: Memory

  /// Reads a value of a trivial type from the caller's memory.
  ///
  /// - Throws: `.badAddress` when any byte of it can't be read.
  public func read<T: BitwiseCopyable>(
    _ type: T.Type, at address: RemoteAddress
  ) throws(Errno) -> T {
    try withUnsafeTemporaryAllocation(of: T.self, capacity: 1) { buffer throws(Errno) -> T in
      try host.read(address, into: UnsafeMutableRawBufferPointer(buffer))
      return buffer[0]
    }
  }

  /// Writes a value of a trivial type to the caller's memory.
  ///
  /// - Throws: `.badAddress` when any byte of it can't be written.
  public func write<T: BitwiseCopyable>(_ value: T, to address: RemoteAddress) throws(Errno) {
    var value = value
    try withUnsafeBytes(of: &value) { bytes throws(Errno) in try host.write(bytes, to: address) }
  }
}

/// The names that a transaction holds: few, and without an allocation.
private struct HeldNames {
  private var names: InlineArray<4, Int32> = .init(repeating: 0)
  private(set) var count = 0

  subscript(index: Int) -> VirtualName<ProcessID> { VirtualName(rawValue: names[index]) }

  var hasRoom: Bool { count < 4 }

  mutating func append(_ name: VirtualName<ProcessID>) {
    names[count] = name.rawValue
    count += 1
  }
}
