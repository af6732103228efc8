// Attaches new segments until there is no memory, or there are 300 of them: what a pod may have of its host's descriptors.
#include "check.h"

#include <sys/ipc.h>
#include <sys/shm.h>

int main(void) {
  for (int count = 0; count < 300; count++) {
    int id = shmget(IPC_PRIVATE, 4096, 0600);
    CHECK(id >= 0);
    void *address = shmat(id, NULL, 0);
    if (address == (void *)-1) {
      CHECK_EQUAL(errno, ENOMEM);
      CHECK(count > 4);
      puts("full");
      break;
    }
  }
  return 0;
}
