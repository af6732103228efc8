// Threads that end one after the other. Prints the first number that they had.
#include "check.h"

static void *number(void *first) {
  if (*(pid_t *)first == 0)
    *(pid_t *)first = thread_id();
  return NULL;
}

int main(void) {
  pid_t first = 0;
  for (int i = 0; i < 100; i++) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, number, &first) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
  }
  printf("%d\n", first);
  return 0;
}
