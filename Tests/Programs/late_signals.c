// Processes send signals by name through the pod's code in them, late: they run only when nobody else wants the CPU. Meanwhile who has the name ends, is waited
// for, and another process is made, which gets the same number where somebody outside sees to that. It must not be hit.
//
//   late_signals SECONDS
//
// Prints how often the number was given again.
#include "page_site.h"
#include <stdatomic.h>
#include <sys/mman.h>

enum { senders = 3 };

static struct {
  _Atomic pid_t name;
  atomic_int calls[senders], hits, ends;
} *shared;

static void hit(int signal) {
  (void)signal;
  shared->hits++;
}

static void send(int number) {
  struct sched_param none = {0};
  CHECK(syscall(SYS_sched_setscheduler, 0, SCHED_IDLE, &none) == 0);
  while (!shared->ends) {
    pid_t name = shared->name;
    if (name == 0) continue;
    long result = page_alone(SYS_kill, number % 2 ? -name : name, SIGUSR1);
    CHECK(result == 0 || result == -ESRCH || result == page_left);
    shared->calls[number] += result == 0;
  }
  _exit(0);
}

// The kernel's number of the caller.
static pid_t number(void) {
  char text[32] = {0};
  CHECK(readlink("/proc/self", text, sizeof text - 1) > 0);
  return atoi(text);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec * 1e-9;
}

int main(int count, char **arguments) {
  CHECK_EQUAL(count, 2);
  find_page();
  // Nothing to be seen where the pod's code sends no signals: there is none, or the kernel doesn't keep them in the pod.
  if (page == NULL || page_alone(SYS_kill, 0x3fffffff, 0) != page_left) return 77;
  double end = now() + atof(arguments[1]);
  shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(shared != MAP_FAILED);
  pid_t own[senders];
  for (int i = 0; i < senders; i++) {
    own[i] = fork();
    CHECK(own[i] >= 0);
    if (own[i] == 0) send(i);
  }
  int rounds = 0, again = 0, pipes[2];
  CHECK(pipe(pipes) == 0);
  while (now() < end) {
    pid_t numbers[2];
    signal(SIGUSR1, SIG_IGN);
    pid_t target = fork();
    CHECK(target >= 0);
    if (target == 0) {
      setpgid(0, 0);
      numbers[0] = number();
      CHECK(write(pipes[1], numbers, sizeof *numbers) == sizeof *numbers);
      // So that the senders have their turns.
      pause_ms(2);
      _exit(0);
    }
    shared->name = target;
    CHECK(read(pipes[0], &numbers[0], sizeof *numbers) == sizeof *numbers);
    reap_ok(target);
    signal(SIGUSR1, hit);
    pid_t bystander = fork();
    CHECK(bystander >= 0);
    if (bystander == 0) {
      setpgid(0, 0);
      numbers[1] = number();
      CHECK(write(pipes[1], &numbers[1], sizeof *numbers) == sizeof *numbers);
      pause_ms(4);
      _exit(0);
    }
    CHECK(read(pipes[0], &numbers[1], sizeof *numbers) == sizeof *numbers);
    reap_ok(bystander);
    CHECK_EQUAL(shared->hits, 0);
    rounds++;
    again += numbers[0] == numbers[1];
  }
  shared->ends = 1;
  int calls = 0;
  for (int i = 0; i < senders; i++) {
    // Or it might never get so far as to see that.
    struct sched_param none = {0};
    CHECK(syscall(SYS_sched_setscheduler, own[i], SCHED_OTHER, &none) == 0 || errno == ESRCH);
    reap_ok(own[i]);
    calls += shared->calls[i];
  }
  CHECK(calls > 0);
  printf("%d rounds, %d signals, %d times the same number\n", rounds, calls, again);
  return 0;
}
