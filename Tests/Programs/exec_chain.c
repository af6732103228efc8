// A program that executes itself again and again, from its leader and from other threads, stays one process.
//
//   exec_chain [TIMES]
#include "check.h"

static char **next;
static void *execute(void *unused) {
  (void)unused;
  execve("/proc/self/exe", next, environ);
  CHECK(!"execve returned");
  return NULL;
}

int main(int count, char **words) {
  // exec_chain LEFT PID PARENT GROUP SESSION CHILD
  int left = count > 1 ? atoi(words[1]) : 60;
  int child;
  if (count < 7) {
    // A child from before the first exec is still a child after the last.
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      for (;;)
        pause();
      _exit(0);
    }
  } else {
    CHECK_EQUAL(getpid(), atoi(words[2]));
    CHECK_EQUAL(getppid(), atoi(words[3]));
    CHECK_EQUAL(getpgrp(), atoi(words[4]));
    CHECK_EQUAL(getsid(0), atoi(words[5]));
    child = atoi(words[6]);
  }
  CHECK_EQUAL(thread_id(), getpid());
  CHECK_EQUAL(waitpid(child, NULL, WNOHANG), 0);
  if (left == 0) {
    CHECK_EQUAL(kill(child, SIGKILL), 0);
    int status;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(WTERMSIG(status), SIGKILL);
    CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
    return 0;
  }
  char numbers[6][24];
  int values[] = {left - 1, getpid(), getppid(), getpgrp(), getsid(0), child};
  char *list[8] = {words[0]};
  for (int i = 0; i < 6; i++) {
    snprintf(numbers[i], sizeof numbers[i], "%d", values[i]);
    list[i + 1] = numbers[i];
  }
  next = list;
  if (left % 2)
    execute(NULL);
  pthread_t threads[2];
  // Two at once: one of them goes on, the other ends with the rest. While the first is in its exec there are no new
  // threads: the kernel says EAGAIN (kernel/fork.c, copy_fs).
  CHECK_EQUAL(pthread_create(&threads[0], NULL, execute, NULL), 0);
  int error = pthread_create(&threads[1], NULL, execute, NULL);
  CHECK(error == 0 || error == EAGAIN);
  for (;;)
    pause();
}
