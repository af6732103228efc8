// Threads and processes that wait for System V objects.
#ifndef IPC_WAITING_H
#define IPC_WAITING_H

#include "check.h"
#include <limits.h>
#include <setjmp.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/time.h>

static volatile sig_atomic_t ipc_hits;
static inline void ipc_count(int signal) {
  (void)signal;
  ipc_hits++;
}
static sigjmp_buf ipc_way_out;
static inline void ipc_leave(int signal) {
  (void)signal;
  siglongjmp(ipc_way_out, 1);
}

// Has a signal handled, and says whether calls that can go on after the handler do.
static inline void ipc_handle(int signal, void (*handler)(int), int flags) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
  CHECK(sigaction(signal, &action, NULL) == 0);
}

// A child says that its next call is the one that waits, and its parent goes on some time after that: for calls of which nothing
// tells that somebody waits there.
static int ipc_before_call[2] = {-1, -1};
static inline void before_fork(void) {
  if (ipc_before_call[0] < 0) CHECK(pipe(ipc_before_call) == 0);
}
static inline void about_to_wait(void) { CHECK(write(ipc_before_call[1], "", 1) == 1); }
static inline void until_it_waits(void) {
  char byte;
  CHECK(read(ipc_before_call[0], &byte, 1) == 1);
  pause_ms(60);
}

// Waits until a condition holds that another process brings about.
#define UNTIL(condition)                                                                        \
  do {                                                                                          \
    for (int n_ = 0; !(condition); n_++) {                                                      \
      CHECK(n_ < 20000);                                                                        \
      pause_ms(1);                                                                              \
    }                                                                                           \
  } while (0)

static inline int ipc_is_stopped(pid_t child) {
  siginfo_t info = {0};
  CHECK(waitid(P_PID, (id_t)child, &info, WSTOPPED | WNOHANG | WNOWAIT) == 0);
  return info.si_pid == child;
}

#endif
