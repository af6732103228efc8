// P58: programs with seccomp filters of their own, as OpenSSH, browsers and service managers install them: what a filter
// lets pass goes on as it did, and a pod makes no call in the process that the program's list doesn't have.
#include "check.h"
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <spawn.h>
#include <stddef.h>
#include <ucontext.h>

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(action) BPF_STMT(BPF_RET | BPF_K, action)
#define ERRNO(number) (SECCOMP_RET_ERRNO | (number))

static long install(struct sock_filter *code, size_t count, unsigned flags) {
  struct sock_fprog program = {(unsigned short)count, code};
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

// A filter for one call; all others are allowed.
static long filter_one(uint32_t number, uint32_t action, unsigned flags) {
  struct sock_filter code[] = {
      LOAD(nr),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
      RETURN(action),
      RETURN(SECCOMP_RET_ALLOW),
  };
  return install(code, sizeof code / sizeof *code, flags);
}

// A filter that allows a list of calls.
static long allow_only(const int *numbers, int count, uint32_t otherwise) {
  static struct sock_filter code[400];
  int used = 0;
  code[used++] = (struct sock_filter)LOAD(arch);
  code[used++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
  code[used++] = (struct sock_filter)RETURN(SECCOMP_RET_KILL_PROCESS);
  code[used++] = (struct sock_filter)LOAD(nr);
  for (int i = 0; i < count; i++) {
    code[used++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)numbers[i], 0, 1);
    code[used++] = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
  }
  code[used++] = (struct sock_filter)RETURN(otherwise);
  return install(code, (size_t)used, 0);
}

// Runs something in a child that may install filters, and says how it ended.
static int status_of(void (*body)(void)) {
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    body();
    _exit(0);
  }
  int status = -1;
  CHECK_EQUAL(waitpid(child, &status, 0), child);
  CHECK(kill(child, 0) == -1 && errno == ESRCH);
  return status;
}

#define PASSES(body) CHECK_EQUAL(status_of(body), 0)

// With or without a core dump.
#define IS_KILLED(body) CHECK_EQUAL(status_of(body) & ~0x80, SIGSYS)

static volatile sig_atomic_t hits;
static void count(int signal) {
  (void)signal;
  hits++;
}

// Names, signals, births and waits, with no call beside those that stand here and the C library's own in a fork.
static void calls(void) {
  pid_t self = (pid_t)syscall(SYS_getpid), parent = getppid();
  CHECK(self > 1 && parent > 0);
  CHECK_EQUAL(thread_id(), self);
  CHECK_EQUAL(getpgid(self), getpgid(0));
  CHECK_EQUAL(getsid(self), getsid(0));
  CHECK(kill(self, 0) == 0);
  CHECK(syscall(SYS_tgkill, self, self, 0) == 0);
  hits = 0;
  CHECK(kill(self, SIGUSR1) == 0);
  CHECK_EQUAL(hits, 1);
  CHECK(raise(SIGUSR1) == 0);
  CHECK_EQUAL(hits, 2);

  sigset_t set, old;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  CHECK(sigprocmask(SIG_BLOCK, &set, &old) == 0);
  union sigval value = {.sival_int = 77};
  CHECK(sigqueue(self, SIGUSR2, value) == 0);
  siginfo_t info;
  CHECK_EQUAL(sigwaitinfo(&set, &info), SIGUSR2);
  CHECK_EQUAL(info.si_pid, self);
  CHECK_EQUAL(info.si_value.sival_int, 77);

  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    int ok = getppid() == self && kill(self, SIGUSR2) == 0;
    _exit(ok ? 4 : 1);
  }
  CHECK_EQUAL(sigwaitinfo(&set, &info), SIGUSR2);
  CHECK_EQUAL(info.si_pid, child);
  memset(&info, 0, sizeof info);
  CHECK(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT) == 0);
  CHECK_EQUAL(info.si_pid, child);
  int status;
  CHECK_EQUAL(waitpid(child, &status, 0), child);
  CHECK_EQUAL(WEXITSTATUS(status), 4);
  CHECK(sigprocmask(SIG_SETMASK, &old, NULL) == 0);

  child = fork();
  CHECK(child >= 0);
  if (child == 0)
    for (;;) pause();
  CHECK(setpgid(child, child) == 0);
  CHECK_EQUAL(getpgid(child), child);
  CHECK(kill(-child, SIGKILL) == 0);
  CHECK_EQUAL(waitpid(-child, &status, 0), child);
  CHECK_EQUAL(WTERMSIG(status), SIGKILL);
  CHECK(waitpid(-1, &status, WNOHANG) == -1 && errno == ECHILD);
}

// What calls() makes, and nothing else: no mmap, no prctl.
static const int needed[] = {
    SYS_getpid,     SYS_getppid,        SYS_gettid,          SYS_getpgid,       SYS_getsid,
    SYS_kill,       SYS_tgkill,         SYS_rt_sigqueueinfo, SYS_rt_sigaction,  SYS_rt_sigprocmask,
    SYS_getuid,     SYS_rt_sigtimedwait, SYS_rt_sigreturn,   SYS_clone,         SYS_set_robust_list,
    SYS_wait4,      SYS_waitid,         SYS_exit_group,      SYS_pause,         SYS_setpgid,
    SYS_write,
};
enum { needed_count = sizeof needed / sizeof *needed };

static void under_allow_list(void) {
  CHECK(allow_only(needed, needed_count, SECCOMP_RET_KILL_PROCESS) == 0);
  calls();
}

static void under_three_lists(void) {
  CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL) == -1 && errno == EFAULT);
  CHECK(filter_one(SYS_uname, ERRNO(EACCES), 0) == 0);
  CHECK(filter_one(SYS_sysinfo, SECCOMP_RET_KILL_PROCESS, 0) == 0);
  CHECK(allow_only(needed, needed_count, SECCOMP_RET_KILL_PROCESS) == 0);
  calls();
}

static void killed_by_unknown(void) {
  CHECK(allow_only(needed, needed_count, SECCOMP_RET_KILL_PROCESS) == 0);
  syscall(SYS_uname, NULL);
}
static void killed_by_name(void) {
  CHECK(filter_one(SYS_getppid, SECCOMP_RET_KILL_PROCESS, 0) == 0);
  getppid();
}
static void killed_by_fork(void) {
  CHECK(filter_one(SYS_clone, SECCOMP_RET_KILL_PROCESS, 0) == 0);
  fork();
}
static void killed_by_wait(void) {
  pid_t child = fork();
  if (child == 0) _exit(0);
  CHECK(filter_one(SYS_wait4, SECCOMP_RET_KILL_PROCESS, 0) == 0);
  waitpid(child, NULL, 0);
}

static void *killed_thread(void *unused) {
  CHECK(filter_one(SYS_getppid, SECCOMP_RET_KILL_THREAD, 0) == 0);
  syscall(SYS_getppid);
  CHECK(!"the thread went on");
  return unused;
}

static void one_thread_is_killed(void) {
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, killed_thread, NULL) == 0);
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK(getppid() > 0);
  calls();
}

static void with_errors(void) {
  pid_t session = getsid(0), group = getpgrp();
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0)
    for (;;) pause();
  CHECK(filter_one(SYS_getppid, ERRNO(EOWNERDEAD), 0) == 0);
  CHECK(filter_one(SYS_setpgid, ERRNO(EXDEV), 0) == 0);
  CHECK(filter_one(SYS_setsid, ERRNO(0), 0) == 0);
  CHECK(filter_one(SYS_kill, ERRNO(0), 0) == 0);
  CHECK(filter_one(SYS_wait4, ERRNO(EMLINK), 0) == 0);
  CHECK(syscall(SYS_getppid) == -1 && errno == EOWNERDEAD);
  CHECK(setpgid(child, child) == -1 && errno == EXDEV);
  CHECK_EQUAL(setsid(), 0);
  CHECK_EQUAL(kill(child, SIGKILL), 0);
  CHECK(waitpid(child, NULL, 0) == -1 && errno == EMLINK);
  // Nothing was done.
  CHECK_EQUAL(getsid(0), session);
  CHECK_EQUAL(getpgid(child), group);
  siginfo_t info = {0};
  CHECK(waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG) == 0);
  CHECK_EQUAL(info.si_pid, 0);
  CHECK_EQUAL(syscall(SYS_tgkill, child, child, SIGKILL), 0);
  CHECK(waitid(P_PID, (id_t)child, &info, WEXITED) == 0);
  CHECK_EQUAL(info.si_pid, child);
  CHECK_EQUAL(info.si_status, SIGKILL);
  // A birth that is refused leaves nobody.
  CHECK(filter_one(SYS_clone, ERRNO(EAGAIN), 0) == 0);
  CHECK(filter_one(SYS_clone3, ERRNO(ENOSYS), 0) == 0);
  CHECK(fork() == -1 && errno == EAGAIN);
  CHECK(waitid(P_ALL, 0, &info, WEXITED | WNOHANG) == -1 && errno == ECHILD);
}

// A handler that makes the calls that a filter trapped in another way, as browsers do.
static volatile long last_number, last_address, last_error, last_arguments[2];
static void emulate(int signal, siginfo_t *info, void *context) {
  ucontext_t *state = context;
  greg_t *registers = state->uc_mcontext.gregs;
  CHECK_EQUAL(signal, SIGSYS);
  CHECK_EQUAL(info->si_code, 1 /* SYS_SECCOMP */);
  CHECK_EQUAL(info->si_arch, AUDIT_ARCH_X86_64);
  last_number = info->si_syscall;
  last_error = info->si_errno;
  last_address = (long)info->si_call_addr;
  CHECK_EQUAL(registers[REG_RAX], info->si_syscall);
  CHECK_EQUAL(registers[REG_RIP], last_address);
  last_arguments[0] = registers[REG_RDI];
  last_arguments[1] = registers[REG_RSI];
  long result;
  switch (info->si_syscall) {
  case SYS_getpid: result = 123456; break;
  case SYS_wait4: {
    siginfo_t end = {0};
    result = syscall(SYS_waitid, P_PID, registers[REG_RDI], &end, WEXITED, NULL) == 0 ? end.si_pid : -errno;
    if (result > 0 && registers[REG_RSI] != 0) *(int *)registers[REG_RSI] = end.si_status << 8;
    break;
  }
  case SYS_kill:
    result = syscall(SYS_tgkill, registers[REG_RDI], registers[REG_RDI], registers[REG_RSI]) == 0 ? 0 : -errno;
    break;
  case SYS_fork: {
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    result = child >= 0 ? child : -errno;
    break;
  }
  default: result = -ENOSYS;
  }
  registers[REG_RAX] = result;
}

static void with_traps(void) {
  pid_t self = getpid();
  struct sigaction action = {.sa_sigaction = emulate, .sa_flags = SA_SIGINFO | SA_NODEFER};
  CHECK(sigaction(SIGSYS, &action, NULL) == 0);
  static const int trapped[] = {SYS_getpid, SYS_wait4, SYS_kill, SYS_fork};
  for (int i = 0; i < 4; i++) CHECK(filter_one((uint32_t)trapped[i], SECCOMP_RET_TRAP | (40u + (unsigned)i), 0) == 0);
  for (int round = 0; round < 20; round++) {
    CHECK_EQUAL(syscall(SYS_getpid), 123456);
    CHECK_EQUAL(last_number, SYS_getpid);
    CHECK_EQUAL(last_error, 40);
    hits = 0;
    CHECK_EQUAL(kill(self, SIGUSR1), 0);
    CHECK_EQUAL(hits, 1);
    CHECK_EQUAL(last_arguments[0], self);
    CHECK_EQUAL(last_arguments[1], SIGUSR1);
    CHECK_EQUAL(last_error, 42);
    pid_t child = (pid_t)syscall(SYS_fork);
    CHECK(child >= 0);
    if (child == 0) _exit(syscall(SYS_getppid) == self ? 6 : 1);
    int status = -1;
    CHECK_EQUAL(syscall(SYS_wait4, child, &status, 0, NULL), child);
    CHECK_EQUAL(status, 6 << 8);
    CHECK_EQUAL(last_arguments[0], child);
    CHECK(syscall(SYS_wait4, child, &status, 0, NULL) == -1 && errno == ECHILD);
  }
}

static void with_logs(void) {
  static const int logged[] = {SYS_getpid, SYS_kill, SYS_clone, SYS_wait4};
  for (int i = 0; i < 4; i++) CHECK(filter_one((uint32_t)logged[i], SECCOMP_RET_LOG, 0) == 0);
  calls();
}

// Without a tracer, a call that wants one fails.
static void with_traces(void) {
  CHECK(filter_one(SYS_times, SECCOMP_RET_TRACE | 5, 0) == 0);
  for (int i = 0; i < 5; i++) CHECK(syscall(SYS_times, NULL) == -1 && errno == ENOSYS);
  calls();
}

static volatile int turns, stop_turning;
static void *turn(void *forks) {
  pid_t self = getpid();
  while (!stop_turning) {
    CHECK_EQUAL(syscall(SYS_getpid), self);
    CHECK(kill(self, 0) == 0);
    if (forks) {
      pid_t child = fork();
      CHECK(child >= 0);
      if (child == 0) _exit(0);
      reap_ok(child);
    }
    __atomic_fetch_add(&turns, 1, __ATOMIC_RELAXED);
  }
  // The filter came while this thread was in calls.
  CHECK(syscall(SYS_getppid) == -1 && errno == EDOM);
  return NULL;
}

static void some_turns(void) {
  int before = turns;
  while (turns < before + 30) pause_ms(1);
}

static void for_all_threads(void) {
  pthread_t threads[3];
  for (intptr_t i = 0; i < 3; i++) CHECK(pthread_create(&threads[i], NULL, turn, (void *)(i / 2)) == 0);
  some_turns();
  CHECK_EQUAL(filter_one(SYS_getppid, ERRNO(EDOM), SECCOMP_FILTER_FLAG_TSYNC), 0);
  some_turns();
  stop_turning = 1;
  for (int i = 0; i < 3; i++) CHECK(pthread_join(threads[i], NULL) == 0);
  CHECK(syscall(SYS_getppid) == -1 && errno == EDOM);
}

static pthread_barrier_t barrier;
static volatile pid_t other_thread;
static void *with_another_filter(void *is_first) {
  other_thread = thread_id();
  if (is_first) CHECK(filter_one(SYS_uname, ERRNO(EDOM), 0) == 0);
  pthread_barrier_wait(&barrier);
  // The thread that can't follow is named.
  if (!is_first) CHECK_EQUAL(filter_one(SYS_getppid, ERRNO(EDOM), SECCOMP_FILTER_FLAG_TSYNC), getpid());
  pthread_barrier_wait(&barrier);
  CHECK(syscall(SYS_getppid) != -1);
  return NULL;
}

static void threads_apart(void) {
  CHECK(pthread_barrier_init(&barrier, NULL, 2) == 0);
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, with_another_filter, "") == 0);
  pthread_barrier_wait(&barrier);
  CHECK_EQUAL(filter_one(SYS_getppid, ERRNO(EDOM), SECCOMP_FILTER_FLAG_TSYNC), other_thread);
  CHECK(syscall(SYS_getppid) != -1);
  pthread_barrier_wait(&barrier);
  CHECK(pthread_join(thread, NULL) == 0);
  // The leader is named too.
  CHECK(filter_one(SYS_uname, ERRNO(EDOM), 0) == 0);
  CHECK(pthread_create(&thread, NULL, with_another_filter, NULL) == 0);
  CHECK(filter_one(SYS_uname, ERRNO(EDOM), 0) == 0);
  pthread_barrier_wait(&barrier);
  pthread_barrier_wait(&barrier);
  CHECK(pthread_join(thread, NULL) == 0);
}

static char path[4096];
static void then_exec(void) {
  CHECK(filter_one(SYS_uname, ERRNO(EL2HLT), 0) == 0);
  CHECK(filter_one(SYS_getpgrp, ERRNO(EL2HLT), 0) == 0);
  for (int i = 0; i < 8; i++) CHECK(filter_one(SYS_sysinfo, ERRNO(20 + i), 0) == 0);
  char expected[32];
  snprintf(expected, sizeof expected, "%d:%d", getpid(), getppid());
  execl(path, path, expected, NULL);
  CHECK(!"exec returned");
}

static void after_exec(const char *expected) {
  char *rest;
  CHECK_EQUAL(getpid(), strtol(expected, &rest, 10));
  CHECK_EQUAL(getppid(), strtol(rest + 1, NULL, 10));
  CHECK_EQUAL(prctl(PR_GET_SECCOMP), 2);
  CHECK(syscall(SYS_uname, NULL) == -1 && errno == EL2HLT);
  CHECK(syscall(SYS_getpgrp) == -1 && errno == EL2HLT);
  // Of several the one that was installed last counts.
  CHECK(syscall(SYS_sysinfo, NULL) == -1 && errno == 27);
  calls();
  char *arguments[] = {"true", NULL}, *environment[] = {NULL};
  pid_t child;
  CHECK(posix_spawn(&child, "/bin/true", NULL, NULL, arguments, environment) == 0);
  reap_ok(child);
  child = vfork();
  if (child == 0) {
    execl("/bin/true", "true", NULL);
    _exit(1);
  }
  reap_ok(child);
}

int main(int argc, char **argv) {
  struct sigaction action = {.sa_handler = count};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
  if (argc > 1) {
    after_exec(argv[1]);
    return 0;
  }
  CHECK(readlink("/proc/self/exe", path, sizeof path - 1) > 0);
  // Natively 0 as a rule; 2 in a pod, as in a container.
  int mode = prctl(PR_GET_SECCOMP);
  CHECK(mode == 0 || mode == SECCOMP_MODE_FILTER);
  static const uint32_t actions[] = {SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_KILL_THREAD, SECCOMP_RET_TRAP,
                                     SECCOMP_RET_ERRNO,        SECCOMP_RET_TRACE,       SECCOMP_RET_LOG,
                                     SECCOMP_RET_ALLOW};
  for (unsigned i = 0; i < sizeof actions / sizeof *actions; i++)
    CHECK_EQUAL(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &actions[i]), 0);
  uint32_t unknown = 0x12340000;
  CHECK(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &unknown) == -1 && errno == EOPNOTSUPP);
  CHECK(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 1, actions) == -1 && errno == EINVAL);
  CHECK(syscall(SYS_seccomp, 99, 0, NULL) == -1 && errno == EINVAL);

  PASSES(calls);
  PASSES(under_allow_list);
  PASSES(under_three_lists);
  IS_KILLED(killed_by_unknown);
  IS_KILLED(killed_by_name);
  IS_KILLED(killed_by_fork);
  IS_KILLED(killed_by_wait);
  PASSES(one_thread_is_killed);
  PASSES(with_errors);
  PASSES(with_traps);
  PASSES(with_logs);
  PASSES(with_traces);
  PASSES(for_all_threads);
  PASSES(threads_apart);
  PASSES(then_exec);
  CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
  return 0;
}
