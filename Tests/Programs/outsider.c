// Run with the number that the kernel has for a process outside the pod, and with a file that it has locked: no
// descriptor gives authority over it, and nothing shows its number.
#include "check.h"
#include <fcntl.h>
#include <sys/socket.h>

#ifndef O_DIRECTORY
#define O_DIRECTORY 0200000
#endif

int main(int count, char **arguments) {
  CHECK_EQUAL(count, 3);
  char path[64];
  snprintf(path, sizeof path, "/proc/%s", arguments[1]);
  // The kernel takes such a directory for a process descriptor.
  int directory = open(path, O_RDONLY | O_DIRECTORY);
  if (directory >= 0) {
    CHECK(syscall(SYS_pidfd_send_signal, directory, 0, NULL, 0) == -1);
    CHECK(errno == EBADF || errno == EPERM);
  }
  // What the pod's own descriptors name stays reachable: by descriptor and by the constants for the caller.
  int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
  CHECK(self >= 0);
  CHECK(syscall(SYS_pidfd_send_signal, self, 0, NULL, 0) == 0);
  CHECK(syscall(SYS_pidfd_send_signal, -20000, 0, NULL, 0) == 0);
  CHECK(syscall(SYS_pidfd_send_signal, 0, 0, NULL, 0) == -1 && errno == EBADF);

  // P67: somebody holds the lock, nobody that could be named.
  int locked = open(arguments[2], O_RDONLY);
  CHECK(locked >= 0);
  struct flock lock = {.l_type = F_WRLCK};
  CHECK(fcntl(locked, F_GETLK, &lock) == 0);
  CHECK_EQUAL(lock.l_type, F_WRLCK);
  CHECK_EQUAL(lock.l_pid, 0);

  int pair[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
  CHECK(fcntl(pair[0], F_SETOWN, atoi(arguments[1])) == -1 && errno == ESRCH);
  struct {
    int type, pid;
  } owner = {1 /* F_OWNER_PID */, atoi(arguments[1])};
  CHECK(fcntl(pair[0], 15 /* F_SETOWN_EX */, &owner) == -1 && errno == ESRCH);
  return 0;
}
