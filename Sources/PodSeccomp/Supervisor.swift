internal import CLinux
internal import Glibc
internal import PodCore
internal import PodLinux
internal import Synchronization
internal import SystemPackage

/// What a pod's receivers share: who its processes are, and how the pod lives and ends.
///
/// Lock order: ``threads``, ``processes`` and ``launches`` are leaves, never held together; a process's and a thread's own
/// locks come after them.
final class Supervisor: Sendable {
  let setup: PodSetup
  let names: PodNames
  let podInit: PodInit
  let listener: OwnedDescriptor
  /// The thread that forks the pod's programs.
  let launcher: Int32
  /// Whether the kernel keeps the pod's signals in the pod.
  let isScoped: Bool
  /// Whether a receiver that waits is woken when nobody is left who could ask (Linux 6.11). Where not, it polls first, and
  /// only one does at a time, since a notification that somebody else takes would leave the others waiting.
  let wakesReceivers: Bool
  let receiving = Mutex(())
  /// What is answered without looking any further, by call number.
  let identities: [Identity]
  let pool: ReceiverPool
  let attendance = Attendance()
  /// For who changes a limit of a process for a moment.
  let limits = Mutex(())
  /// From which threads receivers are withdrawing, and how many of them.
  private let withdrawn = Mutex<[Int32: Int]>([:])
  let lateWatches = LateWatches()
  /// Whether tasks may be made without anybody's being told.
  let namesLate: Bool
  /// Held by who takes in a task.
  let adoption = Adoption()
  /// What the page's code in the pod's processes has begun.
  let births = PageBirths()
  /// What of the pod lies in its processes; nil where nothing does.
  let area: PodArea?
  /// How many address spaces are still to get it.
  let awaitedAreas = Count()
  /// How many execs have gone on by themselves, and aren't known to have succeeded or failed.
  let execsUnderWay = Count()
  /// How many filters each process of the pod has that has none of its own.
  let filterCount: Int
  /// By call number, whether the page answers it, or makes it with less effort than a notification; empty where call sites aren't
  /// patched, since a signal may let a caller go on of whom a receiver has heard.
  private let gaining: [Bool]
  let knownSites = KnownSites()

  /// An answer that is constant per task.
  enum Identity: UInt8 {
    case none, process, thread
  }

  private let threads = Mutex<[Int32: PodThread]>([:])
  private let processes = Mutex(Processes())
  private struct Processes {
    var byNumber: [Int32: PodProcess] = [:]
    var byTag: [UInt64: PodProcess] = [:]
    /// Who had a number before it was given to somebody else, and wasn't known to be reaped, the oldest first.
    var former: [Int32: [PodProcess]] = [:]
    var nextTag: UInt64 = 1
  }
  /// Processes that were gone before anybody knew how they had ended, with their parents, the oldest first: a wait has reaped
  /// them whose caller is about to tell of it.
  private let untold = Mutex<[(process: PodProcess, parent: VirtualName<ProcessID>)]>([])
  private static let mostUntold = 64
  private let launches = Mutex(Launches())
  private struct Launches {
    var waiting: [UInt32: Launch] = [:]
    var next: UInt32 = 1
    var isClosed = false
  }
  /// Threads that are about to end, the first one first.
  private let lateThreads = Mutex<[PodThread]>([])
  private let ending = Atomic<Bool>(false)
  private let groupMembers = Mutex(GroupMembers())
  /// By physical number, how many calls are under way for which a process stays in its group, or by which it is moved.
  private struct GroupMembers {
    var staying: [Int32: Int] = [:]
    var moving: [Int32: Int] = [:]
  }
  /// Whether processes of the pod may act for others than the host program does.
  private let variesCredentials = Atomic<Bool>(false)
  /// How often somebody's credentials may have changed.
  private let credentialChanges = Atomic<UInt64>(0)
  private let words = Mutex<WaitWords?>(nil)
  /// How many handlers of a library's signals are expected to ask for their process.
  private let expectedHandlers = Atomic<Int>(0)

  init(
    _ setup: PodSetup, podInit: PodInit, listener: consuming OwnedDescriptor, launcher: Int32,
    isScoped: Bool, keepsCallers: Bool = false
  ) {
    self.setup = setup
    names = setup.names
    self.podInit = podInit
    self.listener = listener
    self.launcher = launcher
    self.isScoped = isScoped
    wakesReceivers = KernelRelease.current >= KernelRelease(6, 11)
    identities = Self.identities(setup)
    pool = ReceiverPool()
    filterCount = ProcessStatus.Disturbances(of: launcher)?.filters ?? 0
    area = setup.area
    namesLate = setup.namesLate
    gaining =
      keepsCallers && setup.area != nil
      ? SupervisionFilter.gainingCalls(for: setup, isScoped: isScoped) : []
  }

  /// Whether a call costs less where its site is patched.
  func gains(_ call: Syscall) -> Bool {
    Int(call.rawValue) < gaining.count && gaining[Int(call.rawValue)]
  }
  /// Whether call sites are patched.
  var patchesSites: Bool { !gaining.isEmpty }

  private static func identities(_ setup: PodSetup) -> [Identity] {
    guard !setup.configuration.tracesCalls else { return [] }
    let wanted = setup.names.interposers.reduce(into: Set<Syscall>()) { $0.formUnion($1.calls) }
    var found = [Identity](repeating: .none, count: 512)
    for call in Syscall.allCases where !wanted.contains(call) {
      guard Int(call.rawValue) < found.count,
        let row = setup.names.boundary.rows(for: call).first, case .answered = row.verb
      else { continue }
      found[Int(call.rawValue)] =
        row.outputs.first?.shape.resource is ThreadID.Type ? .thread : .process
    }
    return found
  }

  // MARK: Groups

  /// Runs a part of a call for which a process has to stay in its group, or by which it is moved to another one, but not both
  /// at once: who keeps a group's number by living in it could be moved out of it by its parent.
  ///
  /// - Throws: `.interrupted` when the call is to be made again.
  func withMember<T>(
    _ process: Int32, isMoved: Bool, _ body: () throws(Errno) -> T
  ) throws(Errno) -> T {
    let isFree = groupMembers.withLock { members in
      guard (isMoved ? members.staying : members.moving)[process] == nil else { return false }
      if isMoved { members.moving[process, default: 0] += 1 }
      if !isMoved { members.staying[process, default: 0] += 1 }
      return true
    }
    guard isFree else { throw .interrupted }
    defer {
      groupMembers.withLock { members in
        let path: WritableKeyPath<GroupMembers, [Int32: Int]> = isMoved ? \.moving : \.staying
        let count = members[keyPath: path][process] ?? 0
        members[keyPath: path][process] = count > 1 ? count - 1 : nil
      }
    }
    return try body()
  }

  // MARK: Life of the pod

  var isEnding: Bool { ending.load(ordering: .relaxed) }

  /// Names the pod's init and takes it in.
  func enterInit() throws(Errno) {
    let physical = PhysicalName<ProcessID>(rawValue: podInit.processID)
    do throws(NameError) {
      try names.processes.enter(
        physical, parent: nil, chosen: ProcessTable.initial, as: .sessionLeader)
    } catch {
      throw .resourceTemporarilyUnavailable
    }
  }

  /// Kills everything.
  func end() {
    if ending.exchange(true, ordering: .relaxed) { return }
    podInit.end()
  }

  /// Our own machinery failed: nothing may run on without it.
  func fail(_ reason: String) {
    setup.events(.failed(reason))
    end()
  }

  /// Nothing of the pod is left: who still waits for something of it is told.
  func close() {
    let waiting = launches.withLock { launches in
      launches.isClosed = true
      defer { launches.waiting = [:] }
      return launches.waiting.values.map { $0 }
    }
    for launch in waiting { launch.answer(.failure(.podEnded)) }
    let left = processes.withLock { processes in
      processes.byTag.values.filter { !$0.hasEnded }
    }
    for process in left { processEnded(process) }
    let unwaited = processes.withLock { processes in
      defer { processes = Processes() }
      return processes.byTag.values.map { $0 }
    }
    for process in unwaited { process.takeEnded()?(.signaled(SIGKILL)) }
    let lost = threads.withLock { threads in
      defer { threads = [:] }
      return Array(threads.values)
    }
    for thread in lost + lateThreads.withLock({ $0 }) { thread.dropDetachedCalls() }
  }

  /// Init is gone: what is left of the pod is killed one by one. (The launcher ends with its socket.)
  func killAll() {
    for process in processes.withLock({ $0.byTag.values.filter { !$0.hasEnded } }) {
      if let pidfd = process.openDescriptor() {
        _ = CLinux_pidfd_send_signal(pidfd.rawValue, SIGKILL, nil, 0)
      }
    }
  }

  // MARK: Requests from outside

  func launch(_ launch: Launch) -> Bool {
    let id = launches.withLock { launches -> UInt32? in
      guard !launches.isClosed, !isEnding else { return nil }
      defer { launches.next &+= 1 }
      launches.waiting[launches.next] = launch
      return launches.next
    }
    guard let id else { return false }
    if launch.specification.userID != nil || launch.specification.groupID != nil {
      variesCredentials.store(true, ordering: .relaxed)
    }
    do throws(Errno) {
      try podInit.launch(launch.specification, id: id, descriptors: launch.descriptors)
    } catch {
      takeLaunch(id)?.answer(
        .failure(
          isEnding
            ? .podEnded
            : PodError(
              .launchFailed,
              "the pod's launcher could not be asked to start \(launch.request.name)",
              underlyingError: error)))
    }
    return true
  }

  private func takeLaunch(_ id: UInt32) -> Launch? {
    launches.withLock { $0.waiting.removeValue(forKey: id) }
  }

  func launchFailed(_ failure: PodInit.Failure) {
    var launch = takeLaunch(failure.id)
    if launch == nil {
      let starting = processes.withLock { $0.byTag.values.filter(\.speaksForInit) }
      launch = starting.first { $0.launchID == failure.id }?.takeLaunch()
    }
    launch?.answer(.failure(PodError(failure, of: launch?.request)))
  }

  func send(
    _ signal: Int32, to name: VirtualName<ProcessID>, toGroup: Bool
  ) -> Result<Void, PodError> {
    guard let entry = try? names.processes.space.entry(name), entry.state == .live,
      let process = process(entry.physical.rawValue), process.name == name, !process.hasEnded
    else { return .failure(PodError(.processEnded, "process \(name) has ended")) }
    let members = toGroup ? names.processes.members(ofGroup: name).map(\.virtual) : [name]
    var outcome: Errno = .noSuchProcess
    var reached = false
    for member in members {
      guard let entry = try? names.processes.space.entry(member),
        let pidfd = self.process(entry.physical.rawValue)?.openDescriptor()
      else { continue }
      let result = CLinux_pidfd_send_signal(pidfd.rawValue, signal, nil, 0)
      if result == 0 { reached = true } else { outcome = Errno(rawValue: -result) }
    }
    if reached { return .success(()) }
    return .failure(
      PodError(
        .processEnded, "signal \(signal) could not be sent to process \(name)",
        underlyingError: outcome))
  }

  // MARK: Who is who

  func thread(_ tid: Int32) -> PodThread? { threads.withLock { $0[tid] } }

  /// Whether a thread that asks still is who had its number, as the kernel says: some stay known for a while, or until the
  /// end of their process is told.
  func isThere(_ thread: PodThread) -> Bool {
    isThread(thread.tid, of: thread.process.tgid) && thread.process.isThere
  }

  /// Whether a task is a process, and the launcher may have made it.
  func isChildOfInit(_ tid: Int32) -> Bool {
    ProcessStatus.number("Tgid", of: tid) == Int(tid)
      && ProcessStatus.number("PPid", of: tid) == Int(podInit.processID)
  }

  func process(_ tgid: Int32) -> PodProcess? { processes.withLock { $0.byNumber[tgid] } }

  func processes(sharing space: AddressSpace) -> [PodProcess] {
    processes.withLock { $0.byTag.values.filter { $0.space === space } }
  }

  func process(tag: UInt64) -> PodProcess? { processes.withLock { $0.byTag[tag] } }

  func caller(_ thread: PodThread) -> Caller {
    let physical = PhysicalName<ThreadID>(rawValue: thread.tid)
    return names.processes.caller(physical)
      ?? Caller(
        thread: VirtualName(rawValue: thread.process.name.rawValue), process: thread.process.name,
        physicalThread: physical)
  }

  /// Whether somebody in the pod may act for another user than the host program, or with less authority.
  var mayVaryCredentials: Bool { variesCredentials.load(ordering: .relaxed) }

  /// A thread of the pod may have given up some of its authority.
  func capabilitiesChanged() {
    variesCredentials.store(true, ordering: .relaxed)
    credentialChanges.add(1, ordering: .releasing)
  }

  /// For whom a thread acts that waits for our answer, or stands still.
  ///
  /// - Throws: `.noSuchProcess`.
  func credentials(of thread: PodThread) throws(Errno) -> CallerCredentials {
    let generation = credentialChanges.load(ordering: .acquiring)
    if let known = thread.credentials(at: generation) { return known }
    guard let found = ProcessStatus.credentials(of: thread.tid) else { throw .noSuchProcess }
    thread.remember(found, at: generation)
    return found
  }

  /// Words on which the pod's threads sleep, made when the first one has to.
  ///
  /// - Throws: What keeps this machine from having them.
  func waitWords() throws(Errno) -> WaitWords {
    let made = words.withLock { words -> Result<WaitWords, Errno> in
      if let words { return .success(words) }
      do throws(Errno) {
        let made = try WaitWords(count: min(setup.configuration.capacity, WaitWords.most))
        words = made
        return .success(made)
      } catch {
        return .failure(error)
      }
    }
    return try made.get()
  }

  func credentialsChanged(_ process: PodProcess) {
    variesCredentials.store(true, ordering: .relaxed)
    credentialChanges.add(1, ordering: .releasing)
    setup.events(.credentialsChanged(process.name))
  }

  /// Takes in a process, and lets init watch for its end.
  ///
  /// - Parameters:
  ///   - maySoonEnd: Whether it may have ended before anybody needs to watch it.
  ///   - descriptor: One of it, if there is any.
  func add(
    process tgid: Int32, _ name: VirtualName<ProcessID>, _ space: AddressSpace,
    maySoonEnd: Bool = false, _ descriptor: consuming OwnedDescriptor? = nil
  ) -> PodProcess {
    let pidfd = descriptor ?? OwnedDescriptor(owning: CLinux_pidfd_open(tgid, 0))
    let identity =
      pidfd.rawValue >= 0 ? ProcessIdentity(pidfd: pidfd.rawValue, tgid: tgid) : nil
    let (process, former) = processes.withLock { processes -> (PodProcess, PodProcess?) in
      let process = PodProcess(
        tgid: tgid, name: name, tag: processes.nextTag, identity: identity, space: space)
      processes.nextTag += 1
      let former = processes.byNumber[tgid]
      if let former { processes.former[tgid, default: []].append(former) }
      processes.byNumber[tgid] = process
      processes.byTag[process.tag] = process
      return (process, former)
    }
    if let former { processEnded(former) }
    if let word = identity?.word { try? names.processes.space.setIdentity(word, of: name) }
    add(thread: tgid, of: process)
    if pidfd.rawValue < 0 { return process }
    if maySoonEnd {
      let copy = pidfd.release()
      if let wakes = lateWatches.add(pidfd: copy, tag: process.tag) {
        if wakes, !podInit.wake() { watchLate(all: true) }
      } else {
        watch(copy, tag: process.tag)
        Glibc.close(copy)
      }
    } else {
      watch(pidfd.rawValue, tag: process.tag)
    }
    return process
  }

  private func watch(_ pidfd: Int32, tag: UInt64) {
    do throws(Errno) {
      try podInit.watch(pidfd: pidfd, tag: tag)
    } catch {
      if !isEnding { fail("the pod's init can't watch a process: \(error)") }
    }
  }

  /// Lets init watch those that didn't end soon.
  func watchLate(all: Bool = false) { lateWatches.look(all: all) { watch($0, tag: $1) } }

  @discardableResult
  func add(thread tid: Int32, of process: PodProcess) -> PodThread {
    let thread = PodThread(tid: tid, process: process)
    process.add(thread: tid)
    if let former = threads.withLock({ $0.updateValue(thread, forKey: tid) }) {
      forgetHandler(of: former)
    }
    return thread
  }

  private func dropThread(_ tid: Int32, of process: PodProcess) {
    if let thread = thread(tid), thread.process === process { drop(thread) }
  }

  /// Nobody has the number any more, or somebody else has.
  func forget(_ thread: PodThread) { drop(thread) }

  private func drop(_ thread: PodThread) {
    threads.withLock { threads in
      if threads[thread.tid] === thread { threads[thread.tid] = nil }
    }
    thread.dropDetachedCalls()
    forgetHandler(of: thread)
  }

  // MARK: Programs that the host starts

  /// A child of the launcher says which program it is to become.
  func born(_ tid: Int32, id: UInt32) -> Bool {
    guard let launch = takeLaunch(id) else { return false }
    let physical = PhysicalName<ProcessID>(rawValue: tid)
    do throws(NameError) {
      let name = try names.processes.enter(
        physical, parent: ProcessTable.initial, as: .groupLeader)
      let process = add(process: tid, name, AddressSpace())
      process.speaksForInit = true
      process.begin(launch, id: id)
      if launch.specification.flags.contains(.newSession) {
        try? names.processes.makeSession(name)
      }
      setup.events(.started(name, physical, parent: ProcessTable.initial))
      return true
    } catch {
      launch.answer(
        .failure(
          PodError(
            .launchFailed, "the pod has no free name for \(launch.request.name)",
            underlyingError: .resourceTemporarilyUnavailable)))
      return false
    }
  }

  /// Takes in the child of a fork, or a thread, which stands still and has a name.
  func born(_ newborn: AttachedThread.Newborn, of maker: PodThread, _ birth: Birth) {
    let physical = PhysicalName<ProcessID>(rawValue: newborn.tid)
    guard let entry = try? names.processes.space.entry(physical) else { return }
    takeIn(entry, of: maker.process, birth.flags, sharesMemory: birth.sharesMemory)
    if newborn.isGone { return }
    if birth.isAtGate {
      newborn.begin(as: birth.maker, keepsStack: birth.hasStackOfItsOwn)
    }
    settleWords(newborn.tid, entry.virtual.rawValue, maker, birth)
  }

  /// Takes in a newborn that has its name, as a thread of its maker's process or as a process.
  func takeIn(
    _ newborn: Entry<ProcessID>, of maker: PodProcess, _ flags: UInt64, sharesMemory: Bool
  ) {
    if flags & CloneFlags.thread != 0 {
      add(thread: newborn.physical.rawValue, of: maker)
      return
    }
    if flags & CloneFlags.semaphoreUndo != 0 {
      names.shareUndo(of: maker.name, with: newborn.virtual)
    }
    // By somebody who needed its name before.
    if let known = process(newborn.physical.rawValue), known.name == newborn.virtual { return }
    if sharesMemory { maker.space.share() }
    let process = add(
      process: newborn.physical.rawValue, newborn.virtual,
      sharesMemory ? maker.space : AddressSpace(copying: maker.space))
    process.dumpable = maker.dumpable
    process.mayBeOutOfReach = maker.mayBeOutOfReach
    if maker.hasOwnFilters { filtersCalls(process) }
    setup.events(.started(newborn.virtual, newborn.physical, parent: newborn.parent))
  }

  /// A process may have filters of its own from now on: the pod's code in it is to know.
  func filtersCalls(_ process: PodProcess) {
    process.hasOwnFilters = true
    try? names.processes.space.setFiltered(process.name)
  }

  /// The words in memory that `clone` stores the newborn's number in become its virtual name, but for those that the
  /// kernel compares with.
  private func settleWords(_ tid: Int32, _ name: Int32, _ maker: PodThread, _ birth: Birth) {
    guard birth.flags & (CloneFlags.parentSetTID | CloneFlags.childSetTID) != 0 else { return }
    let threadPointer =
      birth.flags & CloneFlags.setTLS != 0
      ? RemoteAddress(rawValue: birth.arguments[names.abi.cloneThreadPointer])
      : birth.maker.threadPointer
    if birth.flags & CloneFlags.parentSetTID != 0, birth.flags & CloneFlags.pidfd == 0 {
      let word = RemoteAddress(rawValue: birth.arguments[2])
      if !ThreadID.staysPhysical(word: word, threadPointer: threadPointer) {
        try? RemoteMemory().write(word, value: name, stopped: maker.tid)
      }
    }
    let childWord = RemoteAddress(rawValue: birth.arguments[names.abi.cloneChildWord])
    if birth.flags & CloneFlags.childSetTID != 0,
      !ThreadID.staysPhysical(word: childWord, threadPointer: threadPointer)
    {
      try? RemoteMemory().write(childWord, value: name, stopped: tid)
    }
  }

  // MARK: Signals of libraries

  var expectsHandlers: Bool { expectedHandlers.load(ordering: .relaxed) > 0 }

  /// A thread is about to get one of ``LibrarySignal``.
  func expectHandler(of signal: Int32, in tid: Int32) {
    guard let thread = thread(tid) ?? adopt(tid), thread.expectHandler(of: signal) else { return }
    expectedHandlers.add(1, ordering: .relaxed)
  }

  /// Whether a thread that asks for its process does so in the handler that is expected.
  func isInHandler(_ thread: PodThread) -> Bool {
    guard let signal = thread.expectedHandler,
      LibrarySignal.isBlocked(signal, by: thread.tid)
    else { return false }
    forgetHandler(of: thread)
    return true
  }

  private func forgetHandler(of thread: PodThread) {
    if thread.forgetHandler() { expectedHandlers.subtract(1, ordering: .relaxed) }
  }

  // MARK: Calls in the caller's context

  /// Attaches to a thread that waits for our answer.
  ///
  /// - Throws: `.noSuchProcess` when it is gone; `.notPermitted` when it is out of reach;
  ///   `.resourceTemporarilyUnavailable` when it has to make its call again (``withdraw(_:)``).
  func seize(_ thread: PodThread) throws(Errno) -> AttachedThread {
    let attached = try seizePatiently(thread)
    let attendance = attendance
    attached.willSleep = { attendance.sleeps(for: $0) }
    return attached
  }

  /// Lets go of a thread that turned out to be another one than was meant: the number of one that another's exec has ended is
  /// that one's from then on. It stops when a call of its own is over, which may be waiting for another receiver.
  func withdraw(_ attached: AttachedThread) {
    let tid = attached.tid
    withdrawn.withLock { $0[tid, default: 0] += 1 }
    attached.withdraw()
    withdrawn.withLock { withdrawn in
      let left = (withdrawn[tid] ?? 1) - 1
      withdrawn[tid] = left > 0 ? left : nil
    }
  }

  private func isWithdrawing(from tid: Int32) -> Bool { withdrawn.withLock { $0[tid] != nil } }

  /// How often a thread that nobody traces is asked for again.
  private static let untracedAttempts = 25

  private func seizePatiently(_ thread: PodThread) throws(Errno) -> AttachedThread {
    var wait: UInt32 = 10
    var untraced = 0
    while true {
      do throws(Errno) {
        return try AttachedThread(seizing: thread.tid)
      } catch .notPermitted {
        // Somebody of ours may hold it for a moment.
        guard let tracer = ProcessStatus.number("TracerPid", of: thread.tid) else {
          throw .noSuchProcess
        }
        if tracer == 0 {
          do throws(Errno) {
            return try OtherUser.acting(for: thread.tid) { () throws(Errno) in
              try AttachedThread(seizing: thread.tid)
            }
          } catch .notPermitted {
            // Nobody else's: whoever held it may have let it go since.
            untraced += 1
            guard untraced < Self.untracedAttempts else { throw .notPermitted }
            usleep(UInt32(50 * untraced))
            continue
          }
        }
        // Who holds it waits for it to stop, which it does when its call is over.
        if isWithdrawing(from: thread.tid) { throw .resourceTemporarilyUnavailable }
        guard wait < 100_000 else { throw .notPermitted }
        usleep(wait)
        wait += wait / 2
      }
    }
  }

  /// Before a call that has gone on by itself is over: what its epilogue counts on.
  func prepare(
    _ transaction: borrowing Transaction, _ kernel: CallResult, _ host: AttachedCaller
  ) {
    switch kernel {
    case .failure(.noChildProcess):
      reapGone(childrenOf: host.thread.process.name)
    case .failure: break
    case .success(let result):
      switch transaction.call {
      case .wait4 where result > 0:
        let word = RemoteAddress(rawValue: transaction.physicalArguments[1])
        let status = word.isNull ? nil : try? transaction.read(Int32.self, at: word)
        let child = Int32(truncatingIfNeeded: result)
        let isReaped = status.map { $0 & 0xFF != 0x7F && $0 != 0xFFFF } ?? true
        meet(child, of: host.thread.process, isReaped: isReaped)
        waited(for: child, status: status, by: host.thread.process.name)
      case .waitid:
        let info = RemoteAddress(rawValue: transaction.physicalArguments[2])
        guard
          let child = try? transaction.read(
            Int32.self, at: info.advanced(by: SignalInfo.senderOffset)), child > 0
        else { return }
        meet(child, of: host.thread.process, isReaped: kill(child, 0) != 0 && errno == ESRCH)
        waited(for: child, status: nil, by: host.thread.process.name)
      default: break
      }
    }
  }

  // MARK: Exec and end

  /// A thread has executed a program; no other thread of its process is left.
  func executed(_ process: PodProcess, former: Int32) {
    credentialChanges.add(1, ordering: .releasing)
    names.processes.execed(
      leader: PhysicalName(rawValue: process.tgid), former: PhysicalName(rawValue: former))
    births.drop(PhysicalName(rawValue: process.tgid))
    for tid in process.removeThreads() {
      if tid != process.tgid, tid != former {
        names.processes.exited(PhysicalName(rawValue: tid))
      }
      dropThread(tid, of: process)
    }
    add(thread: process.tgid, of: process)
    process.space.leave()
    process.space = AddressSpace(awaitedAreas, getsArea: area != nil)
    process.dumpable = nil
    process.mayBeOutOfReach = true
    process.speaksForInit = false
    process.hasExecuted = true
    if let launch = process.takeLaunch() {
      process.whenEnded(launch.ended)
      launch.answer(.success(process.name))
    }
    setup.events(.executed(process.name))
  }

  /// A thread that isn't its process's first is about to end. It stays known for a while: on some kernels a signal can come
  /// first, and its handler make calls.
  func ending(thread: PodThread) {
    births.drop(thread: PhysicalName(rawValue: thread.tid))
    guard thread.tid != thread.process.tgid else { return }
    let physical = PhysicalName<ProcessID>(rawValue: thread.tid)
    names.processes.exited(physical)
    thread.process.remove(thread: thread.tid)
    let oldest = lateThreads.withLock { late -> PodThread? in
      if late.last !== thread { late.append(thread) }
      return late.count > Self.lateThreadsKept ? late.removeFirst() : nil
    }
    if let oldest { drop(oldest) }
  }

  private static let lateThreadsKept = 128

  /// What init's descriptor of a process says.
  ///
  /// - Returns: Whether it can be waited for, or couldn't be the last time anybody looked.
  func ended(tag: UInt64) -> PodProcess? {
    guard let process = processes.withLock({ $0.byTag[tag] }) else { return nil }
    processEnded(process)
    return isSettled(process) ? nil : process
  }

  /// Whether nothing is to be heard any more of a process that has ended.
  ///
  /// Init tells of its own children when it has waited for them, but for those that weren't its own yet: a process that a
  /// wait had reaped whose caller was killed before it could tell of it.
  func isSettled(_ process: PodProcess) -> Bool {
    if process.isForgotten { return true }
    guard reapIfGone(process) else { return false }
    if process.isForgotten { return true }
    guard process.isLongGone else { return false }
    names.processes.reaped(process.name)
    forget(process)
    return true
  }

  /// A child of init has been waited for.
  func reaped(_ tgid: Int32, status: Int32) {
    // Whoever gets its number next must not be taken for it.
    if tgid == launcher {
      if !isEnding { fail("the pod's launcher was killed") }
      return
    }
    guard let process = childOfInit(tgid) ?? known(tgid) else { return }
    let termination = TerminationStatus(waitStatus: status)
    processEnded(process, termination)
    names.processes.reaped(process.name)
    forget(process)
    process.takeEnded()?(termination)
  }

  /// Who had a number first of those whose parent is init, and that it hasn't waited for.
  private func childOfInit(_ tgid: Int32) -> PodProcess? {
    let known = processes.withLock { processes in
      (processes.former[tgid] ?? []) + (processes.byNumber[tgid].map { [$0] } ?? [])
    }
    return known.first { process in
      guard let entry = try? names.processes.space.entry(process.name) else { return false }
      return entry.parent == ProcessTable.initial && !entry.isReaped
    }
  }

  /// Who had a number first of those that may still have it.
  private func known(_ tgid: Int32) -> PodProcess? {
    processes.withLock { $0.former[tgid]?.first ?? $0.byNumber[tgid] }
  }

  func forget(_ process: PodProcess) {
    process.forget()
    lateWatches.remove(tag: process.tag)
    processes.withLock { processes in
      processes.byTag[process.tag] = nil
      if processes.byNumber[process.tgid] === process { processes.byNumber[process.tgid] = nil }
      if var former = processes.former[process.tgid] {
        former.removeAll { $0 === process }
        processes.former[process.tgid] = former.isEmpty ? nil : former
      }
    }
  }

  /// A wait has told of a process, which may have ended, and init may not have said so yet.
  ///
  /// - Parameter waiter: Who has waited.
  /// - Returns: Whether the kernel has given it up.
  @discardableResult
  func waited(for tgid: Int32, status: Int32?, by waiter: VirtualName<ProcessID>) -> Bool {
    guard let process = known(tgid) else {
      if let status { tell(of: tgid, status: status, by: waiter) }
      return true
    }
    let isThere = process.isThere
    if isThere, !isOver(process) { return false }
    processEnded(process, status.map { TerminationStatus(waitStatus: $0) })
    if !isThere { forget(process) }
    return !isThere
  }

  /// Reports how a process ended that is not known any more. Nobody but its parent says so.
  private func tell(of tgid: Int32, status: Int32, by waiter: VirtualName<ProcessID>) {
    let process = untold.withLock { untold -> PodProcess? in
      untold.firstIndex { $0.process.tgid == tgid && $0.parent == waiter }
        .map { untold.remove(at: $0).process }
    }
    guard let process, process.markReported() else { return }
    setup.events(.ended(process.name, TerminationStatus(waitStatus: status)))
  }

  /// Gives up a process that has gone: its parent may still tell how.
  private func forget(_ process: PodProcess, childOf parent: VirtualName<ProcessID>?) {
    forget(process)
    guard let parent, !process.isReported else { return }
    untold.withLock { untold in
      untold.append((process, parent))
      if untold.count > Self.mostUntold { untold.removeFirst() }
    }
  }

  /// Whether all threads of a process have ended.
  func isOver(_ process: PodProcess) -> Bool {
    guard let pidfd = process.openDescriptor() else { return true }
    var entry = pollfd(fd: pidfd.rawValue, events: Int16(POLLIN), revents: 0)
    return poll(&entry, 1, 0) > 0
  }

  /// Takes note of an end, once, and tells of it as soon as it is known how.
  func processEnded(_ process: PodProcess, _ status: TerminationStatus? = nil) {
    let end =
      status == nil && !process.isReported || process.hasExecUnderWay
      ? ProcessEnd(of: process) : nil
    if process.hasExecUnderWay {
      settleExec(ofEnded: process, wasMadeOnly: end?.wasMadeOnly)
    }
    if let status = status ?? end?.status, process.markReported() {
      setup.events(.ended(process.name, status))
    }
    hearNewborns(of: process)
    // A wait that tells of the end counts on its being applied, whoever applies it.
    let isFirst = process.whenFirstEnded {
      let orphans = names.processes.children(of: process.name)
      for tid in process.removeThreads() where tid != process.tgid {
        names.processes.exited(PhysicalName(rawValue: tid))
        dropThread(tid, of: process)
      }
      dropThread(process.tgid, of: process)
      names.processes.exited(process.name)
      names.processes.adopt(orphans, unlessOf: podInit.processID)
    }
    guard isFirst else { return }
    births.drop(PhysicalName(rawValue: process.tgid))
    process.space.leave()
    if let launch = process.takeLaunch() {
      launch.answer(
        .failure(
          isEnding
            ? .podEnded
            : PodError(
              .launchFailed, "\(launch.request.name) was killed before it could start")))
    }
  }

  /// Waits a moment for the children that a process was killed in the middle of making: they are members of its group, whose name
  /// may go with it. Mostly there is none: it was killed before.
  private func hearNewborns(of process: PodProcess) {
    let physical = PhysicalName<ProcessID>(rawValue: process.tgid)
    guard !process.hasEnded, !isEnding else { return }
    let deadline = ContinuousClock.now + Self.wordOfNewborns
    while births.areUnheard(of: physical), ContinuousClock.now < deadline { usleep(100) }
  }

  /// Those that were made are about to say so.
  private static let wordOfNewborns = Duration.milliseconds(10)

  /// Gives up the name of a process that the kernel has reaped by itself.
  ///
  /// - Returns: Whether nobody can wait for it any more.
  @discardableResult
  func reapIfGone(_ process: PodProcess) -> Bool {
    if process.isThere { return false }
    // Init tells of its own children when it has waited for them.
    let entry = try? names.processes.space.entry(process.name)
    if let entry, !entry.isReaped, entry.parent == ProcessTable.initial { return true }
    names.processes.reaped(process.name)
    forget(process, childOf: entry?.parent)
    return true
  }

  /// Whether the kernel still has a zombie: a wait whose caller was killed, or left it by longjmp, before it could tell of
  /// it, has reaped one unseen.
  func isWaitable(_ zombie: Entry<ProcessID>) -> Bool {
    let number = zombie.physical.rawValue
    let process = processes.withLock { processes in
      ((processes.former[number] ?? []) + [processes.byNumber[number]].compactMap(\.self))
        .first { $0.name == zombie.virtual }
    }
    guard let process else { return false }
    return !reapIfGone(process)
  }

  /// Gives up the names of zombies that the kernel reaped by itself: their parent ended, or ignores SIGCHLD.
  func reapGone(childrenOf parent: VirtualName<ProcessID>) {
    for zombie in names.processes.zombies(of: parent) {
      if let process = known(zombie.physical.rawValue), process.name == zombie.virtual {
        if !process.isThere {
          names.processes.reaped(process.name)
          forget(process, childOf: parent)
        }
      } else {
        names.processes.reaped(zombie.virtual)
      }
    }
  }
}

extension TerminationStatus {
  /// How a process ended, as wait4(2) says it.
  init(waitStatus status: Int32) {
    self =
      CLinux_WIFSIGNALED(status) != 0
      ? .signaled(CLinux_WTERMSIG(status)) : .exited(CLinux_WEXITSTATUS(status))
  }
}

/// How processes that nobody has waited for have ended.
private struct ProcessEnd {
  let status: TerminationStatus
  /// Whether it has executed no program since it was made.
  let wasMadeOnly: Bool

  /// nil when the process has not ended, or is gone.
  ///
  /// Source: proc_pid_stat(5), fields 3, 9 and 52; include/linux/sched.h, PF_FORKNOEXEC.
  init?(of process: PodProcess) {
    let madeOnly: UInt32 = 0x40
    guard let file = try? FileDescriptor.open("/proc/\(process.tgid)/stat", .readOnly) else {
      return nil
    }
    defer { try? file.close() }
    let found = withUnsafeTemporaryAllocation(byteCount: 2048, alignment: 1) {
      buffer -> (status: Int32, flags: UInt32)? in
      guard let count = try? file.read(into: buffer),
        let end = buffer[..<count].lastIndex(of: UInt8(ascii: ")"))
      else { return nil }
      let text = String(decoding: buffer[(end + 1)..<count], as: UTF8.self)
      let fields = text.split(whereSeparator: { $0 == " " || $0 == "\n" })
      guard fields.first == "Z", fields.count > 49, let status = Int32(fields[49]),
        let flags = UInt32(fields[6])
      else { return nil }
      return (status, flags)
    }
    guard let found, process.isThere else { return nil }
    status = TerminationStatus(waitStatus: found.status)
    wasMadeOnly = found.flags & madeOnly != 0
  }
}
