internal import CLinux
internal import Glibc
internal import PodCore
internal import PodLinux
internal import Synchronization
internal import SystemPackage

/// How a call is made whose part in the caller is a change of what it has mapped (``SegmentChange``).
///
/// A mapping is made of a file, and a file has to be among the caller's descriptors for that. The supervisor puts it there
/// as it answers the call, and the caller, attached to, maps and closes it before it goes on: it never runs with it. Its other
/// threads do: they have it among theirs for some tens of microseconds. So where there are any, it isn't the
/// lowest free one, which somebody could count on, but one as high as the caller's table has.
///
/// Source: seccomp_unotify(2), SECCOMP_IOCTL_NOTIF_ADDFD.
extension Receiver {
  /// Makes such a call.
  func attendMapping(_ notification: Notification, _ call: Syscall, _ thread: PodThread) {
    defer { supervisor.attendance.end() }
    let looking = LookingCaller(thread, supervisor, notification)
    var transaction = Transaction(
      call, notification.arguments, by: supervisor.caller(thread), names: supervisor.names,
      host: looking)
    let decision = transaction.enter()
    if case .answer(let result) = decision {
      trace(transaction, kernel: nil, seen: result)
      answer(notification, result)
      return
    }
    var kernel = CallResult.failure(.noFunction)
    var attached: AttachedThread?
    switch transaction.segmentChange {
    case .map(let mapping)?:
      attached = map(mapping, notification, thread, &kernel)
    case .unmap(let address, let table)?:
      attached = attach(notification, thread)
      if let attached {
        kernel = attending(attached, thread) { host throws(Errno) in
          host.comeWithinReach()
          return try thread.process.space.whileUnmapping { () throws(Errno) in
            try SegmentFile.unmap(at: address, in: thread.tid, table, host: host)
          }
        }
      }
    case nil: break
    }
    guard let attached else { return }
    let seen = transaction.leave(kernel)
    trace(transaction, kernel: kernel, seen: seen)
    attached.finish(seen)
  }

  private func attending(
    _ attached: AttachedThread, _ thread: PodThread,
    _ body: (AttachedCaller) throws(Errno) -> Int
  ) -> CallResult {
    let host = AttachedCaller(thread, supervisor)
    host.hold(attached)
    defer { host.letGo() }
    do throws(Errno) {
      return .success(try body(host))
    } catch {
      return .failure(error)
    }
  }

  private func map(
    _ mapping: SegmentMapping, _ notification: Notification, _ thread: PodThread,
    _ kernel: inout CallResult
  ) -> AttachedThread? {
    guard let file = mapping.memory as? SegmentFile,
      let descriptor = try? file.descriptor(isWritable: mapping.isWritable)
    else {
      answer(notification, .failure(.noMemory))
      return nil
    }
    var added: Int32 = -ENOENT
    let attached = attach(notification, thread) {
      added = self.bring(descriptor.rawValue, notification, thread)
      // Without it the caller is held all the same, and hears why.
      return added >= 0 || added != -ENOENT && self.answer(notification, .success(0))
    }
    defer { thread.process.space.giveBack(descriptor: added) }
    guard let attached else { return nil }
    guard added >= 0 else {
      kernel = .failure(.noMemory)
      return attached
    }
    kernel = attending(attached, thread) { (_) throws(Errno) in
      try attached.map(mapping, descriptor: added)
    }
    return attached
  }

  // MARK: From the page

  /// A segment's file for the page of a process that is alone, which maps it. What comes after that, none of it being anybody's
  /// but the caller's, is taken for done.
  func giveSegment(_ notification: Notification, _ thread: PodThread) {
    let words = notification.arguments
    var transaction = Transaction(
      .shmat, CallArguments(words.c, words.d, words.e), by: supervisor.caller(thread),
      names: supervisor.names, host: LookingCaller(thread, supervisor, notification))
    switch transaction.enter() {
    case .answer(let result):
      answer(notification, result)
    case .perform:
      guard case .map(let mapping)? = transaction.segmentChange,
        let file = mapping.memory as? SegmentFile,
        let descriptor = try? file.descriptor(isWritable: mapping.isWritable)
      else {
        answer(notification, .failure(.noFunction))
        return
      }
      // Nobody says when the page has closed it, and it goes on before a limit could be put down again.
      let added =
        isAlone(thread.process)
        ? bring(descriptor.rawValue, notification, thread, isHeld: false) : -EAGAIN
      if added >= 0 {
        _ = transaction.leave(.success(0))
      } else if added != -ENOENT {
        answer(notification, .failure(.noFunction))
      }
    }
  }

  /// How much the page is to unmap of a segment. Only a process that is alone with its memory can't have anything else mapped
  /// there by then.
  func measureSegment(_ notification: Notification, _ thread: PodThread) {
    var transaction = Transaction(
      .shmdt, CallArguments(notification.arguments.c), by: supervisor.caller(thread),
      names: supervisor.names, host: LookingCaller(thread, supervisor, notification))
    if case .answer(let result) = transaction.enter() {
      answer(notification, result)
      return
    }
    guard case .unmap(let address, let table)? = transaction.segmentChange,
      isAlone(thread.process), let maps = maps(of: thread, notification),
      let found = SegmentFile.pieces(at: address, in: maps, table),
      let piece = found.pieces.first, found.pieces.count == 1,
      piece.lowerBound == address.rawValue, isWaiting(notification)
    else {
      answer(notification, .failure(.noFunction))
      return
    }
    _ = transaction.leave(.success(Int(truncatingIfNeeded: found.identity)))
    answer(notification, .success(piece.count))
  }

  /// What a caller has mapped, kept open for the next one, which is mostly the same.
  func maps(of thread: PodThread, _ notification: Notification) -> FileDescriptor? {
    let space = thread.process.space
    if let kept = keptMaps, kept.space === space { return kept.file.borrowed }
    let opened = KeptMaps(of: space, thread.tid)
    // Who still waits is who was opened.
    keptMaps = isWaiting(notification) ? opened : nil
    return keptMaps?.file.borrowed
  }

  private func isAlone(_ process: PodProcess) -> Bool {
    process.threads.count == 1 && process.space.sharers == 1
  }

  /// Answers a notification with a descriptor.
  ///
  /// - Parameter isHeld: Whether the caller stands still then.
  /// - Returns: The descriptor in the caller, or a negated errno; `-ENOENT` when nobody waits.
  private func bring(
    _ descriptor: Int32, _ notification: Notification, _ thread: PodThread, isHeld: Bool = true
  ) -> Int32 {
    var number: Int32 = 0
    var flags = CLinux_SECCOMP_ADDFD_FLAG_SEND
    if !isAlone(thread.process),
      let free = thread.process.space.takeDescriptor({ used in
        ProcessDescriptors.highestFree(of: notification.tid, except: used)
      })
    {
      number = free
      flags |= CLinux_SECCOMP_ADDFD_FLAG_SETFD
    }
    let add = { [listener] () -> Int32 in
      var added: Int32
      repeat {
        added = CLinux_seccomp_add_descriptor(
          listener, notification.id, descriptor, number, UInt32(O_CLOEXEC), flags)
      } while added == -EINTR
      return added
    }
    let added = add()
    if added < 0 { thread.process.space.giveBack(descriptor: number) }
    return added == -EMFILE && isHeld ? beyondLimit(notification, add) : added
  }

  /// Gives the caller a descriptor for a call that natively needs none: its limit is put up for so long, where it can be.
  ///
  /// One at a time: who found another's would put that back.
  func beyondLimit(_ notification: Notification, _ add: () -> Int32) -> Int32 {
    supervisor.limits.withLock { _ in
      let limit = ProcessDescriptors.limit(of: notification.tid)
      guard limit < .max, isWaiting(notification),
        ProcessDescriptors.setLimit(of: notification.tid, to: limit + 1)
      else { return -EMFILE }
      defer {
        // The program may have set its own meanwhile.
        if ProcessDescriptors.limit(of: notification.tid) == limit + 1 {
          _ = ProcessDescriptors.setLimit(of: notification.tid, to: limit)
        }
      }
      return add()
    }
  }
}

/// The open list of mappings of an address space.
final class KeptMaps {
  let space: AddressSpace
  let file: OwnedDescriptor

  /// Opens it; nil where that isn't allowed.
  init?(of space: AddressSpace, _ tid: Int32) {
    let file = OwnedDescriptor(owning: CLinux_open("/proc/\(tid)/maps", O_RDONLY, 0))
    guard file.rawValue >= 0 else { return nil }
    self.space = space
    self.file = file
  }
}
