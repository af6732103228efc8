// Processes that make, use and remove System V and POSIX objects of the same keys at full speed, guess ids by number, and kill
// each other in the middle. Every object carries the mark of this run: whoever finds another's, has got through to another pod
// or to the host.
#include "ipc_waiting.h"
#include <fcntl.h>
#include <mqueue.h>
#include <semaphore.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

enum { key_count = 4, worker_count = 5, semaphores = 3 };

// What happened, for the report, in memory that outlives the workers.
static struct {
  volatile int over;
  int mark;
  long made, used, removed, places, guessed, kills, waits;
  int found_other, what;
  // The id that each index of each kind had last.
  int last[3][32768];
} *shared;

static key_t first_key;
static uint64_t state;
static unsigned draw(void) {
  state = state * 6364136223846793005 + 1442695040888963407;
  return (unsigned)(state >> 33);
}

static long now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void count(long *what) { __atomic_add_fetch(what, 1, __ATOMIC_RELAXED); }

// Another's object: an id natively, in this pod, means one of ours or nothing.
static void other(int what, int mark) {
  shared->what = what;
  __atomic_store_n(&shared->found_other, mark ? mark : -1, __ATOMIC_SEQ_CST);
}

static void made(int kind, int id) {
  count(&shared->made);
  int last = __atomic_exchange_n(&shared->last[kind][id & 32767], id + 1, __ATOMIC_RELAXED);
  // The place of a removed one.
  if (last != 0 && last != id + 1) count(&shared->places);
}

// Gone, not ours to use at this moment, full, empty: what a race that is natively one ends with.
static void expect_usual(const char *call) {
  switch (errno) {
  case EINVAL: case EIDRM: case ENOENT: case EEXIST: case EAGAIN: case ENOMSG: case EINTR: case ENOSPC: case ENOMEM:
  case E2BIG: case EFBIG: case ERANGE: case EMFILE: case ENFILE: case EACCES: return;
  }
  fprintf(stderr, "%s: %s\n", call, strerror(errno));
  other(99, errno);
}

struct text {
  long type;
  int mark, check;
};

static void use_queue(int id) {
  struct text message = {shared->mark, shared->mark, ~shared->mark};
  if (msgsnd(id, &message, sizeof message - sizeof(long), IPC_NOWAIT) == -1) expect_usual("msgsnd");
  struct text got = {0, 0, 0};
  int flags = draw() % 16 ? IPC_NOWAIT : 0;
  // Now and then it waits: whoever removes the queue, kills or sends ends that.
  if (!flags) count(&shared->waits);
  ssize_t size = msgrcv(id, &got, sizeof got - sizeof(long), 0, flags | MSG_NOERROR);
  if (size == -1) return expect_usual("msgrcv");
  if (got.type != shared->mark || got.mark != shared->mark || got.check != ~shared->mark) other(1, got.mark);
  count(&shared->used);
}

static void use_set(int id) {
  // A set's last semaphore has the mark, once its maker has come so far.
  int mark = semctl(id, semaphores - 1, GETVAL);
  if (mark == -1) return expect_usual("semctl");
  if (mark != 0 && mark != shared->mark) return other(2, mark);
  struct sembuf take[2] = {{0, 1, SEM_UNDO}, {1, 0, 0}};
  if (semop(id, take, 2) == -1) return expect_usual("semop");
  if (draw() % 8 == 0) {
    // For what doesn't come, for a moment.
    struct timespec time = {0, 200000};
    struct sembuf wait = {1, -1, SEM_UNDO};
    count(&shared->waits);
    if (semtimedop(id, &wait, 1, &time) == -1) expect_usual("semtimedop");
  }
  count(&shared->used);
}

static void use_segment(int id) {
  int *words = shmat(id, NULL, 0);
  if (words == (void *)-1) return expect_usual("shmat");
  int mark = __atomic_load_n(words, __ATOMIC_RELAXED);
  if (mark != 0 && mark != shared->mark) other(3, mark);
  __atomic_store_n(words, shared->mark, __ATOMIC_RELAXED);
  if (draw() % 64 == 0) _exit(0);  // With it attached.
  CHECK(shmdt(words) == 0);
  count(&shared->used);
}

static void by_key(void) {
  key_t key = first_key + (key_t)(draw() % key_count);
  int flags = IPC_CREAT | 0666 | (draw() % 2 ? IPC_EXCL : 0), id;
  switch (draw() % 3) {
  case 0:
    if ((id = msgget(key, flags)) == -1) return expect_usual("msgget");
    if (flags & IPC_EXCL) made(0, id);
    use_queue(id);
    if (draw() % 3 == 0) {
      if (msgctl(id, IPC_RMID, NULL) == -1) return expect_usual("msgctl");
      count(&shared->removed);
    }
    break;
  case 1:
    if ((id = semget(key, semaphores, flags)) == -1) return expect_usual("semget");
    if (semctl(id, semaphores - 1, SETVAL, shared->mark) == -1) return expect_usual("semctl");
    if (flags & IPC_EXCL) made(1, id);
    use_set(id);
    if (draw() % 3 == 0) {
      if (semctl(id, 0, IPC_RMID) == -1) return expect_usual("semctl");
      count(&shared->removed);
    }
    break;
  default:
    if ((id = shmget(key, 4096, flags)) == -1) return expect_usual("shmget");
    if (flags & IPC_EXCL) made(2, id);
    use_segment(id);
    if (draw() % 3 == 0) {
      if (shmctl(id, IPC_RMID, NULL) == -1) return expect_usual("shmctl");
      count(&shared->removed);
    }
  }
}

// Ids go round quickly: made and removed, 64 at a time would be a whole turn of the indices.
static void churn(void) {
  for (int i = 0; i < 32; i++) {
    int queue = msgget(IPC_PRIVATE, 0600), set = semget(IPC_PRIVATE, semaphores, 0600);
    if (queue >= 0) {
      made(0, queue);
      CHECK(msgctl(queue, IPC_RMID, NULL) == 0 || errno == EINVAL || errno == EIDRM);
    }
    if (set >= 0) {
      made(1, set);
      CHECK(semctl(set, 0, IPC_RMID) == 0 || errno == EINVAL || errno == EIDRM);
    }
    int segment = shmget(IPC_PRIVATE, 4096, 0600);
    if (segment >= 0) {
      made(2, segment);
      CHECK(shmctl(segment, IPC_RMID, NULL) == 0 || errno == EINVAL || errno == EIDRM);
    }
  }
}

static void guess(void) {
  for (int i = 0; i < 16; i++) {
    int id = (int)(draw() % 64) + (int)(draw() % 64) * 32768;
    count(&shared->guessed);
    switch (draw() % 3) {
    case 0: use_queue(id); break;
    case 1: use_set(id); break;
    default: use_segment(id);
    }
    struct msqid_ds queue;
    struct semid_ds set;
    struct shmid_ds segment;
    // By index, as ipcs finds everything.
    int index = (int)(draw() % 64);
    if (msgctl(index, MSG_STAT, &queue) >= 0 && queue.msg_perm.cuid != getuid()) other(4, (int)queue.msg_perm.cuid);
    if (semctl(index, 0, SEM_STAT, &set) >= 0 && set.sem_nsems != semaphores) other(5, (int)set.sem_nsems);
    if (shmctl(index, SHM_STAT, &segment) >= 0 && segment.shm_segsz != 4096) other(6, (int)segment.shm_segsz);
  }
}

static void use_posix(void) {
  char name[32];
  snprintf(name, sizeof name, "/pod-storm-%u", draw() % key_count);
  switch (draw() % 3) {
  case 0: {
    int file = shm_open(name, O_CREAT | O_RDWR, 0666), mark = 0;
    if (file < 0) return expect_usual("shm_open");
    if (pread(file, &mark, sizeof mark, 0) == sizeof mark && mark != 0 && mark != shared->mark) other(7, mark);
    CHECK(pwrite(file, &shared->mark, sizeof mark, 0) == sizeof mark);
    close(file);
    if (draw() % 2 && shm_unlink(name) == -1) expect_usual("shm_unlink");
    break;
  }
  case 1: {
    sem_t *semaphore = sem_open(name, O_CREAT, 0666, (unsigned)shared->mark);
    if (semaphore == SEM_FAILED) return expect_usual("sem_open");
    int value = 0;
    if (sem_getvalue(semaphore, &value) == 0 && value != shared->mark) other(8, value);
    sem_close(semaphore);
    if (draw() % 2 && sem_unlink(name) == -1) expect_usual("sem_unlink");
    break;
  }
  default: {
    struct mq_attr attributes = {.mq_maxmsg = 2, .mq_msgsize = sizeof(int)};
    mqd_t queue = mq_open(name, O_CREAT | O_RDWR | O_NONBLOCK, 0666, &attributes);
    if (queue == (mqd_t)-1) {
      if (errno == ENOSYS) return;
      return expect_usual("mq_open");
    }
    int mark = shared->mark;
    if (mq_send(queue, (char *)&mark, sizeof mark, 0) == -1) expect_usual("mq_send");
    if (mq_receive(queue, (char *)&mark, sizeof mark, NULL) == sizeof mark && mark != shared->mark) other(9, mark);
    mq_close(queue);
    if (draw() % 2 && mq_unlink(name) == -1) expect_usual("mq_unlink");
  }
  }
}

static void work(uint64_t seed) {
  state = seed;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  while (!shared->over) {
    unsigned what = draw() % 16;
    if (what == 0)
      churn();
    else if (what < 3)
      guess();
    else if (what < 5)
      use_posix();
    else
      by_key();
  }
  _exit(0);
}

// Arguments: the mark, from 1 to 32767, for how many milliseconds, and the first of the keys.
int main(int argc, char **argv) {
  CHECK_EQUAL(argc, 4);
  first_key = atoi(argv[3]);
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(shared != MAP_FAILED);
  shared->mark = atoi(argv[1]);
  CHECK(shared->mark > 0 && shared->mark < 32768);
  long end = now_ms() + atol(argv[2]);
  uint64_t seed = state = (uint64_t)shared->mark << 32 ^ (uint64_t)now_ms();
  pid_t workers[worker_count] = {0};
  while (now_ms() < end && !shared->found_other) {
    for (int i = 0; i < worker_count; i++) {
      if (workers[i] > 0 && waitpid(workers[i], NULL, WNOHANG) == workers[i]) workers[i] = 0;
      if (workers[i] > 0) continue;
      workers[i] = fork();
      if (workers[i] == 0) work(++seed ^ (uint64_t)i << 40);
      seed += 7;
      CHECK(workers[i] > 0);
    }
    pause_ms(1 + draw() % 4);
    int victim = (int)(draw() % worker_count);
    if (workers[victim] > 0 && kill(workers[victim], SIGKILL) == 0) {
      // What it had to be undone is by the time that its wait returns; others go on with it.
      CHECK_EQUAL(waitpid(workers[victim], NULL, 0), workers[victim]);
      workers[victim] = 0;
      shared->kills++;
    }
  }
  shared->over = 1;
  for (int i = 0; i < worker_count; i++)
    if (workers[i] > 0) {
      kill(workers[i], SIGKILL);
      CHECK_EQUAL(waitpid(workers[i], NULL, 0), workers[i]);
    }
  if (shared->found_other) {
    fprintf(stderr, "found an object of another: kind %d, mark %d\n", shared->what, shared->found_other);
    return 1;
  }
  // Nobody of ours is left: what is undone is undone.
  for (int i = 0; i < key_count; i++) {
    int set = semget(first_key + i, 0, 0);
    if (set >= 0) CHECK_EQUAL(semctl(set, 0, GETVAL), 0);
  }
  printf("made %ld, %ld of them in a former one's place, used %ld, removed %ld, guessed %ld, waited %ld, killed %ld\n", shared->made,
         shared->places, shared->used, shared->removed, shared->guessed, shared->waits, shared->kills);
  CHECK(shared->made > 0 && shared->used > 0 && shared->guessed > 0);
  return 0;
}
