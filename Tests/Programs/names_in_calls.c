// P40–P43, P46, P48, P50–P52, P82, P86: the remaining calls that take a process or thread find the right one.
#include "check.h"
#include <linux/kcmp.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/uio.h>

#define PR_SET_PTRACER_ 0x59616d61
#define PR_SCHED_CORE_ 62

static char text[16] = "unchanged";
static pid_t tid;
static int hold[2];
static void *in_thread(void *unused) {
  char byte;
  tid = thread_id();
  while (read(hold[0], &byte, 1) != 0) pause_ms(1);
  return unused;
}

int main(void) {
  CHECK(pipe(hold) == 0);
  pid_t nobody = 4194000;
  struct sysinfo before, after;
  CHECK(sysinfo(&before) == 0);
  CHECK(before.procs > 0);
  struct rusage used;
  CHECK(getrusage(RUSAGE_CHILDREN, &used) == 0);
  CHECK_EQUAL(used.ru_utime.tv_sec + used.ru_utime.tv_usec + used.ru_maxrss, 0);

  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    alarm(20);
    close(hold[1]);
    struct rlimit limit;
    do {
      pause_ms(1);
      CHECK(getrlimit(RLIMIT_CORE, &limit) == 0);
    } while (limit.rlim_cur != 4096);
    for (;;) pause();
  }
  CHECK(sysinfo(&after) == 0);
  CHECK(sysinfo((struct sysinfo *)8) == -1 && errno == EFAULT);
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, in_thread, NULL) == 0);
  while (tid == 0) pause_ms(1);

  // P46
  struct rlimit limit = {4096, 8192}, seen;
  CHECK(prlimit(child, RLIMIT_CORE, NULL, &seen) == 0);
  if (seen.rlim_max < 8192) limit = (struct rlimit){4096 > seen.rlim_max ? seen.rlim_max : 4096, seen.rlim_max};
  CHECK(prlimit(child, RLIMIT_CORE, &limit, NULL) == 0);
  CHECK(prlimit(child, RLIMIT_CORE, NULL, &seen) == 0);
  CHECK(seen.rlim_cur == limit.rlim_cur && seen.rlim_max == limit.rlim_max);
  CHECK(prlimit(nobody, RLIMIT_CORE, NULL, &seen) == -1 && errno == ESRCH);
  CHECK(prlimit(0, RLIMIT_CORE, NULL, &seen) == 0);
  CHECK(prlimit(tid, RLIMIT_CORE, NULL, &seen) == 0);

  // P40
  char copy[16], changed[16] = "changed";
  struct iovec local = {copy, sizeof copy}, source = {changed, sizeof changed};
  struct iovec remote = {text, sizeof text};
  CHECK_EQUAL(process_vm_writev(child, &source, 1, &remote, 1, 0), sizeof copy);
  CHECK_EQUAL(process_vm_readv(child, &local, 1, &remote, 1, 0), sizeof copy);
  CHECK(strcmp(copy, "changed") == 0 && strcmp(text, "unchanged") == 0);
  CHECK_EQUAL(process_vm_readv(tid, &local, 1, &remote, 1, 0), sizeof copy);
  CHECK(strcmp(copy, "unchanged") == 0);
  CHECK(process_vm_readv(nobody, &local, 1, &remote, 1, 0) == -1 && errno == ESRCH);
  CHECK(process_vm_writev(nobody, &local, 1, &remote, 1, 0) == -1 && errno == ESRCH);

  // P41
  long same = syscall(SYS_kcmp, getpid(), child, KCMP_FILE, hold[0], hold[0]);
  if (same == -1) {
    CHECK(errno == ENOSYS || errno == EPERM);
  } else {
    CHECK_EQUAL(same, 0);
    CHECK_EQUAL(syscall(SYS_kcmp, getpid(), tid, KCMP_VM, 0, 0), 0);
    CHECK(syscall(SYS_kcmp, getpid(), child, KCMP_VM, 0, 0) > 0);
    CHECK(syscall(SYS_kcmp, getpid(), nobody, KCMP_VM, 0, 0) == -1 && errno == ESRCH);
    CHECK(syscall(SYS_kcmp, nobody, getpid(), KCMP_VM, 0, 0) == -1 && errno == ESRCH);
  }

  // P42: nothing to move.
  unsigned long none = 0;
  long moved = syscall(SYS_migrate_pages, child, 8 * sizeof none, &none, &none);
  CHECK(moved == 0 || errno == ENOSYS || errno == EPERM || errno == EINVAL);
  CHECK(syscall(SYS_migrate_pages, nobody, 8 * sizeof none, &none, &none) == -1);
  CHECK(errno == ESRCH || errno == ENOSYS || errno == EPERM);
  CHECK(syscall(SYS_move_pages, child, 0L, NULL, NULL, NULL, 0) == 0 || errno == ENOSYS || errno == EPERM);

  // P43
  struct sched_param parameter;
  struct timespec interval;
  unsigned attributes[32] = {0};
  CHECK(syscall(SYS_sched_getparam, child, &parameter) == 0);
  CHECK(syscall(SYS_sched_getparam, nobody, &parameter) == -1 && errno == ESRCH);
  CHECK(sched_rr_get_interval(child, &interval) == 0);
  CHECK(sched_rr_get_interval(nobody, &interval) == -1 && errno == ESRCH);
  CHECK(syscall(SYS_sched_getattr, tid, attributes, 48, 0) == 0);
  CHECK(syscall(SYS_sched_setattr, tid, attributes, 0) == 0);
  CHECK(syscall(SYS_sched_getattr, nobody, attributes, 48, 0) == -1 && errno == ESRCH);
  parameter.sched_priority = 0;
  CHECK(syscall(SYS_sched_setscheduler, child, 3 /* SCHED_BATCH */, &parameter) == 0);
  CHECK_EQUAL(syscall(SYS_sched_getscheduler, child), 3);
  CHECK_EQUAL(syscall(SYS_sched_getscheduler, 0), SCHED_OTHER);
  CHECK(syscall(SYS_sched_setparam, child, &parameter) == 0);
  CHECK(syscall(SYS_sched_setscheduler, nobody, 3, &parameter) == -1 && errno == ESRCH);
  CHECK(syscall(SYS_sched_getscheduler, -1) == -1 && errno == EINVAL);

  // P48
  void *head;
  size_t size;
  CHECK(syscall(SYS_get_robust_list, 0, &head, &size) == 0);
  void *own = head;
  CHECK(syscall(SYS_get_robust_list, thread_id(), &head, &size) == 0);
  CHECK(head == own);
  CHECK(syscall(SYS_get_robust_list, child, &head, &size) == 0 || errno == EPERM);
  CHECK(syscall(SYS_get_robust_list, nobody, &head, &size) == -1 && errno == ESRCH);

  // P50: EINVAL without Yama, and for who isn't there.
  CHECK(prctl(PR_SET_PTRACER_, child, 0, 0, 0) == 0 || errno == EINVAL);
  CHECK(prctl(PR_SET_PTRACER_, getppid(), 0, 0, 0) == 0 || errno == EINVAL);
  CHECK(prctl(PR_SET_PTRACER_, -1L, 0, 0, 0) == 0 || errno == EINVAL);
  CHECK(prctl(PR_SET_PTRACER_, 0, 0, 0, 0) == 0 || errno == EINVAL);
  CHECK(prctl(PR_SET_PTRACER_, (long)nobody, 0, 0, 0) == -1 && errno == EINVAL);
  // P51: most machines have no SMT to share.
  unsigned long cookie = 0;
  int shared = prctl(PR_SCHED_CORE_, 0, child, 0, &cookie);
  CHECK(shared == 0 || errno == ENODEV || errno == EINVAL || errno == EPERM);
  CHECK(prctl(PR_SCHED_CORE_, 0, (long)nobody, 0, &cookie) == -1);
  CHECK(errno == ESRCH || errno == ENODEV || errno == EINVAL);
  // P52, P86: an address, a barrier.
  int *address = NULL;
  CHECK(prctl(40 /* PR_GET_TID_ADDRESS */, &address, 0, 0, 0) == 0 || errno == EINVAL);
  CHECK(syscall(SYS_membarrier, 0, 0, 0) >= 0 || errno == ENOSYS);

  // Who has ended can be looked at until it was waited for.
  pid_t ended = fork();
  CHECK(ended >= 0);
  if (ended == 0) _exit(0);
  siginfo_t info;
  CHECK(waitid(P_PID, ended, &info, WEXITED | WNOWAIT) == 0);
  struct sched_param parameters;
  CHECK_EQUAL(sched_getscheduler(ended), sched_getscheduler(0));
  CHECK(sched_getparam(ended, &parameters) == 0);
  CHECK(syscall(SYS_getpriority, PRIO_PROCESS, ended) > 0);
  CHECK_EQUAL(waitpid(ended, NULL, 0), ended);
  CHECK(sched_getscheduler(ended) == -1 && errno == ESRCH);
  CHECK(syscall(SYS_getpriority, PRIO_PROCESS, ended) == -1 && errno == ESRCH);

  close(hold[1]);
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK(kill(child, SIGKILL) == 0);
  CHECK_EQUAL(waitpid(child, NULL, 0), child);
  CHECK(getrusage(RUSAGE_CHILDREN, &used) == 0);
  CHECK(used.ru_maxrss > 0);
  return 0;
}
