// Waits that a stop for job control ends with EINTR, and such as go on: signal(7), "Interruption of system calls and library functions
// by stop signals". An argument: but for those on semaphores.
#include "ipc_waiting.h"

#include <sys/epoll.h>
#include <sys/msg.h>
#include <sys/sem.h>

static int set, queue;
static struct sembuf take = {0, -1, 0};

static int on_set(void) { return semop(set, &take, 1); }
static int on_set_timed(void) {
  struct timespec limit = {100, 0};
  return semtimedop(set, &take, 1, &limit);
}
static int on_events(void) {
  struct epoll_event event;
  return epoll_wait(epoll_create1(0), &event, 1, -1);
}
static int on_signal(void) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGUSR2);
  return sigtimedwait(&signals, NULL, &(struct timespec){100, 0});
}
static int on_queue(void) {
  struct {
    long type;
    char text[8];
  } message;
  return (int)msgrcv(queue, &message, sizeof message.text, 0, 0);
}

static void stop_and_continue(int (*wait_for)(void), int signal, int ends) {
  before_fork();
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    // A group that isn't orphaned: only such a one stops at SIGTSTP.
    CHECK(setpgid(0, 0) == 0);
    about_to_wait();
    errno = 0;
    int result = wait_for();
    if (ends) {
      CHECK_EQUAL(result, -1);
      CHECK_EQUAL(errno, EINTR);
    } else {
      CHECK_EQUAL(result, 8);
    }
    _exit(0);
  }
  until_it_waits();
  pause_ms(100);
  CHECK(kill(child, signal) == 0);
  UNTIL(ipc_is_stopped(child));
  siginfo_t info;
  CHECK(waitid(P_PID, (id_t)child, &info, WSTOPPED) == 0);
  CHECK(kill(child, SIGCONT) == 0);
  if (!ends) {
    pause_ms(100);
    struct {
      long type;
      char text[8];
    } message = {1, "message"};
    CHECK(msgsnd(queue, &message, 8, 0) == 0);
  }
  reap_ok(child);
}

static void ignored_signal(void) {
  // Who ignores a signal isn't woken by it, and waits no longer for that.
  CHECK(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
  pid_t sender = fork();
  if (sender == 0) {
    for (int i = 0; i < 20; i++) {
      pause_ms(10);
      CHECK(kill(getppid(), SIGUSR1) == 0);
    }
    _exit(0);
  }
  struct sembuf never = {0, -1, 0};
  struct timespec begin, end, limit = {0, 300000000};
  clock_gettime(CLOCK_MONOTONIC, &begin);
  CHECK(semtimedop(set, &never, 1, &limit) == -1 && errno == EAGAIN);
  clock_gettime(CLOCK_MONOTONIC, &end);
  long waited = (end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000;
  CHECK(waited >= 299 && waited < 10000);
  reap_ok(sender);
}

int main(int count, char **words) {
  (void)words;
  CHECK((set = semget(IPC_PRIVATE, 1, 0600)) >= 0);
  CHECK((queue = msgget(IPC_PRIVATE, 0600)) >= 0);
  ignored_signal();
  const int signals[] = {SIGSTOP, SIGTSTP};
  for (int i = 0; i < 2; i++) {
    if (count == 1) {
      stop_and_continue(on_set, signals[i], 1);
      stop_and_continue(on_set_timed, signals[i], 1);
    }
    stop_and_continue(on_events, signals[i], 1);
    stop_and_continue(on_signal, signals[i], 1);
    stop_and_continue(on_queue, signals[i], 0);
  }
  CHECK_EQUAL(semctl(set, 0, IPC_RMID), 0);
  CHECK_EQUAL(msgctl(queue, IPC_RMID, NULL), 0);
  return 0;
}
