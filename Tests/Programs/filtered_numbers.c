// P58: a filter of the program's own that looks at the number of a signal's target, as browsers' do: the program's own
// process and nobody else.
#include "check.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(action) BPF_STMT(BPF_RET | BPF_K, action)

static volatile sig_atomic_t hits;
static void count(int signal) {
  (void)signal;
  hits++;
}

int main(void) {
  struct sigaction action = {.sa_handler = count};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
  pid_t self = getpid();
  struct sock_filter code[] = {
      LOAD(nr),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_kill, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_tgkill, 1, 0),
      RETURN(SECCOMP_RET_ALLOW),
      LOAD(args[0]),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)self, 0, 1),
      RETURN(SECCOMP_RET_ALLOW),
      RETURN(SECCOMP_RET_ERRNO | EPERM),
  };
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
  CHECK_EQUAL(kill(self, SIGUSR1), 0);
  CHECK_EQUAL(raise(SIGUSR1), 0);
  CHECK_EQUAL(hits, 2);
  CHECK(kill(getppid(), 0) == -1 && errno == EPERM);
  CHECK(kill(0x3FFFFFFF, 0) == -1 && errno == EPERM);
  return 0;
}
