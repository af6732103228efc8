import Glibc
import PodTestSupport
import Testing

@Suite("podrun on a terminal", .timeLimit(.minutes(5)))
struct TerminalTests {
  /// Where the shell runs that somebody types to.
  struct Place: Sendable, CustomTestStringConvertible {
    /// nil in no pod.
    let backend: TestBackend?
    /// The terminal is root's, where root runs the tests, so podrun may not open it again.
    var isNobodys = false

    static let all =
      [Place(backend: nil)]
      + TestBackend.usual.flatMap {
        [Place(backend: $0), Place(backend: $0, isNobodys: true)]
      }

    var testDescription: String {
      (backend?.rawValue ?? "native") + (isNobodys ? ", of nobody" : "")
    }

    fileprivate func command(_ program: [String]) throws -> [String] {
      guard let backend else { return ["/usr/bin/env"] + program }
      let command = [try TestPrograms.podrun()] + backend.options + program
      return isNobodys ? ["/usr/bin/env"] + (try TestEnvironment.asNobody(command)) : command
    }
  }

  /// A shell in a pod of podrun's own choice, unless it is said.
  private func shell(_ place: Place? = nil) async throws -> Typist {
    let program = ["bash", "--norc", "--noediting", "-i"]
    let typist = try Typist(
      try place?.command(program) ?? [try TestPrograms.podrun()] + program)
    try await typist.see("% ")
    return typist
  }

  /// A shell of the host with job control, in which podrun is a command.
  private func outerShell() async throws -> Typist {
    let typist = try Typist(["/bin/bash", "--norc", "--noediting", "-i"])
    try await typist.see("% ")
    return typist
  }

  @Test("the pod has a terminal of its own, which is its controlling one")
  func ownTerminal() async throws {
    let typist = try await shell()
    try await typist.enter("tty; tty </dev/tty; echo $$ $PPID $((40+2))", see: "2 1 42")
    try await typist.enter("test -t 0 -a -t 1 -a -t 2 && echo three=$((1+2))", see: "three=3")
    try await typist.enter("echo $TERM-$((1+1))", see: "dumb-2")
    try await typist.type("exit 7\n")
    #expect(try await typist.end() == 7)
  }

  @Test("foreground group and session are the pod's", arguments: Place.all)
  func groupsOfTerminal(place: Place) async throws {
    let program = try await TestPrograms.path("terminal_groups")
    let typist = try Typist(try place.command([program]))
    let status = try await typist.end()
    let text = await typist.remainder()
    #expect(status == 0, "\(text)")
  }

  @Test("its size follows the outer one's", arguments: Place.all)
  func resize(place: Place) async throws {
    let typist = try await shell(place)
    try await typist.enter("stty size", see: "24 80")
    try await typist.enter("trap 'echo winch $((1+1))' WINCH; echo set-$((1+1))", see: "set-2")
    try await typist.resize(rows: 41, columns: 101)
    try await typist.enter("", see: "winch 2")
    try await typist.enter("stty size", see: "41 101")
  }

  @Test("Ctrl-C ends the foreground job only", arguments: Place.all)
  func interrupt(place: Place) async throws {
    let typist = try await shell(place)
    try await typist.enter("sleep 1000 & echo bg-$((1+1))", see: "bg-2")
    try await typist.enter("echo fg-$((1+1)); sleep 1000", see: "fg-2")
    try await Task.sleep(for: .milliseconds(300))
    try await typist.type("\u{3}")
    try await typist.see("% ")
    try await typist.enter("echo status=$?", see: "status=130")
    try await typist.enter("jobs; echo end-$((1+1))", see: "Running")
    try await typist.see("end-2")
    try await typist.type("kill %1; exit\n")
    _ = try await typist.end()
  }

  @Test("Ctrl-\\ ends the foreground job with SIGQUIT", arguments: Place.all)
  func quit(place: Place) async throws {
    let typist = try await shell(place)
    try await typist.enter("ulimit -c 0; echo fg-$((1+1)); sleep 1000", see: "fg-2")
    try await Task.sleep(for: .milliseconds(300))
    try await typist.type("\u{1c}")
    try await typist.see("Quit")
    try await typist.enter("echo status=$?", see: "status=131")
  }

  @Test("Ctrl-Z stops a job, fg and bg continue it", arguments: Place.all)
  func jobControl(place: Place) async throws {
    let typist = try await shell(place)
    try await typist.enter("echo fg-$((1+1)); sleep 1000", see: "fg-2")
    try await Task.sleep(for: .milliseconds(300))
    try await typist.type("\u{1a}")
    try await typist.see("Stopped")
    try await typist.see("% ")
    try await typist.enter("bg; jobs", see: "Running")
    try await typist.see("% ")
    try await typist.enter("fg", see: "sleep 1000")
    try await Task.sleep(for: .milliseconds(300))
    try await typist.type("\u{3}")
    try await typist.see("% ")
    try await typist.enter("echo status=$?", see: "status=130")
    try await typist.enter("jobs; echo end-$((1+1))", see: "end-2")
  }

  @Test(
    "jobs, kill %1, wait, pipelines and traps of a shell on a terminal", arguments: Place.all)
  func shellWords(place: Place) async throws {
    let typist = try await shell(place)
    try await typist.enter("sleep 1000 & sleep 1001 & jobs; echo j-$((1+1))", see: "j-2")
    try await typist.enter("kill %1; wait %1; echo status=$?", see: "status=143")
    try await typist.enter("jobs; echo k-$((1+1))", see: "sleep 1001")
    try await typist.see("k-2")
    try await typist.enter("kill -KILL %2; wait %2; echo status=$?", see: "status=137")
    try await typist.enter("seq 9 | sort -r | head -1 | sed s/9/last-9/", see: "last-9")
    try await typist.enter("true | (exit 3); echo ${PIPESTATUS[@]}.", see: "0 3.")
    try await typist.enter("trap 'echo trapped-$((1+1))' USR1; kill -USR1 $$", see: "trapped-2")
    try await typist.enter("[ $BASHPID = $$ ] && (echo same-$((1+1)))", see: "same-2")
    try await typist.type("exit 5\n")
    #expect(try await typist.end() == 5)
  }

  @Test("Ctrl-D ends the input")
  func endOfFile() async throws {
    let typist = try Typist([try TestPrograms.podrun(), "cat"])
    try await typist.enter("hello", see: "hello\nhello\n")
    try await typist.type("\u{4}")
    #expect(try await typist.end() == 0)
  }

  @Test("what is typed faster than the program reads isn't lost")
  func typedFast() async throws {
    let typist = try Typist([
      try TestPrograms.podrun(), "sh", "-c",
      "stty -icanon -echo; echo go; sleep 0.3; head -c 300000 | cksum",
    ])
    try await typist.see("go\n")
    try await typist.type(String(repeating: "0123456789abcd\n", count: 20_000))
    // Source: printf '0123456789abcd\n%.0s' {1..20000} | cksum
    try await typist.see("2503442802 300000")
    #expect(try await typist.end() == 0)
  }

  @Test("all that was printed comes out before podrun ends")
  func drained() async throws {
    let typist = try Typist(
      [try TestPrograms.podrun(), "sh", "-c", "seq 1 20000; printf 'the %s' end"])
    #expect(try await typist.end() == 0)
    let text = await typist.remainder()
    #expect(text.hasSuffix("\n20000\nthe end"))
    #expect(text.split(separator: "\n").count == 20_001)
  }

  @Test(
    "the outer terminal's mode is back after the end, after errors and after signals",
    arguments: [
      (["true"], nil, 0), (["no-such-program"], nil, 127),
      (["sh", "-c", "stty raw -echo"], nil, 0),
      (["sleep", "1000"], SIGTERM, 143), (["sleep", "1000"], SIGHUP, 129),
      (["sleep", "1000"], SIGINT, 130),
      (["sh", "-c", "ulimit -c 0; exec sleep 1000"], SIGQUIT, 131),
      (["sleep", "1000"], SIGSEGV, 139),
    ] as [([String], Int32?, Int32)])
  func modeRestored(command: [String], signal: Int32?, status: Int32) async throws {
    let typist = try await outerShell()
    let mode = await typist.mode()
    let command = command.map { "'\($0)'" }.joined(separator: " ")
    try await typist.type("'\(try TestPrograms.podrun())' \(command)\n")
    if let signal {
      #expect(await eventually { await typist.mode() != mode }, "raw while it runs")
      for child in await typist.children() { kill(child, signal) }
    }
    try await typist.see("\n% ")
    #expect(await eventually(within: 2) { await typist.mode() == mode })
    try await typist.enter("echo status=$?", see: "status=\(status)")
  }

  @Test("stopped from outside, podrun gives the terminal back, and takes it again with fg")
  func stoppedFromOutside() async throws {
    let typist = try await outerShell()
    let cooked = await typist.mode()
    let podrun = try TestPrograms.podrun()
    try await typist.type("'\(podrun)' env PS1=\"i${x}n% \" bash --norc --noediting -i\n")
    try await typist.see("in%")
    let raw = await typist.mode()
    #expect(raw != cooked)
    for signal in [SIGTSTP, SIGSTOP] {
      for child in await typist.children() { kill(child, signal) }
      try await typist.see("Stopped")
      try await typist.see("\n% ")
      #expect(await eventually(within: 2) { await typist.mode() == cooked })
      try await typist.enter("echo outside-$(($$ > 2))", see: "outside-1")
      try await typist.type("fg\n")
      #expect(await eventually { await typist.mode() == raw })
      try await typist.enter("echo inside-$$", see: "inside-2")
    }
    try await typist.enter("exit 6", see: "\n% ")
    try await typist.enter("echo status=$?", see: "status=6")
    #expect(await typist.mode() == cooked)
  }

  @Test("in the background podrun prints, and leaves keys and mode to the shell")
  func background() async throws {
    let typist = try await outerShell()
    let cooked = await typist.mode()
    let script = "echo printed $((1+1)); read line; echo read: $line"
    try await typist.type("'\(try TestPrograms.podrun())' sh -c '\(script)' &\n")
    try await typist.see("printed 2")
    #expect(await typist.mode() == cooked)
    try await typist.enter("echo shell-$((1+1))", see: "shell-2")
    try await typist.see("% ")
    try await typist.type("fg\n")
    #expect(await eventually { await typist.mode() != cooked })
    try await typist.enter("some words", see: "read: some words")
    try await typist.see("% ")
    #expect(await eventually(within: 2) { await typist.mode() == cooked })
  }

  @Test("in a pipeline there is no relay: the terminal is everybody's")
  func pipeline() async throws {
    let typist = try await outerShell()
    let cooked = await typist.mode()
    let podrun = try TestPrograms.podrun()
    try await typist.enter(
      "'\(podrun)' sh -c 'test -t 0 && test ! -t 1 && echo piped-$((1+1))' | cat", see: "piped-2")
    try await typist.see("% ")
    try await typist.type("'\(podrun)' sleep 1000 | cat\n")
    try await Task.sleep(for: .milliseconds(700))
    #expect(await typist.mode() == cooked)
    try await typist.type("\u{1a}")
    try await typist.see("Stopped")
    try await typist.see("% ")
    try await typist.type("fg\n")
    try await Task.sleep(for: .milliseconds(300))
    try await typist.type("\u{3}")
    try await typist.see("% ")
    try await typist.enter("echo ${PIPESTATUS[0]}-$((1+1))", see: "-2")
  }

  @Test("--no-tty gives the streams as they are, --tty a terminal where output isn't one")
  func explicit() async throws {
    let typist = try await outerShell()
    let podrun = try TestPrograms.podrun()
    try await typist.enter(
      "'\(podrun)' --no-tty sh -c 'test -c /dev/tty && ! true </dev/tty'; echo none-$?",
      see: "none-0")
    try await typist.see("% ")
    try await typist.enter(
      "'\(podrun)' --tty sh -c 'test -t 0 && true </dev/tty && test ! -t 1' | cat; "
        + "echo own-${PIPESTATUS[0]}", see: "own-0")
  }

  @Test("when the outer terminal goes away, so does what runs on the inner one")
  func hangup() async throws {
    let mark = uniqueDuration()
    var typist: Typist? = try Typist([try TestPrograms.podrun(), "sleep", mark])
    #expect(await eventually { isAlive(mark) })
    _ = await typist?.mode()
    typist = nil
    #expect(await eventually { !isAlive(mark) })
  }

  @Test("SIGKILL of podrun on a terminal leaves no process")
  func killed() async throws {
    let mark = uniqueDuration()
    let typist = try Typist(
      [try TestPrograms.podrun(), "bash", "-c", "trap '' HUP; sleep \(mark)"])
    #expect(await eventually { isAlive(mark) })
    await typist.signal(SIGKILL)
    #expect(try await typist.end() == -SIGKILL)
    #expect(await eventually { !isAlive(mark) })
  }
}
