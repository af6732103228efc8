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
