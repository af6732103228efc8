// Outside the pod: runs a command, and makes a process of the number that this prints first. Then the command goes on (a
// line comes from its standard input), and the process is to be as it was. It needs CAP_CHECKPOINT_RESTORE.
#include "check.h"
#include <linux/sched.h>
#include <sys/resource.h>

int main(int count, char **arguments) {
  CHECK(count > 1);
  int out[2], in[2];
  CHECK(pipe(out) == 0 && pipe(in) == 0);
  pid_t command = fork();
  if (command == 0) {
    CHECK(dup2(in[0], 0) == 0 && dup2(out[1], 1) == 1);
    close(in[1]);
    close(out[0]);
    execvp(arguments[1], arguments + 1);
    _exit(127);
  }
  close(out[1]);
  close(in[0]);
  FILE *numbers = fdopen(out[0], "r");
  pid_t number = 0;
  CHECK(fscanf(numbers, "%d", &number) == 1);

  struct clone_args how = {
      .exit_signal = SIGCHLD, .set_tid = (uintptr_t)&number, .set_tid_size = 1};
  long made = syscall(SYS_clone3, &how, sizeof how);
  if (made == 0) {
    setpgid(0, 0);
    for (;;)
      pause();
  }
  CHECK_EQUAL(made, number);
  struct rlimit before, after;
  CHECK(syscall(SYS_prlimit64, number, RLIMIT_NOFILE, NULL, &before) == 0);
  CHECK(write(in[1], "\n", 1) == 1);
  reap_ok(command);

  CHECK(syscall(SYS_prlimit64, number, RLIMIT_NOFILE, NULL, &after) == 0);
  CHECK_EQUAL(after.rlim_cur, before.rlim_cur);
  CHECK_EQUAL(getpriority(PRIO_PROCESS, (id_t)number), 0);
  CHECK_EQUAL(sched_getscheduler(number), SCHED_OTHER);
  CHECK_EQUAL(waitpid(number, NULL, WNOHANG), 0);
  CHECK(kill(number, SIGKILL) == 0);
  return 0;
}
