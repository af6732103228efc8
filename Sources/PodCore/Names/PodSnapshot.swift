/// What a pod's names are at one moment: a value that can be written down and read again, here or on another machine.
///
/// It holds what programs in the pod can have seen and remember: virtual numbers and what they name. A second pod whose
/// processes have the same names answers every call about them alike, although no physical number is the same
/// (COVERAGE C16). What isn't in it: calls in flight (a fork whose child doesn't exist yet has no name here), leases,
/// and the late names of ended tasks, which are known by physical numbers only.
///
/// Every value is consistent; decoding one that isn't throws ``SnapshotError``.
///
/// Source: DESIGN.md §8 ("the names in a pod survive a change of all physical names").
public struct PodSnapshot: Sendable, Hashable, Codable {
  /// The version that this library writes, and the only one that it reads.
  public static let version = 1

  /// Processes, threads, groups and sessions.
  public let processes: Processes

  /// What a number names.
  public enum Kind: String, Sendable, Hashable, Codable {
    /// A process, and the group and session that have its number.
    case process
    /// A thread that doesn't lead its process.
    case thread
  }

  /// How far an object has come.
  public enum State: String, Sendable, Hashable, Codable {
    /// It runs.
    case live
    /// It has ended and can still be waited for.
    case ended
    /// It is gone; its number names a group or a session that has members.
    case shown
  }

  /// One number.
  public struct Name: Sendable, Hashable {
    /// The virtual number.
    public let number: VirtualName<ProcessID>
    /// What it names.
    public let kind: Kind
    /// How far that has come.
    public let state: State
    /// The process that it belongs to; itself for a process.
    public let process: VirtualName<ProcessID>
    /// The process's parent; 0 for the pod's init. Of a ``State/shown`` one the last it had.
    public let parent: VirtualName<ProcessID>
    /// The process's group; 0 when it is in none any more, and for a thread.
    public let group: VirtualName<ProcessID>
    /// The process's session; as ``group``.
    public let session: VirtualName<ProcessID>
    /// The physical number that it had, to find the object by. It gives no right to anything: the number may be
    /// anybody's by now.
    public let physical: PhysicalName<ProcessID>?

    /// Describes a process.
    public init(
      process number: VirtualName<ProcessID>, state: State = .live,
      parent: VirtualName<ProcessID>, group: VirtualName<ProcessID>,
      session: VirtualName<ProcessID>, physical: PhysicalName<ProcessID>? = nil
    ) {
      (self.number, self.kind, self.state, self.process) = (number, .process, state, number)
      (self.parent, self.group, self.session) = (parent, group, session)
      self.physical = physical
    }

    /// Describes a thread.
    public init(
      thread number: VirtualName<ProcessID>, of process: VirtualName<ProcessID>,
      physical: PhysicalName<ProcessID>? = nil
    ) {
      let none = VirtualName<ProcessID>(rawValue: 0)
      (self.number, self.kind, self.state, self.process) = (number, .thread, .live, process)
      (self.parent, self.group, self.session) = (none, none, none)
      self.physical = physical
    }

    init(_ entry: Entry<ProcessID>) {
      if entry.isThread {
        self.init(thread: entry.virtual, of: entry.leader, physical: entry.physical)
      } else {
        let none = VirtualName<ProcessID>(rawValue: 0)
        let state: State = entry.isReaped ? .shown : entry.state == .dying ? .ended : .live
        self.init(
          process: entry.virtual, state: state, parent: entry.parent,
          group: state == .shown ? none : entry.group,
          session: state == .shown ? none : entry.session, physical: entry.physical)
      }
    }
  }

  /// The names of processes.
  public struct Processes: Sendable, Hashable, Codable {
    /// The highest number that the pod gives out.
    public let highest: Int32
    /// The number at which the search for the next name begins.
    public let next: Int32
    /// The names in the order of birth.
    public let names: [Name]

    /// Collects names.
    public init(highest: Int32, next: Int32, names: [Name]) {
      (self.highest, self.next, self.names) = (highest, next, names)
    }
  }

  /// Makes a snapshot of names.
  ///
  /// - Throws: ``SnapshotError`` when they contradict each other.
  public init(processes: Processes) throws(SnapshotError) {
    try processes.check()
    self.processes = processes
  }

  /// Preconditions: the names are a table's.
  init(unchecked processes: Processes) { self.processes = processes }

  private enum Key: String, CodingKey {
    case version, processes
  }

  /// Reads a snapshot.
  ///
  /// - Throws: ``SnapshotError``, and `DecodingError` for what isn't the form of a snapshot at all.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Key.self)
    let version = try container.decode(Int.self, forKey: .version)
    guard version == Self.version else { throw SnapshotError.unknownVersion(version) }
    try self.init(processes: container.decode(Processes.self, forKey: .processes))
  }

  /// Writes the snapshot with its version.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    try container.encode(Self.version, forKey: .version)
    try container.encode(processes, forKey: .processes)
  }
}

extension PodSnapshot.Name: Codable {
  private enum Key: String, CodingKey {
    case number, kind, state, process, parent, group, session, physical
  }

  /// Reads a name; what isn't said is 0, and ``PodSnapshot/State/live``.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Key.self)
    func name(_ key: Key) throws -> VirtualName<ProcessID> {
      try container.decodeIfPresent(VirtualName<ProcessID>.self, forKey: key)
        ?? VirtualName(rawValue: 0)
    }
    let number = try container.decode(VirtualName<ProcessID>.self, forKey: .number)
    let state = try container.decodeIfPresent(PodSnapshot.State.self, forKey: .state) ?? .live
    let physical = try container.decodeIfPresent(
      PhysicalName<ProcessID>.self, forKey: .physical)
    switch try container.decode(PodSnapshot.Kind.self, forKey: .kind) {
    case .process:
      self.init(
        process: number, state: state, parent: try name(.parent), group: try name(.group),
        session: try name(.session), physical: physical)
    case .thread:
      guard state == .live else {
        throw SnapshotError.invalid("thread \(number) isn't live: such names aren't kept")
      }
      self.init(thread: number, of: try name(.process), physical: physical)
    }
  }

  /// Writes what the kind of name has.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    try container.encode(number, forKey: .number)
    try container.encode(kind, forKey: .kind)
    switch kind {
    case .thread: try container.encode(process, forKey: .process)
    case .process:
      try container.encode(state, forKey: .state)
      try container.encode(parent, forKey: .parent)
      try container.encode(group, forKey: .group)
      try container.encode(session, forKey: .session)
    }
    try container.encodeIfPresent(physical, forKey: .physical)
  }
}

extension PodSnapshot.Processes {
  private static let numbers: ClosedRange<Int32> = 1...4_194_303

  /// Finds contradictions.
  fileprivate func check() throws(SnapshotError) {
    guard Self.numbers.contains(highest) else {
      throw .invalid("the highest number is \(highest); it must be 1…\(Self.numbers.upperBound)")
    }
    // After the last number the search begins anew, wherever it stands.
    guard (1...highest).contains(next) else {
      throw .invalid("the next number is \(next); it must be 1…\(highest)")
    }
    var known: [VirtualName<ProcessID>: PodSnapshot.Name] = [:]
    known.reserveCapacity(min(names.count, Int(highest)))
    for name in names {
      guard (1...highest).contains(name.number.rawValue) else {
        throw .outOfRange(name.number, highest: highest)
      }
      guard known.updateValue(name, forKey: name.number) == nil else {
        throw .duplicate(name.number)
      }
    }
    guard let initial = known[ProcessTable.initial], initial.kind == .process,
      initial.state == .live, initial.parent.rawValue == 0
    else { throw .noInit }
    var shown: Set<VirtualName<ProcessID>> = []
    for name in names {
      switch (name.kind, name.state) {
      case (.thread, _):
        guard let process = known[name.process], process.kind == .process, process.state == .live
        else { throw .missing(.process, name.process, of: name.number) }
      case (.process, .shown): break
      case (.process, _):
        guard name.number == ProcessTable.initial || isParent(known[name.parent]) else {
          throw .missing(.parent, name.parent, of: name.number)
        }
        guard known[name.group]?.kind == .process else {
          throw .missing(.group, name.group, of: name.number)
        }
        guard known[name.session]?.kind == .process else {
          throw .missing(.session, name.session, of: name.number)
        }
        shown.insert(name.group)
        shown.insert(name.session)
      }
    }
    for name in names where name.state == .shown && !shown.contains(name.number) {
      throw .invalid("\(name.number) is gone and names no group or session of others")
    }
    try checkAncestors(known)
  }

  private func isParent(_ name: PodSnapshot.Name?) -> Bool {
    guard let name else { return false }
    return name.kind == .process && name.state == .live
  }

  /// Everyone descends from init. Each process is looked at once.
  private func checkAncestors(
    _ known: [VirtualName<ProcessID>: PodSnapshot.Name]
  ) throws(SnapshotError) {
    var descendants: Set<VirtualName<ProcessID>> = [ProcessTable.initial]
    for name in names where name.kind == .process && name.state != .shown {
      var path: Set<VirtualName<ProcessID>> = []
      var ancestor = name
      while !descendants.contains(ancestor.number) {
        guard path.insert(ancestor.number).inserted, let parent = known[ancestor.parent] else {
          throw .cycle(name.number)
        }
        ancestor = parent
      }
      descendants.formUnion(path)
    }
  }
}

/// Why something isn't a snapshot of a pod's names, or can't be used.
public enum SnapshotError: Error, Hashable, Sendable, CustomStringConvertible {
  /// It was written by another version of this library.
  case unknownVersion(Int)
  /// Two names have one number.
  case duplicate(VirtualName<ProcessID>)
  /// A number that the pod doesn't give out.
  case outOfRange(VirtualName<ProcessID>, highest: Int32)
  /// There is no process 1 that runs and has no parent.
  case noInit
  /// What a name refers to isn't there, or can't be that.
  case missing(Relation, VirtualName<ProcessID>, of: VirtualName<ProcessID>)
  /// A process descends from itself.
  case cycle(VirtualName<ProcessID>)
  /// Another contradiction, in words.
  case invalid(String)
  /// The table to be filled has names already.
  case notEmpty
  /// Nobody says which physical number a name has here.
  case unmatched(VirtualName<ProcessID>)
  /// A name doesn't fit the table, or its object is in use by a call from outside.
  case notFitting(VirtualName<ProcessID>)

  /// What a name refers to.
  public enum Relation: String, Sendable, Hashable {
    /// Its parent.
    case parent
    /// Its group.
    case group
    /// Its session.
    case session
    /// A thread's process.
    case process
  }

  /// What is wrong, in a sentence.
  public var description: String {
    switch self {
    case .unknownVersion(let version):
      "the snapshot has version \(version), this library reads version \(PodSnapshot.version)"
    case .duplicate(let name): "the snapshot has two names with the number \(name)"
    case .outOfRange(let name, let highest):
      "the snapshot has the number \(name); numbers are 1…\(highest)"
    case .noInit: "the snapshot has no init: a process 1 that is live and has no parent"
    case .missing(let relation, let other, let name):
      "the snapshot says that the \(relation.rawValue) of \(name) is \(other), which is none"
    case .cycle(let name): "in the snapshot process \(name) doesn't descend from init"
    case .invalid(let what): "the snapshot is wrong: \(what)"
    case .notEmpty: "the pod that is to be filled has names already"
    case .unmatched(let name): "no physical number is given for \(name)"
    case .notFitting(let name):
      "\(name) has no place in the pod's table: its range or capacity is too small, or its process is in use outside"
    }
  }
}
