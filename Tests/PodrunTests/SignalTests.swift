import Glibc
import PodTestSupport
import Subprocess
import SystemPackage
import Testing

@Suite("Signals to podrun, and what it leaves behind", .timeLimit(.minutes(5)))
struct SignalTests {
  /// Runs a script in a pod and does something when it has printed "ready".
  ///
  /// - Returns: podrun's status and the lines after "ready".
  private func run(
    _ script: String, before: String = "exec", options: [String] = [],
    whenReady action: @escaping @Sendable (Int32) -> Void
  ) async throws -> (status: Int32, lines: [String]) {
    let path = try TestPrograms.podrun()
    return try await withTimeLimit(seconds: 240) {
      let result = try await Subprocess.run(
        .name("bash"),
        arguments: Arguments(
          ["-c", "\(before) '\(path)' \"$@\" bash -c \"$0\"", script] + options),
        input: .none, output: .sequence, error: .discarded
      ) { execution in
        var lines: [String] = []
        for try await line in execution.standardOutput.strings() {
          let line = line.filter { !$0.isNewline }
          if line == "ready" {
            action(Int32(execution.processIdentifier.value))
          } else {
            lines.append(line)
          }
        }
        return lines
      }
      return (result.terminationStatus.number, result.closureResult)
    }
  }

  @Test(
    "are the program's", arguments: [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM])
  func forwarded(signal: Int32) async throws {
    let script = "trap 'echo got; exit 9' \(signal); echo ready; while :; do sleep 0.05; done"
    let (status, lines) = try await run(script) { kill($0, signal) }
    #expect(lines == ["got"])
    #expect(status == 9)
  }

  @Test("kill it like the program", arguments: [SIGTERM, SIGINT, SIGHUP, SIGUSR1])
  func fatal(signal: Int32) async throws {
    let (status, _) = try await run("echo ready; exec sleep 60") { kill($0, signal) }
    #expect(status == 128 + signal)
  }

  @Test("none is lost, whatever came before")
  func manySignals() async throws {
    let script = """
      trap 'echo usr1' USR1; trap 'echo usr2' USR2; trap 'echo term; exit 0' TERM
      echo ready; while :; do sleep 0.02; done
      """
    let (status, lines) = try await run(script) { podrun in
      for signal in [SIGUSR1, SIGUSR2, SIGTERM] {
        kill(podrun, signal)
        usleep(100_000)
      }
    }
    #expect(lines == ["usr1", "usr2", "term"])
    #expect(status == 0)
  }

  @Test("what podrun was started with ignored doesn't reach the program")
  func ignoredHangup() async throws {
    let script = "trap 'echo hup' HUP; trap 'exit 0' TERM; echo ready; while :; do sleep 0.02; done"
    let (status, lines) = try await run(script, before: "trap '' HUP; exec") { podrun in
      kill(podrun, SIGHUP)
      usleep(200_000)
      kill(podrun, SIGTERM)
    }
    #expect(lines == [])
    #expect(status == 0)
  }

  @Test("SIGTSTP stops the program and podrun, SIGCONT continues both")
  func stopAndContinue() async throws {
    let script = "trap 'echo done; exit 0' CONT; echo ready; while :; do sleep 0.05; done"
    let (status, lines) = try await run(script) { podrun in
      kill(podrun, SIGTSTP)
      var isStopped = false
      for _ in 0..<1000 where !isStopped {
        usleep(20_000)
        isStopped = state(of: podrun) == "T"
      }
      #expect(isStopped)
      kill(podrun, SIGCONT)
    }
    #expect(lines == ["done"])
    #expect(status == 0)
  }

  @Test("SIGKILL of podrun ends everything in the pod")
  func killed() async throws {
    let mark = uniqueDuration()
    let script =
      "sleep \(mark) & setsid sleep \(mark) & (trap '' HUP TERM; sleep \(mark)) & echo ready; wait"
    let (status, _) = try await run(script) { podrun in
      for _ in 0..<200 where !isAlive(mark) { usleep(10_000) }
      #expect(isAlive(mark))
      kill(podrun, SIGKILL)
    }
    #expect(status == -SIGKILL)
    #expect(await eventually { !isAlive(mark) })
  }

  @Test("a signal that comes before the program runs isn't lost", arguments: [40, 70, 100, 150])
  func early(milliseconds: UInt32) async throws {
    let path = try TestPrograms.podrun()
    let result = try await Subprocess.run(
      .path(FilePath(path)), arguments: ["sleep", "60"], input: .none, output: .discarded,
      error: .discarded
    ) { execution in
      try await Task.sleep(for: .milliseconds(milliseconds))
      try execution.send(signal: .terminate)
    }
    // Before its first instruction podrun dies of it itself.
    #expect([143, -SIGTERM].contains(result.terminationStatus.number))
  }

  @Test("when the pod's init is killed, the pod has failed", arguments: TestBackend.usual)
  func failure(backend: TestBackend) async throws {
    let mark = uniqueDuration()
    let note = try TestPrograms.scratch() + "/init-\(mark)"
    // /proc is the host's.
    let script = """
      while read key value; do [ $key != PPid: ] || echo $value >\(note); done </proc/self/status
      echo ready; sleep \(mark)
      """
    let (status, _) = try await run(script, options: backend.options) { _ in
      #expect(system("kill -KILL $(cat \(note))") == 0)
    }
    #expect(status == 125)
    #expect(await eventually { !isAlive(mark) })
  }

  @Test("a daemon that the program left ends with podrun")
  func daemon() async throws {
    let mark = uniqueDuration()
    let daemon =
      "setsid sh -c 'trap \"\" HUP; sleep \(mark) & exec sleep \(mark)' >/dev/null 2>&1 &"
    let outcome = try await podrun(["sh", "-c", "\(daemon) sleep 0.3"])
    #expect(outcome.status == 0)
    #expect(!isAlive(mark))
  }
}

/// The letter that proc(5) has for a process's state.
private func state(of process: Int32) -> Character? {
  guard let file = fopen("/proc/\(process)/stat", "r") else { return nil }
  defer { fclose(file) }
  var line = [CChar](repeating: 0, count: 512)
  guard fgets(&line, 512, file) != nil else { return nil }
  let text = String(decoding: line.map { UInt8(bitPattern: $0) }.prefix { $0 != 0 }, as: UTF8.self)
  return text.split(separator: ")").last?.first { $0 != " " }
}
