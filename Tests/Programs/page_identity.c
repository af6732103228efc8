// Run in a pod whose processes have the area (pod_page.h): what the page answers is what the supervisor answers, by the
// program's own call, in every kind of process, while families change. It exits 77 where the pod has no area.
#include "check.h"
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

static char *area;

static void find_area(void) {
  let_area_come();
  FILE *maps = fopen("/proc/self/maps", "r");
  CHECK(maps != NULL);
  char line[512];
  unsigned long from;
  while (fgets(line, sizeof line, maps))
    if (strstr(line, "/memfd:pod ") && sscanf(line, "%lx-", &from) == 1 && area == NULL) area = (char *)from;
  fclose(maps);
  if (area == NULL) _exit(77);
}

// Makes a call by POD_PAGE_ENTER. Returns what the kernel would.
static long page(long number, long a, long b, long c) {
  long result;
  register long d __asm__("r10") = 0;
  register long e __asm__("r8") = 0;
  register long f __asm__("r9") = 0;
  __asm__ volatile("sub $128, %%rsp\n call *%[enter]\n"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(d), "r"(e), "r"(f), [enter] "b"(area)
                   : "rcx", "r11", "memory", "cc");
  return result;
}

// The program's own.
static long slowly(long number, long a, long b, long c) {
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
  return result;
}

#define CHECK_SAME(number, a, b, c) CHECK_EQUAL(page(number, a, b, c), slowly(number, a, b, c))

static void look(void) {
  CHECK_SAME(SYS_getpid, 0, 0, 0);
  CHECK_SAME(SYS_gettid, 0, 0, 0);
  CHECK_SAME(SYS_getppid, 0, 0, 0);
  CHECK_SAME(SYS_getpgrp, 0, 0, 0);
  long names[] = {0, 1, 2, 3, -1, -2, 99999, getpid(), getppid(), syscall(SYS_gettid), getpgrp(), INT32_MIN};
  for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
    CHECK_SAME(SYS_getpgid, names[i], 0, 0);
    CHECK_SAME(SYS_getsid, names[i], 0, 0);
    CHECK_SAME(SYS_sched_getscheduler, names[i], 0, 0);
    CHECK_SAME(SYS_getpriority, PRIO_PROCESS, names[i], 0);
    CHECK_SAME(SYS_getpriority, PRIO_PGRP, names[i], 0);
  }
}

static void *look_in_thread(void *unused) {
  for (int i = 0; i < 20; i++) look();
  return unused;
}

static void await(pid_t child) {
  int status;
  CHECK_EQUAL(waitpid(child, &status, 0), child);
  CHECK_EQUAL(status, 0);
}

// ---- what owns a file, and a terminal

static void owners(void) {
  int pair[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
  int owners[] = {getpid(), -getpgrp(), 0};
  for (int i = 0; i < 3; i++) {
    CHECK(fcntl(pair[0], F_SETOWN, owners[i]) == 0);
    int owner = -77;
    CHECK_EQUAL(page(SYS_ioctl, pair[0], SIOCGPGRP, (long)&owner), 0);
    CHECK_EQUAL(owner, owners[i]);
    struct f_owner_ex extended = {-77, -77};
    CHECK_EQUAL(page(SYS_fcntl, pair[0], F_GETOWN_EX, (long)&extended), 0);
    CHECK_EQUAL(extended.pid, owners[i] < 0 ? -owners[i] : owners[i]);
    CHECK_EQUAL(page(SYS_fcntl, pair[0], F_GETOWN, 0), slowly(SYS_fcntl, pair[0], F_GETOWN, 0));
  }
  CHECK_EQUAL(page(SYS_ioctl, pair[0], SIOCGPGRP, 1), -EFAULT);
  CHECK_EQUAL(page(SYS_ioctl, pair[0], TIOCGPGRP, 0), -ENOTTY);
  CHECK_EQUAL(page(SYS_ioctl, -1, TIOCGPGRP, 0), -EBADF);
  close(pair[0]);
  close(pair[1]);
}

static void terminal(void) {
  pid_t child = fork();
  if (child == 0) {
    CHECK(setsid() == getpid());
    int main = open("/dev/ptmx", O_RDWR | O_NOCTTY), name = -1, unlock = 0;
    CHECK(main >= 0 && ioctl(main, TIOCSPTLCK, &unlock) == 0);
    name = ioctl(main, 0x5441 /* TIOCGPTPEER */, O_RDWR | O_NOCTTY);
    CHECK(name >= 0 && ioctl(name, TIOCSCTTY, 0) == 0);
    int group = -77, session = -77;
    CHECK_EQUAL(page(SYS_ioctl, name, TIOCGPGRP, (long)&group), 0);
    CHECK_EQUAL(page(SYS_ioctl, name, TIOCGSID, (long)&session), 0);
    CHECK_EQUAL(group, getpid());
    CHECK_EQUAL(session, getpid());
    signal(SIGTTOU, SIG_IGN);
    pid_t other = fork();
    if (other == 0) {
      pause();
      _exit(0);
    }
    CHECK(setpgid(other, other) == 0 && tcsetpgrp(name, other) == 0);
    CHECK_EQUAL(page(SYS_ioctl, name, TIOCGPGRP, (long)&group), 0);
    CHECK_EQUAL(group, other);
    CHECK(kill(other, SIGKILL) == 0 && waitpid(other, NULL, 0) == other);
    _exit(0);
  }
  await(child);
}

// ---- families

static void changing(void) {
  int go[2], seen[2];
  char byte;
  CHECK(pipe(go) == 0 && pipe(seen) == 0);
  pid_t child = fork();
  if (child == 0) {
    look();
    CHECK(write(seen[1], "", 1) == 1 && read(go[0], &byte, 1) == 1);
    // Its parent has moved it.
    CHECK_EQUAL(page(SYS_getpgrp, 0, 0, 0), getpid());
    look();
    pid_t next = fork();
    if (next == 0) {
      CHECK_EQUAL(page(SYS_getpgrp, 0, 0, 0), page(SYS_getppid, 0, 0, 0));
      CHECK(setsid() > 0);
      CHECK_EQUAL(page(SYS_getsid, 0, 0, 0), page(SYS_getpid, 0, 0, 0));
      look();
      _exit(0);
    }
    await(next);
    _exit(0);
  }
  CHECK(read(seen[0], &byte, 1) == 1);
  CHECK(setpgid(child, child) == 0);
  CHECK_EQUAL(page(SYS_getpgid, child, 0, 0), child);
  CHECK(write(go[1], "", 1) == 1);
  await(child);
  CHECK_EQUAL(page(SYS_getpgid, child, 0, 0), -ESRCH);
  for (int i = 0; i < 2; i++) close(go[i]), close(seen[i]);
}

// A parent ends: whoever is told of it sees another one.
static volatile sig_atomic_t is_told;
static void tell(int signal) { is_told = signal; }

static void orphans(void) {
  int done[2];
  char byte = 1;
  CHECK(pipe(done) == 0);
  pid_t child = fork();
  if (child == 0) {
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, &old);
    pid_t parent = getpid();
    if (fork() != 0) _exit(0);
    signal(SIGUSR1, tell);
    CHECK(prctl(PR_SET_PDEATHSIG, SIGUSR1) == 0);
    // It may have come too late, and looks.
    if (page(SYS_getppid, 0, 0, 0) == parent)
      while (!is_told) sigsuspend(&old);
    CHECK_EQUAL(page(SYS_getppid, 0, 0, 0), 1);
    look();
    CHECK(write(done[1], "", 1) == 1);
    _exit(0);
  }
  await(child);
  close(done[1]);
  CHECK_EQUAL(read(done[0], &byte, 1), 1);
  close(done[0]);
}

static int sharing(void *unused) {
  (void)unused;
  look();
  _exit(0);
}

static void sharing_its_stack(void) {
  pid_t child = vfork();
  if (child == 0) {
    if (page(SYS_getpid, 0, 0, 0) != slowly(SYS_getpid, 0, 0, 0)) _exit(1);
    if (page(SYS_getppid, 0, 0, 0) != slowly(SYS_getppid, 0, 0, 0)) _exit(2);
    _exit(0);
  }
  CHECK_EQUAL(page(SYS_getpid, 0, 0, 0), slowly(SYS_getpid, 0, 0, 0));
  await(child);
}

static void sharers(void) {
  pid_t own = getpid();
  for (int i = 0; i < 10; i++) sharing_its_stack();
  static char stack[65536] __attribute__((aligned(16)));
  pid_t child = clone(sharing, stack + sizeof stack, CLONE_VM | SIGCHLD, NULL);
  CHECK(child > 0);
  for (int i = 0; i < 20; i++) CHECK_EQUAL(page(SYS_getpid, 0, 0, 0), own);
  await(child);
  CHECK_EQUAL(page(SYS_getpid, 0, 0, 0), own);
}

int main(void) {
  find_area();
  look();
  owners();
  terminal();
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) CHECK(pthread_create(&threads[i], NULL, look_in_thread, NULL) == 0);
  for (int i = 0; i < 20; i++) {
    pid_t child = fork();
    if (child == 0) {
      look();
      _exit(0);
    }
    await(child);
  }
  for (int i = 0; i < 3; i++) CHECK(pthread_join(threads[i], NULL) == 0);
  changing();
  for (int i = 0; i < 5; i++) orphans();
  sharers();
  return 0;
}
