#ifndef CLINUX_H
#define CLINUX_H

// Thin shims over what Swift's Glibc module lacks: variadic functions, function-like macros, and
// calls and headers (linux/…, sys/ptrace.h, sys/prctl.h) that the module does not contain.
//
// One convention holds for every function here: a failed call returns the negated errno. `errno`
// itself is never part of the interface, since Swift code may run between a call and a read of it.

#include "CLinux_futex.h"
#include "CLinux_memory.h"
#include "CLinux_process.h"
#include "CLinux_ptrace.h"
#include "CLinux_seccomp.h"
#include "CLinux_sockets.h"
#include "CLinux_spawn.h"

#endif
