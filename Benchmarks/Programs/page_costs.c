// What calls cost natively and through the code of a pod's area, which is mapped here with a table of some thousand names,
// of which this process and its child are two: page_costs AREA CPU ROUNDS CALLS, where AREA is a file with the code, the rules and the
// stubs. Prints "CALL INSTRUCTIONS KERNEL NS NS" for each round: how many instructions of the area's one call takes, how many system
// calls it makes, and what it costs natively and there.
//
// The page counts the instructions by single steps, with the flag that a debugger would set.
#define _GNU_SOURCE
#include "pod_page.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

enum { NAMES = 4096, OWN = 2000, CHILD = 2001 };

static char *base;
static int terminal;
static int answer;

static void check(int condition, const char *what) {
  if (!condition) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    _exit(1);
  }
}

// ---- the area

// What the kernel never gives to another process.
static uint32_t inode(int process) {
  int handle = (int)syscall(SYS_pidfd_open, process, 0);
  struct stat status;
  check(handle >= 0 && fstat(handle, &status) == 0, "pidfd_open");
  close(handle);
  return (uint32_t)status.st_ino;
}

static void map(const char *path) {
  int file = open(path, O_RDONLY);
  size_t size = POD_AREA_TABLE + pod_table_size(NAMES);
  int area = memfd_create("pod", 0);
  static char bytes[POD_AREA_TABLE];
  check(file >= 0 && read(file, bytes, sizeof bytes) == sizeof bytes, path);
  check(area >= 0 && ftruncate(area, size) == 0 && write(area, bytes, sizeof bytes) == sizeof bytes, "area");
  base = (char *)0x6d0000200000;
  check(mmap(base, size, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED_NOREPLACE, area, 0) == base, "mmap");
  char *own = base - POD_AREA_PRIVATE_SIZE;
  check(mmap(own, POD_AREA_PRIVATE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON | MAP_FIXED_NOREPLACE, -1, 0) ==
            own,
        "mmap");
  check(madvise(base + POD_AREA_CACHE, 4096, MADV_WIPEONFORK) == 0, "madvise");

  // What the supervisor would write.
  char *writable = mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED, area, 0);
  check(writable != MAP_FAILED, "mmap");
  struct pod_table *table = (struct pod_table *)(writable + POD_AREA_TABLE);
  pod_table_format(table, NAMES, 1);
  int child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  check(child > 0, "fork");
  for (int name = 1; name < NAMES; name++) {
    uint32_t slot = pod_table_allocate(table, name, 0);
    struct pod_entry *entry = pod_table_entry(table, slot);
    pod_entry_set_link(entry, 1, name == CHILD ? OWN : 1);
    pod_entry_set_link(entry, 2, name == CHILD ? OWN : name);
    pod_entry_set_link(entry, 3, name == CHILD ? OWN : name);
    pod_table_bind(table, slot, name == 1 ? getppid() : name == OWN ? getpid() : name == CHILD ? child : 4000000 + name);
    if (name == CHILD) pod_entry_set_identity(entry, inode(child));
  }
}

static void unmap(void) {
  kill(pod_table_physical_of((struct pod_table *)(base + POD_AREA_TABLE), CHILD), SIGKILL);
}

// Comes into the page as a call of a program's does.
__attribute__((noinline)) static long enter(long number, long a, long b, long c) {
  register char *entry __asm__("r10") = base + POD_PAGE_ENTER;
  __asm__ volatile("sub $128, %%rsp\n  lea 1f(%%rip), %%rcx\n  push %%rcx\n  jmp *%[entry]\n1:"
                   : "+a"(number)
                   : "D"(a), "S"(b), "d"(c), [entry] "r"(entry)
                   : "rcx", "r11", "memory");
  return number;
}

static long native(long number, long a, long b, long c) {
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
  return result;
}

// ---- what is measured

static const struct {
  const char *name;
  long number, in_page, outside, request;
  int expected;
} calls[] = {
    {"getpid", SYS_getpid, 0, 0, 0, OWN},
    {"gettid", SYS_gettid, 0, 0, 0, OWN},
    {"getppid", SYS_getppid, 0, 0, 0, 1},
    {"getpgrp", SYS_getpgrp, 0, 0, 0, OWN},
    {"getpgid(pid)", SYS_getpgid, CHILD, -CHILD, 0, OWN},
    {"getsid(0)", SYS_getsid, 0, 0, 0, OWN},
    {"kill(own,0)", SYS_kill, OWN, -OWN, 0, 0},
    {"kill(0,0)", SYS_kill, 0, 0, 0, 0},
    {"kill(child,0)", SYS_kill, CHILD, -CHILD, 0, 0},
    {"TIOCGPGRP", SYS_ioctl, 0, 0, TIOCGPGRP, 0},
    // What the page has no part in: the way through it.
    {"umask", SYS_umask, 022, 022, 0, 022},
};
enum { CALLS = sizeof calls / sizeof *calls };

static long argument(int call, int in_page) {
  if (calls[call].number == SYS_ioctl) return terminal;
  if (in_page) return calls[call].in_page;
  if (calls[call].outside < 0)
    return pod_table_physical_of((struct pod_table *)(base + POD_AREA_TABLE), -calls[call].outside);
  return calls[call].outside;
}

static volatile long steps, kernel_calls;

static void count(int signal, siginfo_t *info, void *context) {
  (void)signal;
  (void)info;
  char *next = (char *)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
  if (next < base || next >= base + POD_AREA_CODE_SIZE) return;
  steps++;
  if (next[0] == 0x0f && next[1] == 0x05) kernel_calls++;
}

static void single_step(int call) {
  struct sigaction action = {.sa_sigaction = count, .sa_flags = SA_SIGINFO};
  check(sigaction(SIGTRAP, &action, 0) == 0, "sigaction");
  long first = argument(call, 1);
  steps = kernel_calls = 0;
  // Signals wait in it: a trap would end the program. It isn't counted.
  if (calls[call].number == SYS_kill && first == CHILD) return;
  __asm__ volatile("pushfq\n  orl $0x100, (%%rsp)\n  popfq" ::: "memory", "cc");
  enter(calls[call].number, first, calls[call].request, (long)&answer);
  __asm__ volatile("pushfq\n  andl $~0x100, (%%rsp)\n  popfq" ::: "memory", "cc");
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

static double measure(int call, int in_page, int count) {
  long number = calls[call].number, first = argument(call, in_page), request = calls[call].request;
  double start = now();
  if (in_page)
    for (int i = 0; i < count; i++) enter(number, first, request, (long)&answer);
  else
    for (int i = 0; i < count; i++) native(number, first, request, (long)&answer);
  return (now() - start) / count;
}

// A session with a terminal, so that there is a foreground group.
static void take_terminal(void) {
  terminal = open("/dev/ptmx", O_RDWR | O_NOCTTY);
  check(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0, "/dev/ptmx");
  terminal = open(ptsname(terminal), O_RDWR);
  check(terminal >= 0 && ioctl(terminal, TIOCSCTTY, 0) == 0, "a terminal");
}

int main(int argc, char **argv) {
  check(argc == 5, "usage: page_costs AREA CPU ROUNDS CALLS");
  int cpu = atoi(argv[2]), rounds = atoi(argv[3]), count = atoi(argv[4]);
  if (getpid() == getpgid(0) && fork() != 0) {
    int status;
    check(waitpid(-1, &status, 0) > 0, "waitpid");
    return WEXITSTATUS(status);
  }
  setsid();
  take_terminal();
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  check(sched_setaffinity(0, sizeof set, &set) == 0, "sched_setaffinity");
  map(argv[1]);
  for (int call = 0; call < CALLS; call++) {
    long got = enter(calls[call].number, argument(call, 1), calls[call].request, (long)&answer);
    if (got == 0 && calls[call].number == SYS_ioctl) got = answer == OWN ? 0 : answer;
    if (got != calls[call].expected) fprintf(stderr, "%s: %ld\n", calls[call].name, got), _exit(1);
  }
  long instructions[CALLS], system_calls[CALLS];
  for (int call = 0; call < CALLS; call++) {
    single_step(call);
    instructions[call] = steps;
    system_calls[call] = kernel_calls;
  }
  for (int round = 0; round < rounds; round++)
    for (int call = 0; call < CALLS; call++) {
      double cost[2];
      for (int turn = 0; turn < 2; turn++) {
        int in_page = (round + turn) % 2;
        cost[in_page] = measure(call, in_page, count);
      }
      printf("%s %ld %ld %.2f %.2f\n", calls[call].name, instructions[call], system_calls[call], cost[0], cost[1]);
    }
  fflush(stdout);
  unmap();
  return 0;
}
