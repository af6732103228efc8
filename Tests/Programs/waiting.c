// P17–P19, C14: all ways to wait return the same names, and a child is gone after one of them.
#include "check.h"

static pid_t spawn(int status) {
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) _exit(status);
  return child;
}

int main(void) {
  int status;
  pid_t child = spawn(3);
  CHECK_EQUAL(wait(&status), child);
  CHECK_EQUAL(WEXITSTATUS(status), 3);

  child = spawn(4);
  CHECK_EQUAL(waitpid(-1, &status, 0), child);
  child = spawn(5);
  CHECK_EQUAL(waitpid(0, NULL, 0), child);
  child = spawn(5);
  CHECK_EQUAL(waitpid(-getpgrp(), &status, __WALL), child);
  child = spawn(5);
  CHECK_EQUAL(waitpid(child, NULL, WUNTRACED | WCONTINUED), child);
  CHECK(waitpid(child, NULL, 0) == -1 && errno == ECHILD);

  siginfo_t info;
  child = spawn(6);
  CHECK(waitid(P_ALL, 0, &info, WEXITED) == 0);
  CHECK_EQUAL(info.si_pid, child);
  CHECK_EQUAL(info.si_status, 6);
  CHECK_EQUAL(info.si_code, CLD_EXITED);
  child = spawn(7);
  CHECK(waitid(P_PID, child, &info, WEXITED | WNOWAIT) == 0);
  CHECK_EQUAL(info.si_pid, child);
  CHECK(waitid(P_PID, child, &info, WEXITED | WNOWAIT) == 0);
  CHECK(waitid(P_PGID, getpgrp(), NULL, WEXITED) == 0);
  CHECK(waitid(P_ALL, 0, &info, WEXITED) == -1 && errno == ECHILD);

  // WNOHANG with a child that lives.
  child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    for (;;) pause();
  }
  CHECK_EQUAL(waitpid(child, &status, WNOHANG), 0);
  memset(&info, 0xff, sizeof info);
  info.si_pid = 99;
  CHECK(waitid(P_PID, child, &info, WEXITED | WNOHANG) == 0);
  CHECK_EQUAL(info.si_pid, 0);
  // Stops and continuations are reports, not ends.
  CHECK(kill(child, SIGSTOP) == 0);
  CHECK_EQUAL(waitpid(child, NULL, WUNTRACED), child);
  CHECK(kill(child, SIGCONT) == 0);
  CHECK_EQUAL(waitpid(child, &status, WCONTINUED), child);
  CHECK(WIFCONTINUED(status));
  CHECK(kill(child, SIGSTOP) == 0);
  CHECK(waitid(P_PID, child, &info, WSTOPPED) == 0);
  CHECK_EQUAL(info.si_pid, child);
  CHECK_EQUAL(info.si_code, CLD_STOPPED);
  CHECK(kill(child, SIGKILL) == 0);
  CHECK_EQUAL(waitpid(child, &status, 0), child);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

  // Bad pointers are the program's own.
  child = spawn(0);
  CHECK(waitpid(child, (int *)8, 0) == -1 && errno == EFAULT);
  return 0;
}
