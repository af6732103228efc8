// P63, P64: locks whose words hold thread ids: by the library's record, and by gettid as other runtimes do.
#include "check.h"
#include <linux/futex.h>
#include <sys/mman.h>

static uint32_t word;

static int lock(void) {
  uint32_t self = (uint32_t)thread_id(), none = 0;
  if (__atomic_compare_exchange_n(&word, &none, self, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) return 0;
  for (;;) {
    long r = syscall(SYS_futex, &word, FUTEX_LOCK_PI | FUTEX_PRIVATE_FLAG, 0, NULL, NULL, 0);
    if (r == 0) return 0;
    if (errno != EINTR && errno != EAGAIN) return errno;
  }
}

static int unlock(void) {
  uint32_t self = (uint32_t)thread_id();
  if (__atomic_compare_exchange_n(&word, &self, 0, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED)) return 0;
  return syscall(SYS_futex, &word, FUTEX_UNLOCK_PI | FUTEX_PRIVATE_FLAG, 0, NULL, NULL, 0) ? errno : 0;
}

static long counter;
static void *raw_worker(void *argument) {
  for (int i = 0; i < 300; i++) {
    CHECK_EQUAL(lock(), 0);
    long seen = counter;
    if (i % 16 == 0) sched_yield();
    counter = seen + 1;
    CHECK_EQUAL(unlock(), 0);
  }
  return argument;
}

static pthread_mutex_t mutex;
static void *mutex_worker(void *argument) {
  for (int i = 0; i < 300; i++) {
    CHECK_EQUAL(pthread_mutex_lock(&mutex), 0);
    long seen = counter;
    if (i % 16 == 0) sched_yield();
    counter = seen + 1;
    CHECK_EQUAL(pthread_mutex_unlock(&mutex), 0);
  }
  return argument;
}

static void *die_with_lock(void *argument) {
  CHECK_EQUAL(pthread_mutex_lock(&mutex), 0);
  return argument;
}

static void handle(int signal) { (void)signal; }

// Nothing that is done about lock words costs a program its handlers.
static void check_handlers(void) {
  struct sigaction now;
  CHECK(sigaction(SIGTRAP, NULL, &now) == 0 && now.sa_handler == SIG_IGN);
  CHECK(sigaction(SIGSEGV, NULL, &now) == 0 && now.sa_handler == handle);
}

// A word that can only be read, and that says that it is another's.
static void lock_read_only(void) {
  uint32_t *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(page != MAP_FAILED);
  *page = (uint32_t)getppid();
  CHECK(mprotect(page, 4096, PROT_READ) == 0);
  long r = syscall(SYS_futex, page, FUTEX_LOCK_PI | FUTEX_PRIVATE_FLAG, 0, NULL, NULL, 0);
  CHECK(r == -1 && errno == EFAULT);
}

static void contend(void *(*worker)(void *)) {
  counter = 0;
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) CHECK(pthread_create(&threads[i], NULL, worker, NULL) == 0);
  worker(NULL);
  for (int i = 0; i < 3; i++) CHECK(pthread_join(threads[i], NULL) == 0);
  CHECK_EQUAL(counter, 1200);
}

int main(void) {
  signal(SIGTRAP, SIG_IGN);
  signal(SIGSEGV, handle);
  contend(raw_worker);
  check_handlers();
  pid_t reader = fork();
  CHECK(reader >= 0);
  if (reader == 0) {
    lock_read_only();
    check_handlers();
    _exit(0);
  }
  reap_ok(reader);
  // In a child, whose own id is another one.
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    word = 0;
    contend(raw_worker);
    _exit(0);
  }
  reap_ok(child);

  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
  CHECK(pthread_mutex_init(&mutex, &attributes) == 0);
  contend(mutex_worker);
  pthread_mutex_destroy(&mutex);

  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
  for (int inherit = 0; inherit < 2; inherit++) {
    pthread_mutexattr_setprotocol(&attributes, inherit ? PTHREAD_PRIO_INHERIT : PTHREAD_PRIO_NONE);
    CHECK(pthread_mutex_init(&mutex, &attributes) == 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, die_with_lock, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_EQUAL(pthread_mutex_lock(&mutex), EOWNERDEAD);
    CHECK_EQUAL(pthread_mutex_lock(&mutex), EDEADLK);
    CHECK_EQUAL(pthread_mutex_consistent(&mutex), 0);
    CHECK_EQUAL(pthread_mutex_unlock(&mutex), 0);
    pthread_mutex_destroy(&mutex);
  }
  return 0;
}
