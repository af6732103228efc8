import PodCore
import Synchronization
import SystemPackage
import Testing

/// A pod's places without files, and the memory of a caller without a kernel.
private final class Host: TransactionHost, CallerState, PodPlaces {
  private static let base: UInt64 = 0x1000
  private let memory = Mutex([UInt8](repeating: 0, count: 16_384))
  private let end = Mutex(0)
  let objects = Mutex<Set<String>>([])
  let hosts = Mutex<Set<String>>([])
  let queues = Mutex<Set<String>>([])
  let shown = Mutex<[String: String]>([:])

  let isShownByKernel: Bool
  let sharedMemory = Array("/private/s".utf8)
  let queueList: [UInt8]? = nil
  let systemVTables = Array("/private/v".utf8)
  let queuePrefix = Array(".pod.".utf8)

  init(isShownByKernel: Bool = false) { self.isShownByKernel = isShownByKernel }

  // MARK: Places

  private func name(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
  func list(queue: [UInt8]) throws(Errno) { queues.withLock { _ = $0.insert(name(queue)) } }
  func unlist(queue: [UInt8]) { queues.withLock { _ = $0.remove(name(queue)) } }
  func has(object: [UInt8]) -> Bool { objects.withLock { $0.contains(name(object)) } }
  func hostHas(object: [UInt8]) -> Bool? { hosts.withLock { $0.contains(name(object)) } }
  func show(_ table: PathViews.SystemVTable, _ text: [UInt8]) throws(Errno) {
    shown.withLock { $0[table.rawValue] = name(text) }
  }

  // MARK: Caller

  var threadPointer: RemoteAddress? { nil }
  var dumpable: Int32? {
    get { nil }
    set {}
  }
  var callerState: any CallerState { self }
  func willRun(_ step: Step, on name: Int32) -> Bool { true }
  func perform(
    _ call: Syscall, _ arguments: CallArguments, for caller: Caller
  ) throws(Errno) -> Int { 0 }
  func compareExchange(
    _ address: RemoteAddress, expected: UInt32, desired: UInt32
  ) throws(Errno) -> Bool { false }
  func directory(_ descriptor: Int32?) -> [UInt8]? {
    Array((descriptor == nil ? "/dev" : "/dev/shm").utf8)
  }

  private func offset(_ address: RemoteAddress, _ count: Int) throws(Errno) -> Int {
    guard address.rawValue >= Self.base, address.rawValue - Self.base <= UInt64(16_384 - count)
    else { throw .badAddress }
    return Int(address.rawValue - Self.base)
  }
  func read(_ address: RemoteAddress, into buffer: UnsafeMutableRawBufferPointer) throws(Errno) {
    let start = try offset(address, buffer.count)
    memory.withLock { buffer.copyBytes(from: $0[start..<(start + buffer.count)]) }
  }
  func write(_ bytes: UnsafeRawBufferPointer, to address: RemoteAddress) throws(Errno) {
    let start = try offset(address, bytes.count)
    let copy = Array(bytes)
    memory.withLock { $0.replaceSubrange(start..<(start + copy.count), with: copy) }
  }
  func scratch(_ bytes: UnsafeRawBufferPointer) throws(Errno) -> RemoteAddress {
    let start = end.withLock { end in
      defer { end += bytes.count }
      return end
    }
    let address = RemoteAddress(rawValue: Self.base + UInt64(start))
    try write(bytes, to: address)
    return address
  }
  func string(_ text: String) -> UInt64 {
    let bytes = Array(text.utf8) + [0]
    let address = bytes.withUnsafeBytes { bytes in
      Result { () throws(Errno) in try scratch(bytes) }
    }
    return (try? address.get().rawValue) ?? 0
  }
  func string(at address: UInt64) -> String {
    memory.withLock { memory in
      let start = Int(address - Self.base)
      return String(decoding: memory[start...].prefix { $0 != 0 }, as: UTF8.self)
    }
  }
}

@Suite("Rows with paths and names of objects")
struct PathRowTests {
  private let names: PodNames
  private let host: Host
  private let caller = Caller(
    thread: .init(rawValue: 2), process: .init(rawValue: 2),
    physicalThread: .init(rawValue: 2000))

  init() {
    names = PodNames(pod: PodID(rawValue: 1), system: SystemNames(), capacity: 64)
    host = Host()
    names.paths.places = host
  }

  /// What the kernel gets as the arguments that are strings; nil when it isn't asked.
  private func kernel(
    _ call: Syscall, _ arguments: [Any], strings: [Int]? = nil, names: PodNames? = nil,
    result: CallResult = .success(0)
  ) -> [String]? {
    var words = CallArguments()
    var indices: [Int] = []
    for (index, argument) in arguments.enumerated() {
      if let text = argument as? String {
        words[index] = host.string(text)
        indices.append(index)
      } else if let number = argument as? Int {
        words[index] = UInt64(bitPattern: Int64(number))
      }
    }
    var transaction = Transaction(
      call, words, by: caller, names: names ?? self.names, host: host)
    guard case .perform = transaction.enter() else { return nil }
    let physical = transaction.physicalArguments
    _ = transaction.leave(result)
    return indices.map { host.string(at: physical[$0]) }
  }

  private let create = 0o100
  private let exclusive = 0o200
  private let noFollow = 0o400000
  private let here = -100

  @Test(
    "objects are the pod's, and files are where programs have made them",
    arguments: [
      Syscall.unlink, .unlinkat,
    ])
  func objects(remove: Syscall) {
    func removed(_ name: String) -> [String]? {
      kernel(remove, remove == .unlink ? [name] : [here, name, 0])
    }
    host.hosts.withLock { $0 = ["theirs"] }
    #expect(kernel(.open, ["/dev/shm/a", create | noFollow]) == ["/private/s/a"])
    #expect(kernel(.openat, [here, "/dev/shm/a", noFollow]) == ["/private/s/a"])
    #expect(kernel(.open, ["/dev/shm/theirs", noFollow]) == ["/private/s/theirs"])
    #expect(removed("/dev/shm/theirs") == ["/private/s/theirs"])
    // A file, until it is removed.
    #expect(kernel(.open, ["/dev/shm/file", create]) == ["/dev/shm/file"])
    #expect(kernel(.open, ["/dev/shm/file", noFollow]) == ["/dev/shm/file"])
    #expect(removed("/dev/shm/file") == ["/dev/shm/file"])
    #expect(removed("/dev/shm/file") == ["/private/s/file"])
    for (call, index) in [(Syscall.creat, 0), (.mknod, 0), (.mknodat, 1)] {
      let path = "/dev/shm/made-by-\(call.name)"
      let arguments: [Any] = index == 0 ? [path, 0o600] : [here, path, 0o600]
      #expect(kernel(call, arguments) == [path])
      #expect(removed(path) == [path])
    }
    // One of the host's doesn't become the pod's by being opened so.
    #expect(kernel(.openat, [here, "/dev/shm/theirs", create]) == ["/dev/shm/theirs"])
    #expect(removed("/dev/shm/theirs") == ["/private/s/theirs"])
    // Elsewhere, or below a directory, are no objects.
    for path in ["/dev/shm/d/a", "/dev/shm/", "/dev/shm/..", "/tmp/a", "a", "/dev/shmx"] {
      #expect(kernel(.open, [path, create | noFollow]) == [path])
      #expect(removed(path) == [path])
    }
    #expect(kernel(.access, ["/dev/shm/a", 0]) == ["/private/s/a"])
    #expect(names.boundary.row(for: .access, CallArguments(0, 4))?.isInterposed == false)
    #expect(names.boundary.row(for: .unlinkat, CallArguments(0, 0, 0x200))?.isInterposed == false)
  }

  @Test("a semaphore gets its name by a link", arguments: [Syscall.link, .linkat])
  func semaphores(link: Syscall) {
    func linked(_ old: String, _ new: String) -> [String]? {
      kernel(link, link == .link ? [old, new] : [here, old, here, new, 0])
    }
    let flags = 2 | create | exclusive
    #expect(kernel(.open, ["/dev/shm/sem.a1B2c3", flags]) == ["/private/s/sem.a1B2c3"])
    host.objects.withLock { $0 = ["sem.a1B2c3", "tmp-77"] }
    #expect(
      linked("/dev/shm/sem.a1B2c3", "/dev/shm/sem.n") == [
        "/private/s/sem.a1B2c3", "/private/s/sem.n",
      ])
    // musl has no "sem."; older versions of glibc have none for the first name.
    #expect(linked("/dev/shm/tmp-77", "/dev/shm/n") == ["/private/s/tmp-77", "/private/s/n"])
    #expect(kernel(.open, ["/dev/shm/XyZ123", flags]) == ["/dev/shm/XyZ123"])
    #expect(linked("/dev/shm/XyZ123", "/dev/shm/sem.o") == ["/dev/shm/XyZ123", "/private/s/sem.o"])
    #expect(linked("/dev/shm/file", "/tmp/other") == ["/dev/shm/file", "/tmp/other"])
  }

  @Test(
    "moved files stay files, and objects objects",
    arguments: [
      Syscall.rename, .renameat, .renameat2,
    ])
  func moves(move: Syscall) {
    func moved(_ old: String, _ new: String) -> [String]? {
      kernel(move, move == .rename ? [old, new] : [here, old, here, new, 0])
    }
    #expect(kernel(.open, ["/dev/shm/file", create]) == ["/dev/shm/file"])
    #expect(moved("/dev/shm/file", "/dev/shm/other") == ["/dev/shm/file", "/dev/shm/other"])
    #expect(kernel(.unlink, ["/dev/shm/other"]) == ["/dev/shm/other"])
    #expect(moved("/tmp/x", "/dev/shm/third") == ["/tmp/x", "/dev/shm/third"])
    #expect(kernel(.unlink, ["/dev/shm/third"]) == ["/dev/shm/third"])
    host.objects.withLock { $0 = ["object"] }
    #expect(moved("/dev/shm/object", "/dev/shm/new") == ["/private/s/object", "/private/s/new"])
    #expect(moved("/dev/shm/theirs", "/tmp/mine") == ["/private/s/theirs", "/tmp/mine"])
  }

  @Test("tables are shown to who opens them to read", arguments: [Syscall.open, .openat])
  func tables(open: Syscall) {
    func opened(_ path: String) -> [String]? {
      kernel(open, open == .open ? [path, 0] : [here, path, 0])
    }
    names.paths.systemVTables = nil
    #expect(opened("/proc/sysvipc/msg") == ["/proc/sysvipc/msg"])
    names.paths.systemVTables = { Array("table of \($0)".utf8) }
    #expect(opened("/proc/sysvipc/msg") == ["/private/v/msg"])
    #expect(host.shown.withLock { $0["msg"] } == "table of msg")
    #expect(opened("/proc/sysvipc/other") == ["/proc/sysvipc/other"])
    #expect(opened("/etc/passwd") == ["/etc/passwd"])
  }

  @Test("queues have the pod's names, and are listed while they are there")
  func queues() {
    func listed() -> Set<String> { host.queues.withLock { $0 } }
    #expect(kernel(.mq_open, ["q", create, 0, 0]) == [".pod.q"])
    #expect(listed() == ["q"])
    #expect(kernel(.mq_open, ["r", 2]) == [".pod.r"])
    #expect(
      kernel(.mq_open, ["bad", create, 0, 0], result: .failure(.invalidArgument)) == [".pod.bad"])
    // The attributes can't be read.
    #expect(kernel(.mq_open, ["bad", create, 0, 8]) == nil)
    #expect(listed() == ["q"])
    #expect(kernel(.mq_unlink, ["q"], result: .failure(.permissionDenied)) == [".pod.q"])
    #expect(listed() == ["q"])
    #expect(kernel(.mq_unlink, ["q"]) == [".pod.q"])
    #expect(listed() == [])
    for wrong in ["", "a/b", ".", "..", "/", String(repeating: "n", count: 256)] {
      #expect(kernel(.mq_open, [wrong, create]) == nil)
      #expect(kernel(.mq_unlink, [wrong]) == nil)
    }
    #expect(listed() == [])
    #expect(kernel(.mq_open, [8, create]) == nil)
  }

  @Test("where the kernel shows the directory, nothing is moved, and no call is looked at")
  func inPlace() {
    names.paths.places = Host(isShownByKernel: true)
    names.paths.systemVTables = nil
    for row in names.boundary.rows where !row.paths.isEmpty {
      #expect(names.paths.isIdle(row), "\(row.call.name) \(row.variant.label)")
    }
    #expect(kernel(.open, ["/dev/shm/a", create | noFollow]) == ["/dev/shm/a"])
    #expect(kernel(.unlink, ["/dev/shm/a"]) == ["/dev/shm/a"])
    // Queues have their names all the same.
    #expect(kernel(.mq_open, ["q", 2]) == [".pod.q"])
    names.paths.systemVTables = { _ in [] }
    let working = names.boundary.rows.filter { !$0.paths.isEmpty && !names.paths.isIdle($0) }
    #expect(Set(working.map(\.variant.label)) == ["O_RDONLY alone"])
  }

  @Test("where all paths are looked at, every call with a path is, and relative ones too")
  func everything() {
    let all = PodNames(
      pod: PodID(rawValue: 2), system: SystemNames(), capacity: 64, boundary: .viewingPaths)
    all.paths.places = host
    for row in PodNames(pod: PodID(rawValue: 3), system: SystemNames(), capacity: 64).boundary.rows
    where !row.paths.isEmpty {
      #expect(all.boundary.rows(for: row.call).count == 1)
      #expect(all.boundary.rows(for: row.call).first?.variant.conditions.isEmpty == true)
    }
    #expect(kernel(.stat, ["/dev/shm/a"], names: all) == ["/private/s/a"])
    #expect(kernel(.openat, [here, "shm/d/a", 0], names: all) == ["/private/s/d/a"])
    #expect(kernel(.openat, [5, "../shm/a", 0], names: all) == ["/private/s/a"])
    #expect(kernel(.rename, ["/dev/shm/a", "/tmp/b"], names: all) == ["/private/s/a", "/tmp/b"])
    #expect(
      kernel(.symlink, ["/dev/shm/a", "/dev/shm/s"], names: all) == ["/dev/shm/a", "/private/s/s"])
    #expect(kernel(.stat, ["/usr/lib"], names: all) == ["/usr/lib"])
    #expect(kernel(.stat, ["/" + String(repeating: "n", count: 4095)], names: all) != nil)
    let long = "/dev/shm/" + String(repeating: "n/", count: 2_043)
    let isRefused = kernel(.stat, [long], names: all) == nil
    #expect(isRefused)
  }
}
