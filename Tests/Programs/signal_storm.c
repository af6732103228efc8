// S1, S2, S5: signals at a high rate during every call in which names cross: nothing is done twice or not at all, each
// queued signal arrives once, and EINTR comes only where signal(7) allows it.
#include "check.h"
#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>

enum { per_mode_ms = 250, most_queued = 1 << 16 };
#define QUEUED (SIGRTMIN + 1)
#define AWAITED (SIGRTMIN + 2)
#define FOR_CHILD (SIGRTMIN + 3)

static struct {
  volatile int stop, sent;
} *shared;
static pid_t self, sender;
static int restarts, on_own_stack;
static char own_stack[65536] __attribute__((aligned(16)));
static __thread int is_main;
static volatile int alarms, plain, queued, is_storming;
static unsigned char seen[most_queued];

// How many µs lie between signals at least. Where a handler takes longer than that, nothing else would ever be done.
static int pace = 50;

static void arm(void) {
  static unsigned turn;
  turn = turn * 1103515245u + 12345u;
  struct itimerval soon = {{0, 0}, {0, pace + (turn >> 16) % (8 * (unsigned)pace)}};
  setitimer(ITIMER_REAL, &soon, NULL);
}

static void handle(int signal, siginfo_t *info, void *context) {
  (void)context;
  int error = errno;
  char here;
  if (is_main) CHECK_EQUAL(&here >= own_stack && &here < own_stack + sizeof own_stack, on_own_stack);
  if (signal == SIGALRM) {
    alarms++;
    if (is_storming) arm();
  } else {
    CHECK_EQUAL(info->si_pid, sender);
    if (signal == SIGUSR1) {
      CHECK_EQUAL(info->si_code, SI_USER);
      plain++;
    } else {
      int number = info->si_value.sival_int;
      CHECK(number >= 0 && number < most_queued);
      CHECK_EQUAL(__atomic_fetch_add(&seen[number], 1, __ATOMIC_SEQ_CST), 0);
      __atomic_fetch_add(&queued, 1, __ATOMIC_SEQ_CST);
    }
  }
  errno = error;
}

static void handle_plain(int signal) { handle(signal, NULL, NULL); }

static void send_signals(void) {
  pid_t parent = getppid();
  while (!shared->stop && getppid() == parent) {
    CHECK(kill(parent, SIGUSR1) == 0);
    union sigval value = {.sival_int = shared->sent};
    if (shared->sent < most_queued && sigqueue(parent, QUEUED, value) == 0) shared->sent++;
    struct timespec pause = {0, 3000L * pace};
    nanosleep(&pause, NULL);
  }
  _exit(0);
}

// A call that signal(7) lets fail only if the handler doesn't ask for restarts.
static void may_be_interrupted(void) {
  CHECK_EQUAL(errno, EINTR);
  CHECK(!restarts);
}

// The result of a call that signal(7) never lets fail so.
#define STEADY(call)                                                                            \
  ({                                                                                            \
    errno = 0;                                                                                  \
    (call);                                                                                     \
  })
// The same where nobody can tell which call it was: its number was put into eax far before its instruction.
#define STEADY_BY_NUMBER(call) AGAIN_IF(!restarts, call)

// sigqueue, which asks for its caller's number itself.
static int queue(pid_t process, int signal, union sigval value) {
  siginfo_t info;
  memset(&info, 0, sizeof info);
  info.si_signo = signal;
  info.si_code = SI_QUEUE;
  info.si_pid = (pid_t)STEADY_BY_NUMBER(syscall(SYS_getpid));
  info.si_uid = getuid();
  info.si_value = value;
  return (int)STEADY_BY_NUMBER(syscall(SYS_rt_sigqueueinfo, process, signal, &info));
}

static int reap(pid_t child) {
  int status = -1;
  pid_t reaped;
  while ((reaped = waitpid(child, &status, 0)) == -1) may_be_interrupted();
  CHECK_EQUAL(reaped, child);
  return status;
}

static pid_t born(pid_t child) {
  CHECK(child >= 0);
  return child;
}

static void names(void) {
  for (int i = 0; i < 20; i++) {
    CHECK_EQUAL(STEADY_BY_NUMBER(syscall(SYS_getpid)), self);
    CHECK_EQUAL(STEADY_BY_NUMBER(thread_id()), self);
    CHECK(STEADY_BY_NUMBER(syscall(SYS_getppid)) > 0);
    CHECK_EQUAL(STEADY(getpgid(self)), STEADY_BY_NUMBER(syscall(SYS_getpgrp)));
    CHECK_EQUAL(STEADY(getsid(self)), STEADY(getsid(0)));
    CHECK(STEADY(kill(self, 0)) == 0);
    CHECK(STEADY_BY_NUMBER(syscall(SYS_tgkill, self, self, 0)) == 0);
    CHECK(STEADY(kill(0x3FFFFFFF, 0)) == -1 && errno == ESRCH);
    cpu_set_t set;
    CHECK(STEADY_BY_NUMBER(sched_getaffinity(self, sizeof set, &set)) == 0);
    CHECK(STEADY(getpriority(PRIO_PROCESS, (id_t)self)) != -1 || errno == 0);
    struct rlimit limit;
    CHECK(STEADY_BY_NUMBER(syscall(SYS_prlimit64, self, RLIMIT_CORE, NULL, &limit)) == 0);
    int ends[2];
    CHECK(pipe(ends) == 0);
    CHECK(STEADY_BY_NUMBER(fcntl(ends[0], F_SETOWN, self)) == 0);
    CHECK_EQUAL(STEADY_BY_NUMBER(fcntl(ends[0], F_GETOWN)), self);
    CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
    int handle = (int)STEADY_BY_NUMBER(syscall(434 /* pidfd_open */, self, 0));
    if (handle >= 0) CHECK(close(handle) == 0);
  }
}

static void births(void) {
  for (int i = 1; i <= 5; i++) {
    pid_t child = born(STEADY(fork()));
    if (child == 0) _exit(getppid() == self ? i : 100);
    CHECK_EQUAL(reap(child), i << 8);
    CHECK(STEADY(kill(child, 0)) == -1 && errno == ESRCH);
  }
  // One that begins a session, under signals of its own.
  pid_t child = born(STEADY(fork()));
  if (child == 0) {
    arm();
    pid_t own = (pid_t)STEADY_BY_NUMBER(syscall(SYS_getpid));
    CHECK_EQUAL(STEADY(setsid()), own);
    CHECK(STEADY(setsid()) == -1 && errno == EPERM);
    CHECK_EQUAL(STEADY(getsid(0)), own);
    for (int i = 0; i < 20; i++) {
      CHECK_EQUAL(STEADY_BY_NUMBER(syscall(SYS_getppid)), self);
      CHECK_EQUAL(STEADY_BY_NUMBER(syscall(SYS_getpgrp)), own);
    }
    pid_t grandchild = born(STEADY(fork()));
    if (grandchild == 0) _exit(9);
    CHECK_EQUAL(reap(grandchild), 9 << 8);
    _exit(2);
  }
  CHECK_EQUAL(reap(child), 2 << 8);
}

static void groups_and_signals(void) {
  pid_t child = born(STEADY(fork()));
  if (child == 0) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, FOR_CHILD);
    for (int i = 0; i < 3; i++) {
      siginfo_t info;
      CHECK_EQUAL(sigwaitinfo(&set, &info), FOR_CHILD);
      CHECK_EQUAL(info.si_value.sival_int, i);
      CHECK_EQUAL(info.si_pid, self);
    }
    // No fourth one.
    struct timespec none = {0, 0};
    CHECK(sigtimedwait(&set, NULL, &none) == -1 && errno == EAGAIN);
    for (;;) pause();
  }
  CHECK(STEADY(setpgid(child, child)) == 0);
  CHECK_EQUAL(STEADY(getpgid(child)), child);
  for (int i = 0; i < 3; i++) {
    union sigval value = {.sival_int = i};
    CHECK(queue(child, FOR_CHILD, value) == 0);
  }
  CHECK(STEADY(kill(-child, 0)) == 0);
  CHECK(STEADY(kill(child, SIGSTOP)) == 0);
  int status;
  pid_t changed;
  while ((changed = waitpid(child, &status, WUNTRACED)) == -1) may_be_interrupted();
  CHECK_EQUAL(changed, child);
  CHECK(WIFSTOPPED(status));
  CHECK(STEADY(kill(child, SIGCONT)) == 0);
  while ((changed = waitpid(child, &status, WCONTINUED)) == -1) may_be_interrupted();
  CHECK_EQUAL(changed, child);
  CHECK(WIFCONTINUED(status));
  CHECK(STEADY(kill(-child, SIGKILL)) == 0);
  CHECK_EQUAL(reap(child) & 0x7F, SIGKILL);
  CHECK(STEADY(kill(-child, 0)) == -1 && errno == ESRCH);
}

static void programs(void) {
  pid_t child = STEADY(vfork());
  if (child == 0) {
    execl("/bin/true", "true", NULL);
    _exit(1);
  }
  CHECK(child > 0);
  siginfo_t info = {0};
  while (waitid(P_PID, (id_t)child, &info, WEXITED) == -1) may_be_interrupted();
  CHECK_EQUAL(info.si_pid, child);
  CHECK_EQUAL(info.si_code, CLD_EXITED);
  CHECK_EQUAL(info.si_status, 0);
  char *arguments[] = {"sh", "-c", "exit 5", NULL}, *environment[] = {NULL};
  CHECK_EQUAL(posix_spawn(&child, "/bin/sh", NULL, NULL, arguments, environment), 0);
  CHECK_EQUAL(reap(child), 5 << 8);
  CHECK_EQUAL(posix_spawn(&child, "/nonexistent/program", NULL, NULL, arguments, environment), ENOENT);
}

// Never restarted, whatever the handler asks for.
static void timed_waits(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, AWAITED);
  for (int i = 0; i < 5; i++) {
    union sigval value = {.sival_int = i};
    CHECK(queue(self, AWAITED, value) == 0);
    siginfo_t info;
    struct timespec limit = {20, 0};
    int signal;
    while ((signal = sigtimedwait(&set, &info, &limit)) == -1) CHECK_EQUAL(errno, EINTR);
    CHECK_EQUAL(signal, AWAITED);
    CHECK_EQUAL(info.si_value.sival_int, i);
    CHECK_EQUAL(info.si_pid, self);
    struct timespec none = {0, 0};
    while ((signal = sigtimedwait(&set, &info, &none)) == -1 && errno == EINTR) {
    }
    CHECK(signal == -1 && errno == EAGAIN);
  }
}

static void *give_own_name(void *name) {
  *(pid_t *)name = STEADY_BY_NUMBER(thread_id());
  return name;
}

static volatile int is_spinning;
static void *spin(void *unused) {
  while (is_spinning) {
  }
  return unused;
}

static void threads(void) {
  for (int i = 0; i < 5; i++) {
    pid_t name = 0;
    pthread_t thread;
    CHECK_EQUAL(pthread_create(&thread, NULL, give_own_name, &name), 0);
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
    CHECK(name > 0 && name != self);
  }
  pthread_t thread;
  is_spinning = 1;
  CHECK_EQUAL(pthread_create(&thread, NULL, spin, NULL), 0);
  struct timespec left = {0, 1000000};
  int error;
  while ((error = clock_nanosleep(CLOCK_PROCESS_CPUTIME_ID, 0, &left, &left)) != 0) {
    CHECK_EQUAL(error, EINTR);
    CHECK(left.tv_sec == 0 && left.tv_nsec <= 1000000);
  }
  is_spinning = 0;
  CHECK_EQUAL(pthread_join(thread, NULL), 0);
}

static void install(int signal, int has_info) {
  struct sigaction action = {.sa_flags = (restarts ? SA_RESTART : 0) | (on_own_stack ? SA_ONSTACK : 0)};
  if (has_info) {
    action.sa_sigaction = handle;
    action.sa_flags |= SA_SIGINFO;
  } else {
    action.sa_handler = handle_plain;
  }
  // One at a time: all of them on one small stack would be a test of its own.
  sigfillset(&action.sa_mask);
  CHECK(sigaction(signal, &action, NULL) == 0);
}

static int64_t now_ms(void) {
  struct timespec t;
  CHECK(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
  return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

// Finds out what a handler takes here, now.
static void measure(void) {
  enum { times = 50 };
  install(SIGALRM, 0);
  struct timespec begin, end;
  CHECK(clock_gettime(CLOCK_MONOTONIC, &begin) == 0);
  for (int i = 0; i < times; i++) CHECK(raise(SIGALRM) == 0);
  CHECK(clock_gettime(CLOCK_MONOTONIC, &end) == 0);
  int64_t took = (end.tv_sec - begin.tv_sec) * 1000000LL + (end.tv_nsec - begin.tv_nsec) / 1000;
  pace = took / times < 25 ? 50 : (int)(2 * took / times);
  if (pace > 5000) pace = 5000;
}

static void storm(void) {
  memset(seen, 0, sizeof seen);
  shared->stop = shared->sent = 0;
  alarms = plain = queued = 0;
  install(SIGALRM, 0);
  install(SIGUSR1, 1);
  install(QUEUED, 1);
  // It waits until its name is known to the handlers.
  int ready[2];
  CHECK(pipe(ready) == 0);
  sender = born(fork());
  if (sender == 0) {
    char byte;
    close(ready[1]);
    CHECK_EQUAL(read(ready[0], &byte, 1), 0);
    send_signals();
  }
  CHECK(close(ready[0]) == 0 && close(ready[1]) == 0);
  is_storming = 1;
  arm();
  int64_t end = now_ms() + per_mode_ms;
  for (int turn = 0; turn < 2 || now_ms() < end; turn++) {
    names();
    births();
    groups_and_signals();
    programs();
    timed_waits();
    threads();
  }
  is_storming = 0;
  struct itimerval never = {{0, 0}, {0, 0}};
  CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
  shared->stop = 1;
  CHECK_EQUAL(reap(sender), 0);
  CHECK_EQUAL(queued, shared->sent);
  CHECK(alarms > 20 && plain > 20 && queued > 20);
  CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
}

int main(void) {
  is_main = 1;
  self = getpid();
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(shared != MAP_FAILED);
  stack_t stack = {.ss_sp = own_stack, .ss_size = sizeof own_stack};
  CHECK(sigaltstack(&stack, NULL) == 0);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, AWAITED);
  sigaddset(&set, FOR_CHILD);
  CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
  measure();
  for (int mode = 0; mode < 4; mode++) {
    restarts = mode & 1;
    on_own_stack = mode >> 1;
    storm();
  }
  return 0;
}
