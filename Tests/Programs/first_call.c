// A program without a C library, whose calls that concern names are made as its first argument says, from the first one on:
// among them are enough for the pod's area to come. The second one is how many areas of a pod it has to have in the end: none natively; "any" if it doesn't matter.
//
//   registers        all registers, flags, vector registers and the red zone are kept by calls
//   stackless        the same, and there is no stack
//   occupied ADDRESS SIZE   something else is there before
//   handler          a handler is set, and runs all the time
//   edge             the call is the last thing in its mapping
//   split            the code behind it belongs to another mapping, which can't be executed
//   shared           the code is in memory that is shared with a file
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

typedef unsigned long word;

static long call6(long number, word a, word b, word c, word d, word e, word f) {
  long result;
  register word d_ __asm__("r10") = d;
  register word e_ __asm__("r8") = e;
  register word f_ __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(d_), "r"(e_), "r"(f_)
                   : "rcx", "r11", "memory");
  return result;
}
static long call(long number, word a, word b, word c) { return call6(number, a, b, c, 0, 0, 0); }

static void __attribute__((noreturn)) fail(int line) {
  char text[] = "first_call.c:....\n";
  for (int i = 0, rest = line; i < 4; i++, rest /= 10) text[16 - i] = (char)('0' + rest % 10);
  call(SYS_write, 2, (word)text, sizeof text - 1);
  call(SYS_exit_group, 1, 0, 0);
  __builtin_unreachable();
}
#define CHECK(condition)                                                                         \
  do {                                                                                           \
    if (!(condition)) fail(__LINE__);                                                            \
  } while (0)

void *memset(void *to, int value, size_t count) {
  for (size_t i = 0; i < count; i++) ((volatile char *)to)[i] = (char)value;
  return to;
}
void *memcpy(void *to, const void *from, size_t count) {
  for (size_t i = 0; i < count; i++) ((volatile char *)to)[i] = ((const char *)from)[i];
  return to;
}

static int same(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

static word number(const char *text) {
  word value = 0;
  int base = text[0] == '0' && text[1] == 'x' ? 16 : 10;
  for (text += base == 16 ? 2 : 0; *text; text++)
    value = value * (word)base + (word)(*text <= '9' ? *text - '0' : *text - 'a' + 10);
  return value;
}

// How many mappings of a pod's area there are.
static word areas(void) {
  static char text[65536];
  word size = 0, count = 0, files[2];
  enum { limit_open_files = 7 };
  CHECK(call6(SYS_prlimit64, 0, limit_open_files, 0, (word)files, 0, 0) == 0);
  files[0] = files[1];
  CHECK(call6(SYS_prlimit64, 0, limit_open_files, (word)files, 0, 0, 0) == 0);
  long file = call(SYS_open, (word) "/proc/self/maps", 0, 0);
  CHECK(file >= 0);
  for (long part; (part = call(SYS_read, (word)file, (word)(text + size), sizeof text - size)) > 0;)
    size += (word)part;
  call(SYS_close, (word)file, 0, 0);
  const char name[] = "/memfd:pod";
  for (word i = 0; i + sizeof name < size; i++) {
    word k = 0;
    while (k < sizeof name - 1 && text[i + k] == name[k]) k++;
    count += k == sizeof name - 1;
  }
  return count;
}

// ---- Registers

struct registers {
  word rax, rdi, rsi, rdx, r10, r8, r9, rbx, rbp, r12, r13, r14, r15, rsp, flags;
  word vectors[16][2];
};
struct registers before, after;
word own_stack;
void make_call(void);
__asm__(".macro each_vector instruction\n"
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n  \\instruction \\n\n.endr\n.endm\n"
        ".macro load_vector n\n  movdqu before+120+16*\\n(%rip), %xmm\\n\n.endm\n"
        ".macro store_vector n\n  movdqu %xmm\\n, after+120+16*\\n(%rip)\n.endm\n"
        ".globl make_call\nmake_call:\n"
        "  push %rbx\n  push %rbp\n  push %r12\n  push %r13\n  push %r14\n  push %r15\n  pushfq\n"
        "  mov %rsp, own_stack(%rip)\n"
        "  each_vector load_vector\n"
        "  mov before(%rip), %rax\n  mov before+8(%rip), %rdi\n  mov before+16(%rip), %rsi\n"
        "  mov before+24(%rip), %rdx\n  mov before+32(%rip), %r10\n  mov before+40(%rip), %r8\n"
        "  mov before+48(%rip), %r9\n  mov before+56(%rip), %rbx\n  mov before+64(%rip), %rbp\n"
        "  mov before+72(%rip), %r12\n  mov before+80(%rip), %r13\n  mov before+88(%rip), %r14\n"
        "  mov before+96(%rip), %r15\n"
        "  pushq before+112(%rip)\n  popfq\n"
        "  mov before+104(%rip), %rsp\n"
        "  syscall\n"
        "  mov %rax, after(%rip)\n  mov %rdi, after+8(%rip)\n  mov %rsi, after+16(%rip)\n"
        "  mov %rdx, after+24(%rip)\n  mov %r10, after+32(%rip)\n  mov %r8, after+40(%rip)\n"
        "  mov %r9, after+48(%rip)\n  mov %rbx, after+56(%rip)\n  mov %rbp, after+64(%rip)\n"
        "  mov %r12, after+72(%rip)\n  mov %r13, after+80(%rip)\n  mov %r14, after+88(%rip)\n"
        "  mov %r15, after+96(%rip)\n  mov %rsp, after+104(%rip)\n"
        "  mov own_stack(%rip), %rsp\n"
        "  pushfq\n  pop %rax\n  mov %rax, after+112(%rip)\n"
        "  each_vector store_vector\n"
        "  popfq\n"
        "  pop %r15\n  pop %r14\n  pop %r13\n  pop %r12\n  pop %rbp\n  pop %rbx\n  ret\n");

enum { stack_words = 1024, red_zone_words = 16 };
static word stack[stack_words];

static long checked_call(long number, word a, word b, word c, word flags, int has_stack) {
  static word seed = 0x9e3779b97f4a7c15;
  word *values = (word *)&before;
  for (word i = 0; i < sizeof before / sizeof(word); i++) values[i] = seed *= 0x2545f4914f6cdd1d;
  before.rax = (word)number;
  before.rdi = a;
  before.rsi = b;
  before.rdx = c;
  before.flags = flags;
  before.rsp = has_stack ? (word)&stack[stack_words / 2] : 0;
  for (word i = 0; i < stack_words; i++) stack[i] = i * 0x0101010101010101;
  make_call();
  for (word i = 1; i < sizeof before / sizeof(word); i++)
    CHECK(((word *)&after)[i] == values[i]);
  for (word i = stack_words / 2 - red_zone_words; i < stack_words; i++)
    CHECK(stack[i] == i * 0x0101010101010101);
  return (long)after.rax;
}

static void registers(int has_stack) {
  static word cleared;
  // Reserved, interrupts; then carry, parity, adjust, zero, sign, overflow; direction; identification.
  enum { plain = 0x202, arithmetic = 0x8d5, direction = 0x400, identification = 0x200000 };
  static const word flags[] = {
      plain | arithmetic | direction | identification, plain, plain | arithmetic, plain | direction};
  long thread = checked_call(SYS_set_tid_address, (word)&cleared, 1, 2, flags[0], has_stack);
  CHECK(thread > 0);
  for (word round = 0; round < 40; round++) {
    word now = flags[round % 4];
    long process = checked_call(SYS_getpid, 3, 4, 5, now, has_stack);
    CHECK(process > 0);
    CHECK(checked_call(SYS_gettid, 3, 4, 5, now, has_stack) == process);
    CHECK(checked_call(SYS_kill, (word)process, 0, 6, now, has_stack) == 0);
    CHECK(checked_call(SYS_getpgid, (word)process, 0, 6, now, has_stack) >= 0);
    CHECK(checked_call(SYS_wait4, (word)-1, 0, 1, now, has_stack) == -10);
    CHECK(checked_call(SYS_set_tid_address, (word)&cleared, 1, 2, now, has_stack) == thread);
  }
}

// ---- Other ways to make the first call

// After so many that are heard of, the area would come with any call.
enum { many = 40 };
enum { read_write = 3, read_execute = 5, all_three = 7, fixed_private = 0x32, private_any = 0x22 };

static void occupied(word address, word size) {
  volatile char *there = (char *)call6(SYS_mmap, address, size, read_write, fixed_private, (word)-1, 0);
  CHECK((word)there == address);
  for (word i = 0; i < size; i += 64) there[i] = (char)(i / 64);
  enum { no_child = -10 };
  CHECK(call(SYS_wait4, (word)-1, 0, 1) == no_child);
  CHECK(call(SYS_kill, (word)call(SYS_getpid, 0, 0, 0), 0, 0) == 0);
  for (word i = 0; i < size; i += 64) CHECK(there[i] == (char)(i / 64));
}

static volatile long handled;
static void handler(int signal) { handled += signal != 0; }
void back(void);
__asm__(".globl back\nback:\n  mov $15, %eax\n  syscall\n");

static void with_handler(void) {
  enum { alarm = 14, restorer = 0x04000000, again = 0x10000000 };
  struct {
    void (*handler)(int);
    word flags;
    void (*restorer)(void);
    word mask;
  } action = {handler, restorer | again, back, 0};
  CHECK(call6(SYS_rt_sigaction, alarm, (word)&action, 0, 8, 0, 0) == 0);
  struct {
    word interval[2], first[2];
  } often = {{0, 100}, {0, 100}}, never = {{0, 0}, {0, 0}};
  CHECK(call(SYS_setitimer, 0, (word)&often, 0) == 0);
  while (handled < 3) {
  }
  word cleared;
  long thread = call(SYS_set_tid_address, (word)&cleared, 0, 0);
  CHECK(thread > 0 || thread == -4);
  for (int i = 0; i < 500; i++) {
    long process = call(SYS_getpid, 0, 0, 0);
    CHECK(process > 0 || process == -4);
  }
  CHECK(call(SYS_setitimer, 0, (word)&never, 0) == 0);
}

// `mov $number, %eax; syscall; ret`, so that `distance` bytes of its mapping are behind the call.
static long call_at_end(char *end, word distance, long number, word argument) {
  unsigned char code[] = {0xb8, (unsigned char)number, (unsigned char)(number >> 8), 0, 0, 0x0f, 0x05, 0xc3};
  memcpy(end - distance - 7, code, sizeof code);
  long (*function)(word) = (long (*)(word))(end - distance - 7);
  return function(argument);
}

static void edge(int is_split) {
  char *pages = (char *)call6(SYS_mmap, 0, 8192, all_three, private_any, (word)-1, 0);
  CHECK((word)pages < (word)-4096);
  char *end = pages + 4096;
  for (int i = 0; i < 4096; i++) end[i] = (char)0x90;
  if (is_split) CHECK(call(SYS_mprotect, (word)end, 4096, read_write) == 0);
  else CHECK(call(SYS_munmap, (word)end, 4096, 0) == 0);
  word cleared;
  CHECK(call_at_end(end, 1, SYS_set_tid_address, (word)&cleared) > 0);
  for (int i = 0; i < many; i++) CHECK(call_at_end(end, 1, SYS_getppid, 0) >= 0);
  if (is_split)
    for (int i = 0; i < 4096; i++) CHECK(end[i] == (char)0x90);
}

static void shared(void) {
  long file = call(SYS_memfd_create, (word) "code", 0, 0);
  CHECK(file >= 0 && call(SYS_ftruncate, (word)file, 4096, 0) == 0);
  char *page = (char *)call6(SYS_mmap, 0, 4096, all_three, 1, (word)file, 0);
  CHECK((word)page < (word)-4096);
  for (int i = 0; i < 4096; i++) page[i] = (char)0xc3;
  static char first[4096], second[4096];
  memcpy(page + 1000, (unsigned char[]){0xb8, SYS_getppid, 0, 0, 0, 0x0f, 0x05}, 7);
  memcpy(first, page, 4096);
  for (int i = 0; i < many; i++) CHECK(((long (*)(void))(page + 1000))() >= 0);
  CHECK(call6(SYS_pread64, (word)file, (word)second, 4096, 0, 0, 0) == 4096);
  for (int i = 0; i < 4096; i++) CHECK(first[i] == second[i]);
}

__attribute__((used)) static void begin(word *arguments) {
  word count = arguments[0];
  const char **vector = (const char **)(arguments + 1);
  if (count < 3) fail(__LINE__);
  if (same(vector[1], "registers")) registers(1);
  else if (same(vector[1], "stackless")) registers(0);
  else if (same(vector[1], "occupied") && count == 5) occupied(number(vector[3]), number(vector[4]));
  else if (same(vector[1], "handler")) with_handler();
  else if (same(vector[1], "edge")) edge(0);
  else if (same(vector[1], "split")) edge(1);
  else if (same(vector[1], "shared")) shared();
  else fail(__LINE__);
  CHECK(same(vector[2], "any") || areas() == number(vector[2]));
  call(SYS_exit_group, 0, 0, 0);
}

__asm__(".globl _start\n_start:\n  mov %rsp, %rdi\n  and $-16, %rsp\n  call begin\n  ud2\n");
