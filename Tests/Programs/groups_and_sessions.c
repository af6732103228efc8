// P4–P6, P26, P28, C15: groups and sessions are named by their first leader, which they outlive.
#include "check.h"

int main(void) {
  int ready[2], go[2];
  CHECK(pipe(ready) == 0 && pipe(go) == 0);
  char byte;

  // A child in a group of its own, set by both sides as shells do.
  pid_t leader = fork();
  CHECK(leader >= 0);
  if (leader == 0) {
    CHECK(setpgid(0, 0) == 0);
    CHECK_EQUAL(getpgrp(), getpid());
    CHECK(write(ready[1], "x", 1) == 1);
    CHECK(read(go[0], &byte, 1) == 1);
    _exit(0);
  }
  CHECK(setpgid(leader, leader) == 0);
  CHECK(read(ready[0], &byte, 1) == 1);
  CHECK_EQUAL(getpgid(leader), leader);

  pid_t member = fork();
  CHECK(member >= 0);
  if (member == 0) {
    for (;;) pause();
  }
  CHECK(setpgid(member, leader) == 0);
  CHECK_EQUAL(getpgid(member), leader);
  CHECK_EQUAL(getsid(member), getsid(0));
  // The leader ends and is reaped; the group keeps its name.
  CHECK(write(go[1], "x", 1) == 1);
  reap_ok(leader);
  CHECK_EQUAL(getpgid(member), leader);
  CHECK(kill(leader, 0) == -1 && errno == ESRCH);
  CHECK(kill(-leader, 0) == 0);
  for (int i = 0; i < 20; i++) {
    pid_t other = fork();
    CHECK(other >= 0);
    CHECK(other != leader);
    if (other == 0) _exit(0);
    reap_ok(other);
  }
  CHECK(kill(-leader, SIGTERM) == 0);
  int status;
  CHECK_EQUAL(waitpid(-leader, &status, 0), member);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
  CHECK(kill(-leader, 0) == -1 && errno == ESRCH);
  CHECK(setpgid(0, leader) == -1 && errno == EPERM);

  // A session of its own, and its errors.
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    CHECK_EQUAL(setsid(), getpid());
    CHECK_EQUAL(getsid(0), getpid());
    CHECK_EQUAL(getpgrp(), getpid());
    CHECK(setsid() == -1 && errno == EPERM);
    CHECK(setpgid(0, 0) == -1 && errno == EPERM);
    // 0 where the session was made outside the pid namespace, as in many containers.
    CHECK(getsid(getppid()) >= 0);
    // The whole group, the caller included.
    pid_t grandchild = fork();
    CHECK(grandchild >= 0);
    if (grandchild == 0) {
      for (;;) pause();
    }
    CHECK(signal(SIGUSR2, SIG_IGN) != SIG_ERR);
    CHECK(kill(0, SIGUSR2) == 0);
    CHECK_EQUAL(waitpid(grandchild, &status, 0), grandchild);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR2);
    _exit(0);
  }
  reap_ok(child);
  return 0;
}
