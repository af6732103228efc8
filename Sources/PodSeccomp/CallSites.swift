internal import CPodLayout
internal import Glibc
internal import PodCore
internal import PodLinux
internal import SystemPackage

/// What is known of the call sites in one address space: how often calls came from them as notifications, and where the
/// trampolines are of those that are patched.
///
/// Nothing here says that a site is patched: the program may have unmapped it and mapped something else, and a call may come
/// from a patched one all the same. Whoever looks, looks at the text.
struct CallSites {
  /// Where the trampolines are; nil where there are none, or none is to be added.
  private(set) var trampolines: RemoteAddress?
  /// The first slot that may be free.
  private var slot = 1
  /// By the address behind the call.
  private var calls: [UInt64: Count] = [:]
  private struct Count {
    var seen: UInt32 = 0
    var next: UInt32 = CallSites.callsBeforePatching
  }

  /// At which call of a site it is patched.
  static let callsBeforePatching: UInt32 = 2
  private static let slots = Int(POD_TRAMPOLINES_SIZE / POD_TRAMPOLINE_SIZE)
  /// So many sites are looked at: code that moves about would leave more and more of them.
  private static let most = 256

  /// The trampolines' page has been mapped.
  mutating func begin(at address: RemoteAddress) { trampolines = address }

  /// No site is to be patched any more.
  mutating func end() { trampolines = nil }

  /// Counts a call.
  ///
  /// - Returns: Whether its site is to be looked at: now and then where that didn't help.
  mutating func isDue(_ end: RemoteAddress) -> Bool {
    guard trampolines != nil else { return false }
    guard calls[end.rawValue] != nil || calls.count < Self.most else { return false }
    var count = calls[end.rawValue, default: Count()]
    count.seen &+= 1
    let isDue = count.seen >= count.next
    if isDue { count.next = max(count.next, 1).multipliedReportingOverflow(by: 4).partialValue }
    calls[end.rawValue] = count
    return isDue
  }

  /// Puts a site's trampoline into its page, and the jump to it into the program's text.
  ///
  /// What a copy of the memory has may be more than its copy of this knows of, and less: only a slot in which nothing is is taken,
  /// and nothing that might be the program's own is written to.
  ///
  /// - Precondition: Nothing executes the text meanwhile.
  /// - Returns: Whether it is patched.
  /// - Throws: What keeps the memory from being read or written.
  mutating func patch(
    _ site: CallSite, _ memory: RemoteMemory, area: RemoteAddress
  ) throws(Errno) -> Bool {
    guard let trampolines else { return false }
    let size = Int(POD_TRAMPOLINE_SIZE)
    let destination = CallSite.destination(.page, in: area)
    let head = try memory.read(trampolines, as: UInt64.self)
    let isFresh = slot == 1 && head == 0
    guard isFresh || head == destination else { return false }
    while slot < Self.slots {
      let found = try memory.read(
        trampolines.advanced(by: slot * size), as: SIMD4<UInt64>.self)
      if found == SIMD4() { break }
      slot += 1
    }
    guard slot < Self.slots else { return false }
    let address = trampolines.advanced(by: slot * size)
    guard let trampoline = site.trampoline(at: address, in: trampolines),
      let jump = site.jump(to: address)
    else { return false }
    if isFresh {
      try memory.writeCode(trampolines, bytes: withUnsafeBytes(of: destination) { Array($0) })
    }
    try memory.writeCode(address, bytes: trampoline)
    slot += 1
    try memory.writeCode(site.start, bytes: jump)
    return true
  }
}

/// How call sites of programs come to be patched, so that their calls go into the pod's page without a notification.
///
/// A site is patched by the supervisor while its process waits for an answer, has one thread and its memory for itself: so
/// nothing executes the text that is changed, and nobody reads a half of it. Its instruction is one, so that no thread can stand
/// in its middle later either.
extension Receiver {
  /// Patches the site that a call comes from, if that makes later ones cheaper and is time to.
  func patchSite(of notification: Notification) {
    guard let call = UInt16(exactly: notification.number).flatMap({ Syscall(rawValue: $0) }),
      let thread = supervisor.thread(notification.tid)
    else { return }
    patchSite(of: notification, call, thread)
  }

  /// The same.
  func patchSite(of notification: Notification, _ call: Syscall, _ thread: PodThread) {
    guard let area = supervisor.area, supervisor.gains(call), !isFromPage(notification) else {
      return
    }
    let process = thread.process
    guard !process.hasOwnFilters, !process.speaksForInit else { return }
    let space = process.space
    space.withCallSites { sites in
      let end = notification.instructionPointer
      guard sites.isDue(end), let trampolines = sites.trampolines,
        process.threads.count == 1, space.sharers == 1,
        ProcessStatus.Disturbances(of: notification.tid)?.leavesTextAlone ?? false,
        CodeMapping.isText(end, trampolines: trampolines, of: notification.tid),
        let memory = memory(of: notification)
      else { return }
      do throws(Errno) {
        let text = try memory.readBytes(
          end.advanced(by: -CallSite.lookedAtBefore),
          count: CallSite.lookedAtBefore + CallSite.lookedAtBehind)
        guard let site = CallSite(end, in: text, of: Int(call.rawValue)),
          site.number != nil || supervisor.names.interposers.isEmpty
        else { return }
        // The page gives handlers stubs without telling.
        if site.number.map({ $0 == Syscall.rt_sigaction.rawValue }) ?? true { space.expectStubs() }
        _ = try sites.patch(site, memory, area: area.base)
      } catch {
        sites.end()
      }
    }
  }
}

extension ProcessStatus.Disturbances {
  /// Whether nobody but the process's one thread looks at its text.
  fileprivate var leavesTextAlone: Bool { threads == 1 && tracer == 0 }
}
