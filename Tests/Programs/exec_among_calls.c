// P24: exec while other threads of the process are in calls: waits, births, signals, questions. The new image is the same
// process, alone, and its children are all still its children.
#include "check.h"
#include <sys/mman.h>

enum { rounds = 80 };

static char path[4096];
static pid_t sleeping, ended;
// Who was born to the process, by all its threads: the new image has them still to wait for, or they were waited for.
static struct {
  volatile int is_told, births, waits;
} *shared;

static void *wait_for_one(void *unused) {
  waitpid(sleeping, NULL, 0);
  CHECK(!"the child has ended");
  return unused;
}

static void *wait_for_signal(void *unused) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  for (;;) sigwaitinfo(&set, NULL);
  return unused;
}

static void count_and_reap(pid_t child) {
  int status;
  CHECK_EQUAL(waitpid(child, &status, 0), child);
  CHECK_EQUAL(status, 0);
  __atomic_fetch_add(&shared->waits, 1, __ATOMIC_SEQ_CST);
}

// The child itself tells that it was born: the exec may come before its parent's thread knows.
static void *bear(void *unused) {
  for (;;) {
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0) {
      __atomic_fetch_add(&shared->births, 1, __ATOMIC_SEQ_CST);
      syscall(SYS_exit_group, 0);
    }
    CHECK(child > 0);
    count_and_reap(child);
  }
  return unused;
}

static void *bear_in_own_memory(void *unused) {
  for (;;) {
    pid_t child = vfork();
    if (child == 0) {
      __atomic_fetch_add(&shared->births, 1, __ATOMIC_SEQ_CST);
      if (shared->births % 2) syscall(SYS_execve, "/bin/true", (char *[]){"true", NULL}, NULL);
      _exit(0);
    }
    CHECK(child > 0);
    count_and_reap(child);
  }
  return unused;
}

static void *ask(void *unused) {
  pid_t self = getpid();
  for (;;) {
    CHECK_EQUAL(syscall(SYS_getpid), self);
    CHECK(thread_id() > 0);
    CHECK(kill(self, 0) == 0);
    CHECK_EQUAL(getpgid(sleeping), getpgrp());
  }
  return unused;
}

static volatile pid_t others[5];
static void *(*const kinds[])(void *) = {wait_for_one, wait_for_signal, bear, bear_in_own_memory, ask};
enum { kind_count = sizeof kinds / sizeof *kinds };

struct start {
  int index;
  void *(*body)(void *);
};
static void *start(void *argument) {
  struct start *own = argument;
  others[own->index] = thread_id();
  return own->body(NULL);
}

static void execute(void) {
  char text[128];
  snprintf(text, sizeof text, "%d %d %d %d %d %d %d %d %d", getpid(), getppid(), sleeping, ended, others[0], others[1],
           others[2], others[3], others[4]);
  execl(path, path, text, NULL);
  CHECK(!"exec returned");
}

static void *execute_in_thread(void *argument) {
  pause_ms((intptr_t)argument);
  execute();
  return NULL;
}

static void before(int round) {
  alarm(50);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
  sleeping = fork();
  CHECK(sleeping >= 0);
  if (sleeping == 0) {
    while (!shared->is_told) pause_ms(2);
    _exit(7);
  }
  ended = fork();
  CHECK(ended >= 0);
  if (ended == 0) _exit(5);
  static struct start starts[kind_count];
  pthread_t thread;
  for (int i = 0; i < kind_count; i++) {
    starts[i] = (struct start){i, kinds[i]};
    CHECK_EQUAL(pthread_create(&thread, NULL, start, &starts[i]), 0);
  }
  for (int i = 0; i < kind_count; i++)
    while (others[i] == 0) sched_yield();
  int delay = round % 7;
  if (round % 2) {
    CHECK_EQUAL(pthread_create(&thread, NULL, execute_in_thread, (void *)(intptr_t)delay), 0);
    // The leader is in a call too, or has ended.
    if (round % 4 == 1) pthread_exit(NULL);
    wait_for_one(NULL);
  }
  pause_ms(delay);
  execute();
}

static int after(const char *text) {
  alarm(50);
  int own[4 + kind_count];
  char *rest = (char *)text;
  for (int i = 0; i < 4 + kind_count; i++) own[i] = (int)strtol(rest, &rest, 10);
  CHECK_EQUAL(getpid(), own[0]);
  CHECK_EQUAL(getppid(), own[1]);
  CHECK_EQUAL(thread_id(), own[0]);
  for (int i = 0; i < kind_count; i++)
    CHECK(syscall(SYS_tgkill, own[0], own[4 + i], 0) == -1 && errno == ESRCH);
  CHECK_EQUAL(getpgid(own[2]), getpgrp());
  CHECK(waitpid(own[2], NULL, WNOHANG) == 0);
  int status;
  CHECK_EQUAL(waitpid(own[3], &status, 0), own[3]);
  CHECK_EQUAL(status, 5 << 8);
  shared->is_told = 1;
  CHECK_EQUAL(waitpid(own[2], &status, 0), own[2]);
  CHECK_EQUAL(status, 7 << 8);
  // What the threads left.
  int left = 0;
  pid_t child;
  while ((child = waitpid(-1, &status, 0)) != -1) {
    CHECK(child != own[2] && child != own[3]);
    CHECK_EQUAL(status, 0);
    left++;
  }
  CHECK_EQUAL(errno, ECHILD);
  // A thread may have been killed between its wait and its count.
  CHECK(shared->births >= shared->waits + left && shared->births <= shared->waits + left + 2);
  // One that goes on as any other.
  child = fork();
  CHECK(child >= 0);
  if (child == 0) _exit(getppid() == own[0] ? 0 : 1);
  reap_ok(child);
  return 0;
}

int main(int argc, char **argv) {
  if (argc > 1) {
    // The page that all share has a descriptor of this number.
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 100, 0);
    CHECK(shared != MAP_FAILED);
    return after(argv[1]);
  }
  CHECK(readlink("/proc/self/exe", path, sizeof path - 1) > 0);
  FILE *file = tmpfile();
  CHECK(file != NULL);
  CHECK(ftruncate(fileno(file), 4096) == 0);
  CHECK_EQUAL(dup2(fileno(file), 100), 100);
  shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 100, 0);
  CHECK(shared != MAP_FAILED);
  for (int round = 0; round < rounds; round++) {
    memset((void *)shared, 0, sizeof *shared);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) before(round);
    reap_ok(child);
    CHECK(kill(child, 0) == -1 && errno == ESRCH);
  }
  CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
  return 0;
}
