// Every program here states a behaviour of Linux as checks on itself: it exits 0 natively, and so it must in a pod.
#ifndef CHECK_H
#define CHECK_H

#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(condition)                                                                        \
  do {                                                                                          \
    if (!(condition)) {                                                                         \
      fprintf(stderr, "%s:%d: %s (errno %d: %s)\n", __FILE__, __LINE__, #condition, errno,      \
              strerror(errno));                                                                 \
      _exit(1);                                                                                 \
    }                                                                                           \
  } while (0)

// Compares two integers and prints both when they differ.
#define CHECK_EQUAL(left, right)                                                                \
  do {                                                                                          \
    long long l_ = (long long)(left), r_ = (long long)(right);                                  \
    if (l_ != r_) {                                                                             \
      fprintf(stderr, "%s:%d: %s = %lld, but %s = %lld (errno %d: %s)\n", __FILE__, __LINE__,   \
              #left, l_, #right, r_, errno, strerror(errno));                                   \
      _exit(1);                                                                                 \
    }                                                                                           \
  } while (0)

// Whether the pod that this runs in has a limit (PodTestSupport/TestLimits.swift), so that a check that it concerns is
// left out. Never so natively.
static inline int limited(const char *limit) {
  static const char *limits;
  if (limits == NULL) limits = getenv("POD_LIMITS");
  if (limits == NULL) limits = "";
  size_t length = strlen(limit);
  for (const char *at = limits; (at = strstr(at, limit)) != NULL; at += length)
    if ((at == limits || at[-1] == ' ') && (at[length] == 0 || at[length] == ' ')) return 1;
  return 0;
}

// Compares a process's number that the kernel has put into a signal descriptor's record.
#define CHECK_RECORD(left, right)                                                               \
  do {                                                                                          \
    if (!limited("descriptors")) CHECK_EQUAL(left, right);                                      \
  } while (0)

// The result of a call that natively never ends with EINTR: where a signal can cut off any call before it has done
// anything, and nobody can tell which one it was (syscall(2)), it is made again.
#define AGAIN_IF(condition, call)                                                               \
  ({                                                                                            \
    __typeof__(call) r_;                                                                        \
    do {                                                                                        \
      errno = 0;                                                                                \
      r_ = (call);                                                                              \
    } while (r_ == (__typeof__(call))-1 && errno == EINTR && (condition) && limited("interrupted")); \
    r_;                                                                                         \
  })
#define AGAIN(call) AGAIN_IF(1, call)

static inline pid_t thread_id(void) { return (pid_t)syscall(SYS_gettid); }

static inline void pause_ms(long milliseconds) {
  struct timespec t = {milliseconds / 1000, milliseconds % 1000 * 1000000};
  while (nanosleep(&t, &t) == -1 && errno == EINTR) {
  }
}

// Waits for a child and checks that it exited with 0.
static inline void reap_ok(pid_t child) {
  int status = -1;
  pid_t reaped;
  do
    reaped = waitpid(child, &status, 0);
  while (reaped == -1 && errno == EINTR);
  CHECK_EQUAL(reaped, child);
  CHECK_EQUAL(status, 0);
}

// A call for which the pod's area comes, where there is one. Natively it says that there is no child.
static inline void let_area_come(void) { CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD); }

#endif
