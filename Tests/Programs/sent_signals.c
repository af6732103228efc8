// Signals that a program sends from call sites that go through the pod's code in it, where there is any: to itself, its threads,
// its group, to others and their groups. They arrive, say who sent them, and fail as any.
#include "page_site.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdatomic.h>
#include <stddef.h>

static atomic_int taken;
static volatile pid_t sender, receiver;

static void take(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)context;
  sender = info->si_pid;
  receiver = thread_id();
  taken++;
}

// Checks that a call has sent a signal to this thread by the time it returned.
#define CHECK_TAKEN(call)             \
  do {                                \
    int before_ = taken;              \
    CHECK_EQUAL(call, 0);             \
    CHECK_EQUAL(taken, before_ + 1);  \
    CHECK_EQUAL(sender, getpid());    \
  } while (0)

static void to_itself(void) {
  pid_t own = getpid();
  CHECK_EQUAL(SITE(SYS_kill, own, 0), 0);
  CHECK_TAKEN(SITE(SYS_kill, own, SIGUSR1));
  CHECK_TAKEN(SITE(SYS_kill, 0, SIGUSR1));
  CHECK_TAKEN(SITE(SYS_kill, -getpgrp(), SIGUSR1));
  CHECK_TAKEN(SITE(SYS_tkill, thread_id(), SIGUSR1));
  CHECK_TAKEN(SITE(SYS_tgkill, own, thread_id(), SIGUSR1));
  CHECK_EQUAL(SITE(SYS_tgkill, own, thread_id(), 0), 0);
  CHECK_EQUAL(SITE(SYS_kill, own, 65), -EINVAL);
  CHECK_EQUAL(SITE(SYS_kill, own, -1), -EINVAL);
  CHECK_EQUAL(SITE(SYS_tgkill, own, thread_id(), 65), -EINVAL);
  CHECK_EQUAL(SITE(SYS_tgkill, own, 0, SIGUSR1), -EINVAL);
  CHECK_EQUAL(SITE(SYS_tgkill, -1, thread_id(), SIGUSR1), -EINVAL);
  CHECK_EQUAL(SITE(SYS_tkill, -1, SIGUSR1), -EINVAL);
}

static pthread_barrier_t met;
static volatile pid_t thread;

static void *receive(void *unused) {
  thread = thread_id();
  pthread_barrier_wait(&met);
  pthread_barrier_wait(&met);
  return unused;
}

static void to_threads(void) {
  pid_t own = getpid();
  pthread_t other;
  pthread_barrier_init(&met, NULL, 2);
  CHECK(pthread_create(&other, NULL, receive, NULL) == 0);
  pthread_barrier_wait(&met);
  int before = taken;
  CHECK_EQUAL(SITE(SYS_tgkill, own, thread, SIGUSR1), 0);
  while (taken == before) pause_ms(1);
  CHECK_EQUAL(receiver, thread);
  CHECK_EQUAL(sender, own);
  CHECK_EQUAL(SITE(SYS_tkill, thread, SIGUSR1), 0);
  while (taken == before + 1) pause_ms(1);
  CHECK_EQUAL(receiver, thread);
  // Its process gets what is sent to a thread by kill.
  CHECK_EQUAL(SITE(SYS_kill, thread, 0), 0);
  pthread_barrier_wait(&met);
  CHECK(pthread_join(other, NULL) == 0);
  long result = 0;
  for (int i = 0; i < 500 && result == 0; i++) {
    result = SITE(SYS_tgkill, own, thread, 0);
    if (result == 0) pause_ms(10);
  }
  CHECK_EQUAL(result, -ESRCH);
}

static void reap(pid_t child, int expected) {
  int status = -1;
  CHECK_EQUAL(waitpid(child, &status, 0), child);
  CHECK_EQUAL(status, expected);
}

static void to_others(void) {
  pid_t parent = getpid();
  int ready[2];
  CHECK(pipe(ready) == 0);
  pid_t child = fork();
  if (child == 0) {
    CHECK(setpgid(0, 0) == 0);
    // Its parent's name isn't its own.
    taken = 0;
    CHECK_EQUAL(SITE(SYS_kill, parent, SIGUSR2), 0);
    CHECK_TAKEN(SITE(SYS_kill, getpid(), SIGUSR1));
    CHECK(write(ready[1], "", 1) == 1);
    for (;;) pause();
  }
  char byte;
  while (read(ready[0], &byte, 1) != 1) CHECK_EQUAL(errno, EINTR);
  CHECK_EQUAL(sender, child);
  CHECK_EQUAL(SITE(SYS_kill, child, 0), 0);
  CHECK_EQUAL(SITE(SYS_kill, -child, 0), 0);
  CHECK_EQUAL(SITE(SYS_kill, child, SIGSTOP), 0);
  int status;
  CHECK_EQUAL(waitpid(child, &status, WUNTRACED), child);
  CHECK(WIFSTOPPED(status));
  CHECK_EQUAL(SITE(SYS_kill, -child, SIGCONT), 0);
  CHECK_EQUAL(waitpid(child, &status, WCONTINUED), child);
  CHECK_EQUAL(SITE(SYS_tgkill, child, child, 0), 0);
  CHECK_EQUAL(SITE(SYS_tkill, child, 0), 0);
  CHECK_EQUAL(SITE(SYS_tgkill, parent, child, 0), -ESRCH);
  CHECK_EQUAL(SITE(SYS_kill, -child, SIGTERM), 0);
  // A zombie takes whatever comes, until it was waited for.
  siginfo_t info;
  CHECK(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT) == 0);
  CHECK_EQUAL(SITE(SYS_kill, child, SIGKILL), 0);
  CHECK_EQUAL(SITE(SYS_kill, -child, 0), 0);
  reap(child, SIGTERM);
  CHECK_EQUAL(SITE(SYS_kill, child, 0), -ESRCH);
  CHECK_EQUAL(SITE(SYS_kill, -child, 0), -ESRCH);
  CHECK_EQUAL(SITE(SYS_kill, 0x3fffffff, 0), -ESRCH);
  CHECK_EQUAL(SITE(SYS_kill, INT32_MIN, 0), -ESRCH);

  // A group that its leader has left.
  pid_t leader = fork();
  if (leader == 0) {
    CHECK(setpgid(0, 0) == 0);
    pid_t member = fork();
    if (member == 0) {
      CHECK(write(ready[1], "", 1) == 1);
      for (;;) pause();
    }
    _exit(member > 0 ? 0 : 1);
  }
  while (read(ready[0], &byte, 1) != 1) CHECK_EQUAL(errno, EINTR);
  reap(leader, 0);
  CHECK_EQUAL(SITE(SYS_kill, leader, 0), -ESRCH);
  CHECK_EQUAL(SITE(SYS_kill, -leader, SIGKILL), 0);
  close(ready[0]);
  close(ready[1]);
}

// No descriptor is left behind, and no signal blocked.
static void traces(void) {
  int first = dup(0);
  CHECK(first >= 0);
  close(first);
  sigset_t before, after;
  sigprocmask(SIG_SETMASK, NULL, &before);
  pid_t child = fork();
  if (child == 0)
    for (;;) pause();
  for (int i = 0; i < 100; i++) CHECK_EQUAL(SITE(SYS_kill, child, 0), 0);
  CHECK_EQUAL(SITE(SYS_kill, child, SIGKILL), 0);
  reap(child, SIGKILL);
  int second = dup(0);
  CHECK_EQUAL(first, second);
  close(second);
  sigprocmask(SIG_SETMASK, NULL, &after);
  CHECK(memcmp(&before, &after, 8) == 0);
}

// A filter of the program's own knows the calls that the program makes, and no others.
static void filtered(void) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_open, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_send_signal, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
  CHECK_TAKEN(SITE(SYS_kill, getpid(), SIGUSR1));
  CHECK_TAKEN(SITE(SYS_tgkill, getpid(), thread_id(), SIGUSR1));
  pid_t parent = getpid();
  pid_t child = fork();
  if (child == 0) {
    CHECK_EQUAL(SITE(SYS_kill, parent, 0), 0);
    for (;;) pause();
  }
  CHECK_EQUAL(SITE(SYS_kill, child, SIGTERM), 0);
  reap(child, SIGTERM);
}

int main(void) {
  find_page();
  struct sigaction action = {.sa_sigaction = take, .sa_flags = SA_SIGINFO};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
  CHECK(sigaction(SIGUSR2, &action, NULL) == 0);
  // Nobody else is to be in its group.
  if (getpgrp() != getpid()) CHECK(setpgid(0, 0) == 0);
  to_itself();
  to_threads();
  to_others();
  traces();
  filtered();
  return 0;
}
