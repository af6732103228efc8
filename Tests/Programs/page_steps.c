// A signal at every instruction of the pod area's code: each kind of call is made again and again by a process that is
// stepped through it, one instruction further each time, and is then sent a signal whose handler comes back, or leaves by
// siglongjmp. Registers, flags, the red zone and the result are then those of a call that nothing has disturbed.
#include "page_area.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/user.h>

enum { own_name = 2, tracer_name = 9, group_name = 5, session_name = 6 };

// What the child is to do next, and what became of it.
static struct job {
  uint64_t number, arguments[6], skew;
  uint64_t entry;
  // After the call: rdi, rsi, rdx, r10, r8, r9, rbx, rbp, r12-r15, rax, rsp before and after, the flags.
  uint64_t out[12], result, before, after, flags;
  uint64_t zone[16];
  uint64_t stack;
  int leaves;
  int handled;
} *job;

enum { job_out = offsetof(struct job, out), job_result = offsetof(struct job, result) };
_Static_assert(job_out == 72 && job_result == 168, "the assembly knows where they are");

void call_begins(void), call_ends(void), left(void);
void make_call(struct job *job);
#define ZONE(at) "  mov $0x7a6f6e65, %r11d\n  mov %r11, -" #at "(%rsp)\n"
__asm__(".text\nmake_call:\n"
        "  push %rbx\n  push %rbp\n  push %r12\n  push %r13\n  push %r14\n  push %r15\n"
        "  mov %rdi, %r11\n"
        "  mov %rsp, 328(%r11)\n"
        "  mov %r11, job_kept(%rip)\n"
        "  sub 56(%r11), %rsp\n"
        "  mov %rsp, 176(%r11)\n"
        "  mov $0x101, %ebx\n  mov $0x102, %ebp\n  mov $0x103, %r12d\n  mov $0x104, %r13d\n  mov $0x105, %r14d\n"
        "  mov $0x106, %r15d\n"
        "  mov (%r11), %rax\n"
        "  mov 8(%r11), %rdi\n  mov 16(%r11), %rsi\n  mov 24(%r11), %rdx\n"
        "  mov 32(%r11), %r10\n  mov 40(%r11), %r8\n  mov 48(%r11), %r9\n"
        "  mov 64(%r11), %rcx\n" ZONE(8) ZONE(16) ZONE(24) ZONE(32) ZONE(40) ZONE(48) ZONE(56) ZONE(64) ZONE(72) ZONE(80)
        ZONE(88) ZONE(96) ZONE(104) ZONE(112) ZONE(120) ZONE(128)
        // Carry, sign and direction.
        "  lea -128(%rsp), %rsp\n  pushq $0xc83\n  popfq\n  lea 128(%rsp), %rsp\n"
        "call_begins:\n  int3\n"
        "  lea -128(%rsp), %rsp\n"
        "  call *%rcx\n"
        "call_ends:\n  int3\n"
        "  mov job_kept(%rip), %r11\n"
        "  mov %rdi, 72(%r11)\n  mov %rsi, 80(%r11)\n  mov %rdx, 88(%r11)\n  mov %r10, 96(%r11)\n"
        "  mov %r8, 104(%r11)\n  mov %r9, 112(%r11)\n  mov %rbx, 120(%r11)\n  mov %rbp, 128(%r11)\n"
        "  mov %r12, 136(%r11)\n  mov %r13, 144(%r11)\n  mov %r14, 152(%r11)\n  mov %r15, 160(%r11)\n"
        "  mov %rax, 168(%r11)\n  mov %rsp, 184(%r11)\n"
        "  lea -128(%rsp), %rsp\n"
        "  pushfq\n  pop 192(%r11)\n"
        "  cld\n  mov %rsp, %rsi\n  lea 200(%r11), %rdi\n  mov $16, %ecx\n  rep movsq\n"
        "  mov 328(%r11), %rsp\n"
        "  pop %r15\n  pop %r14\n  pop %r13\n  pop %r12\n  pop %rbp\n  pop %rbx\n"
        "  ret\n"
        "left:\n  int3\n  ret\n");
static struct job *job_kept __attribute__((used));

static struct kernel_action given, found;
static sigjmp_buf out;

static void handler(int signal, siginfo_t *info, void *context) {
  (void)context;
  CHECK_EQUAL(signal, SIGUSR1);
  CHECK_EQUAL(info->si_pid, tracer_name);
  // What a handler does: it uses stack, and makes calls.
  volatile char stack[4096];
  memset((char *)stack, 0xcc, sizeof stack);
  CHECK_EQUAL(area_call(SYS_getpid, 0, 0, 0, 0, 0, 0), own_name);
  struct kernel_action other;
  CHECK_EQUAL(area_action(SIGUSR1, NULL, &other), 0);
  CHECK(other.handler == handler);
  job->handled++;
  if (job->leaves) siglongjmp(out, 1);
}

static void other_handler(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)context;
  CHECK_EQUAL(info->si_pid, own_name);
}

static void child(void) {
  area_handle(SIGUSR1, handler, SA_SIGINFO);
  area_handle(SIGUSR2, other_handler, SA_SIGINFO);
  given = (struct kernel_action){handler, SA_SIGINFO | 0x04000000, area_restorer(), 0};
  sigset_t mask;
  const int unused = dup(0);
  CHECK(unused >= 0 && close(unused) == 0);
  for (;;) {
    struct job *now = job;
    // The tracer writes the next one when it has seen the end of the call.
    const struct job wanted = *now;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    CHECK(!sigismember(&mask, SIGUSR1) && !sigismember(&mask, SIGUSR2));
    CHECK(fcntl(unused, F_GETFD) == -1);
    if (sigsetjmp(out, 1) == 0) {
      make_call(now);
    } else {
      left();
      // The next one is as ever.
      CHECK_EQUAL(area_call(SYS_getpid, 0, 0, 0, 0, 0, 0), own_name);
      continue;
    }
    for (int i = 0; i < 6; i++) CHECK_EQUAL(now->out[i], wanted.arguments[i]);
    for (int i = 0; i < 6; i++) CHECK_EQUAL(now->out[6 + i], 0x101 + i);
    CHECK_EQUAL(now->after, now->before);
    CHECK_EQUAL(now->flags & 0xcd5, 0xc83 & 0xcd5);
    for (int i = 0; i < 16; i++) CHECK_EQUAL(now->zone[i], 0x7a6f6e65);
    if (wanted.number == SYS_rt_sigaction && wanted.arguments[2] != 0)
      CHECK(found.handler == (wanted.arguments[0] == SIGUSR1 ? (void *)handler : (void *)other_handler));
  }
}

static pid_t traced;
static struct user_regs_struct registers;

static int wait_stop(const char *what, int step) {
  int status;
  CHECK(waitpid(traced, &status, 0) == traced);
  if (!WIFSTOPPED(status)) {
    fprintf(stderr, "%s: a signal after %d instructions: status %#x\n", what, step, status);
    _exit(1);
  }
  CHECK(ptrace(PTRACE_GETREGS, traced, 0, &registers) == 0);
  return WSTOPSIG(status);
}

// Goes on until the trap behind one of these places.
static void go_to(void (*place)(void), int signal, const char *what, int step) {
  do {
    CHECK(ptrace(PTRACE_CONT, traced, 0, signal) == 0);
    int stop = wait_stop(what, step);
    signal = stop == SIGTRAP ? 0 : stop;
    if (stop != SIGTRAP && stop != SIGUSR1 && stop != SIGUSR2) {
      fprintf(stderr, "%s: a signal after %d instructions: signal %d at %llx\n", what, step, stop, registers.rip);
      _exit(1);
    }
  } while (signal != 0 || registers.rip != (uintptr_t)place + 1);
}

// One instruction. Returns a signal that was to be delivered, and is passed on with the next step.
static int step_once(int signal, const char *what, int step) {
  unsigned char code = ptrace(PTRACE_PEEKTEXT, traced, registers.rip, 0) & 0xff;
  CHECK(ptrace(PTRACE_SINGLESTEP, traced, 0, signal) == 0);
  int stop = wait_stop(what, step);
  // `pushf` has seen that it is stepped.
  if (code == 0x9c) {
    long flags = ptrace(PTRACE_PEEKDATA, traced, registers.rsp, 0);
    CHECK(ptrace(PTRACE_POKEDATA, traced, registers.rsp, flags & ~0x100l) == 0);
  }
  return stop == SIGTRAP ? 0 : stop;
}

struct kind {
  const char *name;
  long number;
  uint64_t arguments[6];
  long result;
};

static int sweep(const struct kind *kind, int leaves, int skew) {
  int steps = 0;
  for (;; steps++) {
    job->number = kind->number;
    memcpy(job->arguments, kind->arguments, sizeof kind->arguments);
    job->entry = (uintptr_t)(area + POD_PAGE_ENTER);
    job->skew = skew;
    job->leaves = leaves;
    job->handled = 0;
    go_to(call_begins, 0, kind->name, steps);
    int signal = 0, is_over = 0;
    for (int i = 0; i < steps && !is_over; i++) {
      signal = step_once(signal, kind->name, steps);
      is_over = registers.rip == (uintptr_t)call_ends + 1;
    }
    if (is_over) break;
    // At `call_ends` itself the signal comes when the call is over.
    CHECK(syscall(SYS_tgkill, traced, traced, SIGUSR1) == 0);
    go_to(leaves ? left : call_ends, signal, kind->name, steps);
    CHECK_EQUAL(job->handled, 1);
    if (!leaves && registers.rax != (uint64_t)kind->result) {
      fprintf(stderr, "%s: a signal after %d instructions: result %lld instead of %ld\n", kind->name, steps,
              (long long)registers.rax, kind->result);
      _exit(1);
    }
  }
  return steps;
}

int main(int count, char **arguments) {
  area_make();
  CHECK_EQUAL(count, 2);
  area_read_rules(arguments[1]);
  // Who wakes each other at every instruction had better be on one CPU.
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
  job = mmap(NULL, sizeof *job, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  area_name(getpid(), tracer_name);
  area_identify(tracer_name, getpid());
  traced = fork();
  if (traced == 0) {
    CHECK(ptrace(PTRACE_TRACEME, 0, 0, 0) == 0);
    raise(SIGSTOP);
    child();
  }
  CHECK_EQUAL(wait_stop("beginning", 0), SIGSTOP);
  CHECK(ptrace(PTRACE_SETOPTIONS, traced, 0, PTRACE_O_EXITKILL) == 0);
  area_name(traced, own_name);
  struct pod_entry *entry = pod_table_entry(area_table(), pod_table_find_virtual(area_table(), own_name).slot);
  entry->links[1] = tracer_name;
  entry->links[2] = group_name;
  entry->links[3] = session_name;
  // What the page has no code of its own for goes to the kernel.
  const struct kind kinds[] = {
    {"getpid", SYS_getpid, {1, 2, 3, 4, 5, 6}, own_name},
    {"gettid", SYS_gettid, {1, 2, 3, 4, 5, 6}, own_name},
    {"getppid", SYS_getppid, {1, 2, 3, 4, 5, 6}, tracer_name},
    {"getpgrp", SYS_getpgrp, {1, 2, 3, 4, 5, 6}, group_name},
    {"getpgid", SYS_getpgid, {own_name, 2, 3, 4, 5, 6}, group_name},
    {"getsid", SYS_getsid, {0, 2, 3, 4, 5, 6}, session_name},
    {"a handler set", SYS_rt_sigaction, {SIGUSR1, (uintptr_t)&given, 0, 8, 5, 6}, 0},
    {"a handler read", SYS_rt_sigaction, {SIGUSR2, 0, (uintptr_t)&found, 8, 5, 6}, 0},
    {"a handler changed", SYS_rt_sigaction, {SIGUSR1, (uintptr_t)&given, (uintptr_t)&found, 8, 5, 6}, 0},
    {"a bad handler", SYS_rt_sigaction, {SIGUSR1, 8, 0, 8, 5, 6}, -EFAULT},
    {"a signal to a thread", SYS_tgkill, {own_name, own_name, SIGUSR2, 4, 5, 6}, 0},
    {"a signal to itself", SYS_kill, {own_name, SIGUSR2, 3, 4, 5, 6}, 0},
    {"a signal to its group", SYS_kill, {0, 0, 3, 4, 5, 6}, 0},
    {"a signal to another", SYS_kill, {tracer_name, 0, 3, 4, 5, 6}, 0},
    {"a call that it passes on", SYS_getuid, {1, 2, 3, 4, 5, 6}, getuid()},
    {"a call with six arguments", SYS_mmap, {0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 1}, -EINVAL},
  };
  for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    // Stacks are not always aligned when a call is made.
    int returns = sweep(&kinds[i], 0, i % 16), leaves = sweep(&kinds[i], 1, 0);
    printf("%s: %d instructions\n", kinds[i].name, returns);
    CHECK_EQUAL(returns, leaves);
    CHECK(returns > 20);
  }
  kill(traced, SIGKILL);
  return 0;
}
