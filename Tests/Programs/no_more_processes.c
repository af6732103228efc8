// When no process is to be had, fork, clone and pthread_create say EAGAIN, and nothing else changes: what was made can be
// waited for, and then there are processes again.
//
//   no_more_processes [LIMIT]     0 leaves the limit as it is
#include "check.h"
#include <sys/resource.h>

enum { most = 4000 };

static void *rest(void *unused) {
  for (;;)
    pause();
  return unused;
}

int main(int count, char **words) {
  int limit = count > 1 ? atoi(words[1]) : 60;
  // Privileged users have no limit.
  if (limit > 0 && getuid() == 0) {
    CHECK_EQUAL(setresgid(64990, 64990, 64990), 0);
    CHECK_EQUAL(setresuid(64990, 64990, 64990), 0);
  }
  struct rlimit limits;
  CHECK_EQUAL(getrlimit(RLIMIT_NPROC, &limits), 0);
  if (limit > 0)
    limits.rlim_cur = (rlim_t)limit;
  CHECK_EQUAL(setrlimit(RLIMIT_NPROC, &limits), 0);
  static pid_t children[most];
  int made[3];
  for (int round = 0; round < 3; round++) {
    int number = 0;
    for (; number < most; number++) {
      pid_t child = round == 1 ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) : fork();
      if (child == 0)
        for (;;)
          pause();
      if (child < 0) {
        CHECK_EQUAL(errno, EAGAIN);
        break;
      }
      children[number] = child;
    }
    CHECK(number < most);
    made[round] = number;
    pthread_t thread;
    if (round == 2)
      CHECK_EQUAL(pthread_create(&thread, NULL, rest, NULL), EAGAIN);
    for (int i = 0; i < number; i++)
      CHECK_EQUAL(kill(children[i], SIGKILL), 0);
    for (int i = 0; i < number; i++) {
      int status;
      CHECK_EQUAL(waitpid(children[i], &status, 0), children[i]);
      CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    }
    CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
  }
  printf("%d %d %d\n", made[0], made[1], made[2]);
  CHECK(made[2] > 0);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0)
    _exit(0);
  reap_ok(child);
  return 0;
}
