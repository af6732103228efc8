import CLinux
import Glibc
import PodCore
import PodLinux
import SystemPackage
import Testing

@testable import PodSeccomp

/// What machines lack, each lack simulated, and some made by a filter.
@Suite("What a machine offers to the seccomp backend")
struct MachineSupportTests {
  /// A machine that has everything.
  static let complete = MachineSupport(
    filter: -EFAULT, notification: 0, sizes: MachineSupport.expectedSizes, listenerFlag: -EFAULT,
    successorFlag: -EFAULT, killableFlag: -EFAULT, ptrace: -ESRCH, traceScope: nil,
    mayTraceAll: false, pidfdOpen: -EINVAL, pidfdSignal: -EBADF,
    landlock: 7, hasProcessInodes: true, hostObstacle: nil)

  /// A change, and what the machine then says.
  struct Lack: Sendable, CustomTestStringConvertible {
    let change: @Sendable (inout MachineSupport) -> Void
    let words: [String]
    let testDescription: String

    init(
      _ name: String, _ words: String..., change: @escaping @Sendable (inout MachineSupport) -> Void
    ) {
      (testDescription, self.words, self.change) = (name, words, change)
    }

    var machine: MachineSupport {
      var machine = complete
      change(&machine)
      return machine
    }
  }

  @Test("nothing keeps the backend from a machine that has everything")
  func everything() {
    #expect(Self.complete.obstacle == nil)
    #expect(Self.complete.shortcomings == [])
    #expect(Self.complete.listenerFlags == CLinux_SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
  }

  static let obstacles = [
    Lack("seccomp denied", "seccomp(2) is denied", "profile") { $0.filter = -EPERM },
    Lack("seccomp denied with EACCES", "seccomp(2) is denied") { $0.filter = -EACCES },
    Lack("no seccomp", "CONFIG_SECCOMP_FILTER") { $0.filter = -ENOSYS },
    Lack("no filters", "CONFIG_SECCOMP_FILTER") { $0.filter = -EINVAL },
    Lack("no notifications", "no user notifications", "5.7") { $0.notification = -EOPNOTSUPP },
    Lack("no question for actions", "no user notifications") { $0.notification = -EINVAL },
    Lack("notifications denied", "notifications of seccomp(2) are denied") {
      $0.notification = -EPERM
    },
    Lack("no listeners", "no user notifications") { $0.listenerFlag = -EINVAL },
    Lack("listeners denied", "denied here", "profile") { $0.listenerFlag = -EPERM },
    Lack("notified calls can't go on", "let a call go on", "5.7") { $0.successorFlag = -EINVAL },
    Lack("no sizes", "sizes that this program doesn't know (none)") { $0.sizes = nil },
    Lack("larger notifications", "(96, 24, 64)", "newer version") { $0.sizes?[0] = 96 },
    Lack("no pidfd_open", "pidfd_open(2) isn't there", "5.3") { $0.pidfdOpen = -ENOSYS },
    Lack("pidfd_open denied", "pidfd_open(2) is denied") { $0.pidfdOpen = -EPERM },
    Lack("pidfd_send_signal denied", "pidfd_send_signal(2) is denied") { $0.pidfdSignal = -EPERM },
    Lack("no pidfd_send_signal", "pidfd_send_signal(2) isn't", "5.1") { $0.pidfdSignal = -ENOSYS },
    Lack("ptrace denied", "ptrace(2) is denied") { $0.ptrace = -EPERM },
    Lack("no ptrace", "ptrace(2) is denied") { $0.ptrace = -ENOSYS },
    Lack("Yama 1", "ptrace_scope to 0", "descendants") { $0.traceScope = 1 },
    Lack("Yama 2", "ptrace_scope to 0", "privileged") { $0.traceScope = 2 },
    Lack("Yama 3", "nobody", "restarted") { $0.traceScope = 3 },
    Lack("Yama 3, privileged", "nobody") { ($0.traceScope, $0.mayTraceAll) = (3, true) },
    Lack("in a pod", "run it outside") { $0.hostObstacle = "run it outside" },
  ]

  @Test("what it can't do without is named, and what to do", arguments: obstacles)
  func obstacle(_ lack: Lack) throws {
    let obstacle = try #require(lack.machine.obstacle)
    for word in lack.words { #expect(obstacle.contains(word), "\(obstacle)") }
  }

  @Test("Yama's scopes don't matter to who may trace all", arguments: [0, 1, 2])
  func privileged(scope: Int) {
    var machine = Self.complete
    (machine.traceScope, machine.mayTraceAll) = (scope, true)
    #expect(machine.obstacle == nil)
  }

  static let shortcomings = [
    Lack("calls are interrupted", "Linux 5.19") { $0.killableFlag = -EINVAL },
    Lack("no inodes", "6.9") { $0.hasProcessInodes = false },
    Lack("no Landlock", "has no Landlock") { $0.landlock = -ENOSYS },
    Lack("Landlock off", "lsm=") { $0.landlock = -EOPNOTSUPP },
    Lack("Landlock denied", "denied here") { $0.landlock = -EPERM },
    Lack("old Landlock", "version is 4", "6.12") { $0.landlock = 4 },
  ]

  @Test("what it can do without is said", arguments: shortcomings)
  func shortcoming(_ lack: Lack) {
    let machine = lack.machine
    #expect(machine.obstacle == nil)
    #expect(machine.shortcomings.count == 1)
    for word in lack.words {
      #expect(machine.shortcomings.first?.contains(word) == true, "\(machine.shortcomings)")
    }
  }

  @Test("a flag that the kernel doesn't know isn't given to it")
  func flags() {
    var machine = Self.complete
    machine.killableFlag = -EINVAL
    #expect(machine.listenerFlags == 0)
  }

  @Test("containment is what Landlock, Yama and the supervisor keep")
  func containment() {
    var machine = Self.complete
    func containment(_ capabilities: CapabilitySet) -> Containment {
      var configuration = PodConfiguration()
      configuration.capabilities = capabilities
      return machine.containment(of: configuration, objects: .hostProgram)
    }
    func processes(_ capabilities: CapabilitySet = .container) -> Containment.Part? {
      containment(capabilities).parts[.processes]
    }
    #expect(processes()?.strength == .kernel)
    #expect(processes()?.mechanism.contains("Landlock (version 7)") == true)
    #expect(containment(.all)[.terminals] == .namedOnly)
    #expect(containment(.all)[.files] == .none)
    for version: Int32 in [-ENOSYS, 1, 5] {
      machine.landlock = version
      machine.traceScope = nil
      // /proc/PID/mem of the user's other processes is open to all.
      #expect(processes()?.strength == .namedOnly)
      machine.traceScope = 0
      #expect(processes()?.strength == .namedOnly)
      machine.traceScope = 1
      #expect(processes()?.strength == .supervisor)
      machine.mayTraceAll = true
      #expect(processes()?.strength == .supervisor)
      #expect(processes(.all)?.strength == .namedOnly)
      machine.mayTraceAll = false
    }
  }

  @Test("this machine answers every question")
  func here() {
    let machine = MachineSupport.ask()
    // What it lacks, if anything, it says.
    #expect(machine.hostObstacle == nil)
    #expect(machine.sizes?.count == 3 || machine.obstacle != nil)
    #expect(machine == MachineSupport.ask())
    print("this machine: \(machine.obstacle ?? "no obstacle"); \(machine.shortcomings)")
  }

  /// A call that a filter denies, and the obstacle or shortcoming that it makes.
  static let denials: [(call: UInt32, errno: Int32, words: String)] = [
    (UInt32(SYS_ptrace), EPERM, "ptrace(2) is denied"),
    (434, EPERM, "pidfd_open(2) is denied"), (434, ENOSYS, "pidfd_open(2) isn't there"),
    (424, EPERM, "pidfd_send_signal(2) is denied"),
    (444, ENOSYS, "no Landlock"), (444, EPERM, "Landlock is denied"),
    (317, EPERM, "seccomp(2) is denied"), (317, ENOSYS, "CONFIG_SECCOMP_FILTER"),
  ]

  @Test("a filter's denials are seen", arguments: denials.indices)
  func denied(index: Int) async throws {
    let before = MachineSupport.ask()
    if let obstacle = before.obstacle ?? before.shortcomings.first {
      try Test.cancel("this machine lacks something already: \(obstacle)")
    }
    await #expect(processExitsWith: .success) { [index] in
      let denial = Self.denials[index]
      let rules = FilterRules(
        [denial.call: .init(.errno(UInt16(denial.errno)))], unlisted: .allow)
      let bytes = try rules.program().bytes
      guard CLinux_prctl(38, 1, 0, 0, 0) == 0 else { exit(2) }  // PR_SET_NO_NEW_PRIVS
      guard CLinux_seccomp_install(bytes, bytes.count / 8, 0) == 0 else { exit(3) }
      let machine = MachineSupport.ask()
      let words = ([machine.obstacle].compactMap(\.self) + machine.shortcomings)
      if !words.contains(where: { $0.contains(denial.words) }) {
        print("\(denial): \(words)")
        exit(4)
      }
      exit(0)
    }
  }
}
