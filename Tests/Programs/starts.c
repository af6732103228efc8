// Starts itself again and again, in all ways, while signals come. Its first argument is how many areas of a pod every
// program has to have once it has made a call for which it comes: none natively.
#include "check.h"
#include <spawn.h>
#include <sys/resource.h>
#include <sys/stat.h>

extern char **environ;
static char *self, *areas;

// A program that was started: it has the area, and is as it would be without it.
static int started(void) {
  let_area_come();
  FILE *maps = fopen("/proc/self/maps", "r");
  CHECK(maps != NULL);
  char line[4096];
  int found = 0;
  while (fgets(line, sizeof line, maps)) found += strstr(line, "/memfd:pod") != NULL;
  // The lowest free number is what it would be.
  CHECK_EQUAL(fileno(maps), 3);
  fclose(maps);
  CHECK_EQUAL(found, atoi(areas));
  CHECK_EQUAL(getpid(), thread_id());
  CHECK_EQUAL(kill(getpid(), 0), 0);
  return 0;
}

static char *again[] = {NULL, NULL, "started", NULL};

static void *execute(void *argument) {
  execv(self, again);
  return argument;
}

static pid_t start(int way) {
  pid_t child = -1;
  switch (way % 4) {
  case 0:
    child = fork();
    if (child == 0) execv(self, again);
    break;
  case 1:
    child = vfork();
    if (child == 0) {
      execv(self, again);
      _exit(127);
    }
    break;
  case 2: CHECK_EQUAL(posix_spawn(&child, self, NULL, NULL, again, environ), 0); break;
  case 3:
    child = fork();
    if (child == 0) {
      pthread_t thread;
      CHECK_EQUAL(pthread_create(&thread, NULL, execute, NULL), 0);
      for (;;) pause();
    }
    break;
  }
  CHECK(child > 0);
  return child;
}

static unsigned at_random(void) {
  static unsigned state = 1;
  return (state = state * 1103515245 + 12345) >> 8;
}

int main(int count, char **vector) {
  CHECK(count > 1);
  self = again[0] = vector[0];
  areas = again[1] = vector[1];
  if (count > 2) return started();
  for (int i = 0; i < 40; i++) reap_ok(start(i));

  // Signals that nobody handles, and stops, at any moment.
  static const int harmless[] = {SIGWINCH, SIGURG, SIGSTOP, SIGCONT, SIGCHLD, SIGTSTP, SIGCONT};
  for (int i = 0; i < 80; i++) {
    pid_t child = start(i);
    int status = -1;
    while (waitpid(child, &status, WNOHANG) == 0) {
      CHECK_EQUAL(kill(child, harmless[at_random() % 7]), 0);
      CHECK_EQUAL(kill(child, SIGCONT), 0);
    }
    CHECK_EQUAL(status, 0);
  }

  // Whoever is killed in the middle leaves nothing behind.
  for (int i = 0; i < 200; i++) {
    pid_t child = start(i);
    struct timespec moment = {0, at_random() % 3000000};
    nanosleep(&moment, NULL);
    CHECK_EQUAL(kill(child, SIGKILL), 0);
    int status;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK(status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
  }
  reap_ok(start(0));

  // One that stands still in the middle keeps nobody from anything.
  enum { still = 40 };
  pid_t standing[still];
  for (int i = 0; i < still; i++) {
    standing[i] = start(i);
    struct timespec moment = {0, at_random() % 1500000};
    nanosleep(&moment, NULL);
    CHECK_EQUAL(kill(standing[i], SIGSTOP), 0);
  }
  for (int i = 0; i < 8; i++) reap_ok(start(i));
  for (int i = 0; i < still; i++) {
    CHECK_EQUAL(kill(standing[i], SIGCONT), 0);
    reap_ok(standing[i]);
  }
  return 0;
}
