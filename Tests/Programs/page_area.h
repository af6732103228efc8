// The pod area in a process without a pod: the code that pod processes have, with names that the test has chosen. What it
// doesn't answer goes to the kernel, which answers it as for any program.
#ifndef PAGE_AREA_H
#define PAGE_AREA_H

#include "check.h"

#include <stddef.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "../../Sources/CPodLayout/include/pod_page.h"
#include "../../Sources/CPodVDSO/page_image.c"

static char *area;         // as the program sees it
static char *area_writer;  // as the supervisor does
enum { area_capacity = 64 };

static struct pod_table *area_table(void) { return (struct pod_table *)(area_writer + POD_AREA_TABLE); }
static struct pod_page_rules *area_rules(void) { return (struct pod_page_rules *)(area_writer + POD_AREA_RULES); }

static void area_name(pid_t physical, pid_t name) {
  uint32_t slot = pod_table_allocate(area_table(), name, 0);
  CHECK(slot != 0);
  pod_table_bind(area_table(), slot, physical);
}

// A name is of who has a number now, and of nobody who has it later.
static inline void area_identify(pid_t name, pid_t physical) {
  int handle = (int)syscall(SYS_pidfd_open, physical, 0);
  struct stat status;
  CHECK(handle >= 0 && fstat(handle, &status) == 0);
  close(handle);
  uint32_t slot = pod_table_find_virtual(area_table(), name).slot;
  pod_entry_set_identity(pod_table_entry(area_table(), slot), (uint32_t)status.st_ino);
}

static inline void area_unbroken(long number) { area_rules()->unbroken[number / 8] |= 1 << number % 8; }

// The boundary table, in a file that the test has written (BoundaryTable.pageRules).
static inline void area_read_rules(const char *file) {
  FILE *rules = fopen(file, "r");
  CHECK(rules != NULL);
  size_t size = fread(area_rules(), 1, POD_AREA_RULES_SIZE, rules);
  CHECK(size >= sizeof *area_rules());
  CHECK_EQUAL(area_rules()->magic, POD_PAGE_RULES_MAGIC);
  fclose(rules);
}

static void area_make(void) {
  size_t size = POD_AREA_TABLE + (pod_table_size(area_capacity) + 4095) / 4096 * 4096;
  int file = memfd_create("area", MFD_CLOEXEC);
  CHECK(ftruncate(file, size) == 0);
  area_writer = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  CHECK(area_writer != MAP_FAILED);
  CHECK(CPodVDSO_page_image_size <= POD_AREA_CODE_SIZE);
  memcpy(area_writer, CPodVDSO_page_image, CPodVDSO_page_image_size);
  area_rules()->magic = POD_PAGE_RULES_MAGIC;
  for (int i = 0; i < POD_PAGE_STUB_COUNT; i++) {
    // mov $i, %eax; jmp POD_PAGE_SIGNAL
    uint8_t *stub = (uint8_t *)area_writer + POD_AREA_STUBS + i * POD_PAGE_STUB_SIZE;
    int32_t distance = POD_PAGE_SIGNAL - (POD_AREA_STUBS + i * POD_PAGE_STUB_SIZE + 10);
    stub[0] = 0xb8;
    memcpy(stub + 1, &i, 4);
    stub[5] = 0xe9;
    memcpy(stub + 6, &distance, 4);
  }
  pod_table_format(area_table(), area_capacity, 1);

  char *base = (char *)0x6d0000000000;
  char *private = mmap(base - POD_AREA_PRIVATE_SIZE, POD_AREA_PRIVATE_SIZE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  CHECK(private == base - POD_AREA_PRIVATE_SIZE);
  CHECK(madvise(base + POD_AREA_CACHE, 4096, MADV_WIPEONFORK) == 0);
  area = mmap(base, size, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED_NOREPLACE, file, 0);
  CHECK(area == base);
  close(file);

  // Nobody is there to be told or asked anything: getpid(POD_PAGE_MAGIC, …) is ENOSYS.
  struct sock_filter code[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpid, 0, 3),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)POD_PAGE_MAGIC, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

// Makes a call by POD_PAGE_ENTER. Returns what the kernel would.
static long area_call(long number, long a, long b, long c, long d, long e, long f) {
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  long result;
  __asm__ volatile("sub $128, %%rsp\n call *%[enter]\n"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9),
                     [enter] "r"(area + POD_PAGE_ENTER)
                   : "rcx", "r11", "memory", "cc");
  return result;
}

struct kernel_action {
  void *handler;
  unsigned long flags;
  void *restorer;
  uint64_t mask;
};

// The C library's own, since it tells debuggers what a signal frame is.
static void *area_restorer(void) {
  struct sigaction given, former;
  struct kernel_action found;
  memset(&given, 0, sizeof given);
  given.sa_handler = SIG_IGN;
  sigaction(SIGWINCH, &given, &former);
  syscall(SYS_rt_sigaction, SIGWINCH, NULL, &found, 8);
  sigaction(SIGWINCH, &former, NULL);
  return found.restorer;
}

static long area_action(int signal, const struct kernel_action *action, struct kernel_action *former) {
  return area_call(SYS_rt_sigaction, signal, (long)action, (long)former, 8, 0, 0);
}

// What the kernel has.
static inline struct kernel_action kernel_has(int signal) {
  struct kernel_action found;
  CHECK(syscall(SYS_rt_sigaction, signal, NULL, &found, 8) == 0);
  return found;
}

static inline int area_is_stub(void *address) {
  return (char *)address >= area + POD_AREA_STUBS && (char *)address < area + POD_AREA_STUBS + POD_AREA_STUBS_SIZE;
}

// Sets a handler as a program does.
static void area_handle(int signal, void *handler, unsigned long flags) {
  struct kernel_action action = {handler, flags | 0x04000000, area_restorer(), 0};
  CHECK_EQUAL(area_action(signal, &action, NULL), 0);
}

#endif
