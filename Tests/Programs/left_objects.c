// Makes POSIX objects and leaves them ("make"), finds them ("find"), finds that they aren't there ("miss"), or holds them
// until it is killed ("hold").

#include "check.h"

#include <fcntl.h>
#include <mqueue.h>
#include <semaphore.h>
#include <sys/mman.h>

static const char *base;

static const char *named(const char *end) {
  static char name[300];
  snprintf(name, sizeof name, "/%s-%s", base, end);
  return name;
}

int main(int count, char **arguments) {
  CHECK_EQUAL(count, 3);
  const char *what = arguments[1];
  base = arguments[2];
  int makes = !strcmp(what, "make"), misses = !strcmp(what, "miss");
  int flags = makes ? O_CREAT | O_EXCL : 0;
  let_area_come();
  int memory = shm_open(named("memory"), O_RDWR | flags, 0600);
  CHECK(misses ? memory == -1 && errno == ENOENT : memory >= 0);
  sem_t *semaphore = sem_open(named("semaphore"), flags, 0600, 1);
  CHECK(misses ? semaphore == SEM_FAILED && errno == ENOENT : semaphore != SEM_FAILED);
  mqd_t queue = mq_open(named("queue"), O_RDWR | flags, 0600, NULL);
  if (errno != ENOSYS || queue != (mqd_t)-1)
    CHECK(misses ? queue == (mqd_t)-1 && errno == ENOENT : queue != (mqd_t)-1);
  if (makes) CHECK_EQUAL(ftruncate(memory, 4096), 0);
  while (!strcmp(what, "hold")) pause();
  return 0;
}
