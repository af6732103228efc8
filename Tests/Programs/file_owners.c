// P65–P69: who gets a file's signals and who holds a lock on it, in registers and in memory.
#include "check.h"
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define FIOSETOWN_ 0x8901
#define SIOCSPGRP_ 0x8902
#define FIOGETOWN_ 0x8903
#define SIOCGPGRP_ 0x8904

int main(void) {
  int ready[2], pair[2];
  CHECK(pipe(ready) == 0);
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
  FILE *file = tmpfile();
  CHECK(file != NULL);
  int locked = fileno(file);
  CHECK(setpgid(0, 0) == 0 || errno == EPERM);

  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    alarm(20);
    struct flock lock = {.l_type = F_WRLCK};
    CHECK(fcntl(locked, F_SETLK, &lock) == 0);
    CHECK(write(ready[1], "x", 1) == 1);
    for (;;) pause();
  }
  char byte;
  CHECK(read(ready[0], &byte, 1) == 1);

  struct flock lock = {.l_type = F_WRLCK};
  CHECK(fcntl(locked, F_GETLK, &lock) == 0);
  CHECK_EQUAL(lock.l_pid, child);
  lock = (struct flock){.l_type = F_WRLCK};
  CHECK(fcntl(locked, F_OFD_GETLK, &lock) == 0);
  CHECK_EQUAL(lock.l_pid, child);
  // Without a conflict the field is left alone.
  lock = (struct flock){.l_type = F_WRLCK, .l_pid = 77};
  CHECK(fcntl(pair[0], F_GETLK, &lock) == 0 || errno == EINVAL);
  CHECK_EQUAL(lock.l_pid, 77);

  // A lock of an open file has no process.
  char path[64];
  FILE *other = tmpfile();
  CHECK(other != NULL);
  snprintf(path, sizeof path, "/proc/self/fd/%d", fileno(other));
  int again = open(path, O_RDWR);
  if (again >= 0) {
    lock = (struct flock){.l_type = F_WRLCK};
    CHECK(fcntl(again, F_OFD_SETLK, &lock) == 0);
    lock = (struct flock){.l_type = F_WRLCK};
    CHECK(fcntl(fileno(other), F_GETLK, &lock) == 0);
    CHECK_EQUAL(lock.l_type, F_WRLCK);
    CHECK_EQUAL(lock.l_pid, -1);
    close(again);
  }

  CHECK(fcntl(pair[0], F_SETOWN, child) == 0);
  CHECK_EQUAL(fcntl(pair[0], F_GETOWN), child);
  CHECK_EQUAL(syscall(SYS_fcntl, pair[0], F_GETOWN), child);
  CHECK(fcntl(pair[0], F_SETOWN, -getpgrp()) == 0);
  CHECK_EQUAL(fcntl(pair[0], F_GETOWN), -getpgrp());
#if defined(__x86_64__)
  // The libraries take a small negative result for an error.
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "0"((long)SYS_fcntl), "D"((long)pair[0]), "S"((long)F_GETOWN), "d"(0L)
                   : "rcx", "r11", "memory");
  CHECK_EQUAL(result, -getpgrp());
#endif
  struct f_owner_ex owner = {F_OWNER_TID, thread_id()};
  CHECK(fcntl(pair[0], F_SETOWN_EX, &owner) == 0);
  CHECK_EQUAL(owner.pid, thread_id());
  owner = (struct f_owner_ex){-1, -1};
  CHECK(fcntl(pair[0], F_GETOWN_EX, &owner) == 0);
  CHECK_EQUAL(owner.type, F_OWNER_TID);
  CHECK_EQUAL(owner.pid, thread_id());
  owner = (struct f_owner_ex){F_OWNER_PGRP, getpgrp()};
  CHECK(fcntl(pair[0], F_SETOWN_EX, &owner) == 0);
  CHECK_EQUAL(fcntl(pair[0], F_GETOWN), -getpgrp());

  int name = child;
  CHECK(ioctl(pair[0], FIOSETOWN_, &name) == 0);
  CHECK_EQUAL(name, child);
  name = 0;
  CHECK(ioctl(pair[0], SIOCGPGRP_, &name) == 0);
  CHECK_EQUAL(name, child);
  name = -getpgrp();
  CHECK(ioctl(pair[0], SIOCSPGRP_, &name) == 0);
  name = 0;
  CHECK(ioctl(pair[0], FIOGETOWN_, &name) == 0);
  CHECK_EQUAL(name, -getpgrp());
  CHECK(fcntl(pair[0], F_SETOWN, 0) == 0);
  CHECK_EQUAL(fcntl(pair[0], F_GETOWN), 0);

  pid_t nobody = 4194000;
  CHECK(fcntl(pair[0], F_SETOWN, nobody) == -1 && errno == ESRCH);
  CHECK(fcntl(pair[0], F_SETOWN, -nobody) == -1 && errno == ESRCH);
  owner = (struct f_owner_ex){F_OWNER_PID, nobody};
  CHECK(fcntl(pair[0], F_SETOWN_EX, &owner) == -1 && errno == ESRCH);
  owner = (struct f_owner_ex){F_OWNER_PID, -5};
  CHECK(fcntl(pair[0], F_SETOWN_EX, &owner) == -1 && errno == ESRCH);
  owner = (struct f_owner_ex){7, getpid()};
  CHECK(fcntl(pair[0], F_SETOWN_EX, &owner) == -1 && errno == EINVAL);
  CHECK(syscall(SYS_fcntl, pair[0], F_SETOWN_EX, 8) == -1 && errno == EFAULT);
  CHECK(fcntl(-1, F_SETOWN, getpid()) == -1 && errno == EBADF);
  CHECK(fcntl(-1, F_GETOWN) == -1 && errno == EBADF);

  CHECK(kill(child, SIGKILL) == 0);
  CHECK_EQUAL(waitpid(child, NULL, 0), child);
  return 0;
}
