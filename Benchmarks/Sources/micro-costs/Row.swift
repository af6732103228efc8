/// How work is done.
enum Way: String, CaseIterable, Sendable {
  case native
  /// Natively, under a seccomp filter that allows everything.
  case allowAll = "allow-all"
  case pod
  /// In a pod whose signals the supervisor sends.
  case unscopedPod = "pod without scope"
  /// In a pod whose System V objects are the host program's, also where the kernel could have them.
  case emulatingPod = "pod that emulates"
  case ptrace
  case proot
}

/// One kind of work, and what is aimed at.
struct Row: Sendable {
  /// A word for options and plots.
  let key: String
  let title: String
  let work: Work
  /// What the pod is compared with.
  var baseline = Way.native
  /// Which pod it is.
  var measured = Way.pod
  var target: Target?

  enum Work: Sendable {
    /// A call of `Programs/micro_costs.c`.
    case call(String)
    case command(Command)
    /// Work of a process in no pod, or of the host program itself, while a pod lives and while none does.
    case outside(String)
    case host(HostWork)
  }

  enum Command: Sendable {
    case make, shells, configure, nothing
  }

  enum HostWork: Sendable {
    case getpid, pipe, thread, spawn
  }

  enum Target: Sendable {
    /// At most so many times the baseline.
    case ratio(Double)
    /// At most so many nanoseconds more.
    case more(Double)
    /// As fast as the baseline: a quarter of the rounds at least say so.
    case same
  }

  /// On which of the plots it is, if on any: what nothing is aimed at isn't.
  enum Plot: String, CaseIterable {
    case calls, processes
  }

  var plot: Plot? {
    switch work {
    case .outside, .host: nil
    case .command: .processes
    case .call(let call):
      call.hasSuffix("+wait") || call.hasSuffix("+join")
        ? .processes
        : target == nil ? nil : .calls
    }
  }

  /// The ways in which it is done, the baseline first.
  var ways: [Way] {
    switch work {
    case .outside, .host: [.native, .pod]
    case .call where measured == .unscopedPod || measured == .emulatingPod: [.native, measured]
    case .call where baseline == .allowAll: [.native, .allowAll, .pod, .ptrace, .proot]
    case .call, .command: [.native, .pod, .ptrace, .proot]
    }
  }
}

extension Row {
  /// A call that a pod answers or translates.
  private static func named(_ key: String, _ target: Double, _ title: String? = nil) -> Row {
    Row(key: key, title: title ?? key, work: .call(key), target: .ratio(target))
  }

  /// A call that a pod's filter lets through.
  private static func passing(_ key: String, _ title: String, _ target: Double?) -> Row {
    Row(
      key: key, title: title, work: .call(key), baseline: .allowAll,
      target: target.map { .ratio($0) })
  }

  /// A call on System V objects that are the host program's. Those of a pod of root's are else the kernel's.
  private static func emulated(_ call: String, _ target: Double, _ title: String? = nil) -> Row {
    Row(
      key: "\(call)-emulated", title: "\(title ?? call), emulated", work: .call(call),
      measured: .emulatingPod, target: .ratio(target))
  }

  private static let shmat = "shmat × 2 and shmdt × 2"
  private static let semop = "semop, up and down"
  private static let messages = "msgsnd and msgrcv"

  /// All that is measured.
  static let all: [Row] = [
    named("getpid", 0.2), named("gettid", 0.2), named("getppid", 0.2), named("getpgrp", 0.2),
    named("getpgid", 0.2, "getpgid(pid)"), named("getsid", 0.2),
    named("kill", 1.3, "kill(own pid, 0), kept in the pod by Landlock"),
    Row(
      key: "kill-supervised", title: "kill(own pid, 0), by the supervisor", work: .call("kill"),
      measured: .unscopedPod, target: .ratio(13)),
    passing("pipe", "write and read, a pipe", 1.02),
    passing("socket", "write and read, a socket", 1.02),
    passing("epoll-pipe", "epoll_wait, a pipe", 1.02),
    passing("epoll-socket", "epoll_wait, a socket", 1.02),
    passing("futex", "futex", 1.15),
    passing("sendmsg+recvmsg", "sendmsg and recvmsg", 1.05),
    passing("umask", "umask", nil), passing("lseek", "lseek", nil),
    passing("sched_yield", "sched_yield", nil), passing("read", "read, /dev/zero", nil),
    passing("write", "write, /dev/null", nil), passing("fcntl", "fcntl", nil),
    passing("ioctl", "ioctl", nil),
    named("shmget+remove", 2.5), emulated("shmget+remove", 4),
    named("shmat+shmat", 1.1, shmat), emulated("shmat+shmat", 4, shmat),
    named("semop+semop", 1.3, semop), emulated("semop+semop", 15, semop),
    named("msgsnd+msgrcv", 1.3, messages), emulated("msgsnd+msgrcv", 8, messages),
    named("fork+wait", 1.10, "fork + exit + wait"),
    named("fork+exec+wait", 1.10, "fork + exec + exit + wait"),
    Row(key: "vfork+wait", title: "vfork + exit + wait", work: .call("vfork+wait")),
    named("vfork+exec+wait", 1.15, "vfork + exec + exit + wait"),
    named("spawn+wait", 1.15, "posix_spawn + exec + exit + wait"),
    named("thread+join", 1.15, "thread create + join"),
    Row(key: "make", title: "make -j2", work: .command(.make), target: .ratio(1.05)),
    Row(key: "shells", title: "sh -c :", work: .command(.shells), target: .ratio(1.15)),
    Row(key: "configure", title: "configure", work: .command(.configure), target: .ratio(1.10)),
    Row(
      key: "creation", title: "pod creation + /bin/true", work: .command(.nothing),
      target: .more(1.5e6)),
    outside("getpid"), outside("getsid"), outside("getpgid"), outside("pipe"),
    outside("fork+wait"), outside("fork+exec+wait"), outside("shmget+remove"),
    outside("shmat+shmat"),
    Row(key: "host-getpid", title: "host program: getpid", work: .host(.getpid), target: .same),
    Row(key: "host-pipe", title: "host program: a pipe", work: .host(.pipe), target: .same),
    Row(key: "host-thread", title: "host program: thread", work: .host(.thread), target: .same),
    Row(key: "host-spawn", title: "host program: spawn", work: .host(.spawn), target: .same),
  ]

  private static func outside(_ call: String) -> Row {
    Row(
      key: "outside-\(call)", title: "outside any pod: \(call)", work: .outside(call),
      target: .same)
  }
}
