import SystemPackage

/// The names of the system.
public enum HostName {
  private static let until = "a pod has a host name of its own"

  /// The rows of host names.
  public static let boundary: [BoundaryRow] = [
    .native(.uname, until: until, leaks: "the host's name and kernel version"),  // N1
    .open(.sethostname, .notPermitted, until: until),  // N2
    .open(.setdomainname, .notPermitted, until: until),  // N2
  ]
}
