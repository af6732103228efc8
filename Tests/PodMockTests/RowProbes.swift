internal import PodCore
internal import SystemPackage

/// One place of a call where a process-like name crosses, with what the kernel has to see there, or the program.
struct Probe: Sendable, CustomStringConvertible {
  /// Where a name is, on either side.
  enum Slot: Sendable {
    case argument(Int)
    case result
    /// In the memory that an argument points to.
    case word(Int, Int)

    init(_ place: Place) {
      switch place {
      case .argument(let index, _): self = .argument(index)
      case .memory(let index, _): self = .word(index, 0)
      case .field(let offset, let index, _): self = .word(index, offset)
      case .result, .signals: self = .result
      }
    }
  }

  /// A name that is tried.
  enum Name: String, Sendable, CaseIterable {
    /// Of the caller, of its child, of another thread of it, of the pod's init.
    case own, child, thread, initial
    /// The kernel's numbers of the child, of the caller's other thread, and of a process outside.
    case physicalChild, physicalThread, outside
    case unknown, zero, minusOne
    /// The child's group, negated; one that the pod doesn't have.
    case group, unknownGroup
  }

  /// What comes of it.
  enum Effect: Sendable, Equatable {
    /// The other side has the name of the same task.
    case named
    /// The other side has the same number.
    case passed
    /// The other side has this number.
    case number(Int32)
    /// The kernel has the caller's number.
    case caller
    /// The call is answered without the kernel.
    case answered(CallResult)

    static func fails(_ errno: Errno) -> Effect { .answered(.failure(errno)) }
  }

  /// COVERAGE.md's row.
  let row: String
  let call: Syscall
  /// The other arguments; where a slot is in memory, the argument is replaced by an address.
  let arguments: [Int]
  let slot: Slot
  let effects: [Name: Effect]
  /// Where the kernel has the name, if elsewhere.
  let kernelCall: Syscall
  let kernelSlot: Slot
  /// How a name is written by the program, and by the kernel.
  let encode: @Sendable (Int32) -> Int32
  let kernelEncode: @Sendable (Int32) -> Int32
  /// Further words of the structure at the slot's argument: byte offset, value.
  let words: [Int: Int32]

  init(
    _ row: String, _ call: Syscall, _ arguments: [Int], _ slot: Slot, _ effects: [Name: Effect],
    words: [Int: Int32] = [:], as kernelCall: Syscall? = nil, at kernelSlot: Slot? = nil,
    encode: @escaping @Sendable (Int32) -> Int32 = { $0 },
    kernelEncode: (@Sendable (Int32) -> Int32)? = nil
  ) {
    self.row = row
    self.call = call
    self.arguments = arguments
    self.slot = slot
    self.effects = effects
    self.words = words
    self.kernelCall = kernelCall ?? call
    self.kernelSlot = kernelSlot ?? slot
    self.encode = encode
    self.kernelEncode = kernelEncode ?? encode
  }

  var callArguments: CallArguments {
    var words = CallArguments()
    for (index, argument) in arguments.enumerated() {
      words[index] = UInt64(bitPattern: Int64(argument))
    }
    if case .argument(let index) = slot {
      // Clocks choose their row by the encoded name.
      words[index] = UInt64(bitPattern: Int64(encode(3)))
    }
    return words
  }

  var description: String { "\(row) \(call.name)\(arguments)" }
}

extension [Probe.Name: Probe.Effect] {
  fileprivate func with(_ others: Self) -> Self { merging(others) { $1 } }

  /// A process: others are unknown, init can't be changed, and special values are the kernel's.
  fileprivate static let process: Self = [
    .own: .named, .child: .named, .thread: .named, .initial: .fails(.notPermitted),
    .physicalChild: .fails(.noSuchProcess), .physicalThread: .fails(.noSuchProcess),
    .outside: .fails(.noSuchProcess), .unknown: .fails(.noSuchProcess), .zero: .passed,
    .minusOne: .passed, .group: .passed, .unknownGroup: .passed,
  ]
  /// A thread: the kernel's number of one of the caller's own is taken too.
  fileprivate static let thread = process.with([.physicalThread: .passed])
  /// One that is only looked at may be init.
  fileprivate static let shown = thread.with([.initial: .named])
  /// A group is no thread.
  fileprivate static let group = process.with([.thread: .fails(.noSuchProcess)])
  /// Of a living group somebody has to be a member; the caller's own group is 2, the child's 3.
  fileprivate static let livingGroup = group
  /// An owner: a process, or a group negated.
  fileprivate static let owner = process.with([
    .group: .named, .unknownGroup: .fails(.noSuchProcess), .minusOne: .fails(.notPermitted),
  ])

  fileprivate func unknown(_ errno: Errno) -> Self {
    mapValues { $0 == .fails(.noSuchProcess) ? .fails(errno) : $0 }
  }
}

extension Probe {
  private static func each(
    _ row: String, _ calls: [Syscall], _ arguments: [Int], _ slot: Slot,
    _ effects: [Name: Effect]
  ) -> [Probe] {
    calls.map { Probe(row, $0, arguments, slot, effects) }
  }

  private static func clock(_ call: Syscall, _ bits: Int32) -> Probe {
    Probe(
      "P56", call, [], .argument(0),
      .shown.unknown(.invalidArgument).with([
        .minusOne: .passed, .group: .passed, .unknownGroup: .passed,
      ]), encode: { ~$0 << 3 | bits })
  }

  /// What a program passes and the kernel gets.
  static let inputs: [Probe] =
    [
      Probe("P4", .getpgid, [], .argument(0), .process.with([.initial: .named])),
      Probe("P4", .getsid, [], .argument(0), .process.with([.initial: .named])),
      Probe("P5", .setpgid, [0, 0], .argument(0), .process),
      Probe(
        "P5", .setpgid, [0, 0], .argument(1),
        .group.unknown(.notPermitted).with([
          .minusOne: .fails(.invalidArgument), .group: .fails(.invalidArgument),
          .unknownGroup: .fails(.invalidArgument),
        ])),
      Probe(
        "P17", .wait4, [0, 0, 1], .argument(0),
        .process.unknown(.noChildProcess).with([
          .initial: .named, .group: .named, .unknownGroup: .fails(.noChildProcess),
        ])),
      Probe(
        "P18", .waitid, [1, 0, 0, 5], .argument(1),
        .process.unknown(.noChildProcess).with([.initial: .named])),
      Probe("P18", .waitid, [2, 0, 0, 5], .argument(1), .group.unknown(.noChildProcess)),
      Probe(
        "P25–P28", .kill, [0, 10], .argument(0),
        .process.with([
          .initial: .answered(.success(0)), .group: .named,
          .unknownGroup: .fails(.noSuchProcess), .minusOne: .answered(.success(0)),
        ])),
      Probe(
        "P29", .tkill, [0, 10], .argument(0),
        .thread.with([
          .initial: .answered(.success(0)), .zero: .fails(.invalidArgument),
          .minusOne: .fails(.invalidArgument), .group: .fails(.invalidArgument),
          .unknownGroup: .fails(.invalidArgument),
        ]), as: .tgkill, at: .argument(1)),
      Probe("P29", .tgkill, [2, 0, 10], .argument(1), .member),
      Probe("P29", .tgkill, [0, 2, 10], .argument(0), .leader),
      Probe(
        "P30", .rt_sigqueueinfo, [0, 10, 0], .argument(0),
        .process.with([
          .initial: .answered(.success(0)), .group: .named,
          .unknownGroup: .fails(.noSuchProcess),
        ])),
      Probe(
        "P30", .rt_sigqueueinfo, [3, 10, 0], .word(2, 16), .sender, words: [8: -1]),
      Probe("P30", .rt_tgsigqueueinfo, [2, 0, 10, 0], .argument(1), .member),
      Probe("P30", .rt_tgsigqueueinfo, [0, 2, 10, 0], .argument(0), .leader),
      Probe(
        "P30", .rt_tgsigqueueinfo, [2, 2, 10, 0], .word(3, 16), .sender, words: [8: -1]),
      Probe("P31", .pidfd_open, [0, 0], .argument(0), .process.with([.initial: .named])),
      Probe("P31", .pidfd_open, [0, 0x80], .argument(0), .shown),
      Probe("P41", .kcmp, [0, 2], .argument(0), .thread),
      Probe("P41", .kcmp, [2, 0], .argument(1), .thread),
      Probe("P44", .getpriority, [1, 0], .argument(1), .livingGroup.with([.initial: .named])),
      Probe("P44", .setpriority, [1, 0, 5], .argument(1), .livingGroup),
      Probe("P44", .getpriority, [0, 0], .argument(1), .shown),
      Probe("P44", .setpriority, [0, 0, 5], .argument(1), .thread),
      Probe("P45", .ioprio_get, [1, 0], .argument(1), .shown),
      Probe("P45", .ioprio_set, [1, 0, 5], .argument(1), .thread),
      Probe("P45", .ioprio_get, [2, 0], .argument(1), .livingGroup.with([.initial: .named])),
      Probe("P45", .ioprio_set, [2, 0, 5], .argument(1), .livingGroup),
      Probe("P47", .capget, [0, 0], .word(0, 4), .shown.with([.zero: .caller])),
      Probe(
        "P47", .capset, [0, 0], .word(0, 4),
        .thread.unknown(.notPermitted).with([
          .zero: .caller, .child: .fails(.notPermitted), .thread: .fails(.notPermitted),
          .physicalThread: .fails(.notPermitted), .minusOne: .fails(.notPermitted),
          .group: .fails(.notPermitted), .unknownGroup: .fails(.notPermitted),
        ])),
      Probe(
        "P50", .prctl, [0x5961_6D61, 0], .argument(1),
        .process.unknown(.invalidArgument).with([.initial: .named])),
      Probe("P51", .prctl, [62, 2, 0, 1], .argument(2), .thread),
      Probe(
        "P55", .timer_create, [0, 0, 0], .word(1, 16), .shown.unknown(.invalidArgument),
        words: [12: 4]),
      Probe("P65", .fcntl, [5, 8, 0], .argument(2), .owner),
      Probe("P66", .fcntl, [5, 15, 0], .word(2, 4), .exOwner(.thread), words: [0: 0]),
      Probe(
        "P66", .fcntl, [5, 15, 0], .word(2, 4), .exOwner(.process), words: [0: 1],
        at: .argument(2)),
      Probe(
        "P66", .fcntl, [5, 15, 0], .word(2, 4), .exOwner(.livingGroup), words: [0: 2],
        at: .argument(2), kernelEncode: { -$0 }),
      Probe("P69", .ioctl, [5, 0x8901, 0], .word(2, 0), .owner, as: .fcntl, at: .argument(2)),
      Probe("P69", .ioctl, [5, 0x8902, 0], .word(2, 0), .owner, as: .fcntl, at: .argument(2)),
      Probe("P70", .ioctl, [0, 0x5410, 0], .word(2, 0), .group),
    ]
    + each("P40", [.process_vm_readv, .process_vm_writev], [], .argument(0), .thread)
    + each("P42", [.migrate_pages, .move_pages], [], .argument(0), .thread)
    + each("P46, P48", [.prlimit64, .get_robust_list], [], .argument(0), .thread)
    + each(
      "P43",
      [.sched_setscheduler, .sched_setparam, .sched_setattr, .sched_setaffinity], [],
      .argument(0), .thread)
    + each(
      "P43",
      [
        .sched_getscheduler, .sched_getparam, .sched_getattr, .sched_getaffinity,
        .sched_rr_get_interval,
      ], [], .argument(0), .shown)
    + [
      Syscall.clock_gettime, .clock_getres, .clock_nanosleep, .clock_adjtime, .timer_create,
    ].flatMap { call in
      // A process's, its profiling one, and a thread's.
      [2, 0, 6].map { clock(call, $0) }
    }

  private static func shown(
    _ row: String, _ call: Syscall, _ arguments: [Int], _ slot: Slot,
    _ effects: [Name: Effect] = [:], words: [Int: Int32] = [:]
  ) -> Probe {
    Probe(
      row, call, arguments, slot,
      [
        .own: .named, .child: .named, .initial: .named, .outside: .number(0), .zero: .passed,
      ].merging(effects) { $1 }, words: words)
  }

  private static let info = Int(UInt32(3) << 30 | 64 << 16 | 0xFF0B)

  /// What the kernel answers and a program sees.
  static let outputs: [Probe] = [
    shown("P3", .getppid, [], .result),
    shown("P4", .getpgrp, [], .result),
    shown("P4", .getpgid, [0], .result),
    shown("P4", .getsid, [0], .result),
    shown("P17", .wait4, [-1, 0, 0], .result),
    shown("P58", .seccomp, [1, 1], .result),
    shown("P18", .waitid, [0, 0, 0, 4], .word(2, 16), words: [0: 17, 8: 5]),
    shown(
      "P34", .ioctl, [7, info, 0], .word(2, 16),
      [.thread: .named, .outside: .fails(.noSuchProcess), .zero: .fails(.noSuchProcess)],
      words: [0: 1, 20: 0x7FFF_0000]),
    shown(
      "P34", .ioctl, [7, info, 0], .word(2, 20),
      [.outside: .fails(.noSuchProcess), .zero: .fails(.noSuchProcess)],
      words: [0: 1, 16: 0x7FFF_0000]),
    shown(
      "P34", .ioctl, [7, info, 0], .word(2, 24), words: [0: 1, 16: 0x7FFF_0000, 20: 0x7FFF_0000]),
    shown(
      "P65", .fcntl, [5, 9], .result, [.thread: .named]),
    shown("P66", .fcntl, [5, 16, 0], .word(2, 4), [.thread: .named], words: [0: 1]),
    shown("P67", .fcntl, [5, 5, 0], .word(2, 24), [.minusOne: .passed], words: [0: 1]),
    shown("P67", .fcntl, [5, 36, 0], .word(2, 24), [.minusOne: .passed], words: [0: 1]),
    shown("P69", .ioctl, [5, 0x8903, 0], .word(2, 0), [.minusOne: .passed, .group: .named]),
    shown("P69", .ioctl, [5, 0x8904, 0], .word(2, 0), [.minusOne: .passed, .group: .named]),
    shown("P70", .ioctl, [0, 0x540F, 0], .word(2, 0)),
    shown("P70", .ioctl, [0, 0x5429, 0], .word(2, 0)),
    shown("S1, S5", .rt_sigtimedwait, [1, 0, 0, 8], .word(1, 16), words: [0: 10, 8: 0]),
    shown("S2, S5", .rt_sigtimedwait, [1, 0, 0, 8], .word(1, 16), words: [0: 17, 8: 1]),
  ]

  /// Rows that have no such place, or more than a place: where they are tested.
  static let elsewhere: [String: String] = [
    "getpid": "MockKernelTests.numbers", "gettid": "thread_names.c",
    "fork": "BirthRaceTests", "vfork": "BirthRaceTests",
    "clone no CLONE_NEW…": "BirthRaceTests", "setsid": "groups_and_sessions.c",
    "pidfd_send_signal": "RowTests.signalByHandle",
    "process_madvise": "RowTests.reachThroughHandles",
    "process_mrelease": "RowTests.reachThroughHandles",
    "sysinfo": "RowTests.systemInformation",
    "getpriority PRIO_USER": "RowTests.users", "setpriority PRIO_USER": "RowTests.users",
    "ioprio_get IOPRIO_WHO_USER": "RowTests.users",
    "ioprio_set IOPRIO_WHO_USER": "RowTests.users",
    "prctl PR_GET_DUMPABLE": "dumpable.c", "prctl PR_SET_DUMPABLE": "dumpable.c",
    "futex FUTEX_LOCK_PI": "LockOwnerTests", "futex FUTEX_UNLOCK_PI": "LockOwnerTests",
    "futex FUTEX_TRYLOCK_PI": "lock_owners.c", "futex FUTEX_LOCK_PI2": "lock_owners.c",
    "futex FUTEX_CMP_REQUEUE_PI": "lock_owners.c",
    "signalfd": "signal_descriptors.c", "signalfd4": "MockKernelTests.signalDescriptors",
    "read": "MockKernelTests.signalDescriptors", "readv": "signal_descriptors.c",
    "preadv2": "signal_descriptors.c",
    "prctl PR_SET_SECCOMP, SECCOMP_MODE_FILTER": "own_filters.c",
    "semget": "semaphores.c", "semop": "semaphores.c", "semtimedop": "semaphores.c",
    "semctl": "semaphores.c", "msgget": "message_queues.c", "msgsnd": "message_queues.c",
    "msgrcv": "message_queues.c", "msgctl": "message_queues.c",
    "shmget": "shared_memory.c", "shmat": "shared_memory.c", "shmdt": "shared_memory.c",
    "shmctl": "shared_memory.c", "shmctl IPC_STAT": "shared_memory.c",
    "shmctl SHM_STAT": "shared_memory.c", "shmctl SHM_STAT_ANY": "shared_memory.c",
    "mq_open": "posix_objects.c", "mq_unlink": "posix_objects.c",
    "open O_NOFOLLOW": "posix_objects.c", "open O_CREAT": "posix_objects.c",
    "openat O_NOFOLLOW": "posix_objects.c", "openat O_CREAT": "posix_objects.c",
    "open O_RDONLY alone": "PathRowTests", "openat O_RDONLY alone": "PathRowTests",
    "access F_OK": "posix_objects.c", "unlink": "posix_objects.c",
    "unlinkat no AT_REMOVEDIR": "PathRowTests", "link": "posix_objects.c",
    "linkat": "PathRowTests", "rename": "posix_objects.c", "renameat": "PathRowTests",
    "renameat2": "PathRowTests", "creat": "PathRowTests", "mknod": "PathRowTests",
    "mknodat": "PathRowTests",
  ].merging(
    [
      "CGROUP", "IPC", "MNT", "NET", "PID", "PID_FOR_CHILDREN", "TIME", "TIME_FOR_CHILDREN",
      "USER", "UTS",
    ].map { ("ioctl PIDFD_GET_\($0)_NAMESPACE", "RowTests.handleInfo") }
  ) { $1 }.merging(
    [
      "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid",
      "setgroups",
    ].map { ($0, "RowTests.credentials") }
  ) { $1 }
}

extension [Probe.Name: Probe.Effect] {
  /// A thread of the caller's process.
  fileprivate static let member: Self = thread.with([
    .child: .fails(.noSuchProcess), .initial: .fails(.noSuchProcess),
    .zero: .fails(.invalidArgument), .minusOne: .fails(.invalidArgument),
    .group: .fails(.invalidArgument), .unknownGroup: .fails(.invalidArgument),
  ])

  /// The process that thread 2 belongs to, also by the number of another of its threads.
  fileprivate static let leader: Self = member.with([
    .thread: .caller, .physicalThread: .caller,
  ])

  /// Who a signal claims to be from: a name, or whatever the program likes.
  fileprivate static let sender: Self = [
    .own: .named, .child: .named, .thread: .named, .initial: .named, .zero: .passed,
    .minusOne: .passed, .group: .passed, .unknown: .number(98 | 1 << 30),
  ]

  /// A structure has no negative names.
  fileprivate static func exOwner(_ effects: Self) -> Self {
    effects.with([
      .minusOne: .fails(.noSuchProcess), .group: .fails(.noSuchProcess),
      .unknownGroup: .fails(.noSuchProcess),
    ])
  }
}
