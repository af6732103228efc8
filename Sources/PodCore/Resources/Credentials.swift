internal import SystemPackage

/// What a process may do and who may look at it.
public enum Credentials {
  private static func option(_ number: UInt32, _ label: String) -> Variant {
    .argument(0, is: number, label)
  }

  /// The rows of credentials. Source: include/uapi/linux/prctl.h.
  public static let boundary: [BoundaryRow] = [
    .wrapped(.prctl, when: option(3, "PR_GET_DUMPABLE"), by: Dumpable(), performed: .inCaller),
    .wrapped(.prctl, when: option(4, "PR_SET_DUMPABLE"), by: Dumpable(), performed: .inCaller),
  ]
}

/// Keeps the dumpable flag virtual: the program sees what it set, and the supervisor keeps its access to the process's
/// memory.
///
/// Source: DESIGN.md §4.7; PR_SET_DUMPABLE(2const).
struct Dumpable: Wrapper {
  func preamble(_ transaction: inout Transaction) throws(Errno) {
    let state = transaction.host.callerState
    if transaction.arguments.int(0) == 3 {
      if let dumpable = state.dumpable { transaction.result = .success(Int(dumpable)) }
      return
    }
    guard transaction.arguments[1] <= 1 else { throw .invalidArgument }
    state.dumpable = transaction.arguments.int(1)
    transaction.result = .success(0)
  }
}
