#ifndef CLINUX_FUTEX_H
#define CLINUX_FUTEX_H

#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "CLinux_result.h"

// FUTEX_WAKE on a word that processes share: futex has no wrapper. Returns how many were woken, or -errno.
static inline long CLinux_futex_wake(uint32_t *word, uint32_t count) {
  const int wake = 1;
  return CLinux_result(syscall(SYS_futex, word, wake, (unsigned long)count, 0UL, 0UL, 0UL));
}

// FUTEX_REQUEUE of one who waits on a word that processes share, to another one, without waking anybody. Returns how many
// waited, 0 or 1, or -errno.
static inline long CLinux_futex_requeue(uint32_t *word, uint32_t *other) {
  const int requeue = 3;
  return CLinux_result(syscall(SYS_futex, word, requeue, 0UL, 1UL, other, 0UL));
}

// A store that everybody sees who is woken after it.
static inline void CLinux_store_word(uint32_t *word, uint32_t value) {
  __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}

#endif
