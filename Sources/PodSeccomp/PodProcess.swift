internal import CLinux
internal import Glibc
internal import PodCore
internal import PodLinux
internal import Synchronization
internal import SystemPackage

/// Which process a number means: numbers are used again, this isn't.
///
/// Source: pidfd_open(2); fs/pidfs.c: each process has an inode of its own since Linux 6.9; before, the time of its
/// start tells.
struct ProcessIdentity: Sendable, Hashable {
  private let number: UInt64

  /// The identity of what a process descriptor names.
  init?(pidfd: Int32, tgid: Int32) {
    var status = stat()
    guard fstat(pidfd, &status) == 0 else { return nil }
    if Self.hasInodes {
      number = UInt64(status.st_ino)
    } else if let begin = ProcessStart.ticks(of: tgid) {
      number = begin
    } else {
      return nil
    }
  }

  /// The lower half of the number of who has it for good; nil where the time of the start tells, which may be another's.
  var word: UInt32? { Self.hasInodes ? UInt32(truncatingIfNeeded: number) : nil }

  /// Whether each process has an inode of its own here: two processes that live don't share it.
  private static let hasInodes: Bool = {
    let own = CLinux_pidfd_open(getpid(), 0)
    let first = CLinux_pidfd_open(1, 0)
    defer {
      if own >= 0 { close(own) }
      if first >= 0 { close(first) }
    }
    var one = stat()
    var other = stat()
    guard own >= 0, first >= 0, fstat(own, &one) == 0, fstat(first, &other) == 0 else {
      return false
    }
    return getpid() == 1 || one.st_ino != other.st_ino
  }()
}

/// When processes were started.
private enum ProcessStart {
  /// In clock ticks since the machine was started; nil when there is no such process.
  ///
  /// Source: proc_pid_stat(5), field 22.
  static func ticks(of process: Int32) -> UInt64? {
    guard let file = try? FileDescriptor.open("/proc/\(process)/stat", .readOnly) else {
      return nil
    }
    defer { try? file.close() }
    return withUnsafeTemporaryAllocation(byteCount: 1024, alignment: 1) { buffer in
      guard let count = try? file.read(into: buffer) else { return nil }
      // The command, in parentheses, may have any of its own.
      guard let end = buffer[..<count].lastIndex(of: UInt8(ascii: ")")) else { return nil }
      let fields = String(decoding: buffer[(end + 1)..<count], as: UTF8.self).split(separator: " ")
      return fields.count > 19 ? UInt64(fields[19]) : nil
    }
  }
}

/// How many of something there are, for those who look for any before they look for one.
final class Count: Sendable {
  private let count = Atomic<Int>(0)
  var isEmpty: Bool { count.load(ordering: .relaxed) == 0 }
  fileprivate func change(by difference: Int) { count.add(difference, ordering: .relaxed) }
}

/// One address space of the pod, shared by threads and by processes made with `CLONE_VM`.
final class AddressSpace: Sendable {
  private struct State {
    /// How many processes that haven't ended have it.
    var sharers = 1
    var gate: RemoteAddress?
    var scratch: RemoteAddress?
    var signalsWithStubs: UInt64 = 0
    var waitWords: RemoteAddress?
    var usedSlots: Set<Int> = []
    var usedDescriptors: Set<Int32> = []
  }
  private let state: Mutex<State>

  /// The size of the scratch memory in bytes.
  static let scratchSize = 128 * 1024
  /// What one transaction may use of it.
  static let slotSize = 1024

  /// Held while what is to be unmapped is looked for and unmapped.
  private let unmapping = Mutex<Void>(())
  private let area: Mutex<AreaState>
  private let callSites: Mutex<CallSites>
  /// Whether the pod's area is still to come, or on its way.
  private let awaited: Atomic<Bool>
  private let onItsWay = Atomic<Bool>(false)
  /// How many calls were heard of while it was to come.
  private let calls = Atomic<Int>(0)
  private let count: Count

  /// The space of a program that was just executed.
  ///
  /// - Parameters:
  ///   - count: Counts it until its area has come.
  ///   - getsArea: Whether the pod has an area.
  init(_ count: Count = Count(), getsArea: Bool = false) {
    state = Mutex(State())
    area = Mutex(getsArea ? .awaited : .absent)
    callSites = Mutex(CallSites())
    awaited = Atomic(getsArea)
    self.count = count
    if getsArea { count.change(by: 1) }
  }

  /// The copy that a fork makes: the same mappings at the same addresses.
  init(copying other: AddressSpace) {
    let known = other.state.withLock { $0 }
    state = Mutex(
      State(
        gate: known.gate, scratch: known.scratch, signalsWithStubs: known.signalsWithStubs,
        waitWords: known.waitWords))
    area = Mutex(.absent)
    let sites = other.callSites.withLock { $0 }
    callSites = Mutex(sites)
    awaited = Atomic(false)
    count = other.count
    withArea { state in
      state = other.area.withLock { $0 }
      // The code that is to be put back is the copy's own, but nobody waits in the bootstrap there.
      if case .onItsWay = state { state = .absent }
    }
  }

  /// The copy of a space of which nobody knows whose: the page has made it, so that it has the area and may have all stubs. What
  /// else of ours there is in it isn't used.
  init(madeInArea count: Count) {
    state = Mutex(State(signalsWithStubs: .max))
    area = Mutex(.mapped)
    callSites = Mutex(CallSites())
    awaited = Atomic(false)
    self.count = count
  }

  deinit { if awaitsArea { count.change(by: -1) } }

  /// A number for a descriptor that a thread is given while others run: of two threads neither gets the other's.
  ///
  /// - Parameter find: Finds one that isn't among those in use.
  func takeDescriptor(_ find: (Set<Int32>) -> Int32?) -> Int32? {
    state.withLock { state in
      let found = find(state.usedDescriptors)
      if let found { state.usedDescriptors.insert(found) }
      return found
    }
  }
  func giveBack(descriptor: Int32) {
    state.withLock { state in _ = state.usedDescriptors.remove(descriptor) }
  }

  /// Runs what nobody else may do at the same time in this memory: two detaches of one address could otherwise unmap what
  /// was mapped between them.
  func whileUnmapping<T>(_ body: () throws(Errno) -> sending T) throws(Errno) -> sending T {
    let result = unmapping.withLock { _ -> sending Result<T, Errno> in
      do throws(Errno) { return .success(try body()) } catch { return .failure(error) }
    }
    return try result.get()
  }

  /// Whether notifications are to be looked at for the sake of the pod's area.
  var awaitsArea: Bool { awaited.load(ordering: .relaxed) }

  /// At the how many-th of its calls a program gets the pod's area that hasn't needed it before: when so many calls have cost
  /// as much as its coming (docs/findings.md).
  static let callsBeforeArea = 10

  /// Whether the pod's area is to come or on its way, and a call that gives no other reason is one at which it matters.
  ///
  /// Each time that the answer is no counts as such a call.
  func wantsArea() -> Bool {
    guard awaitsArea else { return false }
    return onItsWay.load(ordering: .relaxed)
      || calls.add(1, ordering: .relaxed).newValue >= Self.callsBeforeArea
  }

  /// Whether what brings the area is in the program's code.
  var isAreaOnItsWay: Bool { onItsWay.load(ordering: .relaxed) }

  /// Whether calls can be made in the pod's area.
  var hasArea: Bool {
    area.withLock { state in
      if case .mapped = state { true } else { false }
    }
  }

  /// Does a step of what brings the pod's area, or looks how far it has come.
  func withArea<T>(_ body: (inout AreaState) -> T) -> T {
    area.withLock { state in
      defer {
        let isAwaited =
          switch state {
          case .awaited, .onItsWay: true
          case .mapped, .absent: false
          }
        if case .onItsWay = state {
          onItsWay.store(true, ordering: .relaxed)
        } else {
          onItsWay.store(false, ordering: .relaxed)
        }
        if awaited.exchange(isAwaited, ordering: .relaxed) != isAwaited {
          count.change(by: isAwaited ? 1 : -1)
        }
      }
      return body(&state)
    }
  }

  /// Works on what is known of the program's call sites.
  func withCallSites<T>(_ body: (inout CallSites) -> T) -> T { callSites.withLock { body(&$0) } }

  /// Whether a signal's handler may be called by a stub in the pod's area.
  func mayHaveStub(_ signal: Int32) -> Bool {
    state.withLock { $0.signalsWithStubs & Self.bit(signal) != 0 }
  }
  /// From now on it may, in each process that shares the memory: they may share handlers too.
  func expectStub(_ signal: Int32) {
    state.withLock { $0.signalsWithStubs |= Self.bit(signal) }
  }
  /// From now on all may.
  func expectStubs() { state.withLock { $0.signalsWithStubs = .max } }
  private static func bit(_ signal: Int32) -> UInt64 {
    (1...64).contains(signal) ? 1 << UInt64(signal - 1) : 0
  }

  /// The page with our code; see ``Gate``.
  var gate: RemoteAddress? { state.withLock { $0.gate } }

  /// A page was put there since there was none, or since the known one isn't right any more.
  ///
  /// - Returns: The page that counts: one has to, since calls that go on by themselves are known by it.
  func settleGate(_ address: RemoteAddress, insteadOf known: RemoteAddress?) -> RemoteAddress {
    state.withLock { state in
      if state.gate != known, let other = state.gate { return other }
      state.gate = address
      return address
    }
  }

  /// Memory for copies that calls read and write instead of the program's own.
  var scratch: RemoteAddress? {
    get { state.withLock { $0.scratch } }
    set { state.withLock { $0.scratch = newValue } }
  }

  /// Where ``WaitWords`` are mapped.
  var waitWords: RemoteAddress? { state.withLock { $0.waitWords } }

  /// They were mapped, or are found not to be there any more.
  ///
  /// - Returns: Where they are now: another thread's mapping may have come first.
  @discardableResult
  func settleWaitWords(
    _ address: RemoteAddress?, insteadOf known: RemoteAddress?
  ) -> RemoteAddress? {
    state.withLock { state in
      if state.waitWords == known { state.waitWords = address }
      return state.waitWords
    }
  }

  /// How many processes that haven't ended have it.
  var sharers: Int { state.withLock { $0.sharers } }

  func share() { state.withLock { $0.sharers += 1 } }
  func leave() { state.withLock { $0.sharers -= 1 } }

  func takeSlot() -> Int? {
    state.withLock { state in
      guard
        let slot = (0..<Self.scratchSize / Self.slotSize).first(where: {
          !state.usedSlots.contains($0)
        })
      else { return nil }
      state.usedSlots.insert(slot)
      return slot
    }
  }

  func giveBack(slot: Int) { _ = state.withLock { $0.usedSlots.remove(slot) } }
}

/// One process (thread group) of the pod.
final class PodProcess: Sendable {
  let tgid: Int32
  let name: VirtualName<ProcessID>
  /// Names it to the pod's init, which tells when it has ended.
  let tag: UInt64
  /// nil where it had ended before it could be seen.
  let identity: ProcessIdentity?
  private let state: Mutex<State>

  private struct State {
    var space: AddressSpace
    var threads: Set<Int32> = []
    static let fewThreads = 16
    var sweptFrom = fewThreads
    var dumpable: Int32?
    var launch: Launch?
    var launchID: UInt32?
    var ended: (@Sendable (TerminationStatus) -> Void)?
    var speaksForInit = false
    var mayBeOutOfReach = false
    var hasOwnFilters = false
    var hasEnded = false
    var isReported = false
    var isForgotten = false
    var foundGone: ContinuousClock.Instant?
    var hasExecuted = false
    var reportedRefusals: Set<Int> = []
  }

  init(
    tgid: Int32, name: VirtualName<ProcessID>, tag: UInt64, identity: ProcessIdentity?,
    space: AddressSpace
  ) {
    self.tgid = tgid
    self.name = name
    self.tag = tag
    self.identity = identity
    state = Mutex(State(space: space))
  }

  var space: AddressSpace {
    get { state.withLock { $0.space } }
    set { state.withLock { $0.space = newValue } }
  }

  /// Its threads whose end is not known.
  var threads: Set<Int32> { state.withLock { $0.threads } }
  func add(thread: Int32) { _ = state.withLock { $0.threads.insert(thread) } }
  func remove(thread: Int32) { _ = state.withLock { $0.threads.remove(thread) } }
  func removeThreads() -> Set<Int32> {
    state.withLock { state in
      defer { state.threads = [] }
      return state.threads
    }
  }

  /// Whether it may have more than one thread, of some of which nobody may have heard.
  var mayHaveThreads: Bool {
    // Where there is an area, nobody tells of threads, nor of their ends.
    guard space.hasArea else { return threads.count > 1 }
    var status = stat()
    // A directory has two links more than directories in it. Source: proc_pid_task(5).
    return stat("/proc/\(tgid)/task", &status) != 0 || status.st_nlink != 3
  }

  /// Its threads, when there are so many more than the last time that it is worth while to look which are there; else nil.
  func threadsToSweep() -> Set<Int32>? {
    state.withLock { $0.threads.count < $0.sweptFrom ? nil : $0.threads }
  }
  func hasSwept() {
    state.withLock { $0.sweptFrom = max(State.fewThreads, 2 * $0.threads.count) }
  }

  /// What the program set with `PR_SET_DUMPABLE`.
  var dumpable: Int32? {
    get { state.withLock { $0.dumpable } }
    set { state.withLock { $0.dumpable = newValue } }
  }

  /// Whether it still runs init's code.
  var speaksForInit: Bool {
    get { state.withLock { $0.speaksForInit } }
    set { state.withLock { $0.speaksForInit = newValue } }
  }

  /// Whether its program or its user has changed, after which the kernel may deny its memory.
  var mayBeOutOfReach: Bool {
    get { state.withLock { $0.mayBeOutOfReach } }
    set { state.withLock { $0.mayBeOutOfReach = newValue } }
  }

  /// Whether it has executed a program since it was made, as far as was found out.
  var hasExecuted: Bool {
    get { state.withLock { $0.hasExecuted } }
    set { state.withLock { $0.hasExecuted = newValue } }
  }

  /// Whether an exec of it has gone on by itself; see ``UnattendedExec``.
  var hasExecUnderWay: Bool { isExecUnderWay.load(ordering: .acquiring) }
  private let isExecUnderWay = Atomic<Bool>(false)
  private let exec = Mutex<UnattendedExec?>(nil)

  /// Does a step of an exec that goes on by itself, one at a time: nil where none does.
  ///
  /// - Parameter count: Counts it meanwhile.
  func withExec<T>(_ count: Count, _ body: (inout UnattendedExec?) -> T) -> T {
    exec.withLock { exec in
      let result = body(&exec)
      if isExecUnderWay.exchange(exec != nil, ordering: .releasing) != (exec != nil) {
        count.change(by: exec != nil ? 1 : -1)
      }
      return result
    }
  }

  /// Whether it may have filters of its own for its calls, which the calls of the pod's area would go through too: they may
  /// trap those, or kill for them.
  var hasOwnFilters: Bool {
    get { state.withLock { $0.hasOwnFilters } }
    set { state.withLock { $0.hasOwnFilters = newValue } }
  }

  /// Set from the fork by the launcher until the program's exec.
  func begin(_ launch: Launch, id: UInt32) {
    state.withLock { ($0.launch, $0.launchID) = (launch, id) }
  }
  var launchID: UInt32? { state.withLock { $0.launchID } }
  func takeLaunch() -> Launch? {
    state.withLock { state in
      defer { state.launch = nil }
      return state.launch
    }
  }

  /// What to tell when it has ended and was waited for.
  func whenEnded(_ body: @escaping @Sendable (TerminationStatus) -> Void) {
    state.withLock { $0.ended = body }
  }
  func takeEnded() -> (@Sendable (TerminationStatus) -> Void)? {
    state.withLock { state in
      defer { state.ended = nil }
      return state.ended
    }
  }

  private let end = Mutex(())

  /// Does once what there is to do about its end. Who comes second returns when it is done.
  ///
  /// - Returns: Whether this was the first to say so.
  func whenFirstEnded(_ body: () -> Void) -> Bool {
    end.withLock { _ in
      let isFirst = state.withLock { state in
        defer { state.hasEnded = true }
        return !state.hasEnded
      }
      if isFirst { body() }
      return isFirst
    }
  }
  var hasEnded: Bool { state.withLock { $0.hasEnded } }

  /// Nobody can wait for it any more.
  func forget() { state.withLock { $0.isForgotten = true } }
  var isForgotten: Bool { state.withLock { $0.isForgotten } }

  /// How long init's word of a child that is gone may take.
  private static let wordOfInit = Duration.seconds(1)

  /// Whether it was found gone so long ago that init would have told of it. The host is told of no program's end by
  /// anybody but init.
  var isLongGone: Bool {
    state.withLock { state in
      guard state.ended == nil, let found = state.foundGone else {
        state.foundGone = state.foundGone ?? .now
        return false
      }
      return ContinuousClock.now - found > Self.wordOfInit
    }
  }

  /// Whether it was told how it ended.
  var isReported: Bool { state.withLock { $0.isReported } }

  /// - Returns: Whether nobody has told how it ended.
  func markReported() -> Bool {
    state.withLock { state in
      defer { state.isReported = true }
      return !state.isReported
    }
  }

  /// - Returns: Whether this refusal is the first of its number, or of all that no kernel knows: there are a billion.
  func report(refused number: Int) -> Bool {
    state.withLock { $0.reportedRefusals.insert(min(number, Self.firstUnknownCall)).inserted }
  }

  private static let firstUnknownCall = 1024

  /// Whether its number still means it, as far as the kernel can tell now.
  var isThere: Bool {
    let pidfd = CLinux_pidfd_open(tgid, 0)
    // Where there is no descriptor left, it isn't gone.
    guard pidfd >= 0 else { return pidfd != -ESRCH }
    defer { close(pidfd) }
    return identity == nil || ProcessIdentity(pidfd: pidfd, tgid: tgid) == identity
  }

  /// A descriptor of it; nil when it has been waited for.
  func openDescriptor() -> OwnedDescriptor? {
    let pidfd = OwnedDescriptor(owning: CLinux_pidfd_open(tgid, 0))
    guard pidfd.rawValue >= 0 else { return nil }
    if let identity, ProcessIdentity(pidfd: pidfd.rawValue, tgid: tgid) != identity { return nil }
    return pidfd
  }
}

/// One thread of the pod.
final class PodThread: Sendable {
  let tid: Int32
  let process: PodProcess
  private let state = Mutex(State())

  private struct State {
    var expected: (call: Syscall, arguments: CallArguments)?
    var detached: [DetachedCall] = []
    /// Whether it is over, and no call of it is kept any more.
    var isDropped = false
    var handler: Int32?
    var credentials: (known: CallerCredentials, at: UInt64)?
  }

  init(tid: Int32, process: PodProcess) {
    self.tid = tid
    self.process = process
  }

  /// For whom the thread acts, if that was found out since the last change of anybody's.
  ///
  /// - Parameter generation: Counts the changes.
  func credentials(at generation: UInt64) -> CallerCredentials? {
    state.withLock { $0.credentials?.at == generation ? $0.credentials?.known : nil }
  }
  func remember(_ credentials: CallerCredentials, at generation: UInt64) {
    state.withLock { $0.credentials = (credentials, generation) }
  }

  /// Announces the call that the thread is made to make.
  func expect(_ call: Syscall, _ arguments: CallArguments) {
    state.withLock { $0.expected = (call, arguments) }
  }
  func expectNothing() { state.withLock { $0.expected = nil } }

  /// Whether a notification is of the call that the thread was made to make, which then goes on to the kernel.
  func isExpected(_ number: Int, _ arguments: CallArguments) -> Bool {
    state.withLock { state in
      guard let expected = state.expected else { return false }
      return Int(expected.call.rawValue) == number && expected.arguments == arguments
    }
  }

  /// The signal of a library whose handler is expected to run.
  var expectedHandler: Int32? { state.withLock { $0.handler } }
  /// - Returns: Whether none was expected before.
  func expectHandler(of signal: Int32) -> Bool {
    state.withLock { state in
      defer { state.handler = signal }
      return state.handler == nil
    }
  }
  /// - Returns: Whether one was expected.
  func forgetHandler() -> Bool {
    state.withLock { state in
      defer { state.handler = nil }
      return state.handler != nil
    }
  }

  /// Whether somebody holds the thread.
  var isAttended: Bool { state.withLock { $0.expected != nil } }

  /// Handlers that a program leaves by longjmp leave calls behind; so many are kept.
  private static let detachedKept = 32

  func push(_ call: DetachedCall) {
    state.withLock { state in
      if state.isDropped { return }
      if state.detached.count == Self.detachedKept { state.detached.removeFirst() }
      state.detached.append(call)
    }
  }

  /// The thread is over: of calls that went on by themselves nobody hears any more. What they held is given back, and they
  /// themselves, which refer to the thread.
  func dropDetachedCalls() {
    let dropped = state.withLock { state in
      defer { state.detached = [] }
      state.isDropped = true
      return state.detached
    }
    for call in dropped { call.transaction = nil }
  }

  /// The call that went on with this stack, and no longer any that began after it.
  func pop(stack: RemoteAddress) -> DetachedCall? {
    state.withLock { state in
      guard let index = state.detached.lastIndex(where: { $0.stack == stack }) else { return nil }
      let call = state.detached[index]
      state.detached.removeSubrange(index...)
      return call
    }
  }

  /// Whether a call of the thread goes on without us.
  var hasDetachedCalls: Bool { state.withLock { !$0.detached.isEmpty } }
}
