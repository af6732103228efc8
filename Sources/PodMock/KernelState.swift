internal import PodCore
internal import SystemPackage

/// What the simulated kernel has of processes: physical numbers only.
struct KernelState {
  struct Process {
    let number: Int32
    /// Never used again, unlike the number: what a pidfd's inode is to a real kernel.
    let identity: Int
    var parent: Int32
    var group: Int32
    var session: Int32
    /// The pod whose filter it inherited; nil outside.
    var pod: PodID?
    var threads: [Int32]
    var space: Int
    /// The wait status, once it is a zombie.
    var status: Int32?
    var isStopped = false
    var stopToReport: Int32?
    var continueToReport = false
    var isSubreaper = false
    /// Reaps at once, without a program: the machine's init.
    var reapsByItself = false
    /// Its supervisor reaps for it: a pod's init.
    var isPodInit = false
    var hasExecuted = false
    /// Released by the child of a vfork.
    var isBorrowed = false
    var signals = SignalState()
    /// Which signals each of its signal descriptors delivers.
    var signalDescriptors: [Int32: UInt64] = [:]
    var output: [UInt8] = []
    /// Its real user.
    var user: UInt32 = 0
    /// The signal that it gets when its parent ends; 0 for none.
    var deathSignal: Int32 = 0
    /// Its process descriptors.
    var handles: [Int32: Handle] = [:]

    var isZombie: Bool { status != nil }
  }

  /// A process descriptor.
  struct Handle {
    let identity: Int
    /// The number that the task had when it was opened.
    let number: Int32
  }

  struct Thread {
    let identity: Int
    let process: Int32
    let state: MockCallerState
    var nice: Int32 = 0
  }

  /// What a supervisor is told, late.
  struct Event {
    enum Kind {
      case exited(byItself: Bool, status: Int32)
      case threadEnded
      case executed(former: Int32)
      /// A zombie whose new parent is a pod's init.
      case orphaned
    }
    let kind: Kind
    let identity: Int
    let number: Int32
    let pod: PodID
    /// Somebody applies it now.
    var isTaken = false
  }

  /// A word on which one thread sleeps while it is 0 (futex(2)).
  struct WaitWord {
    var isSet = false
    /// In the kernel's queue.
    var isAsleep = false
    var isWoken = false
  }

  struct ProcessResult {
    let status: Int32
    let output: [UInt8]
  }

  var processes: [Int32: Process] = [:]
  var threads: [Int32: Thread] = [:]
  /// Where a thread is: exec changes a thread's number.
  var numberOf: [Int: Int32] = [:]
  var spaces: [Int: AddressSpace] = [:]
  var events: [Event] = []
  /// Processes whose end somebody on the host's side waits for, and how those ended that have.
  var observed: Set<Int> = []
  var results: [Int: ProcessResult] = [:]
  var lockWaiters: [RemoteAddress: [Int]] = [:]
  /// Threads that sleep, or are about to, until a supervisor wakes them, by identity.
  var sleeps: [Int: WaitWord] = [:]
  /// How many supervisors wake somebody now, and hold the lock of System V objects.
  var wakes = 0
  /// Message queues by their ids, which are given out again at once: how many messages are in each.
  var queues: [Int32: Int] = [:]
  let range: ClosedRange<Int32>
  let confinesGroups: Bool
  /// Answers calls in the kernel's stead.
  let handler: MockKernel.Handler?
  private var cursor: Int32
  private var identities = 0
  private var lastSpace = 0
  /// What the call that runs has touched.
  var footprint = Footprint()

  /// The machine's init: number 1, outside the range that is given out.
  static let initial: Int32 = 1

  init(range: ClosedRange<Int32>, confinesGroups: Bool, handler: MockKernel.Handler? = nil) {
    self.range = range
    self.handler = handler
    self.confinesGroups = confinesGroups
    cursor = range.lowerBound
    processes[Self.initial] = Process(
      number: Self.initial, identity: 0, parent: 0, group: 1, session: 1, threads: [], space: 0,
      isSubreaper: true, reapsByItself: true)
  }

  mutating func reads(_ number: Int32) { footprint.add(.reading(Footprint.task(number))) }
  mutating func writes(_ number: Int32) { footprint.add(.writing(Footprint.task(number))) }

  // MARK: Numbers

  /// Whether the kernel itself still shows the number: a task, a zombie, a group or a session.
  func isUsed(_ number: Int32) -> Bool {
    processes[number] != nil || threads[number] != nil
      || processes.values.contains { $0.group == number || $0.session == number }
  }

  /// The next free number, cyclic, as the kernel takes it; nil when all are shown or held.
  mutating func takeNumber(isPinned: (Int32) -> Bool) -> Int32? {
    footprint.add(.writing(Footprint.numbers))
    footprint.add(.reading(Footprint.holds | Footprint.events))
    for offset in 0..<range.count {
      let span = Int32(range.count)
      let number =
        range.lowerBound + (cursor - range.lowerBound + Int32(offset)) % span
      // A number whose end nobody has heard of belongs to its supervisor still.
      if isUsed(number) || events.contains(where: { $0.number == number }) || isPinned(number) {
        continue
      }
      cursor = range.lowerBound + (number + 1 - range.lowerBound) % span
      return number
    }
    return nil
  }

  mutating func newIdentity() -> Int {
    identities += 1
    return identities
  }

  mutating func newSpace(copying old: Int? = nil) -> Int {
    lastSpace += 1
    spaces[lastSpace] = old.flatMap { spaces[$0] } ?? AddressSpace()
    return lastSpace
  }

  // MARK: Births

  /// Makes a process whose parent is another; what a fork copies is copied from `maker`.
  mutating func makeProcess(
    parent: Int32, like maker: Process?, sharingMemory: Bool, isPinned: (Int32) -> Bool
  ) -> Process? {
    guard let number = takeNumber(isPinned: isPinned) else { return nil }
    let identity = newIdentity()
    let space =
      sharingMemory ? maker?.space ?? newSpace() : newSpace(copying: maker?.space)
    var process = Process(
      number: number, identity: identity, parent: parent, group: maker?.group ?? number,
      session: maker?.session ?? number, pod: maker?.pod, threads: [number], space: space)
    if let maker {
      process.signals = maker.signals.inherited
      process.signalDescriptors = maker.signalDescriptors
      process.user = maker.user
      process.handles = maker.handles
    }
    processes[number] = process
    threads[number] = Thread(identity: identity, process: number, state: MockCallerState())
    numberOf[identity] = number
    writes(number)
    writes(parent)
    return process
  }

  mutating func makeThread(of process: Int32, isPinned: (Int32) -> Bool) -> Int32? {
    guard let number = takeNumber(isPinned: isPinned) else { return nil }
    let identity = newIdentity()
    processes[process]?.threads.append(number)
    threads[number] = Thread(identity: identity, process: process, state: MockCallerState())
    numberOf[identity] = number
    writes(number)
    writes(process)
    return number
  }

  /// Makes what a snapshot describes: first everything has a number, then they refer to each other.
  ///
  /// - Returns: The number of each name that could be made.
  mutating func restore(
    _ snapshot: PodSnapshot.Processes, in pod: PodID, isPinned: (Int32) -> Bool
  ) -> [VirtualName<ProcessID>: PhysicalName<ProcessID>] {
    var made: [VirtualName<ProcessID>: PhysicalName<ProcessID>] = [:]
    func number(_ name: VirtualName<ProcessID>) -> Int32 { made[name]?.rawValue ?? 0 }
    for name in snapshot.names where name.kind == .process {
      let number: Int32?
      if name.state == .shown {
        number = takeNumber(isPinned: isPinned)
      } else {
        number =
          makeProcess(
            parent: Self.initial, like: nil, sharingMemory: false, isPinned: isPinned)?.number
      }
      if let number { made[name.number] = PhysicalName(rawValue: number) }
    }
    for name in snapshot.names where name.kind == .thread {
      if let number = makeThread(of: number(name.process), isPinned: isPinned) {
        made[name.number] = PhysicalName(rawValue: number)
      }
    }
    for name in snapshot.names where name.kind == .process && name.state != .shown {
      let own = number(name.number)
      let isInit = name.number == ProcessTable.initial
      processes[own]?.pod = pod
      processes[own]?.parent = isInit ? Self.initial : number(name.parent)
      processes[own]?.group = number(name.group)
      processes[own]?.session = number(name.session)
      processes[own]?.isSubreaper = isInit
      processes[own]?.isPodInit = isInit
      if name.state == .ended {
        for thread in processes[own]?.threads ?? [] { remove(thread: thread, reporting: false) }
        processes[own]?.status = 0
      }
    }
    return made
  }

  // MARK: Ends

  private mutating func report(_ kind: Event.Kind, _ identity: Int, _ number: Int32, _ pod: PodID?)
  {
    guard let pod else { return }
    events.append(Event(kind: kind, identity: identity, number: number, pod: pod))
    footprint.add(.writing(Footprint.events))
  }

  private mutating func remove(thread number: Int32, reporting: Bool) {
    guard let thread = threads.removeValue(forKey: number) else { return }
    numberOf[thread.identity] = nil
    processes[thread.process]?.threads.removeAll { $0 == number }
    writes(number)
    footprint.add(.writing(Footprint.numbers))
    if reporting, number != thread.process {
      report(.threadEnded, thread.identity, number, processes[thread.process]?.pod)
    }
  }

  /// One thread ends; with the last one its process.
  mutating func endThread(_ number: Int32, status: Int32) {
    guard let thread = threads[number] else { return }
    if processes[thread.process]?.threads.count == 1 {
      end(thread.process, status: status)
    } else {
      remove(thread: number, reporting: true)
    }
  }

  /// A process ends: it becomes a zombie, or is gone at once when its parent doesn't want to know.
  mutating func end(_ number: Int32, status: Int32) {
    guard let process = processes[number], !process.isZombie else { return }
    writes(number)
    processes[number]?.status = status
    processes[number]?.isStopped = false
    giveBackMemory(of: process)
    if observed.contains(process.identity) {
      results[process.identity] = ProcessResult(status: status, output: process.output)
    }
    let parentProcess = processes[process.parent]
    let ignored = parentProcess?.signals.ignoresChildren == true
    let reapsByItself = parentProcess?.reapsByItself == true
    for thread in process.threads { remove(thread: thread, reporting: true) }
    report(
      .exited(byItself: ignored || reapsByItself, status: status), process.identity, number,
      process.pod)
    adoptChildren(of: process)
    if ignored || reapsByItself {
      reap(number)
    } else {
      let code: Int32 = status & 0x7F == 0 ? 1 : 2
      send(
        MockSignal(
          number: MockSignal.child, code: code, sender: number,
          value: code == 1 ? status >> 8 : status & 0x7F), to: process.parent)
    }
  }

  /// The parent of a vfork goes on.
  private mutating func giveBackMemory(of child: Process) {
    guard let parent = processes[child.parent], parent.isBorrowed else { return }
    writes(parent.number)
    processes[parent.number]?.isBorrowed = false
  }

  private mutating func adoptChildren(of process: Process) {
    for child in children(of: process.number) {
      if child.deathSignal > 0 {
        send(MockSignal(number: child.deathSignal, sender: process.number), to: child.number)
      }
      let reaper = reaper(for: process)
      writes(child.number)
      writes(reaper)
      processes[child.number]?.parent = reaper
      guard child.isZombie else { continue }
      if processes[reaper]?.reapsByItself == true {
        reap(child.number)
      } else if processes[reaper]?.isPodInit == true {
        report(.orphaned, child.identity, child.number, child.pod)
      }
    }
  }

  private func reaper(for process: Process) -> Int32 {
    var ancestor = process.parent
    while let candidate = processes[ancestor], ancestor != 0 {
      if candidate.isSubreaper, !candidate.isZombie { return ancestor }
      ancestor = candidate.parent
    }
    return Self.initial
  }

  /// A zombie is gone: its number is free.
  mutating func reap(_ number: Int32) {
    guard let process = processes[number] else { return }
    writes(number)
    footprint.add(.writing(Footprint.numbers))
    processes[number] = nil
    if !processes.values.contains(where: { $0.space == process.space }) {
      spaces[process.space] = nil
    }
  }

  /// The number of a task that is there, if only as a zombie; nil when it is gone.
  mutating func number(behind handle: Handle) -> Int32? {
    reads(handle.number)
    return numberOf[handle.identity]
      ?? processes.values.first { $0.identity == handle.identity }?.number
  }

  func children(of number: Int32) -> [Process] {
    processes.values.filter { $0.parent == number }.sorted { $0.number < $1.number }
  }

  func members(of group: Int32) -> [Process] {
    processes.values.filter { $0.group == group && !$0.isZombie }
      .sorted { $0.number < $1.number }
  }

  // MARK: Exec

  /// A thread calls exec: the others end, and it has the process's number from now on.
  mutating func execute(_ thread: Int32) {
    guard let caller = threads[thread], let process = processes[caller.process] else { return }
    for other in process.threads where other != thread && other != process.number {
      remove(thread: other, reporting: true)
    }
    if thread != process.number {
      remove(thread: process.number, reporting: false)
      threads[thread] = nil
      threads[process.number] = caller
      numberOf[caller.identity] = process.number
      footprint.add(.writing(Footprint.numbers))
      writes(thread)
    }
    report(.executed(former: thread), caller.identity, process.number, process.pod)
    writes(process.number)
    processes[process.number]?.threads = [process.number]
    let space = newSpace()
    processes[process.number]?.space = space
    processes[process.number]?.signals.reset()
    processes[process.number]?.hasExecuted = true
    giveBackMemory(of: process)
  }
}

/// The state of a simulated thread that isn't in the tables of names.
final class MockCallerState: CallerState, @unchecked Sendable {
  var threadPointer: RemoteAddress?
  var dumpable: Int32?
}
