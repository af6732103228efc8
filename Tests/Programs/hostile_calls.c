// Every system call with arguments that nobody should give: bad pointers, huge counts, wrong constants, numbers of
// nothing. Seeded, so that a run can be repeated.
//
//   hostile_calls compare SEED ROUNDS      prints "NUMBER ROUND OUTCOME" for calls whose outcome the arguments decide
//   hostile_calls storm SEED MILLISECONDS  threads make calls while another changes what the arguments point to
//
// `compare` is safe natively for a user without privileges: it names no process but its own and numbers of none.
// `storm` is for pods. Both exit 0 when their own process is what it was: its ids, its children, its memory.
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

static uint64_t state;
static uint64_t draw(void) {
  state += 0x9e3779b97f4a7c15;
  uint64_t z = state;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

enum { page = 4096, area_pages = 16, last_number = 470 };
static char *const area = (char *)0x100000000;      // writable, then nothing mapped
static char *const read_only = (char *)0x110000000;
static char *const no_access = (char *)0x120000000;
static char *const unmapped = (char *)0x130000000;

struct shared {
  volatile int done, outcome;
};
static struct shared *shared;
static pid_t own_pid, child_pid, runner;
static int pidfd, is_storm;

static long raw(long n, const uint64_t *a) {
  long result;
  register uint64_t r10 __asm__("r10") = a[3];
  register uint64_t r8 __asm__("r8") = a[4];
  register uint64_t r9 __asm__("r9") = a[5];
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(n), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

static long raw_32(long n, const uint64_t *a) {
  long result;
  __asm__ volatile("int $0x80"
                   : "=a"(result)
                   : "a"(n), "b"(a[0]), "c"(a[1]), "d"(a[2]), "S"(a[3]), "D"(a[4])
                   : "memory", "r8", "r9", "r10", "r11");
  return result;
}

static uint64_t pointer(void) {
  switch (draw() % 16) {
  case 0: return 0;
  case 1: return 1;
  case 2: return (uint64_t)read_only + draw() % 64;
  case 3: return (uint64_t)no_access;
  case 4: return (uint64_t)unmapped;
  case 5: return (uint64_t)area + area_pages * page - (1u << draw() % 7);  // crosses into nothing
  case 6: return 0xffff800000000000;
  case 7: return ~(uint64_t)0 - draw() % 4096;
  case 8: return 0x7ffffffff000 - draw() % 16;
  case 9: return (uint64_t)area + 1 + draw() % 8;
  case 10: return 0x8000000000000000;
  default: return (uint64_t)area + draw() % 8 * page;
  }
}

static uint64_t number(void) {
  static const uint64_t special[] = {
      0, 1, 2, 3, 4, 5, 8, 16, 64, 65, 100, 128, 255, 4095, 4096, 4097, 65535, 65536, 0x7fffffff, 0x80000000,
      0xffffffff, 0x100000000, 0x7fffffffffffffff, 0x8000000000000000, 0xffffffff00000001, ~0ull, ~0ull - 1, ~0ull - 99,
  };
  switch (draw() % 4) {
  case 0: return 1ull << draw() % 64;
  case 1: return draw();
  default: return special[draw() % (sizeof special / sizeof *special)];
  }
}

static uint64_t descriptor(void) {
  switch (draw() % 4) {
  case 0: return number();
  default: return draw() % 10;
  }
}

// Never the number of a process that isn't ours.
static uint64_t process(void) {
  switch (draw() % 9) {
  case 0: return 0;
  case 1: return (uint64_t)own_pid;
  case 2: return (uint64_t)child_pid;
  case 3: return 0x7fffffff;
  case 4: return 4194304 + draw() % 4096;
  case 5: return (uint64_t)(int64_t)-(4194304 + (int)(draw() % 4096));
  case 6: return 0x80000000 - draw() % 2;
  case 7: return (uint64_t)own_pid | 0xdeadbeef00000000;  // the upper half says nothing
  default: return (uint64_t)thread_id();
  }
}

static uint64_t signal_number(void) {
  if (draw() % 3 == 0)
    return 0;
  return draw() % 2 ? 65 + draw() % 70 : number() | 1 << 20;
}

// Which arguments are: p pointers, n numbers, d descriptors, i processes, s signals that do nothing; the others are any
// of the first three.
static const struct {
  short number;
  const char *kinds;
} known[] = {
    {SYS_kill, "is"}, {SYS_tkill, "is"}, {SYS_tgkill, "iis"}, {SYS_rt_sigqueueinfo, "isp"},
    {SYS_rt_tgsigqueueinfo, "iisp"}, {434, "in"}, {424, "dspn"}, {SYS_wait4, "ipnp"}, {SYS_waitid, "nipnp"},
    {SYS_setpgid, "ii"}, {SYS_getpgid, "i"}, {SYS_getsid, "i"}, {SYS_sched_setparam, "ip"},
    {SYS_sched_getparam, "ip"}, {SYS_sched_setscheduler, "inp"}, {SYS_sched_getscheduler, "i"},
    {SYS_sched_rr_get_interval, "ip"}, {SYS_sched_setaffinity, "inp"}, {SYS_sched_getaffinity, "inp"},
    {314, "ipn"}, {315, "ipnn"}, {SYS_prlimit64, "inpp"}, {SYS_process_vm_readv, "ipnpnn"},
    {SYS_process_vm_writev, "ipnpnn"}, {312, "iinnn"}, {SYS_get_robust_list, "ipp"}, {SYS_migrate_pages, "inpp"},
    {SYS_move_pages, "inpppn"}, {SYS_capget, "pp"}, {SYS_capset, "pp"}, {SYS_execve, "ppp"},
    {SYS_rt_sigtimedwait, "pppn"}, {SYS_set_tid_address, "p"}, {SYS_timer_create, "npp"},
    {SYS_msgget, "nn"}, {SYS_semget, "nnn"}, {SYS_shmget, "nnn"}, {SYS_msgctl, "nnp"}, {SYS_semctl, "nnnp"},
    {SYS_shmctl, "nnp"}, {SYS_msgsnd, "npnn"}, {SYS_msgrcv, "npnnn"}, {SYS_semop, "npn"}, {SYS_semtimedop, "npnp"},
    {SYS_mq_open, "pnnp"}, {SYS_mq_unlink, "p"}, {SYS_mq_timedsend, "dpnnp"}, {SYS_mq_timedreceive, "dpnpp"},
    {SYS_mq_notify, "dp"}, {SYS_mq_getsetattr, "dpp"},
};
static const char *kinds_of(int n) {
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (known[i].number == n)
      return known[i].kinds;
  return "";
}

static void arguments_for(int n, uint64_t *a) {
  const char *kinds = kinds_of(n);
  size_t count = strlen(kinds);
  for (size_t i = 0; i < 6; i++) {
    char kind = i < count ? kinds[i] : "pnd"[draw() % 3];
    a[i] = kind == 'p' ? pointer()
           : kind == 'd' ? descriptor()
           : kind == 'i' ? process()
           : kind == 's' ? signal_number()
                         : number();
  }
  // Ids that stand for whole users and groups, and scheduling of them, would be others' too.
  if (n == SYS_setpriority || n == SYS_getpriority || n == SYS_ioprio_set || n == SYS_ioprio_get)
    a[1] = process();
  if (n == SYS_setpriority || n == SYS_ioprio_set)
    a[0] = draw() % 2 ? 0 : 7 + draw() % 9;
  if ((n == SYS_waitid && (unsigned)a[0] > 3) || n == SYS_wait4)
    a[n == SYS_wait4 ? 2 : 3] |= WNOHANG;
}

// What must not be tried, or says nothing.
static int is_left_out(int n) {
  static const short always[] = {
      SYS_pause, SYS_rt_sigsuspend, SYS_sync, SYS_syncfs, SYS_reboot, SYS_vhangup, SYS_ptrace, SYS_swapon, SYS_swapoff,
      SYS_acct, SYS_syslog, SYS_kexec_load, 320, SYS_init_module, SYS_delete_module, 313, SYS_mount, SYS_umount2,
      SYS_pivot_root, SYS_sethostname, SYS_setdomainname, SYS_settimeofday, SYS_clock_settime, SYS_adjtimex,
      SYS_clock_adjtime, SYS_quotactl, 443, 335, 336,
      SYS_add_key, SYS_request_key, SYS_keyctl,
  };
  // Objects that would outlive us, and others' that would not: storms are for pods only. hostile_objects.c compares them.
  static const short objects[] = {
      SYS_shmget, SYS_semget, SYS_msgget, SYS_shmctl, SYS_semctl, SYS_msgctl, SYS_mq_open, SYS_mq_unlink, SYS_msgsnd,
      SYS_msgrcv, SYS_semop, SYS_semtimedop,
  };
  // Answers by what memory, time or another process happens to be.
  static const short indefinite[] = {
      SYS_clone, SYS_fork, SYS_vfork, 435, SYS_exit, SYS_exit_group, SYS_brk, SYS_mmap, SYS_munmap, SYS_mremap,
      SYS_mprotect, SYS_arch_prctl, SYS_prctl, 317, SYS_rt_sigreturn, SYS_futex, SYS_restart_syscall, SYS_madvise,
      SYS_mincore, SYS_msync, SYS_mlock, 325, SYS_mlockall, SYS_munlock, 329, SYS_getpriority, SYS_fcntl, SYS_ioctl,
      SYS_personality, SYS_set_robust_list, 334, SYS_setrlimit, SYS_sigaltstack, SYS_getrandom, 462,
      SYS_remap_file_pages, 440, 453, SYS_select, SYS_pselect6, SYS_poll, SYS_ppoll, SYS_getcpu,
      SYS_alarm, SYS_setitimer, SYS_dup2, SYS_dup3, 436, SYS_close, SYS_unshare, SYS_setns,
  };
  for (size_t i = 0; i < sizeof always / sizeof *always; i++)
    if (always[i] == n)
      return 1;
  for (size_t i = 0; i < sizeof objects / sizeof *objects && !is_storm; i++)
    if (objects[i] == n)
      return 1;
  for (size_t i = 0; i < sizeof indefinite / sizeof *indefinite && !is_storm; i++)
    if (indefinite[i] == n)
      return 1;
  return 0;
}

static void map(char *at, size_t size, int protection) {
  CHECK(mmap(at, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at);
}

// Descriptors 0…9 are the same in every run.
static void open_descriptors(void) {
  int ends[2];
  for (int fd = 0; fd < 64; fd++)
    close(fd);
  CHECK_EQUAL(open("/dev/null", O_RDWR), 0);
  CHECK_EQUAL(dup(0), 1);
  CHECK_EQUAL(dup(0), 2);
  CHECK(pipe2(ends, O_NONBLOCK) == 0);
  CHECK_EQUAL(open("/", O_RDONLY | O_DIRECTORY), 5);
  CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
  CHECK_EQUAL(epoll_create1(0), 8);
  pidfd = (int)syscall(434, own_pid, 0);
  CHECK_EQUAL(pidfd, 9);
}

static void prepare(uint64_t seed) {
  state = seed;
  own_pid = getpid();
  setsid();
  for (int signal = 1; signal <= 64; signal++)
    if (signal == SIGXFSZ || signal == SIGPIPE || signal == SIGALRM || signal == SIGIO)
      sigaction(signal, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
  struct rlimit small = {1 << 20, 1 << 20}, seconds = {20, 20};
  setrlimit(RLIMIT_FSIZE, &small);
  setrlimit(RLIMIT_CPU, &seconds);
  setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
  open_descriptors();
}

// ---- Comparison: a process for each call

static void one_call(int n, uint64_t seed) {
  prepare(seed);
  child_pid = fork();
  if (child_pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (getppid() == own_pid)
      pause();
  }
  for (int i = 0; i < area_pages * page; i++)
    area[i] = draw() % 4 ? 0 : (char)draw();
  uint64_t a[6];
  arguments_for(n, a);
  long result = raw(n, a);
  shared->outcome = result < 0 && result > -4096 ? (int)-result : 0;
  shared->done = 1;
  kill(child_pid, SIGKILL);
  _exit(0);
}

static int compare(uint64_t seed, int rounds) {
  int own[2];
  for (int n = 0; n <= last_number; n++) {
    if (is_left_out(n))
      continue;
    for (int round = 0; round < rounds; round++) {
      shared->done = shared->outcome = 0;
      CHECK(pipe2(own, O_CLOEXEC) == 0);
      // The end of the call shows as the end of this pipe: all that have it are gone.
      pid_t pid = fork();
      if (pid == 0) {
        close(own[0]);
        int kept = fcntl(own[1], F_DUPFD_CLOEXEC, 200);
        close(own[1]);
        (void)kept;
        one_call(n, seed ^ (uint64_t)n << 32 ^ (uint64_t)round << 48);
      }
      close(own[1]);
      struct pollfd end = {own[0], POLLIN, 0};
      int blocked = poll(&end, 1, 2000) == 0;
      if (blocked)
        kill(pid, SIGKILL);
      int status = -1;
      CHECK_EQUAL(waitpid(pid, &status, 0), pid);
      close(own[0]);
      if (blocked)
        printf("%d %d blocks\n", n, round);
      else if (shared->done)
        printf("%d %d errno %d\n", n, round, shared->outcome);
      else if (WIFSIGNALED(status))
        printf("%d %d signal %d\n", n, round, WTERMSIG(status));
      else
        printf("%d %d exit %d\n", n, round, WEXITSTATUS(status));
    }
  }
  return 0;
}

// ---- Storm

// What takes away the ground under the caller's feet: now and then only, so that others are tried too.
static int is_fatal(int n) {
  static const short fatal[] = {
      SYS_munmap, SYS_mremap, SYS_mprotect, SYS_mmap, SYS_brk, SYS_arch_prctl, SYS_rt_sigreturn, SYS_exit, SYS_prctl,
      SYS_remap_file_pages, SYS_madvise, 440, 329, 317, SYS_shmat, 462, 453, SYS_setitimer, SYS_alarm, 334, 436,
      SYS_rt_sigaction, SYS_setgid, SYS_chroot, 444, 446,
  };
  for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++)
    if (fatal[i] == n)
      return 1;
  return 0;
}

static void *scribble(void *argument) {
  uint64_t *seed = argument, mine = *seed;
  for (;;) {
    mine = mine * 6364136223846793005 + 1442695040888963407;
    char *at = area + (mine >> 40) % (area_pages * page - 8);
    switch (mine >> 60) {
    case 0: mprotect(area + (mine >> 50) % area_pages * page, page, PROT_READ); break;
    case 1: mprotect(area, area_pages * page, PROT_READ | PROT_WRITE); break;
    case 2: munmap(area + (mine >> 50) % area_pages * page, page); break;
    case 3:
      mmap(area, area_pages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
      break;
    default: {
      // Numbers where a preamble may have looked already. The page may be gone: the kernel writes, and says so.
      int word = (int)(mine >> 33) % 8 ? own_pid : (int)(mine >> 20);
      struct iovec {
        void *base;
        size_t size;
      } from = {&word, 4}, to = {at, 4};
      syscall(SYS_process_vm_writev, own_pid, &from, 1, &to, 1, 0);
    }
    }
  }
  return NULL;
}

static uint64_t thread_seeds[4];

static void *call_on(void *argument) {
  // Each thread draws from what it shares with the others: the order doesn't matter here.
  (void)argument;
  for (;;) {
    int n = (int)(draw() % (last_number + 4));
    // Calls in which names cross are the point.
    if (draw() % 2)
      n = known[draw() % (sizeof known / sizeof *known)].number;
    if (is_left_out(n) || n == SYS_exit_group || n == SYS_setrlimit || n == SYS_nanosleep ||
        n == SYS_clock_nanosleep || (is_fatal(n) && draw() % 64))
      continue;
    uint64_t a[6];
    arguments_for(n, a);
    if (n == SYS_kill || n == SYS_tkill || n == SYS_tgkill || n == SYS_rt_sigqueueinfo ||
        n == SYS_rt_tgsigqueueinfo) {
      // A signal for one of our own, now and then.
      if (draw() % 512 == 0)
        a[n == SYS_tgkill || n == SYS_rt_tgsigqueueinfo ? 2 : 1] = 1 + draw() % 64;
      if ((int)a[0] == runner || (int)a[0] == -1)
        continue;
    }
    if (n == SYS_prlimit64)
      a[2] = 0;
    long result;
    if (draw() % 32 == 0)
      result = raw(0x40000000 | n, a);
    else if (draw() % 32 == 0)
      result = raw_32(n, a);
    else if (n == SYS_clone || n == SYS_vfork) {
      if (draw() % 8)
        continue;
      // Without the caller's memory, unless it is a thread on a stack of nobody.
      a[0] = n == SYS_clone ? (a[0] & ~(uint64_t)0x4100) | (draw() % 4 ? 0 : 0x10f00) : 0;
      a[1] = (a[0] & 0x100) ? (uint64_t)area + page * 8 : 0;
      result = raw(SYS_clone, a);
      if (result == 0)
        _exit(0);
    } else {
      result = raw(n, a);
      if (result == 0 && (n == SYS_fork || n == 435))
        _exit(0);
    }
    shared->done++;
  }
  return NULL;
}

static void storm_worker(uint64_t seed) {
  is_storm = 1;
  prepare(seed);
  struct rlimit few = {64, 64}, space = {4ull << 30, 4ull << 30};
  setrlimit(RLIMIT_NPROC, &few);
  setrlimit(RLIMIT_AS, &space);
  child_pid = fork();
  if (child_pid == 0)
    for (;;)
      pause();
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, NULL);
  pthread_t thread;
  for (int i = 0; i < 4; i++)
    thread_seeds[i] = draw();
  pthread_create(&thread, NULL, scribble, &thread_seeds[0]);
  for (int i = 0; i < 3; i++)
    pthread_create(&thread, NULL, call_on, NULL);
  call_on(NULL);
}

static long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int storm(uint64_t seed, long milliseconds) {
  long end = now() + milliseconds;
  long calls = 0;
  int workers = 0;
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  while (now() < end) {
    shared->done = 0;
    pid_t pid = fork();
    if (pid == 0)
      storm_worker(seed + (uint64_t)workers);
    long limit = now() + 300;
    int status;
    while (waitpid(pid, &status, WNOHANG) == 0 && now() < limit)
      pause_ms(2);
    kill(pid, SIGKILL);
    // What it left behind is ours now.
    int gone = 0;
    while (!gone || waitpid(-1, &status, WNOHANG | __WALL) > 0) {
      if (!gone) {
        pid_t reaped = waitpid(pid, &status, 0);
        gone = reaped == pid || (reaped == -1 && errno == ECHILD);
      }
    }
    calls += shared->done;
    workers++;
  }
  printf("%d workers, %ld calls\n", workers, calls);
  return 0;
}

// ---- The runner

int main(int count, char **words) {
  const char *mode = count > 1 ? words[1] : "compare";
  uint64_t seed = count > 2 ? strtoull(words[2], NULL, 10) : 1;
  long amount = count > 3 ? atol(words[3]) : 2;
  char directory[] = "/tmp/hostile-XXXXXX";
  CHECK(mkdtemp(directory) != NULL);
  CHECK(chdir(directory) == 0);
  shared = mmap((void *)0x140000000, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  CHECK(shared != MAP_FAILED);
  map(area, area_pages * page, PROT_READ | PROT_WRITE);
  map(read_only, page, PROT_READ);
  map(no_access, page, PROT_NONE);
  runner = getpid();
  pid_t parent = getppid(), group = getpgrp(), session = getsid(0);
  setvbuf(stdout, NULL, _IOFBF, 1 << 16);

  int storming = !strcmp(mode, "storm");
  if (storming)
    storm(seed, amount);
  else
    compare(seed, (int)amount);

  // Nothing of it concerned us.
  CHECK_EQUAL(getpid(), runner);
  CHECK_EQUAL(syscall(SYS_gettid), runner);
  CHECK_EQUAL(getppid(), parent);
  CHECK_EQUAL(getpgrp(), group);
  CHECK_EQUAL(getsid(0), session);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0)
    _exit(getppid() == runner ? 0 : 1);
  reap_ok(child);
  fflush(stdout);
  CHECK(chdir("/") == 0);
  char command[100];
  snprintf(command, sizeof command, "chmod -R u+rwx %s; rm -rf %s", directory, directory);
  CHECK_EQUAL(system(command), 0);
  return 0;
}
