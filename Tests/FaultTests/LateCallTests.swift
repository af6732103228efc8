import Glibc
import PodCore
import PodTestSupport
import SystemPackage
import Testing

/// DESIGN.md §4.2: between the check of a name and the kernel's look at the number a caller can let any time pass.
@Suite("Calls that reach the kernel late", .serialized, .timeLimit(.minutes(10)))
struct LateCallTests {
  /// What a process is like that nobody has changed.
  private struct State: Equatable {
    var priority: Int32
    var cpus: Int32
    var descriptors: UInt64

    init(of process: Int32) {
      priority = getpriority(__priority_which_t(PRIO_PROCESS.rawValue), id_t(process))
      let field = contents(of: "/proc/\(process)/status")?.split(separator: "\n")
        .first { $0.hasPrefix("Cpus_allowed:") }
      cpus =
        field?.split(separator: "\t").last
        .flatMap { Int32($0.filter { $0 != "," }, radix: 16) }.map { Int32($0.nonzeroBitCount) }
        ?? -1
      let limits = contents(of: "/proc/\(process)/limits")?.split(separator: "\n")
        .first { $0.hasPrefix("Max open files") }
      descriptors = limits?.split(separator: " ").compactMap { UInt64($0) }.first ?? 0
    }
  }

  /// A process outside any pod with a certain number.
  private struct Newcomer {
    let number: Int32

    /// - Returns: nil when somebody else has the number.
    static func make(_ number: Int32) throws -> Newcomer? {
      for _ in 0..<50 {
        try write("\(number - 1)", to: "/proc/sys/kernel/ns_last_pid")
        var arguments: [UnsafeMutablePointer<CChar>?] = [strdup("sleep"), strdup("1000"), nil]
        defer { for text in arguments { free(text) } }
        var process: Int32 = 0
        try #require(posix_spawn(&process, "/bin/sleep", nil, nil, &arguments, environ) == 0)
        let newcomer = Newcomer(number: process)
        if process == number { return newcomer }
        newcomer.end()
      }
      return nil
    }

    func end() {
      kill(number, SIGKILL)
      var status: Int32 = 0
      waitpid(number, &status, 0)
    }
  }

  private static func write(_ text: String, to path: String) throws {
    let file = try FileDescriptor.open(FilePath(path), .writeOnly)
    try file.closeAfter { _ = try file.writeAll(text.utf8) }
  }

  /// Whether numbers can be made to come round at once here.
  private static var choosesNumbers: Bool {
    guard let last = contents(of: "/proc/sys/kernel/ns_last_pid") else { return false }
    return (try? write(String(last.filter(\.isNumber)), to: "/proc/sys/kernel/ns_last_pid")) != nil
  }

  /// What a call wants to be changed, and the backend that has to keep it from strangers.
  struct Case: CustomTestStringConvertible {
    let call: String
    let backend: TestBackend
    var testDescription: String { "\(call), \(backend)" }
  }

  static let cases = TestBackend.usual.flatMap { backend in
    ["priority", "affinity", "limit"].map { Case(call: $0, backend: backend) }
  }

  @Test("nobody outside is hit who got the number meanwhile", arguments: cases)
  func stranger(_ attack: Case) async throws {
    guard Self.choosesNumbers else {
      return print("skipped: /proc/sys/kernel/ns_last_pid can't be written")
    }
    let program = try await TestPrograms.path("late_calls")
    var taken = 0
    for delay in [200, 330, 470, 610, 790] {
      let hit = try await withTimeLimit(seconds: 90) {
        try await self.run(attack, program, delay)
      }
      if let hit {
        taken += 1
        #expect(hit.after == hit.before, "\(attack.call) after \(delay) ms")
      }
    }
    // Else nothing was tried.
    #expect(taken > 0)
  }

  @Test("nobody in the pod is hit by a signal of the pod's code who got the number meanwhile")
  func neighbour() async throws {
    guard Self.choosesNumbers,
      let highest = contents(of: "/proc/sys/kernel/pid_max").flatMap({ Int($0.filter(\.isNumber)) })
    else { return print("skipped: /proc/sys/kernel/ns_last_pid can't be written") }
    let program = try await TestPrograms.path("late_signals")
    // The next number is always the same one, or the first free one behind it.
    let winding = Task.detached {
      while !Task.isCancelled {
        try? Self.write("\(highest / 10 * 9)", to: "/proc/sys/kernel/ns_last_pid")
        try? await Task.sleep(for: .microseconds(200))
      }
    }
    defer { winding.cancel() }
    let result = try await withTimeLimit(seconds: 90) {
      try await withPod(backend: TestBackend.seccomp.backend) { pod in
        try await pod.run(
          .path(FilePath(program)), arguments: ["15"], output: .string(limit: 10_000),
          error: .combinedWithOutput)
      }
    }
    let output = result.standardOutput
    if result.terminationStatus == .exited(77) {
      try Test.cancel("this pod has no code in its processes that sends signals")
    }
    #expect(result.terminationStatus == .exited(0), "\(output)")
    print(output)
    // Else nothing was tried.
    let again = output.split(separator: ", ").last.flatMap { Int($0.prefix { $0.isNumber }) }
    #expect((again ?? 0) > 10, "\(output)")
  }

  /// - Returns: The newcomer before and after the program's last call; nil when it didn't get the number.
  private func run(
    _ attack: Case, _ program: String, _ delay: Int
  ) async throws -> (before: State, after: State)? {
    try await withPod(backend: attack.backend.backend) { pod in
      try await pod.run(
        .path(FilePath(program)), arguments: [attack.call, "\(delay)"], input: .none,
        output: .sequence, error: .combinedWithOutput
      ) { running -> (before: State, after: State)? in
        var target: Int32 = 0
        var newcomer: Newcomer?
        defer { newcomer?.end() }
        var before: State?
        for try await line in running.standardOutput.lines {
          switch line {
          case "ready":
            let own = await pod.descendants()
            let targets = own.filter { $0.name == "late-target" }
            #expect(targets.count == 1)
            target = targets.first?.number ?? 0
          case "reaped":
            newcomer = try Newcomer.make(target)
            before = newcomer.map { State(of: $0.number) }
          case "done":
            guard let newcomer, let before else { return nil }
            #expect(before.priority == 0 && before.cpus > 0 && before.descriptors > 64)
            return (before, State(of: newcomer.number))
          default: print("\(attack.testDescription) after \(delay) ms: \(line)")
          }
        }
        Issue.record("the program ended early")
        return nil
      }.closureResult
    }
  }
}
