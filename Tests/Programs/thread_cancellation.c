// S6, P26: pthread_kill, pthread_sigqueue and pthread_cancel, which send signals by the number that the library has of a
// thread.
#include "check.h"
#include <poll.h>

static pthread_t main_thread;
static volatile sig_atomic_t handled, value;
static volatile pid_t receiver, sender;

static void handle(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)context;
  receiver = thread_id();
  sender = info->si_pid;
  value = info->si_value.sival_int;
  handled++;
}

static void await(int count) {
  while (handled < count) pause_ms(1);
}

static int ready, cleaned;
static pid_t number, child;

static void clean(void *unused) {
  (void)unused;
  cleaned++;
}

static void *wait_in(void *place) {
  int pipes[2];
  char byte;
  CHECK(pipe(pipes) == 0);
  __atomic_store_n(&ready, 1, __ATOMIC_RELEASE);
  pthread_cleanup_push(clean, NULL);
  switch ((intptr_t)place) {
    case 0: for (;;) pause();
    case 1: for (;;) CHECK(read(pipes[0], &byte, 1) == -1);
    case 2: for (;;) poll(NULL, 0, -1);
    case 3: for (;;) pause_ms(100000);
    case 4: for (;;) waitpid(child, NULL, 0);
    case 5: for (;;) pthread_testcancel();
    default:
      CHECK(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL) == 0);
      for (;;) __asm__ volatile("" ::: "memory");
  }
  pthread_cleanup_pop(0);
  return NULL;
}

static void cancel_in_every_place(void) {
  child = fork();
  CHECK(child >= 0);
  if (child == 0)
    for (;;) pause();
  for (intptr_t place = 0; place < 7; place++)
    for (int moment = 0; moment < 2; moment++) {
      pthread_t thread;
      void *result = NULL;
      ready = cleaned = 0;
      CHECK(pthread_create(&thread, NULL, wait_in, (void *)place) == 0);
      while (!__atomic_load_n(&ready, __ATOMIC_ACQUIRE)) sched_yield();
      // At once, and when it surely waits.
      if (moment) pause_ms(5);
      CHECK(pthread_cancel(thread) == 0);
      CHECK(pthread_join(thread, &result) == 0);
      CHECK(result == PTHREAD_CANCELED);
      CHECK_EQUAL(cleaned, 1);
    }
  CHECK(kill(child, SIGKILL) == 0);
  CHECK(waitpid(child, NULL, 0) == child);
}

static void *receive(void *unused) {
  __atomic_store_n(&number, thread_id(), __ATOMIC_RELEASE);
  await(20);
  CHECK(pthread_kill(main_thread, SIGUSR1) == 0);
  return unused;
}

int main(void) {
  main_thread = pthread_self();
  struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_RESTART};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
  CHECK(sigaction(SIGRTMIN, &action, NULL) == 0);

  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, receive, NULL) == 0);
  while (!__atomic_load_n(&number, __ATOMIC_ACQUIRE)) pause_ms(1);
  for (int i = 1; i < 20; i++) {
    if (i % 2) {
      CHECK(pthread_kill(thread, SIGUSR1) == 0);
    } else {
      CHECK(pthread_sigqueue(thread, SIGRTMIN, (union sigval){.sival_int = i}) == 0);
    }
    await(i);
    CHECK_EQUAL(receiver, number);
    CHECK_EQUAL(sender, getpid());
    if (i % 2 == 0) CHECK_EQUAL(value, i);
  }
  CHECK(pthread_kill(thread, 0) == 0);
  CHECK(pthread_kill(thread, SIGUSR1) == 0);
  await(21);
  CHECK_EQUAL(receiver, getpid());
  CHECK(pthread_join(thread, NULL) == 0);

  cancel_in_every_place();
  // In a child of a child, whose numbers are others.
  pid_t other = fork();
  CHECK(other >= 0);
  if (other == 0) {
    cancel_in_every_place();
    _exit(0);
  }
  reap_ok(other);
  return 0;
}
