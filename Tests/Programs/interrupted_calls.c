// A signal during a wait: restarted or EINTR as the handler says, with the arguments intact.
#include "check.h"
#include <fcntl.h>

static volatile sig_atomic_t hits;
static void handler(int signal) {
  (void)signal;
  hits++;
}

static void *poke(void *argument) {
  for (int i = 0; i < 20; i++) {
    pause_ms(3);
    kill(getpid(), SIGUSR1);
  }
  return argument;
}

int main(void) {
  for (int restart = 0; restart < 2; restart++) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = restart ? SA_RESTART : 0};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    hits = 0;
    int told[2];
    CHECK(pipe2(told, O_NONBLOCK) == 0);
    pid_t parent = getpid();
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      // Until the parent was interrupted, however late it began to wait.
      char byte;
      for (int i = 0; i < (restart ? 20 : 5000); i++) {
        pause_ms(3);
        CHECK(kill(parent, SIGUSR1) == 0);
        if (!restart && read(told[0], &byte, 1) == 1) break;
      }
      pause_ms(10);
      _exit(0);
    }
    int status, interrupted = 0;
    pid_t reaped;
    while ((reaped = waitpid(child, &status, 0)) == -1) {
      CHECK_EQUAL(errno, EINTR);
      if (interrupted++ == 0) CHECK(write(told[1], "x", 1) == 1);
    }
    CHECK_EQUAL(reaped, child);
    CHECK_EQUAL(status, 0);
    CHECK(hits > 0);
    CHECK(restart ? interrupted == 0 : interrupted > 0);
  }
  // Forks while signals arrive.
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, poke, NULL) == 0);
  for (int i = 0; i < 50; i++) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) _exit(0);
    int status;
    pid_t reaped;
    do
      reaped = waitpid(child, &status, 0);
    while (reaped == -1 && errno == EINTR);
    CHECK_EQUAL(reaped, child);
  }
  CHECK(pthread_join(thread, NULL) == 0);
  return 0;
}
