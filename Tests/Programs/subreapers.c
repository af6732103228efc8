// P22, P23: orphans go to the nearest subreaper that lives, also through nested ones, threads and exec.
#include "check.h"

static int up[2], down[2];

static void say(int fd, int value) { CHECK(write(fd, &value, sizeof value) == sizeof value); }
static int hear(int fd) {
  int value;
  CHECK(read(fd, &value, sizeof value) == sizeof value);
  return value;
}

// A process that waits for orders and says who its parent is.
static void orphan(void) {
  alarm(20);
  say(up[1], getpid());
  for (;;) {
    int order = hear(down[0]);
    if (order == 0) _exit(5);
    while (getppid() == order) pause_ms(1);
    say(up[1], getppid());
  }
}

static pid_t maker, child;

// Makes a child whose parent ends when it is told to.
static void make(int from_thread) {
  int gate[2];
  CHECK(pipe(gate) == 0);
  maker = fork();
  CHECK(maker >= 0);
  if (maker == 0) {
    pid_t made = fork();
    CHECK(made >= 0);
    if (made == 0) orphan();
    if (from_thread) {
      // The process ends by a thread that isn't its first.
      char byte;
      CHECK(read(gate[0], &byte, 1) == 1);
      syscall(SYS_exit_group, 0);
    }
    hear(gate[0]);
    _exit(0);
  }
  child = hear(up[0]);
  int word = 1;
  CHECK(write(gate[1], &word, sizeof word) == sizeof word);
  close(gate[0]);
  close(gate[1]);
}

static void *end_maker(void *unused) {
  make(1);
  return unused;
}

int main(int count, char **arguments) {
  (void)arguments;
  CHECK(pipe(up) == 0 && pipe(down) == 0);
  int is_reaper = -1;
  if (count > 1) {
    // It is kept by exec.
    CHECK(prctl(PR_GET_CHILD_SUBREAPER, &is_reaper) == 0);
    CHECK_EQUAL(is_reaper, 1);
    return 0;
  }
  CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  CHECK(prctl(PR_GET_CHILD_SUBREAPER, &is_reaper) == 0);
  CHECK_EQUAL(is_reaper, 1);

  // Made by a thread, and its parent waited for before anybody asks.
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, end_maker, NULL) == 0);
  CHECK(pthread_join(thread, NULL) == 0);
  reap_ok(maker);
  say(down[1], maker);
  CHECK_EQUAL(hear(up[0]), getpid());
  say(down[1], 0);
  int status;
  CHECK_EQUAL(waitpid(child, &status, 0), child);
  CHECK_EQUAL(WEXITSTATUS(status), 5);

  // A subreaper below this one comes first; when it ends, this one is next.
  int gate[2];
  CHECK(pipe(gate) == 0);
  pid_t nested = fork();
  CHECK(nested >= 0);
  if (nested == 0) {
    alarm(20);
    CHECK(prctl(PR_GET_CHILD_SUBREAPER, &is_reaper) == 0);
    CHECK_EQUAL(is_reaper, 0);
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    make(0);
    reap_ok(maker);
    say(down[1], maker);
    CHECK_EQUAL(hear(up[0]), getpid());
    say(gate[1], child);
    pause_ms(10);
    _exit(0);
  }
  child = hear(gate[0]);
  reap_ok(nested);
  say(down[1], nested);
  CHECK_EQUAL(hear(up[0]), getpid());
  CHECK(kill(child, 0) == 0);
  say(down[1], 0);
  CHECK_EQUAL(waitpid(child, &status, 0), child);

  // A subreaper that doesn't want to know: nothing of the orphan is left.
  CHECK(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
  make(0);
  say(down[1], maker);
  CHECK_EQUAL(hear(up[0]), getpid());
  say(down[1], 0);
  while (kill(child, 0) == 0) pause_ms(1);
  CHECK(errno == ESRCH);
  CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
  CHECK(signal(SIGCHLD, SIG_DFL) != SIG_ERR);

  // It can be given up.
  CHECK(prctl(PR_SET_CHILD_SUBREAPER, 0) == 0);
  make(0);
  reap_ok(maker);
  say(down[1], maker);
  CHECK(hear(up[0]) != getpid());
  CHECK(waitpid(child, NULL, 0) == -1 && errno == ECHILD);
  say(down[1], 0);
  CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  char *again[] = {"/proc/self/exe", "again", NULL};
  execv(again[0], again);
  return 1;
}
