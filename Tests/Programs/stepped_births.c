// Births and waits that are cut off at every instruction that a program can be cut off at: by a handler that makes a child of
// its own, by one that leaves by a long jump, by a death. Afterwards everybody is known who is there, and nobody else.
//
// The program steps by the processor's trap flag, so that it goes through whatever code its calls are made by.
#include "check.h"
#include <linux/sched.h>
#include <sched.h>
#include <setjmp.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <ucontext.h>

enum action { nothing, a_child, a_jump, a_death };
static volatile int steps, target, jumped;
static volatile enum action action;
static volatile pid_t maker;
static volatile uintptr_t makers_stack;
static sigjmp_buf out;
static char *other_stack;
enum { stack_size = 65536 };

static int is_on_other_stack(uintptr_t address) {
  return address >= (uintptr_t)other_stack && address <= (uintptr_t)other_stack + stack_size;
}

static void step(int signal, siginfo_t *info, void *context) {
  (void)signal;
  (void)info;
  ucontext_t *seen = context;
  int error = errno;
  if (++steps == target) {
    switch (action) {
    case nothing: break;
    case a_child: {
      pid_t child = fork();
      if (child == 0) _exit(7);
      CHECK(child > 0);
      int status;
      CHECK_EQUAL(waitpid(child, &status, 0), child);
      CHECK_EQUAL(status, 7 << 8);
      break;
    }
    case a_jump:
      if (is_on_other_stack((uintptr_t)seen->uc_mcontext.gregs[REG_RSP])) break;
      jumped = 1;
      siglongjmp(out, 1);
    case a_death: __asm__ volatile("ud2");
    }
  }
  errno = error;
}

#define STEP_ON "pushfq\n orq $0x100, (%%rsp)\n popfq\n"
#define STEP_OFF "pushfq\n andq $~0x100, (%%rsp)\n popfq\n"

// A call, stepped through. The red zone is left alone.
static long stepped(long number, long a, long b, long c, long d, long e) {
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  __asm__ volatile("lea -128(%%rsp), %%rsp\n" STEP_ON "syscall\n" STEP_OFF "lea 128(%%rsp), %%rsp\n"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                   : "rcx", "r11", "memory", "cc");
  return result;
}

// The same for who is made with a stack of its own, or shares its maker's: it ends at once.
static long stepped_birth(long number, long flags, long stack) {
  long result;
  register long r10 __asm__("r10") = 0;
  register long r8 __asm__("r8") = 0;
  long end = flags & CLONE_THREAD ? SYS_exit : SYS_exit_group;
  __asm__ volatile("mov %[end], %%r12\n lea -128(%%rsp), %%rsp\n" STEP_ON
                   "syscall\n" STEP_OFF
                   "test %%rax, %%rax\n jnz 1f\n"
                   "mov %%r12, %%rax\n mov $3, %%edi\n syscall\n ud2\n"
                   "1: lea 128(%%rsp), %%rsp\n"
                   : "=a"(result)
                   : "a"(number), "D"(flags), "S"(stack), "d"(0), "r"(r10), "r"(r8), [end] "r"(end)
                   : "rcx", "r11", "r12", "memory", "cc");
  return result;
}

static void reap(pid_t child, int expected) {
  int status;
  CHECK_EQUAL(waitpid(child, &status, __WALL), child);
  // It may have been cut off itself.
  if (action == a_death || (action == a_jump && status == 5 << 8)) return;
  CHECK_EQUAL(status, expected);
}

static void a_fork(void) {
  pid_t self = getpid();
  long child = stepped(SYS_fork, 0, 0, 0, 0, 0);
  if (child == 0) {
    CHECK(getpid() != self);
    if (action != a_death) CHECK_EQUAL(getppid(), self);
    _exit(3);
  }
  CHECK(child > 0);
  reap((pid_t)child, 3 << 8);
}
static void a_clone_with_words(void) {
  int words[2] = {0};
  long child = stepped(
      SYS_clone, SIGCHLD | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID, 0, (long)&words[0], (long)&words[1], 0);
  if (child == 0) {
    CHECK_EQUAL(words[1], getpid());
    _exit(3);
  }
  CHECK(child > 0);
  CHECK_EQUAL(words[0], child);
  reap((pid_t)child, 3 << 8);
}
static void a_vfork(void) { reap((pid_t)stepped_birth(SYS_vfork, 0, 0), 3 << 8); }
static void a_spawn(void) {
  reap((pid_t)stepped_birth(SYS_clone, SIGCHLD | CLONE_VM | CLONE_VFORK, (long)other_stack + stack_size), 3 << 8);
}
// On its maker's stack, so near that no code of anybody's fits between them.
static void a_spawn_nearby(void) {
  long near = ((long)__builtin_frame_address(0) - 700) & -16;
  reap((pid_t)stepped_birth(SYS_clone, SIGCHLD | CLONE_VM | CLONE_VFORK, near), 3 << 8);
}
static void a_process_on_a_stack(void) {
  reap((pid_t)stepped_birth(SYS_clone, SIGCHLD | CLONE_VM, (long)other_stack + stack_size), 3 << 8);
}
static void a_thread(void) {
  long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
  long thread = stepped_birth(SYS_clone, flags, (long)other_stack + stack_size);
  CHECK(thread > 0);
  // Until it is gone: the next one gets its stack.
  while (syscall(SYS_tgkill, getpid(), thread, 0) == 0) sched_yield();
}
static void a_wait(void) {
  pid_t child = fork();
  if (child == 0) _exit(4);
  CHECK(child > 0);
  int status;
  CHECK_EQUAL(stepped(SYS_wait4, child, (long)&status, 0, 0, 0), child);
  CHECK_EQUAL(status, 4 << 8);
}
static void a_wait_for_any(void) {
  pid_t child = fork();
  if (child == 0) _exit(4);
  CHECK(child > 0);
  siginfo_t end = {0};
  CHECK_EQUAL(stepped(SYS_waitid, P_ALL, 0, (long)&end, WEXITED, 0), 0);
  CHECK_EQUAL(end.si_pid, child);
  CHECK_EQUAL(end.si_status, 4);
}

static const struct {
  void (*run)(void);
  int may_jump, may_make_child;
} kinds[] = {
    {a_fork, 1, 1}, {a_clone_with_words, 1, 1}, {a_vfork, 0, 1}, {a_spawn, 1, 1}, {a_process_on_a_stack, 1, 1},
    {a_thread, 1, 1}, {a_wait, 1, 1}, {a_wait_for_any, 1, 0}, {a_spawn_nearby, 0, 1},
};
enum { kind_count = sizeof kinds / sizeof *kinds };

// Runs a kind in a process of its own, cut off at a step.
//
// Returns whether it was.
static int run(int kind, enum action what, int at) {
  int *result = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    other_stack = mmap(NULL, stack_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    maker = getpid();
    struct sigaction trap = {.sa_sigaction = step, .sa_flags = SA_SIGINFO | SA_NODEFER};
    CHECK(sigaction(SIGTRAP, &trap, NULL) == 0);
    steps = 0;
    target = at;
    action = what;
    if (sigsetjmp(out, 1) == 0) kinds[kind].run();
    // Whom it has made may have jumped here, too.
    if (getpid() != maker) _exit(5);
    // Who was left behind by the jump.
    while (waitpid(-1, NULL, __WALL) > 0) {}
    CHECK_EQUAL(errno, ECHILD);
    target = 0;
    *result = steps;
    kinds[kind].run();
    _exit(jumped ? 8 : 9);
  }
  int status;
  CHECK_EQUAL(waitpid(child, &status, 0), child);
  if (what != a_death) {
    if (!WIFEXITED(status) || WEXITSTATUS(status) < 8)
      fprintf(stderr, "kind %d, action %d, at step %d: status %#x\n", kind, what, at, status);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 8 || WEXITSTATUS(status) == 9);
  }
  // Orphans end by themselves.
  while (waitpid(-1, NULL, 0) > 0) {}
  CHECK_EQUAL(errno, ECHILD);
  CHECK(kill(child, 0) == -1 && errno == ESRCH);
  int was_cut_off = WIFSIGNALED(status) || *result >= at;
  munmap(result, 4096);
  return was_cut_off;
}

// Nobody is there but this process, as each question says.
static void nobody_else(int highest) {
  CHECK(kill(-1, 0) == -1 && errno == ESRCH);
  for (int name = 3; name <= highest; name++) {
    if (name == getpid()) continue;
    CHECK(getpgid(name) == -1 && errno == ESRCH);
  }
}

// `stepped_births STRIDE [KIND [REPORT]]`: cut off at each STRIDEth step.
int main(int argc, char **argv) {
  int stride = argc > 1 ? atoi(argv[1]) : 1;
  int first = argc > 2 ? atoi(argv[2]) : 0, last = argc > 2 ? first : kind_count - 1;
  CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  struct rlimit none = {0, 0};
  CHECK(setrlimit(RLIMIT_CORE, &none) == 0);
  int rounds = 0;
  for (int kind = first; kind <= last; kind++) {
    for (enum action what = a_child; what <= a_death; what++) {
      if (what == a_jump && !kinds[kind].may_jump) continue;
      if (what == a_child && !kinds[kind].may_make_child) continue;
      // Each run of a test tries other steps.
      int at = 1 + (int)(time(NULL) + kind * 7 + (int)what) % stride;
      for (; run(kind, what, at); at += stride) {
        if (++rounds % 20 == 0 && getpid() == 2) nobody_else(60);
        CHECK(at < 100000);
      }
      if (argc > 3) printf("kind %d, action %d: %d steps\n", kind, what, at), fflush(stdout);
    }
  }
  return 0;
}
