internal import CLinux
internal import Glibc
package import PodCore
internal import PodLinux
internal import Synchronization
internal import SystemPackage

/// What the machine offers to the seccomp backend: what the kernel answers when it is asked, never what its version
/// promises, since a kernel may have more, and an engine's profile may leave less.
///
/// An answer is what a call returned: a value, or the negated errno. Each call is made so that it can have no effect: with
/// an address that isn't there, a number that nobody has. Whether these processes have a listener already can't be asked
/// that way: a pod's launcher finds out (`PodInit.SupervisionFailure`, EBUSY). pidfd_getfd(2), which engines' profiles deny,
/// isn't asked for: nothing needs it.
package struct MachineSupport: Sendable, Equatable {
  /// seccomp(2) with a filter from nowhere. −EFAULT: filters are taken.
  package var filter: Int32
  /// SECCOMP_GET_ACTION_AVAIL for SECCOMP_RET_USER_NOTIF. 0: notifications are there.
  package var notification: Int32
  /// SECCOMP_GET_NOTIF_SIZES: the sizes in bytes of a notification, a response and a call; nil where it failed.
  package var sizes: [UInt16]?
  /// As ``filter``, with SECCOMP_FILTER_FLAG_NEW_LISTENER. −EFAULT: the flag is known.
  package var listenerFlag: Int32
  /// As ``filter``, with SECCOMP_FILTER_FLAG_TSYNC_ESRCH. It came with Linux 5.7 and has no use here; but answers that let
  /// a call go on, which came with 5.5, can't be asked for without a listener.
  package var successorFlag: Int32
  /// As ``listenerFlag``, with SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV too.
  package var killableFlag: Int32
  /// ptrace(2) of process 0. −ESRCH: it is allowed.
  package var ptrace: Int32
  /// kernel.yama.ptrace_scope; nil where there is no Yama.
  package var traceScope: Int?
  /// Whether the host program has CAP_SYS_PTRACE.
  package var mayTraceAll: Bool
  /// pidfd_open(2) of process −1. −EINVAL: it is allowed.
  package var pidfdOpen: Int32
  /// pidfd_send_signal(2) of descriptor −1. −EBADF: it is allowed.
  package var pidfdSignal: Int32
  /// The version of Landlock's interface.
  package var landlock: Int32
  /// Whether the inode number of a process descriptor is its process's own (Linux 6.9).
  package var hasProcessInodes: Bool
  /// Why /proc doesn't show the host program; nil when it does.
  package var hostObstacle: String?

  /// Asks the machine. Some twenty system calls.
  package static func ask() -> MachineSupport {
    let setModeFilter: UInt32 = 1
    let actionAvailable: UInt32 = 2
    let synchronisedESRCH: UInt32 = 1 << 4
    let listener = CLinux_SECCOMP_FILTER_FLAG_NEW_LISTENER
    var action = CLinux_SECCOMP_RET_USER_NOTIF
    return MachineSupport(
      filter: CLinux_seccomp(setModeFilter, 0, nil),
      notification: CLinux_seccomp(actionAvailable, 0, &action),
      sizes: notificationSizes,
      listenerFlag: CLinux_seccomp(setModeFilter, listener, nil),
      successorFlag: CLinux_seccomp(setModeFilter, synchronisedESRCH, nil),
      killableFlag: CLinux_seccomp(
        setModeFilter, listener | CLinux_SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, nil),
      ptrace: Int32(
        truncatingIfNeeded: CLinux_syscall(Int(SYS_ptrace), 7, 0, 0, 0, 0, 0)),  // PTRACE_CONT
      traceScope: OwnProcess.systemValue("kernel/yama/ptrace_scope"),
      mayTraceAll: OwnProcess.hasCapability(19),
      pidfdOpen: CLinux_pidfd_open(-1, 0),
      pidfdSignal: CLinux_pidfd_send_signal(-1, 0, nil, 0),
      landlock: CLinux_landlock_version(),
      hasProcessInodes: processInodes,
      hostObstacle: OwnProcess.obstacle)
  }

  /// What the machine answered lately: a pod's start wants to know several times.
  package static var recent: MachineSupport {
    lastAnswer.withLock { last in
      if let last, ContinuousClock.now - last.moment < validity { return last.answer }
      let answer = ask()
      last = (answer, .now)
      return answer
    }
  }

  private static let lastAnswer = Mutex<(answer: MachineSupport, moment: ContinuousClock.Instant)?>(
    nil)
  private static let validity = Duration.milliseconds(100)

  private static var notificationSizes: [UInt16]? {
    let getSizes: UInt32 = 3
    var sizes: (UInt16, UInt16, UInt16) = (0, 0, 0)
    return CLinux_seccomp(getSizes, 0, &sizes) == 0 ? [sizes.0, sizes.1, sizes.2] : nil
  }

  private static var processInodes: Bool {
    let number = CLinux_pidfd_open(getpid(), 0)
    guard number >= 0 else { return false }
    let descriptor = OwnedDescriptor(owning: number)
    // struct statfs: its kind is the first of its 15 words. Swift's Glibc doesn't have it.
    var words = [Int](repeating: 0, count: 15)
    let result = words.withUnsafeMutableBytes {
      CLinux_syscall(
        Int(SYS_fstatfs), UInt64(descriptor.rawValue), UInt64(UInt(bitPattern: $0.baseAddress)), 0,
        0, 0, 0)
    }
    let processFiles = 0x5049_4446  // PIDFS_MAGIC
    return result == 0 && words[0] == processFiles
  }

  // MARK: What follows

  /// The flags of the filter's listener beside NEW_LISTENER: those of the wished ones that the kernel knows.
  package var listenerFlags: UInt32 {
    killableFlag == -EFAULT ? CLinux_SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV : 0
  }

  /// Whether Landlock can keep signals in a pod: from version 6 on (Linux 6.12).
  package var hasSignalScope: Bool { landlock >= 6 }

  /// Why the backend can't work here: what is missing and what to do about it, in words; nil when nothing is.
  package var obstacle: String? {
    hostObstacle ?? seccompObstacle ?? handleObstacle ?? tracingObstacle
  }

  private var seccompObstacle: String? {
    if filter != -EFAULT {
      return Self.isDenial(filter)
        ? "seccomp(2) is denied here: check the container's seccomp profile"
        : "this kernel takes no seccomp filters: it is to have CONFIG_SECCOMP_FILTER"
    }
    for answer in [(notification, 0), (listenerFlag, -EFAULT)] where answer.0 != answer.1 {
      return Self.isDenial(answer.0)
        ? "user notifications of seccomp(2) are denied here: check the container's seccomp profile"
        : "this kernel has no user notifications of seccomp(2): Linux 5.7 or newer has"
    }
    if successorFlag != -EFAULT {
      return "this kernel can't let a call go on of which it has notified: Linux 5.7 or newer can"
    }
    if sizes != Self.expectedSizes {
      return "this kernel's notifications have sizes that this program doesn't know ("
        + "\(sizes.map { $0.map(String.init).joined(separator: ", ") } ?? "none")): build it with a newer version of swift-pods"
    }
    return nil
  }

  /// What this program was built with. Source: include/uapi/linux/seccomp.h.
  static let expectedSizes = [
    UInt16(MemoryLayout<seccomp_notif>.size), UInt16(MemoryLayout<seccomp_notif_resp>.size),
    UInt16(MemoryLayout<seccomp_data>.size),
  ]

  private var handleObstacle: String? {
    for (call, answer, expected, version) in [
      ("pidfd_open", pidfdOpen, -EINVAL, "5.3"), ("pidfd_send_signal", pidfdSignal, -EBADF, "5.1"),
    ] where answer != expected {
      return answer == -ENOSYS
        ? "\(call)(2) isn't there: Linux \(version) or newer has it, unless the container's seccomp profile denies it"
        : "\(call)(2) is denied here: check the container's seccomp profile"
    }
    return nil
  }

  private var tracingObstacle: String? {
    if ptrace != -ESRCH {
      return "ptrace(2) is denied here: check the container's seccomp profile"
    }
    switch traceScope ?? 0 {
    case 0: return nil
    case 1 where mayTraceAll: return nil
    case 1:
      return "this machine lets a program trace its descendants only, and a pod's aren't: set "
        + "kernel.yama.ptrace_scope to 0, or give this program CAP_SYS_PTRACE"
    case 2 where mayTraceAll: return nil
    case 2:
      return
        "this machine lets only privileged programs trace: set kernel.yama.ptrace_scope to 0, or give "
        + "this program CAP_SYS_PTRACE"
    default:
      return
        "this machine lets nobody trace (kernel.yama.ptrace_scope is \(traceScope ?? 0)) until it "
        + "is restarted with another setting"
    }
  }

  /// What is done without: what isn't as good as it could be, in words.
  package var shortcomings: [String] {
    var words: [String] = []
    if killableFlag != -EFAULT {
      words.append(
        "signals interrupt calls that are being answered, which then are made again: Linux 5.19 or newer waits "
          + "(SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)")
    }
    if !hasSignalScope { words.append("the kernel doesn't keep signals in the pod: \(scopeLack)") }
    if !hasProcessInodes {
      words.append(
        "processes are told apart by the time of their start, in hundredths of a second: Linux 6.9 or newer gives "
          + "them numbers that aren't used again")
    }
    return words
  }

  private var scopeLack: String {
    switch landlock {
    case -EOPNOTSUPP: "Landlock is switched off: add landlock to the kernel's option lsm="
    case -ENOSYS: "this kernel has no Landlock, or the container's seccomp profile denies it"
    case ..<0: "Landlock is denied here: check the container's seccomp profile"
    default: "Landlock's version is \(landlock), and Linux 6.12 or newer has version 6"
    }
  }

  private static func isDenial(_ answer: Int32) -> Bool {
    answer == -EPERM || answer == -EACCES
  }

  // MARK: Containment

  /// What encloses a pod of a configuration here.
  ///
  /// - Parameters:
  ///   - configuration: What is asked of the pod.
  ///   - objects: Who has its System V objects.
  ///   - hasDirectory: Whether it has a directory for its POSIX objects.
  package func containment(
    of configuration: PodConfiguration, objects: ObjectProvider, hasDirectory: Bool = true
  ) -> Containment {
    Containment([
      .processes: processes(configuration.capabilities),
      .ipc: KernelObjects.containment(
        of: configuration, objects: objects, hasDirectory: hasDirectory,
        isScoped: hasSignalScope),
      .terminals: .init(
        .namedOnly, by: "a program on a terminal has a session of its own, and no host terminal"),
    ])
  }

  private func processes(_ capabilities: CapabilitySet) -> Containment.Part {
    let supervisor = "the supervisor makes, or refuses, every call that names a process"
    if hasSignalScope {
      return .init(
        .kernel,
        by:
          "Landlock (version \(landlock)) keeps signals and tracing in the pod, and \(supervisor); "
          + "files of /proc that tune a process of the user's are the host's")
    }
    let isKept = capabilities.contains(.sysPtrace) && mayTraceAll
    if let traceScope, traceScope > 0, !isKept {
      return .init(
        .supervisor,
        by:
          "\(supervisor), and Yama (scope \(traceScope)) keeps memory of processes outside out of reach; "
          + "\(scopeLack)")
    }
    return .init(
      .namedOnly,
      by:
        "\(supervisor); the files of /proc are the host's, and what the user may do there a program in the "
        + "pod may too: \(scopeLack)")
  }
}
