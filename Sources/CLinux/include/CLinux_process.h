#ifndef CLINUX_PROCESS_H
#define CLINUX_PROCESS_H

#include "CLinux_result.h"
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

// Macros with casts, which Swift does not import.
enum {
  CLinux_WAIT_ALL = 0x40000000,       // __WALL
  CLinux_WAIT_NO_THREAD = 0x20000000, // __WNOTHREAD
};

// wait4 with any option bits: glibc's declaration differs between versions in the status argument.
static inline int CLinux_wait4(pid_t pid, int *status, int options, struct rusage *usage) {
  return (int)CLinux_result(syscall(SYS_wait4, (long)pid, status, (long)options, usage));
}
// waitid with a pidfd: P_PIDFD is newer than many libcs, and the raw call also gives rusage.
static inline int CLinux_waitid(int type, int id, siginfo_t *info, int options,
                                struct rusage *usage) {
  return (int)CLinux_result(syscall(SYS_waitid, (long)type, (long)id, info, (long)options, usage));
}
// P_PIDFD: an enumerator that older libcs lack.
enum { CLinux_P_PIDFD = 3 };

// The WIF… macros are function-like, which Swift does not import.
static inline int CLinux_WEXITSTATUS(int status) { return WEXITSTATUS(status); }
static inline int CLinux_WIFSIGNALED(int status) { return WIFSIGNALED(status); }
static inline int CLinux_WTERMSIG(int status) { return WTERMSIG(status); }
static inline int CLinux_WIFSTOPPED(int status) { return WIFSTOPPED(status); }
static inline int CLinux_WSTOPSIG(int status) { return WSTOPSIG(status); }

// pidfd_open: no wrapper before glibc 2.36.
static inline int CLinux_pidfd_open(pid_t pid, unsigned int flags) {
  return (int)CLinux_result(syscall(SYS_pidfd_open, (long)pid, flags));
}
// pidfd_getfd: no wrapper before glibc 2.36.
static inline int CLinux_pidfd_getfd(int pidfd, int fd, unsigned int flags) {
  return (int)CLinux_result(syscall(SYS_pidfd_getfd, pidfd, fd, flags));
}
// pidfd_send_signal: no wrapper before glibc 2.36.
static inline int CLinux_pidfd_send_signal(int pidfd, int signal, siginfo_t *info,
                                           unsigned int flags) {
  return (int)CLinux_result(syscall(SYS_pidfd_send_signal, pidfd, signal, info, flags));
}

// Whether two processes have the same memory (kcmp, KCMP_VM): it has no wrapper.
static inline int CLinux_share_memory(pid_t a, pid_t b) {
  return syscall(SYS_kcmp, (long)a, (long)b, 1L, 0UL, 0UL) == 0;
}

// prlimit on another process, hidden behind _GNU_SOURCE: the soft limit, or the highest number where it can't be asked.
static inline uint64_t CLinux_limit(pid_t pid, int resource) {
  struct {
    uint64_t soft, hard;
  } limits;
  long result = syscall(SYS_prlimit64, (long)pid, (long)resource, (void *)0, &limits);
  return result == 0 ? limits.soft : UINT64_MAX;
}
// The same; sets the soft limit.
static inline int CLinux_set_limit(pid_t pid, int resource, uint64_t soft) {
  struct {
    uint64_t soft, hard;
  } limits;
  long result = syscall(SYS_prlimit64, (long)pid, (long)resource, (void *)0, &limits);
  if (result == 0) {
    limits.soft = soft;
    result = syscall(SYS_prlimit64, (long)pid, (long)resource, &limits, (void *)0);
  }
  return (int)CLinux_result(result);
}

// PIDFD_GET_INFO, since Linux 6.13: the process of a task that has a pidfd, and its parent. Older headers lack it.
static inline int CLinux_pidfd_family(int pidfd, pid_t *process, pid_t *parent) {
  struct {
    uint64_t mask, cgroup;
    uint32_t pid, tgid, ppid, rest[9];
  } info = {.mask = 1};
  _Static_assert(sizeof info == 72 || sizeof info == 64, "at least PIDFD_INFO_SIZE_VER0");
  int result = (int)CLinux_result(ioctl(pidfd, _IOC(_IOC_READ | _IOC_WRITE, 0xFF, 11, 64), &info));
  *process = (pid_t)info.tgid;
  *parent = (pid_t)info.ppid;
  return result;
}

// syscall: variadic. For calls that the supervisor makes in a program's stead.
static inline long CLinux_syscall(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                                  uint64_t e, uint64_t f) {
  return CLinux_result(syscall(number, a, b, c, d, e, f));
}

// gettid: no wrapper before glibc 2.30.
static inline pid_t CLinux_gettid(void) { return (pid_t)syscall(SYS_gettid); }

// prctl: variadic.
static inline int CLinux_prctl(int option, unsigned long a, unsigned long b, unsigned long c,
                               unsigned long d) {
  return (int)CLinux_result(prctl(option, a, b, c, d));
}

// sched_getaffinity: cpu_set_t is opaque to Swift; the raw call takes words and returns the number of
// bytes the kernel wrote.
static inline int CLinux_sched_getaffinity(pid_t tid, uint64_t *words, size_t count) {
  return (int)CLinux_result(syscall(SYS_sched_getaffinity, (long)tid, count * 8, words));
}
// sched_setaffinity: cpu_set_t is opaque to Swift.
static inline int CLinux_sched_setaffinity(pid_t tid, const uint64_t *words, size_t count) {
  return (int)CLinux_result(syscall(SYS_sched_setaffinity, (long)tid, count * 8, words));
}

// sched_getcpu: hidden behind _GNU_SOURCE.
static inline int CLinux_cpu(void) {
  unsigned int cpu = 0;
  return syscall(SYS_getcpu, &cpu, (void *)0, (void *)0) == 0 ? (int)cpu : -1;
}

// sched_setattr: no wrapper before glibc 2.41. Asks for a short slice of the calling thread, in nanoseconds, which a kernel
// from 6.12 on lets run soon after it wakes; older ones answer 0 and change nothing.
static inline int CLinux_set_slice(uint64_t nanoseconds) {
  struct {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
  } attributes = {sizeof attributes, 0, 0, 0, 0, 0, 0, 0};
  long result = syscall(SYS_sched_getattr, 0L, &attributes, sizeof attributes, 0L);
  if (result == 0) {
    attributes.runtime = nanoseconds;
    result = syscall(SYS_sched_setattr, 0L, &attributes, 0L);
  }
  return (int)CLinux_result(result);
}

// ioctl is variadic, and _IOR numbers are macros with sizeof, which Swift does not import.
static inline int CLinux_ioctl(int fd, unsigned long request, void *argument) {
  return (int)CLinux_result(ioctl(fd, request, argument));
}
// ioctl with an integer argument: variadic.
static inline int CLinux_ioctl_value(int fd, unsigned long request, unsigned long argument) {
  return (int)CLinux_result(ioctl(fd, request, argument));
}
// TIOCGPTN, TIOCSPTLCK: macros with sizeof. TIOCGPTPEER: a macro with nested _IO.
static const unsigned long CLinux_TIOCGPTN = 0x80045430;
static const unsigned long CLinux_TIOCSPTLCK = 0x40045431;
static const unsigned long CLinux_TIOCGPTPEER = 0x5441;

#endif
