// P23: the signal that a process asked for comes when its parent ends, and says so by the parent's number.
#include "check.h"

static int told[2], ended[2];

static void *fork_and_end(void *unused) {
  pid_t self = getpid();
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    CHECK(prctl(PR_SET_PDEATHSIG, SIGUSR1) == 0);
    CHECK(write(told[1], "x", 1) == 1);
    siginfo_t info;
    CHECK_EQUAL(sigwaitinfo(&set, &info), SIGUSR1);
    CHECK_EQUAL(info.si_pid, self);
    CHECK_EQUAL(getppid(), self);
    CHECK(write(ended[1], "y", 1) == 1);
    _exit(0);
  }
  char byte;
  CHECK(read(told[0], &byte, 1) == 1);
  return unused;
}

// The parent is the thread that forked: the signal comes when that ends, and the process goes on.
static void thread_death(void) {
  CHECK(pipe(told) == 0 && pipe(ended) == 0);
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, fork_and_end, NULL) == 0);
  CHECK(pthread_join(thread, NULL) == 0);
  char byte = 0;
  CHECK(read(ended[0], &byte, 1) == 1);
  CHECK_EQUAL(byte, 'y');
  int status;
  CHECK(waitpid(-1, &status, 0) > 0);
  CHECK_EQUAL(status, 0);
}

int main(void) {
  alarm(30);
  thread_death();
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
