// What calls cost without a filter, with one that allows everything, and with the one in the file that is the argument.
// A process each, all on one CPU; they take turns batch by batch. Prints "CALL NS NS NS" for each round.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { WAYS = 3 };

static int zero, null, pair[2], word;
static char byte;
static struct iovec vector = {&byte, 1};
static struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};

static void check(int condition, const char *what) {
  if (!condition) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    _exit(1);
  }
}

// No name crosses in these three: they do next to nothing in the kernel, so the filter is most of what differs.
static void call_umask(void) { syscall(SYS_umask, 022); }
static void call_lseek(void) { syscall(SYS_lseek, -1, 0, 0); }
static void call_sched_yield(void) { syscall(SYS_sched_yield); }
static void call_read(void) { syscall(SYS_read, zero, &byte, 1); }
static void call_write(void) { syscall(SYS_write, null, &byte, 1); }
static void call_sendmsg_recvmsg(void) {
  syscall(SYS_sendmsg, pair[0], &message, 0);
  syscall(SYS_recvmsg, pair[1], &message, 0);
}
// The filter has to look at an argument of these.
static void call_futex(void) { syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0); }
static void call_fcntl(void) { syscall(SYS_fcntl, null, F_GETFD); }
static void call_ioctl(void) { syscall(SYS_ioctl, null, 0x5401 /* TCGETS */, 0); }

static const struct {
  const char *name;
  void (*make)(void);
} calls[] = {
    {"umask", call_umask}, {"lseek", call_lseek}, {"sched_yield", call_sched_yield},
    {"read", call_read},   {"write", call_write}, {"sendmsg+recvmsg", call_sendmsg_recvmsg},
    {"futex", call_futex}, {"fcntl", call_fcntl}, {"ioctl", call_ioctl},
};

static void install(struct sock_filter *instructions, size_t count) {
  struct sock_fprog program = {count, instructions};
  check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
  check(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0, "seccomp");
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

// Measures the batches that it is asked for.
static void serve(int commands, int results, int count) {
  unsigned char call;
  while (read(commands, &call, 1) == 1) {
    for (int i = 0; i < count / 16; i++) calls[call].make();
    double start = now();
    for (int i = 0; i < count; i++) calls[call].make();
    double cost = (now() - start) / count;
    check(write(results, &cost, sizeof cost) == sizeof cost, "write");
  }
  _exit(0);
}

int main(int argc, char **argv) {
  check(argc == 5, "usage: filter_costs FILTER CPU ROUNDS CALLS");
  int cpu = atoi(argv[2]), rounds = atoi(argv[3]), count = atoi(argv[4]);
  static struct sock_filter podFilter[BPF_MAXINSNS];
  struct sock_filter allowAll[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  int file = open(argv[1], O_RDONLY);
  ssize_t size = read(file, podFilter, sizeof podFilter);
  check(size > 0, "filter");
  zero = open("/dev/zero", O_RDONLY);
  null = open("/dev/null", O_WRONLY);
  check(zero >= 0 && null >= 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "descriptors");
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  check(sched_setaffinity(0, sizeof set, &set) == 0, "sched_setaffinity");

  int commands[WAYS], results[WAYS];
  for (int way = 0; way < WAYS; way++) {
    int command[2], result[2];
    check(pipe2(command, O_CLOEXEC) == 0 && pipe2(result, O_CLOEXEC) == 0, "pipe");
    if (fork() == 0) {
      for (int other = 0; other < way; other++) close(commands[other]);
      close(command[1]);
      if (way == 1) install(allowAll, 1);
      if (way == 2) install(podFilter, size / sizeof *podFilter);
      serve(command[0], result[1], count);
    }
    close(command[0]);
    close(result[1]);
    commands[way] = command[1];
    results[way] = result[0];
  }
  for (int round = 0; round < rounds; round++) {
    for (unsigned char call = 0; call < sizeof calls / sizeof *calls; call++) {
      double cost[WAYS];
      for (int turn = 0; turn < WAYS; turn++) {
        // Who comes first changes.
        int way = (round + turn) % WAYS;
        check(write(commands[way], &call, 1) == 1, "write");
        check(read(results[way], &cost[way], sizeof *cost) == sizeof *cost, "read");
      }
      printf("%s %.2f %.2f %.2f\n", calls[call].name, cost[0], cost[1], cost[2]);
    }
  }
  return 0;
}
