import CLinux
import Glibc
import PodCore
import PodLinux
import PodTestSupport
import Synchronization
import SystemPackage
import Testing

@testable import PodSeccomp

/// A shell that is another process's child, so that the tests' own process isn't the one who waits for it.
final class Shell: Sendable {
  /// What runs the script.
  let tid: Int32
  private let parent: Int32
  private let output: Int32

  /// - Parameters:
  ///   - script: Is run by a child of a shell, which then writes "end" and how it ended.
  ///   - command: Put before the program, such as setpriv.
  init(_ script: String, as command: [String] = []) throws {
    let ends = try FileDescriptor.pipe(options: .closeOnExec)
    output = ends.readEnd.rawValue
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, ends.writeEnd.rawValue, 1)
    let whole = "\"$@\" & wait $!; echo end $?"
    let words =
      ["/bin/sh", "-c", whole, "sh"] + command
      + ["/bin/sh", "-c", "echo $$; " + script]
    var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
    arguments.append(nil)
    defer { for text in arguments { free(text) } }
    var process: Int32 = 0
    // A shell that doesn't get SIGCHLD doesn't see the end of a child.
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
    let result = posix_spawn(&process, words[0], &actions, &attributes, arguments, environ)
    try ends.writeEnd.close()
    try #require(result == 0)
    parent = process
    tid = try #require(Self.line(from: output).flatMap { Int32($0) })
  }

  deinit {
    kill(tid, SIGKILL)
    kill(parent, SIGKILL)
    var status: Int32 = 0
    _ = CLinux_wait4(parent, &status, 0, nil)
    close(output)
  }

  private static func line(from descriptor: Int32, milliseconds: Int32 = 20_000) -> String? {
    var bytes: [UInt8] = []
    var byte: UInt8 = 0
    var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    while poll(&entry, 1, milliseconds) > 0, read(descriptor, &byte, 1) == 1 {
      if byte == UInt8(ascii: "\n") { return String(decoding: bytes, as: UTF8.self) }
      bytes.append(byte)
    }
    return nil
  }

  /// What it writes next; nil when that is nothing.
  func line(within milliseconds: Int32 = 20_000) -> String? {
    Self.line(from: output, milliseconds: milliseconds)
  }

  /// The letter of its state; nil when it has been waited for.
  var state: Character? {
    guard let file = fopen("/proc/\(tid)/stat", "r") else { return nil }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 1024)
    let count = fread(&bytes, 1, bytes.count, file)
    return String(decoding: bytes[..<count], as: UTF8.self).split(separator: ")").last?
      .dropFirst().first
  }

  /// Whether nobody traces it: a thread that was joined may still be on its way out.
  func isLetGo() -> Bool {
    for _ in 0..<2000 {
      if tracer == 0 { return true }
      usleep(1000)
    }
    return false
  }

  func reaches(_ states: Character?...) -> Bool {
    for _ in 0..<2000 {
      if states.contains(state) { return true }
      usleep(5000)
    }
    return false
  }

  var tracer: Int? { ProcessStatus.number("TracerPid", of: tid) }
}

@Suite("Tasks that keep their numbers")
struct PinTests {
  @Test("one that has ended stays until the pin's end, and goes then")
  func end() throws {
    let shell = try Shell("exec sleep 1000")
    let pin = try Pin([shell.tid]) { true }
    kill(shell.tid, SIGKILL)
    #expect(shell.reaches("Z"))
    // Its parent waits for it, and doesn't hear of it.
    #expect(shell.line(within: 300) == nil)
    #expect(shell.state == "Z")
    pin.end()
    #expect(shell.line() == "end 137")
    #expect(shell.state == nil)
  }

  @Test("without a pin the number is free at once")
  func endWithout() throws {
    let shell = try Shell("exec sleep 1000")
    kill(shell.tid, SIGKILL)
    #expect(shell.line() == "end 137")
    #expect(shell.state == nil)
  }

  @Test("one that goes on hears and does what it would, and isn't traced afterwards")
  func signals() throws {
    let shell = try Shell("trap 'echo one' USR1; echo ready; while :; do sleep 0.01; done")
    #expect(shell.line() == "ready")
    let pin = try Pin([shell.tid]) { true }
    #expect(shell.tracer ?? 0 > 0)
    for _ in 0..<10 {
      kill(shell.tid, SIGUSR1)
      #expect(shell.line() == "one")
    }
    pin.end()
    #expect(shell.isLetGo())
    kill(shell.tid, SIGUSR1)
    #expect(shell.line() == "one")
    kill(shell.tid, SIGTERM)
    #expect(shell.line() == "end 143")
  }

  @Test("a stop holds, in the pin and after it, until it is continued")
  func stops() throws {
    let shell = try Shell("trap 'echo one' USR1; echo ready; while :; do sleep 0.01; done")
    #expect(shell.line() == "ready")
    let pin = try Pin([shell.tid]) { true }
    kill(shell.tid, SIGSTOP)
    // A stop of the group, or a tracer's that listens for its end.
    #expect(shell.reaches("T", "t"))
    kill(shell.tid, SIGUSR1)
    #expect(shell.line(within: 200) == nil)
    kill(shell.tid, SIGCONT)
    #expect(shell.line() == "one")
    kill(shell.tid, SIGSTOP)
    #expect(shell.reaches("T", "t"))
    usleep(20_000)
    pin.end()
    #expect(shell.reaches("T"))
    kill(shell.tid, SIGUSR1)
    #expect(shell.line(within: 200) == nil)
    kill(shell.tid, SIGCONT)
    #expect(shell.line() == "one")
  }

  @Test("a stop that is there when the pin is made holds, too")
  func stoppedBefore() throws {
    let shell = try Shell("trap 'echo one' USR1; echo ready; while :; do sleep 0.01; done")
    #expect(shell.line() == "ready")
    kill(shell.tid, SIGSTOP)
    #expect(shell.reaches("T"))
    let pin = try Pin([shell.tid]) { true }
    kill(shell.tid, SIGUSR1)
    #expect(shell.line(within: 200) == nil)
    pin.end()
    #expect(shell.line(within: 200) == nil)
    #expect(shell.reaches("T"))
    kill(shell.tid, SIGCONT)
    #expect(shell.line() == "one")
  }

  @Test("who isn't meant any more isn't pinned")
  func strangers() throws {
    let shell = try Shell("exec sleep 1000")
    let asked = Mutex(0)
    #expect(throws: Errno.noSuchProcess) {
      _ = try Pin([shell.tid]) {
        asked.withLock { $0 += 1 }
        // The number can't change any more when it is asked.
        return shell.tracer ?? 0 == 0
      }
    }
    #expect(asked.withLock { $0 } == 1)
    #expect(shell.isLetGo())
    #expect(throws: Errno.noSuchProcess) { _ = try Pin([shell.tid, .max]) { true } }
    #expect(shell.isLetGo() && shell.reaches("S"))
  }

  @Test("who is held already can be pinned later")
  func held() throws {
    let shell = try Shell("exec sleep 1000")
    let pin = try Pin([shell.tid]) { true }
    #expect(throws: Errno.resourceTemporarilyUnavailable) { _ = try Pin([shell.tid]) { true } }
    pin.end()
    #expect(shell.isLetGo())
    try Pin([shell.tid]) { true }.end()
    #expect(shell.isLetGo())
  }

  @Test("one pin after the other is had, or asked for again; none is refused")
  func oneAfterTheOther() throws {
    let shell = try Shell("exec sleep 1000")
    for _ in 0..<200 {
      do throws(Errno) {
        try Pin([shell.tid]) { true }.end()
      } catch {
        #expect(error == .resourceTemporarilyUnavailable)
      }
    }
  }

  @Test("a zombie that was pinned too late isn't")
  func zombie() throws {
    // Its parent sleeps and doesn't wait for it.
    let shell = try Shell("sh -c 'exit 3' & echo $!; exec sleep 1000")
    let child = try #require(shell.line().flatMap { Int32($0) })
    while ProcessStatus.number("Threads", of: child) != nil, !isZombie(child) { usleep(1000) }
    #expect(throws: Errno.noSuchProcess) { _ = try Pin([child]) { true } }
  }

  private func isZombie(_ task: Int32) -> Bool {
    guard let file = fopen("/proc/\(task)/stat", "r") else { return true }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 1024)
    let count = fread(&bytes, 1, bytes.count, file)
    return String(decoding: bytes[..<count], as: UTF8.self).contains(") Z ")
  }

  // MARK: Which tasks

  @Test("calls that change somebody name whom they change", arguments: [false, true])
  func changed(_ isScoped: Bool) {
    func tasks(_ call: Syscall, _ words: UInt64...) -> [Int32] {
      var arguments = CallArguments()
      for (index, word) in words.enumerated() { arguments[index] = word }
      return NamedTasks.changed(call, arguments, isScoped: isScoped)
    }
    for call: Syscall in [
      .sched_setscheduler, .sched_setparam, .sched_setattr, .sched_setaffinity, .prlimit64,
    ] {
      #expect(tasks(call, 7, 8, 9) == [7])
    }
    // Processes by number, not groups and users.
    #expect(tasks(.setpriority, 0, 7) == [7])
    #expect(tasks(.setpriority, 1, 7) == [] && tasks(.setpriority, 2, 7) == [])
    #expect(tasks(.ioprio_set, 1, 7) == [7])
    #expect(tasks(.ioprio_set, 2, 7) == [] && tasks(.ioprio_set, 3, 7) == [])
    for call: Syscall in [.getpriority, .sched_getscheduler, .sched_getaffinity, .getpgid] {
      #expect(tasks(call, 0, 7) == [])
    }
    // These the kernel keeps in the pod where it has scopes.
    for call: Syscall in [
      .kill, .rt_sigqueueinfo, .process_vm_readv, .process_vm_writev, .migrate_pages, .move_pages,
      .get_robust_list,
    ] {
      #expect(tasks(call, 7, 8, 9) == (isScoped ? [] : [7]))
    }
    for call: Syscall in [.tgkill, .rt_tgsigqueueinfo, .kcmp] {
      #expect(tasks(call, 7, 8, 9) == (isScoped ? [] : [7, 8]))
    }
    // F_SETOWN, PR_SCHED_CORE.
    #expect(tasks(.fcntl, 3, 8, 7) == (isScoped ? [] : [7]))
    #expect(tasks(.fcntl, 3, 9, 7) == [])
    #expect(tasks(.prctl, 62, 1, 7) == (isScoped ? [] : [7]))
    #expect(tasks(.prctl, 61, 1, 7) == [])
  }

  private func arguments(_ words: Int64...) -> CallArguments {
    var arguments = CallArguments()
    for (index, word) in words.enumerated() { arguments[index] = UInt64(bitPattern: word) }
    return arguments
  }

  @Test("groups are told from processes", arguments: [false, true])
  func changedGroup(_ isScoped: Bool) {
    func group(_ call: Syscall, _ arguments: CallArguments) -> Int32? {
      NamedTasks.changedGroup(call, arguments, isScoped: isScoped)
    }
    #expect(group(.setpriority, arguments(1, 7)) == 7)
    #expect(group(.ioprio_set, arguments(2, 7)) == 7)
    // Processes and users; 0 is the caller's own group.
    for kind in [0, 2] as [Int64] { #expect(group(.setpriority, arguments(kind, 7)) == nil) }
    for kind in [1, 3] as [Int64] { #expect(group(.ioprio_set, arguments(kind, 7)) == nil) }
    #expect(group(.setpriority, arguments(1, 0)) == nil)
    #expect(group(.kill, arguments(-7, 9)) == (isScoped ? nil : 7))
    #expect(group(.fcntl, arguments(3, 8, -7)) == (isScoped ? nil : 7))
    #expect(group(.fcntl, arguments(3, 9, -7)) == nil)
    for number in [7, 0, -1, Int64(Int32.min)] {
      #expect(group(.kill, arguments(number, 9)) == nil)
      #expect(group(.fcntl, arguments(3, 8, number)) == nil)
    }
  }

  @Test("who is only looked at is known, and groups and users aren't somebody")
  func seen() {
    for call: Syscall in [
      .getpgid, .getsid, .sched_getscheduler, .sched_getparam, .sched_getattr, .sched_getaffinity,
      .sched_rr_get_interval, .kill,
    ] {
      #expect(NamedTasks.seen(call, arguments(7)) == 7)
      #expect(NamedTasks.seen(call, arguments(0)) == nil)
      #expect(NamedTasks.seen(call, arguments(-7)) == nil)
    }
    #expect(NamedTasks.seen(.getpriority, arguments(0, 7)) == 7)
    #expect(NamedTasks.seen(.getpriority, arguments(1, 7)) == nil)
    #expect(NamedTasks.seen(.ioprio_get, arguments(1, 7)) == 7)
    #expect(NamedTasks.seen(.ioprio_get, arguments(2, 7)) == nil)
    #expect(NamedTasks.seen(.setpriority, arguments(0, 7)) == nil)
  }
}

@Suite("Threads that are seized by mistake")
struct WithdrawalTests {
  @Test(
    "they are let go wherever they are: in execs, forks, and handlers",
    arguments: [
      "exec sh \"$0\"", "while :; do (:); done", "trap : USR1; echo ready; while :; do :; done",
    ])
  func anywhere(_ body: String) async throws {
    let script = try TestPrograms.write(
      "\(body)\n", to: "withdrawal-\(body.utf8.reduce(0) { $0 &* 31 &+ Int($1) })")
    let shell = try Shell("exec sh \(script)")
    let tid = shell.tid
    if body.hasPrefix("trap") { #expect(shell.line() == "ready") }
    let count = Mutex(0)
    let thread = try SupervisorThread.start(name: "seizes") {
      for _ in 0..<500 {
        if body.hasPrefix("trap") { kill(tid, SIGUSR1) }
        guard let attached = try? AttachedThread(seizing: tid) else { break }
        attached.withdraw()
        count.withLock { $0 += 1 }
        usleep(200)
      }
    }
    for _ in 0..<3000 where count.withLock({ $0 }) < 500 { usleep(10_000) }
    #expect(count.withLock { $0 } == 500)
    // One that waits for ever is ended by the end of whom it waits for.
    kill(tid, SIGKILL)
    thread.join()
    #expect(shell.line() == "end 137")
  }
}

@Suite("Which process a number means")
struct ProcessIdentityTests {
  private func identity(of process: Int32) -> ProcessIdentity? {
    let pidfd = OwnedDescriptor(owning: CLinux_pidfd_open(process, 0))
    guard pidfd.rawValue >= 0 else { return nil }
    return ProcessIdentity(pidfd: pidfd.rawValue, tgid: process)
  }

  private func process(_ tgid: Int32, _ identity: ProcessIdentity?) -> PodProcess {
    PodProcess(
      tgid: tgid, name: VirtualName(rawValue: 2), tag: 1, identity: identity, space: AddressSpace())
  }

  private func canOpen(_ process: PodProcess) -> Bool {
    if let descriptor = process.openDescriptor() { descriptor.rawValue >= 0 } else { false }
  }

  @Test("each process has its own, to its end")
  func identities() throws {
    let shell = try Shell("exec sleep 1000")
    let other = try Shell("exec sleep 1000")
    let own = try #require(identity(of: shell.tid))
    #expect(identity(of: shell.tid) == own)
    #expect(identity(of: other.tid) != own)
    #expect(identity(of: getpid()) != own)
    let known = process(shell.tid, own)
    #expect(known.isThere && canOpen(known))
    let pin = try Pin([shell.tid]) { true }
    kill(shell.tid, SIGKILL)
    #expect(shell.reaches("Z"))
    // A zombie is still who it was.
    #expect(known.isThere && identity(of: shell.tid) == own)
    pin.end()
    #expect(shell.line() == "end 137")
    #expect(!known.isThere && !canOpen(known))
  }

  @Test("who has another's number isn't taken for it")
  func reused() throws {
    let shell = try Shell("exec sleep 1000")
    let other = try Shell("exec sleep 1000")
    let first = try #require(identity(of: shell.tid))
    let mistaken = process(other.tid, first)
    #expect(!mistaken.isThere)
    #expect(!canOpen(mistaken))
    // Where nobody could look in time, the number has to do.
    #expect(process(other.tid, nil).isThere)
  }

  @Test("a descriptor of something else has none")
  func nothing() {
    #expect(ProcessIdentity(pidfd: -1, tgid: 1) == nil)
  }
}

@Suite("Processes of other users")
struct OtherUserTests {
  /// What `body` says on a thread of its own without the capability to trace.
  private func withoutTracing<T: Sendable>(_ body: @escaping @Sendable () -> T) throws -> T? {
    let result = Mutex<T?>(nil)
    let thread = try SupervisorThread.start(name: "other user") {
      guard Self.dropTracing() else { return }
      let found = body()
      result.withLock { $0 = found }
    }
    thread.join()
    return result.withLock { $0 }
  }

  /// The calling thread gives up CAP_SYS_PTRACE. Source: capset(2), version 3.
  private static func dropTracing() -> Bool {
    var header: [UInt32] = [0x2008_0522, 0]
    var sets = [UInt32](repeating: 0, count: 6)
    return header.withUnsafeMutableBytes { header in
      sets.withUnsafeMutableBytes { sets in
        func call(_ call: Syscall) -> Int {
          CLinux_syscall(
            Int(call.rawValue), UInt64(UInt(bitPattern: header.baseAddress)),
            UInt64(UInt(bitPattern: sets.baseAddress)), 0, 0, 0, 0)
        }
        guard call(.capget) == 0 else { return false }
        let words = sets.bindMemory(to: UInt32.self)
        words[0] &= ~(1 << 19)
        return call(.capset) == 0
      }
    }
  }

  private static let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]

  @Test("root without the right to trace acts for the other user, for one call")
  func acting() throws {
    guard getuid() == 0 else { return print("skipped: only root has other users' processes") }
    let shell = try Shell("exec sleep 1000", as: Self.nobody)
    let tid = shell.tid
    let results = try withoutTracing { () -> [String] in
      var found: [String] = []
      func attach() -> String {
        do throws(Errno) {
          try AttachedThread(seizing: tid).withdraw()
          return "attached"
        } catch {
          return "\(error.rawValue)"
        }
      }
      found.append(attach())
      do throws(Errno) {
        let inside = try OtherUser.acting(for: tid) { () throws(Errno) in
          "\(getuid()) \(getgid()) \(geteuid()) \(attach())"
        }
        found.append(inside)
      } catch {
        found.append("\(error.rawValue)")
      }
      found.append("\(getuid()) \(getgid()) \(geteuid())")
      found.append(attach())
      return found
    }
    #expect(results == ["\(EPERM)", "65534 65534 0 attached", "0 0 0", "\(EPERM)"])
    // No other thread of the program took part.
    #expect(getuid() == 0)
  }

  @Test("an error of what is done is passed on, and this program's user is there again")
  func failing() throws {
    guard getuid() == 0 else { return print("skipped: only root has other users' processes") }
    let shell = try Shell("exec sleep 1000", as: Self.nobody)
    let tid = shell.tid
    let result = try withoutTracing { () -> String in
      do throws(Errno) {
        try OtherUser.acting(for: tid) { () throws(Errno) in throw .badAddress }
        return ""
      } catch {
        return "\(error.rawValue) \(getuid()) \(getgid())"
      }
    }
    #expect(result == "\(EFAULT) 0 0")
  }

  @Test("nobody acts for its own user, for nobody, or for who has several users")
  func refused() throws {
    guard getuid() == 0 else { return print("skipped: only root has other users' processes") }
    let own = try Shell("exec sleep 1000")
    let several = try Shell("exec setpriv --ruid 65534 sleep 1000")
    while ProcessStatus.number("Uid", of: several.tid) == 0 { usleep(1000) }
    #expect(ProcessStatus.numbers("Uid", of: several.tid)?.prefix(3) == [65534, 0, 0])
    for tid in [own.tid, several.tid, .max] {
      #expect(throws: Errno.notPermitted) {
        try OtherUser.acting(for: tid) { () throws(Errno) in Issue.record("acted") }
      }
    }
    #expect(getuid() == 0)
  }
}
