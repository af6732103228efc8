internal import CLinux
internal import Glibc
internal import PodCore
internal import PodLinux
internal import SystemPackage

/// A lock that its owner may take again: who takes somebody in may have to look for others, of whom it depends.
final class Adoption: Sendable {
  private nonisolated(unsafe) let mutex: UnsafeMutablePointer<pthread_mutex_t>

  init() {
    mutex = .allocate(capacity: 1)
    var attributes = pthread_mutexattr_t()
    pthread_mutexattr_init(&attributes)
    pthread_mutexattr_settype(&attributes, Int32(PTHREAD_MUTEX_RECURSIVE))
    pthread_mutex_init(mutex, &attributes)
    pthread_mutexattr_destroy(&attributes)
  }

  deinit {
    pthread_mutex_destroy(mutex)
    mutex.deallocate()
  }

  func withLock<T, Failure: Error>(_ body: () throws(Failure) -> T) throws(Failure) -> T {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return try body()
  }
}

/// A process of which its maker tells, who waits for the answer: a descriptor holds it while it is looked at.
///
/// It says the same as the supervisor does, with a quarter of the calls.
final class ToldNewborn: NewbornWitness {
  let number: PhysicalName<ProcessID>
  let maker: PodProcess
  /// Whether its memory may be its maker's: nobody but these two is harmed if that isn't true.
  let mayShareMemory: Bool
  private let pidfd: Int32
  private let supervisor: Supervisor

  /// - Returns: nil for threads, where the kernel doesn't tell so, and for who isn't there.
  init?(
    _ number: PhysicalName<ProcessID>, _ flags: UInt64, of maker: PodProcess,
    _ supervisor: Supervisor
  ) {
    guard ProcessStatus.tellsFamilies, flags & CloneFlags.thread == 0,
      number.rawValue != supervisor.launcher
    else { return nil }
    pidfd = CLinux_pidfd_open(number.rawValue, 0)
    (self.number, self.maker, self.supervisor) = (number, maker, supervisor)
    mayShareMemory = flags & CloneFlags.vm != 0
    guard pidfd >= 0 else { return nil }
  }

  deinit { if pidfd >= 0 { close(pidfd) } }

  /// Another descriptor of it.
  func openDescriptor() -> OwnedDescriptor {
    OwnedDescriptor(owning: CLinux_duplicate(pidfd, 0))
  }

  func kinship(of task: PhysicalName<ProcessID>) -> Kinship? {
    guard task == number else { return supervisor.kinship(of: task) }
    return supervisor.kinship(ProcessStatus.family(pidfd: pidfd), of: task)
  }

  /// Ends it.
  func kill() { _ = CLinux_pidfd_send_signal(pidfd, SIGKILL, nil, 0) }

  func isOfFamily(_ task: PhysicalName<ProcessID>) -> Bool {
    if task == number, kinship(of: task)?.parent.rawValue == maker.tgid { return true }
    return supervisor.isOfFamily(task)
  }

  func takeInUnannounced(_ newborn: PhysicalName<ProcessID>) -> VirtualName<ProcessID>? {
    guard newborn == number else { return supervisor.takeInUnannounced(newborn) }
    return supervisor.takeIn(self)
  }

  func takeBack(_ newborn: PhysicalName<ProcessID>, _ name: VirtualName<ProcessID>) {
    supervisor.takeBack(newborn, name)
  }
}

/// Tasks of the pod that somebody made without telling: they are taken in when somebody needs their names.
///
/// They are found by what the kernel says: a thread by its process, a process by its parent. Whoever takes one in holds
/// ``Supervisor/adoption``, so that nobody is taken in twice.
extension Supervisor: Newcomers, NewbornWitness {
  func takeIn(_ task: PhysicalName<ProcessID>) -> Bool {
    // The launcher's children say who they are, and who stands still in its birth is about to be named.
    guard task.rawValue > 1, getpgid(task.rawValue) != podInit.processID,
      ProcessStatus.number("TracerPid", of: task.rawValue) == 0
    else { return false }
    return takeInEarly(task.rawValue) != nil
  }

  @discardableResult
  func takeInMembers(ofGroup group: PhysicalName<ProcessID>) -> Bool {
    guard group.rawValue != podInit.processID,
      kill(-group.rawValue, 0) == 0 || errno == EPERM
    else { return false }
    return takeInEverybody { getpgid($0) == group.rawValue }
  }

  func takeInAll() {
    takeInEverybody { task in
      let session = getsid(task)
      return session > 0 && names.processes.space.isKnown(PhysicalName(rawValue: session))
    }
  }

  /// Who makes others faster than they are looked for doesn't keep the caller here: natively too it would go on.
  private static let looks = 4

  /// Takes in all processes that may be the pod's, until there are no new ones.
  @discardableResult
  private func takeInEverybody(where mayBe: (Int32) -> Bool) -> Bool {
    var found = false
    var isNew = true
    for _ in 0..<Self.looks where isNew && !isEnding {
      isNew = false
      for task in Self.processes() where process(task) == nil && mayBe(task) {
        if takeIn(PhysicalName(rawValue: task)) { isNew = true }
      }
      found = found || isNew
    }
    return found
  }

  /// All processes that `/proc` lists.
  private static func processes() -> [Int32] {
    guard let directory = opendir("/proc") else { return [] }
    defer { closedir(directory) }
    var found: [Int32] = []
    while let entry = readdir(directory) {
      let number = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
        pointer.withMemoryRebound(to: CChar.self, capacity: 256) { name in
          var end: UnsafeMutablePointer<CChar>?
          let number = strtol(name, &end, 10)
          return end?.pointee == 0 ? Int32(truncatingIfNeeded: number) : 0
        }
      }
      if number > 0 { found.append(number) }
    }
    return found
  }

  func loseIfEnded(_ thread: PhysicalName<ProcessID>) {
    guard let known = self.thread(thread.rawValue),
      !isThread(known.tid, of: known.process.tgid)
    else { return }
    lose(known)
  }

  func isThread(_ number: Int32) -> Bool {
    // Mostly nobody in the machine has the number, or a process has.
    guard kill(number, 0) == 0 || errno != ESRCH, !isThread(number, of: number),
      let kinship = kinship(of: PhysicalName(rawValue: number)),
      kinship.process.rawValue != number
    else { return false }
    return process(kinship.process.rawValue) != nil
  }

  /// Whether a task is of a process, as the kernel says.
  func isThread(_ task: Int32, of process: Int32) -> Bool {
    let result = CLinux_syscall(
      Int(Syscall.tgkill.rawValue), UInt64(process), UInt64(task), 0, 0, 0, 0)
    return result == 0 || result == -Int(EPERM)
  }

  func takeInUnannounced(_ newborn: PhysicalName<ProcessID>) -> VirtualName<ProcessID>? {
    takeInEarly(newborn.rawValue).map { VirtualName(rawValue: caller($0).thread.rawValue) }
  }

  /// The same of who is told of.
  func takeIn(_ newborn: ToldNewborn) -> VirtualName<ProcessID>? {
    guard namesLate else { return takeInUnannounced(newborn.number) }
    let taken = adoption.withLock {
      adopt(newborn.number.rawValue, generations: Self.generations, newborn)
    }
    return taken.map { VirtualName(rawValue: caller($0).thread.rawValue) }
  }

  /// A wait has returned a child that may have no name.
  ///
  /// - Parameter isReaped: Whether the kernel has given it up.
  func meet(_ child: Int32, of parent: PodProcess, isReaped: Bool) {
    let physical = PhysicalName<ProcessID>(rawValue: child)
    if (try? names.processes.space.dyingEntry(physical)) != nil || process(child) != nil { return }
    if !isReaped, takeIn(physical) { return }
    _ = names.processes.lostChild(physical, of: parent.name, since: nil)
  }

  /// Takes in a task that waits for an answer, or stands still, and that nobody has heard of.
  ///
  /// - Returns: nil when it isn't the pod's, or there is no name for it.
  func adopt(_ tid: Int32) -> PodThread? {
    adoption.withLock { adopt(tid, generations: Self.generations) }
  }

  private static let generations = 64

  private func adopt(
    _ tid: Int32, generations: Int, _ told: ToldNewborn? = nil
  ) -> PodThread? {
    if let thread = thread(tid) {
      if isThere(thread) { return thread }
      lose(thread)
    }
    // Who has ended has its name until it is waited for.
    let former = process(tid)
    if let former, former.isThere { return PodThread(tid: tid, process: former) }
    let physical = PhysicalName<ProcessID>(rawValue: tid)
    let kin = { told.map { $0.kinship(of: physical) } ?? self.kinship(of: physical) }
    guard generations > 0, var kinship = kin() else { return nil }
    // Whoever had the number has been waited for, and nobody has told yet.
    if let former {
      processEnded(former)
      reapIfGone(former)
    }
    names.processes.exited(physical)
    while true {
      if let taken = adopt(tid, kinship, generations: generations, told) { return taken }
      // Its parent may have ended since, and the kernel have given it to another.
      guard let now = kin(), now != kinship else { return nil }
      kinship = now
    }
  }

  private func adopt(
    _ tid: Int32, _ kinship: Kinship, generations: Int, _ told: ToldNewborn?
  ) -> PodThread? {
    let physical = PhysicalName<ProcessID>(rawValue: tid)
    let isThread = kinship.process != physical
    let relative = isThread ? kinship.process : kinship.parent
    let isInits = !isThread && relative.rawValue == podInit.processID
    let maker = told.flatMap { $0.maker.tgid == relative.rawValue ? $0.maker : nil }
    var family = maker ?? process(relative.rawValue)
    if !isInits, maker == nil, family?.isThere != true {
      // Nobody has heard of its parent either.
      guard relative.rawValue > 1, relative.rawValue != getpid() else { return nil }
      family = adopt(relative.rawValue, generations: generations - 1)?.process
    }
    guard isInits || maker != nil || family?.isThere == true else { return nil }
    let caller = Caller(
      thread: VirtualName(rawValue: 0), process: family?.name ?? ProcessTable.initial,
      physicalThread: PhysicalName(rawValue: relative.rawValue))
    let session = getsid(tid)
    do throws(NameError) {
      let name = try names.processes.initialize(
        physical, by: caller, isThread: isThread, sharesParent: false,
        group: isThread ? nil : try? physical.group(),
        session: session > 0 ? PhysicalName(rawValue: session) : nil)
      if isThread, let family {
        sweep(family)
        return add(thread: tid, of: family)
      }
      // Whose copy it is, its maker alone says: with CLONE_PARENT, or when its maker has ended, that isn't its parent.
      let source = told?.maker ?? family
      let space = self.space(of: tid, told, source)
      // It may have ended, which is told as soon as somebody watches.
      setup.events(.started(name, physical, parent: caller.process))
      let process = add(process: tid, name, space, maySoonEnd: true, told?.openDescriptor())
      process.mayBeOutOfReach = true
      process.dumpable = source?.dumpable
      let hasFilters =
        source?.hasOwnFilters
        ?? ProcessStatus.Disturbances(of: tid).map { $0.filters > filterCount }
      if hasFilters ?? false { filtersCalls(process) }
      return thread(tid) ?? PodThread(tid: tid, process: process)
    } catch {
      return nil
    }
  }

  private func space(of newborn: Int32, _ told: ToldNewborn?, _ source: PodProcess?) -> AddressSpace
  {
    if let source, told?.mayShareMemory ?? true, sharesMemory(newborn, with: source) {
      source.space.share()
      return source.space
    }
    // Another thread of its maker may have had something put into its memory since.
    if let told, told.maker.threads.count == 1 { return AddressSpace(copying: told.maker.space) }
    return area == nil ? AddressSpace() : AddressSpace(madeInArea: awaitedAreas)
  }

  /// Whether a child has its parent's memory itself, and no copy.
  ///
  /// The kernel says so (kcmp(2)); where it isn't asked, what the page has counted, which is zero in a copy.
  private func sharesMemory(_ child: Int32, with parent: PodProcess) -> Bool {
    let addressSpaces: UInt64 = 1
    let result = CLinux_syscall(
      Int(Syscall.kcmp.rawValue), UInt64(child), UInt64(parent.tgid), addressSpaces, 0, 0, 0)
    if result >= 0 { return result == 0 }
    guard let area else { return false }
    let memory = RemoteMemory(of: child)
    guard memory.isOpen else { return false }
    return ((try? memory.read(area.sharers, as: UInt32.self)) ?? 0) > 0
  }

  /// A number is nobody's, or somebody else's, although nobody has told.
  func lose(_ thread: PodThread) { adoption.withLock { loseOnce(thread) } }

  private func loseOnce(_ thread: PodThread) {
    let process = thread.process
    guard thread.tid != process.tgid, self.thread(thread.tid) === thread else { return }
    let physical = PhysicalName<ProcessID>(rawValue: thread.tid)
    if let entry = try? names.processes.space.entry(physical), entry.isThread,
      entry.leader == process.name
    {
      names.processes.exited(entry.virtual)
    }
    births.drop(thread: PhysicalName(rawValue: thread.tid))
    process.remove(thread: thread.tid)
    forget(thread)
  }

  /// Now and then looks which threads of a process have ended: nobody tells.
  private func sweep(_ process: PodProcess) {
    guard let threads = process.threadsToSweep() else { return }
    for tid in threads where tid != process.tgid && !isThread(tid, of: process.tgid) {
      if let thread = thread(tid), thread.process === process { lose(thread) }
    }
    process.hasSwept()
  }
}
