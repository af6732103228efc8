// A call that names a child is made late: its thread runs only when nobody else wants the CPU, and when it is on its way the
// child is killed and waited for. Whoever outside gets the child's number then must not be hit.
//
//   late_calls priority|affinity|limit MILLISECONDS
//
// Writes "ready" when the child is there, "reaped" when it was waited for, and "done" when the last call is over. Whoever reads
// that has the time from "reaped" on until the CPUs are given back to take the number.
#include "check.h"
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>

static pid_t child;
static atomic_int ends, calls, reached, gone;
static const char *which;

static int call(void) {
  if (strcmp(which, "priority") == 0) return setpriority(PRIO_PROCESS, (id_t)child, 7);
  if (strcmp(which, "affinity") == 0) {
    unsigned long first = 1;
    return (int)syscall(SYS_sched_setaffinity, child, sizeof first, &first);
  }
  struct rlimit limit = {64, 64};
  return (int)syscall(SYS_prlimit64, child, RLIMIT_NOFILE, &limit, NULL);
}

static void *late(void *unused) {
  struct sched_param none = {0};
  CHECK(syscall(SYS_sched_setscheduler, 0, SCHED_IDLE, &none) == 0);
  while (!ends) {
    calls++;
    if (call() == 0)
      reached++;
    else if (errno == ESRCH)
      gone++;
    else
      CHECK(errno == EINTR);
  }
  return unused;
}

static void say(const char *text) {
  printf("%s\n", text);
  fflush(stdout);
}

int main(int argc, char **argv) {
  CHECK(argc == 3);
  which = argv[1];
  long delay = atol(argv[2]);
  child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    prctl(PR_SET_NAME, "late-target");
    for (;;) pause();
  }
  pause_ms(50);
  say("ready");
  // Several for each CPU, whatever else runs: an idle thread then waits long for each of its turns.
  enum { most = 64 };
  pid_t busy[most];
  long count = 4 * sysconf(_SC_NPROCESSORS_ONLN);
  if (count > most) count = most;
  for (long i = 0; i < count; i++) {
    busy[i] = fork();
    if (busy[i] == 0) {
      // Not for ever, should nobody end it.
      alarm(20);
      for (;;) {
      }
    }
  }
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, late, NULL) == 0);
  // By then it is somewhere in a call.
  pause_ms(delay);
  CHECK(kill(child, SIGKILL) == 0);
  int status;
  pid_t reaped = 0;
  for (int i = 0; i < 300 && reaped == 0; i++) {
    reaped = waitpid(child, &status, WNOHANG);
    if (reaped == 0) pause_ms(10);
  }
  if (reaped == child) {
    say("reaped");
    pause_ms(700);
  }
  for (long i = 0; i < count; i++) {
    kill(busy[i], SIGKILL);
    CHECK(waitpid(busy[i], &status, 0) == busy[i]);
  }
  if (reaped == 0) {
    // The number is kept for the call.
    CHECK(waitpid(child, &status, 0) == child);
    say("reaped");
    pause_ms(300);
  }
  ends = 1;
  CHECK(pthread_join(thread, NULL) == 0);
  printf("%d calls: %d reached, %d did not\n", calls, reached, gone);
  say("done");
  return 0;
}
