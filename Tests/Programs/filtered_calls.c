// Makes calls under a seccomp program, whose file is the argument, in a process of its own, and answers its
// notifications. On input, a call a line: "c NUMBER WORD…"; "u NUMBER WORD…" is also made in a process without a filter;
// "f NUMBER WORD…" is made by int 0x80. "@ADDRESS" is where the instruction pointer of calls is from then on. On output, for each call the result under the filter (notified calls have
// 0x7e57) and the one without, 0 where there is none.
#include "check.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

enum { NOTIFIED = 0x7e57, LISTENER = 100, LIMIT = 1 << 16 };

struct call {
  char kind;
  unsigned number;
  unsigned long words[6];
  unsigned long from;
  long result, plain;
};

static struct {
  int count, next, ready;
  struct call calls[LIMIT];
} *shared;

static long foreign(const struct call *call) {
  long result = -ENOTSUP;
#ifdef __x86_64__
  __asm__ volatile("int $0x80"
                   : "=a"(result)
                   : "a"(call->number), "b"(call->words[0]), "c"(call->words[1]), "d"(call->words[2])
                   : "memory", "r8", "r9", "r10", "r11");
#endif
  return result;
}

// The instruction pointer that a filter sees is behind the instruction.
static long from(const struct call *call) {
  long result = -ENOTSUP;
#ifdef __x86_64__
  const unsigned long *w = call->words;
  char *page = (char *)((call->from - 2) & ~0xffful);
  char *code = (char *)call->from - 2;
  CHECK(mmap(page, 0x2000, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page);
  memcpy(code, "\x0f\x05\xc3", 3);
  register unsigned long d __asm__("r10") = w[3];
  register unsigned long e __asm__("r8") = w[4];
  register unsigned long f __asm__("r9") = w[5];
  __asm__ volatile("sub $128, %%rsp\n call *%[code]\n add $128, %%rsp"
                   : "=a"(result)
                   : "a"((unsigned long)call->number), "D"(w[0]), "S"(w[1]), "d"(w[2]), "r"(d), "r"(e), "r"(f),
                     [code] "b"(code)
                   : "rcx", "r11", "memory", "cc");
  if (call->number == SYS_fork || call->number == SYS_clone) {
    if (result == 0) _exit(0);
    struct call end = {.number = SYS_wait4, .words = {result, 0, __WALL}, .from = call->from};
    if (result > 0 && result != NOTIFIED) CHECK(from(&end) == result);
  }
#endif
  return result;
}

static long perform(const struct call *call) {
  const unsigned long *w = call->words;
  if (call->from) return from(call);
  if (call->kind == 'f') return foreign(call);
  // What a C library's syscall() would take for an error isn't always one: no call here returns such numbers otherwise.
  long result = syscall(call->number, w[0], w[1], w[2], w[3], w[4], w[5]);
  return result == -1 ? -errno : result;
}

static void install(const char *path) {
  static struct sock_filter instructions[BPF_MAXINSNS];
  int file = open(path, O_RDONLY);
  ssize_t size = read(file, instructions, sizeof instructions);
  CHECK(size > 0);
  struct sock_fprog program = {size / sizeof *instructions, instructions};
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  close(file);
  int listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
  CHECK(listener >= 0);
  // The table of descriptors is shared with the parent. As before, the lowest number is free.
  CHECK(dup2(listener, LISTENER) == LISTENER);
  close(listener);
  __atomic_store_n(&shared->ready, 1, __ATOMIC_RELEASE);
}

static void make_all(const char *filter) {
  // Calls for the caller's group are for nobody else.
  CHECK(setpgid(0, 0) == 0);
  if (filter) install(filter);
  for (shared->next = 0; shared->next < shared->count; shared->next++) {
    struct call *call = &shared->calls[shared->next];
    if (filter)
      call->result = perform(call);
    else if (call->kind == 'u')
      call->plain = perform(call);
  }
  _exit(0);
}

static void check_end(pid_t child) {
  int status;
  CHECK(waitpid(child, &status, 0) == child);
  if (status != 0) {
    struct call *call = &shared->calls[shared->next];
    fprintf(stderr, "status %x at call %d: %c %u %lx %lx\n", status, shared->next, call->kind, call->number,
            call->words[0], call->words[1]);
    _exit(1);
  }
}

int main(int argc, char **argv) {
  CHECK(argc == 2);
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(shared != MAP_FAILED);
  char line[256];
  unsigned long from = 0;
  while (fgets(line, sizeof line, stdin)) {
    if (sscanf(line, "@%lu", &from) == 1) continue;
    CHECK(shared->count < LIMIT);
    struct call *call = &shared->calls[shared->count++];
    unsigned long *w = call->words;
    call->from = from;
    CHECK(sscanf(line, "%c %u %lu %lu %lu %lu %lu %lu", &call->kind, &call->number, w, w + 1, w + 2, w + 3, w + 4,
                 w + 5) >= 2);
  }
  // Calls that read their input or write to it find nothing.
  CHECK(freopen("/dev/null", "r", stdin) != NULL);
  pid_t plain = fork();
  if (plain == 0) make_all(NULL);
  check_end(plain);

  pid_t child = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
  if (child == 0) {
    make_all(argv[1]);
  }
  int status;
  while (!__atomic_load_n(&shared->ready, __ATOMIC_ACQUIRE)) {
    if (waitpid(child, &status, WNOHANG) == child) {
      fprintf(stderr, "no filter: status %x\n", status);
      return 1;
    }
    usleep(100);
  }
  struct pollfd listener = {LISTENER, POLLIN, 0};
  while (poll(&listener, 1, -1) == 1 && listener.revents & POLLIN) {
    struct seccomp_notif notification = {0};
    if (ioctl(LISTENER, SECCOMP_IOCTL_NOTIF_RECV, &notification) != 0) continue;
    struct seccomp_notif_resp response = {.id = notification.id, .val = NOTIFIED};
    ioctl(LISTENER, SECCOMP_IOCTL_NOTIF_SEND, &response);
  }
  check_end(child);
  for (int i = 0; i < shared->count; i++) printf("%ld\n%ld\n", shared->calls[i].result, shared->calls[i].plain);
  return 0;
}
