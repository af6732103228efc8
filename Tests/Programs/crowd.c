// Many processes alive at once: CROWD says how many, 50 unless it is said. They are made by each other, as a fork bomb's
// are. With a second argument "stay" the crowd stays until somebody else ends it.
//
//   crowd [CROWD] [stay]
#include "check.h"
#include <sys/mman.h>

struct shared {
  _Atomic int made, alive, failed, go;
};

int main(int count, char **words) {
  int crowd = count > 1 ? atoi(words[1]) : 50;
  struct shared *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(shared != MAP_FAILED);
  // Who is left by its parent is ours to reap, wherever we run.
  CHECK_EQUAL(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
  pid_t first = fork();
  CHECK(first >= 0);
  if (first == 0) {
    CHECK_EQUAL(setpgid(0, 0), 0);
    // Each goes on forking until there are enough; all of them are one group.
    for (;;) {
      if (shared->made >= crowd)
        break;
      shared->made++;
      pid_t child = fork();
      if (child < 0) {
        shared->made--;
        shared->failed++;
        break;
      }
      if (child == 0)
        shared->alive++;
    }
    for (;;)
      pause();
  }
  for (int i = 0; i < 60000 && shared->alive < crowd && !shared->failed; i++)
    pause_ms(1);
  CHECK_EQUAL(shared->failed, 0);
  // Forks that were under way when the number was reached are a few more.
  CHECK(shared->alive >= crowd);
  printf("%d\n", shared->alive);
  fflush(stdout);
  if (count > 2)
    for (;;)
      pause();
  while (kill(-first, SIGKILL) == 0 && waitpid(-1, NULL, WNOHANG) >= 0)
    pause_ms(1);
  while (waitpid(-1, NULL, 0) > 0) {
  }
  CHECK_EQUAL(errno, ECHILD);
  for (int i = 0; i < 5000 && kill(-first, 0) == 0; i++)
    pause_ms(1);
  CHECK(kill(-first, 0) == -1 && errno == ESRCH);
  return 0;
}
