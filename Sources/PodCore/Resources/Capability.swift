import SystemPackage

/// Capabilities: what a thread may do.
public enum Capability {
  private static let thread = NameShape(ThreadID.self, zero: .caller)
  private static let until = "a pod has user ids of its own"
  private static let leaks = "host capabilities"

  private static func option(_ number: UInt32, _ label: String) -> Variant {
    .argument(0, is: number, label)
  }

  /// The rows of capabilities. Source: include/uapi/linux/{capability,prctl}.h.
  public static let boundary: [BoundaryRow] = [
    .wrapped(
      .capget, by: NameCapabilityHolder(), naming: [.field(4, of: 0, thread)],
      performed: .onCopy),  // P47, N12
    .wrapped(
      .capset, by: NameCapabilityHolder(), naming: [.field(4, of: 0, thread)],
      performed: .inCaller),  // P47, N12
    .native(.prctl, when: option(7, "PR_GET_KEEPCAPS"), until: until, leaks: leaks),  // N12
    .native(.prctl, when: option(8, "PR_SET_KEEPCAPS"), until: until, leaks: leaks),  // N12
    .native(.prctl, when: option(23, "PR_CAPBSET_READ"), until: until, leaks: leaks),  // N12
    .native(.prctl, when: option(24, "PR_CAPBSET_DROP"), until: until, leaks: leaks),  // N12
    .native(.prctl, when: option(27, "PR_GET_SECUREBITS"), until: until, leaks: leaks),  // N12
    .native(.prctl, when: option(28, "PR_SET_SECUREBITS"), until: until, leaks: leaks),  // N12
    .native(.prctl, when: option(47, "PR_CAP_AMBIENT"), until: until, leaks: leaks),  // N12
    .native(
      .prctl, when: option(39, "PR_GET_NO_NEW_PRIVS"), until: "never: a pod needs it",
      leaks: "that no_new_privs is on"),  // N12
    .native(
      .prctl, when: option(0x4155_5856, "PR_GET_AUXV"), until: until, leaks: UserID.leaks),  // N7
  ]
}

/// Names the thread whose capabilities are meant, in the header that the call points to.
///
/// Source: capget(2), `cap_user_header_t`; COVERAGE P47.
struct NameCapabilityHolder: Wrapper {
  private static let headerSize = 8
  private static let nameOffset = 4
  private static let thread = NameShape(ThreadID.self, zero: .caller, onlyLooks: true)

  func preamble(_ transaction: inout Transaction) throws(Errno) {
    try transaction.passCopy(ofArgument: 0, byteCount: Self.headerSize) {
      header, transaction throws(Errno) in
      let own = transaction.caller.physicalThread.rawValue
      let name = header.load(fromByteOffset: Self.nameOffset, as: Int32.self)
      var physical = own
      if name != 0 {
        do throws(Errno) {
          physical = try Self.thread.physical(of: name, in: &transaction)
        } catch {
          throw transaction.call == .capset ? .notPermitted : error
        }
      }
      // Only the caller's own can be changed.
      if transaction.call == .capset, physical != own { throw .notPermitted }
      header.storeBytes(of: physical, toByteOffset: Self.nameOffset, as: Int32.self)
    }
  }

  /// The kernel answers an unknown version with the one that it prefers, in the header.
  func epilogue(_ transaction: inout Transaction) throws(Errno) {
    let header = RemoteAddress(rawValue: transaction.arguments[0])
    let copy = RemoteAddress(rawValue: transaction.physicalArguments[0])
    if header.isNull { return }
    let version = try transaction.read(UInt32.self, at: copy)
    if try transaction.read(UInt32.self, at: header) != version {
      try transaction.write(version, to: header)
    }
  }
}
