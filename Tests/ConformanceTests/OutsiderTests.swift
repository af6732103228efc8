import Glibc
import PodCore
import PodTestSupport
import Subprocess
import SystemPackage
import Testing

/// What programs try that know a process outside by its number.
@Suite("Processes outside stay as they were")
struct OutsiderTests {
  @Test(
    "a number of a thread whose end nobody saw, and of a group that everybody has left",
    arguments: TestBackend.usual, ["unheard_end", "left_group"])
  func numberGivenAgain(backend: TestBackend, program: String) async throws {
    guard try Self.mayChooseNumbers() else {
      try Test.cancel("only CAP_CHECKPOINT_RESTORE makes processes of chosen numbers")
    }
    let outcome = try await TestEnvironment.native.run(
      try await TestPrograms.path("number_given_again"),
      [try TestPrograms.podrun()] + backend.options
        + ["--", try await TestPrograms.path(program)])
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }

  /// Whether the tests have CAP_CHECKPOINT_RESTORE.
  private static func mayChooseNumbers() throws -> Bool {
    let status = try text(of: "/proc/self/status")
    let line = status.split(separator: "\n").first { $0.hasPrefix("CapEff:\t") }
    let set = line.flatMap { UInt64($0.dropFirst("CapEff:\t".count), radix: 16) } ?? 0
    return CapabilitySet(rawValue: set).contains(.checkpointRestore)
  }

  /// The launcher has all that its pod's programs may have: they can write over its code.
  @Test("the launcher runs code of a program's", arguments: TestBackend.usual)
  func launcher(backend: TestBackend) async throws {
    guard backend == .seccomp else { return }
    let program = try await TestPrograms.path("launcher_code")
    try await withOutsider { outsider in
      var configuration = PodConfiguration()
      configuration.capabilities = .all
      let output = try await withPod(configuration, backend: backend.backend) { pod in
        let first = try await pod.run(
          .path(FilePath(program)), arguments: ["\(outsider)"], output: .string(limit: 4096),
          error: .combinedWithOutput)
        // The launcher is asked once more, and may well be gone.
        _ = try? await pod.run(.path("/bin/true"), output: .discarded)
        return first.standardOutput
      }
      #expect(output == "written\n")
      #expect(getpriority(Int32(PRIO_PROCESS.rawValue), UInt32(outsider)) == 0)
    }
  }

  /// They stay known for a while, and the launcher's children may get their numbers.
  @Test(
    "programs are launched with the numbers of threads that have ended",
    .timeLimit(.minutes(1)), arguments: TestBackend.usual)
  func launchedAgain(backend: TestBackend) async throws {
    let last = "/proc/sys/kernel/ns_last_pid"
    guard access(last, W_OK) == 0, try Self.mayChooseNumbers() else {
      try Test.cancel("only CAP_CHECKPOINT_RESTORE says which number is next")
    }
    let program = try await TestPrograms.path("ended_threads")
    try await withPod(backend: backend.backend) { pod in
      let threads = try await pod.run(.path(FilePath(program)), output: .string(limit: 64))
      let first = try #require(
        threads.standardOutput.split(separator: "\n").first.flatMap { Int32($0) })
      for offset: Int32 in [5, 20, 35, 50, 65] {
        // A few numbers on, should others make processes at the same time.
        let file = try FileDescriptor.open(FilePath(last), .writeOnly)
        try file.writeAll("\(first + offset)".utf8)
        try file.close()
        let result = try await pod.run(
          .path("/bin/sh"), arguments: ["-c", "echo $$ below $PPID"], output: .string(limit: 64))
        #expect(result.terminationStatus == .exited(0))
        #expect(result.standardOutput.hasSuffix(" below 1\n"))
      }
    }
  }

  private static func text(of path: FilePath) throws -> String {
    let file = try FileDescriptor.open(path, .readOnly)
    defer { try? file.close() }
    var bytes = [UInt8](repeating: 0, count: 8192)
    let count = try bytes.withUnsafeMutableBytes { try file.read(into: $0) }
    return String(decoding: bytes[..<count], as: UTF8.self)
  }

  /// Runs `body` with the number of a process that waits.
  private func withOutsider(_ body: (pid_t) async throws -> Void) async throws {
    var process: pid_t = 0
    var words: [UnsafeMutablePointer<CChar>?] = [strdup("sleep"), strdup("600"), nil]
    defer { for word in words { free(word) } }
    try #require(posix_spawnp(&process, "sleep", nil, nil, &words, environ) == 0)
    defer {
      kill(process, SIGKILL)
      waitpid(process, nil, 0)
    }
    try await body(process)
  }
}
