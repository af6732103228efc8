import SystemPackage

/// Paths of files, and what files are known by: owners, handles, inode and device numbers.
public enum PathName {
  static let until = "a pod has a root directory of its own"
  static let paths = "host paths"
  private static let pathsAndOwners = "host paths and user ids"
  private static let identity = "host user ids, inode and device numbers"
  private static let listing = "/proc and /dev/pts are the pod's"
  private static let entries =
    "physical pids and terminals of the host, as names in /proc and /dev/pts"

  /// The rows of paths.
  public static let boundary: [BoundaryRow] = [
    .viewed(
      .open, when: .argument(1, masked: ~largeFile & 0xFFFF_FFFF, is: 0, "O_RDONLY alone"),
      .path(0), by: FollowTables(path: 0), performed: .inCallerBlocking),  // I13
    .viewed(
      .open, when: .argument(1, masked: noFollow | directory, is: noFollow, "O_NOFOLLOW"), .path(0),
      by: FollowObjects(.open(path: 0, flags: 1)), performed: .inCallerBlocking),  // I20
    .viewed(
      .open, when: .argument(1, masked: noFollow | create, is: create, "O_CREAT"), .path(0),
      by: FollowObjects(.open(path: 0, flags: 1)), performed: .inCallerBlocking),  // I20
    .native(.open, until: until, leaks: paths),  // R1
    .viewed(
      .openat, when: .argument(2, masked: ~largeFile & 0xFFFF_FFFF, is: 0, "O_RDONLY alone"),
      .path(1), by: FollowTables(path: 1), performed: .inCallerBlocking),  // I13
    .viewed(
      .openat, when: .argument(2, masked: noFollow | directory, is: noFollow, "O_NOFOLLOW"),
      .path(1), by: FollowObjects(.open(path: 1, flags: 2)), performed: .inCallerBlocking),  // I20
    .viewed(
      .openat, when: .argument(2, masked: noFollow | create, is: create, "O_CREAT"), .path(1),
      by: FollowObjects(.open(path: 1, flags: 2)), performed: .inCallerBlocking),  // I20
    .native(.openat, until: until, leaks: paths),  // R1
    .native(.openat2, until: until, leaks: paths),  // R1
    .viewed(
      .creat, .path(0), by: FollowObjects(.make(path: 0)),
      performed: .inCallerBlocking),  // R1, I20
    .native(.stat, until: until, leaks: pathsAndOwners),  // R1, N8
    .native(.lstat, until: until, leaks: pathsAndOwners),  // R1, N8
    .native(.newfstatat, until: until, leaks: pathsAndOwners),  // R1, N8
    .native(.statx, until: until, leaks: pathsAndOwners),  // R1, N8
    .viewed(
      .access, when: .argument(1, is: 0, "F_OK"), .path(0),
      by: FollowObjects(.look(path: 0))),  // I20
    .native(.access, until: until, leaks: paths),  // R1, N10
    .native(.faccessat, until: until, leaks: paths),  // R1, N10
    .native(.faccessat2, until: until, leaks: paths),  // R1, N10
    .native(.readlink, until: until, leaks: paths),  // R1, F3, F4
    .native(.readlinkat, until: until, leaks: paths),  // R1, F3, F4
    .native(.chdir, until: until, leaks: paths),  // R1
    .native(.fchdir, until: until, leaks: paths),  // R1
    .native(.getcwd, until: until, leaks: paths),  // R1
    .native(.mkdir, until: until, leaks: paths),  // R1
    .native(.mkdirat, until: until, leaks: paths),  // R1
    .native(.rmdir, until: until, leaks: paths),  // R1
    .viewed(.unlink, .path(0), by: FollowObjects(.remove(path: 0))),  // R1, I20
    .viewed(
      .unlinkat, when: .argument(2, masked: removeDirectory, is: 0, "no AT_REMOVEDIR"), .path(1),
      by: FollowObjects(.remove(path: 1))),  // R1, I20
    .native(.unlinkat, until: until, leaks: paths),  // R1
    .viewed(.rename, .path(0), .path(1), by: FollowObjects(.move(from: 0, to: 1))),  // R1, I20
    .viewed(.renameat, .path(1), .path(3), by: FollowObjects(.move(from: 1, to: 3))),  // R1, I20
    .viewed(.renameat2, .path(1), .path(3), by: FollowObjects(.move(from: 1, to: 3))),  // R1, I20
    .viewed(.link, .path(0), .path(1), by: FollowObjects(.link(from: 0, to: 1))),  // R1, I20
    .viewed(.linkat, .path(1), .path(3), by: FollowObjects(.link(from: 1, to: 3))),  // R1, I20
    .native(.symlink, until: until, leaks: paths),  // R1
    .native(.symlinkat, until: until, leaks: paths),  // R1
    .viewed(.mknod, .path(0), by: FollowObjects(.make(path: 0))),  // R1, D3, I20
    .viewed(.mknodat, .path(1), by: FollowObjects(.make(path: 1))),  // R1, D3, I20
    .native(.chmod, until: until, leaks: pathsAndOwners),  // R1, N9
    .native(.fchmodat, until: until, leaks: pathsAndOwners),  // R1, N9
    .native(.fchmodat2, until: until, leaks: pathsAndOwners),  // R1, N9
    .native(.chown, until: until, leaks: pathsAndOwners),  // R1, N9
    .native(.lchown, until: until, leaks: pathsAndOwners),  // R1, N9
    .native(.fchownat, until: until, leaks: pathsAndOwners),  // R1, N9
    .native(.utime, until: until, leaks: paths),  // R1
    .native(.utimes, until: until, leaks: paths),  // R1
    .native(.futimesat, until: until, leaks: paths),  // R1
    .native(.utimensat, until: until, leaks: paths),  // R1
    .native(.truncate, until: until, leaks: paths),  // R1
    .native(.statfs, until: until, leaks: paths),  // R1
    .native(.setxattr, until: until, leaks: pathsAndOwners),  // R1, N19
    .native(.lsetxattr, until: until, leaks: pathsAndOwners),  // R1, N19
    .native(.fsetxattr, until: UserID.until, leaks: UserID.leaks),  // N19
    .native(.getxattr, until: until, leaks: pathsAndOwners),  // R1, N19
    .native(.lgetxattr, until: until, leaks: pathsAndOwners),  // R1, N19
    .native(.fgetxattr, until: UserID.until, leaks: UserID.leaks),  // N19
    .native(.listxattr, until: until, leaks: paths),  // R1
    .native(.llistxattr, until: until, leaks: paths),  // R1
    .native(.flistxattr, until: until, leaks: paths),  // R1
    .native(.removexattr, until: until, leaks: paths),  // R1
    .native(.lremovexattr, until: until, leaks: paths),  // R1
    .native(.fremovexattr, until: until, leaks: paths),  // R1
    .native(.setxattrat, until: until, leaks: pathsAndOwners),  // R1, N19
    .native(.getxattrat, until: until, leaks: pathsAndOwners),  // R1, N19
    .native(.listxattrat, until: until, leaks: paths),  // R1
    .native(.removexattrat, until: until, leaks: paths),  // R1
    .native(.file_getattr, until: until, leaks: paths),  // R1
    .native(.file_setattr, until: until, leaks: paths),  // R1
    .native(.inotify_add_watch, until: until, leaks: paths),  // R1
    .native(.fanotify_mark, until: until, leaks: paths),  // R1
    .native(.execve, until: until, leaks: paths),  // R1, R2, N11
    .native(.execveat, until: until, leaks: paths),  // R1, R2, N11
    .native(.uselib, until: until, leaks: paths),  // R1
    .native(.fstat, until: until, leaks: identity),  // N8, R4, T7, P37
    .native(.fstatfs, until: until, leaks: "that a descriptor is a process's"),  // P37
    .native(.ustat, until: until, leaks: "host device numbers"),  // R4
    .native(.getdents, until: listing, leaks: entries),  // F1, T6, R1
    .native(.getdents64, until: listing, leaks: entries),  // F1, T6, R1
    .native(.name_to_handle_at, until: until, leaks: "host file handles"),  // R1, R4, P37
    .refused(
      .open_by_handle_at, .notPermitted,
      because: "a handle is a name outside any root, and of any process"),  // R1, R4, P37
  ]

  private static let create: UInt64 = 0o100
  private static let directory: UInt64 = 0o200000
  private static let largeFile: UInt64 = 0o100000
  private static let noFollow: UInt64 = 0o400000
  private static let removeDirectory: UInt64 = 0x200

  /// The rows of paths where all are looked at: instead of all others of the same calls.
  static let viewed: [BoundaryRow] = [
    .viewed(.open, .path(0), performed: .inCallerBlocking),  // R1
    .viewed(.openat, .path(1, at: 0), performed: .inCallerBlocking),  // R1
    .viewed(.openat2, .path(1, at: 0), performed: .inCallerBlocking),  // R1
    .viewed(.creat, .path(0), performed: .inCallerBlocking),  // R1
    .viewed(.stat, .path(0)),  // R1, N8
    .viewed(.lstat, .path(0)),  // R1, N8
    .viewed(.newfstatat, .path(1, at: 0)),  // R1, N8
    .viewed(.statx, .path(1, at: 0)),  // R1, N8
    .viewed(.access, .path(0)),  // R1, N10
    .viewed(.faccessat, .path(1, at: 0)),  // R1, N10
    .viewed(.faccessat2, .path(1, at: 0)),  // R1, N10
    .viewed(.readlink, .path(0)),  // R1, F3, F4
    .viewed(.readlinkat, .path(1, at: 0)),  // R1, F3, F4
    .viewed(.chdir, .path(0)),  // R1
    .viewed(.getcwd, .workingDirectory, by: ShowDirectory()),  // R1, I20
    .viewed(.mkdir, .path(0)),  // R1
    .viewed(.mkdirat, .path(1, at: 0)),  // R1
    .viewed(.rmdir, .path(0)),  // R1
    .viewed(.unlink, .path(0)),  // R1
    .viewed(.unlinkat, .path(1, at: 0)),  // R1
    .viewed(.rename, .path(0), .path(1)),  // R1
    .viewed(.renameat, .path(1, at: 0), .path(3, at: 2)),  // R1
    .viewed(.renameat2, .path(1, at: 0), .path(3, at: 2)),  // R1
    .viewed(.link, .path(0), .path(1)),  // R1
    .viewed(.linkat, .path(1, at: 0), .path(3, at: 2)),  // R1
    .viewed(.symlink, .path(1)),  // R1
    .viewed(.symlinkat, .path(2, at: 1)),  // R1
    .viewed(.mknod, .path(0)),  // R1, D3
    .viewed(.mknodat, .path(1, at: 0)),  // R1, D3
    .viewed(.chmod, .path(0)),  // R1, N9
    .viewed(.fchmodat, .path(1, at: 0)),  // R1, N9
    .viewed(.fchmodat2, .path(1, at: 0)),  // R1, N9
    .viewed(.chown, .path(0)),  // R1, N9
    .viewed(.lchown, .path(0)),  // R1, N9
    .viewed(.fchownat, .path(1, at: 0)),  // R1, N9
    .viewed(.utime, .path(0)),  // R1
    .viewed(.utimes, .path(0)),  // R1
    .viewed(.futimesat, .path(1, at: 0)),  // R1
    .viewed(.utimensat, .path(1, at: 0)),  // R1
    .viewed(.truncate, .path(0)),  // R1
    .viewed(.statfs, .path(0)),  // R1
    .viewed(.setxattr, .path(0)),  // R1, N19
    .viewed(.lsetxattr, .path(0)),  // R1, N19
    .viewed(.getxattr, .path(0)),  // R1, N19
    .viewed(.lgetxattr, .path(0)),  // R1, N19
    .viewed(.listxattr, .path(0)),  // R1
    .viewed(.llistxattr, .path(0)),  // R1
    .viewed(.removexattr, .path(0)),  // R1
    .viewed(.lremovexattr, .path(0)),  // R1
    .viewed(.setxattrat, .path(1, at: 0)),  // R1, N19
    .viewed(.getxattrat, .path(1, at: 0)),  // R1, N19
    .viewed(.listxattrat, .path(1, at: 0)),  // R1
    .viewed(.removexattrat, .path(1, at: 0)),  // R1
    .viewed(.file_getattr, .path(1, at: 0)),  // R1
    .viewed(.file_setattr, .path(1, at: 0)),  // R1
    .viewed(.inotify_add_watch, .path(1)),  // R1
    .viewed(.name_to_handle_at, .path(1, at: 0)),  // R1, R4, P37
  ]
}

/// Has paths lead to what is the pod's own, where they lead to a view.
///
/// The kernel gets a copy that the program doesn't know. A program that finds it deceives nobody but itself: what is beside
/// its pod's directory it can name by a path of its own.
///
/// Source: path_resolution(7); COVERAGE I19, I20.
struct FollowViews: Wrapper {
  private static let workingDirectory: Int32 = -100

  let paths: [PathPlace]

  func preamble(_ transaction: inout Transaction) throws(Errno) {
    for place in paths {
      let address = RemoteAddress(rawValue: transaction.arguments[place.index])
      let path: [UInt8]
      do throws(Errno) {
        path = try transaction.readPath(at: address)
      } catch {
        // The kernel has an answer for a bad address, and for a path that is too long.
        continue
      }
      let views = transaction.names.paths
      guard path.withUnsafeBytes({ views.mayConcern($0) }) else { continue }
      let descriptor = place.directory.map { transaction.arguments.int($0) }
      let host = transaction.host
      guard
        let physical = views.physical(
          of: path,
          start: { host.directory(descriptor == Self.workingDirectory ? nil : descriptor) })
      else { continue }
      if let view = views.virtual(of: physical) { _ = try views.shown(at: view) }
      // The size that the kernel allows, with the NUL.
      if physical.count >= Transaction.longestPath { throw .fileNameTooLong }
      try transaction.passString(physical, inArgument: place.index)
    }
  }
}

/// Tells the working directory by the pod's path.
///
/// Source: getcwd(2); fs/d_path.c.
struct ShowDirectory: Wrapper {
  func preamble(_ transaction: inout Transaction) throws(Errno) {
    guard let physical = transaction.host.directory(nil),
      let path = transaction.names.paths.virtual(of: physical)
    else { return }
    let text = path + [0]
    if text.count > transaction.arguments[1] { throw .outOfRange }
    let (host, address) = (transaction.host, RemoteAddress(rawValue: transaction.arguments[0]))
    let written = text.withUnsafeBytes { bytes in
      Result { () throws(Errno) in try host.write(bytes, to: address) }
    }
    try written.get()
    transaction.result = .success(text.count)
  }
}

/// Has the paths that the C library writes for shm_open(3), shm_unlink(3), sem_open(3) and sem_unlink(3) lead to the pod's
/// own objects, and those of files that programs make in `/dev/shm` by themselves to where they have made them.
///
/// - shm_open opens with O_NOFOLLOW, as does sem_open for what is there;
/// - sem_open makes a new semaphore with a name of its own first, by O_CREAT and O_EXCL, and then has `sem.NAME` link to
///   it; older C libraries give the first name no `sem.`;
/// - shm_unlink and sem_unlink are unlink(2), as for any file: so it is kept which files programs have made.
///
/// Source: glibc, rt/shm_open.c, sysdeps/pthread/sem_open.c; musl, src/mman/shm_open.c, src/thread/sem_open.c; COVERAGE I20.
struct FollowObjects: Wrapper {
  enum Use: Sendable {
    case open(path: Int, flags: Int)
    case make(path: Int)
    case look(path: Int)
    case remove(path: Int)
    case link(from: Int, to: Int)
    case move(from: Int, to: Int)
  }

  private static let create: UInt64 = 0o100
  private static let exclusive: UInt64 = 0o200
  private static let noFollow: UInt64 = 0o400000
  private static let semaphore = Array("sem.".utf8)

  let use: Use

  init(_ use: Use) { self.use = use }

  func preamble(_ transaction: inout Transaction) throws(Errno) {
    let views = transaction.names.paths
    if views.areObjectsInPlace { return }
    switch use {
    case .open(let path, let flags):
      let flags = transaction.arguments[flags]
      guard let name = object(path, transaction) else { return }
      if flags & Self.create == 0 {
        if views.isFile(name) { return }
      } else if flags & Self.noFollow == 0, !(flags & Self.exclusive != 0 && Self.isNew(name)) {
        return views.willMake(file: name)
      }
      try follow(name, path, &transaction)
    case .make(let path):
      if let name = object(path, transaction) { views.willMake(file: name) }
    case .look(let path), .remove(let path):
      guard let name = object(path, transaction) else { return }
      if views.isFile(name) {
        if case .remove = use { views.removed(file: name) }
        return
      }
      try follow(name, path, &transaction)
    case .link(let from, let to):
      guard let name = object(to, transaction) else { return }
      let old = object(from, transaction)
      let isObject = old.map { !views.isFile($0) } ?? false
      guard isObject || old != nil && name.starts(with: Self.semaphore) else {
        return views.willMake(file: name)
      }
      if isObject, let old { try follow(old, from, &transaction) }
      try follow(name, to, &transaction)
    case .move(let from, let to):
      let (old, new) = (object(from, transaction), object(to, transaction))
      if let old, !views.isFile(old) {
        try follow(old, from, &transaction)
        if let new { try follow(new, to, &transaction) }
      } else if let new {
        if let old { views.moved(file: old, to: new) } else { views.willMake(file: new) }
      }
    }
  }

  /// "sem." and six characters: what sem_open(3) makes before it has its name.
  private static func isNew(_ name: [UInt8]) -> Bool {
    name.count == semaphore.count + 6 && name.starts(with: semaphore)
  }

  private func object(_ index: Int, _ transaction: borrowing Transaction) -> [UInt8]? {
    let path = try? transaction.readPath(
      at: RemoteAddress(rawValue: transaction.arguments[index]))
    return path.flatMap(PathViews.object(at:))
  }

  private func follow(
    _ name: [UInt8], _ index: Int, _ transaction: inout Transaction
  ) throws(Errno) {
    guard let path = transaction.names.paths.path(ofObject: name) else { return }
    try transaction.passString(path, inArgument: index)
  }
}

/// Shows the pod's System V objects in the files of `/proc/sysvipc`, as they are at this moment.
///
/// Source: proc_sysvipc(5); COVERAGE I13.
struct FollowTables: Wrapper {
  let path: Int

  func preamble(_ transaction: inout Transaction) throws(Errno) {
    let address = RemoteAddress(rawValue: transaction.arguments[path])
    guard let path = try? transaction.readPath(at: address),
      let shown = try transaction.names.paths.shown(at: path)
    else { return }
    if shown != path { try transaction.passString(shown, inArgument: self.path) }
  }
}

extension Transaction {
  /// PATH_MAX: the most bytes of a path, the NUL among them.
  static let longestPath = 4096

  /// Gives the kernel a string in memory that the program doesn't know.
  ///
  /// - Throws: `.noMemory` when there is none, or not enough for it.
  mutating func passString(_ string: [UInt8], inArgument index: Int) throws(Errno) {
    let host = host
    let scratch = (string + [0]).withUnsafeBytes { bytes in
      Result { () throws(Errno) in try host.scratch(bytes) }
    }
    physicalArguments[index] = try scratch.get().rawValue
  }

  /// Reads a path of the caller's, up to its NUL: bytes behind it need not be readable.
  ///
  /// - Throws: `.badAddress` when an unreadable byte comes first; `.fileNameTooLong`.
  func readPath(at address: RemoteAddress) throws(Errno) -> [UInt8] {
    var path: [UInt8] = []
    let pageSize = 4096
    try withUnsafeTemporaryAllocation(byteCount: pageSize, alignment: 16) { buffer throws(Errno) in
      var piece = 256
      while path.count < Self.longestPath {
        let here = address.advanced(by: path.count)
        let size = min(
          piece, pageSize - Int(here.rawValue % UInt64(pageSize)), Self.longestPath - path.count)
        let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<size])
        try host.read(here, into: part)
        if let end = part.firstIndex(of: 0) {
          path += part[..<end]
          return
        }
        path += part
        piece = pageSize
      }
      throw .fileNameTooLong
    }
    return path
  }
}
