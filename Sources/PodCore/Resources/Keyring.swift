import SystemPackage

/// The kernel's keys and keyrings.
public enum Keyring {
  private static let until = "a pod has keys of its own"

  /// The rows of keys. Source: include/uapi/linux/keyctl.h.
  public static let boundary: [BoundaryRow] = [
    .native(.add_key, until: until, leaks: "host key serials"),  // I25
    .native(.request_key, until: until, leaks: "host key serials"),  // I25
    .refused(
      .keyctl, when: .argument(0, is: 18, "KEYCTL_SESSION_TO_PARENT"), .notPermitted,
      because: "the parent can be the pod's init"),  // P84
    .native(.keyctl, until: until, leaks: "host key serials and user ids"),  // I25, N18
  ]
}
