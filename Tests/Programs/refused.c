// P7, P15, P49, P58, P61: in a pod only, what would lead around it is refused, with the errno that libraries know.
#include "check.h"
#include <fcntl.h>
#include <sys/ptrace.h>

#define REFUSED(error, call) CHECK((call) == -1 && errno == (error))

int main(void) {
  char parameters[128] = {0};
  REFUSED(ENOSYS, syscall(425, 8, parameters));       // io_uring_setup
  REFUSED(ENOSYS, syscall(426, 0, 0, 0, 0, NULL, 0)); // io_uring_enter
  REFUSED(ENOSYS, syscall(427, 0, 0, NULL, 0));       // io_uring_register
  REFUSED(ENOSYS, syscall(435, parameters, 88));      // clone3
  REFUSED(EPERM, ptrace(PTRACE_TRACEME, 0, NULL, NULL));
  int flags[] = {CLONE_NEWPID, CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS};
  for (int i = 0; i < 6; i++) {
    REFUSED(EPERM, unshare(flags[i]));
    REFUSED(EPERM, syscall(SYS_clone, flags[i] | SIGCHLD, 0, 0, 0, 0));
  }
  int fd = open("/proc/self/ns/pid", O_RDONLY);
  CHECK(fd >= 0);
  REFUSED(EPERM, setns(fd, 0));
  // A seccomp listener, and strict mode.
  CHECK_EQUAL(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
  REFUSED(EBUSY, syscall(317, 1, 8, NULL));
  REFUSED(EINVAL, syscall(317, 0, 0, NULL));
#ifdef __x86_64__
  // Calls of the other conventions have other numbers: none is known.
  REFUSED(ENOSYS, syscall(0x40000000 | 39));
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(20) : "memory");
  CHECK_EQUAL(result, -ENOSYS);
#endif
  return 0;
}
