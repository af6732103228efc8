internal import CLinux
internal import Glibc
internal import PodCore
internal import PodLinux
internal import Synchronization
internal import SystemPackage

/// Keeps the numbers of tasks from becoming others' while a call names them.
///
/// A caller can make itself so slow that the number which it was given for its call is somebody else's when the kernel
/// looks (DESIGN.md §4.2). A task that is traced keeps its number until its tracer has waited for it. So a thread of its own
/// seizes the targets, which go on running, and ends when the call is over: with it, the kernel lets them go without
/// their noticing.
///
/// Source: ptrace(2), PTRACE_SEIZE; kernel/ptrace.c, `exit_ptrace`.
final class Pin: Sendable {
  private let thread: SupervisorThread
  private let isOver: OwnedDescriptor

  /// Pins tasks.
  ///
  /// - Parameters:
  ///   - tasks: Their physical numbers.
  ///   - areMeant: Whether the numbers are still those of the tasks that were meant; asked when they can't change any more.
  /// - Throws: `.noSuchProcess` when they are not; `.notPermitted` when one can't be pinned at all,
  ///   `.resourceTemporarilyUnavailable` when not now.
  init(_ tasks: [Int32], areMeant: @escaping @Sendable () -> Bool) throws(Errno) {
    var ends: (Int32, Int32) = (-1, -1)
    let result = CLinux_seqpacket_pair(&ends.0, &ends.1)
    if result < 0 { throw .resourceTemporarilyUnavailable }
    isOver = OwnedDescriptor(owning: ends.0)
    let theirs = ends.1
    thread = try SupervisorThread.start(name: "pod pin") {
      let answer = Self.seize(tasks, areMeant)
      var byte = answer
      _ = send(theirs, &byte, 1, Int32(MSG_NOSIGNAL))
      if answer == 0 { Self.serve(until: theirs) }
      close(theirs)
    }
    var answer: UInt8 = UInt8(EAGAIN)
    while recv(isOver.rawValue, &answer, 1, 0) < 0, errno == EINTR {}
    if answer != 0 {
      thread.join()
      throw Errno(rawValue: Int32(answer))
    }
  }

  /// Lets them go.
  func end() {
    shutdown(isOver.rawValue, Int32(SHUT_RDWR))
    thread.join()
  }

  private static func seize(_ tasks: [Int32], _ areMeant: () -> Bool) -> UInt8 {
    for task in tasks {
      var result = CLinux_ptrace_seize(task, 0)
      // Who held it may have let it go since: only who is refused again and again may not.
      var attempts = 10
      while result == -EPERM, attempts > 0, ProcessStatus.number("TracerPid", of: task) == 0 {
        attempts -= 1
        result = CLinux_ptrace_seize(task, 0)
      }
      // Nobody can keep the number of who has ended.
      if result == -EPERM, ProcessStatus.hasEnded(task) { return UInt8(ESRCH) }
      if result == -EPERM, attempts == 0 {
        do throws(Errno) {
          result = try OtherUser.acting(for: task) { CLinux_ptrace_seize(task, 0) }
        } catch {
          return UInt8(EPERM)
        }
      }
      switch result {
      case 0: break
      case -ESRCH: return UInt8(ESRCH)
      // Somebody of ours may hold it for a moment: then the call is made again.
      default: return UInt8(EAGAIN)
      }
    }
    return areMeant() ? 0 : UInt8(ESRCH)
  }

  /// Passes on what comes to the tasks meanwhile: signals and stops. Ends stay where they are.
  private static func serve(until end: Int32) {
    var entry = pollfd(fd: end, events: Int16(POLLIN), revents: 0)
    while poll(&entry, 1, 1) == 0 {
      var info = siginfo_t()
      let options = WSTOPPED | WNOHANG | Int32(CLinux_WAIT_ALL | CLinux_WAIT_NO_THREAD)
      while CLinux_waitid(Int32(P_ALL.rawValue), 0, &info, options, nil) == 0,
        CLinux_siginfo_pid(&info) != 0
      {
        let (task, status) = (CLinux_siginfo_pid(&info), CLinux_siginfo_status(&info))
        let signal = status & 0xFF
        if status >> 8 != Int32(CLinux_PTRACE_EVENT_STOP) {
          CLinux_ptrace_cont(task, signal)
        } else if signal == SIGTRAP {
          // Its group was continued.
          CLinux_ptrace_cont(task, 0)
        } else {
          CLinux_ptrace_listen(task)
        }
      }
    }
  }
}

/// Which tasks a call names by number.
enum NamedTasks {
  /// The physical numbers of those that a call changes, where the kernel doesn't keep it in the pod anyway.
  ///
  /// - Parameter isScoped: Whether Landlock keeps signals, and all that needs the right to trace, in the pod.
  static func changed(
    _ call: Syscall, _ arguments: CallArguments, isScoped: Bool
  ) -> [Int32] {
    switch call {
    case .sched_setscheduler, .sched_setparam, .sched_setattr, .sched_setaffinity, .prlimit64:
      [arguments.int(0)]
    case .setpriority:
      arguments.int(0) == 0 ? [arguments.int(1)] : []
    case .ioprio_set:
      arguments.int(0) == 1 ? [arguments.int(1)] : []
    case _ where isScoped: []
    case .kill, .rt_sigqueueinfo, .process_vm_readv, .process_vm_writev, .migrate_pages,
      .move_pages, .get_robust_list:
      [arguments.int(0)]
    case .tgkill, .rt_tgsigqueueinfo, .kcmp: [arguments.int(0), arguments.int(1)]
    case .fcntl: arguments.int(1) == 8 ? [arguments.int(2)] : []
    case .prctl: arguments.int(0) == 62 ? [arguments.int(2)] : []
    default: []
    }
  }

  /// The physical number of the group whose members a call changes, where the kernel doesn't keep it in the pod anyway.
  static func changedGroup(
    _ call: Syscall, _ arguments: CallArguments, isScoped: Bool
  ) -> Int32? {
    switch call {
    case .setpriority where arguments.int(0) == 1, .ioprio_set where arguments.int(0) == 2:
      arguments.int(1) > 0 ? arguments.int(1) : nil
    case _ where isScoped: nil
    case .kill: arguments.int(0) < -1 && arguments.int(0) != .min ? -arguments.int(0) : nil
    case .fcntl where arguments.int(1) == 8:
      arguments.int(2) < -1 && arguments.int(2) != .min ? -arguments.int(2) : nil
    default: nil
    }
  }

  /// The physical number of the one that a call only looks at.
  static func seen(_ call: Syscall, _ arguments: CallArguments) -> Int32? {
    let number: Int32
    switch call {
    case .getpgid, .getsid, .sched_getscheduler, .sched_getparam, .sched_getattr,
      .sched_getaffinity, .sched_rr_get_interval:
      number = arguments.int(0)
    // A signal may end whom it is sent to.
    case .kill where arguments.int(1) == 0: number = arguments.int(0)
    case .getpriority where arguments.int(0) == 0, .ioprio_get where arguments.int(0) == 1:
      number = arguments.int(1)
    default: return nil
    }
    return number > 0 ? number : nil
  }
}

extension Supervisor {
  /// Makes a call while the tasks that it changes keep their numbers, and looks afterwards whether one that it only looks at
  /// was still who was meant.
  ///
  /// - Throws: `.noSuchProcess` when one is gone; `.interrupted` when one can't be kept at this moment, and the call is to
  ///   be made again.
  func whilePinned<T>(
    _ call: Syscall, _ arguments: CallArguments, by caller: PodThread,
    _ body: () throws(Errno) -> T
  ) throws(Errno) -> T {
    let own = caller.process.tgid
    if call == .setpgid || call == .setsid {
      let moved = call == .setpgid ? arguments.int(0) : 0
      return try withMember(moved == 0 ? own : moved, isMoved: true, body)
    }
    if let group = NamedTasks.changedGroup(call, arguments, isScoped: isScoped) {
      // A caller that is in it keeps the number itself.
      let member = getpgid(own) == group ? own : try member(of: group)
      return try withMember(member, isMoved: false) { () throws(Errno) in
        if member != own { return try whilePinned([member], { getpgid(member) == group }, body) }
        if getpgid(own) != group { throw .interrupted }
        return try body()
      }
    }
    var tasks: [Int32] = []
    for number in NamedTasks.changed(call, arguments, isScoped: isScoped) where number > 0 {
      // The caller lives. Other threads of its process may have ended, some unheard (by a filter of their own).
      if [caller.tid, own].contains(number) || tasks.contains(number) { continue }
      tasks.append(number)
    }
    if tasks.isEmpty {
      let result = try body()
      if let seen = NamedTasks.seen(call, arguments), !isStillThere(seen, for: caller) {
        throw .noSuchProcess
      }
      return result
    }
    return try whilePinned(tasks, { true }, body)
  }

  private func whilePinned<T>(
    _ tasks: [Int32], _ isSo: @escaping @Sendable () -> Bool, _ body: () throws(Errno) -> T
  ) throws(Errno) -> T {
    var meant: [(task: Int32, process: PodProcess)] = []
    for task in tasks {
      guard let process = thread(task)?.process else { throw .noSuchProcess }
      meant.append((task, process))
    }
    let pin: Pin
    do throws(Errno) {
      let meant = meant
      pin = try Pin(tasks) { meant.allSatisfy { $0.process.has($0.task) } && isSo() }
    } catch {
      throw error == .resourceTemporarilyUnavailable ? .interrupted : error
    }
    defer { pin.end() }
    return try body()
  }

  /// Somebody who lives in a group, and by that keeps its number.
  private func member(of group: Int32) throws(Errno) -> Int32 {
    guard let name = names.processes.virtual(of: PhysicalName(rawValue: group)),
      let member = names.processes.members(ofGroup: name).first(where: { $0.state == .live })
    else { throw .noSuchProcess }
    return member.physical.rawValue
  }

  /// Whether a number that a call has looked at means now, and so has meant, who has it in the tables.
  func isStillThere(_ number: Int32, for caller: PodThread) -> Bool {
    if [caller.tid, caller.process.tgid, podInit.processID].contains(number) { return true }
    return (thread(number)?.process ?? process(number))?.has(number) ?? false
  }
}

extension PodProcess {
  /// Whether a number means it, or a thread of it, as the kernel says.
  fileprivate func has(_ task: Int32) -> Bool {
    guard identity != nil, isThere else { return false }
    return ProcessStatus.number("Tgid", of: task) == Int(tgid)
  }
}
