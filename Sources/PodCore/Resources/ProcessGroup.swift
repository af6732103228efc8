public import SystemPackage

/// Process group ids. A group is named by the number of its first leader, which it may outlive.
public enum ProcessGroup: Resource {
  /// "group".
  public static let label = "group"
  /// ESRCH.
  public static let unknownName = Errno.noSuchProcess
  /// The pod's init.
  public static let untouchable: Int32? = 1

  /// The kernel's number of a group: that of the process, ended or not, that made it.
  ///
  /// - Throws: `.noSuchProcess`.
  public static func resolve(
    _ name: Int32, in transaction: inout Transaction
  ) throws(Errno) -> Int32 {
    try transaction.hold(name)
    let entry = try transaction.step(.lookUp, on: name) { transaction throws(Errno) in
      guard
        let entry = try? transaction.names.processes.space.entry(
          VirtualName<ProcessID>(rawValue: name)), entry.state != .allocated, !entry.isThread
      else { throw .noSuchProcess }
      return entry
    }
    return entry?.physical.rawValue ?? name
  }

  /// The pod's name of a group.
  public static func virtualize(_ name: Int32, in names: PodNames) -> Int32? {
    ProcessID.virtualize(name, in: names)
  }

  private static let pgid = NameShape(ProcessGroup.self, zero: .caller)
  private static let pid = NameShape(ProcessID.self, zero: .caller)

  /// The rows of process groups.
  public static let boundary: [BoundaryRow] = [
    .translated(.getpgrp, out: [.result(pgid)], reaching: .caller),  // P4
    .wrapped(
      .getpgid, by: ShowMembership(), naming: [.argument(0, pid)], showing: [.result(pgid)],
      performed: .inCaller, reaching: .caller),  // P4
    .wrapped(
      .setpgid, by: ChangeGroup(), naming: [.argument(0, pid), .argument(1, pgid)],
      performed: .inCaller),  // P5
  ]
}

/// A group in which somebody lives. The number of one whose last members are zombies is the kernel's to give to somebody
/// else as soon as these are reaped, so a call that would change something about its members doesn't reach the kernel.
enum LivingGroup: Resource {
  static let label = ProcessGroup.label
  static let unknownName = ProcessGroup.unknownName
  static let untouchable: Int32? = ProcessGroup.untouchable

  static func resolve(_ name: Int32, in transaction: inout Transaction) throws(Errno) -> Int32 {
    let members = transaction.names.processes.members(ofGroup: VirtualName(rawValue: name))
    guard members.contains(where: { $0.state == .live }) else { throw .noSuchProcess }
    return try ProcessGroup.resolve(name, in: &transaction)
  }

  static func virtualize(_ name: Int32, in names: PodNames) -> Int32? {
    ProcessGroup.virtualize(name, in: names)
  }
}

/// Shows the group or session of a process.
///
/// Source: getpgid(2), getsid(2); paper §4.1.1, Figure 2.
struct ShowMembership: Wrapper {
  private static let pid = NameShape(ProcessID.self, zero: .caller, onlyLooks: true)

  func preamble(_ transaction: inout Transaction) throws(Errno) {
    let name = transaction.arguments.int(0)
    let process = name == 0 ? transaction.caller.process : VirtualName(rawValue: name)
    do throws(Errno) {
      transaction.physicalArguments.setInt(
        0, to: try Self.pid.physical(of: name, in: &transaction))
    } catch {
      // Asked last: it may have ended meanwhile, and a zombie has an answer.
      guard name > 0, let zombie = transaction.zombie(process) else { throw error }
      transaction.result = .success(Int(membership(of: zombie, in: transaction).rawValue))
      return
    }
    // What the answer names may outlive the process, but not the answer.
    if let entry = try? transaction.names.processes.space.entry(process) {
      let shown = membership(of: entry, in: transaction)
      if shown != process || name == 0 { try transaction.hold(shown.rawValue) }
    }
  }

  private func membership(
    of entry: Entry<ProcessID>, in transaction: borrowing Transaction
  ) -> VirtualName<ProcessID> {
    transaction.call == .getsid ? entry.session : entry.group
  }

  func epilogue(_ transaction: inout Transaction) throws(Errno) {
    guard case .success(let result)? = transaction.result else { return }
    let physical = Int32(truncatingIfNeeded: result)
    let name = transaction.step(.virtualize, on: physical) {
      ProcessGroup.virtualize(physical, in: $0.names) ?? 0
    }
    transaction.result = .success(Int(name ?? physical))
  }
}

/// Moves a process to a group, in the caller's context: the kernel confines it to the caller and its children, in its
/// session.
///
/// Source: setpgid(2); COVERAGE P5.
struct ChangeGroup: Wrapper {
  private static let pid = NameShape(ProcessID.self, zero: .caller)
  private static let pgid = NameShape(
    ProcessGroup.self, zero: .caller, unknown: .notPermitted)

  func preamble(_ transaction: inout Transaction) throws(Errno) {
    let pid = transaction.arguments.int(0)
    let pgid = transaction.arguments.int(1)
    if pgid < 0 { throw .invalidArgument }
    transaction.physicalArguments.setInt(
      0, to: try Self.pid.physical(of: pid, in: &transaction))
    // A process may be made the leader of its own group by name.
    if pgid == pid, pid != 0 {
      transaction.physicalArguments.setInt(1, to: transaction.physicalArguments.int(0))
    } else {
      transaction.physicalArguments.setInt(
        1, to: try Self.pgid.physical(of: pgid, in: &transaction))
    }
  }

  func epilogue(_ transaction: inout Transaction) throws(Errno) {
    guard case .success? = transaction.result else { return }
    let pid = transaction.arguments.int(0)
    let pgid = transaction.arguments.int(1)
    let process = pid == 0 ? transaction.caller.process : VirtualName(rawValue: pid)
    let group = pgid == 0 ? process : VirtualName(rawValue: pgid)
    transaction.step(.publish, on: process.rawValue) { transaction in
      let processes = transaction.names.processes
      // A process and its parent may both move it, and the later epilogue is not that of the later move: what the
      // kernel says now is published, not what was asked for.
      let target = transaction.physicalArguments.int(0)
      let asked = target == 0 ? transaction.caller.physicalThread.rawValue : target
      let number = try? transaction.host.processGroup(
        of: PhysicalName(rawValue: asked), for: transaction.caller)
      let actual = number.flatMap { processes.name(physical: $0.rawValue) }
      try? processes.move(process, toGroup: actual?.virtual ?? group)
    }
  }
}
