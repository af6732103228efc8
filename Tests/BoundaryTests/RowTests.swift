import PodCore
import SystemPackage
import Testing

/// Memory and state of a caller without a kernel.
private final class Host: TransactionHost, CallerState {
  private static let base: UInt64 = 0x1000
  private var memory = [UInt8](repeating: 0, count: 4096)
  private var scratchStart = 2048

  var dumpable: Int32?
  var changes = 0
  var hasMemoryOfItsOwn = true
  var handles: [Int32: Int32] = [:]
  var users: [Int32: UInt32] = [:]
  var answers: [Syscall: Int] = [:]
  var performed: [(call: Syscall, arguments: CallArguments)] = []
  var threadPointer: RemoteAddress? { nil }
  var callerState: any CallerState { self }

  func credentialsChanged() { changes += 1 }

  func task(behind descriptor: Int32) throws(Errno) -> ProcessHandle.Target {
    guard let number = handles[descriptor] else { throw .badFileDescriptor }
    return ProcessHandle.Target(PhysicalName(rawValue: number), isThread: false)
  }

  func realUser(of task: PhysicalName<ProcessID>) throws(Errno) -> UInt32 {
    users[task.rawValue] ?? 0
  }

  func willRun(_ step: Step, on name: Int32) -> Bool { true }
  func perform(
    _ call: Syscall, _ arguments: CallArguments, for caller: Caller
  ) throws(Errno) -> Int {
    performed.append((call, arguments))
    return answers[call] ?? 0
  }

  private func offset(_ address: RemoteAddress, _ count: Int) throws(Errno) -> Int {
    guard address.rawValue >= Self.base, address.rawValue - Self.base <= UInt64(4096 - count)
    else { throw .badAddress }
    return Int(address.rawValue - Self.base)
  }

  func read(_ address: RemoteAddress, into buffer: UnsafeMutableRawBufferPointer) throws(Errno) {
    let start = try offset(address, buffer.count)
    buffer.copyBytes(from: memory[start..<(start + buffer.count)])
  }

  func write(_ bytes: UnsafeRawBufferPointer, to address: RemoteAddress) throws(Errno) {
    let start = try offset(address, bytes.count)
    memory.replaceSubrange(start..<(start + bytes.count), with: bytes)
  }

  func compareExchange(
    _ address: RemoteAddress, expected: UInt32, desired: UInt32
  ) throws(Errno) -> Bool { false }

  func scratch(_ bytes: UnsafeRawBufferPointer) throws(Errno) -> RemoteAddress {
    let address = RemoteAddress(rawValue: Self.base + UInt64(scratchStart))
    try write(bytes, to: address)
    scratchStart += (bytes.count + 15) / 16 * 16
    return address
  }

  /// Puts words where a program has a structure; its address.
  func structure(_ words: [Int32], size: Int) -> UInt64 {
    for index in 0..<(size / 4) { self[0x1100, index] = index < words.count ? words[index] : 0 }
    return 0x1100
  }

  /// A word of a structure.
  subscript(address: UInt64, index: Int) -> Int32 {
    get {
      let start = Int(address - Self.base) + 4 * index
      return memory[start..<(start + 4)].reversed().reduce(0) { $0 << 8 | Int32($1) }
    }
    set {
      let start = Int(address - Self.base) + 4 * index
      withUnsafeBytes(of: newValue.littleEndian) {
        memory.replaceSubrange(start..<(start + 4), with: $0)
      }
    }
  }
}

/// A transaction that expectations can take.
private final class Trial {
  private var transaction: Transaction

  init(_ transaction: consuming Transaction) { self.transaction = transaction }

  var arguments: CallArguments { transaction.arguments }
  var physicalCall: Syscall { transaction.physicalCall }
  var physicalArguments: CallArguments { transaction.physicalArguments }

  func isPerformed() -> Bool {
    if case .perform = transaction.enter() { true } else { false }
  }

  func answer() -> CallResult? {
    if case .answer(let result) = transaction.enter() { result } else { nil }
  }

  func refusal() -> Errno? {
    guard case .failure(let errno)? = answer() else { return nil }
    return errno
  }

  func leave(_ result: CallResult) -> CallResult { transaction.leave(result) }
}

/// A pod with init (1 is 1000 to the kernel), the caller (2 is 2000) and its child (3 is 3000).
@Suite("Rows with names in memory")
struct RowTests {
  private let names: PodNames
  private let host = Host()
  private let caller = Caller(
    thread: .init(rawValue: 2), process: .init(rawValue: 2),
    physicalThread: .init(rawValue: 2000))

  init() throws {
    names = PodNames(pod: PodID(rawValue: 1), system: SystemNames(), capacity: 64)
    let processes = names.processes
    let initial = try processes.enter(.init(rawValue: 1000), parent: nil, as: .sessionLeader)
    let program = try processes.enter(.init(rawValue: 2000), parent: initial, as: .sessionLeader)
    try processes.enter(.init(rawValue: 3000), parent: program, as: .groupLeader)
  }

  private func begin(_ call: Syscall, _ arguments: UInt64...) -> Trial {
    var words = CallArguments()
    for (index, argument) in arguments.enumerated() { words[index] = argument }
    return Trial(Transaction(call, words, by: caller, names: names, host: host))
  }

  /// The id of a process's or thread's clock.
  private func clock(_ name: Int32, _ bits: Int32) -> Int32 { ~name << 3 | bits }

  private func word(_ value: Int32) -> UInt64 { UInt64(bitPattern: Int64(value)) }

  @Test("capget names 0, itself and others; capset only itself", arguments: [0, 2, 2000, 3])
  func capabilities(name: Int32) {
    let version: Int32 = 0x2008_0522
    let header = host.structure([version, name], size: 8)
    let read = begin(.capget, header, 0x1200)
    #expect(read.isPerformed())
    let copy = read.physicalArguments[0]
    #expect(copy != header)
    #expect(host[copy, 1] == (name == 3 ? 3000 : 2000))
    // A version that the kernel doesn't know comes back as its own.
    host[copy, 0] = 77
    _ = read.leave(.failure(.invalidArgument))
    #expect(host[header, 0] == 77)
    #expect(host[header, 1] == name)

    let change = begin(.capset, header, 0x1200)
    if name == 3 {
      #expect(change.refusal() == .notPermitted)
    } else {
      #expect(change.isPerformed())
      #expect(host[change.physicalArguments[0], 1] == 2000)
    }
  }

  @Test("capget and capset of unknown names, and of no memory")
  func unknownCapabilities() {
    let header = host.structure([0x2008_0522, 3000], size: 8)
    let read = begin(.capget, header, 0x1200)
    #expect(read.refusal() == .noSuchProcess)
    let change = begin(.capset, header, 0x1200)
    #expect(change.refusal() == .notPermitted)
    let bad = begin(.capget, 0x10, 0x1200)
    #expect(bad.refusal() == .badAddress)
    let null = begin(.capget, 0, 0)
    #expect(null.isPerformed())
  }

  @Test("clock ids: of a process, of a thread, of the caller, of nobody")
  func clocks() {
    func physical(_ id: Int32) -> Int32? {
      let transaction = begin(.clock_gettime, word(id), 0x1200)
      return transaction.isPerformed() ? transaction.physicalArguments.int(0) : nil
    }
    #expect(physical(clock(3, 2)) == clock(3000, 2))
    #expect(physical(clock(2, 0)) == clock(2000, 0))
    #expect(physical(clock(2, 6)) == clock(2000, 6))
    // A physical tid of the caller's own process, as pthread_getcpuclockid has it.
    #expect(physical(clock(2000, 6)) == clock(2000, 6))
    // The caller itself; a descriptor's clock, though its number is a name.
    #expect(physical(-6) == -6)
    #expect(physical(clock(3, 3)) == clock(3, 3))
    #expect(physical(0) == 0)
    // Names of the host don't reach it.
    #expect(physical(clock(3000, 2)) == nil)
    let unknown = begin(.clock_gettime, word(clock(9, 2)), 0x1200)
    #expect(unknown.refusal() == .invalidArgument)
  }

  @Test("a timer's signal goes to a thread by name or by the number in its control block")
  func timers() {
    for name: Int32 in [2, 2000] {
      let event = host.structure([0, 0, 10, 4, name], size: 64)
      let transaction = begin(.timer_create, 0, event, 0x1200)
      #expect(transaction.isPerformed())
      let copy = transaction.physicalArguments[1]
      #expect(copy != event)
      #expect((2...4).map { host[copy, $0] } == [10, 4, 2000])
      #expect(host[event, 4] == name)
    }
    let unknown = begin(.timer_create, 0, host.structure([0, 0, 10, 4, 3000], size: 64), 0x1200)
    #expect(unknown.refusal() == .invalidArgument)
    // Without SIGEV_THREAD_ID the word is something else.
    let plain = begin(.timer_create, word(clock(3, 2)), host.structure([0, 0, 10, 0, 3], size: 64))
    #expect(plain.isPerformed())
    #expect(host[plain.physicalArguments[1], 4] == 3)
    #expect(plain.physicalArguments.int(0) == clock(3000, 2))
    let none = begin(.timer_create, 0, 0, 0x1200)
    #expect(none.isPerformed())
    #expect(none.physicalArguments == none.arguments)
  }

  @Test("who gets a file's signals, in registers")
  func fileOwners() {
    func setOwner(_ name: Int32) -> Int32? {
      let transaction = begin(.fcntl, 5, 8, word(name))
      return transaction.isPerformed() ? transaction.physicalArguments.int(2) : nil
    }
    #expect(setOwner(3) == 3000)
    #expect(setOwner(-2) == -2000)
    #expect(setOwner(0) == 0)
    #expect(setOwner(3000) == nil)
    #expect(setOwner(-3000) == nil)

    let show = begin(.fcntl, 5, 9)
    #expect(show.isPerformed())
    #expect(show.physicalArguments[1] == 16)
    let owner = show.physicalArguments[2]
    (host[owner, 0], host[owner, 1]) = (2, 2000)
    #expect(show.leave(.success(0)) == .success(-2))
    let outside = begin(.fcntl, 5, 9)
    _ = outside.isPerformed()
    (host[outside.physicalArguments[2], 0], host[outside.physicalArguments[2], 1]) = (1, 4711)
    #expect(outside.leave(.success(0)) == .success(0))
  }

  @Test("who gets a file's signals, in memory")
  func fileOwnersInMemory() {
    for (kind, name, physical): (Int32, Int32, Int32) in [
      (1, 3, 3000), (2, 2, -2000), (1, 0, 0),
    ] {
      let owner = host.structure([kind, name], size: 8)
      let transaction = begin(.fcntl, 5, 15, owner)
      #expect(transaction.isPerformed())
      // In a register, where no other thread can change it.
      #expect(transaction.physicalArguments[1] == 8)
      #expect(transaction.physicalArguments.int(2) == physical)
    }
    let thread = begin(.fcntl, 5, 15, host.structure([0, 2000], size: 8))
    #expect(thread.isPerformed())
    let copy = thread.physicalArguments[2]
    #expect([host[copy, 0], host[copy, 1]] == [0, 2000])
    host.hasMemoryOfItsOwn = false
    // Where another thread could change it, it goes nowhere.
    #expect(
      begin(.fcntl, 5, 15, host.structure([0, 2000], size: 8)).refusal() == .invalidArgument)
    let negative = begin(.fcntl, 5, 15, host.structure([1, -5], size: 8))
    #expect(negative.refusal() == .noSuchProcess)
    let strange = begin(.fcntl, 5, 15, host.structure([7, 3], size: 8))
    #expect(strange.refusal() == .invalidArgument)
    let unknown = begin(.fcntl, 5, 15, host.structure([1, 3000], size: 8))
    #expect(unknown.refusal() == .noSuchProcess)

    let owner = host.structure([1, 3000], size: 8)
    let show = begin(.fcntl, 5, 16, owner)
    #expect(show.isPerformed())
    #expect(show.leave(.success(0)) == .success(0))
    #expect(host[owner, 1] == 3)

    let group = host.structure([-2], size: 4)
    let socket = begin(.ioctl, 5, 0x8902, group)
    #expect(socket.isPerformed())
    #expect(socket.physicalCall == .fcntl)
    #expect(socket.physicalArguments[1] == 8)
    #expect(socket.physicalArguments.int(2) == -2000)
    host[group, 0] = -2000
    let shown = begin(.ioctl, 5, 0x8904, group)
    #expect(shown.isPerformed())
    #expect(shown.leave(.success(0)) == .success(0))
    #expect(host[group, 0] == -2)
  }

  @Test("lock holders: a name, 0 outside, −1 for an open file, untouched without a conflict")
  func lockHolders() {
    for (kind, holder, shown): (Int32, Int32, Int32) in [
      (1, 3000, 3), (0, 4711, 0), (1, -1, -1), (2, 77, 77), (2, 3000, 3000),
    ] {
      let lock = host.structure([kind, 0, 0, 0, 0, 0, holder], size: 32)
      let transaction = begin(.fcntl, 5, 5, lock)
      #expect(transaction.isPerformed())
      #expect(transaction.leave(.success(0)) == .success(0))
      #expect(host[lock, 6] == shown)
    }
  }

  @Test(
    "a signal by descriptor goes by number, to the pod only, from the sender as the kernel knows it"
  )
  func signalByHandle() {
    let info = host.structure([10, 0, -1, 0, 2], size: 128)
    host.handles = [7: 3000, 8: 4711]
    let transaction = begin(.pidfd_send_signal, 7, 10, info, 0)
    #expect(transaction.isPerformed())
    #expect(transaction.physicalCall == .rt_sigqueueinfo)
    #expect(transaction.physicalArguments.int(0) == 3000)
    #expect(host[transaction.physicalArguments[2], 4] == 2000)
    #expect(host[info, 4] == 2)
    let plain = begin(.pidfd_send_signal, 7, 10, 0, 0)
    #expect(plain.isPerformed())
    #expect(plain.physicalCall == .kill && plain.physicalArguments.int(0) == 3000)
    let group = begin(.pidfd_send_signal, 7, 10, 0, 4)
    #expect(group.isPerformed())
    #expect(group.physicalCall == .kill && group.physicalArguments.int(0) == -3000)
    #expect(begin(.pidfd_send_signal, 7, 12, info, 0).refusal() == .invalidArgument)
    #expect(begin(.pidfd_send_signal, 7, 10, 0, 3).refusal() == .invalidArgument)
    #expect(begin(.pidfd_send_signal, 6, 10, 0, 0).refusal() == .badFileDescriptor)
    #expect(begin(.pidfd_send_signal, 8, 10, 0, 0).refusal() == .notPermitted)
  }

  @Test("changes of credentials are reported, and reset the dumpable flag unless it was taken away")
  func credentials() {
    for (flag, left): (Int32?, Int32?) in [(1, nil), (0, 0), (nil, nil)] {
      (host.dumpable, host.changes) = (flag, 0)
      let failed = begin(.setresuid, 1, 1, 1)
      #expect(failed.isPerformed())
      _ = failed.leave(.failure(.notPermitted))
      #expect(host.changes == 0 && host.dumpable == flag)
      let transaction = begin(.setresuid, 1, 1, 1)
      #expect(transaction.isPerformed())
      #expect(transaction.leave(.success(0)) == .success(0))
      #expect(host.changes == 1 && host.dumpable == left)
    }
  }

  @Test("a user's processes are those in the pod, init excepted, each by its own number")
  func users() {
    host.users = [1000: 5, 2000: 5, 3000: 6]
    host.answers = [.getpriority: 21, .ioprio_get: 4]
    func asked(_ call: Syscall, _ which: UInt64, _ user: UInt64) -> [UInt64]? {
      host.performed = []
      guard case .success? = begin(call, which, user, 7).answer() else { return nil }
      #expect(host.performed.allSatisfy { $0.call == call && $0.arguments.c == 7 })
      #expect(host.performed.allSatisfy { $0.arguments.a == which - 2 })
      return host.performed.map(\.arguments.b)
    }
    #expect(asked(.getpriority, 2, 0) == [2000])
    #expect(asked(.setpriority, 2, 5) == [2000])
    #expect(asked(.setpriority, 2, 6) == [3000])
    #expect(asked(.setpriority, 2, 7) == nil)
    #expect(begin(.getpriority, 2, 4711).refusal() == .noSuchProcess)
    host.users = [2000: 5, 3000: 5]
    #expect(asked(.setpriority, 2, 0).map { Set($0) } == [2000, 3000])
    // ioprio's constants are one higher.
    host.performed = []
    #expect(begin(.ioprio_get, 3, 0).answer() == .success(4))
    #expect(Set(host.performed.map(\.arguments.b)) == [2000, 3000])
    #expect(host.performed.allSatisfy { $0.arguments.a == 1 })
    host.performed = []
    // ioprio_set's 0 is user 0.
    #expect(begin(.ioprio_set, 3, 0, 7).refusal() == .noSuchProcess)
    #expect(begin(.ioprio_set, 3, 5, 7).answer() == .success(0))
    #expect(Set(host.performed.map(\.arguments.b)) == [2000, 3000])
  }

  @Test("whom a descriptor names: in the pod's names, and nobody outside")
  func handleInfo() {
    func request(_ size: UInt64) -> UInt64 { 3 << 30 | size << 16 | 0xFF0B }
    host.handles = [7: 3000, 8: 4711]
    let info = host.structure([1], size: 160)
    for index in 2..<40 { host[info, index] = 77 }
    let transaction = begin(.ioctl, 7, request(64), info)
    #expect(transaction.isPerformed())
    let copy = transaction.physicalArguments[2]
    #expect(copy != info && host[copy, 0] == 1)
    (host[copy, 4], host[copy, 5], host[copy, 6]) = (3000, 3000, 2000)
    #expect(host[info, 4] == 77)
    #expect(transaction.leave(.success(0)) == .success(0))
    #expect((4...6).map { host[info, $0] } == [3, 3, 2])
    #expect(host[info, 16] == 77)
    // A parent outside is 0; a process outside isn't shown, if the descriptor changed on the way.
    for (words, shown): ([Int32], Int32?) in [([3000, 3000, 4711], 0), ([4711, 4711, 1], nil)] {
      host[info, 6] = 77
      let transaction = begin(.ioctl, 7, request(64), info)
      #expect(transaction.isPerformed())
      for (index, word) in words.enumerated() {
        host[transaction.physicalArguments[2], 4 + index] = word
      }
      let result: CallResult = shown == nil ? .failure(.noSuchProcess) : .success(0)
      #expect(transaction.leave(.success(0)) == result)
      #expect(host[info, 6] == shown ?? 77)
    }
    // More than is known of: the rest is zero.
    let large = begin(.ioctl, 7, request(160), info)
    #expect(large.isPerformed())
    #expect(large.physicalArguments[1] == request(128))
    #expect(large.leave(.failure(.invalidArgument)) == .failure(.invalidArgument))
    #expect(host[info, 39] == 77)
    let again = begin(.ioctl, 7, request(160), info)
    #expect(again.isPerformed())
    #expect(again.leave(.success(0)) == .failure(.noSuchProcess))
    host[info, 0] = 0
    let empty = begin(.ioctl, 7, request(160), info)
    #expect(empty.isPerformed())
    #expect(empty.leave(.success(0)) == .success(0))
    #expect(host[info, 39] == 0)
    host[info, 0] = 1
    // Too small, of no process, of one outside.
    let small = begin(.ioctl, 7, request(63), info)
    #expect(small.isPerformed())
    #expect(small.physicalArguments == small.arguments)
    #expect(begin(.ioctl, 5, request(64), info).isPerformed())
    #expect(begin(.ioctl, 8, request(64), info).refusal() == .noSuchProcess)
    #expect(begin(.ioctl, 7, request(64), 0x10).refusal() == .badAddress)
    #expect(begin(.ioctl, 7, 0xFF05, 0).isPerformed())
    #expect(begin(.ioctl, 8, 0xFF05, 0).refusal() == .noSuchProcess)
    #expect(begin(.ioctl, 5, 0xFF05, 0).isPerformed())
  }

  @Test("what others have is reached through descriptors of the pod's processes only")
  func reachThroughHandles() {
    host.handles = [7: 3000, 8: 4711, 9: 1000]
    for call: Syscall in [.process_madvise, .process_mrelease] {
      #expect(begin(call, 7, 3, 0).isPerformed())
      #expect(begin(call, 8, 3, 0).refusal() == .notPermitted)
      // Not from the pod's init.
      #expect(begin(call, 9, 3, 0).refusal() == .notPermitted)
      #expect(begin(call, 5, 3, 0).refusal() == .badFileDescriptor)
      #expect(begin(call, word(-20_000), 3, 0).isPerformed())
    }
    #expect(begin(.pidfd_getfd, 7, 3, 0).refusal() == .notPermitted)
  }

  @Test("a process that has ended can be opened until it was waited for")
  func openZombie() throws {
    names.processes.exited(PhysicalName<ProcessID>(rawValue: 3000))
    host.handles = [9: 3000]
    let transaction = begin(.pidfd_open, 3, 0)
    #expect(transaction.isPerformed())
    #expect(transaction.physicalArguments.int(0) == 3000)
    #expect(transaction.leave(.success(9)) == .success(9))
    let late = begin(.pidfd_open, 3, 0)
    #expect(late.isPerformed())
    names.processes.reaped(VirtualName(rawValue: 3))
    #expect(late.leave(.success(9)) == .failure(.noSuchProcess))
    #expect(host.performed.map(\.call) == [.close])
    #expect(begin(.pidfd_open, 3, 0).refusal() == .noSuchProcess)
    // A thread by the number in its control block, a process not.
    #expect(begin(.pidfd_open, 2000, 0x80).isPerformed())
    #expect(begin(.pidfd_open, 2000, 0).refusal() == .noSuchProcess)
  }

  @Test(
    "a sender arrives as it was sent",
    arguments: [
      (-1, 3, 3000), (0, 3, 3000), (-6, 2, 2000), (-3, 1, 1000), (-1, 0, 0), (-1, -7, -7),
      (-1, 9, 9 | 1 << 30), (-1, 3000, 3000 | 1 << 30), (-1, 1 << 22, 1 << 22), (-2, 3, 3),
      (-60, 3, 3), (1, 3, 3), (-4, 3000, 3000),
    ] as [(Int32, Int32, Int32)])
  func payload(code: Int32, sender: Int32, physical: Int32) {
    let info = host.structure([10, 0, code, 0, sender], size: 128)
    let transaction = begin(.rt_sigqueueinfo, 3, 10, info)
    #expect(transaction.isPerformed())
    let copy = transaction.physicalArguments[2]
    #expect(host[copy, 4] == physical)
    let receive = begin(.rt_sigtimedwait, 0, copy, 0, 8)
    #expect(receive.isPerformed())
    #expect(receive.leave(.success(10)) == .success(10))
    #expect(host[copy, 4] == sender)
  }

  @Test("the count of processes is the pod's")
  func systemInformation() {
    let info = host.structure([Int32](repeating: -1, count: 28), size: 112)
    let transaction = begin(.sysinfo, info)
    #expect(transaction.isPerformed())
    #expect(transaction.leave(.success(0)) == .success(0))
    #expect(UInt32(bitPattern: host[info, 20]) == 0xFFFF_0003)
  }

  @Test("priorities name threads and groups")
  func priorities() {
    let process = begin(.setpriority, 0, 3, 5)
    #expect(process.isPerformed())
    #expect(process.physicalArguments[1] == 3000)
    let group = begin(.ioprio_set, 2, 2, 5)
    #expect(group.isPerformed())
    #expect(group.physicalArguments[1] == 2000)
    let own = begin(.getpriority, 1, 0)
    #expect(own.isPerformed())
    #expect(own.physicalArguments[1] == 0)
    let foreign = begin(.setpriority, 0, 3000, 5)
    #expect(foreign.refusal() == .noSuchProcess)
    let tracer = begin(.prctl, 0x5961_6D61, UInt64.max)
    #expect(tracer.isPerformed())
    #expect(tracer.physicalArguments == tracer.arguments)
  }
}
