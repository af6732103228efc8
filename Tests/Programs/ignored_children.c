// P21: children of a process that ignores SIGCHLD are reaped by nobody, and their names go.
#include "check.h"

int main(void) {
  CHECK(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
  pid_t children[50];
  for (int i = 0; i < 50; i++) {
    children[i] = fork();
    CHECK(children[i] >= 0);
    if (children[i] == 0) _exit(0);
  }
  CHECK(wait(NULL) == -1 && errno == ECHILD);
  for (int i = 0; i < 50; i++) CHECK(kill(children[i], 0) == -1 && errno == ESRCH);

  // The same with SA_NOCLDWAIT, and with a child that was a zombie before.
  CHECK(signal(SIGCHLD, SIG_DFL) != SIG_ERR);
  pid_t early = fork();
  CHECK(early >= 0);
  if (early == 0) _exit(0);
  siginfo_t info;
  CHECK(waitid(P_PID, early, &info, WEXITED | WNOWAIT) == 0);
  struct sigaction action = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};
  CHECK(sigaction(SIGCHLD, &action, NULL) == 0);
  CHECK(kill(early, 0) == 0);
  pid_t late = fork();
  CHECK(late >= 0);
  if (late == 0) _exit(0);
  while (kill(late, 0) == 0) pause_ms(1);
  return 0;
}
