// Another thread turns a call, while a pod may make it again for the thread, into code that makes another one, and back.
#include "check.h"
#include <sys/mman.h>
#include <sys/time.h>

enum { rounds = 150, idlers = 20 };

static unsigned char *code;
static volatile int done;

// getpriority(PRIO_USER), which a pod answers by many calls; the code at its end returns.
static void call(void) {
  long result;
  __asm__ volatile("call *%4"
                   : "=a"(result)
                   : "a"((long)SYS_getpriority), "D"(2L), "S"(0L), "r"(code)
                   : "rcx", "r11", "rdx", "memory");
}

static void *change(void *unused) {
  const unsigned short syscall_code = 0x050F, jump = 0x7EEB;
  for (unsigned turn = 0; !done; turn++) {
    __atomic_store_n((unsigned short *)code, turn % 2 ? syscall_code : jump, __ATOMIC_RELAXED);
    for (volatile int i = 0; i < (int)(turn * 7 % 5000); i++) {
    }
    if (turn % 200 == 199) pause_ms(1);
  }
  return unused;
}

static void *idle(void *unused) {
  while (!done) pause_ms(20);
  return unused;
}

static void handle(int signal) { (void)signal; }

int main(void) {
  code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(code != MAP_FAILED);
  memcpy(code, "\x0f\x05\xc3", 3);
  memcpy(code + 0x80, "\xb8\x22\x00\x00\x00\x0f\x05\xc3", 8);  // pause(); return
  pthread_t threads[idlers + 1];
  for (int i = 0; i < idlers; i++) CHECK(pthread_create(&threads[i], NULL, idle, NULL) == 0);
  CHECK(pthread_create(&threads[idlers], NULL, change, NULL) == 0);
  struct sigaction action = {.sa_handler = handle};
  CHECK(sigaction(SIGALRM, &action, NULL) == 0);
  struct itimerval often = {{0, 5000}, {0, 5000}};
  CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
  for (int i = 0; i < rounds; i++) call();
  done = 1;
  for (int i = 0; i <= idlers; i++) CHECK(pthread_join(threads[i], NULL) == 0);
  return 0;
}
