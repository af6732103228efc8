import PodTestSupport
import Subprocess
import SystemPackage
import Testing

@Suite("podrun on pipes and files", .timeLimit(.minutes(5)))
struct StreamTests {
  @Test("bytes go in and come out as they are")
  func binaryData() async throws {
    let bytes = (0..<1_000_003).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
    let outcome = try await podrun(["cat"], input: bytes)
    #expect(outcome.status == 0)
    #expect(outcome.output == bytes)
  }

  @Test("standard error is apart from standard output, also at a pipe's end")
  func standardError() async throws {
    let outcome = try await podrun(["sh", "-c", "echo out; echo err >&2; exit 4"])
    #expect(outcome.text == "out\n")
    #expect(outcome.error == "err\n")
    #expect(outcome.status == 4)
  }

  @Test("a program whose reader goes away gets SIGPIPE")
  func brokenPipe() async throws {
    let path = try TestPrograms.podrun()
    let result = try await Subprocess.run(
      .name("bash"), arguments: ["-c", "'\(path)' yes | head -1; echo ${PIPESTATUS[0]}"],
      output: .string(limit: 100), error: .string(limit: 1000))
    #expect(result.standardOutput == "y\n141\n")
  }

  @Test("streams that podrun doesn't have are /dev/null")
  func closedStreams() async throws {
    let path = try TestPrograms.podrun()
    let result = try await Subprocess.run(
      .name("bash"), arguments: ["-c", "'\(path)' sh -c 'cat; readlink /proc/self/fd/0' <&- 2>&-"],
      output: .string(limit: 100), error: .string(limit: 1000))
    #expect(result.standardOutput == "/dev/null\n")
  }

  @Test("the environment passes, changed by --env or cleared by --clear-env")
  func environment() async throws {
    let inherited = try await podrun(
      ["--env", "A=1=2", "-e", "B=", "sh", "-c", "echo \"$A|${B-unset}|$C|$D\""],
      environment: ["C": "c", "D": "d"])
    #expect(inherited.text == "1=2||c|d\n")
    let cleared = try await podrun(
      ["--clear-env", "-e", "A=1", "-e", "C", "-e", "MISSING", "/usr/bin/env"],
      environment: ["C": "c", "D": "d"])
    #expect(Set(cleared.lines) == ["A=1", "C=c"])
  }

  @Test("--cwd is where the program starts")
  func workingDirectory() async throws {
    let outcome = try await podrun(["--cwd", "/usr", "pwd"])
    #expect(outcome.text == "/usr\n")
  }

  @Test("a program starts with default signals and nothing blocked")
  func signalState() async throws {
    let outcome = try await podrun(["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"])
    let values = outcome.lines.map { $0.split(separator: "\t").last ?? "" }
    #expect(values == ["0000000000000000", "0000000000000000"])
  }

  @Test("nothing of podrun's but the three streams enters the pod")
  func descriptors() async throws {
    let outcome = try await podrun(["sh", "-c", "echo /proc/self/fd/*"])
    // The directory that the shell reads is the one more.
    #expect(outcome.text == "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3\n")
  }
}
