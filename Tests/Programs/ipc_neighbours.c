// Objects behind keys that others use too: neighbours' and the host's are out of sight, and so are their ids.
#include "ipc_waiting.h"
#include <dirent.h>
#include <sys/msg.h>
#include <sys/sem.h>

#define IS_NOT_THERE(call)                                                                      \
  do {                                                                                          \
    errno = 0;                                                                                  \
    CHECK_EQUAL((call), -1);                                                                    \
    CHECK(errno == EINVAL || errno == EIDRM);                                                   \
  } while (0)

static int marks(const char *directory) {
  DIR *entries = opendir(directory);
  CHECK(entries != NULL);
  int count = 0;
  for (struct dirent *entry; (entry = readdir(entries)) != NULL;) count += entry->d_name[0] != '.';
  closedir(entries);
  return count;
}

// Arguments: a key, the ids of a queue and a set that somebody outside has made with it, and a directory, where two such programs
// leave a mark when they have made theirs.
int main(int argc, char **argv) {
  CHECK_EQUAL(argc, 5);
  key_t key = (key_t)strtol(argv[1], NULL, 0);
  int queue = atoi(argv[2]), set = atoi(argv[3]);
  struct {
    long type;
    int text;
  } message = {1, 0};
  struct sembuf up = {0, 1, 0};
  struct msqid_ds queue_state;
  struct semid_ds set_state;
  CHECK(msgget(key, 0) == -1 && errno == ENOENT);
  CHECK(semget(key, 1, 0) == -1 && errno == ENOENT);
  IS_NOT_THERE(msgctl(queue, IPC_STAT, &queue_state));
  IS_NOT_THERE(msgctl(queue, IPC_RMID, NULL));
  IS_NOT_THERE(msgsnd(queue, &message, sizeof(int), IPC_NOWAIT));
  IS_NOT_THERE(msgrcv(queue, &message, sizeof(int), 0, IPC_NOWAIT));
  IS_NOT_THERE(semctl(set, 0, IPC_STAT, &set_state));
  IS_NOT_THERE(semctl(set, 0, GETVAL));
  IS_NOT_THERE(semctl(set, 0, SETVAL, 1));
  IS_NOT_THERE(semctl(set, 0, IPC_RMID));
  IS_NOT_THERE(semop(set, &up, 1));
  // By index, too.
  for (int i = 0; i < 2048; i++) {
    CHECK_EQUAL(msgctl(i, MSG_STAT, &queue_state), -1);
    CHECK_EQUAL(semctl(i, 0, SEM_STAT, &set_state), -1);
  }
  int own = msgget(key, IPC_CREAT | IPC_EXCL | 0666);
  CHECK(own >= 0);
  int own_set = semget(key, 2, IPC_CREAT | IPC_EXCL | 0666);
  CHECK(own_set >= 0);
  message.text = getpid();
  CHECK(msgsnd(own, &message, sizeof(int), 0) == 0);
  CHECK(semctl(own_set, 1, SETVAL, 5) == 0);
  char mark[4096];
  CHECK(snprintf(mark, sizeof mark, "%s/XXXXXX", argv[4]) < (int)sizeof mark);
  CHECK(mkstemp(mark) >= 0);
  UNTIL(marks(argv[4]) == 2);
  CHECK_EQUAL(semctl(own_set, 1, GETVAL), 5);
  CHECK_EQUAL(msgrcv(own, &message, sizeof(int), 0, IPC_NOWAIT), (ssize_t)sizeof(int));
  CHECK_EQUAL(message.text, getpid());
  CHECK(msgrcv(own, &message, sizeof(int), 0, IPC_NOWAIT) == -1 && errno == ENOMSG);
  // Left behind for the pod's end.
  return 0;
}
