// The pod's process 1. Freestanding: no libc, nothing but system calls. `make page` compiles it.
//
// It starts programs on request, rings the tracer's doorbell, and adopts orphans, which the kernel
// reaps because SIGCHLD is ignored. It ends when the host's end of its socket is closed. The protocol
// is in ../include/pod_launch.h.

#include "../include/pod_launch.h"

#include <asm/unistd.h>

typedef unsigned long word;

enum { control = 3, maximum_descriptors = POD_LAUNCH_MAXIMUM_DESCRIPTORS + 1 };

static int traced = 1;

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

static inline void trap(word magic, word a, word b, word c) {
  __asm__ volatile("int3" : : "a"(magic), "D"(a), "S"(b), "d"(c) : "memory");
}

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

  fcntl_set_flags = 2,
  fcntl_dup_cloexec = 1030,
  range_cloexec = 4,
  tiocsctty = 0x540e,

  prctl_set_name = 15,
  prctl_bounding_read = 23,
  prctl_bounding_drop = 24,
  prctl_subreaper = 36,
  prctl_no_new_privileges = 38,
  prctl_ambient = 47,
  prctl_ambient_clear_all = 4,
  prctl_set_tracer = 0x59616d61,
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

// ---- Reporting

static void send_message(int socket, struct pod_message *message) {
  enum { no_signal = 0x4000 };
  while (call6(__NR_sendto, socket, (long)message, sizeof *message, no_signal, 0, 0) ==
         -error_interrupted) {
  }
}

static void report(int socket, unsigned id, unsigned error, unsigned stage) {
  struct pod_message message = {POD_MESSAGE_FAILED, id, error, stage};
  if (traced)
    trap(POD_MAGIC_FAILED, id, error, stage);
  else
    send_message(socket, &message);
}

struct launch {
  unsigned id;
  int socket;  // where a failure is reported in untraced mode
  int count;
  int *descriptors;  // [0] the specification
};

static void __attribute__((noreturn)) exit_group(int status) {
  for (;;)
    call(__NR_exit_group, status, 0, 0, 0);
}

static void __attribute__((noreturn)) fail(struct launch *launch, long result, unsigned stage) {
  report(launch->socket, launch->id, (unsigned)-result, stage);
  exit_group(127);
}

static inline long check(struct launch *launch, long result, unsigned stage) {
  if (result < 0)
    fail(launch, result, stage);
  return result;
}

// ---- The specification

static char *list_start(struct launch *launch, struct pod_launch *blob,
                        struct pod_launch_list *list, word element, word further) {
  word end = blob->size;
  if (list->offset % element != 0 || list->offset > end ||
      list->count > (end - list->offset) / element ||
      list->count + further > (end - list->offset) / element)
    fail(launch, -error_invalid, POD_STAGE_SPECIFICATION);
  return (char *)blob + list->offset;
}

static char *string_at(struct launch *launch, struct pod_launch *blob, word offset) {
  if (offset >= blob->size)
    fail(launch, -error_invalid, POD_STAGE_SPECIFICATION);
  return (char *)blob + offset;
}

static char **strings(struct launch *launch, struct pod_launch *blob,
                      struct pod_launch_list *list) {
  word *words = (word *)list_start(launch, blob, list, sizeof(word), 1);
  for (word i = 0; i < list->count; i++)
    words[i] = (word)string_at(launch, blob, words[i]);
  words[list->count] = 0;
  return (char **)words;
}

static struct pod_launch *map_specification(struct launch *launch) {
  enum { seek_end = 2, read_write = 3, map_private = 2 };
  int fd = launch->descriptors[0];
  long size = check(launch, call(__NR_lseek, fd, 0, seek_end, 0), POD_STAGE_SPECIFICATION);
  if (size < (long)sizeof(struct pod_launch))
    fail(launch, -error_invalid, POD_STAGE_SPECIFICATION);
  long address = call6(__NR_mmap, 0, size, read_write, map_private, fd, 0);
  if (address < 0 && address > -4096)
    fail(launch, address, POD_STAGE_SPECIFICATION);
  struct pod_launch *blob = (struct pod_launch *)address;
  if (blob->magic != POD_LAUNCH_MAGIC || blob->size != (word)size || ((char *)blob)[size - 1] != 0)
    fail(launch, -error_invalid, POD_STAGE_SPECIFICATION);
  return blob;
}

// ---- Descriptors

// Closes first…last. Kernels before 5.9 have no close_range, and some profiles of containers deny it; there, numbers up
// to 65535 are closed.
static void close_between(unsigned first, unsigned last) {
  if (first > last || call(__NR_close_range, first, last, 0, 0) == 0)
    return;
  for (unsigned fd = first; fd <= last && fd <= 0xffff; fd++)
    call(__NR_close, fd, 0, 0, 0);
}

// Gives each descriptor its number and closes all others. They go through numbers above all targets,
// so that none is overwritten before it is moved. In untraced mode one more is kept, close-on-exec:
// the socket on which a failure of a later stage is reported.
static void place_descriptors(struct launch *launch, struct pod_launch *blob) {
  unsigned *targets = (unsigned *)list_start(launch, blob, &blob->targets, sizeof(unsigned), 0);
  int count = launch->count - 1;
  if (blob->targets.count != (word)count)
    fail(launch, -error_invalid, POD_STAGE_DESCRIPTORS);

  unsigned above = 4;
  for (int i = 0; i < count; i++) {
    if (targets[i] > 0x7ffffffe)
      fail(launch, -error_invalid, POD_STAGE_DESCRIPTORS);
    if (targets[i] >= above)
      above = targets[i] + 1;
  }
  int *moved = launch->descriptors + 1;
  if (!traced)
    launch->socket = (int)check(
        launch, call(__NR_fcntl, control, fcntl_dup_cloexec, above, 0), POD_STAGE_DESCRIPTORS);
  for (int i = 0; i < count; i++)
    moved[i] = (int)check(launch, call(__NR_fcntl, moved[i], fcntl_dup_cloexec, above, 0),
                          POD_STAGE_DESCRIPTORS);

  // Close the gaps between the targets, from the lowest up.
  unsigned from = 0;
  for (;;) {
    unsigned next = above;
    for (int i = 0; i < count; i++)
      if (targets[i] >= from && targets[i] < next)
        next = targets[i];
    if (next > from)
      close_between(from, next - 1);
    if (next == above)
      break;
    from = next + 1;
  }
  for (int i = 0; i < count; i++)
    check(launch, call(__NR_dup3, moved[i], targets[i], 0, 0), POD_STAGE_DESCRIPTORS);
  if (traced) {
    close_between(above, ~0u);
  } else {
    if (launch->socket > (int)above)
      close_between(above, (unsigned)launch->socket - 1);
    close_between((unsigned)launch->socket + 1, ~0u);
  }
}

// ---- Session, terminal, directory, signals

static void enter_session(struct launch *launch, struct pod_launch *blob) {
  if (blob->flags & POD_LAUNCH_NEW_SESSION)
    check(launch, call(__NR_setsid, 0, 0, 0, 0), POD_STAGE_SESSION);
  else if (blob->flags & POD_LAUNCH_NEW_GROUP)
    check(launch, call(__NR_setpgid, 0, 0, 0, 0), POD_STAGE_SESSION);
  if (blob->flags & POD_LAUNCH_CONTROLLING_TERMINAL)
    check(launch, call(__NR_ioctl, 0, tiocsctty, 0, 0), POD_STAGE_TERMINAL);
  if (blob->directory)
    check(launch, call(__NR_chdir, string_at(launch, blob, blob->directory), 0, 0, 0),
          POD_STAGE_DIRECTORY);
  if (blob->mask != POD_LAUNCH_LEAVE)
    call(__NR_umask, blob->mask, 0, 0, 0);

  struct action byDefault = {0, 0, 0, 0};
  for (int signal = 1; signal <= 64; signal++)
    call(__NR_rt_sigaction, signal, &byDefault, 0, 8);
  word none = 0;
  call(__NR_rt_sigprocmask, 2, &none, 0, 8);
}

// ---- Authority

static void get_capabilities(struct launch *launch, struct capability_sets sets[2]) {
  struct capability_header header = {0x20080522, 0};
  check(launch, call(__NR_capget, &header, sets, 0, 0), POD_STAGE_CAPABILITIES);
}

// The bounding set first: dropping from it needs a capability that the steps after it take away.
// Without any permitted capability there is nothing to drop.
static void limit_bounding_set(struct launch *launch, struct pod_launch *blob) {
  struct capability_sets sets[2];
  get_capabilities(launch, sets);
  if ((sets[0].permitted | sets[1].permitted) == 0)
    return;
  for (unsigned capability = 0; capability < 64; capability++) {
    if (blob->capabilities >> capability & 1)
      continue;
    long present = call(__NR_prctl, prctl_bounding_read, capability, 0, 0);
    if (present < 0)
      break;
    if (present == 0)
      continue;
    long r = call(__NR_prctl, prctl_bounding_drop, capability, 0, 0);
    // With no_new_privs an exec gives nothing that isn't permitted already.
    if (r == -error_permission && blob->flags & POD_LAUNCH_NO_NEW_PRIVILEGES)
      break;
    check(launch, r, POD_STAGE_CAPABILITIES);
  }
}

static void limit_capabilities(struct launch *launch, struct pod_launch *blob) {
  struct capability_sets sets[2];
  get_capabilities(launch, sets);
  call(__NR_prctl, prctl_ambient, prctl_ambient_clear_all, 0, 0);
  if ((sets[0].permitted | sets[1].permitted) == 0)
    return;
  for (int i = 0; i < 2; i++) {
    unsigned keep = (unsigned)(blob->capabilities >> 32 * i);
    sets[i].effective &= keep;
    sets[i].permitted &= keep;
    sets[i].inheritable &= keep;
  }
  struct capability_header header = {0x20080522, 0};
  check(launch, call(__NR_capset, &header, sets, 0, 0), POD_STAGE_CAPABILITIES);
}

static void give_up_authority(struct launch *launch, struct pod_launch *blob) {
  int limited = blob->flags & POD_LAUNCH_LIMIT_CAPABILITIES;
  if (limited)
    limit_bounding_set(launch, blob);
  if (blob->flags & POD_LAUNCH_SET_GROUPS) {
    char *groups = list_start(launch, blob, &blob->groups, sizeof(unsigned), 0);
    check(launch, call(__NR_setgroups, blob->groups.count, groups, 0, 0), POD_STAGE_CREDENTIALS);
  }
  if (blob->group != POD_LAUNCH_LEAVE)
    check(launch, call(__NR_setresgid, blob->group, blob->group, blob->group, 0),
          POD_STAGE_CREDENTIALS);
  if (blob->user != POD_LAUNCH_LEAVE)
    check(launch, call(__NR_setresuid, blob->user, blob->user, blob->user, 0),
          POD_STAGE_CREDENTIALS);
  if (limited)
    limit_capabilities(launch, blob);
  if (blob->flags & POD_LAUNCH_NO_NEW_PRIVILEGES)
    check(launch, call6(__NR_prctl, prctl_no_new_privileges, 1, 0, 0, 0, 0), POD_STAGE_FILTER);
  if (blob->filter.count) {
    struct filter_program program;
    program.instructions = list_start(launch, blob, &blob->filter, 8, 0);
    program.count = (unsigned short)blob->filter.count;
    if (blob->filter.count > 0xffff)
      fail(launch, -error_invalid, POD_STAGE_FILTER);
    check(launch, call(__NR_seccomp, 1, 0, &program, 0), POD_STAGE_FILTER);
  }
}

// ---- A launch

// As execvp does with the directories of PATH.
static void execute(struct launch *launch, struct pod_launch *blob) {
  char **paths = strings(launch, blob, &blob->paths);
  char **arguments = strings(launch, blob, &blob->arguments);
  char **environment = strings(launch, blob, &blob->environment);
  place_descriptors(launch, blob);
  enter_session(launch, blob);
  give_up_authority(launch, blob);
  long result = -error_no_entry;
  int denied = 0;
  for (; *paths; paths++) {
    result = call(__NR_execve, *paths, arguments, environment, 0);
    if (result == -error_access)
      denied = 1;
    else if (result != -error_no_entry && result != -error_not_directory &&
             result != -error_loop && result != -error_name_too_long)
      fail(launch, result, POD_STAGE_EXEC);
  }
  fail(launch, denied ? -error_access : result, POD_STAGE_EXEC);
}

static void launch(unsigned id, int *descriptors, int count) {
  enum { signal_child = 17 };
  struct launch launch = {id, control, count, descriptors};
  if (count < 1) {
    report(control, id, error_invalid, POD_STAGE_SPECIFICATION);
    return;
  }
  long child = call6(__NR_clone, signal_child, 0, 0, 0, 0, 0);
  if (child == 0) {
    if (traced)
      trap(POD_MAGIC_BORN, id, 0, 0);
    execute(&launch, map_specification(&launch));
  }
  if (child < 0)
    report(control, id, (unsigned)-child, POD_STAGE_FORK);
}

// ---- Process 1

static void prepare(void) {
  enum { ignore = 1, no_child_wait = 2, signal_child = 17 };
  // Not ignored: the signals by which the kernel reports our own faults, KILL and STOP, and CONT.
  static const unsigned char ignored[] = {1,  2,  3,  6,  10, 12, 13, 14, 15, 16, 20,
                                          21, 22, 23, 24, 25, 26, 27, 28, 29, 30};
  call(__NR_prctl, prctl_set_name, "pod-init", 0, 0);
  call(__NR_prctl, prctl_subreaper, 1, 0, 0);
  call(__NR_setsid, 0, 0, 0, 0);
  struct action action = {ignore, no_child_wait, 0, 0};
  call(__NR_rt_sigaction, signal_child, &action, 0, 8);
  action.flags = 0;
  for (word i = 0; i < sizeof ignored; i++)
    call(__NR_rt_sigaction, ignored[i], &action, 0, 8);
  for (int signal = 32; signal <= 64; signal++)
    call(__NR_rt_sigaction, signal, &action, 0, 8);
}

// Yama (ptrace_scope 1) lets only an ancestor trace, which the host is not: init is an orphan.
static void allow_tracer(const char *digits) {
  word pid = 0;
  for (; *digits >= '0' && *digits <= '9'; digits++)
    pid = pid * 10 + (word)(*digits - '0');
  call(__NR_prctl, prctl_set_tracer, pid, 0, 0);
}

static void __attribute__((noreturn, used)) run(word *stack) {
  enum { cloexec_rights = 0x40000000, scm_rights = 1, sol_socket = 1 };
  word argument_count = stack[0];
  char **arguments = (char **)(stack + 1);
  for (word i = 1; i < argument_count; i++)
    if (arguments[i][0] == 'u')  // "untraced"
      traced = 0;
    else
      allow_tracer(arguments[i]);
  prepare();
  struct pod_message ready = {POD_MESSAGE_READY, 0, 0, 0};
  send_message(control, &ready);

  for (;;) {
    static struct rights rights;
    struct pod_message message = {0, 0, 0, 0};
    struct vector vector = {&message, sizeof message};
    struct message_header header = {0, 0, &vector, 1, &rights, sizeof rights, 0};
    rights.size = 0;
    long size = call(__NR_recvmsg, control, &header, cloexec_rights, 0);
    if (size == -error_interrupted || size == -error_again)
      continue;
    if (size <= 0)
      exit_group(0);

    int count = 0;
    if (header.control_size >= 16 && rights.level == sol_socket && rights.type == scm_rights)
      count = (int)((rights.size - 16) / sizeof(int));
    if (message.type == POD_MESSAGE_RING && traced)
      trap(POD_MAGIC_RING, 0, 0, 0);
    if (message.type == POD_MESSAGE_LAUNCH)
      launch(message.id, rights.descriptors, count);
    for (int i = 0; i < count; i++)
      call(__NR_close, rights.descriptors[i], 0, 0, 0);
  }
}

__asm__(".globl _start\n"
        "_start:\n"
        "  xor %ebp, %ebp\n"
        "  mov %rsp, %rdi\n"
        "  and $-16, %rsp\n"
        "  call run\n"
        "  hlt\n");
