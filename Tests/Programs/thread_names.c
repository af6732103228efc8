// P2, P8–P11, P29, P43: threads are named consistently by gettid, by the library's own records, and by each other.
#include "check.h"

static volatile sig_atomic_t hits;
static volatile pid_t hit_thread;
static void handler(int signal) {
  (void)signal;
  hit_thread = thread_id();
  hits++;
}

static pthread_barrier_t started;
static volatile int stop;
static volatile pid_t thread_name;

static void *body(void *argument) {
  thread_name = thread_id();
  pthread_barrier_wait(&started);
  while (!stop) pause_ms(1);
  return argument;
}

static void *quick(void *argument) { return argument; }

static void *sleeper(void *argument) {
  for (;;) pause();
  return argument;
}

int main(void) {
  CHECK(signal(SIGUSR1, handler) != SIG_ERR);
  pthread_barrier_init(&started, NULL, 2);
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, body, NULL) == 0);
  pthread_barrier_wait(&started);
  CHECK(thread_name != getpid());
  CHECK(pthread_kill(thread, SIGUSR1) == 0);
  while (hits < 1) pause_ms(1);
  CHECK_EQUAL(hit_thread, thread_name);
  CHECK(syscall(SYS_tgkill, getpid(), thread_name, SIGUSR1) == 0);
  while (hits < 2) pause_ms(1);
  CHECK_EQUAL(hit_thread, thread_name);
  CHECK(syscall(SYS_tkill, thread_name, SIGUSR1) == 0);
  while (hits < 3) pause_ms(1);
  CHECK_EQUAL(hit_thread, thread_name);
  CHECK(pthread_kill(pthread_self(), SIGUSR1) == 0);
  CHECK_EQUAL(hits, 4);
  CHECK_EQUAL(hit_thread, getpid());
  CHECK(raise(SIGUSR1) == 0);
  CHECK_EQUAL(hits, 5);

  cpu_set_t all, cpus;
  CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
  CHECK(pthread_getaffinity_np(thread, sizeof cpus, &cpus) == 0 && CPU_EQUAL(&cpus, &all));
  CHECK(pthread_getaffinity_np(pthread_self(), sizeof cpus, &cpus) == 0 && CPU_EQUAL(&cpus, &all));
  CHECK(sched_getaffinity(thread_name, sizeof cpus, &cpus) == 0 && CPU_EQUAL(&cpus, &all));
  CHECK(sched_getaffinity(getpid(), sizeof cpus, &cpus) == 0 && CPU_EQUAL(&cpus, &all));
  int policy;
  struct sched_param parameter;
  CHECK(pthread_getschedparam(thread, &policy, &parameter) == 0);
  CHECK(pthread_setname_np(thread, "renamed") == 0);
  stop = 1;
  CHECK(pthread_join(thread, NULL) == 0);
  while (syscall(SYS_tgkill, getpid(), thread_name, 0) == 0) pause_ms(1);
  CHECK(errno == ESRCH);

  CHECK(pthread_create(&thread, NULL, sleeper, NULL) == 0);
  pause_ms(5);
  CHECK(pthread_cancel(thread) == 0);
  void *result;
  CHECK(pthread_join(thread, &result) == 0);
  CHECK(result == PTHREAD_CANCELED);

  for (int round = 0; round < 20; round++) {
    pthread_t threads[20];
    for (int i = 0; i < 20; i++) CHECK(pthread_create(&threads[i], NULL, quick, NULL) == 0);
    for (int i = 0; i < 20; i++) CHECK(pthread_join(threads[i], NULL) == 0);
  }

  // After a fork the library's record of the main thread is the child's.
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    hits = 0;
    CHECK(pthread_kill(pthread_self(), SIGUSR1) == 0);
    CHECK_EQUAL(hits, 1);
    CHECK(raise(SIGUSR1) == 0);
    CHECK_EQUAL(hits, 2);
    _exit(0);
  }
  reap_ok(child);
  return 0;
}
