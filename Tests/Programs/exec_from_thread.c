// P24: a thread that isn't the leader calls exec; the process keeps its names, its other threads are gone.
#include "check.h"

static char **arguments;
static char expected[32], path[4096];

static void *sleeper(void *argument) {
  for (;;) pause();
  return argument;
}

static void *runner(void *argument) {
  char *next[] = {arguments[0], expected, NULL};
  execv(path, next);
  CHECK(!"exec returned");
  return argument;
}

int main(int count, char **vector) {
  arguments = vector;
  CHECK(readlink("/proc/self/exe", path, sizeof path - 1) > 0);
  if (count > 1) {
    char *rest;
    CHECK_EQUAL(getpid(), strtol(vector[1], &rest, 10));
    CHECK_EQUAL(getppid(), strtol(rest + 1, NULL, 10));
    CHECK_EQUAL(thread_id(), getpid());
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) _exit(getppid() == strtol(vector[1], NULL, 10) ? 0 : 1);
    reap_ok(child);
    return 0;
  }
  for (int round = 0; round < 10; round++) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      snprintf(expected, sizeof expected, "%d:%d", getpid(), getppid());
      pthread_t thread;
      for (int i = 0; i < 3; i++) CHECK(pthread_create(&thread, NULL, sleeper, NULL) == 0);
      CHECK(pthread_create(&thread, NULL, runner, NULL) == 0);
      // Every other time the leader has ended before.
      if (round % 2) pthread_exit(NULL);
      for (;;) pause();
    }
    reap_ok(child);
  }
  return 0;
}
