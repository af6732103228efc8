// S1, S2, S5: who sent a signal, and which child it is about, in handlers and in sigwaitinfo.
#include "check.h"

static volatile siginfo_t last;
static void handler(int signal, siginfo_t *info, void *context) {
  (void)signal;
  (void)context;
  *(siginfo_t *)&last = *info;
}

int main(void) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
  CHECK(sigaction(SIGCHLD, &action, NULL) == 0);
  sigset_t blocked, old;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  sigaddset(&blocked, SIGUSR2);
  sigaddset(&blocked, SIGCHLD);
  CHECK(sigprocmask(SIG_BLOCK, &blocked, &old) == 0);

  CHECK(kill(getpid(), SIGUSR1) == 0);
  sigsuspend(&old);
  CHECK_EQUAL(last.si_pid, getpid());
  CHECK_EQUAL(last.si_code, SI_USER);
  CHECK(raise(SIGUSR1) == 0);
  sigsuspend(&old);
  CHECK_EQUAL(last.si_pid, getpid());
  CHECK_EQUAL(last.si_code, SI_TKILL);
  union sigval value = {.sival_int = 12345};
  CHECK(sigqueue(getpid(), SIGUSR1, value) == 0);
  sigsuspend(&old);
  CHECK_EQUAL(last.si_pid, getpid());
  CHECK_EQUAL(last.si_code, SI_QUEUE);
  CHECK_EQUAL(last.si_value.sival_int, 12345);

  // From a child that is gone when the signal is taken.
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    CHECK(kill(getppid(), SIGUSR2) == 0);
    _exit(9);
  }
  siginfo_t info;
  CHECK(waitid(P_PID, child, &info, WEXITED) == 0);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  CHECK_EQUAL(sigwaitinfo(&set, &info), SIGUSR2);
  CHECK_EQUAL(info.si_pid, child);
  CHECK_EQUAL(info.si_uid, getuid());
  // The child's own end, reported after it was reaped.
  sigsuspend(&old);
  CHECK_EQUAL(last.si_signo, SIGCHLD);
  CHECK_EQUAL(last.si_pid, child);
  CHECK_EQUAL(last.si_status, 9);
  CHECK_EQUAL(last.si_code, CLD_EXITED);

  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  struct timespec none = {0, 0};
  CHECK(sigtimedwait(&set, &info, &none) == -1 && errno == EAGAIN);
  return 0;
}
