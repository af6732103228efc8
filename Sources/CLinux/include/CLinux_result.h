#ifndef CLINUX_RESULT_H
#define CLINUX_RESULT_H

// No header here defines _GNU_SOURCE: it changes types that Swift's Glibc module has too, and the
// compiler rejects a type that two modules define differently.
#include <errno.h>

// Turns the C convention (-1 and errno) into a value; shared by all shims.
static inline long CLinux_result(long r) { return r == -1 ? -(long)errno : r; }

#endif
