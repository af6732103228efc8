import Testing

@Suite("podrun's exit status", .timeLimit(.minutes(5)))
struct StatusTests {
  @Test(
    "is the program's own, or says what podrun couldn't do",
    arguments: [
      (["true"], 0, ""),
      (["--", "sh", "-c", "exit 3"], 3, ""),
      (["sh", "-c", "exit 255"], 255, ""),
      (["sh", "-c", "kill -TERM $$"], 143, ""),
      (["sh", "-c", "kill -KILL $$"], 137, ""),
      (["no-such-program"], 127, "podrun: "),
      (["/no/such/program"], 127, "podrun: "),
      (["/etc/passwd"], 126, "podrun: "),
      (["--cwd", "/no/such/directory", "true"], 125, "podrun: "),
      (["--require", "files", "true"], 125, "podrun: "),
      ([], 64, "No program"),
      (["--no-such-option", "true"], 64, "Unknown option '--no-such-option'"),
      (["--backend", "magic", "true"], 64, "magic"),
      (["--env"], 64, "--env"),
      (["--env", "=x", "true"], 64, "KEY=VALUE"),
      (["--tty", "true"], 64, "--tty needs a terminal"),
      (["--user", "x", "true"], 64, "--user"),
      (["syscalls", "--no-such-option"], 64, "--no-such-option"),
    ] as [([String], Int32, String)])
  func statuses(arguments: [String], status: Int32, complaint: String) async throws {
    let outcome = try await podrun(arguments)
    #expect(outcome.status == status)
    #expect(outcome.error.isEmpty == complaint.isEmpty, "\(outcome.error)")
    #expect(outcome.error.contains(complaint), "\(outcome.error)")
    if (125...127).contains(status) {
      #expect(outcome.error.split(separator: "\n").count == 1, "one line: \(outcome.error)")
    }
    #expect(outcome.output.isEmpty)
  }

  @Test(
    "an option whose subsystem isn't there is an error, and nothing runs",
    arguments: ["--hostname", "--root", "--network"])
  func unfinishedOptions(option: String) async throws {
    let outcome = try await podrun([option, "x", "echo", "ran"])
    #expect(outcome.status == 64)
    #expect(outcome.output.isEmpty)
    #expect(outcome.error.contains("\(option) doesn't work yet"))
  }

  @Test("options end at the program; what follows is its own")
  func programsOwnOptions() async throws {
    let script = "printf '%s|' \"$0\" \"$@\""
    let outcome = try await podrun(
      ["--env", "A=1", "sh", "-c", script, "--verbose", "--", "--help", "", "--env", "B=2"])
    #expect(outcome.text == "--verbose|--|--help||--env|B=2|")
    #expect(outcome.error.isEmpty)
  }

  @Test("--help and --version are podrun's before the program only")
  func helpAndVersion() async throws {
    let help = try await podrun(["--help"])
    #expect(help.status == 0)
    #expect(help.text.contains("podrun [<options>] [--] <program>"))
    let version = try await podrun(["--version"])
    #expect(version.status == 0)
    #expect(version.lines.count == 1)
    let echo = try await podrun(["echo", "--version"])
    #expect(echo.text.contains("--version") || echo.text.contains("coreutils"))
  }
}
