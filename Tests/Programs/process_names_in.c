// P31, P40, P43, P44, P46, P55, P56: calls that take a process's or thread's name find the right one.
#include "check.h"
#include <sys/resource.h>
#include <sys/uio.h>

int main(void) {
  static char text[16] = "unchanged";
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    for (;;) pause();
  }
  struct rlimit limit;
  CHECK(prlimit(child, RLIMIT_NOFILE, NULL, &limit) == 0);
  CHECK(prlimit(0, RLIMIT_NOFILE, NULL, &limit) == 0);
  CHECK(prlimit(getpid(), RLIMIT_NOFILE, NULL, &limit) == 0);
  CHECK(setpriority(PRIO_PROCESS, child, 7) == 0);
  CHECK_EQUAL(getpriority(PRIO_PROCESS, child), 7);
  CHECK(getpriority(PRIO_PROCESS, 0) != 7);
  CHECK_EQUAL(sched_getscheduler(child), SCHED_OTHER);
  cpu_set_t cpus, one;
  CHECK(sched_getaffinity(child, sizeof cpus, &cpus) == 0);
  CPU_ZERO(&one);
  for (int i = 0; i < CPU_SETSIZE; i++)
    if (CPU_ISSET(i, &cpus)) {
      CPU_SET(i, &one);
      break;
    }
  CHECK(sched_setaffinity(child, sizeof one, &one) == 0);
  CHECK(sched_getaffinity(child, sizeof cpus, &cpus) == 0);
  CHECK(CPU_EQUAL(&cpus, &one));

  int handle = (int)syscall(SYS_pidfd_open, child, 0);
  CHECK(handle >= 0);
  CHECK(syscall(SYS_pidfd_send_signal, handle, 0, NULL, 0) == 0);
  CHECK(syscall(SYS_pidfd_open, 4194000, 0) == -1 && errno == ESRCH);

  char copy[16];
  struct iovec local = {copy, sizeof copy}, remote = {text, sizeof text};
  CHECK_EQUAL(process_vm_readv(child, &local, 1, &remote, 1, 0), sizeof copy);
  CHECK(strcmp(copy, "unchanged") == 0);

  clockid_t clock;
  struct timespec used;
  CHECK_EQUAL(clock_getcpuclockid(child, &clock), 0);
  CHECK(clock_gettime(clock, &used) == 0);
  CHECK_EQUAL(pthread_getcpuclockid(pthread_self(), &clock), 0);
  CHECK(clock_gettime(clock, &used) == 0);
  CHECK(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) == 0);

  timer_t timer;
  struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM};
  event._sigev_un._tid = thread_id();
  CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
  CHECK(timer_delete(timer) == 0);

  CHECK(kill(child, SIGKILL) == 0);
  siginfo_t info;
  CHECK(waitid(P_PIDFD, handle, &info, WEXITED) == 0);
  CHECK_EQUAL(info.si_pid, child);
  CHECK(syscall(SYS_pidfd_send_signal, handle, 0, NULL, 0) == -1 && errno == ESRCH);
  return 0;
}
