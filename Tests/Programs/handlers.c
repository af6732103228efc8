// S1, S2: what a program sets for a signal is what it reads back, in its children too; handlers see who sent a signal, whoever
// has set others meanwhile; and calls that never end with EINTR don't, whatever comes.
#include "check.h"
#include <setjmp.h>
#include <spawn.h>
#include <sys/time.h>

extern char **environ;

static volatile pid_t sender;
static volatile int seen, chained;

static void note(int signal, siginfo_t *info, void *context) {
  (void)context;
  seen = signal;
  sender = info->si_pid;
}

static void plain(int signal) { seen = signal; }

static struct sigaction former;
static void chains(int signal, siginfo_t *info, void *context) {
  chained = info->si_pid;
  former.sa_sigaction(signal, info, context);
}

static void set(int signal, void (*handler)(int, siginfo_t *, void *), int flags, struct sigaction *before) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = handler;
  action.sa_flags = flags;
  sigaddset(&action.sa_mask, SIGWINCH);
  CHECK_EQUAL(sigaction(signal, &action, before), 0);
}

static void is_set(int signal, void *handler, int flags) {
  struct sigaction found;
  memset(&found, 0xee, sizeof found);
  CHECK_EQUAL(sigaction(signal, NULL, &found), 0);
  CHECK((void *)found.sa_sigaction == handler);
  CHECK_EQUAL(found.sa_flags & (SA_SIGINFO | SA_RESTART | SA_NODEFER), flags);
  if (handler != (void *)SIG_DFL) CHECK_EQUAL(sigismember(&found.sa_mask, SIGWINCH), 1);
}

static void read_back(void) {
  static const int flags[] = {0, SA_SIGINFO, SA_RESTART, SA_SIGINFO | SA_RESTART | SA_NODEFER};
  for (int i = 0; i < 4; i++) {
    set(SIGUSR1, note, flags[i], NULL);
    is_set(SIGUSR1, note, flags[i]);
    set(SIGUSR1, chains, SA_SIGINFO, &former);
    CHECK(former.sa_sigaction == note);
    struct sigaction other;
    CHECK_EQUAL(sigaction(SIGUSR1, &former, &other), 0);
    CHECK(other.sa_sigaction == chains);
    is_set(SIGUSR1, note, flags[i]);
  }
  // One calls the other.
  set(SIGUSR1, note, SA_SIGINFO, NULL);
  set(SIGUSR1, chains, SA_SIGINFO, &former);
  sender = 0;
  CHECK_EQUAL(raise(SIGUSR1), 0);
  CHECK_EQUAL(chained, getpid());
  CHECK_EQUAL(sender, getpid());
  CHECK(signal(SIGUSR1, plain) != SIG_ERR);
  CHECK(signal(SIGUSR1, SIG_DFL) == plain);
  is_set(SIGUSR1, SIG_DFL, SA_RESTART);
  errno = 0;
  CHECK(sigaction(SIGKILL, &former, NULL) == -1 && errno == EINVAL);
  CHECK(syscall(SYS_rt_sigaction, SIGUSR1, (void *)8, NULL, 8) == -1 && errno == EFAULT);
  CHECK(syscall(SYS_rt_sigaction, SIGUSR1, NULL, (void *)8, 8) == -1 && errno == EFAULT);
}

static void children(const char *self) {
  set(SIGUSR1, note, SA_SIGINFO, NULL);
  set(SIGUSR2, note, SA_SIGINFO | SA_RESTART, NULL);
  set(SIGCHLD, note, SA_SIGINFO | SA_RESTART, NULL);
  CHECK(signal(SIGHUP, SIG_IGN) != SIG_ERR);
  for (int way = 0; way < 3; way++) {
    sender = 0;
    pid_t child;
    char *vector[] = {(char *)self, "reset", NULL};
    if (way == 0) {
      posix_spawnattr_t how;
      sigset_t some;
      sigemptyset(&some);
      sigaddset(&some, SIGUSR1);
      CHECK_EQUAL(posix_spawnattr_init(&how), 0);
      CHECK_EQUAL(posix_spawnattr_setsigdefault(&how, &some), 0);
      CHECK_EQUAL(posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGDEF), 0);
      CHECK_EQUAL(posix_spawn(&child, self, NULL, &how, vector, environ), 0);
    } else {
      child = way == 1 ? vfork() : fork();
      CHECK(child >= 0);
      if (child == 0) {
        // The maker's handlers stay its own.
        set(SIGUSR1, chains, SA_SIGINFO, NULL);
        signal(SIGUSR2, SIG_DFL);
        execv(self, vector);
        _exit(1);
      }
    }
    reap_ok(child);
    CHECK_EQUAL(seen, SIGCHLD);
    CHECK_EQUAL(sender, child);
    is_set(SIGUSR1, note, SA_SIGINFO);
    is_set(SIGUSR2, note, SA_SIGINFO | SA_RESTART);
    CHECK_EQUAL(raise(SIGUSR2), 0);
    CHECK_EQUAL(sender, getpid());
  }
  // So that the child's is the last one that is seen.
  signal(SIGCHLD, SIG_DFL);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    is_set(SIGUSR1, note, SA_SIGINFO);
    CHECK_EQUAL(kill(getpid(), SIGUSR1), 0);
    CHECK_EQUAL(sender, getpid());
    CHECK_EQUAL(kill(getppid(), SIGUSR1), 0);
    _exit(0);
  }
  reap_ok(child);
  CHECK_EQUAL(seen, SIGUSR1);
  CHECK_EQUAL(sender, child);
}

static volatile long ticks;
static void tick(int signal) {
  (void)signal;
  ticks++;
}

// A timer whose handler doesn't ask for restarts.
static void steady_calls(void) {
  struct sigaction action = {.sa_handler = tick};
  CHECK_EQUAL(sigaction(SIGALRM, &action, NULL), 0);
  struct itimerval often = {{0, 300}, {0, 300}}, never = {{0, 0}, {0, 0}};
  pid_t self = getpid();
  CHECK_EQUAL(setitimer(ITIMER_REAL, &often, NULL), 0);
  for (int i = 0; i < 4000; i++) {
    CHECK_EQUAL(getpid(), self);
    CHECK_EQUAL(getpgid(self), getpgid(0));
    if (i % 8 == 0) CHECK_EQUAL(kill(self, 0), 0);
  }
  CHECK_EQUAL(setitimer(ITIMER_REAL, &never, NULL), 0);
  CHECK(ticks > 0);
}

int main(int count, char **arguments) {
  if (count > 1) {
    struct sigaction found;
    CHECK(sigaction(SIGUSR1, NULL, &found) == 0 && found.sa_handler == SIG_DFL);
    CHECK(sigaction(SIGUSR2, NULL, &found) == 0 && found.sa_handler == SIG_DFL);
    CHECK(sigaction(SIGHUP, NULL, &found) == 0 && found.sa_handler == SIG_IGN);
    return 0;
  }
  read_back();
  children(arguments[0]);
  steady_calls();
  return 0;
}
