// P14, P26: 200 threads at once, each of which is followed by others, while signals go to them by number.
#include "check.h"

enum { width = 200, generations = 3 };

static pthread_barrier_t barrier;
static pid_t numbers[width];
static int finished;

static void *one(void *argument) {
  intptr_t place = (intptr_t)argument % width, left = (intptr_t)argument / width;
  pid_t self = thread_id();
  CHECK(self != getpid());
  CHECK(syscall(SYS_tgkill, getpid(), self, 0) == 0);
  if (left == generations) {
    numbers[place] = self;
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
  }
  if (left > 0) {
    pthread_t next;
    int error;
    // The place of one that is about to end may not be free yet.
    while ((error = pthread_create(&next, NULL, one, (void *)((left - 1) * width + place))) == EAGAIN) pause_ms(1);
    CHECK_EQUAL(error, 0);
    pthread_detach(next);
  } else {
    __atomic_add_fetch(&finished, 1, __ATOMIC_ACQ_REL);
  }
  return NULL;
}

static int compare(const void *left, const void *right) {
  return *(const pid_t *)left - *(const pid_t *)right;
}

int main(void) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 64 * 1024);
  pthread_setattr_default_np(&attributes);
  CHECK(pthread_barrier_init(&barrier, NULL, width + 1) == 0);
  pthread_t threads[width];
  for (intptr_t i = 0; i < width; i++)
    CHECK_EQUAL(pthread_create(&threads[i], NULL, one, (void *)(generations * width + i)), 0);
  pthread_barrier_wait(&barrier);
  // All at once, and no two with one number.
  for (int i = 0; i < width; i++) CHECK(syscall(SYS_tgkill, getpid(), numbers[i], 0) == 0);
  qsort(numbers, width, sizeof numbers[0], compare);
  for (int i = 1; i < width; i++) CHECK(numbers[i] != numbers[i - 1]);
  pthread_barrier_wait(&barrier);
  for (int i = 0; i < width; i++) CHECK(pthread_join(threads[i], NULL) == 0);
  while (__atomic_load_n(&finished, __ATOMIC_ACQUIRE) < width) pause_ms(1);
  // A process after that has a name as before.
  pid_t child = fork();
  CHECK(child > 0 || child == 0);
  if (child == 0) _exit(0);
  reap_ok(child);
  return 0;
}
