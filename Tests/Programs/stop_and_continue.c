// Job control without a terminal: stops reach all threads, reports name the child, a stopped process is killed.
#include "check.h"

static void *sleeper(void *argument) {
  for (;;) pause_ms(1);
  return argument;
}

int main(void) {
  for (int threads = 0; threads < 3; threads++) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      pthread_t thread;
      for (int i = 0; i < threads; i++) CHECK(pthread_create(&thread, NULL, sleeper, NULL) == 0);
      for (;;) pause_ms(1);
    }
    int status;
    for (int round = 0; round < 5; round++) {
      int stop = round % 2 ? SIGTSTP : SIGSTOP;
      CHECK(kill(child, stop) == 0);
      CHECK_EQUAL(waitpid(child, &status, WUNTRACED), child);
      CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == stop);
      CHECK_EQUAL(waitpid(child, &status, WUNTRACED | WNOHANG), 0);
      CHECK(kill(child, SIGCONT) == 0);
      CHECK_EQUAL(waitpid(child, &status, WCONTINUED), child);
    }
    CHECK(kill(child, SIGSTOP) == 0);
    CHECK_EQUAL(waitpid(child, &status, WUNTRACED), child);
    CHECK(kill(child, SIGKILL) == 0);
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  }
  return 0;
}
