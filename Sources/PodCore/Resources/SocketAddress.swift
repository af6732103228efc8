import SystemPackage

/// Addresses of sockets, and who is at their other end.
public enum SocketAddress {
  private static let until = "a pod has addresses of its own"
  private static let leaks = "host addresses"
  private static let addresses = "host addresses; physical pids of netlink"
  private static let handles =
    "a peer may be outside, and a descriptor of it reaches it; kernels before 6.5 know no such option"
  private static let credentials = "host addresses; physical pids in credentials"

  private static func option(_ number: UInt32, _ label: String) -> Variant {
    .argument(1, is: 1, "SOL_SOCKET").and(.argument(2, is: number, label))
  }

  /// The rows of sockets. Source: include/uapi/asm-generic/socket.h.
  public static let boundary: [BoundaryRow] = [
    .native(.socket, until: until, leaks: "the host's protocols"),  // W4
    .native(.bind, until: until, leaks: leaks),  // W1, P75, I22, R1
    .native(.connect, until: until, leaks: leaks),  // W1, I22, R1
    .native(.accept, until: until, leaks: leaks),  // W1, I22
    .native(.accept4, until: until, leaks: leaks),  // W1, I22
    .native(.getsockname, until: until, leaks: addresses),  // W1, P75
    .native(.getpeername, until: until, leaks: leaks),  // W1, I22
    .native(.sendto, until: until, leaks: leaks),  // W1, P76, R1
    .native(.recvfrom, until: until, leaks: addresses),  // W1, P75
    .native(.sendmsg, until: until, leaks: credentials),  // W1, P73, P76, R1
    .native(.sendmmsg, until: until, leaks: credentials),  // W1, P73
    .native(.recvmsg, until: until, leaks: credentials),  // W1, P72, P74
    .native(.recvmmsg, until: until, leaks: credentials),  // W1, P74
    .native(
      .getsockopt, when: option(17, "SO_PEERCRED"), until: "peers' credentials are translated",
      leaks: "the peer's physical pid and user ids"),  // P71, N13
    .native(
      .getsockopt, when: option(59, "SO_PEERGROUPS"), until: UserID.until,
      leaks: UserID.leaks),  // N13
    .refused(
      .getsockopt, when: option(77, "SO_PEERPIDFD"), .protocolNotAvailable,
      because: handles),  // P72
    .refused(
      .setsockopt, when: option(76, "SO_PASSPIDFD"), .protocolNotAvailable,
      because: handles),  // P72
    .native(.getsockopt, until: until, leaks: leaks),  // W1
    .native(.setsockopt, until: until, leaks: leaks),  // W1
  ]
}
