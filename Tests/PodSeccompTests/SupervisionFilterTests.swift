import CLinux
import CPodLayout
import CSeccomp
import Glibc
import PodCore
import PodLinux
import PodSeccomp
import PodTestSupport
import Subprocess
import SystemPackage
import Testing

/// The filter of a supervised pod, in the interpreter and on the kernel, against what the boundary table says.
@Suite("The filter of a supervised pod")
struct SupervisionFilterTests {
  private struct Wants: Interposer {
    let calls: Set<Syscall> = [.read, .clock_gettime, .setns]
    func preamble(_ transaction: inout Transaction) throws(Errno) {}
  }

  private static let numbers: [UInt32] =
    Array(0..<600) + [1 << 20, (1 << 30) - 1, 1 << 31, .max - 1, .max]

  /// What has to become of a call, said without the rules that are tested.
  private func expected(
    _ number: UInt32, _ arguments: CallArguments, traced: Bool = false,
    wanted: Set<Syscall> = [], fromPage: Bool? = nil, isScoped: Bool = false
  ) -> FilterRules.Action {
    guard number < 1 << 30 else { return .errno(UInt16(ENOSYS)) }
    guard let call = UInt16(exactly: number).flatMap({ Syscall(rawValue: $0) }) else {
      return traced ? .notify : .errno(UInt16(ENOSYS))
    }
    if wanted.contains(call) || [.execve, .execveat].contains(call) { return .notify }
    if call == .exit { return fromPage == nil ? .notify : .allow }
    if fromPage == true, reachesNobodyElse(call, arguments) { return .allow }
    if fromPage == true, isScoped, Self.signals.contains(call) { return .allow }
    if fromPage == false, call == .rt_sigaction { return .notify }
    guard let row = BoundaryTable.standard.row(for: call, arguments) else { return .allow }
    switch row.verb {
    case .native: return .allow
    case .answered, .wrapped: return .notify
    case .refused(let errno, _): return traced ? .notify : .errno(UInt16(errno.rawValue))
    case .open(let errno, _) where row.inputs.isEmpty:
      return traced ? .notify : .errno(UInt16(errno.rawValue))
    case .open, .translated:
      let meansSelf = row.inputs.allSatisfy { place in
        guard case .argument(let index, let shape) = place else { return false }
        return shape.zero != .none && arguments[index] & 0xFFFF_FFFF == 0
      }
      return row.outputs.isEmpty && meansSelf && !row.inputs.isEmpty ? .allow : .notify
    }
  }

  /// Calls whose worst is a signal.
  private static let signals: Set<Syscall> = [
    .kill, .tkill, .tgkill, .pidfd_open, .pidfd_send_signal,
  ]

  /// What the page may do without asking.
  private func reachesNobodyElse(_ call: Syscall, _ arguments: CallArguments) -> Bool {
    switch call {
    case .getpid: arguments.a != UInt64(POD_PAGE_MAGIC)
    case .gettid, .getppid, .getpgrp, .wait4, .waitid, .fork, .vfork,
      .set_tid_address, .rt_sigaction:
      true
    case .getpgid, .getsid: arguments.a & 0xFFFF_FFFF == 0
    // TIOCGPGRP, TIOCGSID, FIOGETOWN, SIOCGPGRP; F_GETOWN_EX.
    case .ioctl: [0x540F, 0x5429, 0x8903, 0x8904].contains(arguments.b & 0xFFFF_FFFF)
    case .fcntl: arguments.b & 0xFFFF_FFFF == 16
    // No new namespace, and no word to a tracer.
    case .clone: arguments.a & (0x7E02_0000 | 0x80_2000) == 0
    default: false
    }
  }

  @Test(
    "the page makes calls by itself that reach nobody else, or nobody outside, and only from where it is",
    arguments: [false, true], [false, true])
  func page(interposed: Bool, isScoped: Bool) throws {
    let area = try PodArea.make(tableSize: 1 << 16)
    let interposers: [any Interposer] = interposed ? [WantsIdentity()] : []
    let wanted = interposed ? WantsIdentity().calls : []
    let program = try SupervisionFilter.rules(
      for: .sample(interposers: interposers, area: area), isScoped: isScoped
    ).program()
    let interpreter = try BPFInterpreter(program)
    var reached: Set<Int> = []
    var allowed: Set<Syscall> = []
    for number in Self.numbers {
      for arguments in interestingArguments(of: number) {
        for (address, isCode) in interestingPlaces(of: area) {
          let outcome = interpreter.run(.native(number, arguments, from: address))
          reached.formUnion(outcome.path)
          let expected = expected(
            number, arguments, wanted: wanted, fromPage: isCode, isScoped: isScoped)
          if outcome.value != expected.returnValue {
            Issue.record(
              "\(number) \(arguments) at \(String(address, radix: 16)): \(String(outcome.value, radix: 16)), \(expected)"
            )
          }
          if isCode, expected == .allow,
            self.expected(number, arguments, fromPage: false) == .notify
          {
            allowed.formUnion(Syscall(rawValue: UInt16(number)).map { [$0] } ?? [])
          }
        }
      }
      let foreign = interpreter.run(
        .native(
          number, CallArguments(), architecture: CLinux_AUDIT_ARCH_I386, from: area.base.rawValue))
      reached.formUnion(foreign.path)
      #expect(foreign.value == FilterRules.Action.noFunction.returnValue)
    }
    // rt_sigqueueinfo and rt_tgsigqueueinfo have names in memory.
    let signals = isScoped ? Self.signals : []
    #expect(allowed.isSuperset(of: signals) && signals.isEmpty == !allowed.contains(.kill))
    #expect(allowed.count == (interposed ? 12 : 14) + signals.count, "\(allowed)")
    #expect(Set(program.instructions.indices).subtracting(reached) == [])
  }

  private struct WantsIdentity: Interposer {
    let calls: Set<Syscall> = [.getpid, .fork, .set_tid_address]
    func preamble(_ transaction: inout Transaction) throws(Errno) {}
  }

  @Test("the program that is made once is, with another page, the one that is made for that")
  func otherPages() throws {
    let areas = try (0..<8).map { _ in try PodArea.make(tableSize: 1 << 16) }
    let programs = try areas.map {
      try SupervisionFilter.rules(for: .sample(area: $0)).program()
    }
    for (old, before) in zip(areas, programs) {
      for (new, after) in zip(areas, programs) {
        #expect(before.with(page: new.base, insteadOf: old.base) == after)
      }
    }
    let (first, second) = (areas[0].base, areas[1].base)
    #expect(first != second)
    // One that asks for more than the page can't be changed.
    #expect(programs[0].with(page: first, insteadOf: second) == nil)
    for area in areas {
      let setup = PodSetup.sample(area: area)
      #expect(
        try SupervisionFilter.program(for: setup) == SupervisionFilter.rules(for: setup).program())
    }
  }

  @Test("with a page, a call in which no name crosses costs what it costs without")
  func namelessWithPage() throws {
    let area = try PodArea.make(tableSize: 1 << 16)
    let with = try BPFInterpreter(SupervisionFilter.rules(for: .sample(area: area)).program())
    let without = try BPFInterpreter(SupervisionFilter.rules(for: .sample()).program())
    let seen = SupervisionFilter.watched.union(SupervisionFilter.watchedOutside)
    for call in NamelessCalls.all.subtracting(seen) {
      let data = SeccompData.native(UInt32(call.rawValue))
      #expect(with.run(data).loads == [0, 4], "\(call.name)")
      #expect(with.run(data).path.count <= without.run(data).path.count + 2, "\(call.name)")
    }
  }

  @Test("a pod that reports every call has no page")
  func tracedPod() throws {
    var configuration = PodConfiguration()
    configuration.tracesCalls = true
    #expect(try SeccompBackend().tableMemory(for: configuration, size: 4096) == nil)
  }

  @Test(
    "every call gets what its row says, and every instruction is reached",
    arguments: [false, true], [false, true])
  func agreesWithTheTable(traced: Bool, interposed: Bool) throws {
    let interposers: [any Interposer] = interposed ? [Wants()] : []
    let wanted = interposed ? Wants().calls : []
    let rules = SupervisionFilter.rules(
      for: .sample(traced: traced, interposers: interposers))
    let program = try rules.program()
    let interpreter = try BPFInterpreter(program)
    var reached: Set<Int> = []
    var count = 0
    for number in Self.numbers {
      for arguments in interestingArguments(of: number) {
        let outcome = interpreter.run(.native(number, arguments))
        reached.formUnion(outcome.path)
        count += 1
        let expected = expected(number, arguments, traced: traced, wanted: wanted)
        if outcome.value != expected.returnValue {
          Issue.record("\(number) \(arguments): \(String(outcome.value, radix: 16)), \(expected)")
        }
      }
      for architecture in [CLinux_AUDIT_ARCH_I386, CLinux_AUDIT_ARCH_AARCH64, 0, .max] {
        let outcome = interpreter.run(.native(number, CallArguments(), architecture: architecture))
        reached.formUnion(outcome.path)
        #expect(outcome.value == FilterRules.Action.noFunction.returnValue)
      }
      let x32 = interpreter.run(.native(number | 1 << 30, CallArguments()))
      #expect(x32.value == FilterRules.Action.noFunction.returnValue)
    }
    #expect(count > 5_000)
    #expect(Set(program.instructions.indices).subtracting(reached) == [])
  }

  @Test(
    "what the design says, call by call",
    arguments: [
      (.read, [], .allow), (.write, [], .allow), (.openat, [0, 0, 0o2000000], .allow),
      (.openat, [0, 0, 0o400], .allow),
      (.openat, [0, 0, 0o101], .notify), (.openat, [0, 0, 0], .notify), (.unlink, [], .notify),
      (.mmap, [], .allow),
      (.futex, [0, 0x80], .allow), (.futex, [0, 6], .notify), (.sendmsg, [], .allow),
      (.exit_group, [], .allow), (.exit, [], .notify), (.execve, [], .notify),
      (.execveat, [], .notify), (.getpid, [], .notify), (.kill, [0, 9], .notify),
      (.wait4, [], .notify), (.fork, [], .notify), (.vfork, [], .notify),
      (.clone, [0x11], .notify), (.clone, [0x2000_0011], .errno(UInt16(EPERM))),
      (.clone, [0x3D0F00 | 1 << 17], .errno(UInt16(EPERM))), (.clone, [0x91], .notify),
      (.unshare, [0x600], .allow), (.unshare, [0x1000_0000], .errno(UInt16(EPERM))),
      (.unshare, [0x80], .errno(UInt16(EPERM))), (.setns, [3, 0], .errno(UInt16(EPERM))),
      (.clone3, [], .errno(UInt16(ENOSYS))), (.io_uring_setup, [], .errno(UInt16(ENOSYS))),
      (.io_uring_enter, [], .errno(UInt16(ENOSYS))),
      (.io_uring_register, [], .errno(UInt16(ENOSYS))),
      (.seccomp, [1, 8], .errno(UInt16(EBUSY))), (.seccomp, [1, 0xB], .errno(UInt16(EBUSY))),
      (.seccomp, [1, 1], .notify), (.seccomp, [2, 8], .allow),
      (.prctl, [22, 2], .notify), (.prctl, [22, 1], .errno(UInt16(EINVAL))),
      (.getuid, [], .allow), (.signalfd4, [], .notify), (.set_tid_address, [], .allow),
    ] as [(Syscall, [UInt64], FilterRules.Action)])
  func stated(call: Syscall, words: [UInt64], action: FilterRules.Action) throws {
    let interpreter = try BPFInterpreter(SupervisionFilter.rules(for: .sample()).program())
    var arguments = CallArguments()
    for (index, word) in words.enumerated() { arguments[index] = word }
    let outcome = interpreter.run(.native(UInt32(call.rawValue), arguments))
    #expect(outcome.value == action.returnValue, "\(String(outcome.value, radix: 16))")
  }

  /// The two words that the kernel's cache of allowed numbers emulates a program with.
  ///
  /// Source: kernel/seccomp.c, `seccomp_is_const_allow`.
  @Test("calls whose rows all pass, or that have none, are allowed by number alone")
  func allowedByNumber() throws {
    let interpreter = try BPFInterpreter(SupervisionFilter.rules(for: .sample()).program())
    var count = 0
    let watched = SupervisionFilter.watched.union(SupervisionFilter.watchedWithoutPage)
    for call in Syscall.allCases where !watched.contains(call) {
      guard BoundaryTable.standard.rows(for: call).allSatisfy({ !$0.isInterposed }) else {
        continue
      }
      let outcome = interpreter.run(.native(UInt32(call.rawValue)))
      #expect(outcome.value == FilterRules.Action.allow.returnValue, "\(call.name)")
      #expect(outcome.loads == [0, 4], "\(call.name)")
      count += 1
    }
    #expect(count >= NamelessCalls.all.count - 1)
  }

  // MARK: On the kernel

  /// Calls that do something whatever their arguments are, where they are let through.
  private static let effective: Set<Syscall> = [
    .exit_group, .pause, .rt_sigreturn, .sync, .uprobe, .uretprobe,
  ]

  /// What the program that answers the notifications gives as their result.
  private static let notified = 0x7E57

  private func run(_ filter: BPFProgram, _ calls: [String]) async throws -> [Int] {
    let directory = try TestPrograms.scratch()
    let path = "\(directory)/filter-\(UInt64.random(in: 0 ... .max))"
    let file = try FileDescriptor.open(
      FilePath(path), .writeOnly, options: [.create, .exclusiveCreate], permissions: .ownerReadWrite
    )
    defer { unlink(path) }
    try file.closeAfter { _ = try file.writeAll(filter.bytes) }
    let program = try await TestPrograms.path("filtered_calls")
    let result = try await Subprocess.run(
      .path(FilePath(program)), arguments: [path],
      input: .string(calls.joined(separator: "\n") + "\n"),
      output: .string(limit: 1 << 24), error: .string(limit: 1 << 16))
    let complaint = result.standardError
    try #require(result.terminationStatus.isSuccess, "\(complaint)")
    return result.standardOutput.split(separator: "\n").compactMap { Int($0) }
  }

  @Test("the kernel notifies, allows and refuses as the table says")
  func kernel() async throws {
    let program = try SupervisionFilter.rules(for: .sample()).program()
    var calls: [(number: UInt32, arguments: CallArguments, expected: FilterRules.Action)] = []
    for number in Array(0..<600 as Range<UInt32>) + [1 << 20, (1 << 30) - 1, 1 << 30 | 39] {
      for arguments in interestingArguments(of: number) {
        let expected = expected(number, arguments)
        if expected == .allow, let call = Syscall(rawValue: UInt16(truncatingIfNeeded: number)),
          Self.effective.contains(call)
        {
          continue
        }
        calls.append((number, arguments, expected))
      }
    }
    // Calls that have to be let through are also made without a filter: "u" instead of "c".
    let lines = calls.map { call in
      let words = (0..<6).map { String(call.arguments[$0]) }.joined(separator: " ")
      return "\(call.expected == .allow ? "u" : "c") \(call.number) \(words)"
    }
    let results = try await run(program, lines)
    try #require(results.count == 2 * calls.count)
    var counts: [FilterRules.Action: Int] = [:]
    for (index, call) in calls.enumerated() {
      let (result, plain) = (results[2 * index], results[2 * index + 1])
      let isRight =
        switch call.expected {
        case .notify: result == Self.notified
        case .errno(let error): result == -Int(error)
        // Some tell what differs between the two processes.
        default: result == plain || plain >= 0 && result >= 0 && result != Self.notified
        }
      #expect(isRight, "\(lines[index]): \(result), \(plain)")
      counts[call.expected, default: 0] += 1
    }
    #expect(counts[.allow, default: 0] > 4000)
    #expect(counts[.notify, default: 0] > 500)
    #expect(counts[.noFunction, default: 0] > 100)
  }

  #if arch(x86_64)
    @Test("the kernel knows the page by the whole instruction pointer")
    func kernelPage() async throws {
      let area = try PodArea.make(tableSize: 1 << 16)
      let program = try SupervisionFilter.rules(for: .sample(area: area)).program()
      // Of calls that the page makes by itself everything; of the others one each.
      let samples =
        Syscall.allCases.flatMap { call -> [(UInt32, CallArguments)] in
          let number = UInt32(call.rawValue)
          let rows = BoundaryTable.standard.rows(for: call)
          let isItsOwn =
            SupervisionFilter.watchedOutside.contains(call) || rows.contains { $0.confined != nil }
          guard isItsOwn || rows.contains(where: \.isInterposed) else { return [] }
          return interestingArguments(of: number).suffix(isItsOwn ? .max : 1).map { (number, $0) }
        } + [(UInt32(Syscall.clone.rawValue), CallArguments(UInt64(SIGCHLD)))]
      var calls: [(line: String, expected: FilterRules.Action)] = []
      var lines: [String] = []
      // What ends at the last byte of the user's addresses can't be made.
      for (address, isCode) in interestingPlaces(of: area)
      where address > 1 << 31 && address < 1 << 47 {
        lines.append("@\(address)")
        for (number, arguments) in samples {
          let expected = expected(number, arguments, fromPage: isCode)
          // Children that share the stack, or whose end signals something.
          if expected == .allow, number == 58 || number == 56 && arguments.a != 17 { continue }
          if case .errno = expected { continue }
          let words = (0..<6).map { String(arguments[$0]) }.joined(separator: " ")
          let line = "\(expected == .allow ? "u" : "c") \(number) \(words)"
          lines.append(line)
          calls.append((line, expected))
        }
      }
      let results = try await run(program, lines)
      try #require(results.count == 2 * calls.count)
      var counts: [FilterRules.Action: Int] = [:]
      for (index, call) in calls.enumerated() {
        let (result, plain) = (results[2 * index], results[2 * index + 1])
        let isRight =
          call.expected == .notify
          ? result == Self.notified : result == plain || plain >= 0 && result >= 0
        #expect(
          isRight && (call.expected == .notify) == (result == Self.notified),
          "\(call.line): \(result), \(plain)")
        counts[call.expected, default: 0] += 1
      }
      #expect(counts[.allow, default: 0] > 100 && counts[.notify, default: 0] > 1_000, "\(counts)")
    }

    @Test("calls of the 32-bit convention get ENOSYS from the kernel's filter")
    func foreignCalls() async throws {
      let program = try SupervisionFilter.rules(for: .sample()).program()
      // getpid, kill, clone, and a number that nothing has.
      let results = try await run(program, ["f 20", "f 37", "f 120", "f 1000"])
      #expect(
        results.enumerated().filter { $0.offset % 2 == 0 }.map(\.element) == [-38, -38, -38, -38])
    }
  #endif
}
