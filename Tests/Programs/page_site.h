// Call sites of a program's that go through the pod's code in it (`pod_page.h`), as patched ones do.
#ifndef PAGE_SITE_H
#define PAGE_SITE_H

#include "check.h"

// Where the pod's code is; null where the process has none.
static char *page;

static inline void find_page(void) {
  let_area_come();
  FILE *maps = fopen("/proc/self/maps", "r");
  CHECK(maps != NULL);
  char line[512];
  while (fgets(line, sizeof line, maps)) {
    unsigned long from;
    if (strstr(line, "/memfd:pod ") && sscanf(line, "%lx-", &from) == 1) page = (char *)from;
  }
  fclose(maps);
}

// Makes a call by the pod's code, or by the instruction here where there is none, or where the code has it made here. Returns
// what the kernel does.
static inline long page_site(long number, long a, long b, long c, long d, long e, long f) {
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  long result;
  __asm__ volatile("  sub $128, %%rsp\n"
                   "  lea 2f(%%rip), %%rcx\n"
                   "  push %%rcx\n"
                   "  test %[page], %[page]\n"
                   "  jz 1f\n"
                   "  jmp *%[page]\n"
                   "1: add $136, %%rsp\n"
                   "  syscall\n"
                   "2:\n"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9), [page] "r"(page)
                   : "rcx", "r11", "memory", "cc");
  return result;
}
// As page_site, but what the pod's code would leave to the instruction here isn't made at all: the result is `page_left`.
enum { page_left = -10000 };
static inline long page_alone(long number, long a, long b) {
  long result;
  __asm__ volatile("  sub $128, %%rsp\n"
                   "  lea 2f(%%rip), %%rcx\n"
                   "  push %%rcx\n"
                   "  jmp *%[page]\n"
                   "1: mov %[left], %%rax\n"
                   "  jmp 2f\n"
                   "  .byte 0xeb, 1b - 2f\n" // jmp 1b
                   "2:\n"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), [page] "r"(page), [left] "i"(page_left)
                   : "rcx", "r11", "memory", "cc");
  return result;
}

#define SITE(n, ...) SITE_(n, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define SITE_(n, a, b, c, d, e, f, ...) \
  page_site(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

#endif
