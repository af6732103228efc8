// Rule 1 of interposition: the first call after a birth, an exec, a signal or a stop is like every other. A call that
// nobody looked at would show another number than the rest.
#include "check.h"
#include <sys/mman.h>
#include <sys/time.h>

static pid_t self;
static volatile int handled;

static inline long raw(long number) {
  long result;
  do
    __asm__ volatile("syscall" : "=a"(result) : "a"(number) : "rcx", "r11", "memory");
  while (result == -EINTR && limited("interrupted"));
  return result;
}

// In shared memory, so that a child needs no other call to tell.
static struct told {
  volatile long process, wrong, rounds;
} *told;

static char stack[65536] __attribute__((aligned(16)));

static int in_child(void *unused) {
  (void)unused;
  told->process = raw(SYS_getpid);
  raw(SYS_exit_group);
  return 0;
}

static int in_thread(void *unused) {
  (void)unused;
  long process = raw(SYS_getpid);
  told->process = process;
  syscall(SYS_exit, 0);
  return 0;
}

static void handle(int signal) {
  (void)signal;
  if (raw(SYS_getpid) != self)
    told->wrong++;
  handled++;
}

// Stopped and continued by its parent wherever it is: in the loop, in a call, before one.
static void call_for_ever(void) {
  long own = raw(SYS_getpid);
  for (;;) {
    for (volatile int i = 0; i < 200; i++) {
    }
    if (raw(SYS_getpid) != own)
      told->wrong++;
    told->rounds++;
  }
}

int main(int count, char **words) {
  self = getpid();
  told = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(told != MAP_FAILED);
  if (count > 1) {
    // Executed by itself, by the main thread or another one.
    CHECK_EQUAL(atol(words[1]), self);
    int left = atoi(words[2]);
    if (left == 0)
      return 0;
    char number[16], rest[16];
    snprintf(number, sizeof number, "%d", self);
    snprintf(rest, sizeof rest, "%d", left - 1);
    execl("/proc/self/exe", words[0], number, rest, NULL);
    CHECK(!"executed");
  }

  for (int i = 0; i < 20; i++) {
    told->process = 0;
    pid_t child = fork();
    if (child == 0)
      in_child(NULL);
    CHECK(child > 0);
    CHECK(waitpid(child, NULL, 0) == child);
    CHECK_EQUAL(told->process, child);
    told->process = 0;
    child = clone(in_child, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
    CHECK(child > 0);
    CHECK(waitpid(child, NULL, 0) == child);
    CHECK_EQUAL(told->process, child);
  }
  told->process = 0;
  CHECK(clone(in_thread, stack + sizeof stack,
              CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM, NULL) > 0);
  for (int i = 0; told->process == 0 && i < 5000; i++)
    pause_ms(1);
  CHECK_EQUAL(told->process, self);

  // Signals that come anywhere: in the program's own code and in calls that wait.
  struct sigaction action = {.sa_handler = handle};
  CHECK(sigaction(SIGALRM, &action, NULL) == 0);
  struct itimerval timer = {{0, 2000}, {0, 2000}};
  CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
  while (handled < 20) {
    if (handled % 2)
      pause();
    else
      CHECK_EQUAL(raw(SYS_getpid), self);
  }
  timer.it_value.tv_usec = timer.it_interval.tv_usec = 0;
  CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
  CHECK_EQUAL(told->wrong, 0);

  pid_t child = fork();
  if (child == 0)
    call_for_ever();
  CHECK(child > 0);
  for (int i = 0; i < 20; i++) {
    int status = 0;
    CHECK(kill(child, SIGSTOP) == 0);
    CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
    long rounds = told->rounds;
    CHECK(kill(child, SIGCONT) == 0);
    for (int turn = 0; told->rounds < rounds + 3 && turn < 5000; turn++)
      pause_ms(1);
    CHECK(told->rounds >= rounds + 3);
  }
  CHECK(kill(child, SIGKILL) == 0);
  CHECK(waitpid(child, NULL, 0) == child);
  CHECK_EQUAL(told->wrong, 0);

  child = fork();
  if (child == 0) {
    char number[16];
    snprintf(number, sizeof number, "%d", getpid());
    execl("/proc/self/exe", words[0], number, "5", NULL);
    _exit(127);
  }
  reap_ok(child);
  return 0;
}
