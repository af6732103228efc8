// Processes that are killed at any moment of any call: what their parent sees afterwards is exact, and nobody is left.
#include "check.h"
#include <sys/mman.h>
#include <sys/time.h>

#ifndef PR_SET_CHILD_SUBREAPER
#define PR_SET_CHILD_SUBREAPER 36
#endif

enum { at_most_ms = 1000, at_least = 200 };

static char path[4096];
static pid_t self;
static int hold[2];
// The child whose group changes, by its own account.
static volatile pid_t *member;

static void bear(int with_wait) {
  pid_t child = fork();
  if (child == 0) _exit(0);
  if (child > 0 && with_wait) waitpid(child, NULL, 0);
}

static void births(void) {
  for (;;) bear(1);
}
static void births_without_waits(void) {
  for (int i = 0; i < 10; i++) bear(0);
  for (;;) pause();
}
static void births_in_own_memory(void) {
  for (;;) {
    pid_t child = vfork();
    if (child == 0) _exit(0);
    waitpid(child, NULL, 0);
  }
}
static void blocking_wait(void) {
  pid_t child = fork();
  if (child == 0)
    for (;;) pause();
  waitpid(child, NULL, 0);
}
static void waits(void) {
  for (;;) {
    siginfo_t info;
    bear(0);
    while (waitid(P_ALL, 0, &info, WEXITED) == 0) {
    }
  }
}
static void groups(void) {
  pid_t child = fork();
  if (child == 0) {
    *member = getpid();
    for (;;) pause();
  }
  while (*member == 0) sched_yield();
  for (;;) {
    setpgid(child, child);
    setpgid(child, getpgrp());
  }
}
static void sessions(void) {
  for (;;) {
    pid_t child = fork();
    if (child == 0) {
      setsid();
      raise(SIGKILL);
    }
    waitpid(child, NULL, 0);
  }
}
static void signals(void) {
  pid_t child = fork();
  if (child == 0) {
    signal(SIGUSR1, SIG_IGN);
    for (;;) pause();
  }
  signal(SIGUSR1, SIG_IGN);
  union sigval value = {.sival_int = 1};
  for (;;) {
    kill(child, SIGUSR1);
    sigqueue(getpid(), SIGUSR1, value);
    syscall(SYS_tgkill, getpid(), thread_id(), SIGUSR1);
    kill(0, SIGUSR1);
  }
}
static void signal_waits(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, NULL);
  for (;;) {
    struct timespec soon = {0, 50000};
    sigtimedwait(&set, NULL, &soon);
    kill(getpid(), SIGUSR1);
  }
}
static void programs(void) {
  for (;;) {
    pid_t child = fork();
    if (child == 0) {
      execl("/bin/true", "true", NULL);
      _exit(1);
    }
    waitpid(child, NULL, 0);
  }
}
static void execs(void) {
  execl(path, path, "again", NULL);
}
static void questions(void) {
  for (;;) {
    getppid();
    getpgid(0);
    syscall(SYS_getpid);
    kill(self, 0);
  }
}
static void *nothing(void *unused) { return unused; }
static void threads(void) {
  for (;;) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, nothing, NULL) == 0) pthread_join(thread, NULL);
  }
}
static void *births_of_thread(void *unused) {
  births();
  return unused;
}
static void births_of_threads(void) {
  pthread_t thread;
  pthread_create(&thread, NULL, births_of_thread, NULL);
  births();
}

static void (*const kinds[])(void) = {
    births,  births_without_waits, births_in_own_memory, blocking_wait, waits,     groups,  sessions,
    signals, signal_waits,         programs,             execs,         questions, threads, births_of_threads,
};
enum { kind_count = sizeof kinds / sizeof *kinds };

static int64_t now_ms(void) {
  struct timespec t;
  CHECK(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
  return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

// Kills a process at some moment, and adopts and ends whom it leaves behind.
static void kill_one(int kind, unsigned delay_us) {
  *member = 0;
  CHECK(pipe(hold) == 0);
  pid_t victim = fork();
  CHECK(victim >= 0);
  if (victim == 0) {
    char byte;
    close(hold[1]);
    CHECK_EQUAL(read(hold[0], &byte, 1), 1);
    kinds[kind]();
    for (;;) pause();
  }
  CHECK(setpgid(victim, victim) == 0);
  CHECK_EQUAL(write(hold[1], "x", 1), 1);
  CHECK(close(hold[0]) == 0 && close(hold[1]) == 0);
  struct timespec delay = {0, (long)delay_us * 1000};
  nanosleep(&delay, NULL);
  CHECK(kill(victim, SIGKILL) == 0);
  int status;
  CHECK_EQUAL(waitpid(victim, &status, 0), victim);
  CHECK_EQUAL(status, SIGKILL);
  CHECK(kill(victim, 0) == -1 && errno == ESRCH);
  CHECK(waitpid(victim, NULL, WNOHANG) == -1 && errno == ECHILD);
  // Its descendants are this process's children now. They are in its group, or end by themselves, or are known.
  if (*member != 0) CHECK(kill(*member, SIGKILL) == 0);
  for (int64_t end = now_ms() + 20000;;) {
    if (kill(-victim, SIGKILL) == -1) CHECK_EQUAL(errno, ESRCH);
    pid_t child = waitpid(-1, &status, WNOHANG);
    if (child == -1) break;
    if (child > 0) {
      CHECK(kill(child, 0) == -1 && errno == ESRCH);
      continue;
    }
    // A thread that yields all the time can keep another session's from running for seconds (docs/findings.md).
    nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
    CHECK(now_ms() < end);
  }
  CHECK_EQUAL(errno, ECHILD);
  CHECK(kill(-victim, 0) == -1 && errno == ESRCH);
}

int main(int argc, char **argv) {
  (void)argv;
  self = getpid();
  CHECK(readlink("/proc/self/exe", path, sizeof path - 1) > 0);
  if (argc > 1) execs();
  CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
  member = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(member != MAP_FAILED);
  unsigned turn = 1;
  int64_t end = now_ms() + at_most_ms;
  for (int round = 0; round < at_least || now_ms() < end; round++) {
    turn = turn * 1103515245u + 12345u;
    kill_one(round % kind_count, (turn >> 16) % 1500);
  }
  // The numbers of the dead are good for others.
  for (int i = 0; i < 50; i++) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) _exit(0);
    reap_ok(child);
  }
  return 0;
}
