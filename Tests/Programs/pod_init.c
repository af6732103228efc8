// In a pod only: process 1 is seen, adopts, and can't be changed, signalled or joined.
#include "check.h"
#include <sys/resource.h>

int main(void) {
  if (getppid() != 1) return 77;
  struct rlimit limit = {0, 0};
  CHECK(kill(1, 0) == 0);
  CHECK(kill(1, SIGKILL) == 0);
  CHECK(kill(-1, 0) == -1 && errno == ESRCH);
  CHECK(prlimit(1, RLIMIT_NOFILE, &limit, NULL) == -1 && errno == EPERM);
  CHECK(setpriority(PRIO_PROCESS, 1, 19) == -1 && errno == EPERM);
  CHECK(setpriority(PRIO_PGRP, 1, 19) == -1 && errno == EPERM);
  CHECK_EQUAL(getpriority(PRIO_PROCESS, 1), getpriority(PRIO_PGRP, 1));
  CHECK(syscall(SYS_sched_getscheduler, 1) >= 0);
  CHECK(syscall(SYS_sched_setaffinity, 1, sizeof limit, &limit) == -1 && errno == EPERM);
  // A program may watch its parent by a descriptor, and do nothing to it.
  int handle = (int)syscall(434 /* pidfd_open */, 1, 0);
  CHECK(handle >= 0);
  CHECK(syscall(424 /* pidfd_send_signal */, handle, SIGKILL, NULL, 0) == 0);
  CHECK(syscall(438 /* pidfd_getfd */, handle, 0, 0) == -1 && errno == EPERM);
  CHECK(syscall(440 /* process_madvise */, handle, NULL, 0, 0, 0) == -1 && errno == EPERM);
  CHECK(syscall(448 /* process_mrelease */, handle, 0) == -1 && errno == EPERM);
  CHECK(close(handle) == 0);
  CHECK(syscall(SYS_process_vm_readv, 1, NULL, 0, NULL, 0, 0) == -1 && errno == EPERM);
  CHECK(setpgid(0, 1) == -1 && errno == EPERM);
  CHECK(getpgid(1) == 1);
  CHECK(getsid(1) == 1);
  // P27: everybody but the caller and process 1, in every session; the signal is one that nobody outside would mind.
  sigset_t urgent;
  sigemptyset(&urgent);
  sigaddset(&urgent, SIGURG);
  CHECK(sigprocmask(SIG_BLOCK, &urgent, NULL) == 0);
  pid_t all[3];
  int ready[2];
  CHECK(pipe(ready) == 0);
  for (int i = 0; i < 3; i++) {
    all[i] = fork();
    CHECK(all[i] >= 0);
    if (all[i] == 0) {
      if (i == 1) CHECK(setsid() == getpid());
      if (i == 2) CHECK(setpgid(0, 0) == 0);
      CHECK(write(ready[1], "x", 1) == 1);
      siginfo_t info;
      CHECK_EQUAL(sigwaitinfo(&urgent, &info), SIGURG);
      CHECK_EQUAL(info.si_pid, getppid());
      _exit(0);
    }
  }
  char byte;
  for (int i = 0; i < 3; i++) CHECK(read(ready[0], &byte, 1) == 1);
  CHECK(kill(-1, SIGURG) == 0);
  for (int i = 0; i < 3; i++) reap_ok(all[i]);
  struct timespec none = {0, 0};
  CHECK(sigtimedwait(&urgent, NULL, &none) == -1 && errno == EAGAIN);

  // After all that it still adopts and its number is still taken.
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    if (fork() == 0) {
      while (getppid() != 1) pause_ms(1);
      _exit(0);
    }
    _exit(0);
  }
  reap_ok(child);
  pause_ms(20);
  CHECK(kill(1, 0) == 0);
  return 0;
}
