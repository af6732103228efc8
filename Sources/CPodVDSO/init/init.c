// The pod's process 1. Freestanding: no libc, nothing but system calls. `make page` compiles it.
//
// Traced, it starts programs on request, rings the tracer's doorbell, and adopts orphans, which the kernel reaps because
// SIGCHLD is ignored; it ends when the host's end of its socket is closed. What it does in supervised mode is in
// supervised.h. The protocol is in ../include/pod_launch.h.

#include "launch.h"
#include "requests.h"
#include "supervised.h"
#include "view.h"

static void prepare(void) {
  enum { ignore = 1, no_child_wait = 2 };
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

static void __attribute__((noreturn)) serve_traced(void) {
  for (;;) {
    struct request request;
    long size = receive(control, &request, 0);
    if (size == -error_interrupted || size == -error_again)
      continue;
    if (size <= 0)
      exit_group(0);
    if (request.message.type == POD_MESSAGE_RING)
      trap(POD_MAGIC_RING, 0, 0, 0);
    if (request.message.type == POD_MESSAGE_VIEW)
      view(&request.message);
    if (request.message.type == POD_MESSAGE_LAUNCH)
      launch(request.message.id, request.descriptors, request.count);
    close_rest(&request, 0);
  }
}

static void __attribute__((noreturn, used)) run(word *stack) {
  word argument_count = stack[0];
  char **arguments = (char **)(stack + 1);
  for (word i = 1; i < argument_count; i++)
    if (arguments[i][0] == 's')  // "supervised"
      traced = 0;
    else
      allow_tracer(arguments[i]);
  prepare();
  if (!traced)
    prepare_supervised();
  struct pod_message ready = {POD_MESSAGE_READY, 0, 0, 0, 0};
  send_message(control, &ready);
  if (traced)
    serve_traced();
  serve_supervised();
}

__asm__(".globl _start\n"
        "_start:\n"
        "  xor %ebp, %ebp\n"
        "  mov %rsp, %rdi\n"
        "  and $-16, %rsp\n"
        "  call run\n"
        "  hlt\n");
