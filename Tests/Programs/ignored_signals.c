// signal(7): a signal that a process ignores, by its choice or by default, doesn't end its waits.
#include "check.h"
#include <sys/epoll.h>
#include <sys/sem.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

// Sends itself signals that it ignores, ends a child, and then does what the parent waits for.
static pid_t disturb(int pipe_end, int semaphores) {
  pid_t parent = getpid(), child = fork();
  CHECK(child >= 0);
  if (child > 0) return child;
  for (int i = 0; i < 5; i++) {
    pause_ms(10);
    kill(parent, SIGUSR1);
    kill(parent, SIGWINCH);
  }
  if (pipe_end >= 0) CHECK(write(pipe_end, "x", 1) == 1);
  struct sembuf up = {0, 1, 0};
  if (semaphores >= 0) CHECK(semop(semaphores, &up, 1) == 0);
  for (int i = 0; pipe_end < 0 && semaphores < 0; i++) {
    pause_ms(20);
    if (kill(parent, SIGUSR1) != 0 || getppid() != parent) _exit(0);
  }
  _exit(0);
}

int main(void) {
  CHECK(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
  int ends[2], poll = epoll_create1(0);
  CHECK(pipe(ends) == 0 && poll >= 0);
  struct epoll_event event = {.events = EPOLLIN};
  CHECK(epoll_ctl(poll, EPOLL_CTL_ADD, ends[0], &event) == 0);
  pid_t child = disturb(ends[1], -1);
  CHECK_EQUAL(epoll_wait(poll, &event, 1, -1), 1);
  reap_ok(child);

  int semaphores = semget(IPC_PRIVATE, 1, 0600);
  CHECK(semaphores >= 0);
  child = disturb(-1, semaphores);
  struct sembuf down = {0, -1, 0};
  int result = semop(semaphores, &down, 1), error = errno;
  CHECK(semctl(semaphores, 0, IPC_RMID) == 0);
  errno = error;
  CHECK_EQUAL(result, 0);
  reap_ok(child);

  // A wait with a time limit ends by it.
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
  child = disturb(-1, -1);
  struct timespec limit = {0, 150000000};
  double begin = now();
  CHECK(sigtimedwait(&set, NULL, &limit) == -1);
  CHECK_EQUAL(errno, EAGAIN);
  CHECK(now() - begin >= 0.15);
  CHECK(kill(child, SIGKILL) == 0);
  int status;
  CHECK_EQUAL(waitpid(child, &status, 0), child);
  return 0;
}
