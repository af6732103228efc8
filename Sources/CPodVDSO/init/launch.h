#ifndef POD_INIT_LAUNCH_H
#define POD_INIT_LAUNCH_H

// A launch: from the host's request to the program's first instruction.

#include "kernel.h"

// The socket to the host.
enum { control = 3 };

static int traced = 1;

// ---- Reporting

static void send_message(int socket, struct pod_message *message) {
  // write, since no filter of a pod asks about it. SIGPIPE is ignored, or ends what has failed anyway.
  while (call(__NR_write, socket, message, sizeof *message, 0) == -error_interrupted) {
  }
}

static inline void trap(word magic, word a, word b, word c) {
  __asm__ volatile("int3" : : "a"(magic), "D"(a), "S"(b), "d"(c) : "memory");
}

static void report(int socket, unsigned id, unsigned error, unsigned stage) {
  struct pod_message message = {POD_MESSAGE_FAILED, id, error, stage, 0};
  if (traced)
    trap(POD_MAGIC_FAILED, id, error, stage);
  else
    send_message(socket, &message);
}

struct launch {
  unsigned id;
  int socket;  // where a failure is reported in supervised mode
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
// so that none is overwritten before it is moved. In supervised mode one more is kept, close-on-exec:
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

static void reset_signals(void) {
  struct action byDefault = {0, 0, 0, 0};
  for (int signal = 1; signal <= 64; signal++)
    call(__NR_rt_sigaction, signal, &byDefault, 0, 8);
}

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

  // The launcher's children have none of init's.
  if (traced)
    reset_signals();
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

// What is no longer permitted and inheritable isn't ambient any more either.
static void limit_capabilities(struct launch *launch, struct pod_launch *blob) {
  struct capability_sets sets[2];
  get_capabilities(launch, sets);
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

// Whether an exec would fail for lack of the file. Under supervision that costs a hundredth of an exec that fails.
static int is_missing(const char *path, long *error) {
  char status[144]; // struct stat, of which nothing is looked at
  *error = call(__NR_newfstatat, at_working_directory, path, status, 0);
  return *error == -error_no_entry || *error == -error_not_directory;
}

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
  int are_several = paths[0] && paths[1];
  for (; *paths; paths++) {
    if (are_several && is_missing(*paths, &result))
      continue;
    result = call(__NR_execve, *paths, arguments, environment, 0);
    if (result == -error_access)
      denied = 1;
    else if (result != -error_no_entry && result != -error_not_directory &&
             result != -error_loop && result != -error_name_too_long)
      fail(launch, result, POD_STAGE_EXEC);
  }
  fail(launch, denied ? -error_access : result, POD_STAGE_EXEC);
}

// In supervised mode the launcher runs this: init is to be the parent of what it makes.
static void launch(unsigned id, int *descriptors, int count) {
  struct launch launch = {id, control, count, descriptors};
  if (count < 1) {
    report(control, id, error_invalid, POD_STAGE_SPECIFICATION);
    return;
  }
  long child = call6(__NR_clone, traced ? signal_child : signal_child | clone_parent, 0, 0, 0, 0, 0);
  if (child == 0) {
    if (traced)
      trap(POD_MAGIC_BORN, id, 0, 0);
    else
      call(__NR_getpid, POD_MAGIC_BORN, id, 0, 0);
    execute(&launch, map_specification(&launch));
  }
  if (child < 0)
    report(control, id, (unsigned)-child, POD_STAGE_FORK);
}

#endif
