import Glibc
import PodCore
import PodTestSupport
import SystemPackage
import Testing

/// Arguments that no program should pass.
@Suite("Hostile arguments", .serialized)
struct HostileCallTests {
  /// Lines "NUMBER ROUND OUTCOME".
  private func outcomes(_ command: [String]) async throws -> [String] {
    let outcome = try await TestEnvironment.native.run(
      command[0], Array(command.dropFirst()), seconds: 300)
    try #require(outcome.status == .exited(0), "\(outcome.output)")
    return outcome.lines
  }

  @Test(
    "get the errno that they get without a pod", .timeLimit(.minutes(10)),
    arguments: Amount.isLong ? 1...8 : 1...1, TestBackend.usual)
  func sameErrno(seed: Int, backend: TestBackend) async throws {
    let program = try await TestPrograms.path("hostile_calls")
    let words = [program, "compare", "\(seed)", "\(Amount.of(3, long: 6))"]
    let user = "\(Amount.user())"
    // no_new_privs is always on in pods, and a few calls ask for it.
    let asUser =
      getuid() == 0
      ? ["setpriv", "--no-new-privs", "--reuid", user, "--regid", user, "--clear-groups"]
      : ["setpriv", "--no-new-privs"]
    let native = try await outcomes(asUser + words)
    let inPod = try await outcomes(
      asUser + [try TestPrograms.podrun()] + backend.options + ["--"] + words)
    #expect(native.count > 700)
    #expect(native.count == inPod.count)
    var compared = 0
    for (left, right) in zip(native, inPod) {
      let number = try #require(left.split(separator: " ").first.flatMap { UInt16($0) })
      // What a pod answers by itself, by design.
      let rows = Syscall(rawValue: number).map { BoundaryTable.standard.rows(for: $0) } ?? []
      // To ask capget for its version takes no process; whether there is one is asked first in pods.
      if number == Syscall.capget.rawValue { continue }
      if rows.contains(where: { $0.staticErrno != nil }) || left.hasSuffix("blocks")
        || right.hasSuffix("blocks")
      {
        continue
      }
      compared += 1
      if Self.namesOneOfTwoFaults(rows) {
        #expect(
          left.hasSuffix("errno 0") == right.hasSuffix("errno 0"), "\(left), in a pod \(right)")
      } else {
        #expect(left == right, "\(Syscall(rawValue: number).map { "\($0)" } ?? "?")")
      }
    }
    #expect(compared > 600)
  }

  /// Whether a pod looks at the names in a call before the kernel looks at what else is wrong. An unknown name never
  /// reaches the kernel, so with two faults in one call a pod may name the other one.
  private static func namesOneOfTwoFaults(_ rows: [BoundaryRow]) -> Bool {
    rows.contains { $0.verb.word == "wrapped" || !$0.inputs.isEmpty }
  }

  @Test(
    "to System V objects and message queues get what they get in an IPC namespace of their own",
    .timeLimit(.minutes(10)), arguments: Amount.isLong ? 1...40 : 1...3, TestBackend.usual)
  func objects(seed: Int, backend: TestBackend) async throws {
    let isolated = ["unshare", "--ipc", "--"]
    let probe = try await TestEnvironment.native.run(
      isolated[0], Array(isolated.dropFirst()) + ["true"])
    guard probe.status == .exited(0) else {
      try Test.cancel("no IPC namespace can be made here: \(probe.output)")
    }
    let program = try await TestPrograms.path("hostile_objects")
    let words = [program, "\(seed)", "\(Amount.of(2_000, long: 4_000))"]
    let user = "\(Amount.user())"
    let asUser = [
      "setpriv", "--no-new-privs", "--reuid", user, "--regid", user, "--clear-groups",
    ]
    let native = try await outcomes(isolated + asUser + words)
    let inPod = try await outcomes(
      asUser + [try TestPrograms.podrun()] + backend.options + ["--"] + words)
    #expect(native.count == Int(words[2]) && inPod.count == native.count)
    let differing = zip(native, inPod).filter { $0 != $1 }
    #expect(differing.isEmpty, "\(differing.prefix(5))")
    #expect(native.count { $0.hasSuffix("errno 0") } > native.count / 10)
  }

  @Test(
    "never disturb the supervisor, while memory changes under it", .timeLimit(.minutes(5)),
    arguments: Amount.isLong ? 1...5 : 1...1, TestBackend.usual)
  func storm(seed: Int, backend: TestBackend) async throws {
    let program = try await TestPrograms.path("hostile_calls")
    // Where objects are the kernel's, the supervisor has no part in most calls.
    var configuration = PodConfiguration()
    configuration.systemV = .emulated
    try await withPod(configuration, backend: backend.backend) { pod in
      var options = Pod.PlatformOptions()
      if getuid() == 0 {
        options.userID = Amount.user()
        options.groupID = options.userID
        options.supplementaryGroups = []
      }
      let result = try await pod.run(
        .path(FilePath(program)),
        arguments: ["storm", "\(seed)", "\(Amount.of(2_000, long: 20_000))"],
        platformOptions: options, output: .string(limit: 10_000), error: .combinedWithOutput)
      #expect(result.terminationStatus == .exited(0), "\(result.standardOutput)")
      print("\(backend): storm \(seed): \(result.standardOutput)", terminator: "")
      #expect(await pod.settledDisagreements() == [])
      let after = try await pod.run(
        .name("sh"), arguments: ["-c", "true & wait $! && echo $PPID"], output: .string(limit: 100))
      #expect(after.standardOutput == "1\n")
    }
  }

  @Test(
    "memory that a pod put into a process can be taken away by it", arguments: TestEnvironment.own)
  func withoutScratch(environment: TestEnvironment) async throws {
    let outcome = try await environment.run(try await TestPrograms.path("without_scratch"))
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }
}
