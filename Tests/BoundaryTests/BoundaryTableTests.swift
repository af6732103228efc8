import Foundation
import PodCore
import SystemPackage
import Testing

@Suite("Boundary table")
struct BoundaryTableTests {
  private let table = BoundaryTable.standard

  private func names(_ calls: some Sequence<Syscall>) -> [String] { calls.map(\.name).sorted() }

  @Test("every call number is nameless or has rows, and not both")
  func everyCallIsAccountedFor() {
    let missing = Syscall.allCases.filter {
      !NamelessCalls.all.contains($0) && table.rows(for: $0).isEmpty
    }
    #expect(names(missing) == [])
    let doubled = NamelessCalls.all.filter { !table.rows(for: $0).isEmpty }
    #expect(names(doubled) == [])
    #expect(names(NamelessCalls.all.intersection(NamelessCalls.defaults)) == [])
  }

  @Test("a call keyed by a constant has one default: a row, or a place among the nameless ones")
  func keyedCallsEndInADefault() {
    for call in Syscall.allCases {
      let rows = table.rows(for: call)
      let defaults = rows.filter { $0.variant.conditions.isEmpty }
      if rows.isEmpty {
        #expect(!NamelessCalls.defaults.contains(call), "\(call.name) has no variants")
      } else {
        let expected = NamelessCalls.defaults.contains(call) ? 0 : 1
        #expect(defaults.count == expected, "\(call.name) has \(defaults.count) default rows")
      }
      #expect(rows.allSatisfy { $0.variant.conditions.isEmpty == $0.variant.label.isEmpty })
    }
  }

  @Test("no two rows of a call are for the same arguments")
  func variantsAreDisjoint() {
    for call in Syscall.allCases {
      let keyed = table.rows(for: call).filter { !$0.variant.conditions.isEmpty }
      for (index, row) in keyed.enumerated() {
        for other in keyed[(index + 1)...] where !row.variant.excludes(other.variant) {
          Issue.record("\(call.name): \(row.variant.label) and \(other.variant.label) overlap")
        }
        for condition in row.variant.conditions {
          #expect((0...5).contains(condition.argument))
          #expect(condition.value & ~condition.mask == 0, "\(row.variant.label) never matches")
        }
      }
    }
  }

  @Test("a variant's own arguments find its row, and no others")
  func variantsAreFound() throws {
    for row in table.rows where !row.variant.conditions.isEmpty {
      var arguments = CallArguments()
      for condition in row.variant.conditions {
        arguments[condition.argument] |= condition.value
        // What the kernel doesn't read of an int must not hide a call.
        if condition.mask <= 0xFFFF_FFFF { arguments[condition.argument] |= 0xDEAD_BEEF << 32 }
      }
      let found = try #require(table.row(for: row.call, arguments))
      #expect(found.variant == row.variant)
    }
    #expect(table.row(for: .clock_gettime, CallArguments(1)) == nil)
    #expect(table.row(for: .futex, CallArguments(0, 128)) == nil)
    #expect(table.row(for: .fcntl, CallArguments(0, 3)) == nil)
  }

  @Test(
    "what is refused or not done is found by its constant, and its neighbours are not",
    arguments: [
      (.ioctl, [0, 0x5412], .notPermitted), (.ioctl, [0, 0x5413], nil),
      (.ioctl, [0, 0x541C], .notPermitted), (.ioctl, [0, 0x5437], .notPermitted),
      (.ioctl, [0, 0x5606], .inappropriateIOCTLForDevice), (.ioctl, [0, 0x5646], nil),
      (.ioctl, [0, 0x4B3A], .inappropriateIOCTLForDevice), (.ioctl, [0, 0xC008_4B06], nil),
      (.ioctl, [0, 0xB702], .inappropriateIOCTLForDevice),
      (.ioctl, [0, 0x8004_B708], .inappropriateIOCTLForDevice), (.ioctl, [0, 0x0701], nil),
      (.ioctl, [0, 0xC040_FF0B], nil), (.ioctl, [0, 0xFF0A], nil),
      (.ioctl, [0, 0xAA00], .notPermitted), (.ioctl, [0, 0xAA01], nil), (.acct, [], .notPermitted),
      (.perf_event_open, [], .permissionDenied), (.bpf, [], .notPermitted),
      (.userfaultfd, [], .notPermitted), (.fanotify_init, [], .notPermitted),
      (.syslog, [3], .notPermitted), (.clone3, [0, 88], .noFunction),
      (.seccomp, [0, 0], .invalidArgument), (.seccomp, [1, 0], nil), (.seccomp, [1, 1], nil),
      (.seccomp, [1, 8], .resourceBusy), (.seccomp, [1, 0x39], .resourceBusy),
      (.seccomp, [2, 8], nil), (.prctl, [22, 1], .invalidArgument), (.prctl, [22, 2], nil),
      (.prctl, [35, 1], .notPermitted), (.prctl, [15, 1], nil), (.keyctl, [18], .notPermitted),
      (.unshare, [0x1000_0000], .notPermitted), (.unshare, [0x400], nil), (.unshare, [], nil),
      (.unshare, [0x6C02_0680], .notPermitted), (.clone, [0x2000_0011], .notPermitted),
      (.clone, [0x11], nil), (.clone, [0x91], nil), (.setns, [7, 0], .notPermitted),
      (.keyctl, [0], nil), (.io_uring_setup, [8], .noFunction), (.ptrace, [0], .notPermitted),
    ] as [(Syscall, [UInt64], Errno?)])
  func constantsAreFound(call: Syscall, words: [UInt64], errno: Errno?) {
    var arguments = CallArguments()
    for (index, word) in words.enumerated() { arguments[index] = word }
    #expect(table.row(for: call, arguments)?.staticErrno == errno)
  }

  @Test("calls that programs make all the time aren't interposed on")
  func hotCallsAreFree() {
    let hot: [(Syscall, CallArguments)] = [
      (.read, .init()), (.write, .init()), (.newfstatat, .init()),
      // As libraries, interpreters and compilers open what they read: O_CLOEXEC, O_NOCTTY.
      (.openat, .init(0, 0, 0o2000000)), (.openat, .init(0, 0, 0o400)),
      (.open, .init(0, 0o2000000)),
      (.statx, .init()), (.fstat, .init()), (.mmap, .init()), (.brk, .init()), (.close, .init()),
      (.futex, .init(0, 128)), (.futex, .init(0, 129)), (.futex, .init(0, 137)), (.poll, .init()),
      (.epoll_wait, .init()), (.clock_gettime, .init(0)), (.clock_gettime, .init(3)),
      (.clock_nanosleep, .init(1)), (.nanosleep, .init()), (.ioctl, .init(0, 0x5401)),
      (.fcntl, .init(0, 4)), (.fcntl, .init(0, 6)), (.getdents64, .init()), (.lseek, .init()),
      (.sendmsg, .init()), (.recvmsg, .init()), (.rt_sigprocmask, .init()), (.getuid, .init()),
      // A clock of a descriptor: (~fd << 3) | 3.
      (.clock_gettime, .init(UInt64(bitPattern: Int64(~5 << 3 | 3)))),
    ]
    for (call, arguments) in hot {
      let row = table.row(for: call, arguments)
      #expect(row?.isInterposed != true, "\(call.name)")
    }
  }

  @Test("rows for kinds of descriptors are for no other descriptor, and printed")
  func descriptorRows() throws {
    for call in [Syscall.read, .readv, .preadv2] {
      #expect(NamelessCalls.all.contains(call))
      let row = table.descriptorRow(for: call, CallArguments(7)) { $0 == 7 ? .signals : nil }
      #expect(row?.descriptor == .signals && row?.verb.word == "translated")
      #expect(table.descriptorRow(for: call, CallArguments(7)) { _ in nil } == nil)
      #expect(table.row(for: call, CallArguments(7)) == nil)
      let printed = table.descriptions.filter { $0.call == call.name }
      #expect(printed.map(\.verb) == ["translated", "nameless"])
      #expect(printed.map(\.variant) == ["of a signal descriptor", ""])
    }
    // Nobody is asked about the descriptors of other calls.
    let other = table.descriptorRow(for: .write, CallArguments(7)) { _ in
      Issue.record("asked")
      return .signals
    }
    #expect(other == nil)
  }

  @Test("names of processes that go in are never native")
  func processNamesNeverPass() {
    let processLike: [any Resource.Type] = [
      ProcessID.self, ThreadID.self, ProcessGroup.self, SessionID.self,
    ]
    for row in table.rows {
      guard case .native = row.verb else { continue }
      let places = row.inputs.filter { place in
        processLike.contains { $0 == place.shape.resource }
      }
      #expect(places.isEmpty, "\(row.call.name) \(row.variant.label)")
    }
  }

  /// COVERAGE.md's list "Syscalls of P-rows" and what else takes a process, thread, group or session in a register.
  @Test(
    "every call that takes a process-like name in a register does something about it",
    arguments: [
      (.getpgid, [0]), (.getsid, [0]), (.setpgid, [0]), (.kill, [0]), (.tkill, [0]), (.tgkill, [0]),
      (.rt_sigqueueinfo, [0]), (.rt_tgsigqueueinfo, [0]), (.wait4, [0]), (.waitid, [0]),
      (.pidfd_open, [0]), (.process_vm_readv, [0]), (.process_vm_writev, [0]), (.kcmp, [0]),
      (.move_pages, [0]), (.migrate_pages, [0]), (.sched_setparam, [0]), (.sched_getparam, [0]),
      (.sched_setscheduler, [0]), (.sched_getscheduler, [0]), (.sched_rr_get_interval, [0]),
      (.sched_setaffinity, [0]), (.sched_getaffinity, [0]), (.sched_setattr, [0]),
      (.sched_getattr, [0]), (.getpriority, [0]), (.getpriority, [1]), (.getpriority, [2]),
      (.setpriority, [0]), (.setpriority, [1]), (.setpriority, [2]), (.ioprio_get, [1]),
      (.ioprio_get, [2]), (.ioprio_get, [3]), (.ioprio_set, [1]), (.ioprio_set, [2]),
      (.ioprio_set, [3]), (.prlimit64, [0]), (.capget, [0]), (.capset, [0]),
      (.get_robust_list, [0]), (.ptrace, [16]), (.perf_event_open, [0]), (.bpf, [20]),
      (.timer_create, [0]), (.prctl, [0x5961_6D61]), (.prctl, [62]), (.fcntl, [0, 8]),
      (.fcntl, [0, 15]), (.ioctl, [0, 0x8901]), (.ioctl, [0, 0x8902]), (.ioctl, [0, 0x5410]),
      (.ioctl, [0, 0xB708]), (.clock_gettime, [0xFFFF_FFFF_FFFF_F002]),
      (.clock_gettime, [0xFFFF_F006]), (.clock_nanosleep, [0xFFFF_F002]),
      (.clock_getres, [0xFFFF_F000]), (.clock_adjtime, [0xFFFF_F001]),
      (.clock_settime, [0xFFFF_F002]), (.setns, [0]), (.io_uring_setup, [0]),
      (.open_by_handle_at, [0]), (.clone3, [0]), (.pidfd_send_signal, [0]),
    ] as [(Syscall, [UInt64])])
  func processNamesAreHandled(call: Syscall, words: [UInt64]) throws {
    var arguments = CallArguments()
    for (index, word) in words.enumerated() { arguments[index] = word }
    let row = try #require(table.row(for: call, arguments))
    #expect(row.isInterposed)
  }

  @Test("whatever is refused, open or native says why")
  func reasonsAreGiven() {
    for row in table.rows {
      let reasons: [String] =
        switch row.verb {
        case .refused(_, let reason): [reason]
        case .open(_, let until): [until]
        case .native(let until, let leaks): [until, leaks]
        case .answered, .translated, .wrapped: []
        }
      #expect(reasons.allSatisfy { !$0.isEmpty }, "\(row.call.name) \(row.variant.label)")
    }
  }

  @Test("translated rows have places, and wrappers that wait are never waited for")
  func rowsAreComplete() {
    let blocking: Set<Syscall> = [
      .wait4, .waitid, .fork, .vfork, .clone, .rt_sigtimedwait, .clock_nanosleep,
    ]
    for row in table.rows {
      switch row.verb {
      case .translated: #expect(!row.inputs.isEmpty || !row.outputs.isEmpty, "\(row.call.name)")
      case .answered: #expect(!row.outputs.isEmpty, "\(row.call.name)")
      default: break
      }
      if row.isInterposed, row.staticErrno == nil, blocking.contains(row.call) {
        #expect(row.performed == .inCallerBlocking, "\(row.call.name)")
      }
    }
  }

  @Test("nothing of a segment reaches the kernel but what its callers map of the supervisor's")
  func segmentsAreEmulated() {
    let searching = Performance.emulatedSearching
    let performed: [Syscall: [Performance]] = [
      .shmget: [.emulated], .shmctl: [searching, searching, searching, .emulated],
      .shmat: [.inCallerMapping], .shmdt: [.inCallerMapping],
    ]
    for (call, performances) in performed {
      let rows = table.rows(for: call)
      #expect(rows.map(\.performed) == performances, "\(call.name)")
      #expect(rows.allSatisfy { $0.isInterposed && $0.untouched == nil && $0.confined == nil })
    }
  }

  @Test("nothing of a queue or a set of semaphores reaches the kernel")
  func queuesAndSemaphoresAreEmulated() {
    let performed: [Syscall: Performance] = [
      .msgget: .emulated, .msgsnd: .emulatedBlocking, .msgrcv: .emulatedBlocking,
      .msgctl: .emulated,
      .semget: .emulated, .semop: .emulatedBlocking, .semtimedop: .emulatedBlocking,
      .semctl: .emulated,
    ]
    for (call, performance) in performed {
      let rows = table.rows(for: call)
      #expect(rows.map(\.performed) == [performance], "\(call.name)")
      #expect(rows.allSatisfy { $0.isInterposed && $0.untouched == nil && $0.confined == nil })
    }
  }

  @Test("of objects that are the kernel's only what shows processes is looked at")
  func kernelObjects() {
    let table = BoundaryTable.kernelObjects
    let calls: Set<Syscall> = [
      .msgget, .msgsnd, .msgrcv, .msgctl, .semget, .semop, .semtimedop, .semctl, .shmget, .shmat,
      .shmdt, .shmctl, .mq_open, .mq_unlink,
    ]
    let commands: [(Syscall, CallArguments)] = [
      (.shmctl, .init(7, 2)), (.shmctl, .init(7, 13)), (.shmctl, .init(7, 15)),
      (.msgctl, .init(7, 2)), (.msgctl, .init(7, 11)), (.msgctl, .init(7, 13)),
      (.semctl, .init(7, 0, 11)),
    ]
    #expect(calls.reduce(0) { $0 + table.rows(for: $1).count } == commands.count)
    for (call, arguments) in commands {
      let row = table.row(for: call, arguments)
      #expect(row?.verb.word == "translated" && row?.confined?.isEmpty == true, "\(call.name)")
    }
    // Removal, changes, and the same numbers for other calls.
    for command: UInt64 in [0, 1, 3, 14, 0x102] {
      #expect(table.row(for: .shmctl, .init(7, command)) == nil)
      #expect(table.row(for: .semctl, .init(7, 11, command)) == nil)
    }
    // All else is as without.
    for call in Syscall.allCases where !calls.contains(call) {
      #expect(
        table.rows(for: call).map(\.description) == self.table.rows(for: call).map(\.description))
    }
  }

  @Test("our numbers are those of the machine's headers, as far as these go")
  func numbersAgreeWithHeaders() throws {
    let path = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"
    guard let header = try? String(contentsOfFile: path, encoding: .utf8) else {
      print("numbers not compared: there is no \(path)")
      return
    }
    let ours = Dictionary(
      uniqueKeysWithValues: Syscall.allCases.map { ($0.name, Int($0.rawValue)) })
    var compared = 0
    for line in header.split(separator: "\n") {
      let words = line.split(separator: " ")
      guard words.count == 3, words[0] == "#define", words[1].hasPrefix("__NR_"),
        let number = Int(words[2])
      else { continue }
      if number > Int(Syscall.highestNumber) { continue }
      #expect(ours[String(words[1].dropFirst(5))] == number, "\(line)")
      compared += 1
    }
    #expect(compared > 300)
  }

  @Test("the printed table has every call once for each of its variants, and survives JSON")
  func tableIsPrinted() throws {
    let descriptions = table.descriptions
    #expect(Set(descriptions.map(\.number)).count == Syscall.allCases.count)
    #expect(Set(descriptions.map { [$0.call, $0.variant] }).count == descriptions.count)
    #expect(descriptions.map(\.number) == descriptions.map(\.number).sorted())
    for line in descriptions {
      #expect(line.columns.count == BoundaryDescription.titles.count)
      #expect(line.errno?.hasPrefix("E") != false, "\(line.call) has an errno without a name")
    }
    let data = try JSONEncoder().encode(descriptions)
    #expect(try JSONDecoder().decode([BoundaryDescription].self, from: data) == descriptions)

    let counts = table.counts
    #expect(counts.rows.values.reduce(0, +) == table.rows.count)
    #expect(Set(counts.rows.keys).isSubset(of: BoundaryRow.Verb.words))
    #expect(counts.namelessCalls == NamelessCalls.all.count)
    print(
      "rows by verb:",
      BoundaryRow.Verb.words.map { "\($0) \(counts.rows[$0] ?? 0)" }.joined(separator: ", "),
      "· nameless calls:", counts.namelessCalls)
  }
}

extension Variant {
  /// Whether no arguments match both.
  fileprivate func excludes(_ other: Variant) -> Bool {
    conditions.contains { mine in
      other.conditions.contains { theirs in
        let shared = mine.mask & theirs.mask
        return mine.argument == theirs.argument && mine.value & shared != theirs.value & shared
      }
    }
  }
}
