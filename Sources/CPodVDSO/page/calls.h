// System calls from the page, and where its data is.
#ifndef POD_PAGE_CALLS_H
#define POD_PAGE_CALLS_H

#include "../../CPodLayout/include/pod_page.h"

typedef unsigned long word;

// What a program's call came with. The order is that in which POD_PAGE_ENTER pushes.
struct pod_page_frame {
  word number;       // rax
  word arguments[6]; // rdi, rsi, rdx, r10, r8, r9
  word flags;
  word return_address;
};

#ifdef POD_PAGE_MODEL
// The tests' kernel and area.
extern long (*pod_page_model_kernel)(word number, const word arguments[6]);
extern char *pod_page_model_base;
static inline long page_raw(word number, const word arguments[6]) {
  return pod_page_model_kernel(number, arguments);
}
static inline char *page_base(void) { return pod_page_model_base; }
#else
extern char page_entries[] __attribute__((visibility("hidden")));
static inline char *page_base(void) {
  // Not as the compiler sees it: there is more around the code than it knows of.
  char *base;
  __asm__("lea page_entries(%%rip), %0" : "=r"(base));
  return base;
}
static inline long page_raw(word number, const word arguments[6]) {
  long result;
  register word d __asm__("r10") = arguments[3];
  register word e __asm__("r8") = arguments[4];
  register word f __asm__("r9") = arguments[5];
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(arguments[0]), "S"(arguments[1]), "d"(arguments[2]), "r"(d), "r"(e), "r"(f)
                   : "rcx", "r11", "memory");
  return result;
}
#endif

static inline const struct pod_page_rules *page_rules(void) {
  return (const struct pod_page_rules *)(page_base() + POD_AREA_RULES);
}
static inline const struct pod_table *page_table(void) {
  return (const struct pod_table *)(page_base() + POD_AREA_TABLE);
}
static inline struct pod_page_cache *page_cache(void) {
  return (struct pod_page_cache *)(page_base() + POD_AREA_CACHE);
}
static inline uint64_t *page_handlers(void) { return (uint64_t *)(page_base() + POD_AREA_HANDLERS); }

// Source: linux/errno.h.
enum { page_interrupted = 4, page_no_process = 3, page_no_child = 10, page_fault = 14, page_invalid = 22, page_no_call = 38 };

#endif
