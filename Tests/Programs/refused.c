// P7, P12, P15, P37, P38, P49, P53, P54, P58–P61, P80, P82, P84, P85: in a pod only, what would lead around it is refused, with the errno that libraries know.
#include "check.h"
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/sysinfo.h>

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
  // Those that clone doesn't know, and several at once with what is no namespace.
  REFUSED(EPERM, unshare(CLONE_NEWCGROUP));
  REFUSED(EPERM, unshare(0x80 /* CLONE_NEWTIME */));
  REFUSED(EPERM, unshare(CLONE_NEWPID | CLONE_NEWUSER | CLONE_FILES));
  // A container's engine denies it whole to whom has no CAP_SYS_ADMIN.
  CHECK(unshare(CLONE_FILES | CLONE_FS) == 0 || (errno == EPERM && getenv("POD_TIER_ENGINE")));
  int fd = open("/proc/self/ns/pid", O_RDONLY);
  CHECK(fd >= 0);
  REFUSED(EPERM, setns(fd, 0));
  // P38: what translates between the kernel's namespaces.
  for (int request = 0xB701; request <= 0xB704; request++) REFUSED(ENOTTY, ioctl(fd, request, 0));
  for (int request = 6; request <= 9; request++)
    REFUSED(ENOTTY, ioctl(fd, 2UL << 30 | 4 << 16 | 0xB700 | request, getpid()));
  // P37: a handle names a process outside any pod.
  REFUSED(EPERM, syscall(SYS_open_by_handle_at, AT_FDCWD, parameters, 0));
  // P53, P54, P59, P60, P80, P84, P85: what shows the host's tasks. Machines are configured so.
  REFUSED(EACCES, syscall(SYS_perf_event_open, parameters, 0, -1, -1, 0));
  REFUSED(EPERM, syscall(SYS_bpf, 0, parameters, sizeof parameters));
  REFUSED(EPERM, syscall(SYS_userfaultfd, 1));
  REFUSED(EPERM, syscall(SYS_fanotify_init, 0x200 /* FAN_REPORT_FID */, 0));
  REFUSED(EPERM, syscall(SYS_acct, NULL));
  REFUSED(EPERM, syscall(SYS_keyctl, 18 /* KEYCTL_SESSION_TO_PARENT */));
  REFUSED(EPERM, syscall(SYS_syslog, 3, parameters, sizeof parameters));
  REFUSED(EPERM, ioctl(fd, 0xAA00 /* USERFAULTFD_IOC_NEW */, 0));
  // P12: a number of the program's own choice.
  struct {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, size, tls, set_tid, count, group;
  } chosen = {.exit_signal = SIGCHLD, .set_tid = (uint64_t)(uintptr_t) & (int){4711}, .count = 1};
  REFUSED(ENOSYS, syscall(435, &chosen, sizeof chosen));
  // P82: the processes that are counted are the pod's: this one and init.
  struct sysinfo counted;
  CHECK(sysinfo(&counted) == 0);
  CHECK_EQUAL(counted.procs, 2);
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
