import PodCore
import PodTestSupport
import Testing

/// Programs that people run, natively first and then in pods.
@Suite("programs")
struct ProgramTests {
  @Test(
    "python: subprocess, multiprocessing, os.kill, posix_spawn, threads",
    arguments: TestEnvironment.allCases)
  func python(environment: TestEnvironment) async throws {
    try TestPrograms.require("python3")
    let script = """
      import multiprocessing, os, signal, subprocess, threading, time

      def report(queue):
          queue.put((os.getpid(), os.getppid()))

      if __name__ == "__main__":
          me = os.getpid()
          out = subprocess.run(["sh", "-c", "echo $PPID"], capture_output=True, text=True).stdout
          assert int(out) == me, out
          for method in ("fork", "spawn"):
              context = multiprocessing.get_context(method)
              queue = context.Queue()
              child = context.Process(target=report, args=(queue,))
              child.start()
              pid, parent = queue.get(timeout=30)
              child.join()
              assert (pid, parent) == (child.pid, me), (method, pid, parent, child.pid, me)
              assert child.exitcode == 0
          with multiprocessing.get_context("fork").Pool(3) as pool:
              assert set(pool.map(os.getpgid, [0] * 9)) == {os.getpgrp()}
          pid = os.posix_spawn("/bin/sh", ["sh", "-c", "kill -TERM $$"], os.environ)
          assert os.waitpid(pid, 0) == (pid, signal.SIGTERM)
          pid = os.fork()
          if pid == 0:
              signal.pause()
          os.kill(pid, signal.SIGKILL)
          assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
          seen = []
          signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
          os.kill(me, signal.SIGUSR1)
          signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
          while len(seen) < 2: time.sleep(0.001)
          names = set()
          threads = [threading.Thread(target=lambda: names.add(threading.get_native_id())) for _ in range(50)]
          for thread in threads: thread.start()
          for thread in threads: thread.join()
          assert me not in names
          assert threading.get_native_id() == me
          popen = subprocess.Popen(["sleep", "60"], start_new_session=True)
          assert os.getsid(popen.pid) == popen.pid == os.getpgid(popen.pid)
          os.killpg(popen.pid, signal.SIGTERM)
          assert popen.wait() == -signal.SIGTERM
          print("fine")
      """
    // spawn imports the script again, so it has to be a file.
    let path = try TestPrograms.write(script, to: "python-program.py")
    let outcome = try await environment.run("python3", [path])
    #expect(outcome.status == .exited(0) && outcome.lines == ["fine"], "\(outcome.output)")
  }

  @Test("make -j2 of a C program", arguments: TestEnvironment.allCases)
  func make(environment: TestEnvironment) async throws {
    try TestPrograms.require("make")
    try TestPrograms.require("gcc")
    let script = """
      set -e
      cd "$(mktemp -d)"
      for i in 1 2 3 4 5 6; do echo "int f$i(int x) { return x + $i; }" > f$i.c; done
      { for i in 1 2 3 4 5 6; do echo "int f$i(int);"; done
        echo 'int main(void) { return f1(f2(f3(f4(f5(f6(21)))))) != 42; }'; } > main.c
      printf '%s\\n' 'prog: $(patsubst %.c,%.o,$(wildcard *.c))' '\tgcc -o $@ $^' > Makefile
      make -s -j2
      ./prog
      echo built
      rm -r "$PWD"
      """
    let outcome = try await environment.run("bash", ["-c", script])
    #expect(outcome.status == .exited(0) && outcome.lines == ["built"], "\(outcome.output)")
  }

  @Test("a static busybox", arguments: TestEnvironment.allCases)
  func busybox(environment: TestEnvironment) async throws {
    try TestPrograms.require("busybox")
    let outcome = try await environment.run(
      "busybox",
      [
        "sh", "-c",
        """
        exec 2>/dev/null
        [ $$ = $(busybox sh -c 'echo $PPID') ] && echo parent
        busybox sleep 60 & busybox kill -9 $!; wait $! 2>/dev/null; echo $?
        busybox timeout 0.1 busybox sleep 5; echo $?
        busybox seq 3 | busybox tac | busybox head -1
        """,
      ])
    #expect(outcome.lines == ["parent", "137", "143", "3"], "\(outcome.output)")
  }

  @Test("a Swift program with contended mutexes", arguments: TestEnvironment.allCases)
  func contendedMutexes(environment: TestEnvironment) async throws {
    let outcome = try await environment.run(try TestPrograms.product("contended-mutex"))
    #expect(outcome.status == .exited(0) && outcome.lines == ["10000"], "\(outcome.output)")
  }

  @Test("utilities that name processes", arguments: TestEnvironment.allCases)
  func utilities(environment: TestEnvironment) async throws {
    let outcome = try await environment.run(
      "bash",
      [
        "-c",
        """
        timeout 0.2 sleep 5; echo $?
        nice -n 3 nice
        setsid -w sh -c 'exit 4'; echo $?
        seq 6 | xargs -n1 -P3 echo | sort | tr '\\n' ' '; echo
        nohup echo hup 2>/dev/null
        taskset -p $$ >/dev/null && chrt -p $$ >/dev/null && ionice -p $$ >/dev/null && echo scheduled
        flock "$(mktemp)" echo locked
        perl -e 'for (1..3) { $p = fork; exit $_ unless $p; waitpid $p, 0; print $? >> 8 } print "\\n"'
        """,
      ])
    #expect(
      outcome.lines == [
        "124", "3", "4", "1 2 3 4 5 6 ", "hup", "scheduled", "locked", "123",
      ], "\(outcome.output)")
  }

  @Test(
    "the end of the first program ends the pod",
    arguments: TestEnvironment.pods)
  func daemonsEnd(environment: TestEnvironment) async throws {
    let marker = "\(Int.random(in: 100_000...999_999)).5"
    let outcome = try await environment.run(
      "bash",
      [
        "-c",
        "sleep \(marker) & (setsid sleep \(marker) &) ; (trap '' HUP TERM; exec sleep \(marker)) & sleep 0.2",
      ])
    #expect(outcome.status == .exited(0))
    let left = try await TestEnvironment.native.run("pgrep", ["-fx", "sleep \(marker)"])
    #expect(left.lines.isEmpty, "left behind: \(left.lines)")
  }
}
