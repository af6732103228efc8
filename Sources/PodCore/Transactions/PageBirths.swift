internal import Synchronization
package import SystemPackage

/// What the kernel says of a task's family.
package struct Kinship: Sendable, Equatable {
  /// The process (thread-group leader) that the task belongs to.
  package let process: PhysicalName<ProcessID>
  /// The parent of that process.
  package let parent: PhysicalName<ProcessID>

  package init(process: PhysicalName<ProcessID>, parent: PhysicalName<ProcessID>) {
    (self.process, self.parent) = (process, parent)
  }
}

/// What a backend adds to ``PageBirths``: what the kernel says, and who its own processes are.
package protocol BirthWitness {
  /// The family of a task; nil when there is no such task.
  func kinship(of task: PhysicalName<ProcessID>) -> Kinship?
  /// Whether all threads of a process have ended.
  func hasEnded(_ process: PhysicalName<ProcessID>) -> Bool
  /// The name of a task that was taken in already, by what the kernel says of it.
  func name(of task: PhysicalName<ProcessID>) -> VirtualName<ProcessID>?
  /// Takes in a newborn that has just got its name, before anybody is told of it. Called while the birth is locked.
  func takeIn(
    _ newborn: PhysicalName<ProcessID>, _ name: VirtualName<ProcessID>, of birth: PageBirth)
  /// Whoever was taken in was gone already, and its number may be another's.
  func takeBack(_ newborn: PhysicalName<ProcessID>, _ name: VirtualName<ProcessID>)
}

/// A fork that code in the process makes: from its announcement until both newborn and maker have said that it happened.
///
/// The two say so in any order; whoever is first gives the newborn its name. What they say is believed only as far as the
/// kernel says the same.
package final class PageBirth: @unchecked Sendable {
  /// What stands for it in the process.
  package let ticket: Int32
  /// The thread that forks.
  package let maker: Caller
  /// The kernel's number of its process.
  package let process: PhysicalName<ProcessID>
  /// The flags of clone(2) that the call amounts to.
  package let flags: UInt64
  /// The words in which the newborn's number is stored: the maker's and its own.
  package let words: (maker: RemoteAddress, own: RemoteAddress)
  /// The control block of the thread whose number they are.
  package let threadPointer: RemoteAddress

  // All that follows is changed and looked at while it is held only. It comes before the locks of names and processes.
  private let lock = Mutex(())
  private var transaction: Transaction?
  private var newborn: PhysicalName<ProcessID>?
  /// Who was taken in, once its maker has spoken; 0 before.
  private let settled = Atomic<Int32>(0)
  private var name: VirtualName<ProcessID>?
  private var isDropped = false
  private var hasBegun = false
  private var hasEnded = false
  private var isMakersWordSettled = false
  private var sleep: (stack: RemoteAddress, end: UInt64)?

  fileprivate init(
    _ transaction: consuming Transaction, _ process: PhysicalName<ProcessID>,
    words: (maker: RemoteAddress, own: RemoteAddress), threadPointer: RemoteAddress
  ) {
    ticket = Int32(truncatingIfNeeded: transaction.birthNumber)
    maker = transaction.caller
    self.process = process
    flags =
      transaction.call == .vfork ? CloneFlags.vm | CloneFlags.vfork : transaction.cloneFlags
    self.words = words
    self.threadPointer = threadPointer
    self.transaction = consume transaction
  }

  package var isThread: Bool { flags & CloneFlags.thread != 0 }
  package var sharesMemory: Bool { flags & CloneFlags.vm != 0 }

  private func isKin(
    _ newborn: PhysicalName<ProcessID>, _ kinship: Kinship, _ witness: some BirthWitness
  ) -> Bool {
    if isThread { return kinship.process == process && newborn != process }
    guard kinship.process == newborn, newborn != process else { return false }
    let parent =
      flags & CloneFlags.parent == 0 ? process : witness.kinship(of: process)?.parent
    // Whoever lost its parent in the middle of its birth was adopted.
    return kinship.parent == parent || witness.hasEnded(process)
  }

  /// Gives the newborn its name, if it is one, and nobody has.
  ///
  /// - Parameter maker: Whether its maker says so. Who has a name already is no newborn by anybody else's word: another child
  ///   of the maker's process could say so, too.
  private func bind(
    _ candidate: PhysicalName<ProcessID>, _ witness: some BirthWitness, byMaker: Bool = false
  ) throws(Errno) -> VirtualName<ProcessID>? {
    if isDropped { return nil }
    if let newborn { return newborn == candidate ? name : nil }
    guard let kinship = witness.kinship(of: candidate), isKin(candidate, kinship, witness) else {
      return nil
    }
    if let known = witness.name(of: candidate) {
      guard byMaker else { return nil }
      // Whose name was planned for it is nobody's. It may still say that it is there, and have its own word settled.
      transaction = nil
      (newborn, name) = (candidate, known)
      return known
    }
    let names = transaction?.names
    try transaction?.bindNewborn(candidate)
    guard let name = names?.processes.newborn(candidate, of: maker, birth: Int(ticket)) else {
      return nil
    }
    (newborn, self.name) = (candidate, name)
    witness.takeIn(candidate, name, of: self)
    return name
  }

  fileprivate func bindEarly(
    _ candidate: PhysicalName<ProcessID>, _ witness: some BirthWitness
  ) throws(Errno) -> VirtualName<ProcessID>? {
    try lock.withLock { _ throws(Errno) in try bind(candidate, witness) }
  }

  /// The newborn says that it is there.
  ///
  /// - Parameter settle: Stores its name in the words of memory that it can see and nobody has settled; the first argument
  ///   says whether the maker's is among them.
  /// - Returns: Its name; nil when it isn't this birth's.
  /// - Throws: `.resourceTemporarilyUnavailable` when there is no name for it.
  fileprivate func begin(
    _ candidate: PhysicalName<ProcessID>, _ witness: some BirthWitness,
    settle: (Bool, PageBirth, VirtualName<ProcessID>) -> Void
  ) throws(Errno) -> VirtualName<ProcessID>? {
    try lock.withLock { _ throws(Errno) in
      guard let name = try bind(candidate, witness) else { return nil }
      if hasBegun { return name }
      hasBegun = true
      settle(sharesMemory && !isMakersWordSettled, self, name)
      if sharesMemory { isMakersWordSettled = true }
      return name
    }
  }

  /// The maker says what the kernel answered.
  ///
  /// - Parameter settle: Stores the newborn's name in the maker's word, which nobody has settled.
  /// - Returns: What the program sees; nil where somebody else was taken for its newborn, whose name is then its own.
  fileprivate func end(
    _ kernel: CallResult, _ witness: some BirthWitness,
    settle: (PageBirth, VirtualName<ProcessID>) -> Void
  ) -> CallResult? {
    lock.withLock { _ in
      hasEnded = true
      defer {
        transaction = nil
        settled.store(newborn?.rawValue ?? 0, ordering: .relaxed)
      }
      guard case .success(let number) = kernel else {
        _ = transaction?.leave(kernel)
        return kernel
      }
      let physical = PhysicalName<ProcessID>(rawValue: Int32(truncatingIfNeeded: number))
      // Who was killed unheard, and waited for, has been called so.
      if isDropped, newborn == physical, let name { return .success(Int(name.rawValue)) }
      if newborn == nil {
        do throws(Errno) {
          if let name = try bind(physical, witness, byMaker: true) {
            // It may have been reaped since the kernel was asked, and then its number be anybody's.
            let kinship = witness.kinship(of: physical)
            if kinship.map({ isKin(physical, $0, witness) }) != true {
              witness.takeBack(physical, name)
            }
          }
        } catch {
          return .failure(error)
        }
      }
      guard newborn == physical else {
        // It was killed before it could say anything, and reaped by a wait of another thread, or by nobody's.
        guard newborn == nil, let child = transaction?.child else { return nil }
        return .success(Int(child.rawValue))
      }
      if let name, !isMakersWordSettled {
        isMakersWordSettled = true
        settle(self, name)
      }
      return transaction?.leave(kernel) ?? .success(Int(name?.rawValue ?? 0))
    }
  }

  /// A wait of the maker's process has returned a child that nobody knows.
  ///
  /// - Returns: The name that its maker is going to see for it; nil when it is no child of this birth.
  fileprivate func lose(_ child: PhysicalName<ProcessID>) -> VirtualName<ProcessID>? {
    lock.withLock { _ in
      guard !isThread, newborn == nil, !isDropped, let name = transaction?.child else { return nil }
      // The name is the transaction's, and free again when that ends.
      (newborn, self.name, isDropped) = (child, name, true)
      return name
    }
  }

  fileprivate func drop() {
    lock.withLock { _ in
      isDropped = true
      transaction = nil
    }
  }

  fileprivate func sleep(_ stack: RemoteAddress, end: UInt64) {
    lock.withLock { _ in sleep = (stack, end) }
  }
  fileprivate func wakes(on stack: RemoteAddress) -> UInt64? {
    lock.withLock { _ in sleep?.stack == stack ? sleep?.end : nil }
  }

  /// Whether a process may have been made of which nobody has heard.
  fileprivate var isUnheard: Bool {
    lock.withLock { _ in !isThread && newborn == nil && !hasEnded && !isDropped }
  }
  fileprivate var isOver: Bool { lock.withLock { _ in hasBegun && hasEnded } }
  /// Whether only a newborn hasn't spoken that has this number.
  fileprivate func awaitsOnly(_ newborn: PhysicalName<ProcessID>) -> Bool {
    settled.load(ordering: .relaxed) == newborn.rawValue
  }
}

/// The births that code in a pod's processes has announced.
///
/// A thread may have several: a signal's handler may fork in the middle of a fork, and leave it by a long jump.
package final class PageBirths: Sendable {
  private struct State {
    var births: [Int32: PageBirth] = [:]
    var next: Int32 = 1
    /// Those whose maker was killed, the oldest first: what they had made may still say that it is there.
    var orphaned: [PageBirth] = []
  }
  private let state = Mutex(State())

  package init() {}

  /// A thread that leaves births behind has so many at a time.
  private static let keptPerThread = 32

  /// Announces a birth.
  ///
  /// - Parameters:
  ///   - transaction: The fork.
  ///   - process: The kernel's number of the caller's process.
  ///   - words: Where the newborn's number is stored.
  ///   - threadPointer: Of the thread whose number that is.
  /// - Returns: The ticket, or why there can be none.
  package func begin(
    _ transaction: consuming Transaction, _ process: PhysicalName<ProcessID>,
    words: (maker: RemoteAddress, own: RemoteAddress), threadPointer: RemoteAddress
  ) -> CallResult {
    let ticket = state.withLock { state -> Int32 in
      repeat {
        state.next = state.next == .max ? 1 : state.next + 1
      } while state.births[state.next] != nil
      return state.next
    }
    transaction.birthNumber = Int(ticket)
    if case .answer(let result) = transaction.enter() { return result }
    let maker = transaction.caller.physicalThread
    let birth = PageBirth(
      consume transaction, process, words: words, threadPointer: threadPointer)
    let oldest = state.withLock { state -> PageBirth? in
      state.births[ticket] = birth
      let own = state.births.values.filter { $0.maker.physicalThread == maker }
      return own.count > Self.keptPerThread ? own.min { $0.ticket < $1.ticket } : nil
    }
    if let oldest { remove([oldest]) }
    return .success(Int(ticket))
  }

  /// The maker of a birth is going to sleep, and to forget where it came from.
  package func sleep(
    _ ticket: Int32, _ maker: PhysicalName<ThreadID>, stack: RemoteAddress, end: UInt64
  ) -> Bool {
    guard let birth = birth(ticket), birth.maker.physicalThread == maker else { return false }
    birth.sleep(stack, end: end)
    return true
  }

  /// Where a maker came from that slept; nil for who didn't.
  package func wake(_ maker: PhysicalName<ThreadID>, stack: RemoteAddress) -> UInt64? {
    sleeper(maker, stack)?.wakes(on: stack)
  }

  private func sleeper(
    _ maker: PhysicalName<ThreadID>, _ stack: RemoteAddress
  ) -> PageBirth? {
    state.withLock { $0.births.values.filter { $0.maker.physicalThread == maker } }
      .filter { $0.wakes(on: stack) != nil }.max { $0.ticket < $1.ticket }
  }

  private func birth(_ ticket: Int32) -> PageBirth? { state.withLock { $0.births[ticket] } }

  /// A newborn says that it is there.
  ///
  /// - Parameters:
  ///   - ticket: Of the birth that it says it is of; nil when it says nothing, and any birth will do that is its.
  ///   - settle: As for a birth.
  /// - Returns: Its name; nil when it is nobody's.
  /// - Throws: `.resourceTemporarilyUnavailable`.
  package func born(
    _ newborn: PhysicalName<ProcessID>, _ ticket: Int32?, _ witness: some BirthWitness,
    settle: (Bool, PageBirth, VirtualName<ProcessID>) -> Void
  ) throws(Errno) -> VirtualName<ProcessID>? {
    let candidates: [PageBirth]
    if let ticket {
      candidates = birth(ticket).map { [$0] } ?? []
    } else {
      candidates = mayBe(newborn, witness)
    }
    for birth in candidates {
      if let name = try birth.begin(newborn, witness, settle: settle) {
        if birth.isOver { remove([birth]) }
        return name
      }
    }
    return nil
  }

  /// A maker says what the kernel answered.
  ///
  /// - Parameters:
  ///   - ticket: Of the birth; 0 for who slept on a stack.
  ///   - settle: As for a birth.
  /// - Returns: What the program sees; nil for a birth that nobody announced, or for whose newborn somebody else was taken.
  package func end(
    _ ticket: Int32, _ maker: PhysicalName<ThreadID>, stack: RemoteAddress, _ kernel: CallResult,
    _ witness: some BirthWitness, settle: (PageBirth, VirtualName<ProcessID>) -> Void
  ) -> CallResult? {
    guard let birth = ticket == 0 ? sleeper(maker, stack) : birth(ticket),
      birth.maker.physicalThread == maker
    else { return nil }
    let result = birth.end(kernel, witness, settle: settle)
    if case .success? = result, !birth.isOver { return result }
    remove([birth])
    return result
  }

  /// Gives a task its name that has been made, and hasn't said so, if it is one.
  ///
  /// - Throws: `.resourceTemporarilyUnavailable`.
  package func bind(
    _ newborn: PhysicalName<ProcessID>, _ witness: some BirthWitness
  ) throws(Errno) -> VirtualName<ProcessID>? {
    for birth in mayBe(newborn, witness) {
      if let name = try birth.bindEarly(newborn, witness) { return name }
    }
    return nil
  }

  /// The births that a task which says nothing of its own may be of, the oldest first. Those of its own family are as many as
  /// they are; of the others, whose maker may have ended, only some are asked about.
  private func mayBe(
    _ newborn: PhysicalName<ProcessID>, _ witness: some BirthWitness
  ) -> [PageBirth] {
    guard let kinship = witness.kinship(of: newborn) else { return [] }
    let births = state.withLock { $0.births.values.sorted { $0.ticket < $1.ticket } }
    let relative = kinship.process == newborn ? kinship.parent : kinship.process
    let own = births.filter { $0.process == relative }
    let others = births.filter { $0.process != relative }
    return Array(own.prefix(Self.keptPerThread) + others.prefix(Self.keptPerThread))
  }

  /// A wait has returned a child that nobody knows: it was killed before it could say that it is there.
  ///
  /// - Returns: The name that its maker is going to see for it; nil when it is nobody's.
  package func lose(
    _ child: PhysicalName<ProcessID>, of process: PhysicalName<ProcessID>
  ) -> VirtualName<ProcessID>? {
    let births = state.withLock { state in
      state.births.values.filter { $0.process == process }.sorted { $0.ticket < $1.ticket }
    }
    for birth in births {
      if let name = birth.lose(child) { return name }
    }
    return nil
  }

  /// Whether nothing is under way.
  package var isEmpty: Bool { state.withLock { $0.births.isEmpty } }

  /// Whether a process may have children of which nobody has heard.
  package func areUnheard(of process: PhysicalName<ProcessID>) -> Bool {
    state.withLock { state in state.births.values.filter { $0.process == process } }
      .contains { $0.isUnheard }
  }

  /// A process has ended, or executed a program: what its threads had begun won't go on, and what they had made and hasn't
  /// said so is known by what the kernel says of it.
  package func drop(_ process: PhysicalName<ProcessID>) {
    // The lock of a birth is never taken inside this one's.
    let births = state.withLock { Array($0.births.values) }
    remove(births.filter { $0.awaitsOnly(process) })
    let orphaned = births.filter { $0.process == process }
    remove(orphaned)
    state.withLock { state in
      state.orphaned += orphaned
      state.orphaned.removeFirst(max(0, state.orphaned.count - Self.keptOrphaned))
    }
  }

  private static let keptOrphaned = 64

  /// The birth that a newborn says it is of. Nobody but the newborn says that it is so.
  package func announced(_ ticket: Int32) -> PageBirth? { birth(ticket) }

  /// The birth that a newborn says it is of, if its maker was killed in it. Nobody but the newborn says that it is so.
  package func orphaned(_ ticket: Int32) -> PageBirth? {
    state.withLock { $0.orphaned.last { $0.ticket == ticket } }
  }

  /// A thread has ended.
  package func drop(thread: PhysicalName<ThreadID>) {
    let births = state.withLock { state in
      state.births.values.filter { $0.maker.physicalThread == thread }
    }
    remove(births)
  }

  /// How many there are.
  package var count: Int { state.withLock { $0.births.count } }

  private func remove(_ births: [PageBirth]) {
    state.withLock { state in
      for birth in births where state.births[birth.ticket] === birth {
        state.births[birth.ticket] = nil
      }
    }
    for birth in births { birth.drop() }
  }
}
