import SystemPackage

/// Terminals, pseudo-terminals and other devices. (Groups and sessions on them: ``SessionID``; owners: ``FileOwner``.)
public enum Terminal {
  private static func request(_ number: UInt32, _ label: String) -> Variant {
    .argument(1, is: number, label)
  }

  private static let injects = "it puts input into a terminal, or takes another's output"
  private static let console = "virtual consoles are the host's"
  private static let numbers = "a pod numbers its pseudo-terminals"

  /// The rows of terminals. Source: include/uapi/asm-generic/ioctls.h, include/uapi/linux/{kd,vt,nsfs}.h.
  public static let boundary: [BoundaryRow] = [
    .refused(.ioctl, when: request(0x5412, "TIOCSTI"), .notPermitted, because: injects),  // T13
    .refused(.ioctl, when: request(0x541C, "TIOCLINUX"), .notPermitted, because: injects),  // T13
    .refused(.ioctl, when: request(0x541D, "TIOCCONS"), .notPermitted, because: injects),  // T13
    .refused(
      .ioctl, when: request(0x5437, "TIOCVHANGUP"), .notPermitted,
      because: "it takes the terminal from everyone"),  // T13
    .refused(.vhangup, .notPermitted, because: "it takes the terminal from everyone"),  // T13
    .refused(
      .ioctl, when: .argument(1, masked: 0xFFFF_FF00, is: 0x4B00, "KD…"),
      .inappropriateIOCTLForDevice, because: console),  // T13
    .refused(
      .ioctl, when: .argument(1, masked: 0xFFFF_FFF0, is: 0x5600, "VT_…"),
      .inappropriateIOCTLForDevice, because: console),  // T13, P79
    .native(
      .ioctl, when: request(0x8004_5430, "TIOCGPTN"), until: numbers,
      leaks: "the host's number of a pseudo-terminal"),  // T2
    .native(
      .ioctl, when: request(0x8004_5432, "TIOCGDEV"), until: numbers,
      leaks: "the host's number of a terminal"),  // T10
    .refused(
      .ioctl, when: .argument(1, masked: 0xFF00, is: 0xB700, "NS_…"),
      .inappropriateIOCTLForDevice,
      because: "it translates between kernel pid namespaces; older kernels lack it"),  // P38
    .native(
      .ioctl, until: "a pod has a list of devices",
      leaks: "what devices know of processes and users"),  // P79, D2, W3
  ]
}
