// P14: threads until there is no room for more, which is an answer and not the program's end.
#include "check.h"

static void *idle(void *unused) {
  (void)unused;
  for (;;) pause();
}

int main(void) {
  for (int i = 0; i < 40; i++) {
    pthread_t thread;
    int error = pthread_create(&thread, NULL, idle, NULL);
    CHECK(error == 0 || error == EAGAIN);
  }
  // Nor for a process, then, or for one.
  pid_t child = fork();
  if (child == 0) _exit(0);
  if (child > 0) reap_ok(child);
  CHECK(child > 0 || errno == EAGAIN);
  return 0;
}
