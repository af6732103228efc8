// P7: vfork, posix_spawn and system return names that can be waited for, from several threads at once.
#include "check.h"
#include <spawn.h>

extern char **environ;

static void *spawn_many(void *argument) {
  for (int i = 0; i < 10; i++) {
    pid_t child;
    char *vector[] = {"true", NULL};
    CHECK(posix_spawnp(&child, "true", NULL, NULL, vector, environ) == 0);
    reap_ok(child);
    child = vfork();
    CHECK(child >= 0);
    if (child == 0) {
      execlp("true", "true", (char *)0);
      _exit(127);
    }
    reap_ok(child);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) _exit(0);
    reap_ok(child);
  }
  return argument;
}

int main(void) {
  CHECK_EQUAL(system("exit 3"), 3 << 8);
  pid_t child = vfork();
  CHECK(child >= 0);
  if (child == 0) _exit(getpid() == getppid());
  reap_ok(child);
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, spawn_many, NULL) == 0);
  for (int i = 0; i < 4; i++) CHECK(pthread_join(threads[i], NULL) == 0);
  CHECK(wait(NULL) == -1 && errno == ECHILD);
  return 0;
}
