// P55, P56: clocks of processes and threads, and timers that signal a thread.
#include "check.h"

// The id of a process's, thread's or descriptor's clock.
static int encoded(int name, int bits) { return ~name * 8 | bits; }

static volatile sig_atomic_t receiver;

static void note(int signal) {
  (void)signal;
  receiver = thread_id();
}

static void run(union sigval value) { *(volatile int *)value.sival_ptr = 1; }

static void arm_and_wait(int timer) {
  struct itimerspec soon = {.it_value = {0, 1000000}};
  receiver = 0;
  CHECK(syscall(SYS_timer_settime, timer, 0, &soon, NULL) == 0);
  for (int i = 0; i < 2000 && receiver == 0; i++) pause_ms(1);
  CHECK_EQUAL(receiver, thread_id());
  CHECK(syscall(SYS_timer_delete, timer) == 0);
}

static void *in_thread(void *unused) {
  clockid_t clock;
  struct timespec time;
  CHECK(pthread_getcpuclockid(pthread_self(), &clock) == 0);
  CHECK(clock_gettime(clock, &time) == 0);
  CHECK(clock_getres(clock, &time) == 0);
  struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
  event._sigev_un._tid = thread_id();
  int timer;
  CHECK(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer) == 0);
  arm_and_wait(timer);
  return unused;
}

int main(void) {
  struct sigaction action = {.sa_handler = note};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);

  clockid_t clock;
  struct timespec time;
  CHECK(clock_getcpuclockid(getpid(), &clock) == 0);
  CHECK(clock_gettime(clock, &time) == 0);
  CHECK(clock_getcpuclockid(0, &clock) == 0);
  CHECK(clock_gettime(clock, &time) == 0);
  // The caller's own process and thread, as an encoded 0.
  CHECK(syscall(SYS_clock_gettime, -6, &time) == 0);
  CHECK(syscall(SYS_clock_gettime, -2, &time) == 0);

  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    alarm(20);
    for (;;) pause();
  }
  CHECK(clock_getcpuclockid(child, &clock) == 0);
  CHECK(clock_gettime(clock, &time) == 0);
  CHECK(clock_getres(clock, &time) == 0);
  timer_t of_child;
  struct sigevent none = {.sigev_notify = SIGEV_NONE};
  CHECK(timer_create(clock, &none, &of_child) == 0);
  CHECK(timer_delete(of_child) == 0);
  CHECK(kill(child, SIGKILL) == 0);
  CHECK_EQUAL(waitpid(child, NULL, 0), child);
  CHECK(clock_gettime(clock, &time) == -1 && errno == EINVAL);

  pid_t nobody = 4194000;
  CHECK(syscall(SYS_clock_gettime, encoded(nobody, 2), &time) == -1 && errno == EINVAL);
  CHECK(syscall(SYS_clock_nanosleep, encoded(nobody, 2), 0, &time, NULL) == -1 && errno == EINVAL);
  // A clock of a descriptor that isn't one.
  CHECK(syscall(SYS_clock_gettime, encoded(900, 3), &time) == -1 && errno == EINVAL);

  struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
  event._sigev_un._tid = nobody;
  int timer;
  CHECK(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer) == -1 && errno == EINVAL);
  CHECK(syscall(SYS_timer_create, CLOCK_MONOTONIC, 8, &timer) == -1 && errno == EFAULT);
  event._sigev_un._tid = thread_id();
  CHECK(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer) == 0);
  CHECK_EQUAL(event._sigev_un._tid, thread_id());
  arm_and_wait(timer);
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, in_thread, NULL) == 0);
  CHECK(pthread_join(thread, NULL) == 0);

  volatile int done = 0;
  struct sigevent call = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = run};
  call.sigev_value.sival_ptr = (void *)&done;
  timer_t once;
  CHECK(timer_create(CLOCK_MONOTONIC, &call, &once) == 0);
  struct itimerspec soon = {.it_value = {0, 1000000}};
  CHECK(timer_settime(once, 0, &soon, NULL) == 0);
  for (int i = 0; i < 2000 && !done; i++) pause_ms(1);
  CHECK(done);
  return 0;
}
