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
    counts.took(hypercall: number)
    switch pod_page_hypercall(rawValue: number) {
    case POD_HYPERCALL_CALL: serveCall(notification, thread)
    case POD_HYPERCALL_NAME:
      let number = Int32(truncatingIfNeeded: notification.arguments.c)
      let name = ProcessID.virtualize(number, in: supervisor.names)
      answer(notification, .success(Int(name ?? 0)))
    case POD_HYPERCALL_BIRTH_BEGIN: beginBirth(notification, thread)
    case POD_HYPERCALL_BIRTH_SLEEPS: sleepThroughBirth(notification, thread)
    case POD_HYPERCALL_BIRTH_WAKES: wakeFromBirth(notification, thread)
    case POD_HYPERCALL_BIRTH_END: endBirth(notification, thread)
    case POD_HYPERCALL_MADE: nameMade(notification, thread)
    case POD_HYPERCALL_ARRIVED: arrive(notification, thread)
    case POD_HYPERCALL_WAITED:
      // It may have to wait for what somebody else is to hear.
      if supervisor.births.isEmpty { return endWait(notification, thread) }
      slowly(notification) { endWait(notification, thread) }
    case POD_HYPERCALL_ATTACH: giveSegment(notification, thread)
    case POD_HYPERCALL_DETACH: measureSegment(notification, thread)
    default: answer(notification, .failure(.noFunction))
    }
  }

  /// Makes a call for the page that the filter would let it make by itself: one that shows names, and nothing else, so that
  /// it is nothing to a filter of the program's own.
  private func serveCall(_ notification: Notification, _ thread: PodThread) {
    let words = notification.arguments
    let arguments = CallArguments(words.d, words.e, words.f)
    guard let call = UInt16(exactly: words.c).flatMap({ Syscall(rawValue: $0) }),
      let row = supervisor.names.boundary.row(for: call, arguments), row.confined != nil
    else {
      answer(notification, .failure(.noFunction))
      return
    }
    switch row.verb {
    case .answered: lookAt(notification, call, thread, arguments: arguments)
    case _ where Self.onlyLooks(call, arguments, supervisor):
      lookAt(notification, call, thread, arguments: arguments)
    default: answer(notification, .failure(.noFunction))
    }
  }
}
