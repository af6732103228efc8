// Signals by the code of the pod area: what handlers see, what sigaction(2) reads back, and what a signal has cut off.
#include "page_area.h"

#include <setjmp.h>
#include <sys/auxv.h>
#include <sys/time.h>
#include <ucontext.h>

static volatile pid_t sender = -1;
static volatile int seen_signal, seen_code, seen_status, count;
static volatile long seen_value;

static void note(int signal, siginfo_t *info, void *context) {
  (void)context;
  seen_signal = signal;
  seen_code = info->si_code;
  sender = info->si_pid;
  seen_status = info->si_status;
  seen_value = (long)info->si_value.sival_ptr;
  count++;
}

static void plain(int signal) {
  seen_signal = signal;
  count++;
}

// A child with a name, or without one, that does something and is waited for.
static pid_t in_child(pid_t name, void (*body)(pid_t)) {
  int gate[2];
  CHECK(pipe(gate) == 0);
  pid_t parent = getpid();
  pid_t child = fork();
  if (child == 0) {
    char go;
    CHECK(read(gate[0], &go, 1) == 1);
    body(parent);
    _exit(7);
  }
  if (name != 0) area_name(child, name);
  CHECK(write(gate[1], "g", 1) == 1);
  siginfo_t info;
  while (waitid(P_PID, child, &info, WEXITED) == -1) CHECK(errno == EINTR);
  CHECK_EQUAL(info.si_status, 7);
  close(gate[0]);
  close(gate[1]);
  return child;
}

static void kills(pid_t parent) { CHECK(kill(parent, SIGUSR1) == 0); }
static void queues(pid_t parent) { CHECK(sigqueue(parent, SIGUSR1, (union sigval){.sival_ptr = (void *)0x123456789abc}) == 0); }
static void tgkills(pid_t parent) { CHECK(syscall(SYS_tgkill, parent, parent, SIGUSR1) == 0); }
static void does_nothing(pid_t parent) { (void)parent; }
static void makes_up(pid_t parent) {
  siginfo_t info;
  memset(&info, 0, sizeof info);
  info.si_code = SI_QUEUE;
  info.si_pid = 4711 | 1 << 30;
  CHECK(syscall(SYS_rt_sigqueueinfo, parent, SIGUSR1, &info) == 0);
}

static void senders(void) {
  area_handle(SIGUSR1, note, SA_SIGINFO);
  CHECK(area_is_stub(kernel_has(SIGUSR1).handler));
  in_child(11, kills);
  CHECK_EQUAL(sender, 11);
  CHECK_EQUAL(seen_code, SI_USER);
  in_child(12, queues);
  CHECK_EQUAL(sender, 12);
  CHECK_EQUAL(seen_code, SI_QUEUE);
  CHECK_EQUAL(seen_value, 0x123456789abc);
  in_child(13, tgkills);
  CHECK_EQUAL(sender, 13);
  CHECK_EQUAL(seen_code, SI_TKILL);
  in_child(14, makes_up);
  CHECK_EQUAL(sender, 4711);
  in_child(0, kills);
  CHECK_EQUAL(sender, 0);
  area_name(getpid(), 2);
  CHECK(raise(SIGUSR1) == 0);
  CHECK_EQUAL(sender, 2);
  CHECK_EQUAL(count, 6);

  area_handle(SIGCHLD, note, SA_SIGINFO);
  in_child(15, does_nothing);
  CHECK_EQUAL(seen_signal, SIGCHLD);
  CHECK_EQUAL(seen_code, CLD_EXITED);
  CHECK_EQUAL(sender, 15);
  CHECK_EQUAL(seen_status, 7);
  area_handle(SIGCHLD, SIG_DFL, 0);

  // A timer's number is where a sender's would be.
  timer_t timer;
  area_handle(SIGUSR2, note, SA_SIGINFO);
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2, .sigev_value.sival_ptr = (void *)77};
  CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
  count = 0;
  struct itimerspec soon = {.it_value.tv_nsec = 1000000};
  sigset_t blocked, none;
  sigemptyset(&none);
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR2);
  sigprocmask(SIG_BLOCK, &blocked, NULL);
  timer_settime(timer, 0, &soon, NULL);
  while (count == 0) sigsuspend(&none);
  sigprocmask(SIG_UNBLOCK, &blocked, NULL);
  CHECK_EQUAL(seen_code, SI_TIMER);
  CHECK_EQUAL(seen_value, 77);
  timer_delete(timer);
}

// Calls a stub as a program may, with a stack that looks as if a signal of the program's own were there.
static void __attribute__((noinline)) call_stub(void *stub, siginfo_t *info) {
  volatile int32_t around[512] __attribute__((aligned(16)));
  for (int i = 0; i < 512; i++) around[i] = i % 4 < 2 ? getpid() : 0;
  ((void (*)(int, siginfo_t *, void *))stub)(SIGUSR1, info, NULL);
  for (int i = 0; i < 512; i++) CHECK_EQUAL(around[i], i % 4 < 2 ? getpid() : 0);
}

static void read_back(void) {
  struct kernel_action given = {note, SA_SIGINFO | SA_NODEFER | 0x04000000, area_restorer(), 0x5a00}, found;
  CHECK_EQUAL(area_action(SIGUSR1, &given, NULL), 0);
  CHECK(area_is_stub(kernel_has(SIGUSR1).handler));
  memset(&found, 0xee, sizeof found);
  CHECK_EQUAL(area_action(SIGUSR1, NULL, &found), 0);
  CHECK(memcmp(&given, &found, sizeof given) == 0);
  // What was there, and in the same memory.
  struct kernel_action both = {plain, 0x04000000, area_restorer(), 0};
  CHECK_EQUAL(area_action(SIGUSR1, &both, &both), 0);
  CHECK(memcmp(&given, &both, sizeof given) == 0);
  CHECK_EQUAL(area_action(SIGUSR1, NULL, &found), 0);
  CHECK(found.handler == plain);
  CHECK(area_is_stub(kernel_has(SIGUSR1).handler));
  // The kernel makes calls again by itself, and nobody is told who sent it.
  both = (struct kernel_action){plain, SA_RESTART | 0x04000000, area_restorer(), 0};
  CHECK_EQUAL(area_action(SIGUSR1, &both, NULL), 0);
  CHECK(kernel_has(SIGUSR1).handler == plain);
  for (int i = 0; i < 2; i++) {
    void *other = i == 0 ? SIG_DFL : SIG_IGN;
    both = (struct kernel_action){other, 0, NULL, 0};
    CHECK_EQUAL(area_action(SIGUSR1, &both, NULL), 0);
    CHECK(kernel_has(SIGUSR1).handler == other);
    CHECK_EQUAL(area_action(SIGUSR1, NULL, &found), 0);
    CHECK(found.handler == other);
  }
  // A stub that the program has seen is what it stands for, and may be called.
  area_handle(SIGUSR1, note, SA_SIGINFO);
  void *stub = kernel_has(SIGUSR1).handler;
  given.handler = stub;
  CHECK_EQUAL(area_action(SIGUSR1, &given, NULL), 0);
  CHECK(kernel_has(SIGUSR1).handler == stub);
  CHECK_EQUAL(area_action(SIGUSR1, NULL, &found), 0);
  CHECK(found.handler == note);
  siginfo_t info = {.si_code = SI_USER};
  info.si_pid = getpid();
  call_stub(stub, &info);
  CHECK_EQUAL(sender, getpid());

  // What is wrong.
  char *pages = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(munmap(pages + 4096, 4096) == 0 && mprotect(pages + 8192, 4096, PROT_READ) == 0);
  for (int at = 4096 - 31; at < 4096 * 2; at += 31)
    CHECK_EQUAL(area_action(SIGUSR1, (void *)(pages + at), NULL), -EFAULT);
  CHECK_EQUAL(area_action(SIGUSR1, (void *)-8, NULL), -EFAULT);
  CHECK_EQUAL(area_action(SIGUSR1, (void *)8, NULL), -EFAULT);
  CHECK(kernel_has(SIGUSR1).handler == stub);
  // The action is set, though nobody hears of the former one.
  given.handler = plain;
  CHECK_EQUAL(area_action(SIGUSR1, &given, (void *)(pages + 4096 - 31)), -EFAULT);
  CHECK_EQUAL(area_action(SIGUSR1, NULL, &found), 0);
  CHECK(found.handler == plain);
  given.handler = note;
  CHECK_EQUAL(area_action(SIGUSR1, &given, (void *)(pages + 8192)), -EFAULT);
  CHECK_EQUAL(area_action(SIGUSR1, NULL, &found), 0);
  CHECK(found.handler == note);
  for (int i = 0; i < 5; i++) {
    int signal = (int[]){0, -1, 65, SIGKILL, SIGSTOP}[i];
    CHECK_EQUAL(area_action(signal, &given, NULL), -EINVAL);
    CHECK_EQUAL(area_action(signal, (void *)8, NULL), -EFAULT);
  }
  CHECK_EQUAL(area_action(SIGKILL, NULL, &found), 0);
  CHECK_EQUAL(area_call(SYS_rt_sigaction, SIGUSR1, (long)&given, (long)&found, 4, 0, 0), -EINVAL);
  CHECK_EQUAL(area_call(SYS_rt_sigaction, SIGUSR1, 8, 0, 16, 0, 0), -EINVAL);
  // Odd addresses.
  memcpy(pages + 1, &given, sizeof given);
  CHECK_EQUAL(area_action(SIGUSR2, (void *)(pages + 1), (void *)(pages + 65)), 0);
  CHECK_EQUAL(area_action(SIGUSR2, NULL, (void *)(pages + 65)), 0);
  CHECK(memcmp(pages + 65, &given, sizeof given) == 0);
  munmap(pages, 3 * 4096);
}

// What a handler finds in its registers: the order is that in which `registers_handler` stores them.
static struct {
  uint64_t rdi, rsi, rdx, rcx, r8, r9, r10, rbx, rbp, r12, r13, r14, r15, rax, rsp, flags;
} native_entry, stub_entry, *volatile entry_seen __attribute__((used));

void registers_handler(void);
__asm__(".text\nregisters_handler:\n"
        "  mov entry_seen(%rip), %r11\n"
        "  mov %rdi, (%r11)\n  mov %rsi, 8(%r11)\n  mov %rdx, 16(%r11)\n  mov %rcx, 24(%r11)\n"
        "  mov %r8, 32(%r11)\n  mov %r9, 40(%r11)\n  mov %r10, 48(%r11)\n  mov %rbx, 56(%r11)\n"
        "  mov %rbp, 64(%r11)\n  mov %r12, 72(%r11)\n  mov %r13, 80(%r11)\n  mov %r14, 88(%r11)\n"
        "  mov %r15, 96(%r11)\n  mov %rax, 104(%r11)\n  mov %rsp, 112(%r11)\n"
        "  pushfq\n  pop 120(%r11)\n"
        "  ret\n");

// Sends itself a signal with all registers marked, and the direction flag set.
static void __attribute__((noinline)) raise_marked(void) {
  __asm__ volatile(
      "push %%rbp\n sub $128, %%rsp\n"
      "mov $0x101, %%rbx\n mov $0x102, %%rbp\n mov $0x103, %%r8\n mov $0x104, %%r9\n mov $0x105, %%r10\n"
      "mov $0x106, %%r12\n mov $0x107, %%r13\n mov $0x108, %%r14\n mov $0x109, %%r15\n"
      "std\n syscall\n cld\n"
      "add $128, %%rsp\n pop %%rbp\n"
      :
      : "a"(SYS_tgkill), "D"(getpid()), "S"(thread_id()), "d"(SIGUSR1)
      : "rbx", "rcx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory");
}

static void registers(void) {
  struct kernel_action action = {registers_handler, SA_SIGINFO | 0x04000000, area_restorer(), 0};
  CHECK(syscall(SYS_rt_sigaction, SIGUSR1, &action, NULL, 8) == 0);
  entry_seen = &native_entry;
  raise_marked();
  CHECK_EQUAL(area_action(SIGUSR1, &action, NULL), 0);
  CHECK(area_is_stub(kernel_has(SIGUSR1).handler));
  entry_seen = &stub_entry;
  raise_marked();
  CHECK_EQUAL(stub_entry.rdi, SIGUSR1);
  CHECK_EQUAL(stub_entry.r15, 0x109);
  CHECK_EQUAL(stub_entry.flags & 0x400, 0);
  // Those that carry the results of comparisons are nobody's when a function begins.
  stub_entry.flags = native_entry.flags;
  CHECK(memcmp(&native_entry, &stub_entry, sizeof stub_entry) == 0);
}

static sigjmp_buf out;
static void leaves(int signal, siginfo_t *info, void *context) {
  (void)context;
  seen_signal = signal;
  sender = info->si_pid;
  siglongjmp(out, 1);
}

static volatile int depth, deepest;
static void nests(int signal, siginfo_t *info, void *context) {
  (void)context;
  CHECK_EQUAL(info->si_pid, 2);
  if (++depth > deepest) deepest = depth;
  if (depth < 20) raise(signal);
  depth--;
}

static void second(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)context;
  CHECK_EQUAL(info->si_pid, 2);
  seen_code = 2;
}
static void changes(int signal, siginfo_t *info, void *context) {
  (void)context;
  CHECK_EQUAL(info->si_pid, 2);
  seen_code = 1;
  area_handle(signal, second, SA_SIGINFO);
}

static void ways_out(void) {
  area_handle(SIGUSR1, leaves, SA_SIGINFO);
  for (int i = 0; i < 10000; i++) {
    sender = -1;
    if (sigsetjmp(out, 1) == 0) {
      raise(SIGUSR1);
      CHECK(0);
    }
    CHECK_EQUAL(sender, 2);
  }
  area_handle(SIGUSR1, nests, SA_SIGINFO | SA_NODEFER);
  raise(SIGUSR1);
  CHECK_EQUAL(deepest, 20);
  CHECK_EQUAL(depth, 0);
  area_handle(SIGUSR1, changes, SA_SIGINFO);
  raise(SIGUSR1);
  CHECK_EQUAL(seen_code, 1);
  raise(SIGUSR1);
  CHECK_EQUAL(seen_code, 2);
}

// How far down a handler's stack the stub goes below where the handler begins.
static char *lowest;
static void looks_down(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)context;
  lowest = (char *)__builtin_frame_address(0) + 8;
  sender = info->si_pid;
}

static void small_stack(void) {
  size_t least = getauxval(AT_MINSIGSTKSZ);
  if (least < (size_t)MINSIGSTKSZ) least = MINSIGSTKSZ;
  size_t size = (least + 256 + 15) / 16 * 16;
  char *pages = mmap(NULL, 16 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(mprotect(pages, 8 * 4096, PROT_NONE) == 0);
  char *stack = pages + 8 * 4096;
  CHECK(sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = size}, NULL) == 0);
  memset(stack, 0xa5, size);
  struct kernel_action action = {registers_handler, SA_SIGINFO | SA_ONSTACK | 0x04000000, area_restorer(), 0};
  CHECK_EQUAL(area_action(SIGUSR1, &action, NULL), 0);
  entry_seen = &stub_entry;
  // From nobody that has a name, which is looked for longest.
  in_child(0, kills);
  CHECK(stub_entry.rsp > (uintptr_t)stack && stub_entry.rsp < (uintptr_t)stack + size);
  char *untouched = stack;
  while (*untouched == (char)0xa5) untouched++;
  long used = (char *)stub_entry.rsp - untouched;
  printf("a stub uses %ld bytes of stack\n", used);
  CHECK(used > 0 && used <= 256);
  area_handle(SIGUSR1, looks_down, SA_SIGINFO | SA_ONSTACK);
  raise(SIGUSR1);
  CHECK_EQUAL(sender, 2);
  CHECK(lowest > stack && lowest < stack + size);
  CHECK(sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL) == 0);
  munmap(pages, 16 * 4096);
}

// More handlers than there are stubs, each of which says which one it is.
static volatile int which __attribute__((used)) = -1;
void tells_which(void);
__asm__(".text\ntells_which:\n  mov %r10d, which(%rip)\n  ret\n");

static void many_handlers(void) {
  enum { handlers = POD_PAGE_STUB_COUNT + 1, size = 32 };
  char *code = mmap(NULL, handlers * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i < handlers; i++) {
    // mov $i, %r10d; jmp *0(%rip)
    char *at = code + i * size;
    void *target = tells_which;
    memcpy(at, "\x41\xba", 2);
    memcpy(at + 2, &i, 4);
    memcpy(at + 6, "\xff\x25\0\0\0\0", 6);
    memcpy(at + 12, &target, 8);
  }
  CHECK(mprotect(code, handlers * size, PROT_READ | PROT_EXEC) == 0);
  int without = 0;
  struct kernel_action found;
  for (int round = 0; round < 2; round++) {
    int lacking = 0;
    for (int i = 0; i < handlers; i++) {
      area_handle(SIGUSR1, code + i * size, 0);
      if (!area_is_stub(kernel_has(SIGUSR1).handler)) lacking++;
      CHECK_EQUAL(area_action(SIGUSR1, NULL, &found), 0);
      CHECK(found.handler == code + i * size);
      raise(SIGUSR1);
      CHECK_EQUAL(which, i);
    }
    // The same ones, since stubs are for good.
    CHECK(round == 0 || lacking == without);
    without = lacking;
  }
  printf("%d of %d handlers have no stub\n", without, handlers);
  // Those before have theirs.
  CHECK(without >= 1 && without < 40);
  munmap(code, handlers * size);
}

static void sharing_child(void) {
  area_handle(SIGUSR1, note, SA_SIGINFO);
  area_handle(SIGUSR2, plain, 0);
  pid_t child = vfork();
  if (child == 0) {
    area_handle(SIGUSR1, SIG_DFL, 0);
    area_handle(SIGUSR2, second, SA_SIGINFO);
    kill(getpid(), SIGUSR1);
    _exit(1);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1);
  struct kernel_action found;
  CHECK_EQUAL(area_action(SIGUSR1, NULL, &found), 0);
  CHECK(found.handler == note);
  CHECK_EQUAL(area_action(SIGUSR2, NULL, &found), 0);
  CHECK(found.handler == plain);
  sender = count = 0;
  raise(SIGUSR1);
  raise(SIGUSR2);
  CHECK_EQUAL(sender, 2);
  CHECK_EQUAL(count, 2);
  // A copy of the memory has the handlers too.
  child = fork();
  if (child == 0) {
    area_name(getpid(), 3);
    sender = 0;
    raise(SIGUSR1);
    CHECK_EQUAL(sender, 3);
    CHECK_EQUAL(area_action(SIGUSR1, NULL, &found), 0);
    CHECK(found.handler == note);
    _exit(0);
  }
  reap_ok(child);
}

enum { threads = 8, changes_each = 5000 };
static volatile int wrong, arrived;
#define HANDLER(n) \
  static void handler_##n(int s, siginfo_t *i, void *c) { \
    (void)s, (void)c; \
    if (i->si_pid != 2) wrong++; \
    __atomic_fetch_add(&arrived, 1, __ATOMIC_RELAXED); \
  }
HANDLER(0) HANDLER(1) HANDLER(2) HANDLER(3) HANDLER(4) HANDLER(5) HANDLER(6) HANDLER(7)
static void (*const handlers[threads])(int, siginfo_t *, void *) = {
  handler_0, handler_1, handler_2, handler_3, handler_4, handler_5, handler_6, handler_7,
};

static void *sets(void *number) {
  struct kernel_action given = {handlers[(long)number], SA_SIGINFO | SA_RESTART | 0x04000000, area_restorer(), 0};
  struct kernel_action found;
  for (int i = 0; i < changes_each; i++) {
    CHECK_EQUAL(area_action(SIGUSR1, &given, &found), 0);
    int known = 0;
    for (int j = 0; j < threads; j++) known |= found.handler == handlers[j];
    CHECK(known);
    CHECK(syscall(SYS_tgkill, getpid(), thread_id(), SIGUSR1) == 0);
  }
  return NULL;
}

static void many_threads(void) {
  area_handle(SIGUSR1, handler_0, SA_SIGINFO | SA_RESTART);
  pthread_t made[threads];
  for (long i = 0; i < threads; i++) CHECK(pthread_create(&made[i], NULL, sets, (void *)i) == 0);
  for (int i = 0; i < threads; i++) pthread_join(made[i], NULL);
  CHECK_EQUAL(wrong, 0);
  CHECK_EQUAL(arrived, threads * changes_each);
}

// Handlers of several threads that are looked for at the same place first. None is ever called.
enum { rivals = 4, handlers_each = 100 };
static uintptr_t rival_handlers[rivals][handlers_each];
static pthread_barrier_t together;

static void *settles(void *number) {
  long own = (long)number;
  struct kernel_action given_here = {NULL, SA_SIGINFO | 0x04000000, area_restorer(), 0}, found;
  for (int i = 0; i < handlers_each; i++) {
    given_here.handler = (void *)rival_handlers[own][i];
    pthread_barrier_wait(&together);
    CHECK_EQUAL(area_action(SIGRTMIN + (int)own, &given_here, NULL), 0);
    pthread_barrier_wait(&together);
    CHECK_EQUAL(area_action(SIGRTMIN + (int)own, NULL, &found), 0);
    CHECK(found.handler == given_here.handler);
  }
  return NULL;
}

static void rival_threads(void) {
  for (int own = 0; own < rivals; own++) {
    uintptr_t handler = 0x100000000 + own * 0x10000000ul;
    for (int i = 0; i < handlers_each; handler++)
      if (handler * 0x9e3779b97f4a7c15ul >> 53 == (unsigned)i * 4) rival_handlers[own][i++] = handler;
  }
  // Each time a child of its own, which has a copy of what was settled before.
  for (int round = 0; round < 20; round++) {
    pid_t child = fork();
    if (child == 0) {
      pthread_t made[rivals];
      CHECK_EQUAL(pthread_barrier_init(&together, NULL, rivals), 0);
      for (long i = 0; i < rivals; i++) CHECK(pthread_create(&made[i], NULL, settles, (void *)i) == 0);
      for (int i = 0; i < rivals; i++) pthread_join(made[i], NULL);
      _exit(0);
    }
    reap_ok(child);
  }
}

// Reads from a pipe by an instruction of its own. `read` isn't one of the calls that never end with EINTR; that a rule says
// so makes the test independent of notifications.
#define READ_BY(name, code)                                                                     \
  static long __attribute__((noinline)) name(int file, void *to, long size) {                   \
    long result;                                                                                \
    __asm__ volatile(code : "=a"(result) : "a"(SYS_read), "D"(file), "S"(to), "d"(size) : "rcx", "r8", "r11", "memory"); \
    return result;                                                                              \
  }
READ_BY(read_moved, ".byte 0xb8\n .long 0\n syscall")
READ_BY(read_other_register, "nop\n .byte 0x41, 0xb8\n .long 39\n syscall")
READ_BY(read_prefixed, ".byte 0x40, 0xb8\n .long 0\n syscall")
READ_BY(read_then_constant, "mov $0, %%eax\n mov $1, %%edx\n syscall")
READ_BY(read_then_far_constant, "mov $0, %%eax\n mov $7, %%r8d\n syscall")
READ_BY(read_then_move, "mov $0, %%eax\n mov %%rdx, %%r8\n syscall")
READ_BY(read_then_short_move, "mov $0, %%eax\n mov %%edi, %%edi\n syscall")
READ_BY(read_then_other_number, "mov $39, %%eax\n xor %%eax, %%eax\n syscall")
READ_BY(read_then_other_long_number, "xor %%ecx, %%ecx\n mov $39, %%eax\n mov %%rcx, %%rax\n syscall")
READ_BY(read_elsewhere, "nop\n nop\n nop\n syscall")

static volatile int writes_to = -1;
static volatile long seen_rip, seen_rax;
static void interrupts(int signal, siginfo_t *info, void *context) {
  (void)info;
  seen_signal = signal;
  seen_rip = ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
  seen_rax = ((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX];
  CHECK(write(writes_to, "x", 1) == 1);
}

static long interrupted(long (*reads)(int, void *, long)) {
  int files[2];
  CHECK(pipe(files) == 0);
  writes_to = files[1];
  struct itimerval soon = {.it_value.tv_usec = 20000};
  char byte = 0;
  setitimer(ITIMER_REAL, &soon, NULL);
  long result = reads(files[0], &byte, 1);
  CHECK(result != 1 || byte == 'x');
  close(files[0]);
  close(files[1]);
  return result;
}

static long read_by_page(int file, void *to, long size) {
  return area_call(SYS_read, file, (long)to, size, 0, 0, 0);
}

// Waits for a child that ends when something is written.
static long waits(int file, void *to, long size) {
  pid_t child = fork();
  if (child == 0) _exit(read(file, to, size) != 1);
  int status = -1;
  long result;
  __asm__ volatile("mov $61, %%eax\n xor %%r10d, %%r10d\n syscall"
                   : "=a"(result)
                   : "D"(child), "S"(&status), "d"(0)
                   : "rcx", "r10", "r11", "memory");
  CHECK_EQUAL(result, child);
  CHECK_EQUAL(status, 0);
  *(char *)to = 'x';
  return 1;
}

static void cut_off(void) {
  area_handle(SIGALRM, interrupts, SA_SIGINFO);
  CHECK_EQUAL(interrupted(read_moved), -EINTR);
  CHECK_EQUAL(interrupted(read_by_page), -EINTR);
  area_unbroken(SYS_read);
  CHECK_EQUAL(interrupted(read_moved), 1);
  // As where the kernel makes a call again.
  CHECK_EQUAL(seen_rax, SYS_read);
  CHECK(memcmp((void *)seen_rip, "\x0f\x05", 2) == 0);
  CHECK_EQUAL(interrupted(read_prefixed), 1);
  CHECK_EQUAL(interrupted(read_then_constant), 1);
  CHECK_EQUAL(interrupted(read_then_far_constant), 1);
  CHECK_EQUAL(interrupted(read_then_move), 1);
  CHECK_EQUAL(interrupted(read_then_short_move), 1);
  CHECK_EQUAL(interrupted(read_by_page), 1);
  // A wait that the kernel has left like this, and that nobody has answered.
  CHECK_EQUAL(interrupted(waits), 1);
  // The number is nobody's to know.
  area_unbroken(39);
  CHECK_EQUAL(interrupted(read_then_other_number), -EINTR);
  CHECK_EQUAL(interrupted(read_then_other_long_number), -EINTR);
  CHECK_EQUAL(interrupted(read_elsewhere), -EINTR);
  CHECK_EQUAL(interrupted(read_other_register), -EINTR);
  // The instruction is the first of a page, with nothing before it.
  char *pages = mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memcpy(pages + 4096, "\x0f\x05\xc3", 3);
  CHECK(munmap(pages, 4096) == 0);
  CHECK(mprotect(pages + 4096, 4096, PROT_READ | PROT_EXEC) == 0);
  __asm__ volatile("" : : : "memory");
  // Through a register: a function with the call's number as its fourth argument, which is rcx, doesn't exist.
  int files[2];
  CHECK(pipe(files) == 0);
  writes_to = files[1];
  struct itimerval soon = {.it_value.tv_usec = 20000};
  setitimer(ITIMER_REAL, &soon, NULL);
  char byte;
  long result;
  __asm__ volatile("call *%[code]"
                   : "=a"(result)
                   : "a"(SYS_read), "D"(files[0]), "S"(&byte), "d"(1), [code] "r"(pages + 4096)
                   : "rcx", "r11", "memory");
  CHECK_EQUAL(result, -EINTR);
  // And one that only may be executed, where the processor knows such pages.
  char *execute = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memcpy(execute, "\xb8\0\0\0\0\x0f\x05\xc3", 8);
  CHECK(mprotect(execute, 4096, PROT_EXEC) == 0);
  setitimer(ITIMER_REAL, &soon, NULL);
  CHECK(read(files[0], &byte, 1) == 1);
  result = ((long (*)(int, void *, long))execute)(files[0], &byte, 1);
  CHECK(result == 1 || result == -EINTR);
}

int main(void) {
  area_make();
  senders();
  read_back();
  registers();
  ways_out();
  small_stack();
  sharing_child();
  many_threads();
  rival_threads();
  cut_off();
  many_handlers();
  return 0;
}
