// The last member of a group, whose leader has been waited for, is moved away by its parent while somebody slow changes the
// group's priority. The group's number becomes that of a group outside (number_given_again.c), which stays as it is.
#include "check.h"
#include <sys/resource.h>

enum { hogs = 6 };

static pid_t make_sleeper(void) {
  pid_t child = fork();
  if (child == 0)
    for (;;)
      pause();
  return child;
}

int main(void) {
  int numbers[2];
  CHECK(pipe(numbers) == 0);
  pid_t leader = fork();
  if (leader == 0) {
    char number[32] = {0};
    // As the kernel has it.
    CHECK(setpgid(0, 0) == 0 && readlink("/proc/self", number, sizeof number - 1) > 0);
    CHECK(write(numbers[1], number, sizeof number) == sizeof number);
    for (;;)
      pause();
  }
  char number[32];
  CHECK(read(numbers[0], number, sizeof number) == sizeof number);
  pid_t member = make_sleeper(), busy[hogs];
  CHECK(setpgid(member, leader) == 0);
  CHECK(kill(leader, SIGKILL) == 0 && waitpid(leader, NULL, 0) == leader);
  for (int i = 0; i < hogs; i++)
    if ((busy[i] = fork()) == 0) {
      setpriority(PRIO_PROCESS, 0, -20);
      for (;;) {
      }
    }
  setpriority(PRIO_PROCESS, 0, -20);
  pid_t slow = fork();
  if (slow == 0) {
    struct sched_param none = {0};
    CHECK(sched_setscheduler(0, SCHED_IDLE, &none) == 0);
    setpriority(PRIO_PGRP, (id_t)leader, 9);
    _exit(0);
  }
  pause_ms(5);
  CHECK(setpgid(member, getpgid(0)) == 0);
  printf("%s\n", number);
  fflush(stdout);
  CHECK(getchar() == '\n');
  pause_ms(2000);
  for (int i = 0; i < hogs; i++)
    kill(busy[i], SIGKILL);
  reap_ok(slow);
  kill(member, SIGKILL);
  return 0;
}
