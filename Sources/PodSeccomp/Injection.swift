internal import CLinux
internal import Glibc
internal import PodCore
internal import PodLinux
internal import SystemPackage

/// How far an address space has come with the pod's area.
enum AreaState {
  /// A program has just been executed, or it is the copy of such a space.
  case awaited
  /// The bootstrap is in the program's code.
  case onItsWay(Injection)
  /// It has been mapped. The program may have unmapped it since.
  case mapped
  /// There is none, and there won't be: all calls take the slow way.
  case absent
}

/// What has to be undone in a program's code when its bootstrap has run.
struct Injection {
  let address: RemoteAddress
  /// The program's call, which ends there.
  let call: Syscall
  let code: [UInt8]
  /// Where the report of a failure comes from.
  let reportEnd: RemoteAddress
  /// What the bootstrap has reported.
  var failure: Errno?
}

/// How the pod's area comes into a process, without ptrace.
///
/// In a nutshell: a program waits in a notified call, the first one for which the area is good: most programs don't make
/// any, and the area's coming costs as much as ten calls. The supervisor writes a
/// ``Bootstrap`` over the code behind the call, and answers with a descriptor of the area, put into the process by the same
/// answer (SECCOMP_ADDFD_FLAG_SEND). The bootstrap maps the area and closes the descriptor. A call that is to be made in the
/// area it makes there at once, and with the word of that the code is put back; any other it makes again, and with that
/// notification the code is put back, and the call is served as ever.
///
/// Nobody waits for the process meanwhile: one that stops or is killed in the middle is like any other. A process whose
/// bootstrap could be seen, or disturbed, by anybody gets none: one with other threads, with shared memory, with signal
/// handlers, a tracer or filters of its own. It goes on without the area, as does one that has no free descriptor or place.
///
/// Source: DESIGN.md §5, "Injection of the page"; seccomp_unotify(2).
extension Receiver {
  /// Brings the area into the caller's memory, or puts back the code when it has come.
  ///
  /// - Returns: Whether that was all: else the notification is still to be served.
  func brings(_ area: PodArea, _ notification: Notification, _ call: Syscall, _ thread: PodThread)
    -> Bool
  {
    let process = thread.process
    if process.mayBeOutOfReach, !process.space.isAreaOnItsWay,
      !RemoteMemory(of: notification.tid).isOpen
    {
      return comesWithinReach(notification, call, thread)
    }
    // Another receiver may have the next notification of the same thread before this one is done.
    let (isDone, left) = process.space.withArea { state -> (Bool, Injection?) in
      switch state {
      case .mapped, .absent: return (false, nil)
      case .awaited:
        guard !Self.endsProgram(call) else { return (false, nil) }
        guard isUndisturbed(process, notification.tid) else {
          state = .absent
          return (false, nil)
        }
        return (begin(area, notification, call, thread, &state), nil)
      case .onItsWay(var injection):
        if call == .getpid, notification.arguments.a == Bootstrap.magic,
          notification.instructionPointer == injection.reportEnd
        {
          let result = CallResult(word: notification.arguments.b)
          if case .failure(let error) = result { injection.failure = error }
          state = .onItsWay(injection)
          answer(notification, .success(0))
          return (true, nil)
        }
        guard let memory = memory(of: notification) else { return (true, injection) }
        do throws(Errno) {
          try memory.writeCode(injection.address, bytes: injection.code)
        } catch {
          return (true, injection)
        }
        state = injection.failure == nil ? .mapped : .absent
        return (false, nil)
      }
    }
    if let left { putBack(left, notification, call, thread) }
    return isDone
  }

  /// Gets access to the memory of a program that may be executed and not read, which then makes its call again.
  ///
  /// - Returns: Whether it does, or nobody waits for the answer any more.
  private func comesWithinReach(_ notification: Notification, _ call: Syscall, _ thread: PodThread)
    -> Bool
  {
    defer { supervisor.attendance.end() }
    guard isWaiting(notification), let attached = attach(notification, thread) else { return true }
    let host = AttachedCaller(thread, supervisor)
    host.hold(attached)
    host.comeWithinReach()
    // It is tried once.
    thread.process.mayBeOutOfReach = false
    host.letGo()
    attached.repeatCall(call)
    return true
  }

  /// Whether the area is to come with a call, or on its way: with the first one that is made in the area, or after which it
  /// couldn't come any more, or when many have been heard of.
  func wantsArea(_ notification: Notification, _ call: Syscall, _ thread: PodThread) -> Bool {
    let space = thread.process.space
    if space.isAreaOnItsWay { return true }
    let arguments = notification.arguments
    let setSeccomp: Int32 = 22
    return switch call {
    case .fork, .vfork, .clone, .wait4, .waitid, .seccomp: true
    case .prctl where arguments.int(0) == setSeccomp: true
    case .rt_sigaction:
      setsHandler(RemoteAddress(rawValue: arguments.b), of: notification.tid)
    case _ where Self.endsProgram(call): false
    default: space.wantsArea()
    }
  }

  private static func endsProgram(_ call: Syscall) -> Bool {
    call == .execve || call == .execveat || call == .exit
  }

  /// The memory of a caller; nil when it no longer waits for the answer, or its memory is out of reach.
  func memory(of notification: Notification) -> RemoteMemory? {
    let memory = RemoteMemory(of: notification.tid)
    // Who still waits after the opening is who was opened.
    guard memory.isOpen, isWaiting(notification) else { return nil }
    return memory
  }

  /// Whether the caller of a notification waits for its answer, so that its number is its own.
  func isWaiting(_ notification: Notification) -> Bool {
    CLinux_seccomp_id_valid(listener, notification.id) == 0
  }

  /// Whether nothing but its own instructions can run in a process's memory, and nobody watches them.
  private func isUndisturbed(_ process: PodProcess, _ tid: Int32) -> Bool {
    guard process.threads.count == 1, process.space.sharers == 1, !process.speaksForInit,
      let status = ProcessStatus.Disturbances(of: tid)
    else { return false }
    return status.threads == 1 && status.tracer == 0 && status.caughtSignals == 0
      && status.filters == supervisor.filterCount
  }

  /// Whether the bootstrap is to go on into the area with a call, which then finds its way back on the program's stack.
  private func entersArea(
    _ notification: Notification, _ call: Syscall, _ thread: PodThread
  ) -> Bool {
    let isAction = call == .rt_sigaction && needsStub(notification, thread)
    guard isAction || mayEnterArea(call, notification.arguments, thread) else { return false }
    let memory = RemoteMemory(of: notification.tid)
    // What is written to by this way needn't be writable for the program, and the page goes on below. Who still waits is who was
    // opened, and looked at.
    guard memory.isOpen, let stack = ProcessStatus.stackPointer(of: notification.tid),
      stack.rawValue >= UInt64(Self.roomInPage),
      CodeMapping.isWritable(
        stack.advanced(by: -Self.roomInPage)..<stack, of: notification.tid) == true,
      isWaiting(notification), Self.pageMakes(call, notification.arguments, stack: stack)
    else { return false }
    do throws(Errno) {
      try memory.write(
        stack.advanced(by: -Int(Bootstrap.belowStack)),
        value: notification.instructionPointer.rawValue)
    } catch {
      return false
    }
    if isAction { thread.process.space.expectStub(notification.arguments.int(0)) }
    return true
  }

  /// How much of the program's stack the page may need for a call, in bytes, the red zone among them.
  static let roomInPage = 2048

  /// The bootstrap has brought its caller into the area: the code is put back, and the call's own site can be patched.
  func arrive(_ notification: Notification, _ thread: PodThread) {
    let space = thread.process.space
    let (injection, isBack) = space.withArea { state -> (Injection?, Bool) in
      guard case .onItsWay(let injection) = state else { return (nil, true) }
      guard let memory = memory(of: notification) else { return (injection, false) }
      do throws(Errno) {
        try memory.writeCode(injection.address, bytes: injection.code)
      } catch {
        return (injection, false)
      }
      state = .mapped
      return (injection, true)
    }
    if let injection {
      guard isBack else {
        return slowly(notification) { putBack(injection, notification, .getpid, thread) }
      }
      patchSite(
        behind: injection.address, injection.call, notification, thread, hasJustArrived: true)
    }
    answer(notification, .success(0))
  }

  /// - Returns: Whether the notification is answered, or nobody waits for the answer any more.
  private func begin(
    _ area: PodArea, _ notification: Notification, _ call: Syscall, _ thread: PodThread,
    _ state: inout AreaState
  ) -> Bool {
    let address = notification.instructionPointer
    let bootstrap = Bootstrap(
      base: area.base, size: area.mappedSize, before: call, notification.arguments, at: address,
      enters: entersArea(notification, call, thread))
    state = .absent
    guard
      let room = CodeMapping.room(behind: address, of: notification.tid),
      room >= UInt64(bootstrap.bytes.count)
    else { return false }
    let memory = RemoteMemory(of: notification.tid)
    guard memory.isOpen else { return false }
    guard isWaiting(notification) else {
      // A signal may have come first, and the call comes again.
      state = .awaited
      return true
    }
    let instruction = Self.callInstruction
    let code: [UInt8]
    do throws(Errno) {
      let start = address.advanced(by: -instruction.count)
      code = try memory.readBytes(start, count: instruction.count + bootstrap.bytes.count)
    } catch {
      return false
    }
    guard code.starts(with: instruction) else { return false }
    let injection = Injection(
      address: address, call: call, code: Array(code.dropFirst(instruction.count)),
      reportEnd: address.advanced(by: bootstrap.reportEnd))
    do throws(Errno) {
      try memory.writeCode(address, bytes: bootstrap.bytes)
    } catch {
      return putBack(injection, memory, notification)
    }
    var added: Int32
    repeat {
      added = CLinux_seccomp_add_descriptor(
        listener, notification.id, area.descriptor.rawValue, 0, UInt32(O_CLOEXEC),
        CLinux_SECCOMP_ADDFD_FLAG_SEND)
    } while added == -EINTR
    if added >= 0 {
      counts.injected()
      state = .onItsWay(injection)
      return true
    }
    if putBack(injection, memory, notification) { return true }
    guard isWaiting(notification) else {
      state = .awaited
      return true
    }
    return false
  }

  /// `syscall`
  private static let callInstruction: [UInt8] = [0x0F, 0x05]

  /// Puts a program's code back while it waits for its answer.
  ///
  /// - Returns: Whether there is nothing left to serve: a program whose code is lost is killed.
  private func putBack(
    _ injection: Injection, _ memory: RemoteMemory, _ notification: Notification
  ) -> Bool {
    do throws(Errno) {
      try memory.writeCode(injection.address, bytes: injection.code)
      return false
    } catch {
      lose(notification)
      return true
    }
  }

  /// Puts the code back of a program whose memory couldn't be opened, by attaching to it: the host program may have no
  /// descriptor left.
  private func putBack(
    _ injection: Injection, _ notification: Notification, _ call: Syscall, _ thread: PodThread
  ) {
    // Its call comes again.
    guard isWaiting(notification) else { return }
    defer { supervisor.attendance.end() }
    guard let attached = attach(notification, thread) else { return }
    let isBack = thread.process.space.withArea { state in
      guard case .onItsWay = state else { return true }
      do throws(Errno) {
        try RemoteMemory().writeCode(
          injection.address, bytes: injection.code, stopped: attached.tid)
        state = injection.failure == nil ? .mapped : .absent
        return true
      } catch {
        return false
      }
    }
    if !isBack { _ = Glibc.kill(attached.tid, SIGKILL) }
    attached.repeatCall(call)
  }

  private func lose(_ notification: Notification) {
    // Who was killed meanwhile has no memory any more.
    guard isWaiting(notification) else { return }
    supervisor.setup.events(
      .failed("the code of thread \(notification.tid) couldn't be put back, and it was killed"))
    kill(notification)
  }
}

/// What is known of the mapping that code lies in.
enum CodeMapping {
  /// How many bytes of code there are from an address on that are the process's own.
  ///
  /// - Returns: nil when there is none, or it is shared: what is written there others would execute.
  ///
  /// Source: proc_pid_maps(5), PROCMAP_QUERY.
  static func room(behind address: RemoteAddress, of process: Int32) -> UInt64? {
    guard let file = try? FileDescriptor.open("/proc/\(process)/maps", .readOnly) else {
      return nil
    }
    defer { try? file.close() }
    var mapping = CLinux_mapping()
    let result = CLinux_query_mapping(file.rawValue, address.rawValue, &mapping)
    if result == 0 {
      guard mapping.isOwnCode else { return nil }
      return mapping.end - address.rawValue
    }
    return result == -ENOTTY ? ProcessMaps.room(behind: address, in: file) : nil
  }

  /// The file's code that an address is in, if the process has it for its own and doesn't write to it, and if another address is in
  /// the page that the area's bootstrap has mapped: nothing else is patched. Kernels that can't be asked for a mapping say no.
  static func text(
    around address: RemoteAddress, trampolines: RemoteAddress, of process: Int32
  ) -> Text? {
    guard let file = try? FileDescriptor.open("/proc/\(process)/maps", .readOnly) else {
      return nil
    }
    defer { try? file.close() }
    var mapping = CLinux_mapping()
    guard CLinux_query_mapping(file.rawValue, trampolines.rawValue, &mapping) == 0,
      mapping.isReadOnlyCode, mapping.inode == 0,
      CLinux_query_mapping(file.rawValue, address.rawValue, &mapping) == 0,
      mapping.isReadOnlyCode, mapping.inode != 0
    else { return nil }
    return Text(
      file: TextFile(
        inode: mapping.inode,
        device: UInt64(mapping.device_major) << 32 | UInt64(mapping.device_minor)),
      start: RemoteAddress(rawValue: mapping.start), count: mapping.end - mapping.start,
      offset: mapping.offset)
  }
}

extension CodeMapping {
  /// Whether a process may write to its own memory; nil where the kernel doesn't tell.
  static func isWritable(_ range: Range<RemoteAddress>, of process: Int32) -> Bool? {
    let maps = OwnedDescriptor(owning: CLinux_open("/proc/\(process)/maps", O_RDONLY, 0))
    return maps.rawValue < 0 ? nil : isWritable(range, in: maps.borrowed)
  }

  /// The same, for who has the process's `maps` open.
  static func isWritable(_ range: Range<RemoteAddress>, in maps: FileDescriptor) -> Bool? {
    var place = range.lowerBound.rawValue
    while place < range.upperBound.rawValue {
      var mapping = CLinux_mapping()
      let result = CLinux_query_mapping(maps.rawValue, place, &mapping)
      if result == -ENOENT { return false }
      guard result == 0 else { return nil }
      guard mapping.isWritable else { return false }
      place = mapping.end
    }
    return true
  }
}

/// A file of which a process has code.
struct TextFile: Hashable {
  let inode: UInt64
  let device: UInt64
}

extension TextFile {
  /// The program that a task executes; nil when it is gone, or out of reach.
  ///
  /// Not to be compared with a file of a mapping, of which a kernel may see another device.
  init?(executedBy task: Int32) {
    var status = stat()
    guard stat("/proc/\(task)/exe", &status) == 0 else { return nil }
    self.init(inode: UInt64(status.st_ino), device: UInt64(status.st_dev))
  }
}

/// A mapping of code.
struct Text {
  let file: TextFile
  let start: RemoteAddress
  /// In bytes.
  let count: UInt64
  /// Where in the file it begins.
  let offset: UInt64
}

extension CLinux_mapping {
  fileprivate var isOwnCode: Bool {
    flags & UInt64(CLinux_PROCMAP_EXECUTABLE) != 0 && flags & UInt64(CLinux_PROCMAP_SHARED) == 0
  }
  fileprivate var isWritable: Bool { flags & UInt64(CLinux_PROCMAP_WRITABLE) != 0 }
  fileprivate var isReadOnlyCode: Bool {
    isOwnCode && flags & UInt64(CLinux_PROCMAP_WRITABLE) == 0
  }
}

/// The text of `/proc/PID/maps`, for kernels that can't be asked for one mapping.
enum ProcessMaps {
  /// As ``CodeMapping/room(behind:of:)``.
  static func room(behind address: RemoteAddress, in file: FileDescriptor) -> UInt64? {
    var rest: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 4096)
    while let count = try? piece.withUnsafeMutableBytes({ try file.read(into: $0) }), count > 0 {
      rest += piece[..<count]
      while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
        let line = String(decoding: rest[..<end], as: UTF8.self)
        rest.removeSubrange(...end)
        // "55d0c8a00000-55d0c8a21000 r-xp …"
        let fields = line.split(separator: " ", maxSplits: 2)
        let bounds = fields.first?.split(separator: "-").compactMap { UInt64($0, radix: 16) }
        guard fields.count > 1, let bounds, bounds.count == 2 else { return nil }
        if bounds[0] <= address.rawValue, address.rawValue < bounds[1] {
          let isOwnCode = fields[1].count == 4 && fields[1].dropFirst(2) == "xp"
          return isOwnCode ? bounds[1] - address.rawValue : nil
        }
      }
    }
    return nil
  }
}
