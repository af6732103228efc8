// Signals that the pod's code sends to a name whose number is another process's by now: they reach nobody. The table says what it
// says between the end of a process and the moment when that is heard of: the name is live, and its number is the other's.
#include "page_area.h"

#include <fcntl.h>

// Nobody has this number: what the code leaves to the program's own instruction fails.
enum { own_name = 2, target_name = 0x3ffffff0 };

static void nothing(int signal) { (void)signal; }

// As area_call, from a call site with an instruction of its own.
static long site(long number, long a, long b) {
  long result;
  __asm__ volatile("  sub $128, %%rsp\n  lea 1f(%%rip), %%rcx\n  push %%rcx\n  jmp *%[enter]\n  syscall\n1:\n"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), [enter] "r"(area + POD_PAGE_ENTER)
                   : "rcx", "r11", "memory", "cc");
  return result;
}

static pid_t make(void) {
  pid_t child = fork();
  CHECK(child >= 0);
  if (child > 0) return child;
  CHECK(setpgid(0, 0) == 0);
  for (;;) pause();
}

static struct pod_entry *target(void) {
  return pod_table_entry(area_table(), pod_table_find_virtual(area_table(), target_name).slot);
}

int main(int count, char **arguments) {
  CHECK_EQUAL(count, 2);
  area_make();
  area_read_rules(arguments[1]);
  area_name(getpid(), own_name);
  signal(SIGUSR1, nothing);
  int unused = dup(0);
  CHECK(unused >= 0 && close(unused) == 0);

  pid_t former = make(), bystander = make();
  while (getpgid(bystander) != bystander) pause_ms(1);
  area_name(former, target_name);
  area_identify(target_name, former);
  uint32_t identity = target()->identity;
  CHECK(identity != 0);
  CHECK_EQUAL(site(SYS_kill, target_name, 0), 0);
  CHECK_EQUAL(site(SYS_kill, target_name, SIGKILL), 0);
  CHECK(waitpid(former, NULL, 0) == former);
  CHECK_EQUAL(site(SYS_kill, target_name, SIGKILL), -ESRCH);

  // The number is given again.
  target()->physical_name = bystander;
  CHECK_EQUAL(site(SYS_kill, target_name, SIGKILL), -ESRCH);
  CHECK_EQUAL(site(SYS_kill, -target_name, SIGKILL), -ESRCH);
  // Who isn't known by more than a number isn't either.
  target()->identity = 0;
  CHECK_EQUAL(site(SYS_kill, target_name, SIGKILL), -ESRCH);
  pause_ms(20);
  CHECK_EQUAL(waitpid(bystander, NULL, WNOHANG), 0);
  CHECK_EQUAL(fcntl(unused, F_GETFD), -1);

  // The same calls reach who is meant.
  area_identify(target_name, bystander);
  CHECK(target()->identity != identity);
  CHECK_EQUAL(site(SYS_kill, -target_name, 0), 0);
  CHECK_EQUAL(site(SYS_kill, target_name, SIGKILL), 0);
  int status;
  CHECK(waitpid(bystander, &status, 0) == bystander);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  return 0;
}
