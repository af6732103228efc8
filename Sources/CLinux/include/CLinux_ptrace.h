#ifndef CLINUX_PTRACE_H
#define CLINUX_PTRACE_H

// ptrace(2) is variadic and <sys/ptrace.h> is not in Swift's Glibc module, so each request has a
// function of its own here. The raw call is used: PEEKDATA then stores the word and returns an
// error, instead of returning a word that may look like -1.

#include "CLinux_result.h"
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <unistd.h>

// Enumerators of <sys/ptrace.h>, which Swift would import with a type each and only with the header.
enum {
  CLinux_PTRACE_O_TRACESYSGOOD = 0x00000001,
  CLinux_PTRACE_O_TRACEFORK = 0x00000002,
  CLinux_PTRACE_O_TRACEVFORK = 0x00000004,
  CLinux_PTRACE_O_TRACECLONE = 0x00000008,
  CLinux_PTRACE_O_TRACEEXEC = 0x00000010,
  CLinux_PTRACE_O_TRACESECCOMP = 0x00000080,
  CLinux_PTRACE_O_TRACEEXIT = 0x00000040,
  CLinux_PTRACE_O_EXITKILL = 0x00100000,

  CLinux_PTRACE_EVENT_FORK = 1,
  CLinux_PTRACE_EVENT_VFORK = 2,
  CLinux_PTRACE_EVENT_CLONE = 3,
  CLinux_PTRACE_EVENT_EXEC = 4,
  CLinux_PTRACE_EVENT_EXIT = 6,
  CLinux_PTRACE_EVENT_SECCOMP = 7,
  CLinux_PTRACE_EVENT_STOP = 128,

  CLinux_SYSCALL_INFO_ENTRY = 1,
  CLinux_SYSCALL_INFO_EXIT = 2,
  CLinux_SYSCALL_INFO_SECCOMP = 3,
};

// The one raw call behind all requests: glibc's ptrace() is variadic and rewrites PEEK results.
static inline int CLinux_ptrace(long request, pid_t tid, unsigned long addr, unsigned long data) {
  return (int)CLinux_result(syscall(SYS_ptrace, request, (long)tid, addr, data));
}

// PTRACE_SEIZE: variadic in glibc.
static inline int CLinux_ptrace_seize(pid_t tid, unsigned long options) {
  return CLinux_ptrace(0x4206, tid, 0, options);
}
// PTRACE_SETOPTIONS: variadic in glibc.
static inline int CLinux_ptrace_setoptions(pid_t tid, unsigned long options) {
  return CLinux_ptrace(0x4200, tid, 0, options);
}
// PTRACE_CONT: variadic in glibc.
static inline int CLinux_ptrace_cont(pid_t tid, int signal) {
  return CLinux_ptrace(7, tid, 0, (unsigned long)signal);
}
// PTRACE_SYSCALL: variadic in glibc.
static inline int CLinux_ptrace_syscall(pid_t tid, int signal) {
  return CLinux_ptrace(24, tid, 0, (unsigned long)signal);
}
// PTRACE_LISTEN: variadic in glibc.
static inline int CLinux_ptrace_listen(pid_t tid) { return CLinux_ptrace(0x4208, tid, 0, 0); }
// PTRACE_INTERRUPT: variadic in glibc.
static inline int CLinux_ptrace_interrupt(pid_t tid) { return CLinux_ptrace(0x4207, tid, 0, 0); }
// PTRACE_DETACH: variadic in glibc.
static inline int CLinux_ptrace_detach(pid_t tid, int signal) {
  return CLinux_ptrace(17, tid, 0, (unsigned long)signal);
}
// PTRACE_GETEVENTMSG: variadic in glibc.
static inline int CLinux_ptrace_geteventmsg(pid_t tid, unsigned long *message) {
  return CLinux_ptrace(0x4201, tid, 0, (unsigned long)message);
}
// PTRACE_GETSIGINFO: variadic in glibc.
static inline int CLinux_ptrace_getsiginfo(pid_t tid, siginfo_t *info) {
  return CLinux_ptrace(0x4202, tid, 0, (unsigned long)info);
}
// PTRACE_SETSIGINFO: variadic in glibc.
static inline int CLinux_ptrace_setsiginfo(pid_t tid, const siginfo_t *info) {
  return CLinux_ptrace(0x4203, tid, 0, (unsigned long)info);
}
// PTRACE_PEEKSIGINFO: variadic in glibc. One of the signals that wait for this thread alone; returns 1 or, behind the
// last, 0.
static inline int CLinux_ptrace_peeksiginfo(pid_t tid, uint64_t index, siginfo_t *info) {
  struct {
    uint64_t offset;
    uint32_t flags;
    int32_t count;
  } arguments = {index, 0, 1};
  return CLinux_ptrace(0x4209, tid, (unsigned long)&arguments, (unsigned long)info);
}
// SYS_SECCOMP: an enumerator that older libcs lack.
enum { CLinux_SYS_SECCOMP = 1 };
// PTRACE_GETSIGMASK: variadic in glibc; the kernel's mask is one word.
static inline int CLinux_ptrace_getsigmask(pid_t tid, uint64_t *mask) {
  return CLinux_ptrace(0x420a, tid, sizeof *mask, (unsigned long)mask);
}
// PTRACE_SETSIGMASK: variadic in glibc; the kernel's mask is one word.
static inline int CLinux_ptrace_setsigmask(pid_t tid, uint64_t mask) {
  return CLinux_ptrace(0x420b, tid, sizeof mask, (unsigned long)&mask);
}
// PTRACE_PEEKDATA: variadic in glibc, and there the word is the result, so an error is ambiguous.
static inline int CLinux_ptrace_peekdata(pid_t tid, uint64_t address, unsigned long *word) {
  return CLinux_ptrace(2, tid, (unsigned long)address, (unsigned long)word);
}
// PTRACE_POKEDATA: variadic in glibc.
static inline int CLinux_ptrace_pokedata(pid_t tid, uint64_t address, unsigned long word) {
  return CLinux_ptrace(5, tid, (unsigned long)address, word);
}

#if defined(__x86_64__)
// PTRACE_GETREGS: variadic in glibc.
static inline int CLinux_ptrace_getregs(pid_t tid, struct user_regs_struct *registers) {
  return CLinux_ptrace(12, tid, 0, (unsigned long)registers);
}
// PTRACE_POKEUSER: variadic in glibc. Unlike the regsets it has the tracer's layout, also where the thread
// runs 32-bit code.
static inline int CLinux_ptrace_pokeuser(pid_t tid, unsigned long offset, unsigned long word) {
  return CLinux_ptrace(6, tid, offset, word);
}
#endif
// PTRACE_SETREGSET: variadic in glibc; `type` is an ELF note type (NT_PRSTATUS is 1).
static inline long CLinux_ptrace_setregset(pid_t tid, unsigned long type, const void *buffer,
                                           size_t size) {
  struct iovec iov = {(void *)buffer, size};
  int r = CLinux_ptrace(0x4205, tid, type, (unsigned long)&iov);
  return r < 0 ? r : (long)iov.iov_len;
}

// What PTRACE_GET_SYSCALL_INFO tells, without the union, whose members Swift can't reach safely.
struct CLinux_syscall_info {
  uint8_t op;  // CLinux_SYSCALL_INFO_…
  uint32_t arch;
  uint64_t instruction_pointer;
  uint64_t stack_pointer;
  uint64_t number;        // entry and seccomp
  uint64_t arguments[6];  // entry and seccomp
  uint32_t filter_data;   // seccomp: SECCOMP_RET_DATA
  int64_t result;         // exit
  uint8_t is_error;       // exit
};

// PTRACE_GET_SYSCALL_INFO: variadic in glibc. Source: include/uapi/linux/ptrace.h.
static inline int CLinux_ptrace_get_syscall_info(pid_t tid, struct CLinux_syscall_info *out) {
  struct {
    uint8_t op, pad[3];
    uint32_t arch;
    uint64_t ip, sp;
    uint64_t words[8];
  } raw;
  memset(&raw, 0, sizeof raw);
  int r = CLinux_ptrace(0x420e, tid, sizeof raw, (unsigned long)&raw);
  if (r < 0)
    return r;
  memset(out, 0, sizeof *out);
  out->op = raw.op;
  out->arch = raw.arch;
  out->instruction_pointer = raw.ip;
  out->stack_pointer = raw.sp;
  if (raw.op == CLinux_SYSCALL_INFO_ENTRY || raw.op == CLinux_SYSCALL_INFO_SECCOMP) {
    out->number = raw.words[0];
    memcpy(out->arguments, raw.words + 1, sizeof out->arguments);
    if (raw.op == CLinux_SYSCALL_INFO_SECCOMP)
      out->filter_data = (uint32_t)raw.words[7];
  } else if (raw.op == CLinux_SYSCALL_INFO_EXIT) {
    out->result = (int64_t)raw.words[0];
    out->is_error = (uint8_t)raw.words[1];
  }
  return 0;
}

// siginfo_t's fields are macros over nested unions, which Swift does not import.
static inline pid_t CLinux_siginfo_pid(const siginfo_t *info) { return info->si_pid; }
static inline void CLinux_siginfo_set_pid(siginfo_t *info, pid_t pid) { info->si_pid = pid; }

#endif
