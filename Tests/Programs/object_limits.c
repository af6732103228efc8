// I1–I3, I7: limits of System V objects are what /proc/sys/kernel says: msgmni 5, msgmax 100, msgmnb 200, sem "10 25 7 4", shmmni 3,
// shmmax 8192, shmall 4.
#include "check.h"

#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

#define FAILS(call, error)                                                                      \
  do {                                                                                          \
    errno = 0;                                                                                  \
    CHECK_EQUAL((long long)(call), -1);                                                         \
    CHECK_EQUAL(errno, error);                                                                  \
  } while (0)

static void queues(void) {
  struct msginfo info;
  CHECK(msgctl(0, IPC_INFO, (struct msqid_ds *)&info) >= 0);
  CHECK_EQUAL(info.msgmni, 5);
  CHECK_EQUAL(info.msgmax, 100);
  CHECK_EQUAL(info.msgmnb, 200);
  int ids[5];
  for (int i = 0; i < 5; i++) CHECK((ids[i] = msgget(IPC_PRIVATE, 0600)) >= 0);
  FAILS(msgget(IPC_PRIVATE, 0600), ENOSPC);
  struct {
    long type;
    char text[101];
  } message = {1, ""};
  FAILS(msgsnd(ids[0], &message, 101, 0), EINVAL);
  CHECK_EQUAL(msgsnd(ids[0], &message, 100, 0), 0);
  CHECK_EQUAL(msgsnd(ids[0], &message, 100, 0), 0);
  FAILS(msgsnd(ids[0], &message, 1, IPC_NOWAIT), EAGAIN);
  struct msqid_ds status;
  CHECK_EQUAL(msgctl(ids[0], IPC_STAT, &status), 0);
  CHECK_EQUAL(status.msg_qbytes, 200);
  for (int i = 0; i < 5; i++) CHECK_EQUAL(msgctl(ids[i], IPC_RMID, NULL), 0);
}

static void sets(void) {
  struct seminfo info;
  CHECK(semctl(0, 0, IPC_INFO, &info) >= 0);
  CHECK_EQUAL(info.semmsl, 10);
  CHECK_EQUAL(info.semmns, 25);
  CHECK_EQUAL(info.semopm, 7);
  CHECK_EQUAL(info.semmni, 4);
  FAILS(semget(IPC_PRIVATE, 11, 0600), EINVAL);
  int ids[4];
  for (int i = 0; i < 2; i++) CHECK((ids[i] = semget(IPC_PRIVATE, 10, 0600)) >= 0);
  FAILS(semget(IPC_PRIVATE, 6, 0600), ENOSPC);
  for (int i = 2; i < 4; i++) CHECK((ids[i] = semget(IPC_PRIVATE, 1, 0600)) >= 0);
  FAILS(semget(IPC_PRIVATE, 1, 0600), ENOSPC);
  struct sembuf operations[8];
  for (int i = 0; i < 8; i++) operations[i] = (struct sembuf){0, 1, 0};
  FAILS(semop(ids[0], operations, 8), E2BIG);
  CHECK_EQUAL(semop(ids[0], operations, 7), 0);
  for (int i = 0; i < 4; i++) CHECK_EQUAL(semctl(ids[i], 0, IPC_RMID), 0);
}

static void segments(void) {
  struct shminfo info;
  CHECK(shmctl(0, IPC_INFO, (struct shmid_ds *)&info) >= 0);
  CHECK_EQUAL(info.shmmni, 3);
  CHECK_EQUAL(info.shmmax, 8192);
  CHECK_EQUAL(info.shmall, 4);
  FAILS(shmget(IPC_PRIVATE, 8193, 0600), EINVAL);
  int ids[3];
  CHECK((ids[0] = shmget(IPC_PRIVATE, 8192, 0600)) >= 0);
  CHECK((ids[1] = shmget(IPC_PRIVATE, 4096, 0600)) >= 0);
  FAILS(shmget(IPC_PRIVATE, 8192, 0600), ENOSPC);
  CHECK((ids[2] = shmget(IPC_PRIVATE, 1, 0600)) >= 0);
  CHECK_EQUAL(shmctl(ids[1], IPC_RMID, NULL), 0);
  CHECK((ids[1] = shmget(IPC_PRIVATE, 1, 0600)) >= 0);
  FAILS(shmget(IPC_PRIVATE, 1, 0600), ENOSPC);
  for (int i = 0; i < 3; i++) CHECK_EQUAL(shmctl(ids[i], IPC_RMID, NULL), 0);
}

int main(void) {
  queues();
  sets();
  segments();
  return 0;
}
