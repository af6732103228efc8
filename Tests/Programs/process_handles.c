// P13, P31–P35, P37, P39: what process descriptors name, and what can be done with them.
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>

struct info {
  uint64_t mask, cgroup;
  uint32_t pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
  int32_t exit_code;
  uint32_t coredump_mask, reserved;
};
#define GET_INFO(size) ((3UL << 30) | ((size_t)(size) << 16) | 0xFF0B)
#define PIDFD_THREAD_ 0200
#define MADV_COLD_ 20

static int open_handle(pid_t pid, int flags) { return (int)syscall(SYS_pidfd_open, pid, flags); }

static pid_t shared_tid;
static int hold[2];
static void *in_thread(void *unused) {
  char byte;
  shared_tid = thread_id();
  CHECK(write(hold[1], "x", 1) == 1);
  while (read(hold[0], &byte, 1) != 0) pause_ms(1);
  return unused;
}

static pid_t sleeper(void) {
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    alarm(20);
    for (;;) pause();
  }
  return child;
}

// Whether the kernel has PIDFD_GET_INFO (6.13).
static int describe(int handle, struct info *info, size_t size, uint64_t mask) {
  memset(info, 0xEE, sizeof *info);
  info->mask = mask;
  return ioctl(handle, GET_INFO(size), info);
}

static void descriptions(int handle, pid_t child) {
  struct info info;
  if (describe(handle, &info, 64, 1) == -1) {
    CHECK(errno == ENOTTY || errno == EINVAL);
    return;
  }
  CHECK(info.mask & 1);
  CHECK_EQUAL(info.pid, child);
  CHECK_EQUAL(info.tgid, child);
  CHECK_EQUAL(info.ppid, getpid());
  CHECK_EQUAL(info.ruid, getuid());
  CHECK_EQUAL(info.coredump_mask, 0xEEEEEEEE);
  int self = open_handle(getpid(), 0);
  CHECK(self >= 0);
  CHECK(describe(self, &info, 64, 1) == 0);
  CHECK_EQUAL(info.pid, getpid());
  CHECK_EQUAL(info.ppid, getppid());
  // A program of the future asks for more than anybody knows.
  static unsigned char large[4096];
  memset(large, 0xEE, sizeof large);
  memset(large, 0, 8);
  large[0] = 1;
  CHECK(ioctl(handle, GET_INFO(sizeof large), large) == 0);
  CHECK_EQUAL(((struct info *)large)->pid, child);
  for (size_t i = 256; i < sizeof large; i++) CHECK_EQUAL(large[i], 0);
  CHECK(describe(handle, &info, 63, 1) == -1 && (errno == EINVAL || errno == ENOTTY));
  CHECK(ioctl(handle, GET_INFO(64), NULL) == -1 && errno == EINVAL);
  CHECK(ioctl(handle, GET_INFO(64), 8) == -1 && errno == EFAULT);
  CHECK(describe(hold[0], &info, 64, 1) == -1 && (errno == ENOTTY || errno == EINVAL));
  CHECK(describe(900, &info, 64, 1) == -1 && errno == EBADF);
  // A thread has a number of its own.
  int thread = open_handle(shared_tid, PIDFD_THREAD_);
  CHECK(thread >= 0);
  CHECK(describe(thread, &info, 64, 1) == 0);
  CHECK_EQUAL(info.pid, shared_tid);
  CHECK_EQUAL(info.tgid, getpid());
  close(thread);
  close(self);
}

int main(void) {
  CHECK(pipe(hold) == 0);
  pid_t child = sleeper(), other = sleeper();
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, in_thread, NULL) == 0);
  while (shared_tid == 0) pause_ms(1);
  int handle = open_handle(child, 0), second = open_handle(child, 0), third = open_handle(other, 0);
  CHECK(handle >= 0 && second >= 0 && third >= 0);

  // P37: one process, one file.
  struct stat one, same, another;
  CHECK(fstat(handle, &one) == 0 && fstat(second, &same) == 0 && fstat(third, &another) == 0);
  CHECK(one.st_ino == same.st_ino);
  // P34
  descriptions(handle, child);
  // P35: descriptors of namespaces, where the kernel has them.
  for (int request = 0xFF01; request <= 0xFF0A; request++) {
    int space = ioctl(handle, request, 0);
    if (space >= 0) close(space);
    else CHECK(errno == ENOTTY || errno == EINVAL || errno == EPERM || errno == EACCES || errno == EOPNOTSUPP);
  }
  CHECK(ioctl(hold[0], 0xFF05, 0) == -1 && errno == ENOTTY);

  // P31: flags, threads, what isn't there.
  CHECK(open_handle(4194000, 0) == -1 && errno == ESRCH);
  CHECK(open_handle(0, 0) == -1 && errno == EINVAL);
  CHECK(open_handle(-1, 0) == -1 && errno == EINVAL);
  CHECK(open_handle(getpid(), 1) == -1 && errno == EINVAL);
  CHECK(open_handle(4194000, PIDFD_THREAD_) == -1 && (errno == ESRCH || errno == EINVAL));
  int nonblocking = open_handle(other, O_NONBLOCK);
  CHECK(nonblocking >= 0);
  siginfo_t info;
  CHECK(waitid((idtype_t)3 /* P_PIDFD */, nonblocking, &info, WEXITED) == -1 && errno == EAGAIN);

  // P39
  int copy = (int)syscall(438 /* pidfd_getfd */, handle, hold[1], 0);
  if (copy < 0) CHECK(errno == EPERM || errno == ENOSYS);
  else CHECK(fcntl(copy, F_GETFD) == FD_CLOEXEC && close(copy) == 0);
  CHECK(syscall(438, 900, 0, 0) == -1 && (errno == EBADF || errno == EPERM || errno == ENOSYS));
  CHECK(syscall(438, hold[0], 0, 0) == -1 && (errno == EBADF || errno == EPERM || errno == ENOSYS));
  static char page[8192] __attribute__((aligned(4096)));
  page[0] = 1;
  struct iovec range = {page, 4096};
  long advised = syscall(440 /* process_madvise */, handle, &range, 1, MADV_COLD_, 0);
  CHECK(advised == 4096 || errno == EPERM || errno == ENOSYS || errno == EINVAL);
  CHECK(syscall(440, 900, &range, 1, MADV_COLD_, 0) == -1);
  CHECK(errno == EBADF || errno == EPERM || errno == ENOSYS);
  // Who isn't being killed keeps its memory.
  CHECK(syscall(448 /* process_mrelease */, handle, 0) == -1);
  CHECK(errno == EINVAL || errno == ENOSYS || errno == EPERM);
  CHECK(syscall(448, hold[0], 0) == -1 && (errno == EBADF || errno == ENOSYS || errno == EPERM));

  // P13: the descriptor comes with the child.
  int made = -1;
#if defined(__x86_64__)
  pid_t born = (pid_t)syscall(SYS_clone, 0x1000 /* CLONE_PIDFD */ | SIGCHLD, 0, &made, 0, 0);
#else
  pid_t born = (pid_t)syscall(SYS_clone, 0x1000 | SIGCHLD, 0, &made, 0, 0);
#endif
  CHECK(born >= 0);
  if (born == 0) _exit(7);
  CHECK(made >= 0);
  struct pollfd ended = {.fd = made, .events = POLLIN};
  CHECK_EQUAL(poll(&ended, 1, 10000), 1);
  // It has ended and wasn't waited for: it can still be opened, described, and sent any signal.
  int late = open_handle(born, 0);
  CHECK(late >= 0);
  CHECK(syscall(SYS_pidfd_send_signal, late, SIGTERM, NULL, 0) == 0);
  struct info described;
  if (describe(late, &described, 64, 1) == 0 && described.mask & 1) CHECK_EQUAL(described.pid, born);
  memset(&info, 0, sizeof info);
  CHECK(waitid((idtype_t)3, late, &info, WEXITED) == 0);
  CHECK_EQUAL(info.si_pid, born);
  CHECK_EQUAL(info.si_status, 7);
  CHECK(open_handle(born, 0) == -1 && errno == ESRCH);
  CHECK(syscall(SYS_pidfd_send_signal, late, 0, NULL, 0) == -1 && errno == ESRCH);
  if (describe(late, &described, 64, 1) == -1) CHECK(errno == ESRCH || errno == ENOTTY || errno == EINVAL);
  else CHECK((described.mask & 1) == 0);

  CHECK(kill(child, SIGKILL) == 0 && kill(other, SIGKILL) == 0);
  CHECK(waitpid(child, NULL, 0) == child && waitpid(other, NULL, 0) == other);
  close(hold[1]);
  CHECK(pthread_join(thread, NULL) == 0);
  return 0;
}
