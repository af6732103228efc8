internal import Synchronization
public import SystemPackage

/// Where a path stands in a call.
public struct PathPlace: Sendable, Hashable {
  /// The argument with the path's address.
  public let index: Int
  /// The argument with the descriptor of the directory that a relative path begins at; nil for the working directory.
  public let directory: Int?

  /// None: the call tells the path of the working directory.
  public static let workingDirectory = PathPlace(index: -1, directory: nil)

  /// A path, and where it begins when it is relative.
  public static func path(_ index: Int, at directory: Int? = nil) -> PathPlace {
    PathPlace(index: index, directory: directory)
  }
}

/// What a backend has made for a pod outside its tables, where the kernel finds it.
public protocol PodPlaces: AnyObject, Sendable {
  /// Whether the kernel shows the pod's processes these directories where they look for them.
  var isShownByKernel: Bool { get }
  /// What is `/dev/shm` in the pod: an absolute path without `.`, `..` and double slashes.
  var sharedMemory: [UInt8] { get }
  /// What is `/dev/mqueue` in the pod, a directory with an entry for each queue; nil where the host has none.
  var queueList: [UInt8]? { get }
  /// What is `/proc/sysvipc` in the pod.
  var systemVTables: [UInt8] { get }
  /// What the kernel's names of the pod's queues begin with: 1…64 bytes that nobody outside guesses, without slashes.
  var queuePrefix: [UInt8] { get }

  /// Notes that the pod may have a queue from now on, so that it can be listed, and removed at the pod's end.
  ///
  /// - Throws: `.noSpace` and what else keeps it from being noted: the queue must not be made.
  func list(queue: [UInt8]) throws(Errno)

  /// Notes that the pod has no such queue.
  func unlist(queue: [UInt8])

  /// Whether the pod has an object of shared memory, or a semaphore, of this file name.
  func has(object: [UInt8]) -> Bool

  /// Whether there is a regular file of this name in the host's `/dev/shm`, nil where there is something else.
  func hostHas(object: [UInt8]) -> Bool?

  /// Puts a table of System V objects where it can be read, in place of the one before.
  ///
  /// - Throws: What keeps it from being written.
  func show(_ table: PathViews.SystemVTable, _ text: [UInt8]) throws(Errno)
}

/// The few paths whose names are a pod's own: POSIX shared memory and named semaphores lie in `/dev/shm`, message queues
/// are listed in `/dev/mqueue`, and System V objects in `/proc/sysvipc`. A path that leads there leads to directories that
/// the pod's backend has made.
///
/// Looking at every path costs programs that open thousands of files too much (docs/ipc.md has the figures). So a pod looks
/// at what the C library does for shm_open(3), shm_unlink(3), sem_open(3) and sem_unlink(3) only, unless it is asked for
/// everything (``PodConfiguration/PathCoverage``).
///
/// Paths are compared as they are written, with the caller's working directory in front of relative ones, `.` and `..`
/// resolved, and `/proc/…/root` taken for `/`. Symbolic links aren't followed: this is naming. What keeps a program from
/// the host's objects is the kernel (``Containment``).
///
/// The one place for views of paths until a pod has a root of its own.
///
/// Source: shm_overview(7), sem_overview(7), mq_overview(7), proc_sysvipc(5); COVERAGE I13, I19, I20.
public final class PathViews: Sendable {
  /// A file of `/proc/sysvipc`.
  public enum SystemVTable: String, Sendable, CaseIterable {
    /// Message queues.
    case msg
    /// Semaphore sets.
    case sem
    /// Shared memory.
    case shm
  }

  private struct State: Sendable {
    var places: (any PodPlaces)?
    var tables: (@Sendable (SystemVTable) -> [UInt8])?
    /// Queues of the pod by name: how many calls are about to make them, and whether they are known to be there.
    var queues: [[UInt8]: (inFlight: Int, isThere: Bool)] = [:]
    /// Files directly in the host's `/dev/shm` that the pod's programs have made there as files.
    var files: Set<[UInt8]> = []
  }
  private let state = Mutex(State())
  private let wasEntered = Atomic(false)
  private let isByKernel = Atomic(true)

  /// Views that show what is there, until places are given.
  public init() {}

  /// Where the pod's own things are; nil when it has none, and sees the host's.
  public var places: (any PodPlaces)? {
    get { state.withLock { $0.places } }
    set {
      isByKernel.store(newValue?.isShownByKernel ?? true, ordering: .relaxed)
      state.withLock { $0.places = newValue }
    }
  }

  /// The text of a table of the pod's System V objects, with its header, as it is at this moment. Until there is a
  /// provider, `/proc/sysvipc` is the host's. Called by a supervisor's thread, at each opening: it has to return at once.
  public var systemVTables: (@Sendable (SystemVTable) -> [UInt8])? {
    get { state.withLock { $0.tables } }
    set { state.withLock { $0.tables = newValue } }
  }

  /// Whether calls of a row go through as they are, since the kernel shows what is the pod's, or nothing is.
  public func isIdle(_ row: BoundaryRow) -> Bool {
    if row.paths.isEmpty { return false }
    let (places, tables) = state.withLock { ($0.places, $0.tables) }
    guard let places else { return true }
    let showsTables = tables != nil && row.showsTables
    return !showsTables && (places.isShownByKernel || row.showsOnlyTables)
  }

  /// Whether a path, as the C library writes it, could be an object's or a table's.
  ///
  /// - Parameter path: As the program wrote it, without the NUL.
  /// - Complexity: O(1), without an allocation.
  public func mayNameObject(_ path: UnsafeRawBufferPointer) -> Bool {
    path.starts(with: "/proc/sysvipc/".utf8)
      || path.starts(with: "/dev/shm/".utf8) && !isByKernel.load(ordering: .relaxed)
  }

  /// Whether a path could lead to a view. What isn't so, as nearly all paths are, need not be looked at any further.
  ///
  /// - Parameter path: As the program wrote it, without the NUL.
  /// - Complexity: O(n), without an allocation.
  public func mayConcern(_ path: UnsafeRawBufferPointer) -> Bool {
    // "shm", "mqu" or "svi"; and ".." once somebody works in a view's directory.
    let (s, h, m) = (UInt8(ascii: "s"), UInt8(ascii: "h"), UInt8(ascii: "m"))
    let (q, u, v) = (UInt8(ascii: "q"), UInt8(ascii: "u"), UInt8(ascii: "v"))
    let (i, dot) = (UInt8(ascii: "i"), UInt8(ascii: "."))
    let entered = wasEntered.load(ordering: .relaxed)
    let elsewhere = !isByKernel.load(ordering: .relaxed)
    var (before, last): (UInt8, UInt8) = (0, 0)
    for byte in path {
      if byte == m, last == h, before == s, elsewhere { return true }
      if byte == u, last == q, before == m, elsewhere { return true }
      if byte == i, last == v, before == s { return true }
      if byte == dot, last == dot, entered { return true }
      (before, last) = (last, byte)
    }
    return false
  }

  /// The directories of the views, and what they are for the kernel.
  private func views(_ places: any PodPlaces) -> [(view: StaticString, place: [UInt8])] {
    var views: [(StaticString, [UInt8])] = [("/dev/shm", places.sharedMemory)]
    if let list = places.queueList { views.append(("/dev/mqueue", list)) }
    if systemVTables != nil { views.append(("/proc/sysvipc", places.systemVTables)) }
    return views
  }

  /// The path that the kernel is to get.
  ///
  /// - Parameters:
  ///   - path: As the program wrote it, without the NUL.
  ///   - start: The absolute path of the directory that a relative path begins at, as the kernel tells it; nil when nobody
  ///     knows. Asked for relative paths only.
  /// - Returns: nil when the path leads to no view, and is to stay as it is.
  public func physical(of path: [UInt8], start: () -> [UInt8]?) -> [UInt8]? {
    guard let places = self.places, !places.isShownByKernel, !path.isEmpty else { return nil }
    let slash = UInt8(ascii: "/")
    var whole = path
    var beginsInView = false
    if path[0] != slash {
      guard let start = start(), start.first == slash else { return nil }
      let seen = virtual(of: start)
      beginsInView = seen != nil
      whole = (seen ?? start) + [slash] + path
    }
    let parts = Self.parts(of: whole)
    let views = views(places)
    // A path that the kernel told, as /proc/self/fd does.
    if views.contains(where: { parts.starts(with: Self.parts(of: $0.place)) }) { return nil }
    let endsWithSlash = path.last == slash
    for (view, place) in views {
      let start = Self.parts(of: view.bytes)
      guard parts.starts(with: start) else { continue }
      if parts.count == start.count { wasEntered.store(true, ordering: .relaxed) }
      return place + Self.joined(parts[start.count...], endsWithSlash: endsWithSlash)
    }
    // Out of a view's directory.
    return beginsInView
      ? Self.joined(parts[...], endsWithSlash: endsWithSlash || parts.isEmpty) : nil
  }

  /// The path that the program is to see for one that the kernel tells; nil when it leads to no view.
  public func virtual(of path: [UInt8]) -> [UInt8]? {
    guard let places = self.places, !places.isShownByKernel else { return nil }
    for (view, place) in views(places) where path.starts(with: place) {
      if path.count == place.count || path[place.count] == UInt8(ascii: "/") {
        return view.bytes + path[place.count...]
      }
    }
    return nil
  }

  /// Puts what a table of System V objects shows now where a path leads that names it.
  ///
  /// - Returns: The path that the kernel is to get; nil when it names none, or there are no tables.
  /// - Throws: What keeps it from being written.
  func shown(at path: [UInt8]) throws(Errno) -> [UInt8]? {
    let (places, tables) = state.withLock { ($0.places, $0.tables) }
    let start = Array("/proc/sysvipc/".utf8)
    guard let places, let tables, path.starts(with: start),
      let table = SystemVTable(rawValue: String(decoding: path[start.count...], as: UTF8.self))
    else { return nil }
    try places.show(table, tables(table))
    return places.systemVTables + path[(start.count - 1)...]
  }

  private static func joined(
    _ parts: ArraySlice<ArraySlice<UInt8>>, endsWithSlash: Bool
  ) -> [UInt8] {
    let slash = UInt8(ascii: "/")
    var path = parts.reduce(into: []) { $0 += [slash] + $1 }
    if endsWithSlash { path.append(slash) }
    return path
  }

  /// The components of an absolute path; "." and ".." are resolved, and `/proc/…/root` is `/`.
  private static func parts(of path: [UInt8]) -> [ArraySlice<UInt8>] {
    var parts: [ArraySlice<UInt8>] = []
    for part in path.split(separator: UInt8(ascii: "/")) {
      switch Array(part) {
      case [UInt8(ascii: ".")]: break
      case [UInt8(ascii: "."), UInt8(ascii: ".")]: _ = parts.popLast()
      default: parts.append(part)
      }
      if isRoot(parts) { parts = [] }
    }
    return parts
  }

  private static func isRoot(_ parts: [ArraySlice<UInt8>]) -> Bool {
    let words = [parts.first, parts.last]
    guard parts.count == 3 || parts.count == 5,
      words == [ArraySlice("proc".utf8), ArraySlice("root".utf8)]
    else { return false }
    return parts.count == 3 || parts[2] == ArraySlice("task".utf8)
  }

  // MARK: Objects

  /// The file name of an object of shared memory, or a semaphore, that a path names as the C library writes it; nil for
  /// all other paths.
  static func object(at path: [UInt8]) -> [UInt8]? {
    let start = Array("/dev/shm/".utf8)
    guard path.starts(with: start) else { return nil }
    let name = Array(path[start.count...])
    let isOther =
      name.isEmpty || name.contains(UInt8(ascii: "/")) || name == [UInt8(ascii: ".")]
      || name == Array("..".utf8)
    return isOther ? nil : name
  }

  /// Where the pod's object of a name is; nil where the pod has no place for it.
  func path(ofObject name: [UInt8]) -> [UInt8]? {
    places.map { $0.sharedMemory + [UInt8(ascii: "/")] + name }
  }

  /// Whether objects are where the C library looks for them.
  var areObjectsInPlace: Bool { places?.isShownByKernel ?? true }

  /// Whether a file name directly in `/dev/shm` is a file's that the pod's programs have made there as a file, or of no
  /// file that could be an object: then it is the host's.
  func isFile(_ name: [UInt8]) -> Bool {
    guard let places = self.places else { return true }
    if places.has(object: name) { return false }
    return state.withLock { $0.files.contains(name) } || places.hostHas(object: name) == nil
  }

  /// A program is about to make a file in the host's `/dev/shm`, unless it is there.
  func willMake(file name: [UInt8]) {
    guard let places = self.places, places.hostHas(object: name) == false else { return }
    state.withLock { state in
      // Who makes more of them finds that not all can be removed.
      if state.files.count < Self.mostFiles { state.files.insert(name) }
    }
  }

  private static let mostFiles = 65_536

  /// It has been moved to another name there.
  func moved(file name: [UInt8], to new: [UInt8]) {
    state.withLock { state in
      if state.files.remove(name) != nil { state.files.insert(new) }
    }
  }

  /// It was removed.
  func removed(file name: [UInt8]) { state.withLock { _ = $0.files.remove(name) } }

  // MARK: Queues

  /// A call is about to make or open a queue for writing into the list.
  ///
  /// - Throws: What keeps it from being listed.
  func willMake(queue: [UInt8]) throws(Errno) {
    guard let places = self.places else { return }
    let listed = state.withLock { state in
      Result { () throws(Errno) in
        let known = state.queues[queue]
        if known == nil { try places.list(queue: queue) }
        state.queues[queue] = ((known?.inFlight ?? 0) + 1, known?.isThere ?? false)
      }
    }
    try listed.get()
  }

  /// It has made it, or opened one that was there; or not.
  func hasMade(queue: [UInt8], _ isThere: Bool) {
    state.withLock { state in
      guard var known = state.queues[queue] else { return }
      known.inFlight -= 1
      known.isThere = known.isThere || isThere
      settle(queue, known, &state)
    }
  }

  /// The queue was removed.
  func removed(queue: [UInt8]) {
    state.withLock { state in
      guard var known = state.queues[queue] else { return }
      known.isThere = false
      settle(queue, known, &state)
    }
  }

  private func settle(
    _ queue: [UInt8], _ known: (inFlight: Int, isThere: Bool), _ state: inout State
  ) {
    if known.inFlight > 0 || known.isThere {
      state.queues[queue] = known
    } else {
      state.queues[queue] = nil
      state.places?.unlist(queue: queue)
    }
  }
}

extension StaticString {
  fileprivate var bytes: [UInt8] {
    withUTF8Buffer { Array($0) }
  }
}
