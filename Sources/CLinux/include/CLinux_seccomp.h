#ifndef CLINUX_SECCOMP_H
#define CLINUX_SECCOMP_H

#include "CLinux_result.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

// Macros with casts or shifts of flags, which Swift does not import.
static const uint32_t CLinux_SECCOMP_RET_KILL_PROCESS = 0x80000000;
static const uint32_t CLinux_SECCOMP_RET_TRAP = 0x00030000;
static const uint32_t CLinux_SECCOMP_RET_ERRNO = 0x00050000;
static const uint32_t CLinux_SECCOMP_RET_USER_NOTIF = 0x7fc00000;
static const uint32_t CLinux_SECCOMP_RET_TRACE = 0x7ff00000;
static const uint32_t CLinux_SECCOMP_RET_ALLOW = 0x7fff0000;
static const uint32_t CLinux_AUDIT_ARCH_X86_64 = 0xc000003e;
static const uint32_t CLinux_AUDIT_ARCH_I386 = 0x40000003;
static const uint32_t CLinux_AUDIT_ARCH_AARCH64 = 0xc00000b7;

// seccomp: no wrapper in glibc.
static inline int CLinux_seccomp(unsigned int operation, unsigned int flags, void *arguments) {
  return (int)CLinux_result(syscall(SYS_seccomp, operation, flags, arguments));
}

// SECCOMP_SET_MODE_FILTER with a program given as bytes: struct sock_fprog's pointer is awkward from
// Swift, and seccomp has no wrapper in glibc. `instructions` are struct sock_filter.
static inline int CLinux_seccomp_install(const void *instructions, size_t count,
                                         unsigned int flags) {
  if (count > 0xffff)
    return -E2BIG;
  struct sock_fprog program = {(unsigned short)count, (struct sock_filter *)instructions};
  return (int)CLinux_result(syscall(SYS_seccomp, 1, flags, &program));
}

#endif
