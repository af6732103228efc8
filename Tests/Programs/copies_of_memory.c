// Children whose parent isn't who made them, and what was put into the memory that theirs is a copy of: handlers read back as
// the program has set them, and calls that need memory of the pod's own don't take the program's.
#include "check.h"
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>

static void handler(int signal, siginfo_t *info, void *context) { (void)signal, (void)info, (void)context; }

struct kernel_action {
  void *handler;
  unsigned long flags;
  void *restorer;
  unsigned long mask;
};

// From a place that nobody patches.
static __attribute__((noinline)) long raw(long number, long a, long b, long c, long d) {
#ifdef __x86_64__
  long result;
  register long r10 __asm__("r10") = d;
  __asm__ volatile("nop; nop; nop; nop; nop; nop\n syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
                   : "rcx", "r11", "memory");
  return result;
#else
  return syscall(number, a, b, c, d);
#endif
}

static void reads_back(void) {
  struct kernel_action action = {0};
  CHECK_EQUAL(raw(SYS_rt_sigaction, SIGUSR1, 0, (long)&action, 8), 0);
  CHECK(action.handler == (void *)handler);
  CHECK(action.flags & SA_SIGINFO);
}

// A call for which a pod may need memory of its own in the caller.
static void call_with_memory(int file) {
  CHECK_EQUAL(fcntl(file, F_SETOWN, getpid()), 0);
  CHECK_EQUAL(syscall(SYS_fcntl, file, F_GETOWN), getpid());
}

static void *newest_mapping(void) {
  void *made = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(made != MAP_FAILED);
  return made;
}

static void siblings(void) {
  int ends[2];
  CHECK(pipe(ends) == 0);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    reads_back();
    // The child's own data, near where its parent is about to get something.
    unsigned char *data[16];
    for (int i = 0; i < 16; i++) memset(data[i] = newest_mapping(), 0x5a, 65536);
    char byte;
    CHECK_EQUAL(read(ends[0], &byte, 1), 1);
    long sibling = raw(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0);
    CHECK(sibling >= 0);
    if (sibling == 0) {
      reads_back();
      call_with_memory(ends[0]);
      for (int i = 0; i < 16; i++)
        for (int at = 0; at < 65536; at++) CHECK_EQUAL(data[i][at], 0x5a);
      _exit(0);
    }
    _exit(0);
  }
  call_with_memory(ends[1]);
  CHECK_EQUAL(write(ends[1], "", 1), 1);
  for (int i = 0; i < 2; i++) {
    int status = -1;
    CHECK(waitpid(-1, &status, 0) > 0);
    CHECK_EQUAL(status, 0);
  }
  CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
  close(ends[0]);
  close(ends[1]);
}

// A sibling of the program itself, which the pod's init has for its child.
static void sibling_of_program(void) {
  int ends[2];
  CHECK(pipe(ends) == 0);
  long sibling = raw(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0);
  // Process 1 has no siblings.
  if (sibling == -EINVAL) return;
  CHECK(sibling >= 0);
  if (sibling == 0) {
    reads_back();
    _exit(write(ends[1], "x", 1) != 1);
  }
  close(ends[1]);
  char byte = 0;
  CHECK_EQUAL(read(ends[0], &byte, 1), 1);
  close(ends[0]);
}

int main(void) {
  let_area_come();
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
  for (int i = 0; i < 6; i++) CHECK_EQUAL(sigaction(SIGUSR1, &action, NULL), 0);
  reads_back();
  for (int i = 0; i < 8; i++) siblings();
  sibling_of_program();
  return 0;
}
