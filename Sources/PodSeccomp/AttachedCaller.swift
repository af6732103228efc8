internal import CLinux
internal import Glibc
internal import PodCore
internal import PodLinux
internal import SystemPackage

/// A thread that is attached as the host of the transaction that it is in: kernel calls are made in the thread's own
/// context.
final class AttachedCaller: TransactionHost, MappingHost, CallerState {
  let thread: PodThread
  private unowned let supervisor: Supervisor
  /// nil while the thread's call goes on by itself.
  private(set) var attached: AttachedThread?
  /// The scratch memory of the transaction, and how much of it is in use.
  private var scratchUse: (space: AddressSpace, slot: Int, used: Int)?
  /// Whether the call has changed whom the thread acts for.
  private var hasNewCredentials = false
  /// The caller's descriptor of ``WaitWords``, which are still to be mapped.
  private var wordsDescriptor: Int32?

  init(_ thread: PodThread, _ supervisor: Supervisor) {
    self.thread = thread
    self.supervisor = supervisor
  }

  deinit { scratchUse.map { $0.space.giveBack(slot: $0.slot) } }

  /// Attends to the thread from now on.
  func hold(_ attached: AttachedThread) {
    let thread = thread
    attached.willPerform = { thread.expect($0, $1) }
    self.attached = attached
  }

  /// The thread is no longer held, whatever becomes of its call.
  func letGo() {
    thread.expectNothing()
    attached = nil
  }

  /// The transaction is over.
  func endScratch() {
    guard let use = scratchUse else { return }
    use.space.giveBack(slot: use.slot)
    scratchUse = nil
  }

  private var process: PodProcess { thread.process }

  private func held() throws(Errno) -> AttachedThread {
    guard let attached else { throw .noSuchProcess }
    return attached
  }

  // MARK: TransactionHost

  var callerState: any CallerState { self }

  func willRun(_ step: Step, on name: Int32) -> Bool { true }

  func perform(
    _ call: Syscall, _ arguments: CallArguments, for caller: Caller
  ) throws(Errno) -> Int {
    let attached = try held()
    return try supervisor.whilePinned(call, arguments, by: thread) { () throws(Errno) in
      try attached.perform(call, arguments).get()
    }
  }

  func perform(_ call: Syscall, _ arguments: CallArguments) throws(Errno) -> CallResult {
    try held().performAtOnce(call, arguments)
  }

  func processGroup(
    of process: PhysicalName<ProcessID>, for caller: Caller
  ) throws(Errno) -> PhysicalName<ProcessID> {
    try process.group()
  }

  func read(_ address: RemoteAddress, into buffer: UnsafeMutableRawBufferPointer) throws(Errno) {
    try RemoteMemory().read(address, into: buffer, stopped: try held().tid)
  }

  func write(_ bytes: UnsafeRawBufferPointer, to address: RemoteAddress) throws(Errno) {
    let attached = try held()
    guard mayBeReplaced else {
      return try RemoteMemory().write(address, bytes: bytes, stopped: attached.tid)
    }
    // Who still stands still after the opening is who was opened, and the descriptor goes on meaning it.
    let memory = RemoteMemory(of: attached.tid)
    guard attached.standsStill else { throw .noSuchProcess }
    if memory.isOpen {
      try memory.write(address, bytes: bytes)
    } else {
      try RemoteMemory().write(address, bytes: bytes, stopped: attached.tid)
    }
  }

  /// Whether another thread's exec could make the thread's number that of the new program at any moment.
  private var mayBeReplaced: Bool {
    thread.tid == process.tgid && process.mayHaveThreads
  }

  func scratch(_ bytes: UnsafeRawBufferPointer) throws(Errno) -> RemoteAddress {
    let address = try scratchAddress(for: bytes.count)
    do throws(Errno) {
      try write(bytes, to: address)
      return address
    } catch .badAddress {
      // The program has unmapped or protected what it didn't map: it gets another piece.
      endScratch()
      process.space.scratch = nil
      let address = try scratchAddress(for: bytes.count)
      try write(bytes, to: address)
      return address
    }
  }

  var segmentHost: any SegmentHost { KernelSegments(of: thread.tid) }

  func task(behind descriptor: Int32) throws(Errno) -> ProcessHandle.Target {
    try ProcessHandle.Target(behind: descriptor, of: thread.tid)
  }

  func directory(_ descriptor: Int32?) -> [UInt8]? {
    ProcessStatus.directory(descriptor, of: thread.tid)
  }

  /// Without memory the filter is installed all the same; calls that need some ask again.
  func willFilterCalls() {
    supervisor.filtersCalls(process)
    leavePatchedSites()
    do throws(Errno) {
      _ = try gate()
      _ = try scratchAddress(for: 0)
    } catch {}
  }

  /// Has all calls from patched sites made by the program's own instructions from now on, in all processes that share the memory or
  /// are copies of it.
  ///
  /// Filters of the program's own look at where calls come from, and kill for some. And of a process or thread that shares
  /// the memory, and that the page hasn't made, the page doesn't know: it would take it for somebody else.
  func leavePatchedSites() {
    guard let area = supervisor.area, let tid = attached?.tid else { return }
    process.space.withCallSites { sites in
      sites.end()
      let memory = RemoteMemory()
      let destination = CallSite.destination(.page, in: area.base)
      guard
        let trampolines = CallSites.trampolines(in: memory, area: area.base, stopped: tid),
        (try? memory.read(trampolines, as: UInt64.self, stopped: tid)) == destination
      else { return }
      // One byte: another thread may read the word at this moment.
      try? memory.writeCode(
        trampolines, bytes: [CallSite.Destination.program.rawValue], stopped: tid)
    }
  }

  func isWaitable(_ zombie: Entry<ProcessID>) -> Bool { supervisor.isWaitable(zombie) }

  func realUser(of task: PhysicalName<ProcessID>) throws(Errno) -> UInt32 {
    guard let user = ProcessStatus.number("Uid", of: task.rawValue) else { throw .noSuchProcess }
    return UInt32(truncatingIfNeeded: user)
  }

  func credentials(of caller: Caller) throws(Errno) -> CallerCredentials {
    try supervisor.credentials(of: thread)
  }

  // MARK: Sleeps

  /// The caller has a descriptor of the words that it may have to sleep on.
  func bring(wordsAs descriptor: Int32) { wordsDescriptor = descriptor }

  /// Maps the words where the caller doesn't have them yet, and closes its descriptor of them in any case.
  func settleWords() throws(Errno) {
    guard let descriptor = wordsDescriptor else { return }
    wordsDescriptor = nil
    let attached = try held()
    let size = UInt64(try supervisor.waitWords().size)
    let mapped = try attached.perform(
      .mmap,
      CallArguments(0, size, UInt64(PROT_READ), UInt64(MAP_SHARED), UInt64(descriptor), 0))
    _ = try attached.performAtOnce(.close, CallArguments(UInt64(descriptor)))
    let address = RemoteAddress(rawValue: UInt64(bitPattern: Int64(try mapped.get())))
    if process.space.settleWaitWords(address, insteadOf: nil) != address {
      _ = try attached.performAtOnce(.munmap, CallArguments(address.rawValue, size))
    }
  }

  func prepareSleep(for time: Duration?) throws(Errno) -> Sleep? {
    guard let words = process.space.waitWords else { return nil }
    let all = try supervisor.waitWords()
    // The program may have unmapped them, and have something else there on which nobody would wake it.
    let mark = try? RemoteMemory().read(words, as: UInt64.self, stopped: try held().tid)
    guard mark == all.mark else {
      process.space.settleWaitWords(nil, insteadOf: words)
      return nil
    }
    // Always with an end: without one, the kernel would go on with the sleep after handlers that ask for it (SA_RESTART), which
    // no call that waits for a System V object does.
    var end: (seconds: Int64, nanoseconds: Int64) = (1 << 33, 0)
    if let time {
      var now = timespec()
      clock_gettime(CLOCK_MONOTONIC, &now)
      let (seconds, attoseconds) = time.components
      let nanoseconds = Int64(now.tv_nsec) + attoseconds / 1_000_000_000
      end = (
        Int64(now.tv_sec) + seconds + nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000
      )
    }
    guard let word = all.take(until: end) else { throw .noMemory }
    let wait: UInt64 = 9
    return Sleep(
      word, call: .futex,
      CallArguments(
        words.advanced(by: word.offset).rawValue, wait, 0,
        words.advanced(by: word.limitOffset).rawValue, 0, 0xFFFF_FFFF),
      timedOut: .failure(.timedOut))
  }

  func compareExchange(
    _ address: RemoteAddress, expected: UInt32, desired: UInt32
  ) throws(Errno) -> Bool {
    let gate = try gate()
    let end = try held().run(from: gate.exchange, until: gate.exchanged) { registers in
      registers.result = UInt64(expected)
      registers.arguments[0] = address.rawValue
      registers.arguments[1] = UInt64(desired)
    }
    return UInt32(truncatingIfNeeded: end.result) == expected
  }

  /// Changes the program's text while other threads execute it: by one store, so that none of them sees a half of it. For so
  /// long they could write there too.
  ///
  /// - Throws: What the kernel says that doesn't let code be written to.
  func replaceText(_ change: TextChange) throws(Errno) {
    let gate = try gate()
    let attached = try held()
    let page = CallArguments(change.address.rawValue & ~4095, 4096)
    var (writable, executable) = (page, page)
    writable.c = UInt64(PROT_READ | PROT_WRITE | PROT_EXEC)
    executable.c = UInt64(PROT_READ | PROT_EXEC)
    _ = try attached.perform(.mprotect, writable).get()
    let result = Result { () throws(Errno) in
      _ = try attached.run(from: gate.wordExchange, until: gate.wordExchanged) { registers in
        registers.result = change.expected
        registers.arguments[0] = change.address.rawValue
        registers.arguments[1] = change.desired
      }
    }
    _ = try attached.perform(.mprotect, executable).get()
    try result.get()
  }

  // MARK: CallerState

  var threadPointer: RemoteAddress? { attached?.registers.threadPointer }

  var dumpable: Int32? {
    get { process.dumpable }
    set { process.dumpable = newValue }
  }

  var hasMemoryOfItsOwn: Bool {
    supervisor.settleExecs(in: process.space)
    return !process.mayHaveThreads && process.space.sharers == 1
  }

  func credentialsChanged() {
    process.mayBeOutOfReach = true
    hasNewCredentials = true
    supervisor.credentialsChanged(process)
  }

  // MARK: The thread's memory

  /// The page with our code, put there (again) where it isn't.
  func gate() throws(Errno) -> Gate {
    let attached = try held()
    let space = process.space
    let known = space.gate
    if let known {
      var found = [UInt8](repeating: 0, count: Gate.code.count)
      let isThere = found.withUnsafeMutableBytes { bytes in
        (try? RemoteMemory().read(known, into: bytes, stopped: attached.tid)) != nil
      }
      if isThere, found == Gate.code { return Gate(address: known) }
    }
    let address = try map(Gate.size, protection: PROT_READ | PROT_EXEC)
    try RemoteMemory().writeCode(address, bytes: Gate.code, stopped: attached.tid)
    let settled = space.settleGate(address, insteadOf: known)
    // Another thread's came first.
    if settled != address {
      _ = try attached.performAtOnce(.munmap, CallArguments(address.rawValue, UInt64(Gate.size)))
    }
    return Gate(address: settled)
  }

  private func scratchAddress(for count: Int) throws(Errno) -> RemoteAddress {
    let space = process.space
    let base: RemoteAddress
    if let known = space.scratch {
      base = known
    } else {
      base = try map(AddressSpace.scratchSize, protection: PROT_READ | PROT_WRITE)
      space.scratch = base
    }
    if scratchUse == nil, let slot = space.takeSlot() { scratchUse = (space, slot, 0) }
    guard let use = scratchUse, use.used + count <= AddressSpace.slotSize else { throw .noMemory }
    scratchUse?.used += (count + 15) / 16 * 16
    return base.advanced(by: use.slot * AddressSpace.slotSize + use.used)
  }

  private func map(_ size: Int, protection: Int32) throws(Errno) -> RemoteAddress {
    let result = try held().perform(
      .mmap,
      CallArguments(
        0, UInt64(size), UInt64(protection), UInt64(MAP_PRIVATE | MAP_ANONYMOUS), .max, 0))
    return RemoteAddress(rawValue: UInt64(bitPattern: Int64(try result.get())))
  }

  /// Gets access to memory that the kernel denies since the program has other users or was executed without the right to
  /// read it, and goes on showing the program the flag that it would see.
  ///
  /// Source: DESIGN.md §4.7; PR_SET_DUMPABLE(2const); kernel/ptrace.c, `ptrace_access_vm`.
  func comeWithinReach() {
    guard process.mayBeOutOfReach, let attached else { return }
    var byte: UInt8 = 0
    let canRead = withUnsafeMutableBytes(of: &byte) { bytes in
      (try? RemoteMemory().read(
        attached.registers.stackPointer, into: bytes, stopped: attached.tid)) != nil
    }
    if canRead {
      process.mayBeOutOfReach = false
      return
    }
    let (get, set): (UInt64, UInt64) = (3, 4)
    do throws(Errno) {
      let flag = try attached.perform(.prctl, CallArguments(get))
      process.mayBeOutOfReach = false
      guard case .success(let value) = flag, value != 1 else { return }
      if process.dumpable == nil { process.dumpable = Int32(truncatingIfNeeded: value) }
      _ = try attached.perform(.prctl, CallArguments(set, 1))
    } catch {}
  }

  /// What there is to do between a call's end and the program's next instruction.
  func settle() {
    guard hasNewCredentials else { return }
    hasNewCredentials = false
    comeWithinReach()
  }
}
