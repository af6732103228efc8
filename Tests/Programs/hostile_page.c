// A program that attacks through the pod's code in its memory (pod_page.h): run in a pod, with the number that the kernel
// has for a process outside.
//
//   hostile_page OUTSIDER SEED ROUNDS
//
// It exits 0 when nothing that it did reached the outsider, and the calls of others in the pod, and its own by the slow
// way, answer as ever. Each attack runs in a child, which may well die of it.
#include "check.h"
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/uio.h>

enum { code_size = 0x4000, private_size = 0x5000, no_pod = 77 };
static const uint64_t magic = 0x706f642d70616765;

static char *base, *end;
static int outsider;

static uint64_t state;
static uint64_t draw(void) {
  state += 0x9e3779b97f4a7c15;
  uint64_t z = state;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

// Where the shared part of the area is; not at all where the pod has none.
static void find_area(void) {
  let_area_come();
  FILE *maps = fopen("/proc/self/maps", "r");
  CHECK(maps != NULL);
  char line[512];
  while (fgets(line, sizeof line, maps)) {
    unsigned long from, to;
    if (strstr(line, "/memfd:pod ") && sscanf(line, "%lx-%lx", &from, &to) == 2) {
      base = (char *)from;
      end = (char *)to;
    }
  }
  fclose(maps);
}

// Calls of the program's own and its libraries' don't go into the pod's code from here on, whatever becomes of that: text that may be
// written to isn't patched.
static void keep_text(void) {
  FILE *maps = fopen("/proc/self/maps", "r");
  CHECK(maps != NULL);
  char line[512], access[5];
  while (fgets(line, sizeof line, maps)) {
    unsigned long from, to;
    if (strchr(line, '/') && !strstr(line, "/memfd:pod ") && sscanf(line, "%lx-%lx %4s", &from, &to, access) == 3 &&
        strcmp(access, "r-xp") == 0)
      CHECK(mprotect((void *)from, to - from, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
  }
  fclose(maps);
}

// A call whose instruction is where nobody but the pod's code should be.
static char *instruction;
static long from_page(long n, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f) {
  long result;
  register uint64_t r10 __asm__("r10") = d;
  register uint64_t r8 __asm__("r8") = e;
  register uint64_t r9 __asm__("r9") = f;
  __asm__ volatile("sub $128, %%rsp\n call *%[code]\n add $128, %%rsp"
                   : "=a"(result)
                   : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9), [code] "b"(instruction)
                   : "rcx", "r11", "memory", "cc");
  return result;
}
#define PAGE(n, ...) PAGE_(n, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define PAGE_(n, a, b, c, d, e, f, ...) \
  from_page(n, (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), (uint64_t)(d), (uint64_t)(e), (uint64_t)(f))

static void unmap_area(void) {
  CHECK(munmap(base - private_size, private_size) == 0);
  CHECK(munmap(base, (size_t)(end - base)) == 0);
}

// Code of ours where the pod's was.
static void take_place(void) {
  unmap_area();
  char *mapped = mmap(base, code_size, PROT_READ | PROT_WRITE | PROT_EXEC,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  CHECK(mapped == base);
  for (int offset = 0; offset < code_size - 16; offset += 256) memcpy(base + offset, "\x0f\x05\xc3", 3);
  instruction = base + 256;
}

// What every process of the pod may expect: of itself, of its children, and of its parent.
static void check_as_ever(void) {
  pid_t self = (pid_t)syscall(SYS_getpid);
  CHECK(self > 1 && self == getpid());
  CHECK_EQUAL(syscall(SYS_gettid), self);
  CHECK_EQUAL(getpgid(0), getpgid(self));
  CHECK_EQUAL(getsid(0), getsid(self));
  CHECK(getpgid(outsider) == -1 && errno == ESRCH);
  CHECK(kill(outsider, 0) == -1 && errno == ESRCH);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) _exit(getppid() == self && getpid() != self ? 5 : 6);
  int status;
  CHECK_EQUAL(AGAIN(waitpid(child, &status, 0)), child);
  CHECK(WIFEXITED(status));
  CHECK_EQUAL(WEXITSTATUS(status), 5);
  child = vfork();
  CHECK(child >= 0);
  if (child == 0) {
    execl("/bin/true", "true", NULL);
    _exit(7);
  }
  reap_ok(child);
  CHECK(kill(self, 0) == 0);
}

// ---- attacks, each in a process of its own

// The slow way is complete.
static void without(void) {
  unmap_area();
  check_as_ever();
}

// A descriptor of him is nothing that programs don't have without the pod's code, which opens some: a directory of /proc is one. It
// can be had only where the kernel keeps signals in the pod, and nothing can be done with it, wherever that is tried.
static void open_other(uint64_t him) {
  long handle = PAGE(SYS_pidfd_open, him, 0);
  int is_scoped = PAGE(SYS_kill, him, 0) == -EPERM;
  if (!is_scoped) CHECK(handle < 0);
  if (handle < 0) return;
  char bytes[64] = {0};
  struct iovec vector = {bytes, sizeof bytes};
  siginfo_t info = {.si_code = -1, .si_signo = SIGKILL};
  const unsigned long show = 3ul << 30 | sizeof bytes << 16 | 0xff0b; // PIDFD_GET_INFO
  for (int flags = 0; flags <= 4; flags += flags ? flags : 1) {
    CHECK(PAGE(SYS_pidfd_send_signal, handle, 0, 0, flags) < 0);
    CHECK(PAGE(SYS_pidfd_send_signal, handle, SIGKILL, 0, flags) < 0);
    CHECK(PAGE(SYS_pidfd_send_signal, handle, SIGKILL, &info, flags) < 0);
    CHECK(syscall(SYS_pidfd_send_signal, handle, SIGKILL, NULL, flags) < 0);
  }
  for (int out = 0; out < 2; out++) {
#define TRY(...) (out ? (syscall(__VA_ARGS__) < 0) : (PAGE(__VA_ARGS__) < 0))
    CHECK(TRY(SYS_pidfd_getfd, handle, 0, 0));
    CHECK(TRY(SYS_process_madvise, handle, &vector, 1, 20 /* MADV_COLD */, 0));
    CHECK(TRY(448 /* process_mrelease */, handle, 0));
    CHECK(TRY(SYS_setns, handle, 0x20000000));
    CHECK(TRY(SYS_setns, handle, 0x00020000));
    CHECK(TRY(SYS_waitid, 3 /* P_PIDFD */, handle, 0, WEXITED | WNOHANG, 0));
    CHECK(TRY(SYS_ioctl, handle, show, bytes));
    CHECK(TRY(SYS_ioctl, handle, 0xff09 /* PIDFD_GET_USER_NAMESPACE */, 0));
  }
  close((int)handle);
}

// Calls that name others, from where the pod's code was: a number that isn't the pod's is nobody's.
static void name_others(void) {
  take_place();
  uint64_t him = (uint64_t)outsider;
  struct sched_param parameter = {0};
  struct rlimit64 { uint64_t now, most; } limit = {7, 7};
  uint64_t mask = 1;
  char byte = 'x';
  struct iovec vector = {&byte, 1};
  siginfo_t info = {.si_code = -1};
  for (instruction = base; instruction < base + code_size - 256; instruction += 256 * 16) {
    for (int upper = 0; upper < 2; upper++, him |= 0xdeadbeef00000000) {
      long refused[] = {
          PAGE(SYS_kill, him, SIGKILL), PAGE(SYS_kill, him, 0), PAGE(SYS_kill, -(int64_t)outsider, SIGKILL),
          PAGE(SYS_tkill, him, SIGKILL), PAGE(SYS_tgkill, him, him, SIGKILL),
          PAGE(SYS_rt_sigqueueinfo, him, SIGUSR1, &info), PAGE(SYS_rt_tgsigqueueinfo, him, him, SIGUSR1, &info),
          PAGE(SYS_getpgid, him), PAGE(SYS_getsid, him), PAGE(SYS_setpgid, him, 0), PAGE(SYS_setpgid, 0, him),
          PAGE(SYS_setpriority, PRIO_PROCESS, him, 19), PAGE(SYS_setpriority, PRIO_PGRP, him, 19),
          PAGE(SYS_sched_setscheduler, him, SCHED_BATCH, &parameter), PAGE(SYS_sched_setparam, him, &parameter),
          PAGE(SYS_sched_setaffinity, him, sizeof mask, &mask), PAGE(SYS_prlimit64, him, RLIMIT_NOFILE, &limit, 0),
          PAGE(SYS_process_vm_readv, him, &vector, 1, &vector, 1, 0),
          PAGE(SYS_process_vm_writev, him, &vector, 1, &vector, 1, 0), PAGE(SYS_ptrace, 0x4206 /* SEIZE */, him, 0, 0),
          PAGE(SYS_ptrace, 16 /* ATTACH */, him, 0, 0), PAGE(SYS_migrate_pages, him, 8, &mask, &mask),
          PAGE(SYS_ioprio_set, 1, him, 0x6000), PAGE(SYS_kcmp, him, him, 0, 0, 0),
      };
      for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (refused[i] >= 0) {
          fprintf(stderr, "call %zu of the list from %p: %ld\n", i, (void *)instruction, refused[i]);
          _exit(1);
        }
      open_other(him);
    }
    him = (uint64_t)outsider;
  }
  instruction = base + 256;
  // Nobody that could be waited for, either.
  CHECK_EQUAL(PAGE(SYS_wait4, him, 0, WNOHANG, 0), -ECHILD);
  CHECK_EQUAL(PAGE(SYS_waitid, P_PID, him, 0, WEXITED | WNOHANG, 0), -ECHILD);
  // Ways out.
  int namespaces[] = {0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000};
  for (size_t i = 0; i < sizeof namespaces / sizeof *namespaces; i++) {
    CHECK_EQUAL(PAGE(SYS_clone, namespaces[i] | SIGCHLD), -EPERM);
    CHECK_EQUAL(PAGE(SYS_clone, 0xdeadbeef00000000 | (uint64_t)namespaces[i] | SIGCHLD), -EPERM);
    CHECK_EQUAL(PAGE(SYS_unshare, namespaces[i]), -EPERM);
  }
  uint64_t arguments[11] = {0x20000000, 0, 0, 0, SIGCHLD};
  CHECK_EQUAL(PAGE(SYS_clone3, arguments, sizeof arguments), -ENOSYS);
  CHECK_EQUAL(PAGE(SYS_setns, 0, 0), -EPERM);
  CHECK_EQUAL(PAGE(425 /* io_uring_setup */, 1, arguments), -ENOSYS);
  CHECK_EQUAL(PAGE(SYS_seccomp, 1, 8, 0), -EBUSY);
  memcpy(base + 512, "\xcd\x80\xc3", 3);
  instruction = base + 512;
  CHECK_EQUAL(PAGE(37 /* kill */, 0, 0, him), -ENOSYS);
  // What is the caller's own it may know.
  instruction = base + 256;
  check_as_ever();
}

// The calls that the pod's code makes by itself, made by other code.
static void alone(void) {
  take_place();
  for (instruction = base; instruction < base + code_size - 256; instruction += 256 * 8) {
    long self = PAGE(SYS_getpid);
    CHECK(self > 0);
    CHECK_EQUAL(PAGE(SYS_gettid), self);
    CHECK(PAGE(SYS_getppid) > 0);
    CHECK_EQUAL(PAGE(SYS_getpgrp), PAGE(SYS_getpgid, 0));
    CHECK(PAGE(SYS_getsid, 0) >= 0);
    CHECK_EQUAL(PAGE(SYS_wait4, -1, 0, WNOHANG, 0), -ECHILD);
    CHECK_EQUAL(PAGE(SYS_set_tid_address, 0), self);
    uint64_t none = 0, now[2] = {0, 0};
    CHECK_EQUAL(PAGE(SYS_rt_sigtimedwait, &none, 0, now, 8), -EAGAIN);
    // A tracer's flags are nothing to it.
    CHECK(PAGE(SYS_getpid) == self);
  }
  instruction = base + 256;
  // A child that nobody has announced, and that wants somebody's end.
  volatile long *outcome = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(outcome != MAP_FAILED);
  for (int flags = 0; flags < 3; flags++) {
    outcome[0] = outcome[1] = -1;
    long child = flags == 0   ? PAGE(SYS_fork)
                 : flags == 1 ? PAGE(SYS_clone, SIGCHLD)
                              : PAGE(SYS_clone, 0x802000 | SIGCHLD);  // PTRACE | UNTRACED
    if (child == 0) {
      outcome[0] = syscall(SYS_kill, outsider, SIGKILL);
      outcome[1] = PAGE(SYS_kill, outsider, SIGKILL);
      syscall(SYS_exit_group, 3);
    }
    CHECK(child > 0);
    int status;
    // Its maker, or somebody's, hears of its end.
    while (PAGE(SYS_wait4, -1, &status, 0x40000000 /* __WALL */, 0) == -EINTR) {
    }
    CHECK(outcome[0] == -1 && outcome[1] < 0);
  }
  check_as_ever();
}

static uint64_t hostile_word(void) {
  static char own[256];
  switch (draw() % 20) {
  case 0: return 0;
  case 1: return 1;
  case 2: return ~0ull;
  case 3: return (uint64_t)outsider;
  case 4: return (uint64_t)outsider << 32;
  case 5: return (uint64_t)outsider << 32 | (uint64_t)outsider;
  case 6: return (uint64_t)getpid();
  case 7: return 1ull << draw() % 64;
  case 8: return 0xffff800000000000 + draw() % 4096;
  case 9: return (uint64_t)base + draw() % 0x20000;
  case 10: return (uint64_t)base - draw() % private_size;
  case 11: return (uint64_t)own;
  case 12: return (uint64_t)&own[255];
  case 13: return draw() % 64;
  case 14: return (uint64_t)-(int64_t)(draw() % 4096);
  case 15: return 0x7ffffffff000 - draw() % 16;
  case 16: return 56ull << 32 | SIGCHLD;
  case 17: return (uint64_t)(57 + draw() % 2) << 32;
  case 18: return 2 + draw() % 8;
  default: return draw();
  }
}

// All that the pod's code can tell and ask, told by a liar.
static int rounds;
static void *lie(void *seed) {
  (void)seed;
  for (int i = 0; i < rounds; i++) {
    uint64_t number = draw() % 4 ? draw() % 40 : hostile_word();
    from_page(SYS_getpid, magic, number, hostile_word(), hostile_word(), hostile_word(), hostile_word());
  }
  return NULL;
}

static void lies(void) {
  // From its own place, and from the pod's code itself: both are the same to the supervisor.
  take_place();
  for (uint64_t number = 0; number < 64; number++)
    for (int i = 0; i < 8; i++)
      from_page(SYS_getpid, magic, number, hostile_word(), hostile_word(), hostile_word(), hostile_word());
  // A hypercall that doesn't exist, and one from elsewhere.
  CHECK_EQUAL(PAGE(SYS_getpid, magic, 0), -ENOSYS);
  CHECK_EQUAL(PAGE(SYS_getpid, magic, 0x10000000fful), -ENOSYS);
  CHECK(syscall(SYS_getpid, magic, 2, SYS_getsid, outsider) == getpid());
  lie(NULL);
}

static void lies_by_threads(void) {
  take_place();
  pthread_t threads[4];
  for (int i = 0; i < 4; i++)
    if (pthread_create(&threads[i], NULL, lie, NULL) != 0) _exit(0);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
}

// A child of somebody else's has ended: a liar says that it has waited for it, and how it ended (see HostilePageTests).
enum { waited = 21, ends = 7, made_up = 113 };
static void wait_for_others(void) {
  struct {
    volatile int number, over, right;
  } *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(shared != MAP_FAILED);
  pid_t other = fork();
  CHECK(other >= 0);
  if (other == 0) {
    for (int i = 0; i < 50; i++) {
      pid_t child = fork();
      CHECK(child >= 0);
      if (child == 0) {
        shared->number = (int)syscall(SYS_set_tid_address, NULL);  // the kernel's
        _exit(ends);
      }
      // Now its number is a zombie's for a while.
      siginfo_t info;
      CHECK(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT) == 0);
      pause_ms(2);
      int status;
      CHECK_EQUAL(AGAIN(waitpid(child, &status, 0)), child);
      CHECK(WIFEXITED(status));
      CHECK_EQUAL(WEXITSTATUS(status), ends);
      shared->right++;
    }
    shared->over = 1;
    _exit(0);
  }
  pid_t liar = fork();
  CHECK(liar >= 0);
  if (liar == 0) {
    take_place();
    while (!shared->over) {
      int number = shared->number;
      PAGE(SYS_getpid, magic, waited, 0, number, made_up << 8, 1);
      PAGE(SYS_getpid, magic, waited, draw() % 64, number, made_up << 8, 1);
    }
    _exit(0);
  }
  reap_ok(other);
  reap_ok(liar);
  CHECK_EQUAL(shared->right, 50);
}

// Somebody outside is said to be a child that was made, or waited for; meanwhile all names that this could have given him
// are tried.
enum { birth_begins = 16, birth_ends = 20 };
static volatile int newest, claims_over;
static void *try_names(void *unused) {
  (void)unused;
  while (!claims_over)
    for (int name = newest - 2; name < newest + 4; name++)
      if (name > 1) setpriority(PRIO_PROCESS, (id_t)name, 1);  // no harm to others of the pod
  return NULL;
}

static void claim(void) {
  static const uint64_t flags[] = {SIGCHLD, 0x8000 | SIGCHLD, 0x10900, 0x100 | SIGCHLD};
  for (int i = 0; i < 4; i++) {
    long ticket = PAGE(SYS_getpid, magic, birth_begins, (uint64_t)SYS_clone << 32 | flags[i], 0, 0);
    if (ticket > 0) PAGE(SYS_getpid, magic, birth_ends, ticket, outsider, 0);
  }
  for (uint64_t reaped = 0; reaped < 2; reaped++) {
    long name = PAGE(SYS_getpid, magic, waited, 0, outsider, 0, reaped);
    if (name > 1) newest = (int)name;
  }
}

static void claims(void) {
  take_place();
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, try_names, NULL) == 0);
  for (int i = 0; i < 60; i++) {
    pid_t announcer = fork();
    if (announcer == 0) {
      for (int birth = 0; birth < 4; birth++)
        PAGE(SYS_getpid, magic, birth_begins, (uint64_t)SYS_fork << 32, 0, 0, 0);
      _exit(0);
    }
    newest = announcer;
    for (int turn = 0; turn < 20; turn++) claim();
    if (announcer > 0) waitpid(announcer, NULL, 0);
  }
  claims_over = 1;
  pthread_join(thread, NULL);
}

// What the page can be asked for in another's name: it shows what the call itself would.
static void asked_calls(void) {
  take_place();
  enum { call = 2 };
  long refused[] = {
      PAGE(SYS_getpid, magic, call, SYS_kill, outsider, SIGKILL), PAGE(SYS_getpid, magic, call, SYS_kill, outsider, 0),
      PAGE(SYS_getpid, magic, call, SYS_getpgid, outsider), PAGE(SYS_getpid, magic, call, SYS_getsid, outsider),
      PAGE(SYS_getpid, magic, call, SYS_setpgid, outsider, 0), PAGE(SYS_getpid, magic, call, SYS_execve, 0, 0),
      PAGE(SYS_getpid, magic, call, SYS_ptrace, 16, outsider), PAGE(SYS_getpid, magic, call, 1ul << 32 | SYS_getpid),
      PAGE(SYS_getpid, magic, call, 9999), PAGE(SYS_getpid, magic, call, SYS_read, 0, base),
  };
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) CHECK(refused[i] < 0);
  CHECK_EQUAL(PAGE(SYS_getpid, magic, call, SYS_getpid), getpid());
  CHECK_EQUAL(PAGE(SYS_getpid, magic, call, SYS_getsid, 0), getsid(0));
  CHECK_EQUAL(PAGE(SYS_getpid, magic, call, SYS_getpgid, getppid()), getpgid(getppid()));
}

// The page enters with whatever its private memory has become.
static long enter(long n, uint64_t a, uint64_t b, uint64_t c) {
  long result;
  __asm__ volatile("sub $256, %%rsp\n"
                   "lea 1f(%%rip), %%rcx\n"
                   "mov %%rcx, -136(%%rsp)\n"
                   "sub $136, %%rsp\n"
                   "jmp *%[entry]\n"
                   "1: add $256, %%rsp\n"
                   : "=a"(result)
                   : "a"(n), "D"(a), "S"(b), "d"(c), [entry] "b"(base)
                   : "rcx", "r8", "r9", "r10", "r11", "memory", "cc");
  return result;
}

static void private_memory(void) {
  long words = private_size / 8;
  uint64_t *own = (uint64_t *)(base - private_size);
  for (int round = 0; round < 8; round++) {
    for (long i = 0; i < words; i++) own[i] = round == 0 ? 0 : round == 1 ? ~0ull : hostile_word();
    // What it answers is its own affair. Whom it reaches isn't.
    enter(SYS_getpid, 0, 0, 0);
    enter(SYS_gettid, 0, 0, 0);
    enter(SYS_getppid, 0, 0, 0);
    enter(SYS_getpgid, 0, 0, 0);
    enter(SYS_getsid, (uint64_t)getpid(), 0, 0);
    CHECK(enter(SYS_kill, (uint64_t)outsider, SIGKILL, 0) < 0);
    CHECK(enter(SYS_tgkill, (uint64_t)outsider, (uint64_t)outsider, SIGKILL) < 0);
    CHECK(enter(SYS_setpriority, PRIO_PROCESS, (uint64_t)outsider, 19) < 0);
    pid_t child = fork();
    if (child == 0) {
      enter(SYS_getpid, 0, 0, 0);
      _exit(0);
    }
    if (child > 0) waitpid(child, NULL, 0);
  }
  munmap(own, private_size);
  // A page without its private part may end whoever enters it, and nobody else.
  pid_t child = fork();
  if (child == 0) {
    alarm(5);
    enter(SYS_getpid, 0, 0, 0);
    _exit(0);
  }
  if (child > 0) waitpid(child, NULL, 0);
}

// The shared part isn't anybody's to change.
static void shared_memory(void) {
  CHECK(mprotect(base, 4096, PROT_READ | PROT_WRITE) == -1 && errno == EACCES);
  CHECK(mprotect(end - 4096, 4096, PROT_WRITE) == -1 && errno == EACCES);
  CHECK(madvise(base, 4096, MADV_REMOVE) == -1);
  int memory = open("/proc/self/mem", O_RDWR);
  if (memory >= 0) {
    CHECK(pwrite(memory, "x", 1, (off_t)base) == -1);
    close(memory);
  }
  char path[96];
  snprintf(path, sizeof path, "/proc/self/map_files/%lx-%lx", (unsigned long)base, (unsigned long)end);
  int file = open(path, O_RDWR);
  if (file >= 0) {
    CHECK(write(file, "x", 1) == -1 && errno == EPERM);
    CHECK(ftruncate(file, 0) == -1 && errno == EPERM);
    CHECK(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, file, 0) == MAP_FAILED);
  }
}

static int code_bytes;

// Into the middle of the code, with registers that were made for calls that hurt.
static void jump(void) {
  static const short calls[] = {SYS_kill, SYS_tkill, SYS_tgkill, SYS_setpriority, SYS_prlimit64, SYS_getpid, SYS_fork,
                                SYS_wait4, SYS_rt_sigqueueinfo, SYS_sched_setaffinity, SYS_clone, SYS_rt_sigaction};
  struct itimerval soon = {.it_value = {.tv_usec = 300000}};
  setitimer(ITIMER_REAL, &soon, NULL);
  uint64_t words[16];
  for (int i = 0; i < 16; i++) words[i] = hostile_word();
  words[0] = (uint64_t)calls[draw() % (sizeof calls / sizeof *calls)];
  words[1] = draw() % 2 ? (uint64_t)outsider : hostile_word();
  words[2] = draw() % 2 ? SIGKILL : draw() % 2 ? (uint64_t)outsider : hostile_word();
  words[3] = draw() % 2 ? SIGKILL : hostile_word();
  char *target = base + draw() % (unsigned)code_bytes;
  if (draw() % 2) {
    // A stack that holds, where it returns to nowhere.
    char *stack = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 1 << 13; i++) ((uint64_t *)stack)[i] = hostile_word();
    words[7] = (uint64_t)stack + (1 << 15);
  }
  words[8] = (uint64_t)target;
  __asm__ volatile("mov %0, %%r15\n"
                   "mov 8(%%r15), %%rdi\n mov 16(%%r15), %%rsi\n mov 24(%%r15), %%rdx\n mov 32(%%r15), %%r10\n"
                   "mov 40(%%r15), %%r8\n mov 48(%%r15), %%r9\n mov 72(%%r15), %%rbx\n mov 80(%%r15), %%rbp\n"
                   "mov 88(%%r15), %%rcx\n mov 96(%%r15), %%r12\n mov 104(%%r15), %%r13\n mov 112(%%r15), %%r14\n"
                   "mov 64(%%r15), %%r11\n mov (%%r15), %%rax\n"
                   "mov 56(%%r15), %%rsp\n"
                   "jmp *%%r11\n"
                   :
                   : "r"(words)
                   : "memory");
  __builtin_unreachable();
}

static void jumps(void) {
  for (code_bytes = code_size; code_bytes > 1 && base[code_bytes - 1] == 0;) code_bytes--;
  for (int i = 0; i < rounds; i++) {
    uint64_t seed = draw();
    pid_t child = fork();
    if (child == 0) {
      state = seed;
      CHECK(setpgid(0, 0) == 0);
      jump();
    }
    CHECK(child > 0);
    for (int waited = 0;; waited++) {
      int status;
      pid_t found = waitpid(child, &status, WNOHANG);
      if (found == child || (found == -1 && errno == ECHILD)) break;
      // One that catches or blocks its alarm.
      if (waited > 1000) kill(child, SIGKILL);
      pause_ms(1);
    }
    // What it may have left behind.
    kill(-child, SIGKILL);
  }
  while (waitpid(-1, NULL, WNOHANG) > 0) {
  }
}

// ----

// Another process of the pod, which has nothing to do with it all.
static void bystander(const volatile int *over) {
  pid_t self = getpid();
  while (!*over) {
    CHECK_EQUAL(getpid(), self);
    check_as_ever();
  }
  _exit(0);
}

int main(int count, char **arguments) {
  CHECK_EQUAL(count, 4);
  outsider = atoi(arguments[1]);
  state = (uint64_t)atol(arguments[2]);
  rounds = atoi(arguments[3]);
  CHECK(outsider > 1);
  // Before the area comes: with it come the patches of what makes and waits for processes.
  keep_text();
  find_area();
  if (base == NULL) return no_pod;
  volatile int *over = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(over != MAP_FAILED);
  pid_t other = fork();
  if (other == 0) bystander(over);
  CHECK(other > 0);
  static const struct {
    const char *name;
    void (*run)(void);
    int may_die;
  } attacks[] = {
      {"without the area", without, 0},       {"the shared part", shared_memory, 0},
      {"calls that name others", name_others, 0}, {"calls by itself", alone, 0},
      {"calls that it asks for", asked_calls, 0}, {"others' children", wait_for_others, 0}, {"claims", claims, 1}, {"lies", lies, 1},
      {"lies by threads", lies_by_threads, 1},    {"the private part", private_memory, 1},
      {"jumps", jumps, 0},
  };
  int failures = 0;
  for (size_t i = 0; i < sizeof attacks / sizeof *attacks; i++) {
    uint64_t seed = draw();
    pid_t child = fork();
    if (child == 0) {
      state = seed;
      attacks[i].run();
      _exit(0);
    }
    CHECK(child > 0);
    int status = -1;
    CHECK_EQUAL(AGAIN(waitpid(child, &status, 0)), child);
    // Whoever lies about itself may be killed for it.
    if (status != 0 && !(attacks[i].may_die && WIFSIGNALED(status))) {
      fprintf(stderr, "%s: status %x\n", attacks[i].name, status);
      failures++;
    }
    check_as_ever();
  }
  *over = 1;
  reap_ok(other);
  CHECK_EQUAL(failures, 0);
  puts("unharmed");
  return 0;
}
