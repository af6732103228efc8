#ifndef POD_INIT_KERNEL_H
#define POD_INIT_KERNEL_H

// System calls without a libc, and what of the kernel's interface init uses.

#include "../include/pod_launch.h"

#include <asm/unistd.h>

typedef unsigned long word;

enum { maximum_descriptors = POD_LAUNCH_MAXIMUM_DESCRIPTORS + 1 };

static inline long call6(long n, long a, long b, long c, long d, long e, long f) {
  long r;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(r)
                   : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return r;
}
#define call(n, a, b, c, d) \
  call6((n), (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)

// The compiler may call these two whatever the flags say.
void *memset(void *to, int byte, word size) {
  char *p = to;
  while (size--)
    *p++ = (char)byte;
  return to;
}
void *memcpy(void *to, const void *from, word size) {
  char *p = to;
  const char *q = from;
  while (size--)
    *p++ = *q++;
  return to;
}

// ---- Numbers of the kernel's interface. Source: include/uapi/linux and asm-generic.

enum {
  error_permission = 1,
  error_no_entry = 2,
  error_again = 11,
  error_access = 13,
  error_not_directory = 20,
  error_invalid = 22,
  error_name_too_long = 36,
  error_loop = 40,
  error_interrupted = 4,

  at_working_directory = -100,

  fcntl_set_flags = 2,
  fcntl_dup_cloexec = 1030,
  range_cloexec = 4,
  tiocsctty = 0x540e,

  prctl_set_name = 15,
  prctl_bounding_read = 23,
  prctl_bounding_drop = 24,
  prctl_subreaper = 36,
  prctl_no_new_privileges = 38,
  prctl_set_tracer = 0x59616d61,

  signal_kill = 9,
  signal_child = 17,
  clone_parent = 0x8000,

  wait_not = 1,
  wait_exited = 4,
  wait_leave = 0x01000000,
  wait_all = 0x40000000,

  poll_in = 1,
  poll_out = 4,
  poll_error = 8,
  poll_hang_up = 16,

  message_at_once = 0x40,
  message_cloexec = 0x40000000,
};

struct action {
  word handler, flags, restorer, mask;
};
struct vector {
  void *base;
  word size;
};
struct message_header {
  void *name;
  unsigned int name_size;
  struct vector *vectors;
  word vector_count;
  void *control;
  word control_size;
  unsigned int flags;
};
struct rights {
  word size;
  int level, type;
  int descriptors[maximum_descriptors + 3];
};
struct poll_entry {
  int descriptor;
  short wanted, present;
};
struct capability_header {
  unsigned int version;
  int pid;
};
struct capability_sets {
  unsigned int effective, permitted, inheritable;
};
struct filter_program {
  unsigned short count;
  void *instructions;
};

#endif
