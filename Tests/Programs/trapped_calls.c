// P7, P16: in a pod, a filter of the program's own that traps a fork on its way to the kernel makes no newborn: what the
// kernel leaves where the result would be is the call's number, and nobody of that number belongs to the program.
#include "check.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/ptrace.h>

static volatile sig_atomic_t traps;

static void trapped(int signal) {
  (void)signal;
  traps++;
}

static void trap(uint32_t number) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void trap_clone(uint32_t unless) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, unless, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

int main(void) {
  struct sigaction action = {.sa_handler = trapped};
  sigaction(SIGSYS, &action, NULL);
  // The filter lets a clone pass that asks for no tracer, which a pod takes away after the filter has looked.
  trap_clone(0x00800000);
  for (int i = 0; i < 3; i++) {
    long r;
    register long r10 __asm__("r10") = 0;
    register long r8 __asm__("r8") = 0;
    __asm__ volatile("syscall"
                     : "=a"(r)
                     : "a"((long)SYS_clone), "D"((i < 2 ? 0x00800000L : 0L) | SIGCHLD), "S"(0L), "d"(0L), "r"(r10),
                       "r"(r8)
                     : "rcx", "r11", "memory");
    if (r == 0)
      _exit(0);
    if (traps > i) {
      // Nobody was born.
      CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
      for (int pid = 2; pid < 200; pid++)
        CHECK(pid == getpid() || (kill(pid, 0) == -1 && errno == ESRCH));
    } else {
      reap_ok((pid_t)r);
    }
  }
  CHECK(traps > 0);
  // A trapped call changes nothing of the caller's names either.
  pid_t group = getpgrp(), session = getsid(0);
  trap(SYS_setsid);
  trap(SYS_setpgid);
  traps = 0;
  setpgid(0, 0);
  CHECK_EQUAL(traps, 1);
  setsid();
  CHECK_EQUAL(traps, 2);
  CHECK_EQUAL(getpgrp(), group);
  CHECK_EQUAL(getsid(0), session);
  return 0;
}
