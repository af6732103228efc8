// P23: the signal that a process asked for comes when its parent ends, and says so by the parent's number.
#include "check.h"

int main(void) {
  int reports[2], orders[2];
  CHECK(pipe(reports) == 0 && pipe(orders) == 0);
  pid_t parent = fork();
  CHECK(parent >= 0);
  if (parent == 0) {
    pid_t self = getpid();
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      sigset_t set;
      sigemptyset(&set);
      sigaddset(&set, SIGUSR1);
      CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
      CHECK(prctl(PR_SET_PDEATHSIG, SIGUSR1) == 0);
      int asked = 0;
      CHECK(prctl(PR_GET_PDEATHSIG, &asked) == 0);
      CHECK_EQUAL(asked, SIGUSR1);
      CHECK(write(orders[1], "x", 1) == 1);
      siginfo_t info;
      CHECK_EQUAL(sigwaitinfo(&set, &info), SIGUSR1);
      CHECK_EQUAL(info.si_pid, self);
      CHECK(getppid() != self);
      CHECK(write(reports[1], "y", 1) == 1);
      _exit(0);
    }
    char order;
    CHECK(read(orders[0], &order, 1) == 1);
    _exit(0);
  }
  close(reports[1]);
  reap_ok(parent);
  // Without a report this reads the end: the child's own message says why.
  char report = 0;
  CHECK(read(reports[0], &report, 1) == 1);
  CHECK_EQUAL(report, 'y');
  return 0;
}
