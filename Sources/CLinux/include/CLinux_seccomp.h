#ifndef CLINUX_SECCOMP_H
#define CLINUX_SECCOMP_H

#include "CLinux_result.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
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

// What <linux/seccomp.h> of older systems lacks, or has as macros with shifts.
static const unsigned int CLinux_SECCOMP_FILTER_FLAG_NEW_LISTENER = 1u << 3;
static const unsigned int CLinux_SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = 1u << 5;  // Linux 5.19
static const uint32_t CLinux_SECCOMP_USER_NOTIF_FLAG_CONTINUE = 1u << 0;
static const uint64_t CLinux_SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP = 1u << 0;          // Linux 6.6
static const uint32_t CLinux_SECCOMP_ADDFD_FLAG_SETFD = 1u << 0;
static const uint32_t CLinux_SECCOMP_ADDFD_FLAG_SEND = 1u << 1;                     // Linux 5.14

// SECCOMP_IOCTL_NOTIF_RECV: ioctl is variadic, its number a macro with sizeof, and the kernel wants the structure
// zeroed. Waits for a notification; -EINTR after a signal, -ENOENT when the caller went away meanwhile.
static inline int CLinux_seccomp_receive(int listener, struct seccomp_notif *notification) {
  memset(notification, 0, sizeof *notification);
  return (int)CLinux_result(ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, notification));
}

// SECCOMP_IOCTL_NOTIF_SEND: the same. With CONTINUE, `value` and `error` have to be 0; else the call's result is
// `value`, or -1 with the errno -`error`. -ENOENT when the caller went away or was answered already (-EINPROGRESS until
// it has woken).
static inline int CLinux_seccomp_send(int listener, uint64_t id, int64_t value, int32_t error,
                                      uint32_t flags) {
  struct seccomp_notif_resp response;
  memset(&response, 0, sizeof response);
  response.id = id;
  response.val = value;
  response.error = error;
  response.flags = flags;
  return (int)CLinux_result(ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response));
}

// The same with a response that may be longer than this header's.
static inline int CLinux_seccomp_respond(int listener, struct seccomp_notif_resp *response) {
  return (int)CLinux_result(ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, response));
}

// SECCOMP_IOCTL_NOTIF_ID_VALID: the same. -ENOENT when the caller no longer waits for the answer.
static inline int CLinux_seccomp_id_valid(int listener, uint64_t id) {
  return (int)CLinux_result(ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id));
}

// SECCOMP_IOCTL_NOTIF_ADDFD: the same. Puts a copy of `source` into the caller of a notification, as `number` with
// ADDFD_FLAG_SETFD, else at the lowest free number, and returns that; `descriptor_flags` is 0 or O_CLOEXEC. With
// ADDFD_FLAG_SEND the number is also the call's result, and the notification is answered.
static inline int CLinux_seccomp_add_descriptor(int listener, uint64_t id, int source,
                                                int number, uint32_t descriptor_flags,
                                                uint32_t flags) {
  struct seccomp_notif_addfd arguments;
  memset(&arguments, 0, sizeof arguments);
  arguments.id = id;
  arguments.flags = flags;
  arguments.srcfd = (uint32_t)source;
  arguments.newfd = (uint32_t)number;
  arguments.newfd_flags = descriptor_flags;
  return (int)CLinux_result(ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &arguments));
}

// SECCOMP_IOCTL_NOTIF_SET_FLAGS, which headers before Linux 6.6 lack: its argument is the flags themselves. -EINVAL
// where the kernel doesn't know them.
static inline int CLinux_seccomp_set_flags(int listener, uint64_t flags) {
  return (int)CLinux_result(ioctl(listener, 0x40082104UL, flags));
}

// landlock_create_ruleset with LANDLOCK_CREATE_RULESET_VERSION: no wrapper in glibc, no number in older headers (it is
// 444 on all architectures). Returns the version of the interface, from 1 on; signal scopes are there from 6 on.
static inline int CLinux_landlock_version(void) {
  return (int)CLinux_result(syscall(444L, (void *)0, 0UL, 1UL));
}

#endif
