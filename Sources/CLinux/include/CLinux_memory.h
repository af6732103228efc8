#ifndef CLINUX_MEMORY_H
#define CLINUX_MEMORY_H

#include "CLinux_result.h"
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/vfs.h>
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
// statfs: <sys/vfs.h> isn't in Swift's Glibc module. A file system's magic number, or a negative errno.
static inline long CLinux_file_system(const char *path) {
  struct statfs status;
  return statfs(path, &status) < 0 ? -errno : (long)status.f_type;
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
// The same for the first mapping that ends behind an address, with PROCMAP_QUERY_COVERING_OR_NEXT_VMA.
static inline int CLinux_query_next_mapping(int maps, uint64_t address,
                                            struct CLinux_mapping *mapping) {
  memset(mapping, 0, sizeof *mapping);
  mapping->size = sizeof *mapping;
  mapping->address = address;
  mapping->query_flags = 0x10;
  return (int)CLinux_result(ioctl(maps, _IOWR('f', 17, struct CLinux_mapping), mapping));
}

// major and minor of a device: function-like macros.
static inline uint32_t CLinux_major(dev_t device) {
  return (uint32_t)((device >> 8 & 0xfff) | (device >> 32 & 0xfffff000));
}
static inline uint32_t CLinux_minor(dev_t device) {
  return (uint32_t)((device & 0xff) | (device >> 12 & 0xffffff00));
}

// F_SETOWN_EX, hidden behind _GNU_SOURCE: signals about an open file go to a thread.
static inline int CLinux_own_signals(int fd, pid_t thread) {
  struct {
    int type;
    pid_t pid;
  } owner = {0, thread};
  return (int)CLinux_result(fcntl(fd, 15, &owner));
}

// How many bytes of memory the machine has, swap included (sysinfo): Glibc's module lacks the header.
static inline uint64_t CLinux_memory(void) {
  struct sysinfo info;
  if (sysinfo(&info) != 0)
    return UINT64_MAX;
  return ((uint64_t)info.totalram + info.totalswap) * info.mem_unit;
}

// Whether a regular file that is open for writing has any other open file, a mapping's among them: then the kernel gives no
// lease (F_SETLEASE, F_WRLCK, hidden behind _GNU_SOURCE). 1 also where it can't be asked.
static inline int CLinux_is_open_elsewhere(int fd) {
  enum { set_lease = 1024 };
  if (fcntl(fd, set_lease, F_WRLCK) == -1)
    return 1;
  fcntl(fd, set_lease, F_UNLCK);
  return 0;
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
