// Code changes under the feet of the threads that execute it: a thread's own call, and what a pod may have put into the
// process. Nobody waits for a thread that doesn't come back, and calls go on being made.
#include "check.h"
#include <fcntl.h>
#include <sys/mman.h>

enum { most = 400, lock_pi = 6, rounds = 50 };
struct mapping {
  unsigned long start, end;
  char rights[5];
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
    if (sscanf(line, "%lx-%lx %4s", &list[count].start, &list[count].end, list[count].rights) == 3)
      count++;
    line = end + 1;
  }
  return count;
}

// futex(&word, FUTEX_LOCK_PI, …) with the caller's own id in the word: it is an error, and no thread waits.
static int word;
static const struct timespec soon;
static long lock_own(long (*call)(void)) {
  word = thread_id();
  long result = call();
  word = 0;
  return result;
}
static long by_library(void) {
  long result = syscall(SYS_futex, &word, lock_pi, 0, &soon, NULL, 0);
  return result < 0 ? -errno : result;
}

static unsigned char *code;
static long by_own_code(void) {
  long result;
  register long r10 __asm__("r10") = (long)&soon;
  register long r8 __asm__("r8") = 0;
  register long r9 __asm__("r9") = 0;
  __asm__ volatile("call *%6"
                   : "=a"(result)
                   : "a"((long)SYS_futex), "D"(&word), "S"((long)lock_pi), "d"(0L), "r"(r10), "r"(code), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

static volatile int stop;
static unsigned char *changing;
static unsigned short good;
static void *change(void *argument) {
  // `jmp .`: whoever executes it stays until it is gone.
  const unsigned short bad = 0xfeeb;
  for (unsigned turn = 0; !stop; turn++) {
    *(volatile unsigned short *)changing = turn % 2 ? good : bad;
    for (volatile int i = 0; i < (int)(turn * 7 % 5000); i++) {
    }
    if (turn % 200 == 199)
      pause_ms(1);
  }
  *(volatile unsigned short *)changing = good;
  return argument;
}

static void disturb(unsigned char *place, long (*call)(void)) {
  changing = place;
  good = *(unsigned short *)place;
  stop = 0;
  pthread_t thread;
  CHECK_EQUAL(pthread_create(&thread, NULL, change, NULL), 0);
  for (int i = 0; i < rounds; i++) {
    long result = lock_own(call);
    // The kernel's own errors, and what a pod says when it can't make the call.
    CHECK(result == -EDEADLK || result == -ETIMEDOUT || result == -EFAULT);
  }
  stop = 1;
  pthread_join(thread, NULL);
}

int main(void) {
  static struct mapping before[most], after[most];
  code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(code != MAP_FAILED);
  memcpy(code, "\x0f\x05\xc3", 3);  // syscall; ret
  mappings(before);
  int count = mappings(before);
  CHECK_EQUAL(lock_own(by_library), lock_own(by_own_code));
  unsigned char *foreign = NULL;
  int now = mappings(after);
  for (int i = 0; i < now; i++) {
    int is_old = after[i].rights[2] != 'x';
    for (int j = 0; j < count; j++)
      is_old |= before[j].start < after[i].end && after[i].start < before[j].end;
    if (!is_old)
      foreign = (unsigned char *)after[i].start;
  }
  if (foreign) {
    // Code that isn't ours: written over for good, then to and fro.
    CHECK_EQUAL(mprotect(foreign, 4096, PROT_READ | PROT_WRITE | PROT_EXEC), 0);
    disturb(foreign, by_library);
    memcpy(foreign, "\xeb\xfe", 2);
    long result = lock_own(by_library);
    CHECK(result == -EDEADLK || result == -ETIMEDOUT);
  }
  disturb(code, by_own_code);
  CHECK_EQUAL(lock_own(by_library), lock_own(by_own_code));
  return 0;
}
