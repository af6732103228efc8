import PodCore
import PodTestSupport
import Testing

/// bash as people use it.
@Suite("bash")
struct ShellTests {
  private func bash(_ script: String, in environment: TestEnvironment) async throws
    -> TestEnvironment.Outcome
  {
    try TestPrograms.require("bash")
    return try await environment.run("bash", ["-c", script])
  }

  @Test("$$, $PPID and $BASHPID agree", arguments: TestEnvironment.allCases)
  func identity(environment: TestEnvironment) async throws {
    let outcome = try await bash(
      "echo $$ $BASHPID $PPID; (echo $$ $BASHPID; sh -c 'echo $PPID $$')", in: environment)
    #expect(outcome.status == .exited(0))
    let words = outcome.lines.map { $0.split(separator: " ").compactMap { Int($0) } }
    try #require(words.count == 3 && words.allSatisfy { $0.count >= 2 }, "\(outcome.output)")
    #expect(words[0][0] == words[0][1])
    #expect(words[1][0] == words[0][0])
    #expect(words[1][1] != words[0][0])
    if environment.isPod {
      #expect(words[0][0] == 2)
      #expect(words[0][2] == 1)
    }
  }

  @Test("pipelines, statuses and wait", arguments: TestEnvironment.allCases)
  func pipelines(environment: TestEnvironment) async throws {
    let outcome = try await bash(
      """
      true | false | (exit 3); echo ${PIPESTATUS[@]}
      (exit 5) & wait $!; echo $?
      sleep 3 & a=$!; (sleep 0.5; exit 2) & b=$!; wait -n; echo $?; wait $a; echo $?
      seq 2000 | sort -n | tail -1
      echo $(echo $(echo nested))
      cat <(echo substituted)
      kill -0 $a 2>/dev/null || echo gone
      """, in: environment)
    #expect(outcome.status == .exited(0))
    #expect(
      outcome.lines == ["0 1 3", "5", "2", "0", "2000", "nested", "substituted", "gone"],
      "\(outcome.output)")
  }

  @Test("jobs, kill %1, bg, traps", arguments: TestEnvironment.allCases)
  func jobs(environment: TestEnvironment) async throws {
    let outcome = try await bash(
      """
      set -m 2>/dev/null
      sleep 60 & [ "$(jobs -p)" = $! ] && echo same
      kill %1; wait %1 2>/dev/null; echo $?
      sleep 60 & kill -STOP %1; while ! jobs | grep -q Stopped; do sleep 0.01; done; echo stopped
      bg %1 >/dev/null; while jobs | grep -q Stopped; do sleep 0.01; done; echo running
      kill -KILL %1; wait %1 2>/dev/null; echo $?
      trap 'echo usr1' USR1; kill -USR1 $$
      trap 'echo chld' CHLD; /bin/true; trap - CHLD
      (trap 'echo term; exit 9' TERM; kill -TERM $BASHPID); echo $?
      """, in: environment)
    // bash itself announces the stop, at a moment of its own.
    #expect(
      outcome.lines.filter { !$0.hasPrefix("[") } == [
        "same", "143", "stopped", "running", "137", "usr1", "chld", "term", "9",
      ], "\(outcome.output)")
  }

  @Test("a program that kills itself is seen to", arguments: TestEnvironment.allCases)
  func selfKill(environment: TestEnvironment) async throws {
    #expect(try await bash("kill -KILL $$", in: environment).status == .signaled(9))
    #expect(try await bash("kill -TERM $$", in: environment).status == .signaled(15))
    #expect(try await bash("exit 77", in: environment).status == .exited(77))
  }

  @Test(
    "kill 0 and kill -1 reach the pod only",
    arguments: TestEnvironment.pods)
  func broadcast(environment: TestEnvironment) async throws {
    let everyone = try await bash(
      """
      sleep 60 & sleep 61 & setsid sleep 62 &
      sleep 0.2; kill -KILL -1; echo alone; wait; jobs; kill -0 1 && echo init
      """, in: environment)
    #expect(everyone.lines.filter { $0 == "alone" || $0 == "init" } == ["alone", "init"])
    #expect(everyone.status == .exited(0))
    let group = try await bash("sleep 60 & kill -TERM 0; sleep 5; echo survived", in: environment)
    #expect(group.status == .signaled(15))
  }

  @Test("orphans belong to process 1", arguments: TestEnvironment.pods)
  func orphans(environment: TestEnvironment) async throws {
    // It asks when its parent, the subshell, has gone.
    let outcome = try await bash(
      """
      read line < <(
        (bash -c 'while kill -0 $PPID 2>/dev/null && [ $PPID != 1 ]; do sleep 0.01; done
          exec python3 -c "import os; print(os.getppid())"' &))
      echo parent $line
      """, in: environment)
    #expect(outcome.lines == ["parent 1"], "\(outcome.output)")
  }
}
