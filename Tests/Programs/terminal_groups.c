// P70: foreground group and session of a terminal. Run with a controlling terminal as descriptor 0.
#include "check.h"
#include <sys/ioctl.h>
#include <termios.h>

int main(void) {
  CHECK(isatty(0));
  CHECK_EQUAL(tcgetsid(0), getsid(0));
  CHECK_EQUAL(tcgetpgrp(0), getpgrp());
  CHECK(signal(SIGTTOU, SIG_IGN) != SIG_ERR);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    CHECK(setpgid(0, 0) == 0);
    CHECK(tcsetpgrp(0, getpid()) == 0);
    CHECK_EQUAL(tcgetpgrp(0), getpid());
    _exit(0);
  }
  reap_ok(child);
  CHECK(tcsetpgrp(0, getpgrp()) == 0);
  CHECK_EQUAL(tcgetpgrp(0), getpgrp());
  pid_t nobody = 4194000;
  CHECK(tcsetpgrp(0, nobody) == -1 && errno == ESRCH);
  CHECK(ioctl(0, TIOCGPGRP, (pid_t *)8) == -1 && errno == EFAULT);
  return 0;
}
