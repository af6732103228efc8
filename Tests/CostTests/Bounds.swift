import PodTestSupport

/// What may be counted at most. Each of these was measured: who makes something cheaper writes the new number here, and nobody
/// a greater one.
enum Bounds {
  /// Of one more call of `Benchmarks/Programs/micro_costs.c`.
  static let calls: [CallBound] = [
    //        call            notifications  attaches  injections
    CallBound("getpid", 1, 0, 0),
    CallBound("gettid", 1, 0, 0),
    CallBound("getppid", 1, 0, 0),
    CallBound("getpgrp", 1, 0, 0),
    CallBound("getpgid", 1, 0, 0),
    CallBound("getsid", 1, 0, 0),
    CallBound("kill", 1, 0, 0),
    CallBound("pipe", 0, 0, 0),
    CallBound("socket", 0, 0, 0),
    CallBound("epoll-pipe", 0, 0, 0),
    CallBound("epoll-socket", 0, 0, 0),
    CallBound("futex", 0, 0, 0),
    CallBound("sendmsg+recvmsg", 0, 0, 0),
    CallBound("fork+wait", 6, 2, 0),
    CallBound("fork+exec+wait", 9, 3, 1),
    CallBound("vfork+wait", 8, 2, 0),
    CallBound("vfork+exec+wait", 11, 3, 1),
    CallBound("spawn+wait", 131, 3, 1),
    CallBound("thread+join", 5, 1, 0),
  ]

  /// Of one more `sh -c :` of a shell.
  static let shell = CallBound("sh -c :", 22, 6, 1)

  /// Of one more C file that make compiles.
  static let compilation = CallBound("cc -c", 185, 17, 3)

  /// Of a pod that runs /bin/true, from its start to its end.
  static let launch = CallBound("/bin/true", 74, 1, 1)

  /// Of the host program's memory, in bytes, for one more process of a pod.
  static let bytesPerProcess = 2_500

  /// Threads that wait for a pod's calls: after a launch, and after a hundred shells, one after the other.
  static let receivers = (afterLaunch: 4, afterShells: 12)

  /// How often receivers sleep, for each notification and each stop that they wait for.
  static let switchesPerNotification = 1.2

  /// Instructions of the pod's code in a process, and its system calls, for one call that comes there. A number whose place in the
  /// table another one has takes 21 more, which depends on the numbers that the test's processes got: there is room for two.
  static let page: [String: (instructions: Int, systemCalls: Int)] = [
    "getpid": (89, 0),
    "gettid": (364, 1),
    "getppid": (396, 1),
    "getpgrp": (239, 0),
    "getpgid(pid)": (267, 0),
    "getsid(0)": (243, 0),
    "TIOCGPGRP": (289, 1),
    "umask": (86, 1),
  ]
}

/// What one call may cost at most.
struct CallBound: Sendable {
  let call: String
  let notifications: Double
  let attaches: Double
  let injections: Double

  init(_ call: String, _ notifications: Double, _ attaches: Double, _ injections: Double) {
    self.call = call
    (self.notifications, self.attaches, self.injections) = (notifications, attaches, injections)
  }
}
