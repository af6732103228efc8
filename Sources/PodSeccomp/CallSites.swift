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
  /// Sites that were due while another process shared the memory, as the child of a vfork does, which posix_spawn has set all
  /// handlers.
  private var waiting: [(end: RemoteAddress, call: Syscall)] = []
  private static let mostWaiting = 8
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

  /// Whether no call was counted.
  var isFresh: Bool { isOpen && !hasBegun && calls.isEmpty }

  /// - Returns: Whether this is the first process that is made, or waited for, as far as it is known.
  mutating func begin() -> Bool {
    defer { hasBegun = true }
    return isOpen && !hasBegun
  }

  /// Counts a call.
  ///
  /// - Parameter first: With which call of a site it is looked at.
  /// - Returns: Whether its site is to be looked at: then, and now and then where that didn't help.
  mutating func isDue(_ end: RemoteAddress, from first: UInt32) -> Bool {
    guard isOpen else { return false }
    guard calls[end.rawValue] != nil || calls.count < Self.most else { return false }
    var count = calls[end.rawValue, default: Count(next: first)]
    count.seen &+= 1
    let isDue = count.seen >= count.next
    if isDue { count.next = max(count.next, 1).multipliedReportingOverflow(by: 4).partialValue }
    calls[end.rawValue] = count
    return isDue
  }

  /// Keeps a site for when nobody else shares the memory.
  mutating func keepWaiting(_ end: RemoteAddress, _ call: Syscall) {
    guard waiting.count < Self.mostWaiting, !waiting.contains(where: { $0.end == end }) else {
      return
    }
    waiting.append((end, call))
  }

  var hasWaiting: Bool { isOpen && !waiting.isEmpty }

  /// Hands over the sites that were kept.
  mutating func takeWaiting() -> [(end: RemoteAddress, call: Syscall)] {
    defer { waiting = [] }
    return waiting
  }

  /// Puts a site's trampoline into its page.
  ///
  /// What a copy of the memory has may be more than its copy of this knows of, and less: only a slot in which nothing is is taken,
  /// and nothing that might be the program's own is written to.
  ///
  /// - Returns: The jump to it; nil where there is no place left, or in reach.
  /// - Throws: What keeps the memory from being read or written.
  mutating func prepare(
    _ site: CallSite, _ memory: RemoteMemory, _ trampolines: RemoteAddress, area: RemoteAddress
  ) throws(Errno) -> [UInt8]? {
    let size = Int(POD_TRAMPOLINE_SIZE)
    let destination = CallSite.destination(.page, in: area)
    let head = try memory.read(trampolines, as: UInt64.self)
    let isFresh = slot == 1 && head == 0
    guard isFresh || head == destination else { return nil }
    while slot < Self.slots {
      let found = try memory.read(
        trampolines.advanced(by: slot * size), as: SIMD4<UInt64>.self)
      if found == SIMD4() { break }
      slot += 1
    }
    guard slot < Self.slots else { return nil }
    let address = trampolines.advanced(by: slot * size)
    guard let trampoline = site.trampoline(at: address, in: trampolines),
      let jump = site.jump(to: address)
    else { return nil }
    if isFresh {
      try memory.writeCode(trampolines, bytes: withUnsafeBytes(of: destination) { Array($0) })
    }
    try memory.writeCode(address, bytes: trampoline)
    slot += 1
    return jump
  }

  /// A site is about to be patched: should more calls come from there, something else is there.
  mutating func forget(_ site: CallSite) { calls[site.end.rawValue] = nil }
}

/// Eight bytes of a program's text, at a multiple of eight, that are to become others.
struct TextChange {
  let address: RemoteAddress
  let expected: UInt64
  let desired: UInt64

  /// Whether the five bytes of a jump at an address are within eight such ones.
  static func isOneStore(_ start: RemoteAddress) -> Bool { start.rawValue % 8 <= 3 }

  /// - Parameters:
  ///   - former: What is there, from `address` on.
  ///   - jump: What is to be at `start`.
  /// - Returns: nil when it takes more than one store.
  init?(_ start: RemoteAddress, former: UInt64, jump: [UInt8]) {
    guard Self.isOneStore(start), jump.count == 5 else { return nil }
    let offset = Int(start.rawValue % 8)
    address = start.advanced(by: -offset)
    expected = former
    var bytes = withUnsafeBytes(of: former) { Array($0) }
    bytes.replaceSubrange(offset..<(offset + jump.count), with: jump)
    desired = bytes.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) }
  }
}

/// How call sites of programs come to be patched, so that their calls go into the pod's page without a notification.
///
/// Mostly the supervisor does it by itself, while a process that has one thread, and its memory for itself, waits for an
/// answer: nothing executes the text that is changed. In a process of several threads the caller does it, attached to for so
/// long, by one store. What is replaced is one instruction, so that no thread can stand in its middle.
extension Receiver {
  /// Patches the site that a call comes from, if that makes later ones cheaper and is time to.
  ///
  /// - Returns: Whether the notification is done with: then the caller makes its call again.
  func patchSite(of notification: Notification) -> Bool {
    guard let call = UInt16(exactly: notification.number).flatMap({ Syscall(rawValue: $0) }),
      let thread = supervisor.thread(notification.tid)
    else { return false }
    return patchSite(of: notification, call, thread)
  }

  /// The same.
  func patchSite(
    of notification: Notification, _ call: Syscall, _ thread: PodThread
  ) -> Bool {
    guard !isFromPage(notification),
      let change = patchSite(behind: notification.instructionPointer, call, notification, thread)
    else { return false }
    slowly(notification) { patchAmongThreads(notification, call, thread, change) }
    return true
  }

  /// Patches the site of a call whose caller waits for an answer.
  ///
  /// - Parameters:
  ///   - end: The address behind the call.
  ///   - hasJustArrived: Whether the area has just come, so that nobody disturbs the caller.
  /// - Returns: What a caller that isn't alone has to change by itself.
  @discardableResult
  func patchSite(
    behind end: RemoteAddress, _ call: Syscall, _ notification: Notification, _ thread: PodThread,
    hasJustArrived: Bool = false
  ) -> TextChange? {
    guard let area = supervisor.area, supervisor.gains(call) else { return nil }
    let process = thread.process
    let space = process.space
    guard !process.hasOwnFilters, !process.speaksForInit, space.hasArea else { return nil }
    return space.withCallSites { sites -> TextChange? in
      let isKnown = KnownSites.hold(call)
      let isFirst = begins(call, &sites, notification.tid)
      let savesAttach = isKnown || call == .rt_sigaction
      let isDue = sites.isDue(end, from: savesAttach ? 1 : Self.callsBeforePatching)
      guard isFirst || isDue,
        let isAlone = hasJustArrived ? true : isAlone(notification.tid, of: process),
        let memory = memory(of: notification)
      else { return nil }
      guard space.sharers == 1, !isShared(memory, area) else {
        if isDue { sites.keepWaiting(end, call) }
        return nil
      }
      guard let trampolines = CallSites.trampolines(in: memory, area: area.base),
        let text = CodeMapping.text(around: end, trampolines: trampolines, of: notification.tid)
      else { return nil }
      let prepare = { (sites: inout CallSites, end, call) in
        self.prepare(end, of: call, &sites, space, memory, trampolines, area, isAlone: isAlone)
      }
      guard isAlone else {
        guard isDue, let (site, jump) = prepare(&sites, end, call) else { return nil }
        let place = site.start.advanced(by: -Int(site.start.rawValue % 8))
        guard let former = try? memory.read(place, as: UInt64.self) else { return nil }
        return TextChange(site.start, former: former, jump: jump)
      }
      let patch = { (sites: inout CallSites, end, call) -> Bool in
        guard let (site, jump) = prepare(&sites, end, call) else { return false }
        sites.forget(site)
        return (try? memory.writeCode(site.start, bytes: jump)) != nil
      }
      if isDue, patch(&sites, end, call), isKnown {
        supervisor.knownSites.insert(end, of: call, in: text)
      }
      guard isFirst else { return nil }
      for (other, call) in supervisor.knownSites.sites(in: text) where other != end {
        _ = patch(&sites, other, call)
      }
      return nil
    }
  }

  /// Patches the sites that were due while others shared the memory of a process that has just waited for one of them.
  func patchWaitingSites(of notification: Notification, _ thread: PodThread) {
    let process = thread.process
    let space = process.space
    guard let area = supervisor.area, !process.hasOwnFilters, !process.speaksForInit, space.hasArea
    else { return }
    supervisor.settleExecs(in: space)
    space.withCallSites { sites in
      guard sites.hasWaiting, space.sharers == 1, isAlone(notification.tid, of: process) == true,
        let memory = memory(of: notification), !isShared(memory, area),
        let trampolines = CallSites.trampolines(in: memory, area: area.base)
      else { return }
      for (end, call) in sites.takeWaiting() {
        guard
          let text = CodeMapping.text(
            around: end, trampolines: trampolines, of: notification.tid),
          let (site, jump) = prepare(
            end, of: call, &sites, space, memory, trampolines, area, isAlone: true)
        else { continue }
        sites.forget(site)
        let isPatched = (try? memory.writeCode(site.start, bytes: jump)) != nil
        if isPatched, KnownSites.hold(call) {
          supervisor.knownSites.insert(end, of: call, in: text)
        }
      }
    }
  }

  /// Whether a program makes or waits for its first process, or is to be expected to, as it has done so before. Then it gets the
  /// sites at once that are known.
  private func begins(_ call: Syscall, _ sites: inout CallSites, _ tid: Int32) -> Bool {
    let known = supervisor.knownSites
    if KnownSites.hold(call) {
      guard sites.begin() else { return false }
      TextFile(executedBy: tid).map { known.expect(births: $0) }
      return !known.isEmpty
    }
    return sites.isFresh && !known.isEmpty
      && TextFile(executedBy: tid).map { known.expects(birthsOf: $0) } ?? false
      && sites.begin()
  }

  /// Whether a process has one thread; nil when it is gone, or traced.
  private func isAlone(_ tid: Int32, of process: PodProcess) -> Bool? {
    guard let state = ProcessStatus.Disturbances(of: tid), state.tracer == 0 else { return nil }
    return state.threads == 1 && !process.mayHaveThreads
  }

  /// Has a caller patch its site itself, and make its call again.
  private func patchAmongThreads(
    _ notification: Notification, _ call: Syscall, _ thread: PodThread, _ change: TextChange
  ) {
    defer { supervisor.attendance.end() }
    guard let attached = attach(notification, thread) else { return }
    let host = AttachedCaller(thread, supervisor)
    host.hold(attached)
    host.comeWithinReach()
    if !thread.process.hasOwnFilters { try? host.replaceText(change) }
    again(host, attached, call)
  }

  /// Whether the page says that other processes may share the memory, of which nobody else may have heard.
  private func isShared(_ memory: RemoteMemory, _ area: PodArea) -> Bool {
    let cache = area.base.advanced(by: Int(POD_AREA_CACHE))
    return (try? memory.read(cache, as: pod_page_cache.self).sharers) != 0
  }

  /// With which call a site is patched whose calls are answered at once (docs/findings.md, "Patching a call site").
  private static let callsBeforePatching: UInt32 = 3

  /// Makes a trampoline for a call's site.
  ///
  /// - Returns: The site, and the jump that is to be at its beginning; nil when it can't be patched.
  private func prepare(
    _ end: RemoteAddress, of call: Syscall, _ sites: inout CallSites, _ space: AddressSpace,
    _ memory: RemoteMemory, _ trampolines: RemoteAddress, _ area: PodArea, isAlone: Bool
  ) -> (site: CallSite, jump: [UInt8])? {
    do throws(Errno) {
      let text = try memory.readBytes(
        end.advanced(by: -CallSite.lookedAtBefore),
        count: CallSite.lookedAtBefore + CallSite.lookedAtBehind)
      guard let site = CallSite(end, in: text, of: Int(call.rawValue)),
        site.number != nil || supervisor.names.interposers.isEmpty,
        isAlone || TextChange.isOneStore(site.start)
      else { return nil }
      // The page gives handlers stubs without telling.
      if site.number.map({ $0 == Syscall.rt_sigaction.rawValue }) ?? true { space.expectStubs() }
      return try sites.prepare(site, memory, trampolines, area: area.base).map { (site, $0) }
    } catch {
      return nil
    }
  }
}

/// Where in the files that a pod's programs execute processes are made and waited for: who makes its first one is likely to do
/// both there too.
final class KnownSites: Sendable {
  private let files = Mutex<[TextFile: [UInt64: Syscall]]>([:])
  private let count = Atomic<Int>(0)
  /// Programs that have made or waited for processes.
  private let makers = Mutex<Set<TextFile>>([])
  /// So many are known at most: a pod may make files without end.
  private static let most = 64

  /// Whether the places of a call's sites are kept.
  static func hold(_ call: Syscall) -> Bool {
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

  /// From now on a program is expected to make or wait for processes.
  func expect(births program: TextFile) {
    makers.withLock { makers in
      if makers.count < Self.most { makers.insert(program) }
    }
  }
  func expects(birthsOf program: TextFile) -> Bool { makers.withLock { $0.contains(program) } }

  /// Those that lie in a mapping.
  func sites(in text: Text) -> [(end: RemoteAddress, call: Syscall)] {
    let places = files.withLock { $0[text.file] ?? [:] }
    return places.compactMap { place, call in
      guard place >= text.offset, place - text.offset < text.count else { return nil }
      return (text.start.advanced(by: Int(place - text.offset)), call)
    }
  }
}
