// P17, P18: the signal of a child's end doesn't keep a wait from telling of the child, whenever it comes.
#include "check.h"

static volatile sig_atomic_t signals;
static void count(int signal) {
  (void)signal;
  signals++;
}

static pid_t child_of(int round) {
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    // At once, or while its parent is on its way to the wait, or when it waits.
    if (round % 5) usleep(60 + (useconds_t)(round % 11) * 30);
    _exit(round & 0x7f);
  }
  return child;
}

// Waits again after a wait that was cut off.
static int cut_off;
static int again(long result) {
  if (result != -1 || errno != EINTR) return 0;
  cut_off++;
  return 1;
}

int main(void) {
  // Without SA_RESTART, so that a wait that is cut off says so.
  struct sigaction action = {.sa_handler = count};
  CHECK(sigaction(SIGCHLD, &action, NULL) == 0);
  enum { rounds = 400 };
  for (int i = 0; i < rounds; i++) {
    int status = -1;
    siginfo_t info = {0};
    pid_t child = child_of(i);
    long result;
    switch (i % 3) {
    case 0:
      while (again(result = waitpid(child, &status, 0))) {
      }
      CHECK_EQUAL(result, child);
      CHECK_EQUAL(status, (i & 0x7f) << 8);
      break;
    case 1:
      while (again(result = waitpid(-1, &status, 0))) {
      }
      CHECK_EQUAL(result, child);
      CHECK_EQUAL(status, (i & 0x7f) << 8);
      break;
    default:
      while (again(result = waitid(P_PID, (id_t)child, &info, WEXITED))) {
      }
      CHECK_EQUAL(result, 0);
      CHECK_EQUAL(info.si_pid, child);
      CHECK_EQUAL(info.si_status, i & 0x7f);
    }
  }
  CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
  CHECK_EQUAL(signals, rounds);
  // musl makes all its calls that wait with one instruction, far from where it says which they are.
#ifndef __GLIBC__
  if (!limited("interrupted"))
#endif
    CHECK_EQUAL(cut_off, 0);
  return 0;
}
