// P1–P4, P7: a process's names agree with each other and with what its relatives say.
#include "check.h"

int main(void) {
  pid_t self = getpid();
  CHECK(self > 1);
  CHECK_EQUAL(syscall(SYS_getpid), self);
  CHECK_EQUAL(thread_id(), self);
  CHECK_EQUAL(getpgid(0), getpgrp());
  CHECK_EQUAL(getpgid(self), getpgrp());
  CHECK_EQUAL(getsid(0), getsid(self));
  int pipe_fd[2];
  CHECK(pipe(pipe_fd) == 0);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    pid_t mine[4] = {getpid(), getppid(), getpgrp(), getsid(0)};
    CHECK(write(pipe_fd[1], mine, sizeof mine) == sizeof mine);
    _exit(0);
  }
  pid_t theirs[4];
  CHECK(read(pipe_fd[0], theirs, sizeof theirs) == sizeof theirs);
  CHECK_EQUAL(theirs[0], child);
  CHECK_EQUAL(theirs[1], self);
  CHECK_EQUAL(theirs[2], getpgrp());
  CHECK_EQUAL(theirs[3], getsid(0));
  // A zombie keeps its names until it is waited for.
  siginfo_t info;
  CHECK(waitid(P_PID, child, &info, WEXITED | WNOWAIT) == 0);
  CHECK_EQUAL(info.si_pid, child);
  CHECK_EQUAL(getpgid(child), getpgrp());
  CHECK_EQUAL(getsid(child), getsid(0));
  CHECK(kill(child, 0) == 0);
  CHECK(kill(child, SIGTERM) == 0);
  reap_ok(child);
  CHECK(kill(child, 0) == -1 && errno == ESRCH);
  CHECK(getpgid(child) == -1 && errno == ESRCH);
  CHECK(getsid(child) == -1 && errno == ESRCH);
  CHECK(waitpid(child, NULL, 0) == -1 && errno == ECHILD);
  CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
  return 0;
}
