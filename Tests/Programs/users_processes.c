// P44, P45: a user's processes have the best priority of them all. In a pod they are the pod's.
#include "check.h"
#include <sys/resource.h>

#define IOPRIO_USER 3
#define IOPRIO_PROCESS 1
#define BEST_EFFORT(level) (2 << 13 | (level))

// A user with no other processes, where this one may become any; else only what holds with others present.
int main(int count, char **arguments) {
  (void)arguments;
  if (count > 1) {
    // In a pod only: the user's other processes are outside.
    CHECK(setpriority(PRIO_USER, 0, 5) == 0);
    CHECK_EQUAL(getpriority(PRIO_PROCESS, 0), 5);
    CHECK_EQUAL(getpriority(PRIO_USER, 0), 5);
    CHECK(syscall(SYS_ioprio_set, IOPRIO_USER, getuid(), BEST_EFFORT(6)) == 0);
    CHECK_EQUAL(syscall(SYS_ioprio_get, IOPRIO_PROCESS, 0), BEST_EFFORT(6));
    return 0;
  }
  struct timespec now;
  CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
  uid_t chosen = 100000 + (uid_t)now.tv_nsec;
  int is_alone = geteuid() == 0 && setuid(chosen) == 0;
  uid_t self = getuid();
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    alarm(20);
    for (;;) pause();
  }
  errno = 0;
  int best = getpriority(PRIO_USER, 0);
  CHECK(errno == 0);
  CHECK(best <= getpriority(PRIO_PROCESS, 0));
  CHECK_EQUAL(getpriority(PRIO_USER, self), best);
  errno = 0;
  CHECK(getpriority(PRIO_USER, 4194000) == -1 && errno == ESRCH);
  CHECK(setpriority(PRIO_USER, 4194000, 5) == -1 && errno == ESRCH);
  CHECK(syscall(SYS_ioprio_get, IOPRIO_USER, 4194000) == -1 && errno == ESRCH);
  CHECK(syscall(SYS_ioprio_set, IOPRIO_USER, 4194000, BEST_EFFORT(6)) == -1 && errno == ESRCH);
  CHECK(syscall(SYS_ioprio_get, IOPRIO_USER, 0) >= 0);
  if (is_alone) {
    CHECK(setpriority(PRIO_PROCESS, child, 9) == 0);
    CHECK_EQUAL(getpriority(PRIO_USER, 0), best);
    CHECK(setpriority(PRIO_USER, self, 11) == 0);
    CHECK_EQUAL(getpriority(PRIO_PROCESS, 0), 11);
    CHECK_EQUAL(getpriority(PRIO_PROCESS, child), 11);
    CHECK(setpriority(PRIO_PROCESS, 0, 13) == 0);
    CHECK_EQUAL(getpriority(PRIO_USER, 0), 11);
    CHECK(setpriority(PRIO_USER, 0, 12) == -1 || getpriority(PRIO_USER, 0) == 12);
    CHECK(setpriority(PRIO_USER, 0, 3) == -1 && (errno == EACCES || errno == EPERM));
    CHECK(syscall(SYS_ioprio_set, IOPRIO_USER, self, BEST_EFFORT(6)) == 0);
    CHECK_EQUAL(syscall(SYS_ioprio_get, IOPRIO_PROCESS, child), BEST_EFFORT(6));
    CHECK(syscall(SYS_ioprio_set, IOPRIO_PROCESS, child, BEST_EFFORT(5)) == 0);
    CHECK_EQUAL(syscall(SYS_ioprio_get, IOPRIO_USER, self), BEST_EFFORT(5));
  }
  CHECK(kill(child, SIGKILL) == 0);
  CHECK_EQUAL(waitpid(child, NULL, 0), child);
  return 0;
}
