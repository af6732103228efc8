import Foundation
import PodCore
import PodTestSupport
import SystemPackage
import Testing

/// How often the supervisor is asked, and what it has to do for that: the same on every machine.
@Suite("Notifications, attaches and injections")
struct CountTests {
  @Test("of a call", arguments: Bounds.calls.map(\.call))
  func call(_ name: String) async throws {
    let bound = try #require(Bounds.calls.first { $0.call == name })
    let program = try await TestPrograms.benchmark("micro_costs")
    // With fewer, the pod's code may not be there yet, and sites not be patched.
    try await compare(bound, few: 40, many: 80) { pod, count in
      if name == "kill", pod.containment.parts[.processes]?.strength != .kernel {
        try Test.cancel("the supervisor sends signals where Landlock doesn't keep them in the pod")
      }
      try await Self.run([program, name, "\(count)"], in: pod)
    }
  }

  @Test("of a shell")
  func shell() async throws {
    try await compare(Bounds.shell, few: 5, many: 45) { pod, count in
      let script = "i=0; while [ $i -lt \(count) ]; do sh -c :; i=$((i+1)); done"
      try await Self.run(["sh", "-c", script], in: pod)
    }
  }

  @Test("of a C file that make compiles")
  func compilation() async throws {
    try TestPrograms.require("make")
    try await compare(Bounds.compilation, few: 2, many: 8) { pod, count in
      let directory = try TestPrograms.scratch() + "/compilation-\(count)"
      try FileManager.default.createDirectory(
        atPath: directory, withIntermediateDirectories: true)
      for number in 0..<count {
        try "int part\(number);\n".write(
          toFile: "\(directory)/part\(number).c", atomically: false, encoding: .utf8)
      }
      try "all: $(patsubst %.c,%.o,$(wildcard *.c))\n".write(
        toFile: "\(directory)/Makefile", atomically: false, encoding: .utf8)
      try await Self.run(["make", "-B", "-s", "-j2", "-C", directory, "CC=gcc"], in: pod)
    }
  }

  @Test("of a pod that runs a program")
  func launch() async throws {
    let statistics = try await withPod(backend: TestBackend.seccomp.backend) { pod in
      try await Self.run(["/bin/true"], in: pod)
      return pod.statistics
    }
    Self.check(Bounds.launch, statistics, per: 1)
    #expect(statistics.receivers <= Bounds.receivers.afterLaunch)
  }

  @Test("of many shells: receivers")
  func receivers() async throws {
    let receivers = try await withPod(backend: TestBackend.seccomp.backend) { pod in
      try await Self.run(
        ["sh", "-c", "i=0; while [ $i -lt 100 ]; do sh -c :; i=$((i+1)); done"], in: pod)
      return pod.statistics.receivers
    }
    #expect(receivers <= Bounds.receivers.afterShells)
  }

  /// The kernel wakes all who wait for a notification: only one may.
  @Test("wake one receiver each")
  func wakeUps() async throws {
    let program = try await TestPrograms.benchmark("micro_costs")
    try await withPod(backend: TestBackend.seccomp.backend) { pod in
      // Attaches, so that there are several receivers.
      try await Self.run([program, "fork+wait", "20"], in: pod)
      try #require(pod.statistics.receivers > 1)
      let before = (pod.statistics, try Self.switches(of: pod))
      let script = "i=0; while [ $i -lt 50 ]; do (:); i=$((i+1)); done"
      try await Self.run(["sh", "-c", script], in: pod)
      let notifications = pod.statistics.since(before.0)
      let switches = try Self.switches(of: pod) - before.1
      print("cost of \(notifications.notificationCount) notifications: \(switches) switches")
      // A receiver that attends sleeps for the stops of whom it attends to, and then until it has the turn.
      let expected = notifications.notificationCount + 6 * notifications.attachCount
      #expect(Double(switches) <= Bounds.switchesPerNotification * Double(expected))
    }
  }

  /// How often receivers gave up the CPU by themselves.
  private static func switches(of pod: Pod) throws -> Int {
    var sum = 0
    for task in try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task") {
      let path = "/proc/self/task/\(task)/status"
      // A thread may have ended meanwhile.
      guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { continue }
      let lines = text.split(separator: "\n")
      guard lines.first == "Name:\t\(pod.identifier) call" else { continue }
      let line = lines.first { $0.hasPrefix("voluntary_ctxt_switches:") }
      sum += line.flatMap { Int($0.filter(\.isNumber)) } ?? 0
    }
    return sum
  }

  /// The supervisor counts what it is asked, and nothing else.
  @Test("are counted")
  func counted() async throws {
    let program = try await TestPrograms.benchmark("micro_costs")
    try await withPod(backend: TestBackend.seccomp.backend) { pod in
      try await Self.run([program, "umask", "10"], in: pod)
      let before = pod.statistics
      #expect(before.notificationCount > 0)
      #expect(before.attachCount > 0)
      try await Self.run([program, "umask", "10"], in: pod)
      let once = pod.statistics.since(before)
      try await Self.run([program, "umask", "1010"], in: pod)
      #expect(pod.statistics.since(before).notificationCount == 2 * once.notificationCount)
      #expect(once.notifications[.umask] == nil)
      #expect(once.stops == 0)
    }
    try await withPod(backend: TestBackend.ptrace.backend) { pod in
      try await Self.run([program, "getpid", "10"], in: pod)
      #expect(pod.statistics.stops >= 10)
      #expect(pod.statistics.notificationCount == 0)
    }
  }

  // MARK: Comparison

  /// Runs something with a small and with a great count, and compares the difference, in which their beginnings and ends
  /// cancel.
  private func compare(
    _ bound: CallBound, few: Int, many: Int,
    _ body: nonisolated(nonsending) (Pod, Int) async throws -> Void
  ) async throws {
    try await withPod(backend: TestBackend.seccomp.backend) { pod in
      // Whatever comes only once.
      try await body(pod, few)
      let first = pod.statistics
      try await body(pod, few)
      let second = pod.statistics
      try await body(pod, many)
      let (base, all) = (second.since(first), pod.statistics.since(second))
      Self.check(bound, all, without: base, per: Double(many - few))
    }
  }

  private static func check(
    _ bound: CallBound, _ all: PodStatistics, without base: PodStatistics = PodStatistics(),
    per count: Double
  ) {
    func each(_ value: (PodStatistics) -> UInt64) -> Double {
      (Double(value(all)) - Double(value(base))) / count
    }
    let notifications = each(\.notificationCount)
    let attaches = each(\.attachCount)
    let injections = each(\.injections)
    print(
      "cost of \(bound.call): \(notifications) notifications, \(attaches) attaches, \(injections) injections"
    )
    // A signal that comes first makes a program call again now and then.
    let now = 1.05
    #expect(notifications <= bound.notifications * now, "\(all)")
    #expect(attaches <= bound.attaches * now, "\(all)")
    #expect(injections <= bound.injections * now, "\(all)")
  }

  private static nonisolated(nonsending) func run(_ command: [String], in pod: Pod) async throws {
    let result = try await pod.run(
      command[0].contains("/") ? .path(FilePath(command[0])) : .name(command[0]),
      arguments: Pod.Arguments(Array(command.dropFirst())),
      // Each directory in it costs another exec.
      environment: .inherit.updating(["PATH": "/usr/bin:/bin"]), input: .none,
      output: .string(limit: 1 << 16),
      error: .combinedWithOutput)
    try #require(result.terminationStatus == .exited(0), "\(result.standardOutput)")
  }
}
