internal import CPodLayout
internal import PodCore
internal import PodLinux
internal import SystemPackage

/// What the pod's code in a process tells and asks (`pod_page.h`).
///
/// The page is no trust boundary: any program can say what it says, with the page's address for its instruction pointer.
/// So nothing is believed that the process could not do to itself anyhow, and nothing is given that names others.
extension Receiver {
  /// Whether a call was made where the page's code is, by that code or not.
  func isFromPage(_ notification: Notification) -> Bool {
    supervisor.area?.isCode(notification.instructionPointer) ?? false
  }

  /// Whether a call from the page is for the supervisor: a number of its own could be one that a filter of the program's own
  /// kills for.
  static func isHypercall(_ call: Syscall?, _ arguments: CallArguments) -> Bool {
    call == .getpid && arguments.a == UInt64(POD_PAGE_MAGIC)
  }

  /// Does what the page asks for, or says that it isn't known here (ENOSYS).
  func serveHypercall(_ notification: Notification, _ thread: PodThread) {
    let number = UInt32(exactly: notification.arguments.b) ?? 0
    switch pod_page_hypercall(rawValue: number) {
    case POD_HYPERCALL_BIRTH_BEGIN: beginBirth(notification, thread)
    case POD_HYPERCALL_BIRTH_SLEEPS: sleepThroughBirth(notification, thread)
    case POD_HYPERCALL_BIRTH_WAKES: wakeFromBirth(notification, thread)
    case POD_HYPERCALL_BIRTH_END: endBirth(notification, thread)
    case POD_HYPERCALL_WAITED: endWait(notification, thread)
    default: answer(notification, .failure(.noFunction))
    }
  }
}
