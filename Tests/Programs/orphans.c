// P3, P22: orphans get a new parent at once, and can still be named.
#include "check.h"

static int pipe_fd[2];

static pid_t reported(void) {
  pid_t value;
  CHECK(read(pipe_fd[0], &value, sizeof value) == sizeof value);
  return value;
}

// Makes a grandchild whose parent has ended; it reports its id and its new parent, and waits to be killed.
static void make_orphan(void) {
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    pid_t parent = getpid();
    if (fork() == 0) {
      while (getppid() == parent) pause_ms(1);
      pid_t values[2] = {getpid(), getppid()};
      CHECK(write(pipe_fd[1], values, sizeof values) == sizeof values);
      for (;;) pause();
    }
    _exit(0);
  }
  reap_ok(child);
}

int main(void) {
  CHECK(pipe(pipe_fd) == 0);
  make_orphan();
  pid_t orphan = reported();
  pid_t adopter = reported();
  CHECK(adopter != getpid());
  CHECK(kill(orphan, 0) == 0);
  CHECK(kill(orphan, SIGKILL) == 0);
  while (kill(orphan, 0) == 0) pause_ms(1);
  CHECK(errno == ESRCH);
  CHECK(waitpid(orphan, NULL, 0) == -1 && errno == ECHILD);

  CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  make_orphan();
  orphan = reported();
  adopter = reported();
  CHECK_EQUAL(adopter, getpid());
  CHECK(kill(orphan, SIGKILL) == 0);
  int status;
  CHECK_EQUAL(waitpid(orphan, &status, 0), orphan);
  CHECK(WIFSIGNALED(status));
  return 0;
}
