// System V message queues: what msgget(2), msgop(2) and msgctl(2) say.
#include "ipc_waiting.h"
#include <sys/msg.h>

#ifndef MSG_COPY
#define MSG_COPY 040000
#endif
#ifndef MSG_EXCEPT
#define MSG_EXCEPT 020000
#endif
#define STAT_ANY 13

struct message {
  long type;
  char text[8192];
};

static int make(void) {
  int id = msgget(IPC_PRIVATE, 0600);
  CHECK(id >= 0);
  return id;
}
static void drop(int id) { CHECK(msgctl(id, IPC_RMID, NULL) == 0); }
static int put(int id, long type, const char *text, int flags) {
  struct message message = {.type = type};
  strcpy(message.text, text);
  return msgsnd(id, &message, strlen(text), flags);
}
// The text of the message that is got; NULL with errno.
static const char *got(int id, long type, int flags) {
  static struct message message;
  memset(&message, 0x5A, sizeof message);
  ssize_t count = msgrcv(id, &message, 100, type, flags);
  if (count < 0) return NULL;
  CHECK(message.text[count] == 0x5A);
  message.text[count] = 0;
  return message.text;
}
static struct msqid_ds status(int id) {
  struct msqid_ds state;
  memset(&state, 0xA5, sizeof state);
  CHECK(msgctl(id, IPC_STAT, &state) == 0);
  return state;
}

#define FAILS(call, error)                                                                      \
  do {                                                                                          \
    errno = 0;                                                                                  \
    CHECK_EQUAL((call), -1);                                                                    \
    CHECK_EQUAL(errno, error);                                                                  \
  } while (0)
#define GETS(id, type, flags, expected)                                                         \
  do {                                                                                          \
    errno = 0;                                                                                  \
    const char *g_ = got(id, type, flags);                                                      \
    CHECK(g_ != NULL);                                                                          \
    CHECK(strcmp(g_, expected) == 0);                                                           \
  } while (0)
#define GETS_NOTHING(id, type, flags, error)                                                    \
  do {                                                                                          \
    errno = 0;                                                                                  \
    CHECK(got(id, type, flags) == NULL);                                                        \
    CHECK_EQUAL(errno, error);                                                                  \
  } while (0)

static void keys(void) {
  key_t key = (key_t)(0x4D000000 ^ getpid());
  FAILS(msgget(key, 0600), ENOENT);
  int id = msgget(key, IPC_CREAT | 0620);
  CHECK(id >= 0);
  CHECK_EQUAL(msgget(key, 0), id);
  FAILS(msgget(key, IPC_CREAT | IPC_EXCL), EEXIST);
  struct msqid_ds state = status(id);
  CHECK_EQUAL(state.msg_perm.__key, key);
  CHECK_EQUAL(state.msg_perm.mode, 0620);
  CHECK_EQUAL(state.msg_perm.cuid, geteuid());
  CHECK_EQUAL(state.msg_perm.gid, getegid());
  CHECK_EQUAL(state.msg_perm.__seq, id >> 15);
  CHECK_EQUAL(state.msg_qnum, 0);
  CHECK_EQUAL(state.msg_qbytes, 16384);
  CHECK_EQUAL(state.msg_lspid, 0);
  CHECK_EQUAL(state.msg_lrpid, 0);
  CHECK_EQUAL(state.msg_stime, 0);
  CHECK(state.msg_ctime >= time(NULL) - 5);
  struct msginfo info;
  CHECK(msgctl(0, IPC_INFO, (void *)&info) >= (id & 32767));
  CHECK_EQUAL(info.msgmax, 8192);
  CHECK_EQUAL(info.msgmnb, 16384);
  int totals = msgctl(0, MSG_INFO, (void *)&info);
  CHECK(totals >= (id & 32767) && info.msgpool >= 1);
  CHECK_EQUAL(msgctl(id & 32767, MSG_STAT, &state), id);
  CHECK_EQUAL(state.msg_perm.__key, key);
  CHECK_EQUAL(msgctl(id & 32767, STAT_ANY, &state), id);
  state.msg_perm.mode = 0600;
  state.msg_qbytes = 1000;
  CHECK(msgctl(id, IPC_SET, &state) == 0);
  state = status(id);
  CHECK_EQUAL(state.msg_perm.mode, 0600);
  CHECK_EQUAL(state.msg_qbytes, 1000);
  FAILS(msgctl(id, IPC_STAT, (void *)8), EFAULT);
  FAILS(msgctl(id, IPC_SET, (void *)8), EFAULT);
  void *sealed = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  FAILS(msgctl(id, IPC_STAT, sealed), EFAULT);
  FAILS(msgctl(0, IPC_INFO, sealed), EFAULT);
  FAILS(msgctl(id, 77, &state), EINVAL);
  FAILS(msgctl(-1, IPC_STAT, &state), EINVAL);
  drop(id);
  FAILS(msgctl(id, IPC_STAT, &state), EINVAL);
  FAILS(msgctl(id, IPC_RMID, NULL), EINVAL);
  // The index is given again, the id isn't.
  int ids[3];
  for (int i = 0; i < 3; i++) {
    ids[i] = make();
    CHECK(ids[i] != id);
    drop(ids[i]);
  }
}

static void messages(void) {
  int id = make();
  FAILS(put(id, 0, "x", 0), EINVAL);
  FAILS(put(id, -1, "x", 0), EINVAL);
  FAILS(put(-1, 1, "x", 0), EINVAL);
  struct message large = {.type = 1};
  FAILS(msgsnd(id, &large, 8193, 0), EINVAL);
  FAILS(msgsnd(id, &large, (size_t)-1, 0), EINVAL);
  FAILS(msgsnd(id, (void *)8, 1, 0), EFAULT);
  FAILS(msgrcv(id, &large, (size_t)-1, 0, IPC_NOWAIT), EINVAL);
  FAILS(msgrcv(-1, &large, 1, 0, IPC_NOWAIT), EINVAL);
  GETS_NOTHING(id, 0, IPC_NOWAIT, ENOMSG);
  // What can't be put down is lost.
  void *sealed = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  int other = make();
  CHECK(put(other, 1, "lost", 0) == 0);
  FAILS(msgrcv(other, sealed, 10, 0, 0), EFAULT);
  GETS_NOTHING(other, 0, IPC_NOWAIT, ENOMSG);
  drop(other);
  for (int i = 0; i < 2; i++) {
    CHECK(put(id, 3, "three", 0) == 0);
    CHECK(put(id, 1, "one", 0) == 0);
    CHECK(put(id, 2, "two", 0) == 0);
    CHECK(put(id, 5, "", 0) == 0);
    CHECK(put(id, 1, "uno", 0) == 0);
  }
  struct msqid_ds state = status(id);
  CHECK_EQUAL(state.msg_qnum, 10);
  CHECK_EQUAL(state.__msg_cbytes, 28);
  CHECK_EQUAL(state.msg_lspid, getpid());
  CHECK(state.msg_stime >= time(NULL) - 5);
  GETS(id, 2, MSG_COPY | IPC_NOWAIT, "two");
  GETS(id, 9, MSG_COPY | IPC_NOWAIT, "uno");
  GETS_NOTHING(id, 10, MSG_COPY | IPC_NOWAIT, ENOMSG);
  GETS_NOTHING(id, 0, MSG_COPY, EINVAL);
  GETS_NOTHING(id, 0, MSG_COPY | MSG_EXCEPT | IPC_NOWAIT, EINVAL);
  CHECK_EQUAL(status(id).msg_qnum, 10);
  CHECK_EQUAL(status(id).msg_lrpid, 0);
  GETS(id, 0, 0, "three");
  GETS(id, 2, 0, "two");
  GETS(id, -2, 0, "one");
  GETS(id, -2, 0, "uno");
  GETS(id, 5, 0, "");
  GETS(id, 3, MSG_EXCEPT, "one");
  GETS(id, -100, 0, "uno");
  GETS(id, -100, 0, "two");
  GETS(id, LONG_MIN, 0, "three");
  GETS_NOTHING(id, 4, IPC_NOWAIT, ENOMSG);
  GETS_NOTHING(id, 5, IPC_NOWAIT | MSG_EXCEPT, ENOMSG);
  GETS_NOTHING(id, -4, IPC_NOWAIT, ENOMSG);
  GETS(id, -5, 0, "");
  state = status(id);
  CHECK_EQUAL(state.msg_qnum, 0);
  CHECK_EQUAL(state.__msg_cbytes, 0);
  CHECK_EQUAL(state.msg_lrpid, getpid());
  // Too long, and cut.
  CHECK(put(id, 4, "abcdefgh", 0) == 0);
  struct message small = {0};
  FAILS(msgrcv(id, &small, 3, 0, 0), E2BIG);
  CHECK_EQUAL(status(id).msg_qnum, 1);
  CHECK_EQUAL(msgrcv(id, &small, 3, 0, MSG_NOERROR), 3);
  CHECK(small.type == 4 && memcmp(small.text, "abc\0", 4) == 0);
  CHECK_EQUAL(status(id).msg_qnum, 0);
  // The largest, and a full queue.
  for (int i = 0; i < 8192; i++) large.text[i] = (char)(i * 7);
  CHECK(msgsnd(id, &large, 8192, 0) == 0);
  CHECK(msgsnd(id, &large, 8192, IPC_NOWAIT) == 0);
  FAILS(msgsnd(id, &large, 1, IPC_NOWAIT), EAGAIN);
  CHECK(msgsnd(id, &large, 0, IPC_NOWAIT) == 0);
  static struct message copy;
  CHECK_EQUAL(msgrcv(id, &copy, 8192, 0, 0), 8192);
  CHECK(memcmp(copy.text, large.text, 8192) == 0);
  drop(id);
}

static void waits(void) {
  int id = make();
  pid_t child = fork();
  if (child == 0) {
    pause_ms(30);
    // Of those that it doesn't want it gets none.
    CHECK(put(id, 2, "other", 0) == 0);
    pause_ms(10);
    CHECK(put(id, 7, "mine", 0) == 0);
    _exit(0);
  }
  GETS(id, 7, 0, "mine");
  reap_ok(child);
  struct msqid_ds state = status(id);
  CHECK_EQUAL(state.msg_lspid, child);
  CHECK_EQUAL(state.msg_lrpid, getpid());
  CHECK_EQUAL(state.msg_qnum, 1);
  GETS(id, 0, 0, "other");
  // A receiver without room is told, and another one gets the message.
  int results[2];
  CHECK(pipe(results) == 0);
  before_fork();
  for (int i = 0; i < 2; i++) {
    child = fork();
    if (child == 0) {
      struct message message;
      about_to_wait();
      ssize_t count = msgrcv(id, &message, i == 0 ? 2 : 100, 0, 0);
      int told[2] = {i, count < 0 ? -errno : (int)count};
      CHECK(write(results[1], told, sizeof told) == sizeof told);
      _exit(0);
    }
    until_it_waits();
  }
  CHECK(put(id, 1, "longer", 0) == 0);
  int told[2], seen[2] = {0};
  for (int i = 0; i < 2; i++) {
    CHECK(read(results[0], told, sizeof told) == sizeof told);
    seen[told[0]] = told[1];
  }
  CHECK_EQUAL(seen[0], -E2BIG);
  CHECK_EQUAL(seen[1], 6);
  CHECK(wait(NULL) > 0 && wait(NULL) > 0);
  CHECK_EQUAL(status(id).msg_qnum, 0);
  // A full queue, and senders that wait. Where there is room for either of them the kernel wakes both, and on two CPUs the
  // second may be there first (ipc/msg.c, ss_wakeup).
  struct message large = {.type = 9};
  CHECK(msgsnd(id, &large, 8192, 0) == 0);
  CHECK(msgsnd(id, &large, 8192, 0) == 0);
  for (int i = 0; i < 2; i++) {
    child = fork();
    if (child == 0) {
      large.type = 10 + i;
      about_to_wait();
      CHECK(msgsnd(id, &large, 8000, 0) == 0);
      _exit(0);
    }
    until_it_waits();
  }
  CHECK_EQUAL(status(id).msg_qnum, 2);
  static struct message copy;
  long former = 0;
  for (int i = 0; i < 4; i++) {
    CHECK(msgrcv(id, &copy, 8192, 0, 0) >= 8000);
    CHECK(i < 2 ? copy.type == 9 : (copy.type == 10 || copy.type == 11) && copy.type != former);
    former = copy.type;
  }
  while (wait(NULL) > 0) {
  }
  // Removed while waited for, by either side.
  for (int sends = 0; sends < 2; sends++) {
    int other = make();
    if (sends)
      for (int i = 0; i < 2; i++) CHECK(msgsnd(other, &large, 8192, 0) == 0);
    child = fork();
    if (child == 0) {
      pause_ms(60);
      drop(other);
      _exit(0);
    }
    if (sends)
      FAILS(msgsnd(other, &large, 8192, 0), EIDRM);
    else
      GETS_NOTHING(other, 0, 0, EIDRM);
    reap_ok(child);
  }
  // More room by IPC_SET: who waits sends.
  state = status(id);
  state.msg_qbytes = 10;
  CHECK(msgctl(id, IPC_SET, &state) == 0);
  child = fork();
  if (child == 0) _exit(put(id, 1, "eleven char", 0) == 0 ? 0 : 1);
  pause_ms(60);
  CHECK_EQUAL(status(id).msg_qnum, 0);
  state.msg_qbytes = 11;
  CHECK(msgctl(id, IPC_SET, &state) == 0);
  reap_ok(child);
  GETS(id, 0, 0, "eleven char");
  // A killed receiver takes nothing.
  child = fork();
  if (child == 0) {
    got(id, 0, 0);
    _exit(0);
  }
  pause_ms(60);
  CHECK(kill(child, SIGKILL) == 0);
  CHECK(waitpid(child, NULL, 0) == child);
  CHECK(put(id, 1, "stays", 0) == 0);
  GETS(id, 0, IPC_NOWAIT, "stays");
  drop(id);
}

static void signals(void) {
  int id = make();
  pid_t self = getpid();
  struct message large = {.type = 9};
  for (int restart = 0; restart < 2; restart++) {
    ipc_handle(SIGUSR1, ipc_count, restart ? SA_RESTART : 0);
    ipc_hits = 0;
    pid_t child = fork();
    if (child == 0) {
      pause_ms(60);
      CHECK(kill(self, SIGUSR1) == 0);
      _exit(0);
    }
    GETS_NOTHING(id, 0, 0, EINTR);
    CHECK_EQUAL(ipc_hits, 1);
    reap_ok(child);
    CHECK(msgsnd(id, &large, 8192, 0) == 0);
    CHECK(msgsnd(id, &large, 8192, 0) == 0);
    child = fork();
    if (child == 0) {
      pause_ms(60);
      CHECK(kill(self, SIGUSR1) == 0);
      _exit(0);
    }
    FAILS(msgsnd(id, &large, 8192, 0), EINTR);
    reap_ok(child);
    static struct message copy;
    for (int i = 0; i < 2; i++) CHECK(msgrcv(id, &copy, 8192, 0, IPC_NOWAIT) == 8192);
    GETS_NOTHING(id, 0, IPC_NOWAIT, ENOMSG);
  }
  // A handler that leaves the wait for good takes no message along.
  ipc_handle(SIGUSR2, ipc_leave, SA_NODEFER);
  for (int i = 0; i < 5; i++) {
    pid_t child = fork();
    if (child == 0) {
      pause_ms(60);
      CHECK(kill(self, SIGUSR2) == 0);
      _exit(0);
    }
    if (sigsetjmp(ipc_way_out, 1) == 0) {
      got(id, 0, 0);
      CHECK(0);
    }
    reap_ok(child);
    CHECK(put(id, 1, "kept", 0) == 0);
    GETS(id, 0, IPC_NOWAIT, "kept");
  }
  // A signal that is ignored doesn't end a wait, and a stop doesn't either (signal(7): it did until Linux 2.6.9).
  pid_t waiter = fork();
  if (waiter == 0) {
    ipc_handle(SIGUSR1, SIG_IGN, 0);
    struct message message;
    ssize_t count = msgrcv(id, &message, 100, 0, 0);
    CHECK_EQUAL(count, 5);
    _exit(0);
  }
  pause_ms(60);
  CHECK(kill(waiter, SIGUSR1) == 0);
  pause_ms(5);
  for (int i = 0; i < 2; i++) {
    CHECK(kill(waiter, SIGSTOP) == 0);
    UNTIL(ipc_is_stopped(waiter));
    siginfo_t info;
    CHECK(waitid(P_PID, (id_t)waiter, &info, WSTOPPED) == 0);
    if (i == 1) CHECK(put(id, 1, "after", 0) == 0);
    CHECK(kill(waiter, SIGCONT) == 0);
    pause_ms(10);
  }
  reap_ok(waiter);
  drop(id);
}

// Several processes send to several: each message arrives once, and in its sender's order.
static void traffic(void) {
  enum { senders = 3, receivers = 3, each = 200 };
  int id = make();
  int *seen = mmap(NULL, sizeof(int) * senders * each, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(seen != MAP_FAILED);
  pid_t sending[senders], receiving[receivers];
  for (int i = 0; i < receivers; i++) {
    receiving[i] = fork();
    if (receiving[i] == 0) {
      struct {
        long type;
        int number;
      } message;
      int last[senders];
      for (int j = 0; j < senders; j++) last[j] = -1;
      while (1) {
        CHECK_EQUAL(msgrcv(id, &message, sizeof message.number, 0, 0), sizeof message.number);
        if (message.number < 0) _exit(0);
        __atomic_fetch_add(&seen[(message.type - 1) * each + message.number], 1, __ATOMIC_SEQ_CST);
        CHECK(message.number > last[message.type - 1]);
        last[message.type - 1] = message.number;
      }
    }
  }
  for (int i = 0; i < senders; i++) {
    sending[i] = fork();
    if (sending[i] == 0) {
      for (int j = 0; j < each; j++) {
        struct {
          long type;
          int number;
        } message = {i + 1, j};
        CHECK(msgsnd(id, &message, sizeof message.number, 0) == 0);
      }
      _exit(0);
    }
  }
  for (int i = 0; i < senders; i++) reap_ok(sending[i]);
  for (int i = 0; i < receivers; i++) {
    struct {
      long type;
      int number;
    } end = {1, -1};
    CHECK(msgsnd(id, &end, sizeof end.number, 0) == 0);
  }
  for (int i = 0; i < receivers; i++) reap_ok(receiving[i]);
  for (int i = 0; i < senders * each; i++) CHECK_EQUAL(seen[i], 1);
  drop(id);
}

// Messages while a signal comes all the time: none is lost, none comes twice.
static void storm(void) {
  enum { rounds = 200 };
  int id = make();
  pid_t self = getpid();
  ipc_handle(SIGUSR1, ipc_count, SA_RESTART);
  pid_t nuisance = fork();
  if (nuisance == 0) {
    for (;;) {
      kill(self, SIGUSR1);
      usleep(300);
    }
  }
  pid_t giver = fork();
  if (giver == 0) {
    for (int i = 0; i < rounds; i++) {
      struct message message = {.type = i + 1};
      CHECK(msgsnd(id, &message, 4, 0) == 0);
      usleep(200);
    }
    _exit(0);
  }
  struct message message;
  for (long expected = 1; expected <= rounds;) {
    if (msgrcv(id, &message, 100, 0, 0) == 4) {
      CHECK_EQUAL(message.type, expected);
      expected++;
    } else {
      CHECK_EQUAL(errno, EINTR);
    }
  }
  kill(nuisance, SIGKILL);
  CHECK(waitpid(nuisance, NULL, 0) == nuisance);
  reap_ok(giver);
  drop(id);
}

// Ids at full speed, from several processes.
static void churn(void) {
  enum { makers = 4, rounds = 1500 };
  pid_t children[makers];
  for (int i = 0; i < makers; i++) {
    children[i] = fork();
    if (children[i] == 0) {
      key_t key = (key_t)(0x4E000000 + i);
      for (int j = 0; j < rounds; j++) {
        int id = msgget(j % 2 ? IPC_PRIVATE : key, IPC_CREAT | IPC_EXCL | 0600);
        CHECK(id >= 0);
        CHECK(put(id, i + 1, "own", 0) == 0);
        GETS(id, 0, IPC_NOWAIT, "own");
        drop(id);
        FAILS(msgctl(id, IPC_RMID, NULL), errno == EIDRM ? EIDRM : EINVAL);
      }
      _exit(0);
    }
  }
  for (int i = 0; i < makers; i++) reap_ok(children[i]);
}

int main(void) {
  keys();
  messages();
  waits();
  signals();
  traffic();
  storm();
  churn();
  return 0;
}
