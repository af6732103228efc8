#define _GNU_SOURCE 1
#include "CLinux_spawn.h"

#include "CLinux_process.h"
#include "CLinux_result.h"
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>

// Two stacks, for the helper and for init, each with a guard page below.
enum { stack_size = 64 * 1024, page = 4096, area_size = 2 * (stack_size + page) };

struct start {
  int control_fd;
  int image_fd;
  char *const *arguments;
  char *const *environment;
  char *inner_stack_top;
  int pidfd;
  pid_t pid;
  volatile int error;  // written by a child, read after it released the caller
  volatile int step;
};

static int fail(struct start *start) {
  start->error = errno;
  syscall(SYS_exit_group, 127);
  return 127;
}

// Kernels before 5.9 have no close_range, and some profiles of containers deny it; there, numbers up to 65535 are closed.
static void close_between(unsigned first, unsigned last) {
  if (first > last || syscall(SYS_close_range, first, last, 0) == 0)
    return;
  for (unsigned fd = first; fd <= last && fd <= 0xffff; fd++)
    syscall(SYS_close, fd);
}

// Runs in the caller's memory, on its own stack and with its own descriptor table. `errno` is the
// calling thread's, which sleeps in clone.
static int become_init(void *argument) {
  struct start *start = argument;
  start->step = CLinux_SPAWN_DESCRIPTORS;
  int image = (int)syscall(SYS_fcntl, start->image_fd, F_DUPFD_CLOEXEC, 10);
  if (image < 0)
    return fail(start);
  if (start->control_fd == 3) {
    if (syscall(SYS_fcntl, 3, F_SETFD, 0) < 0)
      return fail(start);
  } else if (syscall(SYS_dup3, start->control_fd, 3, 0) < 0) {
    return fail(start);
  }
  close_between(0, 2);
  close_between(4, (unsigned)image - 1);
  close_between((unsigned)image + 1, ~0U);
  // glibc's sigaction refuses its own two signals; the kernel's structure is four words.
  uint64_t action[4] = {0};
  for (int signal = 1; signal <= 64; signal++)
    syscall(SYS_rt_sigaction, signal, action, 0, 8);
  uint64_t none = 0;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, 0, 8);
  start->step = CLinux_SPAWN_EXECUTE;
  syscall(SYS_execveat, image, "", start->arguments, start->environment, AT_EMPTY_PATH);
  return fail(start);
}

static pid_t clone_init(struct start *start, char *stack_top) {
  int flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD;
  pid_t pid = clone(become_init, stack_top, flags, start, &start->pidfd);
  if (pid < 0)
    start->error = errno;
  else
    start->pid = pid;
  return pid;
}

// The helper shares the caller's descriptors, so that init's pidfd lands there.
static int make_orphan(void *argument) {
  struct start *start = argument;
  pid_t pid = clone_init(start, start->inner_stack_top);
  if (pid > 0 && start->error != 0)
    syscall(SYS_wait4, pid, 0, __WALL, 0);
  syscall(SYS_exit_group, 0);
  return 0;
}

int CLinux_spawn_init(int control_fd, int image_fd, char *const *arguments, char *const *environment,
                      int orphan, int *pidfd, int *step) {
  char *area = mmap(0, area_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  *step = CLinux_SPAWN_PROCESS;
  if (area == MAP_FAILED)
    return -errno;
  mprotect(area, page, PROT_NONE);
  mprotect(area + stack_size + page, page, PROT_NONE);
  char *lower_top = area + page + stack_size;
  char *upper_top = area + area_size;
  struct start start = {.control_fd = control_fd,
                        .image_fd = image_fd,
                        .arguments = arguments,
                        .environment = environment,
                        .inner_stack_top = lower_top,
                        .pidfd = -1,
                        .pid = -1};

  // No handler of the host may run in a child that shares its memory. pthread_sigmask leaves out
  // glibc's own two signals, so the raw call it is.
  uint64_t all = ~0ULL, before = 0;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, 8);
  int cancel;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);

  if (orphan) {
    pid_t helper = clone(make_orphan, upper_top, CLONE_VM | CLONE_VFORK | CLONE_FILES, &start);
    if (helper < 0)
      start.error = errno;
    else
      syscall(SYS_wait4, helper, 0, __WALL, 0);
  } else {
    pid_t pid = clone_init(&start, upper_top);
    if (pid > 0 && start.error != 0)
      syscall(SYS_wait4, pid, 0, __WALL, 0);
  }

  pthread_setcancelstate(cancel, 0);
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, 0, 8);
  munmap(area, area_size);
  if (start.error == 0 && start.pid < 0)
    start.error = ECHILD;  // the helper was killed before it could do anything
  if (start.error != 0) {
    if (start.pidfd >= 0)
      syscall(SYS_close, start.pidfd);
    *step = start.step;
    return -start.error;
  }
  *pidfd = start.pidfd;
  return start.pid;
}
