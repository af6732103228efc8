// G2: a number that nothing has is ESRCH or ECHILD, in each call that takes one.
#include "check.h"

int main(void) {
  pid_t nobody = 4194000;
  CHECK(kill(nobody, 0) == -1 && errno == ESRCH);
  CHECK(kill(-nobody, 0) == -1 && errno == ESRCH);
  CHECK(syscall(SYS_tkill, nobody, 0) == -1 && errno == ESRCH);
  CHECK(syscall(SYS_tgkill, getpid(), nobody, 0) == -1 && errno == ESRCH);
  CHECK(syscall(SYS_tgkill, nobody, thread_id(), 0) == -1 && errno == ESRCH);
  CHECK(getpgid(nobody) == -1 && errno == ESRCH);
  CHECK(getsid(nobody) == -1 && errno == ESRCH);
  CHECK(setpgid(nobody, 0) == -1 && errno == ESRCH);
  CHECK(waitpid(nobody, NULL, WNOHANG) == -1 && errno == ECHILD);
  CHECK(waitpid(-nobody, NULL, WNOHANG) == -1 && errno == ECHILD);
  siginfo_t info;
  CHECK(waitid(P_PID, nobody, &info, WEXITED | WNOHANG) == -1 && errno == ECHILD);
  CHECK(waitid(P_PGID, nobody, &info, WEXITED | WNOHANG) == -1 && errno == ECHILD);
  CHECK(kill(getpid(), 65) == -1 && errno == EINVAL);
  CHECK(kill(getpid(), -1) == -1 && errno == EINVAL);
  CHECK(syscall(SYS_tkill, 0, 0) == -1 && errno == EINVAL);
  CHECK(syscall(SYS_tgkill, -1, 1, 0) == -1 && errno == EINVAL);
  CHECK(setpgid(0, -1) == -1 && errno == EINVAL);
  return 0;
}
