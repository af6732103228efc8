// A segment is attached and detached as often as the argument says.
#include "check.h"

#include <sys/ipc.h>
#include <sys/shm.h>

int main(int count, char **words) {
  CHECK(count == 2);
  int id = shmget(IPC_PRIVATE, 4096, 0600);
  CHECK(id >= 0);
  for (int i = 0; i < atoi(words[1]); i++) {
    int *segment = shmat(id, NULL, 0);
    CHECK(segment != (void *)-1);
    CHECK_EQUAL(*segment, i);
    *segment = i + 1;
    CHECK_EQUAL(shmdt(segment), 0);
  }
  CHECK_EQUAL(shmctl(id, IPC_RMID, NULL), 0);
  return 0;
}
