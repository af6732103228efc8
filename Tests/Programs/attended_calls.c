// Makes one notified call, getppid(2), under a filter of its own, and tells what it finds afterwards: of its registers, its
// signals and its children. First it tells where things are. Its parent, which does nothing else, tells how it ended.
//
//   attended_calls [births|waits]
//
//   births  whoever gets 0 from the call is a newborn, which ends with 42
//   waits   instead of the call, it waits for a byte on its input
#include "check.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>

enum { LISTENER = 100 };

// What the call leaves in rax, rbx, rbp, rdi, rsi, rdx, r8, r9, r10, r12, r13, r14, r15, xmm7, and the carry flag.
uint64_t seen[15];
int births, born;
uint32_t word = 5;

void noted_call(void);
void exchange(void);
#ifdef __x86_64__
__asm__(
    ".text\n"
    "noted_call:\n"
    "  push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "  movabs $0x1111111122222222, %rbx\n"
    "  movq %rbx, %xmm7\n"
    "  mov $0x101, %ebp; mov $0x102, %edi; mov $0x103, %esi; mov $0x104, %edx; mov $0x105, %r8d\n"
    "  mov $0x106, %r9d; mov $0x107, %r10d; mov $0x108, %r12d; mov $0x109, %r13d; mov $0x10a, %r14d\n"
    "  mov $0x10b, %r15d; mov $110, %eax\n"
    "  stc\n"
    "  syscall\n"
    "  setc seen+112(%rip)\n"
    "  cmpl $0, births(%rip)\n"
    "  je 1f\n"
    "  test %rax, %rax\n"
    "  jne 1f\n"
    "  lock incl born(%rip)\n"
    "  mov $42, %edi\n"
    "  mov $60, %eax\n"
    "  syscall\n"
    "1: mov %rax, seen(%rip); mov %rbx, seen+8(%rip); mov %rbp, seen+16(%rip); mov %rdi, seen+24(%rip)\n"
    "  mov %rsi, seen+32(%rip); mov %rdx, seen+40(%rip); mov %r8, seen+48(%rip); mov %r9, seen+56(%rip)\n"
    "  mov %r10, seen+64(%rip); mov %r12, seen+72(%rip); mov %r13, seen+80(%rip); mov %r14, seen+88(%rip)\n"
    "  mov %r15, seen+96(%rip); movq %xmm7, seen+104(%rip)\n"
    "  pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
    "  ret\n"
    "exchange:\n"
    "  lock cmpxchg %esi, (%rdi)\n"
    "2: pause\n"
    "  jmp 2b\n");
#else
void noted_call(void) {}
void exchange(void) {}
#endif

static volatile sig_atomic_t once;
static volatile sig_atomic_t queued;
static void count(int signal, siginfo_t *info, void *context) {
  (void)context;
  if (signal == SIGUSR1)
    once++;
  else
    // The order is told, too.
    queued = queued * 10 + info->si_value.sival_int;
}

static void install(void) {
  struct sock_filter instructions[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof instructions / sizeof *instructions, instructions};
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  // With WAIT_KILLABLE_RECV where there is such a flag: signals then leave a call alone that was received.
  long listener = -1;
  for (unsigned flags = 1 << 3 | 1 << 5; listener < 0; flags &= ~(1u << 5)) {
    listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    CHECK(listener >= 0 || flags & 1 << 5);
  }
  CHECK(dup2((int)listener, LISTENER) == LISTENER);
  close((int)listener);
}

static void run(int waits) {
  struct sigaction action = {.sa_sigaction = count, .sa_flags = SA_SIGINFO | SA_RESTART};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0 && sigaction(SIGRTMIN, &action, NULL) == 0);
  sigset_t blocked, after;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR2);
  CHECK(sigprocmask(SIG_SETMASK, &blocked, NULL) == 0);
  install();
  printf("%d %lu %lu\n", getpid(), (unsigned long)exchange, (unsigned long)&word);
  fflush(stdout);
  char byte = 0;
  if (waits)
    CHECK(read(0, &byte, 1) == 1);
  else
    noted_call();
  CHECK(sigprocmask(SIG_SETMASK, NULL, &after) == 0);
  uint64_t expected[] = {0x1111111122222222, 0x101, 0x102, 0x103, 0x104, 0x105, 0x106,
                         0x107, 0x108, 0x109, 0x10a, 0x10b, 0x1111111122222222, 1};
  for (int i = 0; i < 14 && !waits; i++)
    if (seen[i + 1] != expected[i])
      printf("register %d is %lx\n", i + 1, seen[i + 1]);
  for (int signal = 1; signal < 65; signal++)
    if (sigismember(&after, signal) == 1 && signal != SIGUSR2)
      printf("signal %d is blocked\n", signal);
  CHECK(sigismember(&after, SIGUSR2) == 1);
  printf("result %ld\nonce %d\nqueued %d\nword %u\n", (long)seen[0], once, queued, word);
  if (births) {
    int status;
    pid_t child = waitpid(-1, &status, __WALL);
    if (child < 0) {
      // A thread: nobody waits for it.
      while (!__atomic_load_n(&born, __ATOMIC_ACQUIRE)) pause_ms(1);
      printf("thread\n");
    } else {
      printf("child %d %x\n", child == (pid_t)seen[0], status);
    }
  }
  fflush(stdout);
  _exit(0);
}

int main(int argc, char **argv) {
  births = argc > 1 && strcmp(argv[1], "births") == 0;
  int waits = argc > 1 && strcmp(argv[1], "waits") == 0;
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) run(waits);
  int status;
  CHECK(waitpid(child, &status, 0) == child);
  printf("end %x\n", status);
  return 0;
}
