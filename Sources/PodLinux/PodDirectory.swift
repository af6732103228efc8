internal import CLinux
internal import CPodVDSO
internal import Glibc
package import PodCore
internal import Synchronization
package import SystemPackage

/// The directories in which a pod's POSIX shared memory and named semaphores lie, and what is noted for the pod's end.
///
/// They are in the host's `/dev/shm`, so that files there are what they are natively. Outermost is `.pod-` with 8 digits,
/// which anybody finds and only the host program's user can list; in it are directories with names that nobody outside
/// the pod guesses:
/// - `s…`: the pod's `/dev/shm`, as open to its users as the host's;
/// - `q…`: an empty file for each message queue, whose names the kernel keeps behind `.pod-` with the same digits;
/// - `v…`: the pod's `/proc/sysvipc`.
///
/// The host program keeps the outermost one locked. When it was killed, whoever makes the next pod for the same user
/// removes what it left, and nothing of one that lives.
///
/// Source: shm_overview(7), flock(2).
package final class PodDirectory: PodPlaces {
  private static let parent = "/dev/shm"
  private static let beginning = ".pod-"

  /// The outermost one, once it is there.
  private final class Outer: Sendable {
    let name: String
    let number: UInt32
    let descriptor: OwnedDescriptor

    init(_ name: String, _ number: UInt32, _ descriptor: consuming OwnedDescriptor) {
      (self.name, self.number) = (name, number)
      self.descriptor = descriptor
    }
  }

  private struct State: Sendable {
    var outer: Outer?
    var isRemoved = false
  }

  private let secretNumber: UInt64
  private let secret: String
  private let state = Mutex(State())
  private let isMounted = Atomic(false)
  package let queuePrefix: [UInt8]

  /// Prepares a new pod's directories, which are made when they are first used, and removes what killed host programs of
  /// this user have left.
  ///
  /// - Throws: What would keep it from making them: `.noSuchFileOrDirectory` where there is no `/dev/shm`,
  ///   `.permissionDenied`, `.readOnlyFileSystem`.
  package static func make() throws(Errno) -> PodDirectory {
    removeAbandoned()
    try check(faccessat(AT_FDCWD, parent, W_OK | X_OK, AT_EACCESS))
    return PodDirectory()
  }

  private init() {
    var generator = SystemRandomNumberGenerator()
    secretNumber = generator.next()
    secret = Self.digits(secretNumber, 16)
    queuePrefix = Array("\(Self.beginning)\(secret).".utf8)
  }

  /// The directories, made if they aren't there yet.
  private func made() throws(Errno) -> Outer {
    let result = state.withLock { state in
      Result { () throws(Errno) -> Outer in
        if state.isRemoved { throw .noSuchFileOrDirectory }
        if let outer = state.outer { return outer }
        let outer = try makeOuter()
        state.outer = outer
        return outer
      }
    }
    return try result.get()
  }

  private func makeOuter() throws(Errno) -> Outer {
    // A name is taken, or was found before it was locked, once in a thousand years; but others may look for some.
    for _ in 0..<16 {
      do throws(Errno) {
        return try tryOuter()
      } catch .fileExists {
      } catch .resourceTemporarilyUnavailable {}
    }
    throw .fileExists
  }

  private func tryOuter() throws(Errno) -> Outer {
    var generator = SystemRandomNumberGenerator()
    let number: UInt32 = generator.next()
    let name = Self.beginning + Self.digits(UInt64(number), 8)
    let path = "\(Self.parent)/\(name)"
    try Self.check(mkdir(path, 0o700))
    let descriptor = OwnedDescriptor(
      owning: CLinux_open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0))
    // Whoever clears away found it first: then it is gone, or about to be.
    if descriptor.rawValue == -ENOENT { throw .resourceTemporarilyUnavailable }
    if descriptor.rawValue < 0 { throw Errno(rawValue: -descriptor.rawValue) }
    guard flock(descriptor.rawValue, LOCK_EX | LOCK_NB) == 0, Self.isAt(path, descriptor.rawValue)
    else { throw .resourceTemporarilyUnavailable }
    do throws(Errno) {
      for (kind, mode) in [("s", 0o1777), ("q", 0o755), ("v", 0o755)] as [(String, mode_t)] {
        try Self.check(mkdirat(descriptor.rawValue, kind + secret, 0o700))
        // The mask of the host program doesn't count here.
        try Self.check(fchmodat(descriptor.rawValue, kind + secret, mode, 0))
      }
      try Self.check(fchmod(descriptor.rawValue, 0o711))
    } catch {
      Self.empty(descriptor.rawValue)
      _ = rmdir(path)
      throw error
    }
    return Outer(name, number, descriptor)
  }

  deinit { remove() }

  /// Removes the directories with all that is in them, and the queues. Idempotent. Nobody of the pod is alive any more.
  package func remove() {
    let outer = state.withLock { state in
      state.isRemoved = true
      return state.outer.take()
    }
    guard let outer else { return }
    Self.empty(outer.descriptor.rawValue)
    _ = rmdir("\(Self.parent)/\(outer.name)")
  }

  /// One of the directories; a path that leads nowhere when it can't be made.
  private func path(_ kind: String) -> [UInt8] {
    let name = (try? made())?.name ?? "\(Self.beginning)none"
    return Array("\(Self.parent)/\(name)/\(kind)\(secret)".utf8)
  }

  /// Has a pod's init, which has no descendants yet, see the directories where programs look for them.
  ///
  /// - Parameters:
  ///   - podInit: The pod's.
  ///   - hasTables: Whether there are tables of System V objects to be shown.
  ///   - asUser: Whether init takes a user namespace for it. After a failure it may be in one, with ids that aren't its own.
  /// - Throws: What keeps it from that; `.notPermitted` where the kernel lets it mount nothing.
  package func mount(
    in podInit: PodInit, hasTables: Bool, asUser: Bool = false
  ) throws(Errno) {
    let user = asUser ? UInt32(POD_VIEW_USER) : 0
    _ = try mount(in: podInit, user | (hasTables ? UInt32(POD_VIEW_TABLES) : 0))
  }

  /// The same with an IPC namespace, for all that init will have for descendants: their System V objects and POSIX queues are
  /// the kernel's own. After a failure, init may be in one all the same; then ``mount(in:hasTables:asUser:)`` may be tried.
  ///
  /// - Parameters:
  ///   - podInit: The pod's.
  ///   - asUser: As with ``mount(in:hasTables:asUser:)``.
  ///   - meanwhile: What the host program does while init does its part.
  /// - Throws: What keeps it from that; `.notPermitted` where the kernel lets it have none, `.noSpace` when there are as many
  ///   as `user.max_ipc_namespaces` allows, `.invalidArgument` where the kernel has none.
  package func mountWithObjects(
    in podInit: PodInit, asUser: Bool = false, meanwhile: () -> Void = {}
  ) throws(Errno) -> ObjectNamespace {
    let user = asUser ? UInt32(POD_VIEW_USER) : 0
    let namespace = try mount(
      in: podInit, user | UInt32(POD_VIEW_TABLES | POD_VIEW_OBJECTS), meanwhile: meanwhile)
    guard let namespace else { throw .invalidArgument }
    return namespace
  }

  private func mount(
    in podInit: PodInit, _ what: UInt32, meanwhile: () -> Void = {}
  ) throws(Errno) -> ObjectNamespace? {
    let queues = Self.hasQueues ? UInt32(POD_VIEW_QUEUES) : 0
    // Who may mount nothing needs no directory for it.
    let namespace = try podInit.show(
      outer: try made().number, secret: secretNumber, which: what | queues, meanwhile: meanwhile)
    isMounted.store(true, ordering: .relaxed)
    return namespace
  }

  // MARK: PodPlaces

  package var isShownByKernel: Bool { isMounted.load(ordering: .relaxed) }
  package var sharedMemory: [UInt8] {
    isShownByKernel ? Array(Self.parent.utf8) : path("s")
  }
  package var queueList: [UInt8]? {
    guard Self.hasQueues else { return nil }
    return isShownByKernel ? Array("/dev/mqueue".utf8) : path("q")
  }
  package var systemVTables: [UInt8] {
    isShownByKernel ? Array("/proc/sysvipc".utf8) : path("v")
  }

  package func list(queue: [UInt8]) throws(Errno) {
    let outer = try made().descriptor.rawValue
    let descriptor = Self.withPath("q\(secret)/", queue) {
      openat(outer, $0, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o444)
    }
    try Self.check(descriptor)
    close(descriptor)
  }

  package func unlist(queue: [UInt8]) {
    guard let outer = state.withLock({ $0.outer }) else { return }
    _ = Self.withPath("q\(secret)/", queue) { unlinkat(outer.descriptor.rawValue, $0, 0) }
  }

  package func has(object: [UInt8]) -> Bool {
    guard let outer = state.withLock({ $0.outer }) else { return false }
    return Self.withPath("s\(secret)/", object) {
      faccessat(outer.descriptor.rawValue, $0, F_OK, AT_SYMLINK_NOFOLLOW) == 0
    }
  }

  package func hostHas(object: [UInt8]) -> Bool? {
    var status = stat()
    let result = Self.withPath("\(Self.parent)/", object) { lstat($0, &status) }
    if result != 0 { return false }
    return status.st_mode & S_IFMT == S_IFREG ? true : nil
  }

  package func show(_ table: PathViews.SystemVTable, _ text: [UInt8]) throws(Errno) {
    let outer = try made()
    let new = "v\(secret)/.\(Self.digits(SystemRandomNumberGenerator().random(), 16))"
    let descriptor = openat(
      outer.descriptor.rawValue, new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
    try Self.check(descriptor)
    defer { close(descriptor) }
    do throws(Errno) {
      var done = 0
      while done < text.count {
        let count = text[done...].withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        try Self.check(Int32(clamping: count))
        done += count
      }
      try Self.check(fchmod(descriptor, 0o444))
      // Who has the former one open goes on reading that.
      try Self.check(
        renameat(
          outer.descriptor.rawValue, new, outer.descriptor.rawValue, "v\(secret)/\(table.rawValue)")
      )
    } catch {
      unlinkat(outer.descriptor.rawValue, new, 0)
      throw error
    }
  }

  // MARK: Clearing away

  /// Removes the directories of this user whose host programs are gone.
  private static func removeAbandoned() {
    guard let parent = opendir(parent) else { return }
    defer { closedir(parent) }
    let names = entries(of: parent).filter { $0.starts(with: beginning.utf8) }
    for name in names {
      let found = withPath("\(Self.parent)/", name) {
        CLinux_open($0, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0)
      }
      if found < 0 { continue }
      let outer = OwnedDescriptor(owning: found)
      var status = stat()
      guard fstat(outer.rawValue, &status) == 0, status.st_uid == geteuid(),
        flock(outer.rawValue, LOCK_EX | LOCK_NB) == 0
      else { continue }
      empty(outer.rawValue, within: .milliseconds(500))
      _ = withPath("\(Self.parent)/", name) { rmdir($0) }
    }
  }

  /// Removes all in an outermost directory.
  ///
  /// However deep a program has nested its directories, they are taken to the top one by one: no path gets too long, and
  /// no more than two of them are open at once. What can't be removed, since another user of the pod's has it, stays.
  ///
  /// - Parameter time: After which nothing more is begun: somebody else may go on making files there. Who makes the next pod
  ///   finds the rest.
  private static func empty(_ outer: Int32, within time: Duration = .seconds(10)) {
    let begin = ContinuousClock.now
    var number = 0
    var isProgress = true
    while isProgress, begin.duration(to: .now) < time {
      isProgress = false
      for name in names(in: outer) {
        if remove(name, in: outer) {
          isProgress = true
          continue
        }
        let inner = withPath("", name) {
          openat(outer, $0, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        }
        if inner < 0 { continue }
        let directory = OwnedDescriptor(owning: inner)
        let isQueues = name.first == UInt8(ascii: "q")
        let prefix = Array(beginning.utf8) + name.dropFirst() + [UInt8(ascii: ".")]
        for entry in names(in: directory.rawValue) {
          if isQueues { removeQueue(PosixQueue.kernelName(of: entry, prefix: prefix)) }
          if remove(entry, in: directory.rawValue) { continue }
          number += 1
          let isMoved = withPath("", entry) {
            renameat(directory.rawValue, $0, outer, "d\(number)") == 0
          }
          if isMoved { isProgress = true }
        }
        if remove(name, in: outer) { isProgress = true }
      }
    }
  }

  /// Removes a file or an empty directory; another directory is made accessible to its owner.
  private static func remove(_ name: [UInt8], in directory: Int32) -> Bool {
    withPath("", name) { path in
      if unlinkat(directory, path, 0) == 0 || unlinkat(directory, path, AT_REMOVEDIR) == 0 {
        return true
      }
      _ = fchmodat(directory, path, 0o700, 0)
      return false
    }
  }

  private static func removeQueue(_ name: [UInt8]) {
    _ = withPath("", name) { path in
      CLinux_syscall(
        Int(Syscall.mq_unlink.rawValue), UInt64(UInt(bitPattern: path)), 0, 0, 0, 0, 0)
    }
  }

  private static func names(in directory: Int32) -> [[UInt8]] {
    // Another open file, which begins at the beginning.
    let other = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if other < 0 { return [] }
    guard let stream = fdopendir(other) else {
      close(other)
      return []
    }
    defer { closedir(stream) }
    return entries(of: stream)
  }

  private static func entries(of stream: OpaquePointer) -> [[UInt8]] {
    var names: [[UInt8]] = []
    while let entry = readdir(stream) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        Array(bytes.prefix { $0 != 0 })
      }
      if name != [UInt8(ascii: ".")], name != Array("..".utf8) { names.append(name) }
    }
    return names
  }

  private static func isAt(_ path: String, _ descriptor: Int32) -> Bool {
    var (there, here) = (stat(), stat())
    return lstat(path, &there) == 0 && fstat(descriptor, &here) == 0
      && (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
  }

  /// Whether the host has a directory of queues. Source: ipc/mqueue.c, `MQUEUE_MAGIC`.
  private static var hasQueues: Bool {
    CLinux_file_system("/dev/mqueue") == 0x1980_0202
  }

  private static func digits(_ number: UInt64, _ count: Int) -> String {
    let text = String(number, radix: 16)
    return String(repeating: "0", count: max(0, count - text.count)) + text
  }

  private static func withPath<T>(
    _ start: String, _ name: [UInt8], _ body: (UnsafePointer<CChar>) -> T
  ) -> T {
    let path = start.utf8.map { CChar(bitPattern: $0) } + name.map { CChar(bitPattern: $0) } + [0]
    return path.withUnsafeBufferPointer { buffer in
      // Never empty: it ends with the NUL.
      buffer.baseAddress.map(body) ?? body("")
    }
  }

  private static func check(_ result: Int32) throws(Errno) {
    if result < 0 { throw Errno(rawValue: errno) }
  }
}

extension SystemRandomNumberGenerator {
  fileprivate func random() -> UInt64 {
    var generator = self
    return generator.next()
  }
}

extension PodSetup {
  /// Gives the pod directories of its own for POSIX IPC, where programs look for them if the kernel lets init mount them
  /// there, and decides who has its System V objects. Where no directories can be made, it says so, and the pod sees the
  /// host's.
  ///
  /// - Throws: `.objectsUnavailable` when the kernel is to have the objects and can't, or the pod a user namespace. Init is the caller's to end.
  package func makeDirectory(for podInit: PodInit) throws(PodError) -> PodDirectory? {
    names.emulateObjects()
    let asUser = KernelObjects.takesUserNamespace(configuration)
    let directory: PodDirectory
    do throws(Errno) {
      directory = try PodDirectory.make()
    } catch {
      if configuration.systemV == .kernel || asUser {
        throw KernelObjects.lacking("no directory can be made in /dev/shm", error)
      }
      degraded(
        "POSIX shared memory, named semaphores and message queues are the host's: no directory can be made in "
          + "/dev/shm: \(error)")
      return nil
    }
    names.paths.places = directory
    if let obstacle = KernelObjects.obstacle(for: configuration) {
      if configuration.systemV == .kernel { throw KernelObjects.lacking(obstacle) }
    } else {
      do throws(Errno) {
        let namespace = try directory.mountWithObjects(in: podInit, asUser: asUser) {
          names.expectKernelObjects()
        }
        names.leaveObjectsToKernel { namespace.rows($0) }
        if let error = namespace.limitFailure {
          degraded("limits of System V objects and POSIX queues aren't the host's: \(error)")
        }
        return directory
      } catch {
        if asUser { throw KernelObjects.lackingUser(error) }
        let reason = KernelObjects.explanation(of: error)
        if configuration.systemV == .kernel { throw KernelObjects.lacking(reason, error) }
        degraded("System V objects are emulated: \(reason): \(error)")
      }
    }
    if KernelObjects.mayMount(configuration) {
      do throws(Errno) {
        try directory.mount(
          in: podInit, hasTables: names.paths.systemVTables != nil, asUser: asUser)
      } catch {
        if asUser { throw KernelObjects.lackingUser(error) }
      }
    }
    return directory
  }
}
