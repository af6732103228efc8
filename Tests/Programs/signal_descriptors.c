// P62, S6: what is read from a signal descriptor names who sent the signal, by whichever call it is read, from whichever
// copy of the descriptor, in a child too; other descriptors deliver what was written to them.
#include "check.h"
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/uio.h>

static sigset_t mask;

static struct signalfd_siginfo receive(int fd) {
  struct signalfd_siginfo info;
  memset(&info, 0xEE, sizeof info);
  CHECK_EQUAL(read(fd, &info, sizeof info), sizeof info);
  return info;
}

static void check_sender(struct signalfd_siginfo info, int signal, int code, pid_t sender) {
  CHECK_EQUAL(info.ssi_signo, signal);
  CHECK_EQUAL(info.ssi_code, code);
  CHECK_RECORD(info.ssi_pid, sender);
  CHECK_EQUAL(info.ssi_uid, getuid());
}

static pid_t child_that(void (*body)(void)) {
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    body();
    _exit(0);
  }
  return child;
}

static void nothing(void) {}
static void do_kill(void) { CHECK(kill(getppid(), SIGUSR1) == 0); }
static void do_queue(void) {
  union sigval value = {.sival_int = 4711};
  CHECK(sigqueue(getppid(), SIGRTMIN + 1, value) == 0);
}

// Waits for the child without taking its SIGCHLD, and takes that from the descriptor.
static void reap(int fd, pid_t child) {
  struct signalfd_siginfo info = receive(fd);
  check_sender(info, SIGCHLD, CLD_EXITED, child);
  CHECK_EQUAL(info.ssi_status, 0);
  reap_ok(child);
}

static int made;
static pthread_barrier_t barrier;
static volatile int epoll_went_on;

// Waits in calls before the process has any signal descriptor.
static void *early_reader(void *unused) {
  (void)unused;
  pthread_barrier_wait(&barrier);
  int other[2];
  CHECK(pipe(other) == 0);
  int epoll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN};
  CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, other[0], &event) == 0);
  // Nothing comes, and nothing interrupts it.
  CHECK_EQUAL(epoll_wait(epoll, &event, 1, 100), 0);
  epoll_went_on = 1;
  close(epoll);
  close(other[0]);
  close(other[1]);
  pthread_barrier_wait(&barrier);
  check_sender(receive(made), SIGUSR2, SI_USER, getpid());
  return NULL;
}

int main(void) {
  sigemptyset(&mask);
  int signals[] = {SIGUSR1, SIGUSR2, SIGCHLD, SIGRTMIN + 1};
  for (int i = 0; i < 4; i++)
    sigaddset(&mask, signals[i]);
  CHECK(sigprocmask(SIG_BLOCK, &mask, NULL) == 0);

  pthread_t thread;
  CHECK(pthread_barrier_init(&barrier, NULL, 2) == 0);
  CHECK(pthread_create(&thread, NULL, early_reader, NULL) == 0);
  pthread_barrier_wait(&barrier);
  pause_ms(30);
  int fd = made = signalfd(-1, &mask, SFD_CLOEXEC);
  CHECK(fd >= 0);
  pthread_barrier_wait(&barrier);
  CHECK(epoll_went_on);
  CHECK(kill(getpid(), SIGUSR2) == 0);
  CHECK(pthread_join(thread, NULL) == 0);

  // SIGCHLD, kill and sigqueue of children.
  reap(fd, child_that(nothing));
  pid_t child = child_that(do_kill);
  check_sender(receive(fd), SIGUSR1, SI_USER, child);
  reap(fd, child);
  child = child_that(do_queue);
  // Two signals of one child, once it has ended: the lower number comes first.
  siginfo_t ended;
  CHECK(waitid(P_PID, (id_t)child, &ended, WEXITED | WNOWAIT) == 0);
  reap(fd, child);
  struct signalfd_siginfo info = receive(fd);
  check_sender(info, SIGRTMIN + 1, SI_QUEUE, child);
  CHECK_EQUAL(info.ssi_int, 4711);

  // A thread of its own sends as the process does.
  CHECK(pthread_kill(pthread_self(), SIGUSR1) == 0);
  check_sender(receive(fd), SIGUSR1, SI_TKILL, getpid());

  // Several records at once, in pieces that cut them, by readv and preadv2.
  for (int way = 0; way < 2; way++) {
    CHECK(kill(getpid(), SIGUSR1) == 0);
    CHECK(kill(getpid(), SIGUSR2) == 0);
    struct signalfd_siginfo two[2];
    memset(two, 0xEE, sizeof two);
    char *bytes = (char *)two;
    struct iovec pieces[] = {{bytes, 14}, {bytes + 14, 100}, {bytes + 114, sizeof two - 114}};
    ssize_t count = way ? syscall(SYS_preadv2, fd, pieces, 3L, -1L, -1L, 0L) : readv(fd, pieces, 3);
    CHECK_EQUAL(count, sizeof two);
    check_sender(two[0], SIGUSR1, SI_USER, getpid());
    check_sender(two[1], SIGUSR2, SI_USER, getpid());
  }

  // Copies of the descriptor, and one with another number in a child.
  int copy = dup(fd), high = dup2(fd, 200);
  CHECK(kill(getpid(), SIGUSR1) == 0);
  check_sender(receive(copy), SIGUSR1, SI_USER, getpid());
  CHECK(kill(getpid(), SIGUSR1) == 0);
  check_sender(receive(high), SIGUSR1, SI_USER, getpid());
  child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    check_sender(receive(high), SIGUSR2, SI_USER, getppid());
    pid_t grandchild = fork();
    if (grandchild == 0) {
      check_sender(receive(copy), SIGUSR1, SI_USER, getppid());
      _exit(0);
    }
    CHECK(kill(grandchild, SIGUSR1) == 0);
    reap(fd, grandchild);
    _exit(0);
  }
  CHECK(kill(child, SIGUSR2) == 0);
  reap(fd, child);

  // Without a signal: what it should be, and EAGAIN.
  CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
  CHECK(read(fd, &info, sizeof info) == -1 && errno == EAGAIN);
  CHECK(read(fd, &info, 7) == -1 && errno == EINVAL);
  CHECK(kill(getpid(), SIGUSR1) == 0);
  CHECK(syscall(SYS_read, fd, 8L, sizeof info) == -1 && errno == EFAULT);

  // Another file that has what looks like a record is read as it is.
  int ends[2];
  CHECK(pipe(ends) == 0);
  memset(&info, 0, sizeof info);
  info.ssi_signo = SIGUSR1;
  info.ssi_pid = (uint32_t)getpid();
  CHECK_EQUAL(write(ends[1], &info, sizeof info), sizeof info);
  info = receive(ends[0]);
  CHECK_EQUAL(info.ssi_pid, getpid());
  info.ssi_pid = 1000000;
  CHECK_EQUAL(write(ends[1], &info, sizeof info), sizeof info);
  info = receive(ends[0]);
  CHECK_EQUAL(info.ssi_pid, 1000000);
  return 0;
}
