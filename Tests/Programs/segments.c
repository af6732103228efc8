// Calls of a thread whose segment registers hold what a debugger could not write back.
#include "check.h"

int main(void) {
#if defined(__x86_64__)
  pid_t self = getpid();
  // Null selectors with a privilege level.
  __asm__ volatile("mov %0, %%es" ::"r"(1));
  CHECK_EQUAL(syscall(SYS_getpid), self);
  __asm__ volatile("mov %0, %%gs" ::"r"(2));
  CHECK_EQUAL(syscall(SYS_getpgid, self), getpgrp());
#endif
  return 0;
}
