import CLinux
import Glibc
import PodCore
import PodTestSupport
import SystemPackage
import Testing

@testable import PodLinux

/// `Tests/Programs/attended_calls.c`, which has made its notified call or is about to.
private final class Program: Sendable {
  /// The process that makes the call; another one is its parent.
  let tid: Int32
  let exchange: RemoteAddress
  let word: RemoteAddress
  private let listener: OwnedDescriptor
  private let parent: Int32
  private let output: OwnedDescriptor
  private let input: OwnedDescriptor

  /// - Parameter mode: As the program says.
  init(_ mode: String = "") async throws {
    let path = try await TestPrograms.path("attended_calls")
    let (reading, writing) = try makePipe()
    let (theirs, ours) = try makePipe()
    output = OwnedDescriptor(owning: reading)
    input = OwnedDescriptor(owning: ours)
    parent = try Self.spawn([path, mode], input: theirs, output: writing)
    close(writing)
    close(theirs)
    let words = try #require(Self.line(from: reading)).split(separator: " ")
    try #require(words.count == 3)
    tid = try #require(Int32(words[0]))
    exchange = RemoteAddress(rawValue: try #require(UInt64(words[1])))
    word = RemoteAddress(rawValue: try #require(UInt64(words[2])))
    let process = OwnedDescriptor(owning: CLinux_pidfd_open(tid, 0))
    listener = OwnedDescriptor(owning: CLinux_pidfd_getfd(process.rawValue, 100, 0))
    try #require(listener.rawValue >= 0)
  }

  deinit {
    kill(tid, SIGKILL)
    kill(parent, SIGKILL)
    var status: Int32 = 0
    _ = CLinux_wait4(parent, &status, 0, nil)
  }

  private static func spawn(_ command: [String], input: Int32, output: Int32) throws -> Int32 {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, input, 0)
    posix_spawn_file_actions_adddup2(&actions, output, 1)
    var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) }
    arguments.append(nil)
    defer { for text in arguments { free(text) } }
    var process: Int32 = 0
    let result = posix_spawn(&process, command[0], &actions, nil, arguments, nil)
    try #require(result == 0)
    return process
  }

  /// How long a program has, in milliseconds: who is late hangs.
  private static let patience: Int32 = 20_000

  private static func byte(from descriptor: Int32) -> UInt8? {
    var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    var byte: UInt8 = 0
    guard poll(&entry, 1, patience) > 0, read(descriptor, &byte, 1) == 1 else { return nil }
    return byte
  }

  private static func line(from descriptor: Int32) -> String? {
    var bytes: [UInt8] = []
    while let byte = byte(from: descriptor) {
      if byte == UInt8(ascii: "\n") { return String(decoding: bytes, as: UTF8.self) }
      bytes.append(byte)
    }
    return nil
  }

  /// What the program has told at its end, and its parent of that. Nothing is told of a process that a tracer hasn't let go.
  func report() -> [String] {
    var lines: [String] = []
    while let line = Self.line(from: output.rawValue) { lines.append(line) }
    return lines
  }

  /// Lets a program that waits go on.
  func write() {
    _ = Glibc.write(input.rawValue, "!", 1)
  }

  /// Takes the program's call.
  func receive() throws -> UInt64 {
    var notification = seccomp_notif()
    try #require(CLinux_seccomp_receive(listener.rawValue, &notification) == 0)
    #expect(notification.data.nr == Int32(Syscall.getppid.rawValue))
    return notification.id
  }

  @discardableResult
  func answer(_ id: UInt64, _ value: Int64 = 0) -> Bool {
    CLinux_seccomp_send(listener.rawValue, id, value, 0, 0) == 0
  }

  /// The call's thread, held.
  func attached() throws -> AttachedThread {
    let id = try receive()
    let attached = try AttachedThread(seizing: tid)
    #expect(answer(id))
    try attached.stop()
    return attached
  }

  /// Sends each of the program's signals: one that is pending once at most, and three that are queued.
  func signal() {
    kill(tid, SIGUSR1)
    for value in 1...3 as ClosedRange<Int32> {
      // SIGRTMIN
      sigqueue(tid, 34, sigval(sival_int: value))
    }
  }

  /// As /proc shows it: "T" in a stop of its group, "t" in one of its tracer's; nil when it is gone.
  var state: Character? {
    guard let file = fopen("/proc/\(tid)/stat", "r") else { return nil }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 1024)
    let count = fread(&bytes, 1, bytes.count, file)
    return String(decoding: bytes[..<count], as: UTF8.self).split(separator: ")").last?
      .dropFirst().first
  }

  func reaches(_ state: Character?) -> Bool {
    for _ in 0..<2000 {
      if self.state == state { return true }
      usleep(5000)
    }
    return false
  }
}

/// Does something on another thread a little later, while the calling one waits.
private func soon(_ body: @escaping @Sendable () -> Void) throws -> SupervisorThread {
  try SupervisorThread.start(name: "soon") {
    usleep(50_000)
    body()
  }
}

/// What a program tells that was let go with a result, and no signals came to.
private func untouched(result: Int, word: Int = 5) -> [String] {
  ["result \(result)", "once 0", "queued 0", "word \(word)"]
}
private let signaled = ["result 7", "once 1", "queued 123", "word 5", "end 0"]

@Suite("Threads that are attached to")
struct AttachedThreadTests {
  // MARK: Calls

  @Test("calls are the thread's own, and leave nothing behind but what they do")
  func calls() async throws {
    let program = try await Program()
    try onOwnThread {
      let attached = try program.attached()
      for _ in 0..<50 {
        let own = try attached.perform(.getpid, CallArguments())
        #expect(own == .success(Int(program.tid)))
      }
      let bad = try attached.perform(.close, CallArguments(1000))
      #expect(bad == .failure(.badFileDescriptor))
      let protection = UInt64(PROT_READ | PROT_WRITE)
      let mapped = try attached.perform(
        .mmap,
        CallArguments(0, 8192, protection, UInt64(MAP_PRIVATE | MAP_ANONYMOUS), .max, 0)
      ).get()
      let address = RemoteAddress(rawValue: UInt64(mapped))
      try RemoteMemory().write(address + 4096, value: 77 as Int64, stopped: program.tid)
      let read = try RemoteMemory().read(address + 4096, as: Int64.self, stopped: program.tid)
      #expect(read == 77)
      let unmapped = try attached.perform(.munmap, CallArguments(UInt64(mapped), 8192))
      #expect(unmapped == .success(0))
      attached.finish(.success(7))
      #expect(!attached.isGone)
    }
    #expect(program.report() == untouched(result: 7) + ["end 0"])
  }

  @Test("the program sees an error as an error")
  func failure() async throws {
    let program = try await Program()
    try onOwnThread { try program.attached().finish(.failure(.permissionDenied)) }
    #expect(program.report() == untouched(result: -13) + ["end 0"])
  }

  @Test("each call is announced before it is made")
  func announcement() async throws {
    let program = try await Program()
    try onOwnThread {
      let attached = try program.attached()
      var announced: [CallArguments] = []
      attached.willPerform = { call, arguments in
        #expect(call == .close)
        announced.append(arguments)
      }
      _ = try attached.perform(.close, CallArguments(1000))
      _ = try attached.perform(.close, CallArguments(1001))
      #expect(announced == [CallArguments(1000), CallArguments(1001)])
      attached.finish(.success(7))
    }
    #expect(program.report() == untouched(result: 7) + ["end 0"])
  }

  // MARK: Signals

  /// When something happens to a thread that is attached to.
  enum Stage: CaseIterable {
    case seized, stopped, betweenCalls, inCall, afterCalls
  }

  /// Attaches, makes some calls, and lets go with 7; `body` runs at a stage.
  private func attend(
    _ program: Program, at stage: Stage, _ body: @escaping @Sendable () -> Void
  ) throws {
    try onOwnThread {
      let id = try program.receive()
      let attached = try AttachedThread(seizing: program.tid)
      if stage == .seized { body() }
      program.answer(id)
      try attached.stop()
      if stage == .stopped { body() }
      _ = try attached.perform(.getpid, CallArguments())
      if stage == .betweenCalls { body() }
      _ = try attached.perform(.getpid, CallArguments())
      if stage == .inCall {
        let other = try soon(body)
        defer { other.join() }
        // No descriptors, for 200 ms.
        _ = try attached.perform(.poll, CallArguments(0, 0, 200))
      }
      if stage == .afterCalls { body() }
      attached.finish(.success(7))
    }
  }

  @Test(
    "signals that come meanwhile wait, and come once, in their order", arguments: Stage.allCases)
  func signals(_ stage: Stage) async throws {
    let program = try await Program()
    try attend(program, at: stage) { program.signal() }
    #expect(program.report() == signaled)
  }

  @Test(
    "a stop of the whole process holds afterwards, until it is continued", arguments: Stage.allCases
  )
  func groupStop(_ stage: Stage) async throws {
    let program = try await Program()
    try attend(program, at: stage) { kill(program.tid, SIGSTOP) }
    #expect(program.reaches("T"))
    usleep(50_000)
    #expect(program.state == "T")
    kill(program.tid, SIGCONT)
    #expect(program.report() == untouched(result: 7) + ["end 0"])
  }

  @Test("a continuation that comes meanwhile cancels the stop", arguments: Stage.allCases)
  func stopAndContinue(_ stage: Stage) async throws {
    let program = try await Program()
    try attend(program, at: stage) {
      kill(program.tid, SIGSTOP)
      kill(program.tid, SIGCONT)
    }
    #expect(program.report() == untouched(result: 7) + ["end 0"])
  }

  @Test("a call that a signal cuts off is made again by the program, behind the handler")
  func interrupted() async throws {
    let program = try await Program()
    try onOwnThread {
      let attached = try program.attached()
      let other = try soon { program.signal() }
      let outcome = try attached.perform(.pause, CallArguments(), withSignals: true)
      other.join()
      guard case .interrupted = outcome else {
        Issue.record("\(outcome)")
        return
      }
      attached.repeatCall(.getppid)
      program.answer(try program.receive(), 7)
    }
    #expect(program.report() == signaled)
  }

  // MARK: Ends

  @Test(
    "a thread that is killed is gone for us, and its parent hears of it", arguments: Stage.allCases)
  func killed(_ stage: Stage) async throws {
    let program = try await Program()
    try onOwnThread {
      let id = try program.receive()
      let attached = try AttachedThread(seizing: program.tid)
      if stage == .seized {
        kill(program.tid, SIGKILL)
        program.answer(id)
        #expect(throws: Errno.noSuchProcess) { try attached.stop() }
        #expect(attached.isGone)
        return
      }
      program.answer(id)
      try attached.stop()
      switch stage {
      case .seized: break
      case .stopped:
        kill(program.tid, SIGKILL)
        #expect(throws: Errno.noSuchProcess) { try attached.perform(.getpid, CallArguments()) }
      case .betweenCalls:
        _ = try attached.perform(.getpid, CallArguments())
        kill(program.tid, SIGKILL)
        #expect(throws: Errno.noSuchProcess) {
          try attached.run(from: program.exchange, until: program.exchange...program.exchange) {
            _ in
          }
        }
      case .inCall:
        let other = try soon { kill(program.tid, SIGKILL) }
        defer { other.join() }
        #expect(throws: Errno.noSuchProcess) { try attached.perform(.pause, CallArguments()) }
      case .afterCalls:
        _ = try attached.perform(.getpid, CallArguments())
        kill(program.tid, SIGKILL)
        attached.finish(.success(7))
      }
      #expect(attached.isGone)
      // What is asked of it later does no harm.
      attached.finish(.success(7))
      attached.release()
    }
    #expect(program.report() == ["end 9"])
  }

  @Test("a maker that is killed while it has a newborn leaves that free")
  func killedInFork() async throws {
    let program = try await Program("births")
    try onOwnThread {
      let attached = try program.attached()
      var newborn: Int32 = 0
      #expect(throws: Errno.noSuchProcess) {
        _ = try attached.perform(.fork, CallArguments(), makesTask: true) { child in
          newborn = child.tid
          kill(program.tid, SIGKILL)
          return false
        }
      }
      #expect(attached.isGone && newborn > 0)
      #expect(ProcessStatus.number("TracerPid", of: newborn) ?? 0 == 0)
    }
    // Nobody has the other end of its output any more: the newborn has ended, too.
    #expect(program.report() == ["end 9"])
  }

  @Test("a newborn that is killed at once is its parent's to wait for")
  func killedNewborn() async throws {
    let program = try await Program("births")
    try onOwnThread {
      let attached = try program.attached()
      let outcome = try attached.perform(.fork, CallArguments(), makesTask: true) { child in
        kill(child.tid, SIGKILL)
        return false
      }
      guard case .returned(.success(let child)) = outcome else {
        Issue.record("\(outcome)")
        return
      }
      attached.finish(.success(child))
    }
    #expect(program.report().suffix(2) == ["child 1 9", "end 0"])
  }

  // MARK: Births

  @Test("a fork's child is given, and goes on behind the call")
  func fork() async throws {
    let program = try await Program("births")
    let result = OneResult()
    try onOwnThread {
      let attached = try program.attached()
      var newborn: Int32 = 0
      let outcome = try attached.perform(.fork, CallArguments(), makesTask: true) { child in
        newborn = child.tid
        #expect(!child.isGone)
        #expect(ProcessStatus.number("TracerPid", of: child.tid) == Int(CLinux_gettid()))
        #expect(ProcessStatus.number("PPid", of: child.tid) == Int(program.tid))
        return false
      }
      guard case .returned(.success(let child)) = outcome else {
        Issue.record("\(outcome)")
        return
      }
      #expect(child == Int(newborn))
      result.value = child
      attached.finish(.success(child))
    }
    #expect(program.report() == untouched(result: result.value) + ["child 1 2a00", "end 0"])
  }

  @Test("the maker of a vfork may be left in its call")
  func vfork() async throws {
    let program = try await Program("births")
    let result = OneResult()
    try onOwnThread {
      let attached = try program.attached()
      // Its arguments mean nothing; with them its registers are as the program left them.
      let arguments = CallArguments(0x102, 0x103, 0x104, 0x107, 0x105, 0x106)
      let outcome = try attached.perform(.vfork, arguments, makesTask: true) { child in
        result.value = Int(child.tid)
        return true
      }
      guard case .waitsForChild = outcome else {
        Issue.record("\(outcome)")
        return
      }
      attached.release()
    }
    #expect(program.report() == untouched(result: result.value) + ["child 1 2a00", "end 0"])
  }

  @Test("a thread that a clone makes goes on")
  func clone() async throws {
    let program = try await Program("births")
    let result = OneResult()
    try onOwnThread {
      let attached = try program.attached()
      // CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM
      let outcome = try attached.perform(.clone, CallArguments(0x50F00), makesTask: true) { child in
        result.value = Int(child.tid)
        #expect(access("/proc/\(program.tid)/task/\(child.tid)", F_OK) == 0)
        return false
      }
      guard case .returned(.success(let child)) = outcome else {
        Issue.record("\(outcome)")
        return
      }
      #expect(child == result.value)
      attached.finish(.success(child))
    }
    #expect(program.report() == untouched(result: result.value) + ["thread", "end 0"])
  }

  @Test("a fork that fails is told, and makes nobody")
  func failingClone() async throws {
    let program = try await Program("")
    try onOwnThread {
      let attached = try program.attached()
      // CLONE_THREAD without CLONE_SIGHAND
      let outcome = try attached.perform(.clone, CallArguments(0x10000), makesTask: true) { _ in
        Issue.record("a newborn")
        return false
      }
      guard case .returned(.failure(.invalidArgument)) = outcome else {
        Issue.record("\(outcome)")
        return
      }
      attached.finish(.success(7))
    }
    #expect(program.report() == untouched(result: 7) + ["end 0"])
  }

  // MARK: Withdrawing

  @Test("a thread that was seized by mistake goes on where it was", arguments: [false, true])
  func withdraw(_ hasSignals: Bool) async throws {
    let program = try await Program("waits")
    #expect(program.reaches("S"))
    try onOwnThread {
      let attached = try AttachedThread(seizing: program.tid)
      if hasSignals { program.signal() }
      attached.withdraw()
      #expect(ProcessStatus.number("TracerPid", of: program.tid) == 0)
    }
    program.write()
    let signals = hasSignals ? ["once 1", "queued 123"] : ["once 0", "queued 0"]
    #expect(program.report() == ["result 0"] + signals + ["word 5", "end 0"])
  }

  @Test("a stopped process that was seized by mistake stays stopped")
  func withdrawFromStopped() async throws {
    let program = try await Program("waits")
    kill(program.tid, SIGSTOP)
    #expect(program.reaches("T"))
    try onOwnThread { try AttachedThread(seizing: program.tid).withdraw() }
    #expect(program.reaches("T"))
    usleep(50_000)
    #expect(program.state == "T")
    kill(program.tid, SIGCONT)
    program.write()
    #expect(program.report() == untouched(result: 0) + ["end 0"])
  }

  @Test("withdrawing from a thread that is killed takes its report")
  func withdrawFromKilled() async throws {
    let program = try await Program("waits")
    try onOwnThread {
      let attached = try AttachedThread(seizing: program.tid)
      kill(program.tid, SIGKILL)
      attached.withdraw()
    }
    #expect(program.report() == ["end 9"])
  }

  @Test("nobody is seized who is traced already, or isn't there")
  func seizing() async throws {
    let program = try await Program()
    try onOwnThread {
      let attached = try program.attached()
      #expect(throws: Errno.notPermitted) { _ = try AttachedThread(seizing: program.tid) }
      attached.finish(.success(7))
    }
    #expect(program.report() == untouched(result: 7) + ["end 0"])
    #expect(throws: Errno.noSuchProcess) { _ = try AttachedThread(seizing: .max) }
  }

  // MARK: One instruction

  @Test("a word is exchanged by one instruction of the thread's, with signals waiting")
  func exchange() async throws {
    let program = try await Program()
    try onOwnThread {
      let attached = try program.attached()
      let loop = (program.exchange + 4)...(program.exchange + 6)
      func exchange(_ expected: UInt64, _ desired: UInt64, at word: RemoteAddress) throws -> UInt64
      {
        try attached.run(from: program.exchange, until: loop) { registers in
          registers.result = expected
          registers.arguments[0] = word.rawValue
          registers.arguments[1] = desired
        }.result
      }
      program.signal()
      #expect(try exchange(4, 8, at: program.word) == 5)
      #expect(try exchange(5, 9, at: program.word) == 5)
      #expect(try exchange(5, 10, at: program.word) == 9)
      // A fault is an answer, not the program's to hear of.
      #expect(throws: Errno.badAddress) { try exchange(0, 1, at: .null) }
      #expect(throws: Errno.badAddress) {
        try exchange(0, 1, at: RemoteAddress(rawValue: 0xFFFF_8000_0000_0000))
      }
      #expect(try exchange(9, 11, at: program.word) == 9)
      #expect(try attached.perform(.getpid, CallArguments()) == .success(Int(program.tid)))
      attached.finish(.success(7))
    }
    #expect(program.report() == ["result 7", "once 1", "queued 123", "word 11", "end 0"])
  }

  @Test("signals that can't wait do, too", arguments: [SIGSTOP, SIGSYS])
  func signalInExchange(_ signal: Int32) async throws {
    let program = try await Program()
    try onOwnThread {
      let attached = try program.attached()
      let loop = (program.exchange + 4)...(program.exchange + 6)
      for round in 5...7 as ClosedRange<UInt64> {
        kill(program.tid, signal)
        let end = try attached.run(from: program.exchange, until: loop) { registers in
          registers.result = round
          registers.arguments[0] = program.word.rawValue
          registers.arguments[1] = round + 1
        }
        #expect(end.result == round)
      }
      attached.finish(.success(7))
    }
    if signal == SIGSTOP {
      #expect(program.reaches("T"))
      kill(program.tid, SIGCONT)
      #expect(program.report() == untouched(result: 7, word: 8) + ["end 0"])
    } else {
      // With or without a core dump.
      #expect([["end 1f"], ["end 9f"]].contains(program.report()))
    }
  }

  @Test("code that doesn't end in the loop is a bad address")
  func strayCode() async throws {
    let program = try await Program()
    try onOwnThread {
      let attached = try program.attached()
      #expect(throws: Errno.badAddress) {
        let elsewhere = program.exchange + 1000
        _ = try attached.run(from: program.exchange + 4, until: elsewhere...elsewhere) { _ in }
      }
      attached.finish(.success(7))
    }
    #expect(program.report() == untouched(result: 7) + ["end 0"])
  }

  // MARK: CPUs

  @Test("thread and supervisor are on one CPU meanwhile, and have their own back afterwards")
  func sharedCPU() async throws {
    let program = try await Program("births")
    let result = OneResult()
    let all = affinity(of: 0)
    guard all.nonzeroBitCount > 1 else { return print("skipped: one CPU alone") }
    try onOwnThread {
      let attached = try program.attached()
      #expect(affinity(of: program.tid) == all)
      attached.stayTogether()
      let shared = affinity(of: program.tid)
      #expect(shared.nonzeroBitCount == 1 && shared == affinity(of: 0))
      var newborn: Int32 = 0
      let outcome = try attached.perform(.fork, CallArguments(), makesTask: true) { child in
        newborn = child.tid
        #expect(affinity(of: child.tid) == shared)
        // So that it is there when it is looked at.
        kill(newborn, SIGSTOP)
        return false
      }
      #expect(affinity(of: newborn) == all)
      kill(newborn, SIGCONT)
      guard case .returned(.success(let child)) = outcome else {
        Issue.record("\(outcome)")
        return
      }
      result.value = child
      _ = kill(program.tid, SIGSTOP)
      attached.finish(.success(child))
      #expect(affinity(of: program.tid) == all)
      #expect(affinity(of: 0) == all)
    }
    kill(program.tid, SIGCONT)
    #expect(program.report() == untouched(result: result.value) + ["child 1 2a00", "end 0"])
  }

  @Test("CPUs that somebody sets meanwhile stay; who may not run here is left where it is")
  func otherAffinity() async throws {
    let program = try await Program()
    let all = affinity(of: 0)
    guard all.nonzeroBitCount > 1 else { return print("skipped: one CPU alone") }
    try onOwnThread {
      let attached = try program.attached()
      attached.stayTogether()
      var other = all & ~affinity(of: 0)
      #expect(CLinux_sched_setaffinity(program.tid, &other, 1) == 0)
      kill(program.tid, SIGSTOP)
      attached.finish(.success(7))
      #expect(affinity(of: program.tid) == other)
      #expect(affinity(of: 0) == all)
      // The thread may run on other CPUs than this one alone.
      var here = all & ~other
      #expect(CLinux_sched_setaffinity(0, &here, 1) == 0)
      var isShared = true
      if let place = SharedCPU(with: program.tid) {
        place.giveBack(to: program.tid)
      } else {
        isShared = false
      }
      #expect(!isShared)
      #expect(affinity(of: program.tid) == other)
      #expect(affinity(of: 0) == here)
    }
    kill(program.tid, SIGCONT)
    #expect(program.report() == untouched(result: 7) + ["end 0"])
  }
}

/// A number that a thread leaves for its test.
private final class OneResult: @unchecked Sendable {
  var value = 0
}

/// The first 64 CPUs that a thread may run on.
private func affinity(of tid: Int32) -> UInt64 {
  var words = [UInt64](repeating: 0, count: 16)
  return CLinux_sched_getaffinity(tid, &words, 16) > 0 ? words[0] : 0
}
