// P22, P82: in a pod only: of subreapers that are killed with children, orphans and zombies nothing is left.
#include "check.h"
#include <sys/sysinfo.h>

static int count_tasks(void) {
  struct sysinfo info;
  CHECK(sysinfo(&info) == 0);
  return info.procs;
}

static void orphan(int kind) {
  if (kind == 0) _exit(0);
  if (kind == 1) pause_ms(5);
  if (kind > 1)
    for (;;) pause();
  _exit(0);
}

static void subreaper(void) {
  CHECK(setpgid(0, 0) == 0);
  CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  for (int i = 0; i < 24; i++) {
    pid_t maker = fork();
    CHECK(maker >= 0);
    if (maker == 0) {
      pid_t made = fork();
      CHECK(made >= 0);
      if (made == 0) orphan(i % 4);
      _exit(0);
    }
    if (i % 3) CHECK_EQUAL(waitpid(maker, NULL, 0), maker);
  }
  for (;;) pause();
}

int main(void) {
  alarm(40);
  int before = count_tasks();
  for (int round = 0; round < 4; round++) {
    pid_t reaper = fork();
    CHECK(reaper >= 0);
    if (reaper == 0) subreaper();
    CHECK(setpgid(reaper, reaper) == 0 || errno == EACCES);
    pause_ms(20);
    // The subreaper first, or all at once.
    if (round % 2) CHECK(kill(reaper, SIGKILL) == 0);
    CHECK(kill(-reaper, SIGKILL) == 0);
    CHECK_EQUAL(waitpid(reaper, NULL, 0), reaper);
    while (kill(-reaper, 0) == 0) pause_ms(1);
    CHECK(errno == ESRCH);
  }
  while (count_tasks() != before) pause_ms(1);
  return 0;
}
