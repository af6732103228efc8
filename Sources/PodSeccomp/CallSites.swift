internal import CPodLayout
internal import Glibc
internal import PodCore
internal import PodLinux
internal import Synchronization
internal import SystemPackage

/// What is known of the call sites in one address space: how often calls came from them as notifications, and which trampolines
/// may be free.
///
/// Nothing here says that a site is patched: the program may have unmapped it and mapped something else, and a call may come
/// from a patched one all the same. Whoever looks, looks at the text.
struct CallSites {
  /// Whether sites may be patched.
  private var isOpen = true
  private var hasBegun = false
  /// The first slot that may be free.
  private var slot = 1
  /// By the address behind the call.
  private var calls: [UInt64: Count] = [:]
  private struct Count {
    var seen: UInt32 = 0
    var next: UInt32
  }
  private static let slots = Int(POD_TRAMPOLINES_SIZE / POD_TRAMPOLINE_SIZE)
  /// So many sites are looked at: code that moves about would leave more and more of them.
  private static let most = 256

  /// Where the trampolines of a process are, as it says itself; nil where there are none.
  static func trampolines(
    in memory: RemoteMemory, area: RemoteAddress, stopped: Int32? = nil
  ) -> RemoteAddress? {
    let place = area.advanced(by: Int(POD_AREA_TRAMPOLINES))
    guard let address = try? memory.read(place, as: UInt64.self, stopped: stopped), address != 0,
      address % UInt64(POD_TRAMPOLINES_SIZE) == 0
    else { return nil }
    return RemoteAddress(rawValue: address)
  }

  /// No site is to be patched any more.
  mutating func end() { isOpen = false }

  /// Whether no call has come yet.
  var isFirst: Bool { isOpen && !hasBegun }

  /// Counts a call.
  ///
  /// - Parameter first: With which call of a site it is looked at.
  /// - Returns: Whether its site is to be looked at: then, and now and then where that didn't help.
  mutating func isDue(_ end: RemoteAddress, from first: UInt32) -> Bool {
    guard isOpen else { return false }
    hasBegun = true
    guard calls[end.rawValue] != nil || calls.count < Self.most else { return false }
    var count = calls[end.rawValue, default: Count(next: first)]
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
    _ site: CallSite, _ memory: RemoteMemory, _ trampolines: RemoteAddress, area: RemoteAddress
  ) throws(Errno) -> Bool {
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
    // Should more come, something else is there.
    calls[site.end.rawValue] = nil
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
    let space = process.space
    guard !process.hasOwnFilters, !process.speaksForInit, space.hasArea else { return }
    space.withCallSites { sites in
      let end = notification.instructionPointer
      let savesAttach = KnownSites.savesAttach(call)
      let isFirst = sites.isFirst && !supervisor.knownSites.isEmpty
      let isDue = sites.isDue(end, from: savesAttach ? 1 : Self.callsBeforePatching)
      guard isFirst || isDue, process.threads.count == 1, space.sharers == 1,
        ProcessStatus.Disturbances(of: notification.tid)?.leavesTextAlone ?? false,
        let memory = memory(of: notification), !isShared(memory, area),
        let trampolines = CallSites.trampolines(in: memory, area: area.base),
        let text = CodeMapping.text(around: end, trampolines: trampolines, of: notification.tid)
      else { return }
      let patch = { (sites: inout CallSites, end, call) in
        self.patch(end, of: call, &sites, space, memory, trampolines, area)
      }
      if isDue, patch(&sites, end, call), savesAttach {
        supervisor.knownSites.insert(end, of: call, in: text)
      }
      guard isFirst else { return }
      for (other, call) in supervisor.knownSites.sites(in: text) where other != end {
        _ = patch(&sites, other, call)
      }
    }
  }

  /// Whether the page says that other processes may share the memory, of which nobody else may have heard.
  private func isShared(_ memory: RemoteMemory, _ area: PodArea) -> Bool {
    let cache = area.base.advanced(by: Int(POD_AREA_CACHE))
    return (try? memory.read(cache, as: pod_page_cache.self).sharers) != 0
  }

  /// With which call a site is patched that is only answered faster: doing it costs as much as some two notifications.
  private static let callsBeforePatching: UInt32 = 3

  /// - Returns: Whether a call's site is one that can be patched, and is.
  private func patch(
    _ end: RemoteAddress, of call: Syscall, _ sites: inout CallSites, _ space: AddressSpace,
    _ memory: RemoteMemory, _ trampolines: RemoteAddress, _ area: PodArea
  ) -> Bool {
    do throws(Errno) {
      let text = try memory.readBytes(
        end.advanced(by: -CallSite.lookedAtBefore),
        count: CallSite.lookedAtBefore + CallSite.lookedAtBehind)
      guard let site = CallSite(end, in: text, of: Int(call.rawValue)),
        site.number != nil || supervisor.names.interposers.isEmpty
      else { return false }
      // The page gives handlers stubs without telling.
      if site.number.map({ $0 == Syscall.rt_sigaction.rawValue }) ?? true { space.expectStubs() }
      return try sites.patch(site, memory, trampolines, area: area.base)
    } catch {
      return false
    }
  }
}

/// Where in the files that a pod's programs execute processes are made and waited for: each program that has only just begun
/// is likely to do it there too.
final class KnownSites: Sendable {
  private let files = Mutex<[TextFile: [UInt64: Syscall]]>([:])
  private let count = Atomic<Int>(0)
  /// So many are known at most: a pod may make files without end.
  private static let most = 64

  /// Whether a call that isn't made in the page takes an attach.
  static func savesAttach(_ call: Syscall) -> Bool {
    switch call {
    case .fork, .vfork, .clone, .wait4, .waitid: true
    default: false
    }
  }

  var isEmpty: Bool { count.load(ordering: .relaxed) == 0 }

  func insert(_ end: RemoteAddress, of call: Syscall, in text: Text) {
    let place = end.rawValue - text.start.rawValue + text.offset
    files.withLock { files in
      guard count.load(ordering: .relaxed) < Self.most,
        files[text.file, default: [:]].updateValue(call, forKey: place) == nil
      else { return }
      count.add(1, ordering: .relaxed)
    }
  }

  /// Those that lie in a mapping.
  func sites(in text: Text) -> [(end: RemoteAddress, call: Syscall)] {
    let places = files.withLock { $0[text.file] ?? [:] }
    return places.compactMap { place, call in
      guard place >= text.offset, place - text.offset < text.count else { return nil }
      return (text.start.advanced(by: Int(place - text.offset)), call)
    }
  }
}

extension ProcessStatus.Disturbances {
  /// Whether nobody but the process's one thread looks at its text.
  fileprivate var leavesTextAlone: Bool { threads == 1 && tracer == 0 }
}
