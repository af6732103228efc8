// I1–I3, I6–I10, I12: System V shared memory as shmget(2), shmctl(2), shmop(2) and svipc(7) have it.
#include "check.h"

#include <fcntl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>

#ifndef SHM_STAT_ANY
#define SHM_STAT_ANY 15
#endif
#define PAGE 4096

#define FAILS(call, error)                                                                      \
  do {                                                                                          \
    errno = 0;                                                                                  \
    long long r_ = (long long)(call);                                                           \
    if (r_ != -1 || errno != (error)) {                                                         \
      fprintf(stderr, "%s:%d: %s = %lld, errno %d: %s, not %d\n", __FILE__, __LINE__, #call,    \
              r_, errno, strerror(errno), error);                                               \
      _exit(1);                                                                                 \
    }                                                                                           \
  } while (0)

static key_t key;

static struct shmid_ds status(int id) {
  struct shmid_ds s;
  memset(&s, 0xAA, sizeof s);
  CHECK_EQUAL(shmctl(id, IPC_STAT, &s), 0);
  return s;
}

static void *attach(int id, const void *at, int flags) {
  void *address = shmat(id, at, flags);
  CHECK(address != (void *)-1);
  return address;
}

static void keys(void) {
  FAILS(shmget(key, 100, 0600), ENOENT);
  FAILS(shmget(key, 0, IPC_CREAT | 0600), EINVAL);
  FAILS(shmget(key, SIZE_MAX, IPC_CREAT | 0600), EINVAL);
  int id = shmget(key, 100, IPC_CREAT | IPC_EXCL | 0640);
  CHECK(id >= 0);
  FAILS(shmget(key, 100, IPC_CREAT | IPC_EXCL | 0600), EEXIST);
  FAILS(shmget(key, 101, IPC_CREAT | IPC_EXCL | 0600), EEXIST);
  CHECK_EQUAL(shmget(key, 100, 0), id);
  CHECK_EQUAL(shmget(key, 0, 0), id);
  CHECK_EQUAL(shmget(key, 100, IPC_CREAT), id);
  CHECK_EQUAL(shmget(key, 99, IPC_EXCL), id);
  FAILS(shmget(key, 101, 0), EINVAL);
  FAILS(shmget(key, PAGE, 0), EINVAL);
  int other = shmget(IPC_PRIVATE, 100, 0600), third = shmget(IPC_PRIVATE, 100, IPC_CREAT | 0600);
  CHECK(other >= 0 && third >= 0 && other != id && third != id && other != third);
  CHECK_EQUAL(shmctl(id, IPC_RMID, NULL), 0);
  FAILS(shmget(key, 100, 0), ENOENT);
  FAILS(shmctl(id, IPC_RMID, NULL), EINVAL);
  FAILS(shmat(id, NULL, 0), EINVAL);
  int again = shmget(key, 100, IPC_CREAT | 0600);
  CHECK(again >= 0 && again != id);
  CHECK_EQUAL(shmctl(again, IPC_RMID, NULL), 0);
  CHECK_EQUAL(shmctl(other, IPC_RMID, NULL), 0);
  CHECK_EQUAL(shmctl(third, IPC_RMID, NULL), 0);
  FAILS(shmat(-1, NULL, 0), EINVAL);
  FAILS(shmctl(-1, IPC_RMID, NULL), EINVAL);
  FAILS(shmat(0x7FFFFFFF, NULL, 0), EINVAL);
  FAILS(shmctl(0x7FFFFFFF, IPC_STAT, NULL), EINVAL);
}

static void records(void) {
  time_t before = time(NULL) - 1;
  int id = shmget(key, 5000, IPC_CREAT | IPC_EXCL | 0640);
  struct shmid_ds s = status(id);
  CHECK_EQUAL(s.shm_perm.__key, key);
  CHECK_EQUAL(s.shm_perm.uid, geteuid());
  CHECK_EQUAL(s.shm_perm.cuid, geteuid());
  CHECK_EQUAL(s.shm_perm.gid, getegid());
  CHECK_EQUAL(s.shm_perm.cgid, getegid());
  CHECK_EQUAL(s.shm_perm.mode, 0640);
  CHECK_EQUAL(s.shm_perm.__seq, (id >> 15) & 0xFFFF);
  CHECK_EQUAL(s.shm_segsz, 5000);
  CHECK_EQUAL(s.shm_cpid, getpid());
  CHECK_EQUAL(s.shm_lpid, 0);
  CHECK_EQUAL(s.shm_nattch, 0);
  CHECK_EQUAL(s.shm_atime, 0);
  CHECK_EQUAL(s.shm_dtime, 0);
  CHECK(s.shm_ctime >= before && s.shm_ctime <= time(NULL) + 1);

  char *a = attach(id, NULL, 0);
  s = status(id);
  CHECK_EQUAL(s.shm_lpid, getpid());
  CHECK_EQUAL(s.shm_nattch, 1);
  CHECK(s.shm_atime >= before && s.shm_dtime == 0);
  char *b = attach(id, NULL, 0);
  CHECK(a != b);
  CHECK_EQUAL(status(id).shm_nattch, 2);
  CHECK_EQUAL(((uintptr_t)a | (uintptr_t)b) % PAGE, 0);
  for (int i = 0; i < 2 * PAGE; i++) CHECK_EQUAL(a[i], 0);
  strcpy(a + 4990, "shared");
  CHECK(strcmp(b + 4990, "shared") == 0);
  // The last page is all there.
  a[2 * PAGE - 1] = 7;
  CHECK_EQUAL(b[2 * PAGE - 1], 7);
  CHECK_EQUAL(shmdt(a), 0);
  FAILS(shmdt(a), EINVAL);
  s = status(id);
  CHECK_EQUAL(s.shm_nattch, 1);
  CHECK(s.shm_dtime >= before);
  CHECK_EQUAL(shmdt(b), 0);
  CHECK_EQUAL(status(id).shm_nattch, 0);
  // What was written stays.
  a = attach(id, NULL, SHM_RDONLY);
  CHECK(strcmp(a + 4990, "shared") == 0);
  CHECK(mprotect(a, PAGE, PROT_READ | PROT_WRITE) == -1 && errno == EACCES);
  CHECK_EQUAL(shmdt(a), 0);

  // A child makes the last attach.
  pid_t child = fork();
  if (child == 0) _exit(shmdt(attach(id, NULL, 0)) == 0 ? 0 : 1);
  reap_ok(child);
  CHECK_EQUAL(status(id).shm_lpid, child);
  CHECK_EQUAL(status(id).shm_cpid, getpid());

  s.shm_perm.mode = 0777 | 01000 | 02000;
  s.shm_segsz = 1;
  CHECK_EQUAL(shmctl(id, IPC_SET, &s), 0);
  s = status(id);
  CHECK_EQUAL(s.shm_perm.mode, 0777);
  CHECK_EQUAL(s.shm_segsz, 5000);
  s.shm_perm.uid = (uid_t)-1;
  FAILS(shmctl(id, IPC_SET, &s), EINVAL);
  FAILS(shmctl(id, IPC_SET, NULL), EFAULT);
  FAILS(shmctl(id, IPC_STAT, NULL), EFAULT);
  FAILS(shmctl(id, IPC_STAT, (void *)-200L), EFAULT);
  FAILS(shmctl(id, 4711, NULL), EINVAL);
  FAILS(shmctl(id, -1, NULL), EINVAL);
  FAILS(shmctl(id, INT32_MIN, NULL), EINVAL);
  // Memory that can only be read isn't written to.
  char *sealed = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK_EQUAL(mprotect(sealed + PAGE, PAGE, PROT_READ), 0);
  FAILS(shmctl(id, IPC_STAT, (void *)(sealed + PAGE)), EFAULT);
  FAILS(shmctl(id, IPC_STAT, (void *)(sealed + PAGE - 8)), EFAULT);
  CHECK_EQUAL(shmctl(id, IPC_STAT, (void *)(sealed + PAGE - sizeof s)), 0);
  // Nothing is written behind the record.
  char *pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK_EQUAL(munmap(pages + PAGE, PAGE), 0);
  CHECK_EQUAL(shmctl(id, IPC_STAT, (void *)(pages + PAGE - sizeof s)), 0);
  FAILS(shmctl(id, IPC_STAT, (void *)(pages + PAGE - sizeof s + 1)), EFAULT);
  FAILS(shmctl(id, IPC_SET, (void *)(pages + PAGE - sizeof s + 8)), EFAULT);
  CHECK_EQUAL(shmctl(id, IPC_RMID, NULL), 0);
}

static void infos(void) {
  int id = shmget(key, 3 * PAGE - 1, IPC_CREAT | 0600);
  struct shminfo limits;
  struct shm_info info;
  CHECK(shmctl(0, IPC_INFO, (void *)&limits) >= 0);
  CHECK_EQUAL(limits.shmmin, 1);
  CHECK(limits.shmmni >= 64 && limits.shmmax > 1 << 20 && limits.shmall > 256);
  int highest = shmctl(0, SHM_INFO, (void *)&info);
  CHECK(highest >= (id & 0x7FFF));
  CHECK(info.used_ids >= 1 && info.shm_tot >= 3);
  struct shmid_ds s;
  int found = 0;
  for (int index = 0; index <= highest; index++)
    if (shmctl(index, SHM_STAT, &s) == id) found++;
  CHECK_EQUAL(found, 1);
  CHECK_EQUAL(shmctl(id & 0x7FFF, SHM_STAT_ANY, &s), id);
  CHECK_EQUAL(s.shm_segsz, 3 * PAGE - 1);
  FAILS(shmctl(0x7FFF, SHM_STAT, &s), EINVAL);
  FAILS(shmctl(0, IPC_INFO, NULL), EFAULT);
  FAILS(shmctl(0, SHM_INFO, NULL), EFAULT);
  FAILS(shmctl(-1, IPC_INFO, (void *)&limits), EINVAL);
  char *a = attach(id, NULL, 0);
  memset(a, 1, 3 * PAGE);
  CHECK(shmctl(0, SHM_INFO, (void *)&info) >= 0);
  CHECK(info.shm_rss >= 3);
  CHECK_EQUAL(shmdt(a), 0);
  CHECK_EQUAL(shmctl(id, IPC_RMID, NULL), 0);
}

static void addresses(void) {
  int id = shmget(IPC_PRIVATE, 2 * PAGE, 0700);
  char *room = mmap(NULL, 16 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(room != MAP_FAILED);
  FAILS(shmat(id, room, 0), EINVAL);
  FAILS(shmat(id, room + 1, 0), EINVAL);
  FAILS(shmat(id, room + 1, SHM_REMAP), EINVAL);
  FAILS(shmat(id, NULL, SHM_REMAP), EINVAL);
  FAILS(shmat(id, (void *)1, SHM_REMAP | SHM_RND), EINVAL);
  FAILS(shmat(id, (void *)-PAGE, 0), EINVAL);
  CHECK(shmat(id, (void *)(1ULL << 60), 0) == (void *)-1);
  CHECK_EQUAL(munmap(room, 16 * PAGE), 0);
  CHECK_EQUAL(attach(id, room + 100, SHM_RND) == room, 1);
  CHECK_EQUAL(attach(id, room + 4 * PAGE, 0) == room + 4 * PAGE, 1);
  FAILS(shmat(id, room + PAGE, 0), EINVAL);
  // Over its own first attachment: of that the first page is left, and the second is here.
  CHECK(attach(id, room + PAGE, SHM_REMAP) == room + PAGE);
  CHECK_EQUAL(status(id).shm_nattch, 3);
  room[PAGE] = 'x';
  CHECK_EQUAL(room[0], 'x');
  FAILS(shmdt(room + 2 * PAGE), EINVAL);
  FAILS(shmdt(room + 1), EINVAL);
  FAILS(shmdt(NULL), EINVAL);
  FAILS(shmdt((void *)&id), EINVAL);
  FAILS(shmdt((void *)-PAGE), EINVAL);
  CHECK_EQUAL(shmdt(room), 0);
  CHECK_EQUAL(room[PAGE], 'x');
  CHECK_EQUAL(status(id).shm_nattch, 2);
  CHECK_EQUAL(shmdt(room + PAGE), 0);
  CHECK_EQUAL(shmdt(room + 4 * PAGE), 0);
  CHECK_EQUAL(status(id).shm_nattch, 0);

  // Executable.
  unsigned char *code = attach(id, NULL, SHM_EXEC);
#if defined(__x86_64__)
  memcpy(code, "\xB8\x2A\x00\x00\x00\xC3", 6);
  CHECK_EQUAL(((int (*)(void))code)(), 42);
#endif
  CHECK_EQUAL(shmdt(code), 0);
  CHECK_EQUAL(shmctl(id, IPC_RMID, NULL), 0);
}

// shmdt(2): what munmap, mremap and the like have left of an attachment goes.
static void pieces(void) {
  int id = shmget(IPC_PRIVATE, 6 * PAGE, 0600);
  char *a = attach(id, NULL, 0);
  CHECK_EQUAL(munmap(a + 2 * PAGE, PAGE), 0);
  CHECK_EQUAL(status(id).shm_nattch, 2);
  void *other = mmap(a + 2 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  CHECK(other == a + 2 * PAGE);
  CHECK_EQUAL(mprotect(a + 4 * PAGE, PAGE, PROT_READ), 0);
  CHECK_EQUAL(status(id).shm_nattch, 4);
  CHECK_EQUAL(shmdt(a), 0);
  CHECK_EQUAL(status(id).shm_nattch, 0);
  CHECK_EQUAL(msync(a + 2 * PAGE, PAGE, MS_ASYNC), 0);
  CHECK(msync(a + 3 * PAGE, PAGE, MS_ASYNC) == -1 && errno == ENOMEM);
  CHECK_EQUAL(munmap(other, PAGE), 0);

  // Without its beginning it goes by the address that it had.
  a = attach(id, NULL, 0);
  CHECK_EQUAL(munmap(a, 3 * PAGE), 0);
  FAILS(shmdt(a + 3 * PAGE), EINVAL);
  CHECK_EQUAL(shmdt(a), 0);
  CHECK_EQUAL(status(id).shm_nattch, 0);

  // Moved, it goes by the new one.
  a = attach(id, NULL, 0);
  char *room = mmap(NULL, 6 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char *moved = mremap(a, 6 * PAGE, 6 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room);
  CHECK(moved == room);
  FAILS(shmdt(a), EINVAL);
  CHECK_EQUAL(status(id).shm_nattch, 1);
  CHECK_EQUAL(shmdt(moved), 0);

  // And munmap alone does too.
  a = attach(id, NULL, 0);
  CHECK_EQUAL(munmap(a, 6 * PAGE), 0);
  CHECK_EQUAL(status(id).shm_nattch, 0);
  CHECK_EQUAL(shmctl(id, IPC_RMID, NULL), 0);
}

static void inheritance(const char *own) {
  int id = shmget(IPC_PRIVATE, PAGE, 0600), ready[2], go[2];
  int *a = attach(id, NULL, 0);
  CHECK(pipe(ready) == 0 && pipe(go) == 0);
  pid_t child = fork();
  if (child == 0) {
    a[0] = 1;
    char byte;
    CHECK_EQUAL(write(ready[1], "", 1), 1);
    CHECK_EQUAL(read(go[0], &byte, 1), 1);
    // The child's detach is its own.
    CHECK_EQUAL(shmdt(a), 0);
    CHECK_EQUAL(status(id).shm_nattch, 1);
    CHECK_EQUAL(status(id).shm_lpid, getpid());
    attach(id, NULL, 0);
    attach(id, NULL, 0);
    CHECK_EQUAL(write(ready[1], "", 1), 1);
    CHECK_EQUAL(read(go[0], &byte, 1), 1);
    char number[16];
    snprintf(number, sizeof number, "%d", id);
    execl(own, own, "look", number, NULL);
    _exit(1);
  }
  char byte;
  CHECK_EQUAL(read(ready[0], &byte, 1), 1);
  CHECK_EQUAL(a[0], 1);
  CHECK_EQUAL(status(id).shm_nattch, 2);
  CHECK_EQUAL(write(go[1], "", 1), 1);
  CHECK_EQUAL(read(ready[0], &byte, 1), 1);
  CHECK_EQUAL(status(id).shm_nattch, 3);
  CHECK_EQUAL(write(go[1], "", 1), 1);
  // exec drops them.
  reap_ok(child);
  CHECK_EQUAL(status(id).shm_nattch, 1);

  // So does every end.
  child = fork();
  if (child == 0) {
    CHECK_EQUAL(write(ready[1], "", 1), 1);
    pause();
  }
  CHECK_EQUAL(read(ready[0], &byte, 1), 1);
  CHECK_EQUAL(status(id).shm_nattch, 2);
  CHECK_EQUAL(kill(child, SIGKILL), 0);
  CHECK_EQUAL(waitpid(child, NULL, 0), child);
  CHECK_EQUAL(status(id).shm_nattch, 1);

  // A child that shares the memory is no more attached than its parent.
  child = vfork();
  if (child == 0) _exit(0);
  reap_ok(child);
  CHECK_EQUAL(status(id).shm_nattch, 1);
  CHECK_EQUAL(shmdt(a), 0);
  CHECK_EQUAL(shmctl(id, IPC_RMID, NULL), 0);
}

// IPC_RMID of an attached segment: its id lives until the last detach.
static void removal(void) {
  int id = shmget(key, PAGE, IPC_CREAT | IPC_EXCL | 0600), ready[2];
  char *a = attach(id, NULL, 0);
  strcpy(a, "still there");
  CHECK_EQUAL(shmctl(id, IPC_RMID, NULL), 0);
  struct shmid_ds s = status(id);
  CHECK_EQUAL(s.shm_perm.mode, 01600);
  CHECK_EQUAL(s.shm_perm.__key, 0);
  CHECK_EQUAL(s.shm_nattch, 1);
  FAILS(shmget(key, PAGE, 0), ENOENT);
  char *b = attach(id, NULL, 0);
  CHECK(strcmp(b, "still there") == 0);
  CHECK_EQUAL(shmctl(id, IPC_RMID, NULL), 0);
  CHECK_EQUAL(shmdt(a), 0);
  CHECK_EQUAL(status(id).shm_nattch, 1);
  CHECK(strcmp(b, "still there") == 0);
  CHECK_EQUAL(shmdt(b), 0);
  FAILS(shmctl(id, IPC_STAT, &s), EINVAL);
  FAILS(shmat(id, NULL, 0), EINVAL);

  // The last one may be another process's, which is killed, or executes something.
  id = shmget(key, PAGE, IPC_CREAT | IPC_EXCL | 0600);
  CHECK_EQUAL(pipe(ready), 0);
  pid_t child = fork();
  if (child == 0) {
    attach(id, NULL, 0);
    CHECK_EQUAL(shmctl(id, IPC_RMID, NULL), 0);
    CHECK_EQUAL(write(ready[1], "", 1), 1);
    pause();
  }
  char byte;
  CHECK_EQUAL(read(ready[0], &byte, 1), 1);
  CHECK_EQUAL(status(id).shm_perm.mode, 01600);
  CHECK_EQUAL(kill(child, SIGKILL), 0);
  CHECK_EQUAL(waitpid(child, NULL, 0), child);
  FAILS(shmctl(id, IPC_STAT, &s), EINVAL);
}

static void permissions(void) {
  if (geteuid() != 0) return;
  int id = shmget(key, PAGE, IPC_CREAT | IPC_EXCL | 0604);
  pid_t child = fork();
  if (child == 0) {
    if (setgid(12345) != 0 || setuid(12345) != 0) _exit(0);
    struct shmid_ds s;
    CHECK_EQUAL(shmget(key, PAGE, 0), id);
    CHECK_EQUAL(shmget(key, PAGE, 0400), id);
    FAILS(shmget(key, PAGE, 0600), EACCES);
    FAILS(shmget(key, PAGE, 0200), EACCES);
    FAILS(shmat(id, NULL, 0), EACCES);
    FAILS(shmat(id, NULL, SHM_RDONLY | SHM_EXEC), EACCES);
    CHECK_EQUAL(shmdt(attach(id, NULL, SHM_RDONLY)), 0);
    CHECK_EQUAL(shmctl(id, IPC_STAT, &s), 0);
    FAILS(shmctl(id, IPC_SET, &s), EPERM);
    FAILS(shmctl(id, IPC_RMID, NULL), EPERM);
    FAILS(shmctl(id, SHM_LOCK, NULL), EPERM);
    FAILS(shmctl(id, SHM_UNLOCK, NULL), EPERM);
    int own = shmget(IPC_PRIVATE, PAGE, 0);
    FAILS(shmat(own, NULL, SHM_RDONLY), EACCES);
    FAILS(shmctl(own, IPC_STAT, &s), EACCES);
    CHECK_EQUAL(shmctl(own & 0x7FFF, SHM_STAT_ANY, &s), own);
    CHECK_EQUAL(s.shm_perm.cuid, 12345);
    CHECK_EQUAL(s.shm_perm.cgid, 12345);
    // Its owner may change that, and lock as much as it may lock.
    s.shm_perm.mode = 0600;
    CHECK_EQUAL(shmctl(own, IPC_SET, &s), 0);
    struct rlimit none = {0, 0}, page = {PAGE, PAGE};
    CHECK_EQUAL(setrlimit(RLIMIT_MEMLOCK, &page), 0);
    CHECK_EQUAL(shmctl(own, SHM_LOCK, NULL), 0);
    CHECK_EQUAL(status(own).shm_perm.mode, 02600);
    int second = shmget(IPC_PRIVATE, PAGE, 0600);
    FAILS(shmctl(second, SHM_LOCK, NULL), ENOMEM);
    CHECK_EQUAL(shmctl(own, SHM_UNLOCK, NULL), 0);
    CHECK_EQUAL(status(own).shm_perm.mode, 0600);
    CHECK_EQUAL(shmctl(second, SHM_LOCK, NULL), 0);
    CHECK_EQUAL(setrlimit(RLIMIT_MEMLOCK, &none), 0);
    FAILS(shmctl(own, SHM_LOCK, NULL), EPERM);
    CHECK_EQUAL(shmctl(own, SHM_UNLOCK, NULL), 0);
    CHECK_EQUAL(shmctl(own, IPC_RMID, NULL), 0);
    CHECK_EQUAL(shmctl(second, IPC_RMID, NULL), 0);
    _exit(0);
  }
  reap_ok(child);
  CHECK_EQUAL(status(id).shm_perm.mode, 0604);
  // The group counts for the group, and the owner may be another one.
  struct shmid_ds s = status(id);
  s.shm_perm.gid = 12345;
  s.shm_perm.mode = 0060;
  CHECK_EQUAL(shmctl(id, IPC_SET, &s), 0);
  child = fork();
  if (child == 0) {
    if (setgid(12345) != 0 || setuid(12345) != 0) _exit(0);
    CHECK_EQUAL(shmdt(attach(id, NULL, 0)), 0);
    FAILS(shmctl(id, IPC_RMID, NULL), EPERM);
    _exit(0);
  }
  reap_ok(child);
  s.shm_perm.uid = 12345;
  CHECK_EQUAL(shmctl(id, IPC_SET, &s), 0);
  child = fork();
  if (child == 0) {
    if (setgid(54321) != 0 || setuid(12345) != 0) _exit(0);
    FAILS(shmat(id, NULL, 0), EACCES);
    CHECK_EQUAL(shmctl(id, IPC_RMID, NULL), 0);
    _exit(0);
  }
  reap_ok(child);
}

// What attaching does with descriptors, natively nothing, is over when it returns.
static void descriptors(void) {
  int id = shmget(IPC_PRIVATE, PAGE, 0600);
  int before = dup(0);
  CHECK_EQUAL(close(before), 0);
  char *a = attach(id, NULL, 0);
  int after = dup(0);
  CHECK_EQUAL(after, before);
  CHECK_EQUAL(close(after), 0);
  CHECK_EQUAL(shmdt(a), 0);
  // With none left it works too, where the limit may go up for a moment.
  struct rlimit old, few;
  CHECK_EQUAL(getrlimit(RLIMIT_NOFILE, &old), 0);
  few = old;
  few.rlim_cur = (rlim_t)before;
  CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &few), 0);
  CHECK_EQUAL(shmdt(attach(id, NULL, 0)), 0);
  CHECK_EQUAL(shmdt(attach(id, NULL, SHM_RDONLY)), 0);
  CHECK_EQUAL(getrlimit(RLIMIT_NOFILE, &few), 0);
  CHECK_EQUAL(few.rlim_cur, before);
  CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &old), 0);
  // The program's own limit on files is none on segments.
  struct rlimit small = {100, RLIM_INFINITY};
  CHECK_EQUAL(setrlimit(RLIMIT_FSIZE, &small), 0);
  int large = shmget(IPC_PRIVATE, 1 << 20, 0600);
  a = attach(large, NULL, 0);
  a[(1 << 20) - 1] = 1;
  CHECK_EQUAL(shmdt(a), 0);
  CHECK_EQUAL(shmctl(large, IPC_RMID, NULL), 0);
  CHECK_EQUAL(shmctl(id, IPC_RMID, NULL), 0);
}

int main(int argc, char **argv) {
  if (argc == 3) {
    CHECK_EQUAL(status(atoi(argv[2])).shm_nattch, 1);
    return 0;
  }
  key = 0x5A000000 | (getpid() & 0xFFFFFF);
  keys();
  records();
  infos();
  addresses();
  pieces();
  inheritance(argv[0]);
  removal();
  permissions();
  descriptors();
  return 0;
}
