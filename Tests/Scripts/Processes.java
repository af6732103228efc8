import java.io.BufferedReader;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;

/** Processes as Java names, starts, awaits and ends them. */
public class Processes {
  static void check(boolean condition, String what) {
    if (!condition) throw new AssertionError(what);
  }

  static String output(Process process) throws Exception {
    try (BufferedReader reader = process.inputReader()) {
      return reader.lines().collect(Collectors.joining("\n"));
    }
  }

  static Process sleeper() throws Exception {
    return new ProcessBuilder("sleep", "60").start();
  }

  public static void main(String[] arguments) throws Exception {
    ProcessHandle own = ProcessHandle.current();
    long me = own.pid();

    Process shell = new ProcessBuilder("sh", "-c", "echo $$ $PPID").start();
    check(output(shell).equals(shell.pid() + " " + me), "a child's numbers");
    check(shell.waitFor() == 0, "a child's status");

    Process ended = sleeper();
    var onExit = ended.onExit();
    check(ended.isAlive() && !onExit.isDone(), "alive");
    check(ended.toHandle().pid() == ended.pid(), "a handle's number");
    ended.destroy();
    check(onExit.get(30, TimeUnit.SECONDS).exitValue() == 128 + 15, "destroy");
    check(!ended.isAlive(), "not alive");

    Process killed = sleeper();
    var handleEnd = killed.toHandle().onExit();
    killed.destroyForcibly();
    check(handleEnd.get(30, TimeUnit.SECONDS).pid() == killed.pid(), "a handle's end");
    check(killed.waitFor() == 128 + 9, "destroyForcibly");

    Process slow = sleeper();
    check(!slow.waitFor(50, TimeUnit.MILLISECONDS), "ended too early");
    new ProcessBuilder("kill", "-INT", "" + slow.pid()).start().waitFor();
    check(slow.waitFor() == 128 + 2, "killed by another program");

    List<Process> pipeline =
        ProcessBuilder.startPipeline(
            List.of(
                new ProcessBuilder("seq", "1000"),
                new ProcessBuilder("grep", "7"),
                new ProcessBuilder("wc", "-l")));
    check(output(pipeline.get(2)).strip().equals("271"), "a pipeline");
    for (Process part : pipeline) check(part.waitFor() == 0, "a part of a pipeline");

    List<Process> many = new ArrayList<>();
    for (int i = 0; i < 24; i++) many.add(new ProcessBuilder("sh", "-c", "exit " + i).start());
    for (int i = 0; i < 24; i++) check(many.get(i).waitFor() == i, "a status of many");

    try {
      own.destroy();
      check(false, "it ended itself");
    } catch (IllegalStateException expected) {
    }

    // What a ProcessHandle knows of parents, children and life it reads in /proc.
    if (Path.of("/proc/self").toRealPath().endsWith("" + me)) {
      Process child = sleeper();
      ProcessHandle handle = ProcessHandle.of(child.pid()).orElseThrow();
      check(handle.parent().orElseThrow().pid() == me, "parent");
      check(own.children().anyMatch(handle::equals), "children");
      check(own.descendants().anyMatch(handle::equals), "descendants");
      check(ProcessHandle.allProcesses().anyMatch(handle::equals), "all processes");
      check(handle.destroy(), "destroy by handle");
      handle.onExit().get(30, TimeUnit.SECONDS);
      check(child.waitFor() == 128 + 15, "status after destroy by handle");
      check(!handle.isAlive() && !ended.toHandle().isAlive(), "not alive by handle");
      check(ProcessHandle.of(child.pid()).isEmpty(), "a handle of nobody");
    }
  }
}
