// P3, P17: processes that call all the time leave the others their turns.
#include "check.h"

enum { BUSY = 4, CALLS = 200 };

int main(void) {
  pid_t parent = getpid(), children[BUSY];
  for (int i = 0; i < BUSY; i++) {
    children[i] = fork();
    CHECK(children[i] >= 0);
    if (children[i] == 0)
      for (;;) CHECK_EQUAL(getppid(), parent);
  }
  // The oldest process makes calls, is interrupted, and sees a child end meanwhile.
  CHECK(signal(SIGALRM, SIG_IGN) != SIG_ERR);
  for (int i = 0; i < CALLS; i++) CHECK(getpgid(children[i % BUSY]) >= 0);
  CHECK(raise(SIGALRM) == 0);
  pid_t brief = fork();
  CHECK(brief >= 0);
  if (brief == 0) _exit(0);
  reap_ok(brief);
  int status;
  for (int i = 0; i < BUSY; i++) {
    CHECK(kill(children[i], SIGKILL) == 0);
    CHECK_EQUAL(waitpid(children[i], &status, 0), children[i]);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  }
  return 0;
}
