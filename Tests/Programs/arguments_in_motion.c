// Threads that rewrite names in memory while calls that read them are under way: each call takes what stood there at one
// moment or fails as the kernel would, and nobody else is reached.
#include "check.h"
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum { per_case_ms = 80, unknown = 0x3FFFFFFF };
#define OWNER_TID 0
#define OWNER_PID 1
#define OWNER_PGRP 2
#define SET_OWNER_EX 15
#define GET_OWNER_EX 16
#define GET_INFO(size) ((3UL << 30) | ((size_t)(size) << 16) | 0xFF0B)
struct owner {
  int type;
  pid_t pid;
};

// Words that change, and what they change to.
struct word {
  volatile int *place;
  const int *values;
  int count;
};
enum { most_words = 3 };
static struct word words[most_words];
static volatile int stop;
static pthread_t mover;

static void *move(void *unused) {
  for (unsigned turn = 0; !stop; turn++) {
    for (int i = 0; i < most_words && words[i].place; i++)
      *words[i].place = words[i].values[(turn * 7919u >> i) % (unsigned)words[i].count];
    for (volatile unsigned i = 0; i < turn * 31 % 97; i++) {
    }
  }
  return unused;
}

static void begin_moving(void) {
  stop = 0;
  CHECK(pthread_create(&mover, NULL, move, NULL) == 0);
}
static void end_moving(void) {
  stop = 1;
  CHECK(pthread_join(mover, NULL) == 0);
  memset(words, 0, sizeof words);
}

static int is_one_of(int value, const int *values, int count) {
  for (int i = 0; i < count; i++)
    if (values[i] == value) return 1;
  return 0;
}

static int64_t now_ms(void) {
  struct timespec t;
  CHECK(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
  return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}
// At least some turns, on a slow machine too.
#define FOR_A_WHILE for (int64_t end_ = now_ms() + per_case_ms, least_ = 20; now_ms() < end_ || least_-- > 0;)

static pid_t self;

// A child outside the group and the session: it fails if it gets any signal before the one that ends it.
static pid_t sentinel(void) {
  int ready[2];
  CHECK(pipe(ready) == 0);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    CHECK(setsid() == getpid());
    CHECK(write(ready[1], "x", 1) == 1);
    sigset_t all;
    sigfillset(&all);
    siginfo_t info;
    int signal;
    do
      signal = sigwaitinfo(&all, &info);
    while (signal == -1 && errno == EINTR);
    // The end that its parent sends, and nothing before.
    _exit(signal == SIGTERM && info.si_code == SI_USER && info.si_pid == getppid() ? 0 : 1);
  }
  char byte;
  CHECK(read(ready[0], &byte, 1) == 1);
  close(ready[0]);
  close(ready[1]);
  return child;
}

static void queue(pid_t outsider) {
  static siginfo_t sent;
  const int codes[] = {SI_QUEUE, -6 /* SI_TKILL */, SI_QUEUE, SI_TIMER, SI_QUEUE, SI_USER};
  const int senders[] = {self, outsider, 0, unknown, self, -1};
  const int numbers[] = {0, SIGKILL, SIGUSR1};
  words[0] = (struct word){&sent.si_pid, senders, 6};
  words[1] = (struct word){&sent.si_code, codes, 6};
  words[2] = (struct word){&sent.si_signo, numbers, 3};
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  begin_moving();
  unsigned turn = 0;
  FOR_A_WHILE {
    long result = ++turn % 2 ? syscall(SYS_rt_sigqueueinfo, self, SIGUSR1, &sent)
                             : syscall(SYS_rt_tgsigqueueinfo, self, thread_id(), SIGUSR1, &sent);
    CHECK_EQUAL(result, 0);
    siginfo_t taken;
    struct timespec limit = {20, 0};
    CHECK_EQUAL(sigtimedwait(&set, &taken, &limit), SIGUSR1);
    CHECK(is_one_of(taken.si_code, codes, 6));
    CHECK(is_one_of(taken.si_pid, senders, 6));
  }
  end_moving();
}

// Where the answer is written changes, and now and then it can't be written at all.
static volatile int *answer_page;
static volatile int protections;
static void *protect(void *unused) {
  while (!stop) {
    CHECK(mprotect((void *)answer_page, 4096, PROT_NONE) == 0);
    CHECK(mprotect((void *)answer_page, 4096, PROT_READ | PROT_WRITE) == 0);
    protections++;
    sched_yield();
  }
  return unused;
}

static void wait_for_children(void) {
  answer_page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(answer_page != MAP_FAILED);
  stop = 0;
  CHECK(pthread_create(&mover, NULL, protect, NULL) == 0);
  unsigned turn = 0;
  FOR_A_WHILE {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) _exit(3);
    int is_faulty = 0;
    if (++turn % 2) {
      long result = syscall(SYS_waitid, P_PID, child, answer_page, WEXITED, NULL);
      if (result == -1) CHECK((is_faulty = errno == EFAULT));
    } else {
      long result = syscall(SYS_wait4, child, answer_page, 0, answer_page + 16);
      if (result == -1) CHECK((is_faulty = errno == EFAULT));
      CHECK(is_faulty || result == child);
    }
    (void)is_faulty;
    // It was waited for all the same.
    CHECK(waitpid(child, NULL, 0) == -1 && errno == ECHILD);
    CHECK(kill(child, 0) == -1 && errno == ESRCH);
  }
  stop = 1;
  CHECK(pthread_join(mover, NULL) == 0);
  CHECK(protections > 0);
}

static void owners(pid_t outsider) {
  int pair[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
  static struct owner given;
  const int kinds[] = {OWNER_TID, OWNER_PID, OWNER_PGRP, 77, OWNER_PID};
  const int names[] = {self, getpgrp(), unknown, self, -5};
  words[0] = (struct word){&given.type, kinds, 5};
  words[1] = (struct word){&given.pid, names, 5};
  CHECK(fcntl(pair[0], 10 /* F_SETSIG */, SIGUSR2) == 0);
  CHECK(fcntl(pair[0], F_SETFL, O_ASYNC | O_NONBLOCK) == 0);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  begin_moving();
  FOR_A_WHILE {
    if (fcntl(pair[0], SET_OWNER_EX, &given) == -1) {
      CHECK(errno == ESRCH || errno == EINVAL);
    }
    struct owner found = {-1, -1};
    CHECK(fcntl(pair[0], GET_OWNER_EX, &found) == 0);
    CHECK(found.pid == self || found.pid == getpgrp() || found.pid == 0);
    CHECK(found.pid != outsider);
    // Who owns it is told; that is this process if anybody.
    CHECK(write(pair[1], "x", 1) == 1);
    char byte;
    CHECK(read(pair[0], &byte, 1) == 1);
    struct timespec none = {0, 0};
    while (sigtimedwait(&set, NULL, &none) > 0) {
    }
  }
  end_moving();
  // Answers that are written while somebody writes there too.
  struct owner own = {OWNER_PID, self};
  CHECK(fcntl(pair[0], SET_OWNER_EX, &own) == 0);
  words[0] = (struct word){&given.type, kinds, 5};
  words[1] = (struct word){&given.pid, names, 5};
  begin_moving();
  FOR_A_WHILE CHECK(fcntl(pair[0], GET_OWNER_EX, &given) == 0);
  end_moving();
  CHECK(fcntl(pair[0], GET_OWNER_EX, &given) == 0);
  CHECK_EQUAL(given.pid, self);
  close(pair[0]);
  close(pair[1]);
}

// In a session with a terminal of its own.
static void foreground(pid_t outsider) {
  pid_t leader = fork();
  CHECK(leader >= 0);
  if (leader > 0) return reap_ok(leader);
  CHECK(setsid() == getpid());
  CHECK(signal(SIGTTOU, SIG_IGN) != SIG_ERR);
  CHECK(signal(SIGHUP, SIG_IGN) != SIG_ERR);
  int master = open("/dev/ptmx", O_RDWR | O_NOCTTY), unlock = 0;
  if (master < 0) _exit(0);  // A machine without terminals.
  unsigned number;
  char path[32];
  CHECK(ioctl(master, TIOCSPTLCK, &unlock) == 0);
  CHECK(ioctl(master, TIOCGPTN, &number) == 0);
  snprintf(path, sizeof path, "/dev/pts/%u", number);
  int terminal = open(path, O_RDWR);
  CHECK(terminal >= 0);
  CHECK_EQUAL(tcgetpgrp(terminal), getpid());
  pid_t member = fork();
  CHECK(member >= 0);
  if (member == 0)
    for (;;) pause();
  CHECK(setpgid(member, member) == 0);
  static volatile pid_t given;
  const int groups[] = {getpid(), member, outsider, unknown, -3};
  words[0] = (struct word){&given, groups, 5};
  begin_moving();
  FOR_A_WHILE {
    if (ioctl(terminal, TIOCSPGRP, &given) == -1) CHECK(errno == ESRCH || errno == EPERM || errno == EINVAL);
    pid_t found = tcgetpgrp(terminal);
    CHECK(found == getpid() || found == member);
  }
  end_moving();
  CHECK(kill(member, SIGKILL) == 0);
  CHECK_EQUAL(waitpid(member, NULL, 0), member);
  _exit(0);
}

static void clone_words(void) {
  static volatile pid_t in_parent, in_child;
  const int values[] = {self, 0, unknown, -1};
  words[0] = (struct word){&in_parent, values, 4};
  words[1] = (struct word){&in_child, values, 4};
  begin_moving();
  FOR_A_WHILE {
    long child =
        syscall(SYS_clone, CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | SIGCHLD, 0, &in_parent, &in_child, 0);
    CHECK(child >= 0);
    // In the child's own memory nobody else writes.
    if (child == 0) _exit(in_child == getpid() ? 0 : 1);
    reap_ok((pid_t)child);
  }
  end_moving();
}

static void capabilities(pid_t outsider) {
  enum { version = 0x20080522 };
  static struct {
    volatile int version, pid;
  } header;
  const int versions[] = {version, version, 0x77, version};
  const int names[] = {0, self, outsider, unknown, -1};
  words[0] = (struct word){&header.version, versions, 4};
  words[1] = (struct word){&header.pid, names, 5};
  struct {
    int version, pid;
  } plain = {version, 0};
  uint32_t own[6], others[6], data[6];
  CHECK(syscall(SYS_capget, &plain, own) == 0);
  plain.pid = outsider;
  CHECK(syscall(SYS_capget, &plain, others) == 0);
  begin_moving();
  FOR_A_WHILE {
    memset(data, 0xAA, sizeof data);
    if (syscall(SYS_capget, &header, data) == 0)
      CHECK(memcmp(data, own, sizeof own) == 0 || memcmp(data, others, sizeof others) == 0);
    else
      CHECK(errno == ESRCH || errno == EINVAL);
  }
  end_moving();
}

static void handle_info(void) {
  static struct {
    volatile int mask, mask_high;
    uint64_t cgroup;
    uint32_t pid, tgid, ppid, rest[9];
  } info;
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0)
    for (;;) pause();
  int handle = (int)syscall(434 /* pidfd_open */, child, 0);
  const int masks[] = {0, 1, 7, -1, 0x400};
  if (handle >= 0 && ioctl(handle, GET_INFO(64), &info) == 0) {
    words[0] = (struct word){&info.mask, masks, 5};
    begin_moving();
    FOR_A_WHILE {
      CHECK(ioctl(handle, GET_INFO(64), &info) == 0);
      CHECK_EQUAL(info.pid, child);
      CHECK_EQUAL(info.tgid, child);
      CHECK_EQUAL(info.ppid, self);
    }
    end_moving();
  }
  CHECK(kill(child, SIGKILL) == 0);
  CHECK_EQUAL(waitpid(child, NULL, 0), child);
}

static void timers(pid_t outsider) {
  static struct {
    void *value;
    int signal, notify;
    volatile int thread;
    int rest[11];
  } event;
  event.signal = SIGUSR1;
  event.notify = 4 /* SIGEV_THREAD_ID */;
  const int threads[] = {self, outsider, unknown, 0, -1};
  words[0] = (struct word){&event.thread, threads, 5};
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  begin_moving();
  FOR_A_WHILE {
    int timer;
    if (syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer) == -1) {
      CHECK(errno == EINVAL);
      continue;
    }
    // It is this thread that is told.
    struct itimerspec soon = {{0, 0}, {0, 1}};
    CHECK(syscall(SYS_timer_settime, timer, 0, &soon, NULL) == 0);
    siginfo_t taken;
    struct timespec limit = {20, 0};
    CHECK_EQUAL(sigtimedwait(&set, &taken, &limit), SIGUSR1);
    CHECK_EQUAL(taken.si_code, SI_TIMER);
    CHECK(syscall(SYS_timer_delete, timer) == 0);
  }
  end_moving();
}

static void credentials(pid_t outsider) {
  int pair[2], on = 1;
  CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
  CHECK(setsockopt(pair[1], SOL_SOCKET, 16 /* SO_PASSCRED */, &on, sizeof on) == 0);
  struct {
    pid_t pid;
    uid_t uid;
    gid_t gid;
  } *given, *found;
  static union {
    char bytes[CMSG_SPACE(sizeof *given)];
    struct cmsghdr head;
  } out, in;
  out.head.cmsg_len = CMSG_LEN(sizeof *given);
  out.head.cmsg_level = SOL_SOCKET;
  out.head.cmsg_type = 2 /* SCM_CREDENTIALS */;
  given = (void *)CMSG_DATA(&out.head);
  given->uid = getuid();
  given->gid = getgid();
  const int senders[] = {self, outsider, self, unknown};
  words[0] = (struct word){&given->pid, senders, 4};
  begin_moving();
  FOR_A_WHILE {
    char byte = 'x';
    struct iovec part = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &out, .msg_controllen = sizeof out.bytes};
    if (sendmsg(pair[0], &message, 0) == -1) {
      CHECK(errno == EPERM || errno == ESRCH);
      continue;
    }
    message.msg_control = &in;
    CHECK_EQUAL(recvmsg(pair[1], &message, 0), 1);
    CHECK_EQUAL(in.head.cmsg_type, 2);
    found = (void *)CMSG_DATA(&in.head);
    // Whoever has the right to may say that it is another.
    CHECK(found->pid == self || (found->pid == outsider && getuid() == 0));
  }
  end_moving();
  close(pair[0]);
  close(pair[1]);
}

int main(void) {
  sigset_t all;
  sigfillset(&all);
  sigdelset(&all, SIGCHLD);
  CHECK(sigprocmask(SIG_BLOCK, &all, NULL) == 0);
  self = getpid();
  // Signals for the group are for nobody else.
  CHECK(setpgid(0, 0) == 0 || getpgrp() == self);
  pid_t outsider = sentinel();
  queue(outsider);
  wait_for_children();
  owners(outsider);
  foreground(outsider);
  clone_words();
  capabilities(outsider);
  handle_info();
  timers(outsider);
  credentials(outsider);

  CHECK(kill(outsider, SIGTERM) == 0);
  reap_ok(outsider);
  CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
  sigset_t pending;
  CHECK(sigpending(&pending) == 0);
  for (int signal = 1; signal < 32; signal++) CHECK(signal == SIGHUP || !sigismember(&pending, signal));
  return 0;
}
