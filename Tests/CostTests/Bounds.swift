import PodTestSupport

/// What may be counted at most. Each of these was measured: who makes something cheaper writes the new number here, and nobody
/// a greater one.
enum Bounds {
  /// Of one more call of `Benchmarks/Programs/micro_costs.c`, when it has been made often before.
  static let calls: [CallBound] = [
    //        call            notifications  attaches  injections
    CallBound("getpid", 0, 0, 0),
    CallBound("gettid", 0, 0, 0),
    CallBound("getppid", 0, 0, 0),
    CallBound("getpgrp", 0, 0, 0),
    CallBound("getpgid", 0, 0, 0),
    CallBound("getsid", 0, 0, 0),
    CallBound("kill", 0, 0, 0),
    CallBound("pipe", 0, 0, 0),
    CallBound("socket", 0, 0, 0),
    CallBound("epoll-pipe", 0, 0, 0),
    CallBound("epoll-socket", 0, 0, 0),
    CallBound("futex", 0, 0, 0),
    CallBound("sendmsg+recvmsg", 0, 0, 0),
    CallBound("shmget+remove", 2, 0, 0),
    CallBound("shmat+shmat", 4, 0, 0),
    CallBound("fork+wait", 2, 0, 0),
    CallBound("fork+exec+wait", 3.1, 0, 0),
    CallBound("vfork+wait", 2, 0, 0),
    CallBound("vfork+exec+wait", 2, 0, 0),
    CallBound("spawn+wait", 2, 0, 0),
    CallBound("thread+join", 0, 0, 0),
  ]

  /// Of one more `sh -c :` of a shell.
  static let shell = CallBound("sh -c :", 7.1, 0.1, 1)

  /// Of one more C file that make compiles.
  /// Thirteen are files that are opened with O_RDONLY alone, as tables of System V objects are.
  static let compilation = CallBound("cc -c", 31, 0.5, 3)

  /// Of a pod that runs /bin/true, from its start to its end.
  static let launch = CallBound("/bin/true", 7, 1, 0)

  /// Of the host program's memory, in bytes, for one more process of a pod.
  static let bytesPerProcess = 1_700

  /// Threads that wait for a pod's calls: after a launch, and after a hundred shells, one after the other.
  static let receivers = (afterLaunch: 4, afterShells: 8)

  /// How often receivers sleep, for each notification and each stop that they wait for: twice when the turn is passed on. It was four
  /// times and more when each woke all of them.
  static let switchesPerNotification = 1.7

  /// Instructions of the pod's code in a process, and its system calls, for one call that comes there. A number whose place in the
  /// table another one has takes 21 more, which depends on the numbers that the test's processes got: there is room for two.
  static let page: [String: (instructions: Int, systemCalls: Int)] = [
    "getpid": (99, 0),
    "gettid": (386, 1),
    "getppid": (412, 1),
    "getpgrp": (255, 0),
    "getpgid(pid)": (283, 0),
    "getsid(0)": (259, 0),
    "kill(own,0)": (279, 1),
    "kill(0,0)": (274, 1),
    // Signals wait in it, so that it isn't counted.
    "kill(child,0)": (0, 0),
    "TIOCGPGRP": (302, 1),
    "umask": (96, 1),
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
