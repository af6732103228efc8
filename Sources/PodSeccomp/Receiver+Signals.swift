internal import CPodLayout
internal import PodCore
internal import PodLinux
internal import SystemPackage

/// How a program's handlers come to be called by stubs in the pod's area (`Sources/CPodVDSO/page/signals.h`), which show
/// them names of the pod.
extension Receiver {
  /// Serves rt_sigaction(2). What needs no stub, and can't read back one, the caller's kernel does.
  ///
  /// The program may write other things to its memory after we have looked: then it gets a handler without a stub, or sees
  /// one's address. Neither concerns anybody else.
  func setAction(_ notification: Notification, _ thread: PodThread) {
    guard passesInterposers(notification, .rt_sigaction, thread) else { return }
    let space = thread.process.space
    // Embedders who want to see these calls see the program's own, not what becomes of them in the area.
    let isSeen = supervisor.names.interposers.contains { $0.calls.contains(.rt_sigaction) }
    guard space.hasArea, !isSeen, !isFromPage(notification) else {
      letPass(notification)
      return
    }
    let arguments = notification.arguments
    let needsStub = needsStub(notification, thread)
    let signal = arguments.int(0)
    let mayHaveStub = arguments.c != 0 && space.mayHaveStub(signal)
    // From a patched site stubs come unheard: what may have had one is looked at first.
    if patchSite(of: notification, .rt_sigaction, thread) { return }
    if needsStub { space.expectStub(signal) }
    if needsStub || mayHaveStub {
      return slowly(notification) { attend(notification, .rt_sigaction, thread, inArea: true) }
    }
    letPass(notification)
  }

  /// Whether a handler that is to be set gets a stub.
  func needsStub(_ notification: Notification, _ thread: PodThread) -> Bool {
    let action = RemoteAddress(rawValue: notification.arguments.b)
    // Stubs make calls that filters of the program's own may kill for, and embedders see the program's own calls.
    return !action.isNull && !thread.process.hasOwnFilters
      && !supervisor.names.interposers.contains { $0.calls.contains(.rt_sigaction) }
      && needsStub(action, of: notification.tid)
  }

  /// Whether an action that is to be set names a handler, as far as can be seen.
  func setsHandler(_ action: RemoteAddress, of tid: Int32) -> Bool {
    if action.isNull { return false }
    let handler = try? RemoteMemory().read(action, as: UInt64.self, stopped: tid)
    return handler.map { $0 > 1 } ?? true
  }

  private static let showsSender: UInt64 = 0x4
  private static let restartsCalls: UInt64 = 0x1000_0000

  /// As `page_needs_stub` in `page/signals.h`, as far as can be seen. SIG_DFL and SIG_IGN are 0 and 1.
  ///
  /// Source: arch/x86/include/uapi/asm/signal.h, `struct sigaction`.
  private func needsStub(_ action: RemoteAddress, of tid: Int32) -> Bool {
    // Whether it is the caller's memory that is read doesn't matter if the caller is gone meanwhile.
    let words = try? RemoteMemory().read(action, as: SIMD2<UInt64>.self, stopped: tid)
    guard let words, let stubs = supervisor.area?.base.advanced(by: Int(POD_AREA_STUBS)) else {
      return true
    }
    let (handler, flags) = (words[0], words[1])
    let isStub = stubs.rawValue..<stubs.rawValue + UInt64(POD_AREA_STUBS_SIZE) ~= handler
    if handler <= 1 || isStub { return false }
    return flags & Self.showsSender != 0 || flags & Self.restartsCalls == 0
  }
}
