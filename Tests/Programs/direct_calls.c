// Calls that programs make with instructions of their own: in their text, in code that they copied, made, or enter in
// the middle. The kernel changes rax, rcx and r11 and nothing else: no other register, no flag, nothing below the stack.
#include "check.h"
#include <stddef.h>
#include <sys/mman.h>

#ifndef __x86_64__
int main(void) { return 0; }
#else

enum { zone_words = 15 };
struct state {
  uint64_t rax, rdi, rsi, rdx, r10, r8, r9, rbx, rbp, r12, r13, r14, r15, flags;
  uint64_t zone[zone_words];
  unsigned char vectors[16][16] __attribute__((aligned(16)));
};

// Calls `site` with the registers and the words below the stack of `in`, and saves them to `out` when it returns.
void probe(const struct state *in, struct state *out, const void *site);
__asm__(
    ".text\n.globl probe\n.type probe,@function\nprobe:\n"
    "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "push %rsi; push %rdx\n"
    ".set i, 0\n.rept 15\n mov 112+8*i(%rdi), %rax; mov %rax, -136+8*i(%rsp)\n.set i, i+1\n.endr\n"
    "mov 104(%rdi), %rax; push %rax; popfq\n"
    // That was the place of the return address.
    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n movdqu 240+16*\\n(%rdi), %xmm\\n\n.endr\n"
    "mov 0(%rdi), %rax; mov 16(%rdi), %rsi; mov 24(%rdi), %rdx; mov 32(%rdi), %r10; mov 40(%rdi), %r8\n"
    "mov 48(%rdi), %r9; mov 56(%rdi), %rbx; mov 64(%rdi), %rbp; mov 72(%rdi), %r12; mov 80(%rdi), %r13\n"
    "mov 88(%rdi), %r14; mov 96(%rdi), %r15; mov 8(%rdi), %rdi\n"
    "call *(%rsp)\n"
    "push %rdi\n"
    "mov 16(%rsp), %rdi\n"
    "mov %rax, 0(%rdi); mov %rsi, 16(%rdi); mov %rdx, 24(%rdi); mov %r10, 32(%rdi); mov %r8, 40(%rdi)\n"
    "mov %r9, 48(%rdi); mov %rbx, 56(%rdi); mov %rbp, 64(%rdi); mov %r12, 72(%rdi); mov %r13, 80(%rdi)\n"
    "mov %r14, 88(%rdi); mov %r15, 96(%rdi)\n"
    "pop %rax; mov %rax, 8(%rdi)\n"
    ".set i, 0\n.rept 15\n mov -136+8*i(%rsp), %rax; mov %rax, 112+8*i(%rdi)\n.set i, i+1\n.endr\n"
    "pushfq; pop %rax; cld; mov %rax, 104(%rdi)\n"
    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n movdqu %xmm\\n, 240+16*\\n(%rdi)\n.endr\n"
    "pop %rdx; pop %rsi; pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
    "ret\n"
    ".globl site_in_text\nsite_in_text: syscall; ret\n"
    // Entered at its second instruction too.
    ".globl site_with_number\nsite_with_number: .byte 0xB8; .long 39; syscall; ret\n"
    // As Go's: a comparison after the call.
    ".globl site_compared\nsite_compared: syscall; pushfq; cmp $0xfffffffffffff001, %rax; popfq; ret\n");
extern const char site_in_text[], site_with_number[], site_compared[];

_Static_assert(offsetof(struct state, flags) == 104 && offsetof(struct state, zone) == 112, "as in probe");
_Static_assert(offsetof(struct state, vectors) == 240, "as in probe");

static uint64_t turn = 88172645463325252u;
static uint64_t any(void) {
  turn ^= turn << 13;
  turn ^= turn >> 7;
  turn ^= turn << 17;
  return turn;
}

static struct state in, out;

static void fill(void) {
  unsigned char *bytes = (unsigned char *)&in;
  for (size_t i = 0; i < sizeof in; i++) bytes[i] = (unsigned char)any();
  // Carry, parity, adjust, zero, sign, direction, overflow.
  in.flags = 0x202 | (any() & 0xCD5);
}

static void check_kept(const char *what) {
#define KEPT(field)                                                                        \
  if (out.field != in.field) {                                                             \
    fprintf(stderr, "%s: %s was %llx and is %llx\n", what, #field, (long long)in.field,    \
            (long long)out.field);                                                         \
    _exit(1);                                                                              \
  }
  KEPT(rdi) KEPT(rsi) KEPT(rdx) KEPT(r10) KEPT(r8) KEPT(r9) KEPT(rbx) KEPT(rbp) KEPT(r12) KEPT(r13)
  KEPT(r14) KEPT(r15) KEPT(flags)
  for (int i = 0; i < zone_words; i++) KEPT(zone[i])
  CHECK(memcmp(in.vectors, out.vectors, sizeof in.vectors) == 0);
}

static long make(const char *what, const void *site, long number, long a, long b, long c, long d, long e) {
  fill();
  in.rax = (uint64_t)number;
  in.rdi = (uint64_t)a;
  in.rsi = (uint64_t)b;
  in.rdx = (uint64_t)c;
  in.r10 = (uint64_t)d;
  in.r8 = (uint64_t)e;
  probe(&in, &out, site);
  check_kept(what);
  return (long)out.rax;
}

static const void *site;
static const char *site_name;
#define CALL(number, ...) CALL_(number, ##__VA_ARGS__, 0, 0, 0, 0, 0)
#define CALL_(number, a, b, c, d, e, ...)                                                          \
  make(site_name, site, number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e))

static char path[4096];
static pid_t self, parent;

// The calls in which names cross.
static void calls(void) {
  pid_t group = getpgrp(), session = getsid(0);
  CHECK_EQUAL(CALL(SYS_getpid), self);
  CHECK_EQUAL(CALL(SYS_gettid), self);
  CHECK_EQUAL(CALL(SYS_getppid), parent);
  CHECK_EQUAL(CALL(SYS_getpgrp), group);
  CHECK_EQUAL(CALL(SYS_getpgid, self), group);
  CHECK_EQUAL(CALL(SYS_getsid, self), session);
  CHECK_EQUAL(CALL(SYS_getpgid, 0x7FFFFFFF), -ESRCH);
  CHECK_EQUAL(CALL(SYS_kill, self, 0), 0);
  CHECK_EQUAL(CALL(SYS_kill, self, 65), -EINVAL);
  CHECK_EQUAL(CALL(SYS_kill, 0x7FFFFFFF, 0), -ESRCH);
  CHECK_EQUAL(CALL(SYS_tgkill, self, self, 0), 0);
  CHECK_EQUAL(CALL(SYS_tkill, self, 0), 0);
  CHECK_EQUAL(CALL(SYS_wait4, -1, 0, 0, 0), -ECHILD);
  CHECK_EQUAL(CALL(SYS_setpgid, 0x7FFFFFFF, 0), -ESRCH);
  uint64_t mask[128];
  CHECK(CALL(SYS_sched_getaffinity, self, sizeof mask, mask) > 0);
  CHECK_EQUAL(CALL(SYS_getpriority, 0, self), CALL(SYS_getpriority, 0, 0));
  uint64_t limits[2];
  CHECK_EQUAL(CALL(SYS_prlimit64, self, 7, 0, limits), 0);
  int ends[2];
  CHECK(pipe(ends) == 0);
  enum { set_owner = 8, get_owner = 9 };
  CHECK_EQUAL(CALL(SYS_fcntl, ends[0], set_owner, self), 0);
  CHECK_EQUAL(CALL(SYS_fcntl, ends[0], get_owner), self);
  CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
  long descriptor = CALL(434 /* pidfd_open */, self, 0);
  if (descriptor >= 0) {
    CHECK_EQUAL(CALL(424 /* pidfd_send_signal */, descriptor, 0, 0, 0), 0);
    CHECK(close((int)descriptor) == 0);
  }

  // A signal that is taken by the one that sent it.
  uint64_t set = 1u << (SIGUSR2 - 1);
  siginfo_t info = {0};
  info.si_signo = SIGUSR2;
  info.si_code = SI_QUEUE;
  info.si_pid = self;
  info.si_value.sival_int = 5;
  struct timespec soon = {5, 0};
  CHECK_EQUAL(CALL(SYS_rt_sigqueueinfo, self, SIGUSR2, &info), 0);
  siginfo_t taken = {0};
  CHECK_EQUAL(CALL(SYS_rt_sigtimedwait, &set, &taken, &soon, 8), SIGUSR2);
  CHECK_EQUAL(taken.si_pid, self);
  soon.tv_sec = 0;
  CHECK_EQUAL(CALL(SYS_rt_sigtimedwait, &set, &taken, &soon, 8), -EAGAIN);

  // Births, for both sides.
  long child = CALL(SYS_clone, SIGCHLD);
  CHECK(child >= 0);
  if (child == 0) {
    int ok = CALL(SYS_getppid) == self && CALL(SYS_getpid) != self && CALL(SYS_gettid) == CALL(SYS_getpid);
    CALL(SYS_exit_group, ok ? 3 : 1);
  }
  int status = -1;
  CHECK_EQUAL(CALL(SYS_wait4, child, &status, 0, 0), child);
  CHECK_EQUAL(status, 3 << 8);
  child = CALL(SYS_fork);
  CHECK(child >= 0);
  if (child == 0)
    for (;;) CALL(SYS_pause);
  CHECK_EQUAL(CALL(SYS_setpgid, child, child), 0);
  CHECK_EQUAL(CALL(SYS_getpgid, child), child);
  CHECK_EQUAL(CALL(SYS_kill, -child, SIGKILL), 0);
  memset(&taken, 0, sizeof taken);
  CHECK_EQUAL(CALL(SYS_waitid, P_PGID, child, &taken, WEXITED, 0), 0);
  CHECK_EQUAL(taken.si_pid, child);
  CHECK_EQUAL(taken.si_status, SIGKILL);
  CHECK_EQUAL(CALL(SYS_kill, child, 0), -ESRCH);

  // An exec that fails changes nothing; one that doesn't is the same process.
  char *nobody[] = {"nobody", NULL};
  CHECK_EQUAL(CALL(SYS_execve, "/nonexistent/program", nobody, nobody), -ENOENT);
  child = CALL(SYS_clone, SIGCHLD);
  CHECK(child >= 0);
  if (child == 0) {
    char expected[32];
    snprintf(expected, sizeof expected, "%ld:%d", CALL(SYS_getpid), self);
    char *arguments[] = {path, expected, NULL}, *environment[] = {NULL};
    CALL(SYS_execve, path, arguments, environment);
    _exit(1);
  }
  CHECK_EQUAL(CALL(SYS_wait4, child, &status, 0, 0), child);
  CHECK_EQUAL(status, 0);
}

static void at(const char *name, const void *code) {
  site_name = name;
  site = code;
  calls();
}

// A child that shares memory and stack until it ends, and makes calls meanwhile; all in registers.
static void inline_vfork(void) {
  for (int round = 0; round < 10; round++) {
    long result, child_self, child_parent;
    register long rbx_out __asm__("rbx") = 0x1122334455667788;
    register long r12_out __asm__("r12") = 0x2233445566778899;
    register long r13_out __asm__("r13") = 0;
    register long r14_out __asm__("r14") = 0;
    __asm__ volatile(
        "mov $58, %%eax\n syscall\n test %%rax, %%rax\n jnz 1f\n"
        "mov $39, %%eax\n syscall\n mov %%rax, -8(%%rsp)\n"
        "mov $110, %%eax\n syscall\n mov %%rax, -16(%%rsp)\n"
        "mov $7, %%edi\n mov $231, %%eax\n syscall\n hlt\n"
        "1: mov -8(%%rsp), %%r13\n mov -16(%%rsp), %%r14\n"
        : "=a"(result), "+r"(rbx_out), "+r"(r12_out), "+r"(r13_out), "+r"(r14_out)
        :
        : "rcx", "r11", "rdi", "memory", "cc");
    child_self = r13_out;
    child_parent = r14_out;
    CHECK(result > 0);
    CHECK_EQUAL(child_self, result);
    CHECK_EQUAL(child_parent, self);
    CHECK_EQUAL(rbx_out, 0x1122334455667788);
    CHECK_EQUAL(r12_out, 0x2233445566778899);
    int status;
    CHECK_EQUAL(waitpid((pid_t)result, &status, 0), result);
    CHECK_EQUAL(status, 7 << 8);
  }
}

// A thread without a C library: it starts at the instruction after the call, on a stack of its own.
struct thread_report {
  uint64_t rdi, rsi, rdx, r10, r8, rbx, rbp, r12, r13, r14, r15, process, thread;
  volatile int done;
};
static struct thread_report thread_report;
void thread_begin(void);
__asm__(
    ".text\n.globl thread_begin\nthread_begin:\n"
    "push %rdi; mov 8(%rsp), %rdi\n"
    "mov %rsi, 8(%rdi); mov %rdx, 16(%rdi); mov %r10, 24(%rdi); mov %r8, 32(%rdi)\n"
    "mov %rbx, 40(%rdi); mov %rbp, 48(%rdi); mov %r12, 56(%rdi); mov %r13, 64(%rdi); mov %r14, 72(%rdi)\n"
    "mov %r15, 80(%rdi); pop %rax; mov %rax, 0(%rdi); mov %rdi, %rbx\n"
    "mov $39, %eax; syscall; mov %rax, 88(%rbx); mov $186, %eax; syscall; mov %rax, 96(%rbx)\n"
    "movl $1, 104(%rbx); xor %edi, %edi; mov $60, %eax; syscall; hlt\n");
_Static_assert(offsetof(struct thread_report, done) == 104, "as in thread_begin");

static void bare_thread(void) {
  static uint64_t stack[1024] __attribute__((aligned(16)));
  stack[1000] = (uint64_t)(uintptr_t)thread_begin;
  stack[1001] = (uint64_t)(uintptr_t)&thread_report;
  thread_report.done = 0;
  enum { flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM };
  long thread = CALL(SYS_clone, flags, &stack[1000]);
  CHECK(thread > 0);
  for (int i = 0; !thread_report.done && i < 20000; i++) pause_ms(1);
  CHECK(thread_report.done);
  CHECK_EQUAL(thread_report.rdi, in.rdi);
  CHECK_EQUAL(thread_report.rsi, in.rsi);
  CHECK_EQUAL(thread_report.rdx, in.rdx);
  CHECK_EQUAL(thread_report.r10, in.r10);
  CHECK_EQUAL(thread_report.r8, in.r8);
  CHECK_EQUAL(thread_report.rbx, in.rbx);
  CHECK_EQUAL(thread_report.rbp, in.rbp);
  CHECK_EQUAL(thread_report.r12, in.r12);
  CHECK_EQUAL(thread_report.r13, in.r13);
  CHECK_EQUAL(thread_report.r14, in.r14);
  CHECK_EQUAL(thread_report.r15, in.r15);
  CHECK_EQUAL(thread_report.process, self);
  CHECK_EQUAL(thread_report.thread, thread);
  for (int i = 0; CALL(SYS_tgkill, self, thread, 0) == 0 && i < 20000; i++) pause_ms(1);
}

static unsigned char *pages(int protection) {
  void *address = mmap(NULL, 8192, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(address != MAP_FAILED);
  return address;
}

int main(int argc, char **argv) {
  self = getpid();
  parent = getppid();
  if (argc > 1) {
    char *rest;
    CHECK_EQUAL(self, strtol(argv[1], &rest, 10));
    CHECK_EQUAL(parent, strtol(rest + 1, NULL, 10));
    return 0;
  }
  CHECK(readlink("/proc/self/exe", path, sizeof path - 1) > 0);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);

  at("in the program", site_in_text);
  bare_thread();
  at("before a comparison", site_compared);
  at("in the middle", site_with_number + 5);
  CHECK_EQUAL(make("with its number", site_with_number, 12345, 0, 0, 0, 0, 0), self);

  // Copied code, then executable only.
  unsigned char *copy = pages(PROT_READ | PROT_WRITE);
  memcpy(copy, site_with_number, 8);
  CHECK(mprotect(copy, 8192, PROT_READ | PROT_EXEC) == 0);
  at("copied", copy + 5);
  CHECK_EQUAL(make("copied", copy, 12345, 0, 0, 0, 0, 0), self);
  CHECK(mprotect(copy, 8192, PROT_EXEC) == 0);
  at("executable only", copy + 5);
  bare_thread();

  // Code that is made, and made again at the same place.
  unsigned char *made = pages(PROT_READ | PROT_WRITE | PROT_EXEC);
  for (int round = 0; round < 20; round++) {
    static const struct {
      unsigned char number;
      int is_parent;
    } kinds[] = {{39, 0}, {110, 1}, {186, 0}};
    for (int i = 0; i < 3; i++) {
      unsigned char code[] = {0xB8, kinds[i].number, 0, 0, 0, 0x0F, 0x05, 0xC3};
      unsigned char *place = made + (round % 4) * 3;
      memcpy(place, code, sizeof code);
      CHECK_EQUAL(make("made", place, 0, 0, 0, 0, 0, 0), kinds[i].is_parent ? parent : self);
    }
  }
  // The instruction across two pages, and at the end of one.
  memcpy(made + 4095, site_in_text, 3);
  at("across pages", made + 4095);
  memcpy(made + 4094, site_in_text, 3);
  at("at the end of a page", made + 4094);
  bare_thread();
  inline_vfork();
  CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
  return 0;
}
#endif
