#ifndef POD_INIT_LAUNCHER_H
#define POD_INIT_LAUNCHER_H

// The launcher: the one process that enters what all programs of a supervised pod share, a Landlock domain and the
// filter, and forks them.

#include "launch.h"
#include "requests.h"

struct limit {
  word soft, hard;
};
enum { limit_open_files = 7 };

// A Landlock domain whose processes can signal and trace each other and those of domains within it, and nobody else.
static long enter_domain(void) {
  enum { scope_signal = 2, log_none = 1 };
  struct {
    word files, network, scopes;
  } rules = {0, 0, scope_signal};
  long fd = call(__NR_landlock_create_ruleset, &rules, sizeof rules, 0, 0);
  if (fd < 0)
    return fd;
  // Init's last kill(-1) is denied for each process outside. Kernels before 6.15 log none of it and don't know the flag.
  long r = call(__NR_landlock_restrict_self, fd, log_none, 0, 0);
  if (r == -error_invalid)
    r = call(__NR_landlock_restrict_self, fd, 0, 0, 0);
  call(__NR_close, fd, 0, 0, 0);
  return r;
}

static void refuse(long result, unsigned step) {
  struct pod_message message = {POD_MESSAGE_REFUSED, 0, (unsigned)-result, step, 0};
  send_message(control, &message);
}

static void __attribute__((noreturn)) refuse_and_exit(long result, unsigned step) {
  refuse(result, step);
  exit_group(1);
}

static long send_descriptor(unsigned type, int descriptor) {
  struct pod_message message = {type, 0, 0, 0, 0};
  static struct rights rights = {20, 1, 1, {0}};
  rights.descriptors[0] = descriptor;
  struct vector vector = {&message, sizeof message};
  struct message_header header = {0, 0, &vector, 1, &rights, 24, 0};
  return call(__NR_sendmsg, control, &header, 0, 0);
}

// The kernel's argument for the filter in a file.
static struct filter_program map_filter(int file) {
  enum { seek_end = 2, read_only = 1, map_private = 2 };
  struct filter_program program = {0, 0};
  long size = call(__NR_lseek, file, 0, seek_end, 0);
  if (size < 8 || size / 8 > 0xffff)
    refuse_and_exit(-error_invalid, POD_STEP_FILTER);
  long address = call6(__NR_mmap, 0, size, read_only, map_private, file, 0);
  if (address < 0 && address > -4096)
    refuse_and_exit(address, POD_STEP_FILTER);
  program.count = (unsigned short)(size / 8);
  program.instructions = (void *)address;
  return program;
}

// From the filter on, each call for which it asks the supervisor waits for that: in this loop clone alone.
static void __attribute__((noreturn)) run_launcher(
    int socket, int filter, unsigned flags, int scoped, struct limit *files) {
  enum { set_filter = 1, new_listener = 8 };
  // What init ignores waits here instead, so that no program has to be given back its signals, each by a call for which the
  // filter asks.
  word all = ~0ul;
  call(__NR_rt_sigprocmask, 2, &all, 0, 8);
  reset_signals();
  // A refusal goes to the launcher's own socket, in init's place.
  call(__NR_dup3, socket, control, 0, 0);
  struct filter_program program = map_filter(filter);
  close_between(0, control - 1);
  close_between(control + 1, ~0u);
  call(__NR_prctl, prctl_set_name, "pod-launcher", 0, 0);
  call(__NR_prlimit64, 0, limit_open_files, files, 0);
  long r = scoped ? enter_domain() : 0;
  if (r < 0)
    refuse_and_exit(r, POD_STEP_LANDLOCK);
  long listener = call(__NR_seccomp, set_filter, new_listener | flags, &program, 0);
  if (listener < 0)
    refuse_and_exit(listener, POD_STEP_FILTER);
  r = send_descriptor(POD_MESSAGE_LISTENER, (int)listener);
  call(__NR_close, listener, 0, 0, 0);
  if (r < 0)
    exit_group(1);
  struct pod_message ready = {POD_MESSAGE_READY, 0, 0, 0, 0};
  send_message(control, &ready);

  for (;;) {
    struct request request;
    long size = receive(control, &request, 0);
    if (size == -error_interrupted)
      continue;
    if (size <= 0)
      exit_group(0);
    if (request.message.type == POD_MESSAGE_LAUNCH)
      launch(request.message.id, request.descriptors, request.count);
    close_rest(&request, 0);
  }
}

#endif
