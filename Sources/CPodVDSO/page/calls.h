// System calls from the page, and where its data is.
#ifndef POD_PAGE_CALLS_H
#define POD_PAGE_CALLS_H

#include "../../CPodLayout/include/pod_page.h"

#include "steps.h"

typedef unsigned long word;

// What a program's call came with. The order is that in which POD_PAGE_ENTER pushes.
struct pod_page_frame {
  word number;       // rax
  word arguments[6]; // rdi, rsi, rdx, r10, r8, r9
  word flags;
  word return_address;
};

#ifdef POD_PAGE_MODEL
// The tests' kernel and area (CPodPageModel.h), of the process that the thread is made to be.
static inline long page_raw(word number, const word arguments[6]) {
  return pod_page_model->kernel(pod_page_model->context, number, arguments);
}
static inline char *page_base(void) { return pod_page_model->base; }
static inline const struct pod_table *page_table(void) {
  return pod_page_model->table ? pod_page_model->table
                               : (const struct pod_table *)(pod_page_model->base + POD_AREA_TABLE);
}
static inline int page_step(enum pod_page_step step, int32_t name) {
  return pod_page_model->step ? pod_page_model->step(pod_page_model->context, step, name) : 1;
}
#else
// Where `page_entries` is. In assembly, since to C all else that lies around it would be out of its bounds.
static inline char *page_base(void) {
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
static inline const struct pod_table *page_table(void) {
  return (const struct pod_table *)(page_base() + POD_AREA_TABLE);
}
// Called before each step that other processes' steps may come between; the tests' explorer yields here, and leaves out a
// step to show what it protects from. `name`: what it is about.
static inline int page_step(enum pod_page_step step, int32_t name) {
  (void)step;
  (void)name;
  return 1;
}
#endif

static inline const struct pod_page_rules *page_rules(void) {
  return (const struct pod_page_rules *)(page_base() + POD_AREA_RULES);
}
static inline struct pod_page_cache *page_cache(void) {
  return (struct pod_page_cache *)(page_base() + POD_AREA_CACHE);
}
static inline uint64_t *page_handlers(void) { return (uint64_t *)(page_base() + POD_AREA_HANDLERS); }

// Source: asm/unistd_64.h.
enum {
  call_close = 3, call_fstat = 5, call_lseek = 8, call_mmap = 9, call_munmap = 11, call_shmat = 30, call_rt_sigaction = 13, call_rt_sigprocmask = 14, call_kill = 62,
  call_rt_sigtimedwait = 128, call_tkill = 200, call_tgkill = 234, call_pidfd_send_signal = 424, call_pidfd_open = 434,
  call_sched_yield = 24, call_getpid = 39, call_getppid = 110, call_getpgrp = 111, call_getpgid = 121, call_getsid = 124,
  call_gettid = 186,
};

// Source: linux/errno.h.
enum { page_interrupted = 4, page_no_child = 10, page_no_room = 11, page_invalid = 22, page_no_function = 38 };

// A call without arguments.
static inline long page_ask(word number) {
  const word none[6] = {0};
  return page_raw(number, none);
}

// Whether the page has a part in a call, and so may make it itself: else it is nobody's but the supervisor's, who may ask a
// rule of the embedder's, and what is asked of the kernel gets an answer for the program.
static inline int page_has_rows(word number) {
  const struct pod_page_rules *rules = page_rules();
  return number < POD_PAGE_CALLS && rules->magic == POD_PAGE_RULES_MAGIC && rules->index[number] != 0;
}

// Whether a notification of the call never ends with EINTR by itself: then a signal cut it off before the supervisor had it,
// and it is made again.
static inline int page_is_unbroken(word number) {
  const struct pod_page_rules *rules = page_rules();
  return number < POD_PAGE_CALLS && rules->unbroken[number / 8] >> number % 8 & 1;
}

// The program's call as it is.
static inline long page_pass(const struct pod_page_frame *frame) {
  long result;
  do result = page_raw(frame->number, frame->arguments);
  while (result == -page_interrupted && page_is_unbroken(frame->number));
  return result;
}

// The program's call, done by the supervisor even if the filter would let it pass from here. It has at most three arguments.
static __attribute__((noinline)) long page_have_done(const struct pod_page_frame *frame) {
  const word arguments[6] = {
      POD_PAGE_MAGIC, POD_HYPERCALL_CALL, frame->number, frame->arguments[0], frame->arguments[1], frame->arguments[2]};
  long result;
  do result = page_raw(call_getpid, arguments);
  while (result == -page_interrupted && page_is_unbroken(frame->number));
  return result;
}

#endif
