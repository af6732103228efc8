internal import CPodLayout

extension BoundaryTable {
  /// The table as the code in a pod's processes reads it (`struct pod_page_rules`): the rows by which it acts itself.
  ///
  /// These are calls that reach nobody else (``BoundaryRow/confined``) and whose answer is in the table of names or only has
  /// to be translated, those in which a program may name itself by 0, and signals that the kernel keeps in the pod. What an interposer wants to see isn't among them,
  /// nor what a descriptor decides.
  ///
  /// - Parameters:
  ///   - interposers: The embedder's rules.
  ///   - watched: Calls that the backend is notified of although no name crosses in them.
  ///   - isScoped: Whether the kernel keeps signals in the pod: then the code sends them.
  public func pageRules(
    interposers: [any Interposer] = [], watched: Set<Syscall> = [], isScoped: Bool = false
  ) -> [UInt8] {
    let wanted = interposers.reduce(into: Set<Syscall>()) { $0.formUnion($1.calls) }
    var rules = PageRules(isScoped: isScoped)
    for call in Syscall.allCases {
      let rows = rows(for: call)
      let isNotified =
        watched.contains(call) || wanted.contains(call) || rows.contains(where: \.isInterposed)
      if isNotified, !call.mayBeInterrupted { rules.setUnbroken(call) }
      if !wanted.contains(call), descriptorRows(for: call).isEmpty { rules.append(rows, of: call) }
    }
    return rules.bytes
  }
}

extension Syscall {
  /// Whether a signal can end the call natively, or some variant of it: it waits, and is then broken off with EINTR.
  ///
  /// Source: signal(7), "Interruption of system calls and library functions by signal handlers"; the calls' pages, "Errors".
  var mayBeInterrupted: Bool {
    switch self {
    case .read, .readv, .pread64, .preadv, .preadv2, .write, .writev, .pwrite64, .pwritev,
      .pwritev2, .open, .openat, .openat2, .creat, .open_by_handle_at, .close, .dup2, .dup3, .ioctl,
      .fcntl,
      .flock, .fallocate, .statfs, .fstatfs, .truncate, .ftruncate, .copy_file_range, .sendfile,
      .splice, .tee, .vmsplice, .wait4, .waitid, .connect, .accept, .accept4, .recvfrom, .recvmsg,
      .recvmmsg, .sendto, .sendmsg, .sendmmsg, .futex, .futex_wait, .futex_waitv, .futex_requeue,
      .mq_timedreceive, .mq_timedsend, .rt_sigtimedwait, .rt_sigsuspend, .pause, .poll, .ppoll,
      .select, .pselect6, .epoll_wait, .epoll_pwait, .epoll_pwait2, .nanosleep, .clock_nanosleep,
      .semop, .semtimedop, .msgrcv, .msgsnd, .io_getevents, .io_pgetevents, .io_uring_enter,
      .getrandom, .request_key, .add_key, .keyctl, .perf_event_open, .seccomp, .restart_syscall:
      true
    default: false
    }
  }
}

extension BoundaryRow {
  /// What the page does with the row's calls; nil when it passes them on.
  fileprivate func pageAction(isScoped: Bool) -> pod_page_action? {
    guard descriptor == nil else { return nil }
    switch verb {
    case .answered: return confined == nil ? nil : POD_PAGE_IDENTIFIES
    case .wrapped(let wrapper) where wrapper is WaitForChild:
      return confined == nil ? nil : POD_PAGE_WAITS
    case .wrapped(let wrapper) where wrapper is SendSignal:
      return contained(isScoped: isScoped) == nil ? nil : POD_PAGE_SIGNALS
    case .wrapped(let wrapper) where wrapper is AttachSegment || wrapper is DetachSegment:
      return POD_PAGE_MAPS
    case .wrapped(let wrapper):
      guard confined != nil, wrapper is ShowParent || wrapper is ShowMembership else { return nil }
      return POD_PAGE_IDENTIFIES
    case .translated where call == .getpgrp: return confined == nil ? nil : POD_PAGE_IDENTIFIES
    case .translated where inputs.isEmpty:
      let isPlain = outputs.allSatisfy { $0.inPage != nil }
      return performed == .inCaller && confined?.isEmpty == true && isPlain
        ? POD_PAGE_TRANSLATES : nil
    case .translated, .open:
      // The program names itself, which is as good as 0 then.
      let namesThreads = inputs.allSatisfy { $0.shape.resource is ThreadID.Type }
      return untouched != nil && namesThreads ? POD_PAGE_TRANSLATES : nil
    case .refused, .native: return nil
    }
  }
}

extension Place {
  /// The place as the page finds it; nil when it can't.
  fileprivate var inPage: pod_page_place? {
    var place = pod_page_place()
    place.is_group_negated = shape.negative == .literal ? 0 : 1
    switch self {
    case .argument(let index, _):
      place.kind = UInt8(POD_PAGE_ARGUMENT.rawValue)
      place.argument = UInt8(index)
    case .result: place.kind = UInt8(POD_PAGE_RESULT.rawValue)
    case .memory(let index, _):
      place.kind = UInt8(POD_PAGE_FIELD.rawValue)
      place.argument = UInt8(index)
    case .field(let offset, let index, _):
      place.kind = UInt8(POD_PAGE_FIELD.rawValue)
      place.argument = UInt8(index)
      place.offset = UInt32(offset)
    case .signals: return nil
    }
    return place
  }
}

/// `struct pod_page_rules` in the making.
private struct PageRules {
  private let isScoped: Bool
  private var index = [UInt16](repeating: 0, count: Int(POD_PAGE_CALLS))
  private var unbroken = [UInt8](repeating: 0, count: Int(POD_PAGE_CALLS) / 8)
  /// The first row isn't at 0, which stands for none.
  private var rows = [UInt8](repeating: 0, count: 8)

  init(isScoped: Bool) { self.isScoped = isScoped }

  mutating func setUnbroken(_ call: Syscall) {
    unbroken[Int(call.rawValue / 8)] |= 1 << UInt8(call.rawValue % 8)
  }

  /// Appends the rows of a call, if the page acts by one of them.
  mutating func append(_ rows: [BoundaryRow], of call: Syscall) {
    let last = rows.lastIndex { $0.pageAction(isScoped: isScoped) != nil }
    guard let last else { return }
    index[Int(call.rawValue)] = UInt16(self.rows.count)
    for row in rows[...last] { append(row) }
    append(pod_page_row())
  }

  private mutating func append(_ row: BoundaryRow) {
    let action = row.pageAction(isScoped: isScoped) ?? POD_PAGE_PASSES
    let isTranslated = action == POD_PAGE_TRANSLATES
    let inputs = isTranslated ? row.inputs.compactMap(\.inPage) : []
    let outputs = isTranslated ? row.outputs.compactMap(\.inPage) : []
    let conditions = row.variant.conditions
    var head = pod_page_row()
    head.size = UInt16(
      MemoryLayout<pod_page_row>.size
        + conditions.count * MemoryLayout<pod_page_condition>.size
        + (inputs.count + outputs.count) * MemoryLayout<pod_page_place>.size)
    head.action = UInt8(action.rawValue)
    head.conditions = UInt8(conditions.count)
    head.inputs = UInt8(inputs.count)
    head.outputs = UInt8(outputs.count)
    append(head)
    for condition in conditions {
      append(
        pod_page_condition(
          mask: condition.mask, value: condition.value, argument: UInt64(condition.argument)))
    }
    for place in inputs + outputs { append(place) }
  }

  private mutating func append<T: BitwiseCopyable>(_ value: T) {
    withUnsafeBytes(of: value) { rows += $0 }
  }

  var bytes: [UInt8] {
    var bytes: [UInt8] = []
    let size = MemoryLayout<pod_page_rules>.size + rows.count
    withUnsafeBytes(of: POD_PAGE_RULES_MAGIC) { bytes += $0 }
    withUnsafeBytes(of: UInt32(size)) { bytes += $0 }
    index.withUnsafeBytes { bytes += $0 }
    bytes += unbroken
    bytes += rows
    return bytes
  }
}
