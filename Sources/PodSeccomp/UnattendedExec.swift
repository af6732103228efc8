internal import CLinux
internal import CPodLayout
internal import Glibc
internal import PodCore
internal import PodLinux
internal import SystemPackage

/// An exec that goes on by itself, and how it is found out afterwards what became of it.
///
/// In a nutshell: an exec concerns nobody but its caller (DESIGN.md §4.2), so the kernel makes it as it is, and nobody waits for
/// its end. What was in the process's memory before is remembered: where that is gone at the process's next call that is
/// heard of, it has executed a program; where it is still there, the exec has failed. The end of the process settles
/// it otherwise.
///
/// It is for processes with one thread: the others' ends have to be seen (``AttachedThread/watchExec(leader:)``).
struct UnattendedExec {
  /// The notification of it.
  let call: UInt64
  private let mark: Mark
  /// Whether there was a file that could be executed: what counts if the process ends before anybody could look.
  let isLikely: Bool

  /// What the memory before the exec is known by.
  private enum Mark {
    /// The pod's area was mapped. No new program has anything there, unless it maps it before its first call that is heard of;
    /// what it hides by that is its own exec.
    case area
    /// The sixteen random bytes that the kernel gives each program, and where they were.
    ///
    /// Source: getauxval(3), AT_RANDOM; fs/binfmt_elf.c, `create_elf_tables`.
    case randomBytes(RandomBytes)
  }

  struct RandomBytes: Equatable {
    let address: RemoteAddress
    let bytes: SIMD16<UInt8>
  }

  /// Looks at a process that waits in its exec; nil where its memory is out of reach.
  init?(_ notification: Notification, of process: PodProcess, _ area: PodArea?) {
    if let area, process.space.hasArea, Self.isThere(area, in: process.tgid) == true {
      mark = .area
    } else if case .found(let bytes) = RandomBytes.of(process.tgid) {
      mark = .randomBytes(bytes)
    } else {
      return nil
    }
    call = notification.id
    isLikely = Self.isExecutable(notification)
  }

  /// Whether the host program finds what is to be executed, and could execute it; also where it can't tell.
  private static func isExecutable(_ notification: Notification) -> Bool {
    guard notification.number == Int(Syscall.execve.rawValue) else { return true }
    let path = try? RemoteMemory().readString(
      RemoteAddress(rawValue: notification.arguments.a), stopped: notification.tid)
    guard let path, let first = path.first else { return false }
    let place = first == UInt8(ascii: "/") ? "" : "/proc/\(notification.tid)/cwd/"
    let name = (Array(place.utf8) + path + [0]).map { CChar(bitPattern: $0) }
    return faccessat(AT_FDCWD, name, X_OK, AT_EACCESS) == 0
  }

  /// Whether a process that waits for an answer has executed the program; nil when it is gone.
  func hasSucceeded(_ process: Int32, _ area: PodArea?) -> Bool? {
    switch mark {
    case .area:
      guard let area else { return nil }
      return Self.isThere(area, in: process).map { !$0 }
    case .randomBytes(let bytes):
      switch RandomBytes.of(process) {
      case .found(let found): return found != bytes
      // What could be read before: the program may be executed and not read.
      case .outOfReach: return true
      case .gone: return nil
      }
    }
  }

  /// Whether the area's beginning is where it would be; nil when the process is gone.
  private static func isThere(_ area: PodArea, in process: Int32) -> Bool? {
    let beginning = PodArea.beginning
    return withUnsafeTemporaryAllocation(byteCount: beginning.count, alignment: 16) { buffer in
      let result = CLinux_process_vm_read(
        process, area.base.advanced(by: Int(POD_PAGE_ENTER)).rawValue, buffer.baseAddress,
        buffer.count)
      if result == -Int(ESRCH) { return nil }
      return result == beginning.count && buffer.elementsEqual(beginning)
    }
  }
}

extension UnattendedExec.RandomBytes {
  enum Search {
    case found(UnattendedExec.RandomBytes)
    case outOfReach
    case gone
  }

  /// Source: proc_pid_auxv(5).
  static func of(_ process: Int32) -> Search {
    let file = OwnedDescriptor(owning: CLinux_open("/proc/\(process)/auxv", O_RDONLY, 0))
    if file.rawValue == -ENOENT || file.rawValue == -ESRCH { return .gone }
    guard file.rawValue >= 0 else { return .outOfReach }
    let address = withUnsafeTemporaryAllocation(of: SIMD2<UInt64>.self, capacity: 64) { entries in
      let size = read(
        file.rawValue, entries.baseAddress, entries.count * MemoryLayout<SIMD2<UInt64>>.size)
      let count = max(size, 0) / MemoryLayout<SIMD2<UInt64>>.size
      return entries[..<count].first { $0[0] == UInt64(AT_RANDOM) }?[1]
    }
    // A process that has ended has no memory.
    guard let address else { return .gone }
    var bytes = SIMD16<UInt8>()
    let size = MemoryLayout<SIMD16<UInt8>>.size
    let result = CLinux_process_vm_read(process, address, &bytes, size)
    if result == -Int(ESRCH) { return .gone }
    guard result == size else { return .outOfReach }
    return .found(Self(address: RemoteAddress(rawValue: address), bytes: bytes))
  }
}

extension Receiver {
  /// Lets an exec go on by itself, if what becomes of it can be found out later.
  ///
  /// - Returns: Whether it does.
  func leaveExec(_ notification: Notification, _ thread: PodThread) -> Bool {
    let process = thread.process
    guard thread.tid == process.tgid, !process.mayHaveThreads, !process.speaksForInit,
      let exec = UnattendedExec(notification, of: process, supervisor.area)
    else { return false }
    // Noted first: the next call may come to another receiver before this one goes on.
    process.withExec(supervisor.execsUnderWay) { $0 = exec }
    if !letPass(notification) {
      process.withExec(supervisor.execsUnderWay) { known in
        if known?.call == exec.call { known = nil }
      }
    }
    return true
  }
}

extension Supervisor {
  /// Takes note of what has become of a process's exec, before anything else is done for a call of it.
  func settleExec(of process: PodProcess) {
    process.withExec(execsUnderWay) { exec in
      guard let known = exec, let hasSucceeded = known.hasSucceeded(process.tgid, area) else {
        return
      }
      exec = nil
      if hasSucceeded { executed(process, former: process.tgid) }
    }
  }

  /// The same for a process that has ended.
  ///
  /// One that has executed a program before, or has been waited for, doesn't say any more whether its last exec failed: it
  /// counts as executed if there was what could be executed.
  ///
  /// - Parameter wasMadeOnly: Whether it has executed no program since it was made; nil when nobody knows.
  func settleExec(ofEnded process: PodProcess, wasMadeOnly: Bool?) {
    process.withExec(execsUnderWay) { exec in
      guard let known = exec else { return }
      exec = nil
      let isKnown = wasMadeOnly == true || wasMadeOnly == false && !process.hasExecuted
      if isKnown ? wasMadeOnly == false : known.isLikely {
        executed(process, former: process.tgid)
      }
    }
  }

  /// Has execs found out of those who may not share a memory with others any more.
  func settleExecs(in space: AddressSpace) {
    guard !execsUnderWay.isEmpty, space.sharers > 1 else { return }
    for process in processes(sharing: space) where process.hasExecUnderWay {
      // Somebody else's number doesn't tell.
      process.withExec(execsUnderWay) { exec in
        guard let known = exec, let hasSucceeded = known.hasSucceeded(process.tgid, area),
          hasSucceeded, process.isThere
        else { return }
        exec = nil
        executed(process, former: process.tgid)
      }
    }
  }
}
