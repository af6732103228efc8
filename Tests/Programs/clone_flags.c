// P16: whatever is asked about tracers, a child is the pod's: it has the name that its parent knows, whichever flags a
// sibling thread puts where the kernel would read them.
#include "check.h"

#ifndef CLONE_UNTRACED
#define CLONE_UNTRACED 0x00800000
#endif
#ifndef CLONE_PTRACE
#define CLONE_PTRACE 0x00002000
#endif

static int channel[2];

// The child says who it is, and that its own children and calls work too.
static void tell(void) {
  pid_t self = getpid();
  pid_t child = fork();
  if (child == 0)
    _exit(getppid() == self ? 0 : 1);
  int status = -1;
  if (child < 0 || waitpid(child, &status, 0) != child || status != 0 || kill(self, 0) != 0)
    self = -1;
  ssize_t written = write(channel[1], &self, sizeof self);
  _exit(written == sizeof self ? 0 : 1);
}

static void check_child(pid_t child) {
  CHECK(child > 0);
  pid_t told = 0;
  CHECK_EQUAL(read(channel[0], &told, sizeof told), sizeof told);
  CHECK_EQUAL(told, child);
  CHECK_EQUAL(kill(child, 0), 0);
  reap_ok(child);
}

static volatile int thread_done;
static pid_t thread_process, thread_own;

static int in_thread(void *unused) {
  (void)unused;
  thread_process = (pid_t)syscall(SYS_getpid);
  thread_own = thread_id();
  thread_done = 1;
  syscall(SYS_exit, 0);
  return 0;
}

static char stack[65536] __attribute__((aligned(16)));

static void thread_with(int flags) {
  thread_done = 0;
  int tid = clone(in_thread, stack + sizeof stack,
                  CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | flags,
                  NULL);
  CHECK(tid > 0);
  for (int i = 0; !thread_done && i < 5000; i++)
    pause_ms(1);
  CHECK(thread_done);
  CHECK_EQUAL(thread_process, getpid());
  CHECK_EQUAL(thread_own, tid);
  // Its stack is used again only when it is gone.
  for (int i = 0; syscall(SYS_tgkill, getpid(), tid, 0) == 0 && i < 5000; i++)
    pause_ms(1);
}

static int in_sharer(void *result) {
  *(pid_t *)result = getpid();
  _exit(0);
}

struct arguments {
  uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
};
static volatile struct arguments shared;
static volatile int flipping = 1;

static void *flip(void *unused) {
  (void)unused;
  static const uint64_t choices[] = {0, CLONE_UNTRACED, CLONE_PTRACE, CLONE_UNTRACED | CLONE_PTRACE};
  for (unsigned i = 0; flipping; i++)
    shared.flags = choices[i % 4];
  return NULL;
}

int main(void) {
  CHECK(pipe(channel) == 0);
  static const int flags[] = {0, CLONE_UNTRACED, CLONE_PTRACE, CLONE_UNTRACED | CLONE_PTRACE};
  for (int i = 0; i < 4; i++) {
    pid_t child = (pid_t)syscall(SYS_clone, flags[i] | SIGCHLD, 0, 0, 0, 0);
    if (child == 0)
      tell();
    check_child(child);

    pid_t told = 0;
    child = clone(in_sharer, stack + sizeof stack, flags[i] | CLONE_VM | CLONE_VFORK | SIGCHLD, &told);
    CHECK_EQUAL(told, child);
    reap_ok(child);
    thread_with(flags[i]);
  }

  // An exit signal that no signal has. CLONE_NEWTIME's bit is in it, but clone doesn't know that flag.
  pid_t unheard = (pid_t)syscall(SYS_clone, 0x80 | SIGCHLD, 0, 0, 0, 0);
  if (unheard == 0) _exit(7);
  int ended;
  CHECK_EQUAL(waitpid(unheard, &ended, __WALL), unheard);
  CHECK(WIFEXITED(ended) && WEXITSTATUS(ended) == 7);

  // clone3 may be refused; where it isn't, its child is like the others, whenever the flags change.
  shared.exit_signal = SIGCHLD;
  pthread_t flipper;
  CHECK(pthread_create(&flipper, NULL, flip, NULL) == 0);
  for (int i = 0; i < 50; i++) {
    pid_t child = (pid_t)syscall(435, &shared, sizeof shared);
    if (child == 0)
      tell();
    if (child == -1) {
      CHECK(errno == ENOSYS || errno == EPERM);
      continue;
    }
    check_child(child);
  }
  flipping = 0;
  pthread_join(flipper, NULL);
  return 0;
}
