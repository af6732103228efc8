// I2, I3, I8: segments that are made, attached, detached and removed by many at once, threads, processes and those that are
// killed; and whatever a program passes. Nothing of it is left, and nobody else's segment is touched.
#include "check.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>

#define PAGE 4096

static int shared;
static volatile int over;

static int descriptors(void) {
  DIR *directory = opendir("/proc/self/fd");
  CHECK(directory != NULL);
  int count = 0;
  while (readdir(directory) != NULL) count++;
  closedir(directory);
  return count;
}

static struct shmid_ds status(int id) {
  struct shmid_ds s;
  CHECK_EQUAL(shmctl(id, IPC_STAT, &s), 0);
  return s;
}

// Threads attach and detach one segment; what another thread maps and opens meanwhile stays its own.
static void *attaching(void *argument) {
  long own = (long)argument;
  for (int round = 0; round < 60; round++) {
    long *a = shmat(shared, NULL, 0), *b = shmat(shared, NULL, round % 2 ? SHM_RDONLY : 0);
    CHECK(a != (void *)-1 && b != (void *)-1 && a != b);
    a[own] = round;
    CHECK_EQUAL(b[own], round);
    CHECK_EQUAL(shmdt(a), 0);
    CHECK_EQUAL(b[own], round);
    CHECK_EQUAL(shmdt(b), 0);
  }
  return NULL;
}

static void *mapping(void *unused) {
  while (!over) {
    long *memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    *memory = 4711;
    sched_yield();
    CHECK_EQUAL(*memory, 4711);
    CHECK_EQUAL(munmap(memory, PAGE), 0);
  }
  return unused;
}

// The lowest free descriptor is what open(2) gives.
static void *opening(void *unused) {
  int lowest = dup(0);
  CHECK(lowest > 2 && close(lowest) == 0);
  while (!over) {
    int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (!limited("attaching")) CHECK_EQUAL(file, lowest);
    CHECK_EQUAL(close(file), 0);
  }
  return unused;
}

static void threads(void) {
  shared = shmget(IPC_PRIVATE, PAGE, 0600);
  CHECK(shared >= 0);
  int before = descriptors();
  pthread_t workers[3], others[2];
  CHECK_EQUAL(pthread_create(&others[0], NULL, mapping, NULL), 0);
  CHECK_EQUAL(pthread_create(&others[1], NULL, opening, NULL), 0);
  for (long i = 0; i < 3; i++)
    CHECK_EQUAL(pthread_create(&workers[i], NULL, attaching, (void *)i), 0);
  for (int i = 0; i < 3; i++) CHECK_EQUAL(pthread_join(workers[i], NULL), 0);
  over = 1;
  for (int i = 0; i < 2; i++) CHECK_EQUAL(pthread_join(others[i], NULL), 0);
  CHECK_EQUAL(status(shared).shm_nattch, 0);
  CHECK_EQUAL(descriptors(), before);
  CHECK_EQUAL(shmctl(shared, IPC_RMID, NULL), 0);
}

// Two threads detach the same address: one of them does, and what a third one maps there stays.
static void *detaching(void *address) {
  int result = shmdt(address);
  CHECK(result == 0 || errno == EINVAL);
  return (void *)(long)(result == 0);
}

static void twice(void) {
  int id = shmget(IPC_PRIVATE, PAGE, 0600);
  for (int round = 0; round < 40; round++) {
    void *address = shmat(id, NULL, 0), *one, *other;
    CHECK(address != (void *)-1);
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
      CHECK_EQUAL(pthread_create(&threads[i], NULL, detaching, address), 0);
    CHECK(pthread_join(threads[0], &one) == 0 && pthread_join(threads[1], &other) == 0);
    CHECK_EQUAL((long)one + (long)other, 1);
    CHECK_EQUAL(status(id).shm_nattch, 0);
  }
  CHECK_EQUAL(shmctl(id, IPC_RMID, NULL), 0);
}

// Processes make and remove segments as fast as they can, with one key for all.
static void crowd(void) {
  key_t key = 0x5B000000 | (getpid() & 0xFFFFFF);
  pid_t children[4];
  for (int c = 0; c < 4; c++) {
    children[c] = fork();
    if (children[c] != 0) continue;
    for (int round = 0; round < 400; round++) {
      int own = shmget(IPC_PRIVATE, PAGE, 0600);
      CHECK(own >= 0);
      struct shmid_ds s = status(own);
      CHECK_EQUAL(s.shm_cpid, getpid());
      int common = shmget(key, PAGE, IPC_CREAT | 0600);
      CHECK(common >= 0 && common != own);
      if (round % 8 == 0) {
        int *a = shmat(common, NULL, 0);
        if (a == (void *)-1) {
          CHECK(errno == EINVAL || errno == EIDRM);
        } else {
          CHECK_EQUAL(*a & 1, 0);
          __atomic_add_fetch(a, 2, __ATOMIC_RELAXED);
          CHECK_EQUAL(shmdt(a), 0);
        }
      }
      if (round % 3 == 0) CHECK(shmctl(common, IPC_RMID, NULL) == 0 || errno == EINVAL || errno == EIDRM);
      CHECK_EQUAL(shmctl(own, IPC_RMID, NULL), 0);
      CHECK(shmctl(own, IPC_STAT, &s) == -1 && (errno == EINVAL || errno == EIDRM));
    }
    _exit(0);
  }
  for (int c = 0; c < 4; c++) reap_ok(children[c]);
  int left = shmget(key, PAGE, 0);
  if (left >= 0) CHECK_EQUAL(shmctl(left, IPC_RMID, NULL), 0);
}

// Processes are killed anywhere in an attach; the segment's count is right, and it goes with its last attachment.
static void killed(void) {
  int id = shmget(IPC_PRIVATE, PAGE, 0600);
  int *count = shmat(id, NULL, 0);
  for (int round = 0; round < 25; round++) {
    pid_t child = fork();
    if (child == 0)
      for (;;) {
        void *a = shmat(id, NULL, 0);
        __atomic_add_fetch(count, 1, __ATOMIC_RELAXED);
        shmdt(a);
      }
    struct timespec t = {0, 1000000 + round * 77777L};
    nanosleep(&t, NULL);
    CHECK_EQUAL(kill(child, SIGKILL), 0);
    CHECK_EQUAL(waitpid(child, NULL, 0), child);
    CHECK_EQUAL(status(id).shm_nattch, 1);
  }
  CHECK_EQUAL(shmctl(id, IPC_RMID, NULL), 0);
  CHECK_EQUAL(shmdt(count), 0);
  struct shmid_ds s;
  CHECK(shmctl(id, IPC_STAT, &s) == -1 && errno == EINVAL);
}

static uint64_t random_state = 88172645463325252ULL;
static uint64_t random_word(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  return random_state ^= random_state << 17;
}

static void hostile(void) {
  int own = shmget(IPC_PRIVATE, PAGE, 0600);
  char *a = shmat(own, NULL, 0);
  strcpy(a, "mine");
  static const uint64_t odd[] = {0,          1,          2,        13,      15,       4095,      4096,
                                 0x7FFFFFFF, 0x80000000, ~0ULL,    ~4095ULL, 1ULL << 47, 1ULL << 63, 040000,
                                 020000,     0100000,    (uint64_t)-4096 * 3};
  enum { count = sizeof odd / sizeof *odd };
  for (int round = 0; round < 6000; round++) {
    uint64_t words[3];
    for (int i = 0; i < 3; i++)
      words[i] = random_word() % 3 ? odd[random_word() % count] : random_word() >> random_word() % 64;
    long result;
    switch (random_word() % 4) {
    case 0: // Never a key, which somebody could have.
      result = syscall(SYS_shmget, 0, words[1], words[2] & ~04000ULL & 0xFFFFFFFF);
      if (result >= 0) CHECK_EQUAL(shmctl((int)result, IPC_RMID, NULL), 0);
      break;
    case 1:
      if ((int)words[0] == own || (words[2] & 040000)) break;
      result = syscall(SYS_shmat, words[0], words[1], words[2]);
      if (result != -1) CHECK_EQUAL(shmdt((void *)result), 0);
      break;
    case 2:
      if ((char *)words[0] == a) break;
      CHECK_EQUAL(syscall(SYS_shmdt, words[0]), -1);
      break;
    default:
      // Commands that change nothing, on anybody's.
      if (words[1] == IPC_RMID || words[1] == IPC_SET || words[1] == SHM_LOCK || words[1] == SHM_UNLOCK) break;
      syscall(SYS_shmctl, words[0], words[1], words[2] >= 1ULL << 47 || words[2] < PAGE ? words[2] : 0);
    }
  }
  CHECK(strcmp(a, "mine") == 0);
  CHECK_EQUAL(status(own).shm_nattch, 1);
  CHECK_EQUAL(shmdt(a), 0);
  CHECK_EQUAL(shmctl(own, IPC_RMID, NULL), 0);
}

int main(void) {
  threads();
  twice();
  crowd();
  killed();
  hostile();
  return 0;
}
