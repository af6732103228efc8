// C19: handlers that interrupt waits and don't return to them, wait themselves, or make children: no child and no signal
// is lost, and what comes after behaves as if the call had never been.
#include "check.h"
#include <setjmp.h>
#include <sys/time.h>

enum { rounds = 60, per_race_ms = 250 };

static sigjmp_buf back;
static volatile sig_atomic_t jumps, is_waiting;
static pid_t self;

static void jump(int signal) {
  (void)signal;
  if (!is_waiting) return;
  is_waiting = 0;
  jumps++;
  siglongjmp(back, 1);
}

static void on(int signal, void (*handler)(int), int flags) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
  CHECK(sigaction(signal, &action, NULL) == 0);
}

static void in_us(long first, long interval) {
  struct itimerval timer = {{0, interval}, {0, first}};
  CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
}

static int64_t now_ms(void) {
  struct timespec t;
  CHECK(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
  return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static pid_t born(pid_t child) {
  CHECK(child >= 0);
  return child;
}

static pid_t sleeper(void) {
  pid_t child = born(fork());
  if (child == 0)
    for (;;) pause();
  return child;
}

// What the calls after a jump have to be: the caller is who it was, and can be a parent again.
static void check_self(void) {
  CHECK_EQUAL(syscall(SYS_getpid), self);
  CHECK_EQUAL(thread_id(), self);
  CHECK(kill(self, 0) == 0);
  pid_t child = born(fork());
  if (child == 0) _exit(getppid() == self ? 0 : 1);
  reap_ok(child);
}

static pid_t target;
static void by_wait4(void) { waitpid(target, NULL, 0); }
static void by_wait4_any(void) { waitpid(-1, NULL, 0); }
static void by_waitid(void) {
  siginfo_t info;
  waitid(P_PID, (id_t)target, &info, WEXITED | WSTOPPED);
}
static void by_sigtimedwait(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  struct timespec limit = {50, 0};
  sigtimedwait(&set, NULL, &limit);
}
static void by_sigsuspend(void) {
  sigset_t none;
  sigemptyset(&none);
  sigsuspend(&none);
}
static void by_pause(void) { pause(); }
static void by_sleep(void) {
  struct timespec limit = {50, 0};
  clock_nanosleep(CLOCK_MONOTONIC, 0, &limit, NULL);
}
static void by_process_clock(void) {
  struct timespec limit = {50, 0};
  clock_nanosleep(CLOCK_PROCESS_CPUTIME_ID, 0, &limit, NULL);
}
static void (*const calls[])(void) = {by_wait4,      by_wait4_any, by_waitid, by_sigtimedwait,
                                      by_sigsuspend, by_pause,     by_sleep,  by_process_clock};

static void out_of_each(int flags) {
  on(SIGALRM, jump, flags);
  target = sleeper();
  for (int round = 0; round < rounds; round++) {
    for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++) {
      is_waiting = 1;
      if (sigsetjmp(back, 1) == 0) {
        // More than once, should the first come before the call.
        in_us(50 + round * 37 % 900, 2000);
        for (;;) calls[i]();
      }
      in_us(0, 0);
      if (round % 20 == 0) check_self();
    }
  }
  // It is there, and is waited for once.
  CHECK(waitpid(target, NULL, WNOHANG) == 0);
  CHECK(kill(target, SIGKILL) == 0);
  int status;
  CHECK_EQUAL(waitpid(target, &status, 0), target);
  CHECK_EQUAL(status, SIGKILL);
  CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
}

// The child ends at about the time of the jump: it was waited for, or it still is to be.
static void races(int flags) {
  on(SIGALRM, jump, flags);
  int64_t end = now_ms() + per_race_ms;
  volatile unsigned turn = 1;
  for (volatile int round = 0; round < 20 || now_ms() < end; round++) {
    turn = turn * 1103515245u + 12345u;
    volatile pid_t child = born(fork());
    if (child == 0) {
      struct timespec delay = {0, (long)(turn >> 16) % 600 * 1000};
      nanosleep(&delay, NULL);
      _exit(3);
    }
    volatile pid_t reaped = 0;
    is_waiting = 1;
    if (sigsetjmp(back, 1) == 0) {
      in_us(100 + (turn >> 8) % 600, 2000);
      if (round % 2) {
        siginfo_t info = {0};
        if (waitid(P_PID, (id_t)child, &info, WEXITED) == 0) {
          is_waiting = 0;
          CHECK_EQUAL(info.si_status, 3);
          reaped = info.si_pid;
        }
      } else {
        int value = -1;
        pid_t result = waitpid(child, &value, 0);
        is_waiting = 0;
        if (result > 0) {
          reaped = result;
          CHECK_EQUAL(value, 3 << 8);
        }
      }
      is_waiting = 0;
    }
    in_us(0, 0);
    if (reaped == 0) {
      int value = -1;
      pid_t result = waitpid(child, &value, 0);
      CHECK(result == child || (result == -1 && errno == ECHILD));
      if (result == child) CHECK_EQUAL(value, 3 << 8);
    } else {
      CHECK_EQUAL(reaped, child);
    }
    CHECK(kill(child, 0) == -1 && errno == ESRCH);
    CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
  }
}

// A handler that makes a child and waits for it, while the call that it interrupts waits for another.
static volatile sig_atomic_t births;
static void bear(int signal) {
  (void)signal;
  int error = errno;
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) _exit(getppid() == self ? 4 : 1);
  int status;
  CHECK_EQUAL(waitpid(child, &status, 0), child);
  CHECK_EQUAL(status, 4 << 8);
  births++;
  errno = error;
}

static void births_in_handlers(int flags) {
  on(SIGALRM, bear, flags);
  births = 0;
  for (int round = 0; round < 4; round++) {
    pid_t child = born(fork());
    if (child == 0) {
      pause_ms(30);
      _exit(6);
    }
    in_us(500, 3000);
    int status;
    pid_t reaped;
    while ((reaped = waitpid(child, &status, 0)) == -1) {
      CHECK_EQUAL(errno, EINTR);
      CHECK(!(flags & SA_RESTART));
    }
    in_us(0, 0);
    CHECK_EQUAL(reaped, child);
    CHECK_EQUAL(status, 6 << 8);
  }
  CHECK(births > 0);
  CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
}

// A handler within a handler within a wait: each waits for its own child, and the innermost jumps out of all.
static pid_t nested[4];
static volatile int depth;
static void nest(int signal) {
  (void)signal;
  if (depth == 3) {
    depth = 0;
    siglongjmp(back, 1);
  }
  depth++;
  nested[depth] = sleeper();
  in_us(1000, 0);
  waitpid(nested[depth], NULL, 0);
  CHECK(!"the child has ended");
}

static void out_of_nested(void) {
  on(SIGALRM, nest, SA_NODEFER | SA_RESTART);
  for (volatile int round = 0; round < 15; round++) {
    nested[0] = sleeper();
    if (sigsetjmp(back, 1) == 0) {
      in_us(1000, 0);
      waitpid(nested[0], NULL, 0);
      CHECK(!"the child has ended");
    }
    for (int i = 0; i < 4; i++) {
      CHECK(kill(nested[i], SIGKILL) == 0);
      int status;
      CHECK_EQUAL(waitpid(nested[i], &status, 0), nested[i]);
      CHECK_EQUAL(status, SIGKILL);
    }
    CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
  }
}

// As shells and servers do: all that ended are reaped in the handler, while the program waits for one of them, or for
// nobody in particular.
static volatile sig_atomic_t reaped_by_handler;
static void reap_all(int signal) {
  (void)signal;
  int error = errno;
  while (waitpid(-1, NULL, WNOHANG) > 0) reaped_by_handler++;
  errno = error;
}

static void reaping_handlers(void) {
  on(SIGCHLD, reap_all, SA_RESTART);
  for (int round = 0; round < 15; round++) {
    int by_program = 0;
    reaped_by_handler = 0;
    pid_t children[8];
    for (int i = 0; i < 8; i++) {
      children[i] = born(fork());
      if (children[i] == 0) {
        pause_ms(i % 3);
        _exit(0);
      }
    }
    if (waitpid(children[round % 8], NULL, 0) > 0) by_program++;
    while (waitpid(-1, NULL, 0) > 0) by_program++;
    CHECK_EQUAL(errno, ECHILD);
    CHECK_EQUAL(by_program + reaped_by_handler, 8);
  }
  on(SIGCHLD, SIG_DFL, 0);
}

int main(void) {
  self = getpid();
  for (int restart = 0; restart < 2; restart++) {
    int flags = restart ? SA_RESTART : 0;
    out_of_each(flags);
    races(flags);
    births_in_handlers(flags);
  }
  out_of_nested();
  reaping_handlers();
  CHECK(jumps >= 2 * rounds * (int)(sizeof calls / sizeof *calls));
  check_self();
  CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
  return 0;
}
