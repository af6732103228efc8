// P57: who sent a message to a POSIX queue is told by the signal that was asked for.
#include "check.h"
#include <fcntl.h>
#include <mqueue.h>

int main(void) {
  char name[64];
  struct timespec now;
  CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
  snprintf(name, sizeof name, "/pod-test-%ld-%ld", (long)now.tv_sec, now.tv_nsec);
  struct mq_attr attributes = {.mq_maxmsg = 1, .mq_msgsize = 8};
  mqd_t queue = mq_open(name, O_CREAT | O_EXCL | O_RDWR, 0600, &attributes);
  // Kernels and engines without message queues, or with none left.
  if (queue == (mqd_t)-1) return errno == ENOSYS || errno == EACCES || errno == EMFILE ? 0 : 1;
  CHECK(mq_unlink(name) == 0);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
  event.sigev_value.sival_int = 5;
  CHECK(mq_notify(queue, &event) == 0);
  CHECK(mq_notify(queue, &event) == -1 && errno == EBUSY);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    CHECK(mq_send(queue, "x", 1, 0) == 0);
    _exit(0);
  }
  siginfo_t info;
  CHECK_EQUAL(sigwaitinfo(&set, &info), SIGUSR1);
  CHECK_EQUAL(info.si_code, SI_MESGQ);
  CHECK_EQUAL(info.si_pid, child);
  CHECK_EQUAL(info.si_value.sival_int, 5);
  reap_ok(child);
  return 0;
}
