// P63, P64: locks in shared memory whose owner is killed: robust ones, with and without priority inheritance, with and
// without somebody who waits in the kernel.
#include "check.h"
#include <linux/futex.h>
#include <sys/mman.h>

struct shared {
  pthread_mutex_t mutex;
  int locked, waiting;
  // A lock of other runtimes' making: it holds what gettid says.
  uint32_t word;
};

static struct shared *shared;

static void prepare(int protocol) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  CHECK(pthread_mutexattr_setprotocol(&attributes, protocol) == 0);
  CHECK(pthread_mutex_init(&shared->mutex, &attributes) == 0);
  shared->locked = shared->waiting = 0;
}

static void *lock_and_stay(void *unused) {
  (void)unused;
  CHECK(pthread_mutex_lock(&shared->mutex) == 0);
  __atomic_store_n(&shared->locked, 1, __ATOMIC_RELEASE);
  for (;;) pause();
}

static void lock_the_dead(void) {
  __atomic_add_fetch(&shared->waiting, 1, __ATOMIC_ACQ_REL);
  CHECK_EQUAL(pthread_mutex_lock(&shared->mutex), EOWNERDEAD);
  CHECK_EQUAL(pthread_mutex_consistent(&shared->mutex), 0);
  CHECK_EQUAL(pthread_mutex_unlock(&shared->mutex), 0);
}

static pid_t start_owner(int in_thread) {
  pid_t owner = fork();
  CHECK(owner >= 0);
  if (owner == 0) {
    pthread_t thread;
    if (in_thread)
      CHECK(pthread_create(&thread, NULL, lock_and_stay, NULL) == 0);
    else
      lock_and_stay(NULL);
    for (;;) pause();
  }
  while (!__atomic_load_n(&shared->locked, __ATOMIC_ACQUIRE)) pause_ms(1);
  return owner;
}

static void end(pid_t owner) {
  int status = 0;
  CHECK(kill(owner, SIGKILL) == 0);
  CHECK(waitpid(owner, &status, 0) == owner && WTERMSIG(status) == SIGKILL);
}

static int take(void) {
  uint32_t self = (uint32_t)thread_id(), none = 0;
  if (__atomic_compare_exchange_n(&shared->word, &none, self, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) return 0;
  return syscall(SYS_futex, &shared->word, FUTEX_LOCK_PI, 0, NULL, NULL, 0) == 0 ? 0 : errno;
}

static pid_t start_taker(void) {
  pid_t owner = fork();
  CHECK(owner >= 0);
  if (owner == 0) {
    CHECK_EQUAL(take(), 0);
    __atomic_store_n(&shared->locked, 1, __ATOMIC_RELEASE);
    for (;;) pause();
  }
  while (!__atomic_load_n(&shared->locked, __ATOMIC_ACQUIRE)) pause_ms(1);
  return owner;
}

// Without a list of its locks the kernel knows of an owner's death only where somebody waits.
static void kill_taker(void) {
  shared->word = shared->locked = 0;
  pid_t owner = start_taker();
  pid_t waiter = fork();
  CHECK(waiter >= 0);
  if (waiter == 0) {
    CHECK_EQUAL(take(), 0);
    CHECK(__atomic_load_n(&shared->word, __ATOMIC_ACQUIRE) & FUTEX_OWNER_DIED);
    CHECK(syscall(SYS_futex, &shared->word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0) == 0);
    CHECK_EQUAL(shared->word, 0);
    _exit(0);
  }
  // The kernel itself says that somebody waits.
  while (!(__atomic_load_n(&shared->word, __ATOMIC_ACQUIRE) & FUTEX_WAITERS)) pause_ms(1);
  pause_ms(10);
  end(owner);
  reap_ok(waiter);

  shared->word = shared->locked = 0;
  owner = start_taker();
  siginfo_t info;
  CHECK(kill(owner, SIGKILL) == 0);
  CHECK(waitid(P_PID, owner, &info, WEXITED | WNOWAIT) == 0);
  CHECK_EQUAL(take(), ESRCH);
  CHECK(waitpid(owner, NULL, 0) == owner);
  CHECK_EQUAL(take(), ESRCH);
}

int main(void) {
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(shared != MAP_FAILED);
  kill_taker();
  const int protocols[] = {PTHREAD_PRIO_NONE, PTHREAD_PRIO_INHERIT};
  for (int i = 0; i < 2; i++)
    for (int in_thread = 0; in_thread < 2; in_thread++) {
      // Killed before anybody waits.
      prepare(protocols[i]);
      end(start_owner(in_thread));
      lock_the_dead();

      // Killed while another process waits; its number was reused or not, the lock is not taken for another's.
      prepare(protocols[i]);
      pid_t owner = start_owner(in_thread);
      CHECK_EQUAL(pthread_mutex_trylock(&shared->mutex), EBUSY);
      pid_t waiter = fork();
      CHECK(waiter >= 0);
      if (waiter == 0) {
        lock_the_dead();
        _exit(0);
      }
      while (!__atomic_load_n(&shared->waiting, __ATOMIC_ACQUIRE)) pause_ms(1);
      pause_ms(10);
      end(owner);
      reap_ok(waiter);

      // Whom it waits for gives it up in time.
      struct timespec limit;
      prepare(protocols[i]);
      owner = start_owner(in_thread);
      clock_gettime(CLOCK_REALTIME, &limit);
      limit.tv_nsec += 20 * 1000000;
      limit.tv_sec += limit.tv_nsec / 1000000000;
      limit.tv_nsec %= 1000000000;
      CHECK_EQUAL(pthread_mutex_timedlock(&shared->mutex, &limit), ETIMEDOUT);
      end(owner);

      // Given up without being repaired: it is lost for everybody.
      CHECK_EQUAL(pthread_mutex_lock(&shared->mutex), EOWNERDEAD);
      CHECK_EQUAL(pthread_mutex_unlock(&shared->mutex), 0);
      CHECK_EQUAL(pthread_mutex_lock(&shared->mutex), ENOTRECOVERABLE);
    }
  return 0;
}
