// System V semaphores: what semget(2), semop(2) and semctl(2) say.
#include "ipc_waiting.h"
#include <sys/resource.h>
#include <sys/sem.h>

union semun {
  int val;
  struct semid_ds *buf;
  unsigned short *array;
  struct seminfo *info;
};

static int get(int id, int number) { return semctl(id, number, GETVAL); }
static int set(int id, int number, int value) {
  return semctl(id, number, SETVAL, (union semun){.val = value});
}
static int op(int id, int number, int change, int flags) {
  struct sembuf one = {(unsigned short)number, (short)change, (short)flags};
  return semop(id, &one, 1);
}
static int make(int count) {
  int id = semget(IPC_PRIVATE, (size_t)count, 0600);
  CHECK(id >= 0);
  return id;
}
static void drop(int id) { CHECK(semctl(id, 0, IPC_RMID) == 0); }

#define FAILS(call, error)                                                                      \
  do {                                                                                          \
    errno = 0;                                                                                  \
    CHECK_EQUAL((call), -1);                                                                    \
    CHECK_EQUAL(errno, error);                                                                  \
  } while (0)

static void keys(void) {
  key_t key = (key_t)(0x53000000 ^ getpid());
  FAILS(semget(key, 3, 0600), ENOENT);
  int id = semget(key, 3, IPC_CREAT | 0640);
  CHECK(id >= 0);
  CHECK_EQUAL(semget(key, 3, 0), id);
  CHECK_EQUAL(semget(key, 0, 0), id);
  CHECK_EQUAL(semget(key, 1, IPC_CREAT), id);
  FAILS(semget(key, 4, 0), EINVAL);
  FAILS(semget(key, 3, IPC_CREAT | IPC_EXCL), EEXIST);
  FAILS(semget(IPC_PRIVATE, 0, 0600), EINVAL);
  FAILS(semget(IPC_PRIVATE, -1, 0600), EINVAL);
  FAILS(semget(IPC_PRIVATE, 32001, 0600), EINVAL);
  struct semid_ds state;
  memset(&state, 0xA5, sizeof state);
  CHECK(semctl(id, 0, IPC_STAT, (union semun){.buf = &state}) == 0);
  CHECK_EQUAL(state.sem_nsems, 3);
  CHECK_EQUAL(state.sem_perm.__key, key);
  CHECK_EQUAL(state.sem_perm.mode, 0640);
  CHECK_EQUAL(state.sem_perm.uid, geteuid());
  CHECK_EQUAL(state.sem_perm.cuid, geteuid());
  CHECK_EQUAL(state.sem_perm.gid, getegid());
  CHECK_EQUAL(state.sem_perm.__seq, id >> 15);
  CHECK_EQUAL(state.sem_otime, 0);
  time_t now = time(NULL);
  CHECK(state.sem_ctime >= now - 5 && state.sem_ctime <= now);
  // By index, as ipcs(1) finds them.
  struct seminfo info;
  int highest = semctl(0, 0, SEM_INFO, (union semun){.info = &info});
  CHECK(highest >= (id & 32767));
  CHECK(info.semusz >= 1 && info.semaem >= 3);
  CHECK(semctl(0, 0, IPC_INFO, (union semun){.info = &info}) >= (id & 32767));
  CHECK_EQUAL(info.semvmx, 32767);
  CHECK_EQUAL(info.semopm, 500);
  CHECK_EQUAL(semctl(id & 32767, 0, SEM_STAT, (union semun){.buf = &state}), id);
  CHECK_EQUAL(state.sem_perm.__key, key);
  CHECK_EQUAL(semctl(id & 32767, 0, 20 /* SEM_STAT_ANY */, (union semun){.buf = &state}), id);
  state.sem_perm.mode = 0600;
  CHECK(semctl(id, 0, IPC_SET, (union semun){.buf = &state}) == 0);
  CHECK(semctl(id, 0, IPC_STAT, (union semun){.buf = &state}) == 0);
  CHECK_EQUAL(state.sem_perm.mode, 0600);
  state.sem_perm.uid = (uid_t)-1;
  FAILS(semctl(id, 0, IPC_SET, (union semun){.buf = &state}), EINVAL);
  drop(id);
  FAILS(semctl(id, 0, IPC_STAT, (union semun){.buf = &state}), EINVAL);
  FAILS(semget(key, 3, 0), ENOENT);
}

static void values(void) {
  int id = make(4);
  for (int i = 0; i < 4; i++) CHECK_EQUAL(get(id, i), 0);
  CHECK_EQUAL(semctl(id, 0, GETPID), 0);
  CHECK(set(id, 2, 7) == 0);
  CHECK_EQUAL(get(id, 2), 7);
  CHECK_EQUAL(semctl(id, 2, GETPID), getpid());
  FAILS(set(id, 2, -1), ERANGE);
  FAILS(set(id, 2, 32768), ERANGE);
  FAILS(set(id, 4, 1), EINVAL);
  FAILS(get(id, -1), EINVAL);
  FAILS(semctl(id, 4, GETNCNT), EINVAL);
  FAILS(semctl(id, 0, 99), EINVAL);
  FAILS(semctl(-1, 0, GETVAL), EINVAL);
  unsigned short all[4] = {1, 2, 3, 4}, seen[4] = {0};
  CHECK(semctl(id, 0, SETALL, (union semun){.array = all}) == 0);
  CHECK(semctl(id, 0, GETALL, (union semun){.array = seen}) == 0);
  CHECK(memcmp(all, seen, sizeof all) == 0);
  all[3] = 32768;
  FAILS(semctl(id, 0, SETALL, (union semun){.array = all}), ERANGE);
  CHECK_EQUAL(get(id, 3), 4);
  FAILS(semctl(id, 0, SETALL, (union semun){.array = (void *)8}), EFAULT);
  FAILS(semctl(id, 0, GETALL, (union semun){.array = (void *)8}), EFAULT);
  FAILS(semctl(id, 0, IPC_STAT, (union semun){.buf = (void *)8}), EFAULT);
  FAILS(semctl(id, 0, IPC_SET, (union semun){.buf = (void *)8}), EFAULT);
  void *sealed = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  FAILS(semctl(id, 0, GETALL, (union semun){.array = sealed}), EFAULT);
  FAILS(semctl(id, 0, IPC_STAT, (union semun){.buf = sealed}), EFAULT);
  // All or nothing.
  struct sembuf two[2] = {{0, 5, 0}, {1, -3, IPC_NOWAIT}};
  FAILS(semop(id, two, 2), EAGAIN);
  CHECK_EQUAL(get(id, 0), 1);
  two[1].sem_op = -2;
  CHECK(semop(id, two, 2) == 0);
  CHECK_EQUAL(get(id, 0), 6);
  CHECK_EQUAL(get(id, 1), 0);
  // One semaphore twice in a call.
  struct sembuf same[3] = {{1, 3, 0}, {1, -2, 0}, {1, -1, 0}};
  CHECK(semop(id, same, 3) == 0);
  CHECK_EQUAL(get(id, 1), 0);
  CHECK(op(id, 1, 0, 0) == 0);
  FAILS(op(id, 0, 0, IPC_NOWAIT), EAGAIN);
  FAILS(op(id, 0, 32767, 0), ERANGE);
  FAILS(op(id, 4, 1, 0), EFBIG);
  FAILS(semop(id, two, 0), EINVAL);
  FAILS(semop(id, two, 501), E2BIG);
  FAILS(semop(id, (void *)8, 1), EFAULT);
  FAILS(semop(-1, two, 1), EINVAL);
  FAILS(semop(INT_MAX, two, 1), EINVAL);
  struct timespec bad = {0, 1000000000};
  FAILS(semtimedop(id, two, 1, &bad), EINVAL);
  FAILS(semtimedop(id, two, 1, (void *)8), EFAULT);
  struct semid_ds state;
  CHECK(semctl(id, 0, IPC_STAT, (union semun){.buf = &state}) == 0);
  CHECK(state.sem_otime >= time(NULL) - 5);
  struct sembuf many[500];
  for (int i = 0; i < 500; i++) many[i] = (struct sembuf){3, (short)(i % 2 ? -1 : 1), 0};
  CHECK(semop(id, many, 500) == 0);
  CHECK_EQUAL(get(id, 3), 4);
  drop(id);
}

// A program whose first operation waits, and that has no descriptor left.
static int full(int id) {
  struct rlimit limit, after;
  CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  limit.rlim_cur = 20;
  CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  while (dup(0) >= 0) {
  }
  CHECK_EQUAL(errno, EMFILE);
  CHECK(op(id, 0, -1, 0) == 0);
  CHECK(getrlimit(RLIMIT_NOFILE, &after) == 0);
  CHECK(after.rlim_cur == limit.rlim_cur && after.rlim_max == limit.rlim_max);
  FAILS(dup(0), EMFILE);
  return 0;
}

static void without_descriptors(const char *program) {
  int id = make(1);
  char word[16];
  sprintf(word, "%d", id);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    execl(program, program, "full", word, (char *)NULL);
    _exit(1);
  }
  UNTIL(semctl(id, 0, GETNCNT) == 1);
  CHECK(op(id, 0, 1, 0) == 0);
  reap_ok(child);
  drop(id);
}

static void waits(void) {
  int id = make(3);
  // Another process brings it.
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    UNTIL(semctl(id, 0, GETNCNT) == 1);
    CHECK_EQUAL(semctl(id, 0, GETZCNT), 0);
    CHECK(op(id, 0, 2, 0) == 0);
    CHECK_EQUAL(semctl(id, 0, GETPID), getppid());
    _exit(0);
  }
  CHECK(op(id, 0, -2, 0) == 0);
  reap_ok(child);
  CHECK_EQUAL(get(id, 0), 0);
  // A zero.
  CHECK(set(id, 0, 1) == 0);
  child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    UNTIL(semctl(id, 0, GETZCNT) == 1);
    CHECK_EQUAL(semctl(id, 0, GETNCNT), 0);
    CHECK(op(id, 0, -1, 0) == 0);
    _exit(0);
  }
  CHECK(op(id, 0, 0, 0) == 0);
  reap_ok(child);
  // Time goes by.
  struct sembuf one = {0, -1, 0};
  struct timespec begin, end, limit = {0, 60000000};
  clock_gettime(CLOCK_MONOTONIC, &begin);
  FAILS(semtimedop(id, &one, 1, &limit), EAGAIN);
  clock_gettime(CLOCK_MONOTONIC, &end);
  CHECK((end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000 >= 59);
  limit = (struct timespec){0, 0};
  FAILS(semtimedop(id, &one, 1, &limit), EAGAIN);
  limit = (struct timespec){LONG_MAX, 0};
  child = fork();
  if (child == 0) {
    UNTIL(semctl(id, 0, GETNCNT) == 1);
    CHECK(set(id, 0, 1) == 0);
    _exit(0);
  }
  CHECK(semtimedop(id, &one, 1, &limit) == 0);
  CHECK_EQUAL(semctl(id, 0, GETPID), getpid());
  reap_ok(child);
  // Removed while waited for.
  for (int how = 0; how < 2; how++) {
    int other = make(1);
    child = fork();
    if (child == 0) {
      UNTIL(semctl(other, 0, GETNCNT) == 1);
      drop(other);
      _exit(0);
    }
    FAILS(op(other, 0, -1, 0), EIDRM);
    reap_ok(child);
  }
  // First come, first served.
  int order[2];
  CHECK(pipe(order) == 0);
  pid_t waiters[4];
  for (int i = 0; i < 4; i++) {
    waiters[i] = fork();
    CHECK(waiters[i] >= 0);
    if (waiters[i] == 0) {
      CHECK(op(id, 1, -1, 0) == 0);
      char name = (char)('0' + i);
      CHECK(write(order[1], &name, 1) == 1);
      CHECK(op(id, 2, 1, 0) == 0);
      _exit(0);
    }
    UNTIL(semctl(id, 1, GETNCNT) == i + 1);
  }
  for (int i = 0; i < 4; i++) {
    char name;
    CHECK(op(id, 1, 1, 0) == 0);
    CHECK(read(order[0], &name, 1) == 1);
    CHECK_EQUAL(name, '0' + i);
    CHECK(op(id, 2, -1, 0) == 0);
    reap_ok(waiters[i]);
  }
  // Who can't be served lets others by, and one change serves several.
  CHECK_EQUAL(get(id, 1), 0);
  pid_t large = fork();
  if (large == 0) _exit(op(id, 1, -5, 0) == 0 ? 0 : 1);
  UNTIL(semctl(id, 1, GETNCNT) == 1);
  pid_t small = fork();
  if (small == 0) _exit(op(id, 1, -1, 0) == 0 ? 0 : 1);
  UNTIL(semctl(id, 1, GETNCNT) == 2);
  CHECK(op(id, 1, 1, 0) == 0);
  reap_ok(small);
  small = fork();
  if (small == 0) _exit(op(id, 1, -1, 0) == 0 ? 0 : 1);
  UNTIL(semctl(id, 1, GETNCNT) == 2);
  CHECK(op(id, 1, 6, 0) == 0);
  reap_ok(large);
  reap_ok(small);
  CHECK_EQUAL(get(id, 1), 0);
  // A killed waiter waits no more.
  child = fork();
  if (child == 0) _exit(op(id, 1, -1, 0) == 0 ? 0 : 1);
  UNTIL(semctl(id, 1, GETNCNT) == 1);
  CHECK(kill(child, SIGKILL) == 0);
  int status;
  CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
  CHECK_EQUAL(semctl(id, 1, GETNCNT), 0);
  CHECK(op(id, 1, 1, 0) == 0);
  CHECK_EQUAL(get(id, 1), 1);
  drop(id);
}

static void signals(void) {
  int id = make(2);
  pid_t self = getpid();
  // EINTR, whatever the handler's flags are.
  for (int restart = 0; restart < 2; restart++) {
    ipc_handle(SIGUSR1, ipc_count, restart ? SA_RESTART : 0);
    for (int timed = 0; timed < 2; timed++) {
      ipc_hits = 0;
      pid_t child = fork();
      if (child == 0) {
        UNTIL(semctl(id, 0, GETNCNT) == 1);
        // It may have said so before it sleeps.
        pause_ms(20);
        CHECK(kill(self, SIGUSR1) == 0);
        _exit(0);
      }
      struct sembuf one = {0, -1, 0};
      struct timespec limit = {100, 0};
      FAILS(timed ? semtimedop(id, &one, 1, &limit) : semop(id, &one, 1), EINTR);
      CHECK_EQUAL(ipc_hits, 1);
      reap_ok(child);
      CHECK_EQUAL(semctl(id, 0, GETNCNT), 0);
    }
  }
  // A handler that leaves the wait takes nothing along.
  ipc_handle(SIGUSR2, ipc_leave, SA_NODEFER);
  for (int round = 0; round < 5; round++) {
    pid_t child = fork();
    if (child == 0) {
      UNTIL(semctl(id, 0, GETNCNT) == 1);
      pause_ms(20);
      CHECK(kill(self, SIGUSR2) == 0);
      _exit(0);
    }
    if (sigsetjmp(ipc_way_out, 1) == 0) {
      op(id, 0, -1, 0);
      CHECK(0);
    }
    reap_ok(child);
    CHECK(op(id, 0, 1, 0) == 0);
    CHECK_EQUAL(get(id, 0), 1);
    CHECK(op(id, 0, -1, IPC_NOWAIT) == 0);
  }
  // What is ignored, or blocked, ends nothing.
  ipc_handle(SIGUSR1, SIG_IGN, 0);
  pid_t child = fork();
  if (child == 0) {
    UNTIL(semctl(id, 0, GETNCNT) == 1);
    pause_ms(20);
    for (int i = 0; i < 10; i++) {
      CHECK(kill(self, SIGUSR1) == 0);
      pause_ms(2);
    }
    CHECK(op(id, 0, 1, 0) == 0);
    _exit(0);
  }
  CHECK(op(id, 0, -1, 0) == 0);
  reap_ok(child);
  // Blocked, and pending when the wait is over.
  ipc_handle(SIGUSR1, ipc_count, 0);
  ipc_hits = 0;
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  CHECK(sigprocmask(SIG_BLOCK, &blocked, &before) == 0);
  child = fork();
  if (child == 0) {
    UNTIL(semctl(id, 0, GETNCNT) == 1);
    CHECK(kill(self, SIGUSR1) == 0);
    pause_ms(5);
    CHECK(op(id, 0, 1, 0) == 0);
    _exit(0);
  }
  CHECK(op(id, 0, -1, 0) == 0);
  CHECK_EQUAL(ipc_hits, 0);
  CHECK(sigprocmask(SIG_SETMASK, &before, NULL) == 0);
  CHECK_EQUAL(ipc_hits, 1);
  reap_ok(child);
  // Pending when it begins.
  CHECK(sigprocmask(SIG_BLOCK, &blocked, &before) == 0);
  CHECK(raise(SIGUSR1) == 0);
  struct itimerval soon = {{0, 0}, {0, 30000}};
  ipc_handle(SIGALRM, ipc_count, SA_RESTART);
  CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
  FAILS(op(id, 0, -1, 0), EINTR);
  CHECK_EQUAL(ipc_hits, 2);
  CHECK(sigprocmask(SIG_SETMASK, &before, NULL) == 0);
  drop(id);
}

// A waiter that is stopped gets nothing until it goes on, and then it does. (Whether a call that was stopped ends with EINTR is the
// system's choice, and it may be called again.)
static void job_control(void) {
  int id = make(2);
  pid_t child = fork();
  if (child == 0) {
    int result;
    while ((result = op(id, 0, -1, 0)) == -1 && errno == EINTR) {
    }
    CHECK(result == 0);
    _exit(0);
  }
  UNTIL(semctl(id, 0, GETNCNT) == 1);
  CHECK(kill(child, SIGSTOP) == 0);
  UNTIL(ipc_is_stopped(child));
  siginfo_t info;
  CHECK(waitid(P_PID, (id_t)child, &info, WSTOPPED) == 0);
  CHECK(op(id, 0, 1, 0) == 0);
  pause_ms(20);
  CHECK(kill(child, SIGCONT) == 0);
  reap_ok(child);
  CHECK_EQUAL(get(id, 0), 0);
  drop(id);
}

static void *thread_undo(void *argument) {
  int id = *(int *)argument;
  CHECK(op(id, 1, 4, SEM_UNDO) == 0);
  return NULL;
}

static void undo(const char *program) {
  int id = make(3);
  CHECK(set(id, 0, 10) == 0);
  pid_t child = fork();
  if (child == 0) {
    CHECK(op(id, 0, -3, SEM_UNDO) == 0);
    CHECK(op(id, 0, -2, 0) == 0);
    CHECK(op(id, 1, 5, SEM_UNDO) == 0);
    CHECK_EQUAL(get(id, 0), 5);
    _exit(0);
  }
  reap_ok(child);
  CHECK_EQUAL(get(id, 0), 8);
  CHECK_EQUAL(get(id, 1), 0);
  CHECK_EQUAL(semctl(id, 0, GETPID), child);
  // By a kill, too, and waiters are served.
  child = fork();
  if (child == 0) {
    CHECK(op(id, 0, -8, SEM_UNDO) == 0);
    pause();
  }
  UNTIL(get(id, 0) == 0);
  pid_t waiter = fork();
  if (waiter == 0) _exit(op(id, 0, -8, 0) == 0 ? 0 : 1);
  UNTIL(semctl(id, 0, GETNCNT) == 1);
  CHECK(kill(child, SIGKILL) == 0);
  reap_ok(waiter);
  CHECK(waitpid(child, NULL, 0) == child);
  CHECK_EQUAL(get(id, 0), 0);
  // Values that were set aren't undone, nor those of another set that has the index next.
  child = fork();
  if (child == 0) {
    CHECK(op(id, 0, 6, SEM_UNDO) == 0);
    CHECK(set(id, 0, 3) == 0);
    CHECK(op(id, 1, 6, SEM_UNDO) == 0);
    unsigned short all[3] = {2, 2, 2};
    CHECK(semctl(id, 0, SETALL, (union semun){.array = all}) == 0);
    _exit(0);
  }
  reap_ok(child);
  CHECK_EQUAL(get(id, 0), 2);
  CHECK_EQUAL(get(id, 1), 2);
  // Threads share it: it is undone when the process ends, and not when the thread does.
  CHECK(set(id, 1, 0) == 0);
  child = fork();
  if (child == 0) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, thread_undo, &id) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_EQUAL(get(id, 1), 4);
    // Children don't inherit it.
    pid_t grandchild = fork();
    if (grandchild == 0) _exit(0);
    reap_ok(grandchild);
    CHECK_EQUAL(get(id, 1), 4);
    // A program that is executed does.
    char name[16];
    snprintf(name, sizeof name, "%d", id);
    execl(program, program, "executed", name, (char *)NULL);
    _exit(2);
  }
  reap_ok(child);
  CHECK_EQUAL(get(id, 1), 0);
  // Never below zero.
  CHECK(set(id, 0, 0) == 0);
  child = fork();
  if (child == 0) {
    CHECK(op(id, 0, 5, SEM_UNDO) == 0);
    CHECK(op(id, 0, -4, 0) == 0);
    _exit(0);
  }
  reap_ok(child);
  CHECK_EQUAL(get(id, 0), 0);
  // The adjustment has a range.
  CHECK(set(id, 0, 32767) == 0);
  child = fork();
  if (child == 0) {
    CHECK(op(id, 0, -32767, SEM_UNDO) == 0);
    CHECK(op(id, 0, 32767, 0) == 0);
    FAILS(op(id, 0, -1, SEM_UNDO), ERANGE);
    CHECK(semctl(id, 0, SETVAL, (union semun){.val = 0}) == 0);
    _exit(0);
  }
  reap_ok(child);
  // A process that shares it by CLONE_SYSVSEM, which a fork doesn't: undone when both have ended.
  CHECK(set(id, 2, 0) == 0);
  child = fork();
  if (child == 0) {
    pid_t sharer = (pid_t)syscall(SYS_clone, CLONE_SYSVSEM | SIGCHLD, 0, 0, 0, 0);
    CHECK(sharer >= 0);
    if (sharer == 0) {
      CHECK(op(id, 2, 3, SEM_UNDO) == 0);
      _exit(0);
    }
    reap_ok(sharer);
    CHECK_EQUAL(get(id, 2), 3);
    _exit(0);
  }
  reap_ok(child);
  CHECK_EQUAL(get(id, 2), 0);
  drop(id);
}

static void *wait_in_thread(void *argument) {
  int id = *(int *)argument;
  CHECK(op(id, 0, -1, 0) == 0);
  return NULL;
}

static void threads(void) {
  int id = make(1);
  pthread_t some[8];
  for (int i = 0; i < 8; i++) CHECK(pthread_create(&some[i], NULL, wait_in_thread, &id) == 0);
  UNTIL(semctl(id, 0, GETNCNT) == 8);
  CHECK(op(id, 0, 8, 0) == 0);
  for (int i = 0; i < 8; i++) CHECK(pthread_join(some[i], NULL) == 0);
  CHECK_EQUAL(get(id, 0), 0);
  drop(id);
}

static void ping_pong(void) {
  int id = make(2);
  enum { rounds = 300 };
  pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < rounds; i++) {
      CHECK(op(id, 0, -1, 0) == 0);
      CHECK(op(id, 1, 1, 0) == 0);
    }
    _exit(0);
  }
  for (int i = 0; i < rounds; i++) {
    CHECK(op(id, 0, 1, 0) == 0);
    CHECK(op(id, 1, -1, 0) == 0);
  }
  reap_ok(child);
  drop(id);
}

// Signals all the time, between which nothing is lost and nothing taken twice.
static void storm(void) {
  int id = make(2);
  enum { rounds = 200 };
  pid_t self = getpid();
  ipc_handle(SIGUSR1, ipc_count, SA_RESTART);
  pid_t nuisance = fork();
  if (nuisance == 0) {
    while (get(id, 1) == 0) {
      kill(self, SIGUSR1);
      usleep(300);
    }
    _exit(0);
  }
  pid_t giver = fork();
  if (giver == 0) {
    ipc_handle(SIGUSR1, SIG_IGN, 0);
    for (int i = 0; i < rounds; i++) {
      CHECK(op(id, 0, 1, 0) == 0);
      usleep(200);
    }
    _exit(0);
  }
  for (int got = 0; got < rounds;) {
    if (op(id, 0, -1, 0) == 0)
      got++;
    else
      CHECK_EQUAL(errno, EINTR);
  }
  CHECK_EQUAL(get(id, 0), 0);
  while (op(id, 1, 1, 0) == -1) CHECK_EQUAL(errno, EINTR);
  reap_ok(giver);
  reap_ok(nuisance);
  drop(id);
}

static void permissions(void) {
  if (geteuid() != 0) return;
  int id = make(1);
  struct semid_ds state;
  CHECK(semctl(id, 0, IPC_STAT, (union semun){.buf = &state}) == 0);
  pid_t child = fork();
  if (child == 0) {
    CHECK(setgid(65534) == 0 && setuid(65534) == 0);
    FAILS(get(id, 0), EACCES);
    FAILS(op(id, 0, 1, 0), EACCES);
    FAILS(semctl(id, 0, IPC_RMID), EPERM);
    FAILS(semctl(id, 0, IPC_STAT, (union semun){.buf = &state}), EACCES);
    CHECK_EQUAL(semctl(id & 32767, 0, 20 /* SEM_STAT_ANY */, (union semun){.buf = &state}), id);
    int own = make(1);
    CHECK(semctl(own, 0, IPC_STAT, (union semun){.buf = &state}) == 0);
    CHECK_EQUAL(state.sem_perm.cuid, 65534);
    CHECK_EQUAL(state.sem_perm.cgid, 65534);
    drop(own);
    _exit(0);
  }
  reap_ok(child);
  state.sem_perm.uid = 65534;
  state.sem_perm.mode = 0200;
  CHECK(semctl(id, 0, IPC_SET, (union semun){.buf = &state}) == 0);
  child = fork();
  if (child == 0) {
    CHECK(setgid(65534) == 0 && setuid(65534) == 0);
    CHECK(op(id, 0, 1, 0) == 0);
    FAILS(get(id, 0), EACCES);
    CHECK(semctl(id, 0, IPC_RMID) == 0);
    _exit(0);
  }
  reap_ok(child);
}

static int crowded;
static void *wait_in_crowd(void *argument) {
  CHECK(op(crowded, 0, -1, 0) == 0);
  return argument;
}

// More threads of one process than a supervisor could have places for, and none of them is in another call's way.
static void crowd(void) {
  enum { threads = 200 };
  crowded = make(1);
  pthread_t crowd[threads];
  pthread_attr_t small;
  CHECK(pthread_attr_init(&small) == 0 && pthread_attr_setstacksize(&small, 65536) == 0);
  for (int i = 0; i < threads; i++) CHECK(pthread_create(&crowd[i], &small, wait_in_crowd, NULL) == 0);
  UNTIL(semctl(crowded, 0, GETNCNT) == threads);
  siginfo_t info;
  FAILS(waitid(P_ALL, 0, &info, WEXITED | WNOHANG), ECHILD);
  CHECK(set(crowded, 0, threads) == 0);
  for (int i = 0; i < threads; i++) CHECK(pthread_join(crowd[i], NULL) == 0);
  CHECK_EQUAL(get(crowded, 0), 0);
  CHECK(semctl(crowded, 0, IPC_RMID) == 0);
}

int main(int argc, char **argv) {
  if (argc > 2 && strcmp(argv[1], "executed") == 0) {
    CHECK_EQUAL(get(atoi(argv[2]), 1), 4);
    return 0;
  }
  if (argc > 2 && strcmp(argv[1], "full") == 0) return full(atoi(argv[2]));
  without_descriptors(argv[0]);
  keys();
  values();
  waits();
  signals();
  job_control();
  crowd();
  undo(argv[0]);
  threads();
  ping_pong();
  storm();
  permissions();
  return 0;
}
