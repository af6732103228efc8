#ifndef CLINUX_MEMORY_H
#define CLINUX_MEMORY_H

#include "CLinux_result.h"
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
  CLinux_MFD_CLOEXEC = 0x1,
  CLinux_MFD_ALLOW_SEALING = 0x2,
  CLinux_MFD_NOEXEC_SEAL = 0x8,
  CLinux_MFD_EXEC = 0x10,

  CLinux_F_ADD_SEALS = 1033,
  CLinux_F_SEAL_SEAL = 0x1,
  CLinux_F_SEAL_SHRINK = 0x2,
  CLinux_F_SEAL_GROW = 0x4,
  CLinux_F_SEAL_WRITE = 0x8,
  CLinux_F_SEAL_FUTURE_WRITE = 0x10,
};

// memfd_create: hidden behind _GNU_SOURCE; close-on-exec. MFD_EXEC and MFD_NOEXEC_SEAL are dropped on
// kernels before 6.3, which don't know them.
static inline int CLinux_memfd_create(const char *name, unsigned int flags) {
  flags |= CLinux_MFD_CLOEXEC;
  long fd = syscall(SYS_memfd_create, name, flags);
  unsigned int newer = CLinux_MFD_NOEXEC_SEAL | CLinux_MFD_EXEC;
  if (fd == -1 && errno == EINVAL && (flags & newer) != 0)
    fd = syscall(SYS_memfd_create, name, flags & ~newer);
  return (int)CLinux_result(fd);
}

// F_ADD_SEALS: fcntl is variadic, and its number needs _GNU_SOURCE.
static inline int CLinux_add_seals(int fd, int seals) {
  return (int)CLinux_result(fcntl(fd, CLinux_F_ADD_SEALS, seals));
}

// process_vm_readv: hidden behind _GNU_SOURCE, and its remote iovec wants pointers for foreign
// addresses. Returns the number of bytes read, which may be fewer than asked for.
static inline long CLinux_process_vm_read(pid_t tid, uint64_t address, void *buffer, size_t size) {
  struct iovec local = {buffer, size};
  struct iovec remote = {(void *)(uintptr_t)address, size};
  return CLinux_result(
      syscall(SYS_process_vm_readv, (long)tid, &local, 1UL, &remote, 1UL, 0UL));
}
// process_vm_writev: the same.
static inline long CLinux_process_vm_write(pid_t tid, uint64_t address, const void *buffer,
                                           size_t size) {
  struct iovec local = {(void *)buffer, size};
  struct iovec remote = {(void *)(uintptr_t)address, size};
  return CLinux_result(
      syscall(SYS_process_vm_writev, (long)tid, &local, 1UL, &remote, 1UL, 0UL));
}

// open of a path made of numbers only, in one shim: open is variadic.
static inline int CLinux_open(const char *path, int flags, mode_t mode) {
  return (int)CLinux_result(open(path, flags | O_CLOEXEC, mode));
}
// F_DUPFD_CLOEXEC: fcntl is variadic.
static inline int CLinux_duplicate(int fd, int lowest) {
  return (int)CLinux_result(fcntl(fd, F_DUPFD_CLOEXEC, lowest));
}
// pread at an unsigned 64-bit offset: addresses above 2^63 (vsyscall) don't fit Glibc's off_t.
static inline long CLinux_pread(int fd, void *buffer, size_t size, uint64_t offset) {
  return CLinux_result(syscall(SYS_pread64, fd, buffer, size, offset));
}
// pwrite at an unsigned 64-bit offset: the same.
static inline long CLinux_pwrite(int fd, const void *buffer, size_t size, uint64_t offset) {
  return CLinux_result(syscall(SYS_pwrite64, fd, buffer, size, offset));
}

// PROCMAP_QUERY on /proc/PID/maps (Linux 6.11), with its structure, which older headers lack; ioctl is variadic. What
// the mapping that an address is in is like; -ENOENT where there is none, -ENOTTY on older kernels.
enum { CLinux_PROCMAP_WRITABLE = 2, CLinux_PROCMAP_EXECUTABLE = 4, CLinux_PROCMAP_SHARED = 8 };
struct CLinux_mapping {
  uint64_t size, query_flags, address;
  uint64_t start, end, flags, page_size, offset, inode;
  uint32_t device_major, device_minor, name_size, build_id_size;
  uint64_t name, build_id;
};
static inline int CLinux_query_mapping(int maps, uint64_t address, struct CLinux_mapping *mapping) {
  memset(mapping, 0, sizeof *mapping);
  mapping->size = sizeof *mapping;
  mapping->address = address;
  return (int)CLinux_result(ioctl(maps, _IOWR('f', 17, struct CLinux_mapping), mapping));
}

// Whether programs can read their thread pointer without a call. Source: asm/hwcap2.h, HWCAP2_FSGSBASE.
static inline int CLinux_reads_thread_pointer(void) {
#ifdef __x86_64__
  return (getauxval(AT_HWCAP2) & 2) != 0;
#else
  return 0;
#endif
}

#endif
