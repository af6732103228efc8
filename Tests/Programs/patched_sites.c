// Calls again and again from one place, in all the forms that a compiler gives it, while threads, signals and forks come
// between, and after code was put there that makes another call. A pod may patch such places; the program sees names of its
// own all the same, and `syscall` where it was. With an argument: how many of its places are to be patched at the end: "some",
// "none", or, in a pod all of whose calls are reported, "traced", which is none as well.
#include "check.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/time.h>

#ifndef __x86_64__
int main(void) { return 0; }
#else

enum { forms = 4, per_form = 16, many = 150, often = 12, size = 32 };

// Sites at each place in 16 bytes, so that some lie across a boundary of 8. Each is `size` bytes long.
#define SITES(name, before, call, count)                                                            \
  __asm__(".text\n.balign 32\n.globl " #name "\n" #name ":\n.set i, 0\n.rept " #count "\n"          \
          ".balign 32, 0xcc\n.skip (i & 7) + 1, 0x90\n" before call "\n ret\n.set i, i + 1\n.endr\n"); \
  extern const char name[];
#define MOVE(number) ".byte 0xb8; .long " #number "\n"
SITES(right_before, MOVE(39), "syscall", 16)                                // getpid
SITES(with_short_move, MOVE(110) "mov %esi, %edi\n", "syscall", 16)         // getppid
SITES(with_long_move, MOVE(186) "mov %rcx, %r10\n", "syscall", 16)          // gettid
SITES(with_cleared, MOVE(121) "xor %edi, %edi\n", "syscall", 16)            // getpgid(0)
SITES(late, MOVE(39), "syscall", 24)                                        // getpid
SITES(crowd, MOVE(39), "syscall", 150)                                      // getpid

static long call_at(const char *code) {
  long result = -1;
  __asm__ volatile("call *%[code]" : "+a"(result) : [code] "r"(code)
                   : "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc");
  return result;
}

// Calls `code`, of which everything but the first instruction is left out.
static long call_behind(const char *code, long number) {
  long result = number;
  __asm__ volatile("call *%[code]" : "+a"(result) : [code] "r"(code), "D"(0L), "S"(0L), "d"(0L)
                   : "rcx", "r8", "r9", "r10", "r11", "memory", "cc");
  return result;
}

// Where a site's first instruction is: 0xb8, or what a pod has made of it.
static const char *start_of(const char *site) {
  while ((unsigned char)*site == 0x90) site++;
  return site;
}
static const char *syscall_of(const char *site) {
  const unsigned char *at = (const unsigned char *)start_of(site) + 5;
  while (at[0] != 0x0f || at[1] != 0x05) at++;
  return (const char *)at;
}
static int is_patched(const char *site) { return *(const volatile unsigned char *)start_of(site) == 0xe9; }

static pid_t self, parent;
static int patched;
static int is_to_be_patched, is_traced;

static void all_forms(void) {
  const char *sites[forms] = {right_before, with_short_move, with_long_move, with_cleared};
  const long answers[forms] = {self, parent, self, getpgrp()};
  for (int form = 0; form < forms; form++)
    for (int i = 0; i < per_form; i++) {
      const char *site = sites[form] + i * size;
      const char *end = syscall_of(site);
      for (int turn = 0; turn < often; turn++) {
        CHECK_EQUAL(call_at(site), answers[form]);
        // Into the middle, where the number may be another one.
        CHECK_EQUAL(call_behind(end, SYS_getppid), parent);
        CHECK_EQUAL(call_behind(end, SYS_getuid), getuid());
        CHECK_EQUAL(call_behind(end, 4000), -ENOSYS);
      }
      CHECK(syscall_of(site) == end);
      patched += is_patched(site);
    }
  // The C library's own.
  for (int turn = 0; turn < often; turn++) {
    CHECK_EQUAL(syscall(SYS_getpid), self);
    CHECK_EQUAL(syscall(SYS_gettid), self);
    CHECK_EQUAL(syscall(SYS_getpgid, 0), getpgrp());
    CHECK_EQUAL(syscall(SYS_getuid), getuid());
    CHECK(syscall(SYS_kill, self, 100) == -1 && errno == EINVAL);
    CHECK(syscall(4000) == -1 && errno == ENOSYS);
    CHECK(syscall(-1) == -1 && errno == ENOSYS);
    if (is_to_be_patched) CHECK_EQUAL(syscall(SYS_getpid | 1L << 40), self);
    long lock = 1;
    CHECK(syscall(SYS_futex, &lock, 128, 2, NULL, NULL, 0) == -1 && errno == EAGAIN);
    char *page = (char *)syscall(SYS_mmap, NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED && *page == 0 && syscall(SYS_munmap, page, 4096) == 0);
    pid_t child = (pid_t)syscall(SYS_fork);
    CHECK(child >= 0);
    if (child == 0) _exit(getppid() == self && syscall(SYS_getpid) != self ? 0 : 1);
    int status = -1;
    CHECK_EQUAL(syscall(SYS_wait4, child, &status, 0, NULL), child);
    CHECK_EQUAL(status, 0);
  }
}

// ---- handlers, whose addresses the program reads back by another call than that which set them

static volatile int heard;
static pid_t sender;
static void hear(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)context;
  sender = info->si_pid;
  heard++;
}

static void *handler_of(long number) {
  // struct sigaction of the kernel's.
  struct { void *handler; unsigned long flags; void *restorer; uint64_t mask; } found = {0};
  long result;
  register long mask_size __asm__("r10") = 8;
  __asm__ volatile("lea 1(%[before]), %%eax\n dec %%eax\n syscall"
                   : "=&a"(result) : [before] "r"((long)SYS_rt_sigaction), "D"(number), "S"(0L), "d"(&found),
                     "r"(mask_size) : "rcx", "r11", "memory");
  CHECK(result == 0);
  return found.handler;
}

static void handlers(void) {
  struct sigaction action = {.sa_flags = SA_SIGINFO};
  action.sa_sigaction = hear;
  for (int turn = 0; turn < often; turn++) {
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(handler_of(SIGUSR1) == (void *)hear);
    int before = heard;
    CHECK(kill(getpid(), SIGUSR1) == 0);
    CHECK_EQUAL(heard, before + 1);
    // In a traced pod a handler is told the kernel's number.
    if (!is_traced) CHECK_EQUAL(sender, self);
  }
  // One that is set for the first time.
  CHECK(sigaction(SIGUSR2, &action, NULL) == 0);
  CHECK(handler_of(SIGUSR2) == (void *)hear);
}

// ---- births: each child is itself, on its maker's stack too

static void births(void) {
  for (int turn = 0; turn < often; turn++) {
    static volatile pid_t told;
    pid_t child = vfork();
    CHECK(child >= 0);
    if (child == 0) {
      told = (pid_t)call_at(right_before);
      _exit(getpid() == told && getppid() == self ? 0 : 1);
    }
    CHECK_EQUAL(told, child);
    CHECK_EQUAL(call_at(right_before), self);
    reap_ok(child);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) _exit(call_at(right_before) == getpid() && getpid() != self && getppid() == self ? 0 : 1);
    reap_ok(child);
  }
}

// ---- code that comes and goes

// A place that is as near to what a pod has put into the process as the program is.
static void *near_program(void) { return (uintptr_t)near_program >> 32 ? NULL : (void *)0x20000000; }

static char *place(int file, int access) {
  static char *at;
  char *code = mmap(at ? at : near_program(), 4096, access, MAP_PRIVATE | (at ? MAP_FIXED : 0), file, 0);
  CHECK(code != MAP_FAILED);
  return at = code;
}

static int file_with(const char *code, size_t length) {
  int file = (int)syscall(SYS_memfd_create, "code", 1);
  CHECK(file >= 0 && ftruncate(file, 4096) == 0);
  CHECK(pwrite(file, code, length, 64) == (ssize_t)length);
  return file;
}

static const char get_pid[] = "\x90\xb8\x27\0\0\0\x0f\x05\xc3", get_parent[] = "\x90\xb8\x6e\0\0\0\x0f\x05\xc3";

static void code_that_comes_and_goes(void) {
  int files[2] = {file_with(get_pid, sizeof get_pid), file_with(get_parent, sizeof get_parent)};
  for (int turn = 0; turn < 8; turn++) {
    char *code = place(files[turn % 2], PROT_READ | PROT_EXEC);
    for (int i = 0; i < often; i++)
      CHECK_EQUAL(call_at(code + 64), turn % 2 ? parent : self);
    if (is_to_be_patched) CHECK(is_patched(code + 64));
    CHECK(munmap(code, 4096) == 0);
  }
  // What a program makes by itself is left alone.
  for (int turn = 0; turn < 4; turn++) {
    char *code = mmap(near_program(), 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(code != MAP_FAILED);
    const char *wanted = turn % 2 ? get_parent : get_pid;
    memcpy(code, wanted, sizeof get_pid);
    CHECK(mprotect(code, 4096, PROT_READ | PROT_EXEC | (turn < 2 ? 0 : PROT_WRITE)) == 0);
    for (int i = 0; i < often; i++) CHECK_EQUAL(call_at(code), turn % 2 ? parent : self);
    CHECK(memcmp(code, wanted, sizeof get_pid) == 0);
    CHECK(munmap(code, 4096) == 0);
  }
  // So is text that is written to: who does that may do it at any moment.
  char *code = place(files[0], PROT_READ | PROT_WRITE | PROT_EXEC);
  for (int turn = 0; turn < 8; turn++) {
    *(volatile char *)(code + 66) = turn % 2 ? 0x6e : 0x27;
    for (int i = 0; i < often; i++) CHECK_EQUAL(call_at(code + 64), turn % 2 ? parent : self);
  }
  CHECK(munmap(code, 4096) == 0);
  close(files[0]);
  close(files[1]);
}

// ---- threads and signals while sites are found

static void *in_thread(void *unused) {
  (void)unused;
  pid_t tid = (pid_t)call_at(with_long_move);
  CHECK(tid != self);
  for (int turn = 0; turn < 50; turn++)
    for (int i = 0; i < many; i += 7) {
      CHECK_EQUAL(call_at(crowd + i * size), self);
      CHECK_EQUAL(call_at(with_long_move + i % per_form * size), tid);
    }
  return NULL;
}

static void threads(void) {
  pthread_t made[4];
  for (int i = 0; i < 4; i++) CHECK(pthread_create(&made[i], NULL, in_thread, NULL) == 0);
  for (int turn = 0; turn < 50; turn++)
    for (int i = 0; i < many; i += 5) CHECK_EQUAL(call_at(crowd + i * size), self);
  for (int i = 0; i < 4; i++) CHECK(pthread_join(made[i], NULL) == 0);
}

// Sites that are found when there are several threads already, which all call from the same one at once.
static int turns_begun[24];
static void *in_late_thread(void *unused) {
  (void)unused;
  pid_t tid = (pid_t)syscall(SYS_gettid);
  for (int i = 0; i < 24; i++) {
    __atomic_fetch_add(&turns_begun[i], 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&turns_begun[i], __ATOMIC_SEQ_CST) < 4) sched_yield();
    for (int turn = 0; turn < 200; turn++) CHECK_EQUAL(call_at(late + i * size), self);
    CHECK_EQUAL(syscall(SYS_gettid), tid);
  }
  return NULL;
}

static void late_threads(void) {
  pthread_t made[4];
  for (int i = 0; i < 4; i++) CHECK(pthread_create(&made[i], NULL, in_late_thread, NULL) == 0);
  for (int i = 0; i < 4; i++) CHECK(pthread_join(made[i], NULL) == 0);
  int late_patched = 0;
  for (int i = 0; i < 24; i++) {
    late_patched += is_patched(late + i * size);
    // Only what one store can change.
    if ((uintptr_t)start_of(late + i * size) % 8 > 3) CHECK(!is_patched(late + i * size));
  }
  printf("%d patched among threads\n", late_patched);
  if (is_to_be_patched) CHECK(late_patched > 4);
  patched += late_patched;
}

static volatile int rung;
static void ring(int signal) {
  (void)signal;
  rung++;
  int error = errno;
  CHECK_EQUAL(call_at(crowd + rung % many * size), self);
  errno = error;
}

static void signals(void) {
  struct sigaction action = {.sa_handler = ring, .sa_flags = SA_RESTART};
  CHECK(sigaction(SIGALRM, &action, NULL) == 0);
  struct itimerval soon = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
  CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
  for (int turn = 0; turn < often; turn++)
    for (int i = 0; i < many; i++) {
      CHECK_EQUAL(call_at(crowd + i * size), self);
      if (i % 50) continue;
      pid_t child = fork();
      CHECK(child >= 0);
      if (child == 0) {
        CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
        _exit(call_at(crowd + (i + 3) % many * size) == getpid() && getpid() != self ? 0 : 1);
      }
      int status = -1;
      CHECK_EQUAL(waitpid(child, &status, 0), child);
      CHECK_EQUAL(status, 0);
    }
  CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
  CHECK(rung > 0);
  for (int i = 0; i < many; i++) {
    for (int turn = 0; turn < often; turn++) CHECK_EQUAL(call_at(crowd + i * size), self);
    patched += is_patched(crowd + i * size);
  }
}

// ---- filters of the program's own, which see where a call comes from, and which calls are made

static long allow_from(const char *end, uint32_t number, uint32_t forbidden) {
  uint64_t address = (uint64_t)end;
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, forbidden, 5, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 5),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)address, 0, 2),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer) + 4),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(address >> 32), 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
}

static int ready, gone_on;
static void *under_filter(void *unused) {
  (void)unused;
  __atomic_store_n(&ready, 1, __ATOMIC_SEQ_CST);
  while (!__atomic_load_n(&gone_on, __ATOMIC_SEQ_CST)) sched_yield();
  for (int turn = 0; turn < often; turn++) CHECK_EQUAL(call_at(with_short_move), self);
  return NULL;
}

static void filters(void) {
  for (int with_thread = 0; with_thread < 2; with_thread++) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      pid_t own = getpid();
      for (int turn = 0; turn < often; turn++) {
        CHECK_EQUAL(call_at(with_short_move), self);
        CHECK_EQUAL(call_at(with_long_move), own);
      }
      pthread_t other;
      if (with_thread) {
        CHECK(pthread_create(&other, NULL, under_filter, NULL) == 0);
        while (!__atomic_load_n(&ready, __ATOMIC_SEQ_CST)) sched_yield();
      }
      // getppid from one place only, and getpid, which the program doesn't call any more, from none.
      CHECK_EQUAL(allow_from(syscall_of(with_short_move) + 2, SYS_getppid, SYS_getpid), 0);
      __atomic_store_n(&gone_on, 1, __ATOMIC_SEQ_CST);
      for (int turn = 0; turn < often; turn++) {
        CHECK_EQUAL(call_at(with_short_move), self);
        CHECK_EQUAL(call_at(with_long_move), own);
        CHECK_EQUAL(getpgid(0), getpgrp());
      }
      pid_t grandchild = fork();
      CHECK(grandchild >= 0);
      if (grandchild == 0) _exit(call_at(with_short_move) == own ? 0 : 1);
      int status = -1;
      CHECK_EQUAL(waitpid(grandchild, &status, 0), grandchild);
      CHECK_EQUAL(status, 0);
      if (with_thread) CHECK(pthread_join(other, NULL) == 0);
      _exit(0);
    }
    int status = -1;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
  }
}

int main(int count, char **arguments) {
  is_to_be_patched = count > 1 && strcmp(arguments[1], "some") == 0;
  is_traced = count > 1 && strcmp(arguments[1], "traced") == 0;
  self = getpid();
  parent = getppid();
  all_forms();
  handlers();
  births();
  late_threads();
  code_that_comes_and_goes();
  threads();
  signals();
  filters();
  if (is_to_be_patched) CHECK(patched >= forms * per_form);
  if (count > 1 && (is_traced || strcmp(arguments[1], "none") == 0)) CHECK_EQUAL(patched, 0);
  printf("%d patched\n", patched);
  return 0;
}
#endif
