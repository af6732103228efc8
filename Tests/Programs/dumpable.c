// DESIGN.md §4.7: a process that clears its dumpable flag, or changes its user, goes on as before.
#include "check.h"
#include <fcntl.h>

int main(void) {
  CHECK_EQUAL(prctl(PR_GET_DUMPABLE), 1);
  CHECK(prctl(PR_SET_DUMPABLE, 0) == 0);
  CHECK_EQUAL(prctl(PR_GET_DUMPABLE), 0);
  CHECK(prctl(PR_SET_DUMPABLE, 2) == -1 && errno == EINVAL);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    CHECK_EQUAL(prctl(PR_GET_DUMPABLE), 0);
    CHECK(getppid() > 0);
    siginfo_t info;
    pid_t grandchild = fork();
    CHECK(grandchild >= 0);
    if (grandchild == 0) _exit(0);
    CHECK(waitid(P_PID, grandchild, &info, WEXITED) == 0);
    CHECK_EQUAL(info.si_pid, grandchild);
    _exit(0);
  }
  reap_ok(child);
  CHECK(prctl(PR_SET_DUMPABLE, 1) == 0);
  CHECK_EQUAL(prctl(PR_GET_DUMPABLE), 1);

  if (getuid() == 0) {
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      CHECK(setgid(65534) == 0);
      CHECK(setuid(65534) == 0);
      CHECK_EQUAL(getuid(), 65534);
      CHECK_EQUAL(prctl(PR_GET_DUMPABLE), 0);
      siginfo_t info;
      pid_t grandchild = fork();
      CHECK(grandchild >= 0);
      if (grandchild == 0) _exit(0);
      CHECK(waitid(P_PID, grandchild, &info, WEXITED) == 0);
      CHECK_EQUAL(info.si_pid, grandchild);
      CHECK(kill(getppid(), SIGUSR1) == -1 && errno == EPERM);
      _exit(0);
    }
    reap_ok(child);
  }
  return 0;
}
