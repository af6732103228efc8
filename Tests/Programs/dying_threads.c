// P14, P20, P21: threads that end their process, or replace it, while the main thread is in a call.
#include "check.h"

static void *idle(void *unused) {
  (void)unused;
  for (;;) pause();
}

static void *execute(void *microseconds) {
  usleep((useconds_t)(intptr_t)microseconds);
  execl("/bin/true", "true", (char *)NULL);
  _exit(9);
}

static void *end(void *microseconds) {
  usleep((useconds_t)(intptr_t)microseconds);
  _exit(0);
}

static void start(void *(*body)(void *), intptr_t argument) {
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, body, (void *)argument) == 0);
}

// A main thread that kills its own process, and so doesn't return from the call.
static void kill_oneself(void) {
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    for (int i = 0; i < 3; i++) start(idle, 0);
    kill(getpid(), SIGKILL);
    for (;;) pause();
  }
  int status = 0;
  CHECK_EQUAL(waitpid(child, &status, 0), child);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

// A main thread whose calls are cut off at any point by what another thread does.
static void be_cut_off(void *(*how)(void *), int round) {
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    start(idle, 0);
    start(idle, 0);
    start(how, round * 53);
    for (;;) {
      getpgid(0);
      kill(-getpgrp(), 0);
      kill(-1, 0);
      waitid(P_ALL, 0, NULL, WEXITED | WNOHANG);
    }
  }
  reap_ok(child);
}

int main(void) {
  CHECK(setpgid(0, 0) == 0 || errno == EPERM);
  for (int i = 0; i < 5; i++) kill_oneself();
  for (int i = 0; i < 40; i++) {
    be_cut_off(execute, i);
    be_cut_off(end, i);
  }
  return 0;
}
