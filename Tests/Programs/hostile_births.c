// What a program tells the supervisor about births and waits that never were, in the place of the pod's own code: nobody gets
// a name that isn't there, nobody loses one, and who says it is none the worse.
#include "check.h"
#include "../../Sources/CPodLayout/include/pod_page.h"

// Where the pod's code is; null where there is none.
static unsigned char *page_area(void) {
  let_area_come();
  FILE *maps = fopen("/proc/self/maps", "r");
  CHECK(maps != NULL);
  char line[512];
  unsigned char *found = NULL;
  while (found == NULL && fgets(line, sizeof line, maps))
    if (strstr(line, "r-xs") && strstr(line, "/memfd:pod")) found = (unsigned char *)strtoul(line, NULL, 16);
  fclose(maps);
  return found;
}

static unsigned long call_there; // `syscall; ret` in the pod's code

static long raw(long number, long a, long b, long c, long d, long e, long f) {
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("lea -128(%%rsp), %%rsp\n call *%[there]\n lea 128(%%rsp), %%rsp\n"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9), [there] "r"(call_there)
                   : "rcx", "r11", "memory");
  return result;
}

static long tell(int what, long a, long b, long c, long d) {
  return raw(SYS_getpid, (long)POD_PAGE_MAGIC, what, a, b, c, d);
}

static void nobody_else(void) {
  CHECK(getpid() == (pid_t)syscall(SYS_getpid));
  CHECK(kill(-1, 0) == -1 && errno == ESRCH);
  for (int name = 2; name < 100; name++) {
    if (name == getpid()) continue;
    CHECK(getpgid(name) == -1 && errno == ESRCH);
    CHECK(kill(name, 0) == -1 && errno == ESRCH);
  }
}

// Forks while an elder child claims to be each newborn, or makes siblings of it that nobody has announced: a fork answers
// its own child's name all the same.
static void claimed(int makes_siblings) {
  pid_t elder = fork();
  CHECK(elder >= 0);
  for (long turn = 1; elder == 0; turn++) {
    if (!makes_siblings) {
      tell(POD_HYPERCALL_BORN, turn % 2000, 0, 0, 0);
    } else if (turn > 200) { // they stay zombies until the end
      pause();
    } else if (raw(SYS_clone, SIGCHLD | 0x8000, 0, 0, 0, 0, 0) == 0) { // CLONE_PARENT
      getpid();
      _exit(0);
    }
  }
  for (int round = 0; round < 100; round++) {
    int told[2];
    CHECK(pipe(told) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      pid_t name = getpid();
      _exit(write(told[1], &name, sizeof name) != sizeof name);
    }
    pid_t name = 0;
    CHECK_EQUAL(read(told[0], &name, sizeof name), sizeof name);
    CHECK_EQUAL(name, child);
    CHECK_EQUAL(waitpid(child, NULL, 0), child);
    close(told[0]);
    close(told[1]);
  }
  CHECK_EQUAL(kill(elder, SIGKILL), 0);
  while (waitpid(-1, NULL, 0) > 0) continue;
  CHECK_EQUAL(errno, ECHILD);
}

int main(void) {
  pid_t self = getpid();
  unsigned char *area = page_area();
  // Natively, and where pods have no area.
  if (area == NULL) return 0;
  for (int i = 0; i < POD_AREA_CODE_SIZE - 3 && call_there == 0; i++)
    if (area[i] == 0x0f && area[i + 1] == 0x05 && area[i + 2] == 0xc3) call_there = (unsigned long)(area + i);
  CHECK(call_there != 0);
  long physical = raw(SYS_getpid, 0, 0, 0, 0, 0, 0), parent = raw(SYS_getppid, 0, 0, 0, 0, 0, 0);
  CHECK(physical > 0 && parent > 0);
  const long numbers[] = {0, -1, 1, 2, 3, self, physical, parent, physical + 1, 0x7fffffff, -0x80000000L};
  enum { number_count = sizeof numbers / sizeof *numbers };

  // Nothing was begun.
  for (int ticket = -2; ticket < 40; ticket++)
    for (int i = 0; i < number_count; i++) {
      tell(POD_HYPERCALL_BIRTH_END, ticket, numbers[i], 0, 0);
      tell(POD_HYPERCALL_BIRTH_SLEEPS, ticket, numbers[i], 0, 0);
      CHECK(tell(POD_HYPERCALL_BIRTH_WAKES, numbers[i], 0, 0, 0) <= 0);
      tell(POD_HYPERCALL_WAITED, ticket, numbers[i], 9, 1);
      tell(POD_HYPERCALL_WAITED, 0, numbers[i], 9, 1);
      // Who is known keeps its name.
      CHECK_EQUAL(tell(POD_HYPERCALL_BORN, ticket, 0, 0, 0), self);
    }
  nobody_else();

  // Something was begun, and nobody made.
  for (int kind = 0; kind < 2; kind++)
    for (int i = 0; i < number_count; i++) {
      if (numbers[i] < 0 && numbers[i] > -4096) continue;
      long flags = kind ? 0x10100 : 17;
      long ticket = tell(POD_HYPERCALL_BIRTH_BEGIN, flags | (long)SYS_clone << 32, 0, 0, 0);
      CHECK(ticket > 0);
      CHECK_EQUAL(tell(POD_HYPERCALL_BORN, ticket, 0, 0, 0), self);
      tell(POD_HYPERCALL_BIRTH_END, ticket, numbers[i], 0, 0);
    }
  nobody_else();
  for (int i = 0; i < 200; i++) CHECK(tell(POD_HYPERCALL_BIRTH_BEGIN, 17 | (long)SYS_clone << 32, 0, 0, 0) > 0);

  // Somebody was made, and nothing begun, or something else.
  for (int round = 0; round < 20; round++) {
    if (round % 2) CHECK(tell(POD_HYPERCALL_BIRTH_BEGIN, 0x10100 | (long)SYS_clone << 32, 0, 0, 0) > 0);
    long made = raw(SYS_clone, SIGCHLD, 0, 0, 0, 0, 0);
    if (made == 0) {
      pid_t name = getpid();
      CHECK(name > 0 && name != self && getppid() == self);
      CHECK(kill(name, 0) == 0);
      _exit(5);
    }
    CHECK(made > 0);
    int status;
    pid_t child = waitpid(-1, &status, 0);
    CHECK(child > 0 && child != self);
    CHECK_EQUAL(status, 5 << 8);
    CHECK(kill(child, 0) == -1 && errno == ESRCH);
  }
  // A child that lives isn't given up because somebody says so.
  int hold[2];
  CHECK(pipe(hold) == 0);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    char byte;
    close(hold[1]);
    _exit(read(hold[0], &byte, 1) == 0 ? 6 : 7);
  }
  for (long number = physical; number < physical + 400; number++) tell(POD_HYPERCALL_WAITED, child, number, 0, 1);
  CHECK(kill(child, 0) == 0);
  CHECK_EQUAL(getpgid(child), getpgrp());
  close(hold[1]);
  int status;
  CHECK_EQUAL(waitpid(child, &status, 0), child);
  CHECK_EQUAL(status, 6 << 8);
  CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
  nobody_else();
  claimed(0);
  claimed(1);
  nobody_else();
  return 0;
}
