// Hostile ids, sizes, pointers and structures against System V objects and message queues, in an order that a seed says. What each
// call answers is written down: without a pod, in an IPC namespace where nobody else is, it must be the same.
#include "check.h"
#include <fcntl.h>
#include <mqueue.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>

static uint64_t state;
static unsigned draw(void) {
  state = state * 6364136223846793005 + 1442695040888963407;
  return (unsigned)(state >> 33);
}
#define ONE_OF(...) \
  ((const uint64_t[]){__VA_ARGS__}[draw() % (sizeof(uint64_t[]){__VA_ARGS__} / sizeof(uint64_t))])

enum { page = 4096 };
// Three pages, of which the last can't be reached.
static char *area;
static uint64_t recent[3][8];

static void fill(void) {
  for (int i = 0; i < 2 * page; i += 8) {
    uint64_t word = draw() % 3 ? draw() % 4 : (uint64_t)draw() << 32 | draw();
    memcpy(area + i, &word, 8);
  }
}

static uint64_t pointer(void) {
  return ONE_OF((uint64_t)area, (uint64_t)area, (uint64_t)area, (uint64_t)area, (uint64_t)area + 8, (uint64_t)area + 1,
                (uint64_t)area + 2 * page - 8, (uint64_t)area + 2 * page - 1, (uint64_t)area + 2 * page, 0, 1, -1,
                1ull << 47, 0xffff800000000000);
}

static uint64_t size(void) {
  return ONE_OF(0, 1, 8, 8, 100, 100, 4096, 8192, 8193, 16385, 65536, 0x7fffffff, 0x80000000, 0xffffffff, 1ull << 32,
                0x7fffffffffffffff, 1ull << 63, -1, -8);
}

static uint64_t id(int kind) {
  return draw() % 4 ? recent[kind][draw() % 8]
                    : ONE_OF(0, 1, 2, -1, 0x7fffffff, 0x80000000, 32767, 32768, 65536, 1ull << 32, 1ull << 63);
}

static uint64_t key(void) { return ONE_OF(0, 0, 1, 2, 3, -1, 0x7fffffff, 1ull << 32, 0x80000000); }

static uint64_t get_flags(void) {
  return ONE_OF(0, 0600, 01600, 01600, 01600, 03600, 01000, 02000, 03000, 01444, 01777, 0177777 & ~04000);
}

static long sysv(char *what) {
  uint64_t a[6] = {0};
  int number, kind = (int)(draw() % 3);
  long result;
  switch (draw() % 10) {
  case 0:
    number = SYS_msgget, kind = 0;
    a[0] = key(), a[1] = get_flags();
    break;
  case 1:
    number = SYS_semget, kind = 1;
    a[0] = key(), a[1] = ONE_OF(0, 1, 2, 3, 100, 32000, 32001, -1, 0x7fffffff, 1ull << 32), a[2] = get_flags();
    break;
  case 2:
    number = SYS_shmget, kind = 2;
    a[0] = key(), a[2] = get_flags();
    a[1] = ONE_OF(0, 1, 4096, 4097, 65536, -1, 1ull << 63, 1ull << 60, 0x7fffffffffffffff, -(1ull << 24), 10);
    // What no machine has is refused when it is made, unless it needn't be had.
    if (a[1] > 1ull << 40) a[2] &= ~(uint64_t)SHM_NORESERVE;
    break;
  case 3:
    number = SYS_msgctl, kind = 0;
    a[0] = id(0), a[1] = ONE_OF(0, 1, 2, 3, 11, 12, 13, -1, 4, 14, 256, 0x7fffffff, 1ull << 32 | 2), a[2] = pointer();
    break;
  case 4:
    number = SYS_semctl, kind = 1;
    a[0] = id(1), a[1] = ONE_OF(0, 0, 1, 2, 3, 100, -1, 0x7fffffff, 1ull << 32);
    a[2] = ONE_OF(0, 1, 2, 3, 11, 12, 13, 14, 15, 16, 16, 17, 17, 18, 19, 20, 21, -1, 256);
    a[3] = a[2] == 16 ? ONE_OF(0, 1, 2, 32767, 32768, -1, 1ull << 32) : pointer();
    break;
  case 5:
    number = SYS_shmctl, kind = 2;
    a[0] = id(2), a[1] = ONE_OF(0, 1, 2, 3, 12, 13, 15, -1, 4, 16, 256, 0x7fffffff), a[2] = pointer();
    break;
  case 6:
    number = SYS_msgsnd, kind = 0;
    a[0] = id(0), a[1] = pointer(), a[2] = size(), a[3] = IPC_NOWAIT | (draw() % 4 ? 0 : draw());
    break;
  case 7:
    number = SYS_msgrcv, kind = 0;
    a[0] = id(0), a[1] = pointer(), a[2] = size(), a[3] = ONE_OF(0, 0, 1, 2, 3, -1, -3, 1ull << 63, 1ull << 40);
    a[4] = IPC_NOWAIT | ONE_OF(0, 0, MSG_NOERROR, MSG_EXCEPT, 040000, 040000 | MSG_EXCEPT, 0x7fffffff);
    break;
  case 8: {
    number = draw() % 2 ? SYS_semop : SYS_semtimedop, kind = 1;
    for (int i = 0; i < page / 6; i++) {
      struct sembuf operation = {(unsigned short)ONE_OF(0, 0, 0, 1, 2, 3, 65535),
                                 (short)ONE_OF(0, 1, 1, -1, 2, 32767, -32768, -2),
                                 (short)(IPC_NOWAIT | ONE_OF(0, 0, SEM_UNDO, 0x7fff, -1))};
      memcpy(area + page + i * 6, &operation, 6);
    }
    // What isn't among these may wait, but not for long.
    a[0] = id(1), a[2] = ONE_OF(0, 1, 1, 1, 2, 3, 500, 501, -1, 1ull << 32, 1ull << 32 | 1);
    a[1] = draw() % 4 ? (uint64_t)area + page : ONE_OF(0, (uint64_t)area + 2 * page - 3, (uint64_t)area + 2 * page, -1);
    struct timespec *time = (void *)(area + 1024);
    *time = (struct timespec){(long)ONE_OF(0, 0, -1), (long)ONE_OF(0, 1000000, -1, 1000000000)};
    a[3] = ONE_OF(0, (uint64_t)time, (uint64_t)time, 1, (uint64_t)area + 2 * page);
    break;
  }
  default:
    kind = 2;
    if (draw() % 2) {
      number = SYS_shmdt;
      a[0] = ONE_OF(0, 1, (uint64_t)area, (uint64_t)area + 1, -1, -4096, 1ull << 47);
    } else {
      number = SYS_shmat;
      a[0] = id(2), a[1] = ONE_OF(0, 0, 0, (uint64_t)area, (uint64_t)area + 1, -4096, 1ull << 47);
      a[2] = ONE_OF(0, SHM_RDONLY, SHM_RND, SHM_EXEC, SHM_REMAP, 1, 0777);
      // It would take away what we stand on.
      if ((a[2] & SHM_REMAP) && a[1] - (uint64_t)area < 3 * page) a[1] = 0;
    }
  }
  // Pages that aren't there are as they were.
  errno = 0;
  result = syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  if (number == SYS_shmat && result != -1) {
    CHECK(shmdt((void *)result) == 0);
    result = 1;
  }
  if (number == SYS_semctl && a[2] == GETPID && result == getpid()) result = 1000000;
  if (number == SYS_msgget || number == SYS_semget || number == SYS_shmget)
    if (result >= 0) recent[kind][draw() % 8] = (uint64_t)result;
  // Which descriptor of what is in the answers' buffer isn't compared, but sizes, counts and ids are.
  int place = sprintf(what, "%d", number);
  for (int i = 0; i < 5; i++) {
    uint64_t word = a[i] - (uint64_t)area <= 3 * page ? a[i] - (uint64_t)area + 0xa0000 : a[i];
    place += sprintf(what + place, " %llx", (unsigned long long)word);
  }
  return result;
}

static long posix(char *what) {
  static char longest[300];
  memset(longest, 'n', sizeof longest - 1);
  longest[0] = '/';
  uint64_t a[6] = {0};
  int number;
  static int opened = -1;
  const char *names[] = {"", "/", "a", "b", "a/b", "/a", "..", ".", longest + 300 - 256, longest + 300 - 257, longest,
                         "sub\xff\n"};
  unsigned which = draw() % (sizeof names / sizeof *names);
  uint64_t name = draw() % 8 ? (uint64_t)names[which] : ONE_OF(0, 1, (uint64_t)area + 2 * page, -1);
  struct mq_attr *attributes = (void *)area;
  *attributes = (struct mq_attr){(long)ONE_OF(0, O_NONBLOCK, -1), (long)ONE_OF(1, 1, 2, 0, -1, 10, 11, 65536, 1ull << 40),
                                 (long)ONE_OF(1, 8, 8, 0, -1, 8192, 8193, 1ull << 40), 0, {0}};
  switch (draw() % 6) {
  case 0:
    number = SYS_mq_open;
    a[0] = name, a[1] = ONE_OF(O_RDWR, O_RDWR | O_CREAT, O_RDWR | O_CREAT | O_EXCL, O_CREAT, 3, O_WRONLY, -1) | O_NONBLOCK;
    a[2] = ONE_OF(0600, 0, 0777), a[3] = ONE_OF(0, 0, (uint64_t)area, (uint64_t)area, 1, (uint64_t)area + 2 * page);
    break;
  case 1:
    number = SYS_mq_unlink;
    a[0] = name;
    break;
  case 2:
    number = SYS_mq_timedsend;
    a[0] = draw() % 4 ? (uint64_t)opened : ONE_OF(0, -1, 0x7fffffff, 1ull << 32);
    a[1] = pointer(), a[2] = size(), a[3] = ONE_OF(0, 0, 1, 32767, 32768, -1);
    a[4] = ONE_OF(0, 0, 1, (uint64_t)area + 2 * page);
    break;
  case 3:
    number = SYS_mq_timedreceive;
    a[0] = draw() % 4 ? (uint64_t)opened : ONE_OF(0, -1, 0x7fffffff, 1ull << 32);
    a[1] = pointer(), a[2] = size(), a[3] = ONE_OF(0, 0, 1, (uint64_t)area + 2 * page);
    break;
  case 4:
    number = SYS_mq_getsetattr;
    attributes->mq_flags |= O_NONBLOCK;
    a[0] = draw() % 4 ? (uint64_t)opened : ONE_OF(0, -1, 0x7fffffff);
    a[1] = ONE_OF(0, (uint64_t)area, 1), a[2] = ONE_OF(0, (uint64_t)area + page, 1, (uint64_t)area + 2 * page);
    break;
  default: {
    number = SYS_mq_notify;
    struct sigevent *event = (void *)(area + 512);
    memset(event, 0, sizeof *event);
    event->sigev_notify = (int)ONE_OF(SIGEV_NONE, SIGEV_SIGNAL, SIGEV_THREAD, 4, -1, 77);
    event->sigev_signo = (int)ONE_OF(0, SIGUSR1, 64, 65, -1);
    a[0] = draw() % 4 ? (uint64_t)opened : ONE_OF(0, -1, 0x7fffffff);
    a[1] = ONE_OF(0, (uint64_t)event, (uint64_t)event, 1, (uint64_t)area + 2 * page);
  }
  }
  errno = 0;
  long result = syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  if (number == SYS_mq_open && result >= 0) {
    if (opened >= 0) close(opened);
    opened = (int)result;
    result = 0;
  }
  sprintf(what, "%d name %u, %llx %llx %llx", number, which, (unsigned long long)a[1] % 0xfff,
          (unsigned long long)a[2], (unsigned long long)a[3] % 0xfff);
  return result;
}

// Arguments: a seed, and how many calls.
int main(int argc, char **argv) {
  CHECK_EQUAL(argc, 3);
  state = strtoull(argv[1], NULL, 10) * 2654435761 + 1;
  area = mmap((void *)0x150000000, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  CHECK(area == (void *)0x150000000);
  CHECK(mprotect(area + 2 * page, page, PROT_NONE) == 0);
  signal(SIGUSR1, SIG_IGN);
  signal(64, SIG_IGN);
  struct rlimit memory = {1 << 16, 1 << 16};
  CHECK(setrlimit(RLIMIT_MEMLOCK, &memory) == 0);
  for (long i = 0; i < atol(argv[2]); i++) {
    char what[400];
    fill();
    long result = draw() % 5 ? sysv(what) : posix(what);
    printf("%ld: %s = %ld, errno %d\n", i, what, result, result == -1 ? errno : 0);
  }
  return 0;
}
