// P32, P42, P44, P45, P47: capget, priorities, page migration, signals by descriptor.
#include "check.h"
#include <linux/capability.h>
#include <sys/resource.h>

#define IOPRIO_PROCESS 1
#define IOPRIO_GROUP 2

static int capabilities(long call, pid_t pid) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, pid};
  static struct __user_cap_data_struct data[2];
  int result = (int)syscall(call, &header, data);
  CHECK_EQUAL(header.pid, pid);
  return result;
}

int main(void) {
  CHECK(setpgid(0, 0) == 0 || errno == EPERM);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    alarm(20);
    for (;;) pause();
  }
  pid_t nobody = 4194000;

  CHECK(capabilities(SYS_capget, child) == 0);
  CHECK(capabilities(SYS_capget, getpid()) == 0);
  CHECK(capabilities(SYS_capset, getpid()) == 0);
  CHECK(capabilities(SYS_capget, 0) == 0);
  CHECK(capabilities(SYS_capset, 0) == 0);
  CHECK(capabilities(SYS_capset, child) == -1 && errno == EPERM);
  CHECK(capabilities(SYS_capset, nobody) == -1 && errno == EPERM);
  CHECK(capabilities(SYS_capget, nobody) == -1 && errno == ESRCH);
  CHECK(capabilities(SYS_capget, -1) == -1 && errno == EINVAL);
  struct __user_cap_header_struct strange = {1, 0};
  CHECK(syscall(SYS_capget, &strange, NULL) == 0);
  CHECK_EQUAL(strange.version, _LINUX_CAPABILITY_VERSION_3);
  CHECK(syscall(SYS_capget, 8, NULL) == -1 && errno == EFAULT);

  CHECK(setpriority(PRIO_PROCESS, child, 7) == 0);
  CHECK_EQUAL(getpriority(PRIO_PROCESS, child), 7);
  CHECK(setpriority(PRIO_PGRP, getpgrp(), 8) == 0);
  CHECK_EQUAL(getpriority(PRIO_PROCESS, 0), 8);
  CHECK_EQUAL(getpriority(PRIO_PROCESS, child), 8);
  CHECK_EQUAL(getpriority(PRIO_PGRP, 0), 8);
  CHECK(setpriority(PRIO_PROCESS, nobody, 9) == -1 && errno == ESRCH);
  CHECK(setpriority(PRIO_PGRP, nobody, 9) == -1 && errno == ESRCH);
  CHECK(setpriority(77, 0, 9) == -1 && errno == EINVAL);
  int lowest = 2 << 13 | 7;
  CHECK(syscall(SYS_ioprio_set, IOPRIO_PROCESS, child, lowest) == 0);
  CHECK_EQUAL(syscall(SYS_ioprio_get, IOPRIO_PROCESS, child), lowest);
  CHECK(syscall(SYS_ioprio_set, IOPRIO_GROUP, getpgrp(), lowest) == 0);
  CHECK_EQUAL(syscall(SYS_ioprio_get, IOPRIO_PROCESS, 0), lowest);
  CHECK(syscall(SYS_ioprio_get, IOPRIO_PROCESS, nobody) == -1 && errno == ESRCH);
  CHECK(syscall(SYS_ioprio_get, IOPRIO_GROUP, nobody) == -1 && errno == ESRCH);

  CHECK(syscall(SYS_move_pages, child, 0L, NULL, NULL, NULL, 0) == 0 || errno == ENOSYS || errno == EPERM);
  CHECK(syscall(SYS_move_pages, nobody, 0L, NULL, NULL, NULL, 0) == -1);
  CHECK(errno == ESRCH || errno == ENOSYS || errno == EPERM);

  int handle = (int)syscall(SYS_pidfd_open, child, 0);
  CHECK(handle >= 0);
  CHECK(syscall(SYS_pidfd_send_signal, handle, 0, NULL, 0) == 0);
  siginfo_t info = {.si_signo = SIGCONT, .si_code = SI_QUEUE};
  info.si_pid = getpid();
  CHECK(syscall(SYS_pidfd_send_signal, handle, SIGCONT, &info, 0) == 0);
  CHECK_EQUAL(info.si_pid, getpid());
  CHECK(syscall(SYS_pidfd_send_signal, handle, SIGCONT, 8, 0) == -1 && errno == EFAULT);
  CHECK(syscall(SYS_pidfd_send_signal, handle, SIGKILL, NULL, 0) == 0);
  CHECK_EQUAL(waitpid(child, NULL, 0), child);
  CHECK(syscall(SYS_pidfd_send_signal, handle, 0, NULL, 0) == -1 && errno == ESRCH);
  return 0;
}
