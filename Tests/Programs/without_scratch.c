// A process that unmaps what it didn't map itself, or makes it unreadable, gets the same answers from calls whose
// arguments are copied, before and after.
#include "check.h"
#include <fcntl.h>
#include <sys/mman.h>

enum { most = 400 };
struct mapping {
  unsigned long start, end;
};

// Without the C library's streams, whose buffers would be mappings too.
static int mappings(struct mapping *list) {
  static char text[1 << 16];
  int fd = open("/proc/self/maps", O_RDONLY);
  CHECK(fd >= 0);
  ssize_t size = 0, part;
  while ((part = read(fd, text + size, sizeof text - 1 - (size_t)size)) > 0)
    size += part;
  close(fd);
  text[size] = 0;
  int count = 0;
  for (char *line = text; count < most && *line;) {
    char *end = strchr(line, '\n');
    CHECK(end != NULL);
    *end = 0;
    if (sscanf(line, "%lx-%lx", &list[count].start, &list[count].end) == 2)
      count++;
    line = end + 1;
  }
  return count;
}

// Calls that a pod may copy arguments of, or execute code for.
static void calls(void) {
  siginfo_t info = {0};
  info.si_signo = SIGUSR1;
  info.si_code = SI_QUEUE;
  info.si_pid = getpid();
  info.si_value.sival_int = 7;
  CHECK_EQUAL(syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, &info), 0);
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, SIGUSR1);
  siginfo_t got;
  CHECK_EQUAL(sigwaitinfo(&one, &got), SIGUSR1);
  CHECK_EQUAL(got.si_pid, getpid());
  CHECK_EQUAL(got.si_value.sival_int, 7);

  // A lock word that holds the id of its owner.
  static int word;
  word = thread_id();
  struct timespec soon = {0, 0};
  enum { lock_pi = 6 };
  CHECK_EQUAL(syscall(SYS_futex, &word, lock_pi, 0, &soon, NULL, 0), -1);
  CHECK(errno == EDEADLK || errno == ETIMEDOUT);
  word = 0;

  // A process's end, with its siginfo.
  pid_t child = fork();
  if (child == 0)
    _exit(3);
  siginfo_t end = {0};
  CHECK_EQUAL(waitid(P_PID, (id_t)child, &end, WEXITED), 0);
  CHECK_EQUAL(end.si_pid, child);
}

int main(void) {
  static struct mapping before[most], after[most];
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, SIGUSR1);
  sigprocmask(SIG_BLOCK, &one, NULL);
  // What the C library maps for itself comes first, and the pod's area with its trampolines: code runs into both (docs/page.md).
  free(malloc(1 << 16));
  for (int i = 0; i < 5; i++) {
    pid_t child = fork();
    if (child == 0) _exit(0);
    reap_ok(child);
  }
  mappings(before);
  int count = mappings(before);
  for (int round = 0; round < 3; round++) {
    calls();
    int now = mappings(after);
    for (int i = 0; i < now; i++) {
      int is_old = 0;
      for (int j = 0; j < count; j++)
        is_old |= before[j].start < after[i].end && after[i].start < before[j].end;
      if (is_old)
        continue;
      size_t size = after[i].end - after[i].start;
      if (round == 0)
        CHECK_EQUAL(munmap((void *)after[i].start, size), 0);
      if (round == 1)
        CHECK_EQUAL(mprotect((void *)after[i].start, size, PROT_NONE), 0);
    }
  }
  calls();
  return 0;
}
