// What a program of one pod does beside another's and the host's segments of the same key: it has one of its own, and reaches
// no other one by guessing. Arguments: the key and an id of the host's, in decimal. It prints what it sees in its segment at
// its beginning, its id, and, when its input ends, again; and leaves the segment behind.
#include "check.h"

#include <sys/ipc.h>
#include <sys/shm.h>

int main(int argc, char **argv) {
  CHECK_EQUAL(argc, 3);
  key_t key = (key_t)strtol(argv[1], NULL, 10);
  int host = atoi(argv[2]);
  CHECK(shmget(key, 0, 0) == -1 && errno == ENOENT);
  struct shmid_ds s;
  // Ids near the host's, of all sequences that it may have.
  for (int index = 0; index < 256; index++)
    for (int sequence = 0; sequence < 4; sequence++) {
      int id = ((host >> 15) + sequence - 2) * 32768 + index;
      CHECK(shmat(id, NULL, 0) == (void *)-1 && (errno == EINVAL || errno == EIDRM));
    }
  CHECK(shmctl(host, IPC_STAT, &s) == -1 && errno == EINVAL);
  CHECK(shmctl(host, IPC_RMID, NULL) == -1 && errno == EINVAL);
  struct shm_info info;
  CHECK(shmctl(0, SHM_INFO, (void *)&info) == 0 && info.used_ids == 0 && info.shm_tot == 0);
  int id = shmget(key, 4096, IPC_CREAT | IPC_EXCL | 0666);
  CHECK(id >= 0);
  pid_t *owner = shmat(id, NULL, 0);
  CHECK(owner != (void *)-1);
  CHECK_EQUAL(*owner, 0);
  *owner = 0x10000 | getpid();
  printf("%d\n", id);
  fflush(stdout);
  char byte;
  while (read(0, &byte, 1) > 0) {
  }
  CHECK_EQUAL(*owner, 0x10000 | getpid());
  CHECK_EQUAL(shmctl(id, IPC_STAT, &s), 0);
  CHECK_EQUAL(s.shm_nattch, 1);
  CHECK_EQUAL(s.shm_cpid, getpid());
  return 0;
}
