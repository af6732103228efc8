import SystemPackage

/// Who gets the signals of an open file, and who holds a lock on it.
public enum FileOwner {
  static let owner = NameShape(ProcessID.self, negative: .livingGroup)
  private static let process = NameShape(ProcessID.self)
  private static let task = NameShape(ThreadID.self)

  private static func command(_ number: UInt32, _ label: String) -> Variant {
    .argument(1, is: number, label)
  }

  /// The rows of owners of files. Source: include/uapi/asm-generic/fcntl.h and sockios.h.
  public static let boundary: [BoundaryRow] = [
    .translated(.fcntl, when: command(8, "F_SETOWN"), in: [.argument(2, owner)]),  // P65
    .wrapped(
      .fcntl, when: command(9, "F_GETOWN"), by: ShowFileOwner(), showing: [.result(owner)],
      performed: .inCaller),  // P65
    .wrapped(
      .fcntl, when: command(15, "F_SETOWN_EX"), by: NameFileOwner(),
      naming: [.field(4, of: 2, task)], performed: .inCaller),  // P66
    .translated(
      .fcntl, when: command(16, "F_GETOWN_EX"), out: [.field(4, of: 2, process)],
      performed: .inCaller, reaching: .caller),  // P66
    .native(
      .fcntl, when: command(17, "F_GETOWNER_UIDS"), until: UserID.until,
      leaks: UserID.leaks),  // N18
    .wrapped(
      .fcntl, when: command(5, "F_GETLK"), by: ShowLockHolder(),
      showing: [.field(24, of: 2, process)], performed: .inCaller),  // P67
    .wrapped(
      .fcntl, when: command(36, "F_OFD_GETLK"), by: ShowLockHolder(),
      showing: [.field(24, of: 2, process)], performed: .inCaller),  // P67
    .wrapped(
      .ioctl, when: command(0x8901, "FIOSETOWN"), by: NameSocketOwner(),
      naming: [.memory(2, owner)], performed: .inCaller),  // P69
    .wrapped(
      .ioctl, when: command(0x8902, "SIOCSPGRP"), by: NameSocketOwner(),
      naming: [.memory(2, owner)], performed: .inCaller),  // P69
    .translated(
      .ioctl, when: command(0x8903, "FIOGETOWN"), out: [.memory(2, owner)],
      performed: .inCaller, reaching: .caller),  // P69
    .translated(
      .ioctl, when: command(0x8904, "SIOCGPGRP"), out: [.memory(2, owner)],
      performed: .inCaller, reaching: .caller),  // P69
  ]
}

/// Names the thread, process or group that gets a file's signals.
///
/// An owner gives authority over who it names, and another thread could change it in any memory that the kernel reads it
/// from. So a process or group goes in a register, by `F_SETOWN`, which means the same. A thread has no such form: it is
/// named only where nobody else has the caller's memory.
///
/// Source: F_SETOWN_EX(2const), `struct f_owner_ex`; fs/fcntl.c, `f_setown`; COVERAGE P66.
struct NameFileOwner: Wrapper {
  static let setOwner: UInt64 = 8
  private static let nameOffset = 4
  private static let thread: Int32 = 0
  private static let process: Int32 = 1
  private static let group: Int32 = 2

  func preamble(_ transaction: inout Transaction) throws(Errno) {
    let address = RemoteAddress(rawValue: transaction.arguments[2])
    let kind = try transaction.read(Int32.self, at: address)
    let name = try transaction.read(Int32.self, at: address.advanced(by: Self.nameOffset))
    guard (Self.thread...Self.group).contains(kind) else { throw .invalidArgument }
    if name < 0 { throw .noSuchProcess }
    switch kind {
    case Self.thread: try nameThread(name, in: &transaction)
    case Self.process:
      pass(
        try NameShape(ProcessID.self).physical(of: name, in: &transaction), in: &transaction)
    default:
      pass(
        -(try NameShape(LivingGroup.self).physical(of: name, in: &transaction)),
        in: &transaction)
    }
  }

  private func pass(_ physical: Int32, in transaction: inout Transaction) {
    transaction.physicalArguments[1] = Self.setOwner
    transaction.physicalArguments.setInt(2, to: physical)
  }

  private func nameThread(_ name: Int32, in transaction: inout Transaction) throws(Errno) {
    // The kernel reads the name from memory: what another thread puts there after the check would name anybody.
    guard transaction.host.callerState.hasMemoryOfItsOwn else { throw .invalidArgument }
    var owner = (
      Self.thread, try NameShape(ThreadID.self).physical(of: name, in: &transaction)
    )
    let host = transaction.host
    let scratch = try withUnsafeBytes(of: &owner) { bytes throws(Errno) in
      try host.scratch(bytes)
    }
    transaction.physicalArguments[2] = scratch.rawValue
  }
}

/// Names the process or group that gets a socket's signals, in a register for the reason that ``NameFileOwner`` gives.
///
/// Source: net/socket.c, `sock_ioctl`; COVERAGE P69.
struct NameSocketOwner: Wrapper {
  private static let getOwner: UInt64 = 0x8903

  func preamble(_ transaction: inout Transaction) throws(Errno) {
    let address = RemoteAddress(rawValue: transaction.arguments[2])
    do throws(Errno) {
      // A socket has an owner to tell, and nowhere to tell it here; other files don't know the request.
      _ = try transaction.step(.perform) { transaction throws(Errno) in
        try transaction.host.perform(
          .ioctl, CallArguments(transaction.arguments[0], Self.getOwner, 0),
          for: transaction.caller)
      }
    } catch {
      if error != .badAddress { throw error }
    }
    let name = try transaction.read(Int32.self, at: address)
    let physical = try FileOwner.owner.physical(of: name, in: &transaction)
    transaction.physicalCall = .fcntl
    transaction.physicalArguments[1] = NameFileOwner.setOwner
    transaction.physicalArguments.setInt(2, to: physical)
  }
}

/// Shows the owner of a file in the result, where a group's negative number looks like an error: the kernel is asked
/// for it in memory.
///
/// Source: F_GETOWN(2const), "Bugs"; COVERAGE P65.
struct ShowFileOwner: Wrapper {
  private static let getOwnerEx: UInt64 = 16
  private static let group: Int32 = 2

  func preamble(_ transaction: inout Transaction) throws(Errno) {
    var owner: (kind: Int32, name: Int32) = (0, 0)
    let host = transaction.host
    let scratch = try withUnsafeBytes(of: &owner) { bytes throws(Errno) in
      try host.scratch(bytes)
    }
    transaction.physicalArguments[1] = Self.getOwnerEx
    transaction.physicalArguments[2] = scratch.rawValue
  }

  func epilogue(_ transaction: inout Transaction) throws(Errno) {
    guard case .success? = transaction.result else { return }
    let owner = RemoteAddress(rawValue: transaction.physicalArguments[2])
    let kind = try transaction.read(Int32.self, at: owner)
    let physical = try transaction.read(Int32.self, at: owner.advanced(by: 4))
    let name = transaction.step(.virtualize, on: physical) {
      ProcessID.virtualize(physical, in: $0.names) ?? 0
    }
    let shown = Int(name ?? physical)
    transaction.result = .success(kind == Self.group ? -shown : shown)
  }
}

/// Shows who holds a lock: 0 for who is outside the pod, −1 stays for a lock of an open file description.
///
/// Source: F_GETLK(2const), `struct flock` on 64-bit machines; COVERAGE P67.
struct ShowLockHolder: Wrapper {
  private static let unlocked: Int16 = 2
  private static let holderOffset = 24

  func epilogue(_ transaction: inout Transaction) throws(Errno) {
    guard case .success? = transaction.result else { return }
    let lock = RemoteAddress(rawValue: transaction.arguments[2])
    // Without a conflicting lock the holder's field is still the program's own.
    if try transaction.read(Int16.self, at: lock) == Self.unlocked { return }
    let address = lock.advanced(by: Self.holderOffset)
    let physical = try transaction.read(Int32.self, at: address)
    guard physical > 0 else { return }
    let name = transaction.step(.virtualize, on: physical) {
      ProcessID.virtualize(physical, in: $0.names) ?? 0
    }
    try transaction.write(name ?? physical, to: address)
  }
}
