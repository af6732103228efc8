internal import Glibc
package import PodCore
internal import SystemPackage

/// Where the kernel can have a pod's System V objects and POSIX queues, and what then keeps them apart.
package enum KernelObjects {
  /// CAP_SYS_ADMIN.
  static let capability = 21

  /// Why a pod of this configuration gets no IPC namespace, as far as that can be told beforehand: what is missing and what
  /// to do, in words; nil when nothing is known to be missing.
  package static func obstacle(for configuration: PodConfiguration) -> String? {
    if configuration.systemV == .emulated { return "they are to be emulated" }
    if !configuration.mayMount { return "the pod may mount nothing" }
    if !OwnProcess.hasCapability(capability), !configuration.userNamespace {
      return
        "an IPC namespace needs CAP_SYS_ADMIN, which this program doesn't have: run it as root, allow a user "
        + "namespace, or have the objects emulated"
    }
    // Source: ipc_namespaces(7).
    if access("/proc/self/ns/ipc", F_OK) != 0 {
      return "this kernel has no IPC namespaces: it is to have CONFIG_IPC_NS"
    }
    return nil
  }

  /// Whether the pod of a configuration gets a user namespace.
  package static func takesUserNamespace(_ configuration: PodConfiguration) -> Bool {
    configuration.userNamespace && !OwnProcess.hasCapability(capability)
  }

  /// Whether the pod's init may mount, as far as that can be told beforehand.
  static func mayMount(_ configuration: PodConfiguration) -> Bool {
    configuration.mayMount
      && (OwnProcess.hasCapability(capability) || configuration.userNamespace)
  }

  /// What an attempt's failure means.
  static func explanation(of error: Errno) -> String {
    switch error {
    case .noSpace:
      "there are as many IPC or mount namespaces as user.max_ipc_namespaces and user.max_mnt_namespaces allow"
    case .notPermitted, .permissionDenied:
      "unshare(2) or mount(2) is denied here: check the container's seccomp profile and its security module"
    default: "the pod's init can't have an IPC namespace and its mounts"
    }
  }

  /// A pod is to have a user namespace and can't, or nothing comes of it: its init may be in one without ids.
  static func lackingUser(_ error: Errno) -> PodError {
    PodError(
      .objectsUnavailable,
      "the pod can't have a user namespace and mount in it: they are denied here (sysctl user.max_user_namespaces, "
        + "kernel.unprivileged_userns_clone or kernel.apparmor_restrict_unprivileged_userns, a container's seccomp "
        + "profile); make it without userNamespace (podrun: without --user-namespace)",
      underlyingError: error)
  }

  static func lacking(_ reason: String, _ error: Errno? = nil) -> PodError {
    PodError(
      .objectsUnavailable, "System V objects of the kernel's can't be had: \(reason)",
      underlyingError: error)
  }

  /// Capabilities with which root reaches objects outside: other namespaces (CAP_SYS_ADMIN), what processes outside see
  /// (CAP_SYS_PTRACE, CAP_CHECKPOINT_RESTORE), files by handle in the host's /dev/shm (CAP_DAC_READ_SEARCH), and the
  /// kernel itself.
  private static let reaching: [CapabilitySet] = [
    .sysAdmin, .sysPtrace, .checkpointRestore, .dacReadSearch, .sysModule, .sysRawio, .bpf,
    .perfmon,
  ]

  /// What keeps a pod's IPC and the host's apart.
  ///
  /// - Parameters:
  ///   - configuration: The pod's.
  ///   - objects: Who has its objects.
  ///   - hasDirectory: Whether it has a ``PodDirectory``.
  ///   - isScoped: Whether Landlock keeps processes outside, and what they see (`/proc/PID/root`), out of its reach.
  package static func containment(
    of configuration: PodConfiguration, objects: ObjectProvider, hasDirectory: Bool,
    isScoped: Bool
  ) -> Containment.Part {
    guard hasDirectory else {
      return .init(
        .none,
        by:
          "System V objects are emulated, and none of the kernel's is reached; POSIX objects are the host's, since no "
          + "directory can be made in /dev/shm")
    }
    guard objects == .kernel else {
      return .init(
        .namedOnly,
        by:
          "System V objects are emulated, and none of the kernel's is reached; POSIX objects have names of the pod's own, "
          + "and a program that works around them finds the host's")
    }
    let own =
      "System V objects and POSIX queues are in an IPC namespace, and /dev/shm is a mount, of the pod's own"
    let kept = reaching.filter { capability in
      configuration.capabilities.contains(capability)
        && (takesUserNamespace(configuration)
          || OwnProcess.hasCapability(capability.rawValue.trailingZeroBitCount))
    }
    if !kept.isEmpty {
      let words = kept.map { "\($0)" }.joined(separator: ", ")
      return .init(
        .namedOnly, by: "\(own); what programs keep of capabilities leads out (\(words))")
    }
    guard isScoped else {
      return .init(
        .namedOnly,
        by:
          "\(own); /proc/PID/root of a process outside of the same user, with no more capabilities, leads to the host's "
          + "/dev/shm, which only Landlock prevents")
    }
    return .init(
      .kernel, by: "\(own), and Landlock keeps processes outside, and what they see, out of reach")
  }

  /// Who will have the objects of a pod of this configuration, as far as that can be told beforehand.
  package static func expected(for configuration: PodConfiguration) -> ObjectProvider {
    obstacle(for: configuration) == nil ? .kernel : .hostProgram
  }
}
