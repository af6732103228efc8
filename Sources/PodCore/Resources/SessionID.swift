public import SystemPackage

/// Session ids, and the terminal calls that show groups and sessions.
public enum SessionID: Resource {
  /// "session".
  public static let label = "session"
  /// ESRCH.
  public static let unknownName = Errno.noSuchProcess
  /// The pod's init.
  public static let untouchable: Int32? = 1

  /// The kernel's number of a session: that of the process, ended or not, that made it.
  ///
  /// - Throws: `.noSuchProcess`.
  public static func resolve(
    _ name: Int32, in transaction: inout Transaction
  ) throws(Errno) -> Int32 {
    try ProcessGroup.resolve(name, in: &transaction)
  }

  /// The pod's name of a session.
  public static func virtualize(_ name: Int32, in names: PodNames) -> Int32? {
    ProcessID.virtualize(name, in: names)
  }

  private static let sid = NameShape(SessionID.self)
  private static let pid = NameShape(ProcessID.self, zero: .caller)
  private static let pgid = NameShape(ProcessGroup.self)

  /// Terminal requests. Source: include/uapi/asm-generic/ioctls.h.
  static let getForegroundGroup: UInt32 = 0x540F
  static let setForegroundGroup: UInt32 = 0x5410
  static let getSession: UInt32 = 0x5429

  /// The rows of sessions.
  public static let boundary: [BoundaryRow] = [
    .wrapped(.setsid, by: MakeSession(), showing: [.result(sid)], performed: .inCaller),  // P6
    .wrapped(
      .getsid, by: ShowMembership(), naming: [.argument(0, pid)], showing: [.result(sid)],
      performed: .inCaller, reaching: .caller),  // P4
    .translated(
      .ioctl, when: .argument(1, is: getForegroundGroup, "TIOCGPGRP"), out: [.memory(2, pgid)],
      performed: .inCaller, reaching: .caller),  // P70
    .translated(
      .ioctl, when: .argument(1, is: setForegroundGroup, "TIOCSPGRP"), in: [.memory(2, pgid)],
      performed: .inCallerBlocking),  // P70
    .translated(
      .ioctl, when: .argument(1, is: getSession, "TIOCGSID"), out: [.memory(2, sid)],
      performed: .inCaller, reaching: .caller),  // P70
  ]
}

/// Makes the caller the leader of a session and a group of its own.
///
/// Source: setsid(2); COVERAGE P6.
struct MakeSession: Wrapper {
  func epilogue(_ transaction: inout Transaction) throws(Errno) {
    guard case .success? = transaction.result else { return }
    let process = transaction.caller.process
    transaction.step(.publish, on: process.rawValue) {
      try? $0.names.processes.makeSession(process)
    }
    transaction.result = .success(Int(process.rawValue))
  }
}
