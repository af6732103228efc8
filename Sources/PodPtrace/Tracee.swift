internal import CLinux
internal import PodCore
internal import PodLinux
internal import SystemPackage

/// One address space of the pod, shared by threads and by processes made with `CLONE_VM`.
final class AddressSpace {
  /// Reached through the stopped thread only: a descriptor per process would be too many for the host program.
  let memory = RemoteMemory()
  /// How many processes that haven't ended have it.
  var sharers = 1
  /// One page for code that a thread executes for us.
  var codePage: RemoteAddress?
  /// Memory for copies that calls read and write instead of the program's own.
  var scratch: RemoteAddress?
  /// The parts of it that transactions in flight use.
  private var usedSlots: Set<Int> = []

  /// The size of the scratch memory in bytes.
  static let scratchSize = 128 * 1024
  /// What one transaction may use of it.
  static let slotSize = 1024

  init() {}

  /// The copy that a fork makes: the same mappings at the same addresses.
  init(copying other: AddressSpace) {
    codePage = other.codePage
    scratch = other.scratch
  }

  func takeSlot() -> Int? {
    guard
      let slot = (0..<Self.scratchSize / Self.slotSize).first(where: { !usedSlots.contains($0) })
    else { return nil }
    usedSlots.insert(slot)
    return slot
  }

  func giveBack(slot: Int) { usedSlots.remove(slot) }
}

/// One process (thread group) of the pod.
final class TracedProcess: CallerState {
  let tgid: Int32
  let name: VirtualName<ProcessID>
  /// Its threads whose end wasn't reported.
  var threads: Set<Int32> = []
  var space: AddressSpace
  var dumpable: Int32?
  /// Set from the fork by init until the program's exec.
  var launch: Launch?
  /// What to tell when the process ends, for a program that the host started.
  var ended: (@Sendable (TerminationStatus) -> Void)?
  /// Whether it still runs init's code: its breakpoints are messages to us.
  var speaksForInit = false
  /// Whether it has the pod's filter, which stops the calls in which names cross; else every call stops.
  var isFiltered = true
  /// Whether it may have descriptors of a kind that rows are for: its calls then all stop, since a filter can't tell
  /// descriptors from each other.
  var hasKnownDescriptors = false
  /// Called when it has opened the first.
  var onKnownDescriptor: (() -> Void)?
  /// The wait status that its last threads announced before they ended, where they stop for it.
  var announcedStatus: Int32?
  /// Whether its program or its user has changed, after which the kernel may deny its memory.
  var mayBeOutOfReach = false
  /// The numbers of refused calls that were reported.
  var reportedRefusals: Set<Int> = []
  /// Where the calling thread's control block is; set before each transaction.
  var threadPointer: RemoteAddress?
  /// Called when a call has changed its credentials.
  var onCredentialsChange: (() -> Void)?

  init(tgid: Int32, name: VirtualName<ProcessID>, space: AddressSpace) {
    self.tgid = tgid
    self.name = name
    self.space = space
  }

  var hasMemoryOfItsOwn: Bool { threads.count == 1 && space.sharers == 1 }

  func credentialsChanged() {
    mayBeOutOfReach = true
    onCredentialsChange?()
  }

  func opened(_ kind: DescriptorKind) {
    guard !hasKnownDescriptors else { return }
    hasKnownDescriptors = true
    onKnownDescriptor?()
  }
}

/// One thread of the pod, and the transaction that it is in.
final class Tracee {
  /// Where a stopped thread is in a system call.
  enum Position {
    /// Before the kernel's part, in the filter's stop.
    case entry
    /// After it.
    case exit
  }

  /// The outcome of a call that was answered at its entry.
  enum Answer {
    /// A call of the program's own convention.
    case result(CallResult)
    /// A call of another convention, whose registers aren't ours to read.
    case foreign(Errno)
  }

  let tid: Int32
  var process: TracedProcess
  var caller: Caller
  /// The call whose kernel's part runs, or is about to.
  var transaction: Transaction?
  var position = Position.entry
  /// What the program is to see at the exit of a call that does nothing, made in place of its own.
  var answer: Answer?
  /// The registers at the entry as the program had them.
  var registers = Registers()
  /// The scratch memory of the transaction, and how much of it is in use.
  var scratch: (space: AddressSpace, slot: Int, used: Int)?
  /// Whether it is in a fork whose event didn't come yet.
  var awaitsNewborn = false
  /// The flags of the fork that made it, until its first stop.
  var birth: (flags: UInt64, childWord: RemoteAddress)?

  /// When its last wait with a time limit began that was seen, which one that is, and which one is made again that had begun then.
  var began = ContinuousClock.now
  var begun: Syscall?
  var goesOn: Syscall?
  /// Whether a signal has stopped it, and it didn't hear of its going on, nor begin a call that was seen, since.
  var hasStopped = false

  /// The thread's own signal mask while it makes calls for us.
  var heldMask: UInt64?
  /// Whether it stops before it ends.
  var announcesEnd = false
  /// How often in a row nothing was found of it.
  var missing = 0
  /// Whether it was made to stop because it ran on instead of making a call for us.
  var wasCaught = false
  /// Whether it was made to stop so that its next call stops too.
  var wasInterrupted = false
  /// Whether a group stop came while it did.
  var missedStop = false
  /// How it ended, or that another thread's exec took its number, if that was seen while it made calls for us.
  var lost: Int32?

  /// Whether the entry and the exit of every call are stops. Init's own code needs none: it is ours.
  var stopsAtEveryCall: Bool {
    (!process.isFiltered || process.hasKnownDescriptors) && !process.speaksForInit
  }

  /// Gives the transaction's scratch memory back.
  func endScratch() {
    guard let scratch else { return }
    scratch.space.giveBack(slot: scratch.slot)
    self.scratch = nil
  }

  init(tid: Int32, process: TracedProcess, caller: Caller) {
    self.tid = tid
    self.process = process
    self.caller = caller
  }
}
