// Signals. The kernel calls handlers of the program's by stubs in the area, one per handler and for good: a process that
// shares memory with its maker has handlers of its own, so there is nothing per signal here.
//
// On the way a handler's `si_pid` becomes a name of the pod, and a call that the signal has cut off before anybody had
// heard of it is made again.
#ifndef POD_PAGE_SIGNALS_H
#define POD_PAGE_SIGNALS_H

#include "births.h"

// Source: arch/x86/include/uapi/asm/signal.h, struct sigaction.
struct page_action {
  word handler;
  word flags;
  word restorer;
  word mask;
} __attribute__((packed, may_alias));

enum { page_siginfo = 0x4, page_restart = 0x10000000 };

// What lies above the return address when a handler is entered.
// Source: arch/x86/include/asm/sigframe.h, struct rt_sigframe; uapi/asm/sigcontext.h, struct sigcontext_64;
// uapi/asm-generic/siginfo.h.
struct page_signal_frame {
  word restorer;
  word context_flags, context_link, context_stack[3];
  word r8_to_r15[8], rdi, rsi, rbp, rbx, rdx;
  word rax, rcx, rsp;
  word rip;
  word rest[16];
  struct {
    int32_t signal, error, code, padding;
    int32_t process;
    int32_t data[27];
  } info;
};
_Static_assert(__builtin_offsetof(struct page_signal_frame, rax) == 8 + 144, "rax");
_Static_assert(__builtin_offsetof(struct page_signal_frame, rip) == 8 + 168, "rip");
_Static_assert(__builtin_offsetof(struct page_signal_frame, info) == 8 + 304, "info");

// ---- stubs

static word page_stubs(void) { return (word)(page_base() + POD_AREA_STUBS); }

static int page_is_stub(word address) {
  return address - page_stubs() < POD_PAGE_STUB_COUNT * POD_PAGE_STUB_SIZE && address % POD_PAGE_STUB_SIZE == 0;
}

// The handler behind an address that the kernel has; one that is no stub's is its own.
static word page_handler(word address) {
  if (!page_is_stub(address)) return address;
  return __atomic_load_n(&page_handlers()[(address - page_stubs()) / POD_PAGE_STUB_SIZE], __ATOMIC_ACQUIRE);
}

// The stub of a handler, which gets one if it has none; the handler itself when there are no more.
static word page_stub(word handler) {
  uint64_t *handlers = page_handlers();
  uint32_t first = (uint32_t)(handler * 0x9e3779b97f4a7c15ul >> 53);
  for (uint32_t looks = 0; looks < POD_PAGE_STUB_COUNT; looks++) {
    uint32_t number = (first + looks) % POD_PAGE_STUB_COUNT;
    uint64_t found = __atomic_load_n(&handlers[number], __ATOMIC_ACQUIRE);
    if (found == 0 && __atomic_compare_exchange_n(&handlers[number], &found, handler, 0, __ATOMIC_ACQ_REL,
                                                  __ATOMIC_ACQUIRE))
      found = handler;
    if (found == handler) return page_stubs() + number * POD_PAGE_STUB_SIZE;
  }
  return handler;
}

// Whether a handler needs a stub: it is told who sent the signal, or calls that it cuts off aren't made again by the kernel.
// SIG_DFL and SIG_IGN are 0 and 1.
static int page_needs_stub(const struct page_action *action) {
  return action->handler > 1 && !page_is_stub(action->handler) &&
         ((action->flags & page_siginfo) || !(action->flags & page_restart));
}

// rt_sigaction(2). Reads a null, wrong or unmapped `act` as the kernel does: the kernel itself is asked, with a signal that
// there isn't, which it looks at after it has copied the structure.
static __attribute__((noinline)) long page_sigaction(const struct pod_page_frame *frame) {
  word arguments[6] = {0, frame->arguments[1], 0, frame->arguments[3]};
  struct page_action action;
  if (arguments[1] != 0) {
    long answer = page_raw(call_rt_sigaction, arguments);
    if (answer != -page_invalid) return answer;
    if (arguments[3] == sizeof action.mask) {
      action = *(const volatile struct page_action *)arguments[1];
      if (page_needs_stub(&action)) action.handler = page_stub(action.handler);
      arguments[1] = (word)&action;
    }
  }
  arguments[0] = frame->arguments[0];
  arguments[2] = frame->arguments[2];
  long result = page_raw(call_rt_sigaction, arguments);
  // The kernel has just written there.
  struct page_action *former = (struct page_action *)arguments[2];
  if (result == 0 && former != 0 && page_is_stub(former->handler)) former->handler = page_handler(former->handler);
  return result;
}

// ---- delivery

// The kernel's numbers are below; a number that a sender made up has this bit, and is what it said without it.
// Source: include/linux/threads.h, PID_MAX_LIMIT; PodCore/Resources/Signals.swift.
enum { page_first_impossible = 1 << 22, page_made_up = 1 << 30 };

// Whether the kernel says who sent a signal, or which child it is about. As `SignalInfo.carriesProcess` in PodCore.
static int page_has_sender(int signal, int code) {
  if (code == 0 || code == -1 || code == -3 || code == -6) return 1;
  return signal == 17 && code >= 1 && code <= 6;
}

// As `SignalInfo.virtualSender` in PodCore: 0 for who is outside. A child that was waited for is no longer in the table when
// the signal comes that tells of its end.
static __attribute__((noinline)) int32_t page_virtual_sender(int32_t physical) {
  if (physical <= 0) return physical;
  if (physical >= page_first_impossible) {
    int32_t number = physical & ~page_made_up;
    return number < page_first_impossible ? number : physical;
  }
  int32_t name = pod_table_virtual_of(page_table(), physical);
  if (name != 0) return name;
  long late = page_hypercall(POD_HYPERCALL_NAME, (word)physical, 0, 0, 0);
  return late > 0 ? (int32_t)late : 0;
}

// Whether eight bytes can be read: the kernel is told to change the mask in a way that there isn't, which it looks at
// after it has copied the mask.
static int page_can_read(word address) {
  word arguments[6] = {-1ul, address, 0, 8};
  return page_raw(call_rt_sigprocmask, arguments) == -page_invalid;
}

// Calls that do end with EINTR, but never where the program made them: they are notifications, and wait elsewhere. There
// the kernel leaves the address behind a call in rcx, which the supervisor changes where it answers EINTR itself.
static int page_waits_elsewhere(word number) {
  return number == page_nr_wait4 || number == page_nr_waitid || number == call_rt_sigtimedwait;
}

// The number of the call that ends at an address and whose site is patched: its trampoline makes the move that a jump, so many
// bytes before that address, has replaced, and has the address too (PodSeccomp/CallSite.swift). POD_PAGE_CALLS for any other jump.
static __attribute__((noinline)) word page_number_of_patched(word end, long before) {
  const volatile uint8_t *jump = (const volatile uint8_t *)(end - (word)before);
  word target = (word)jump + 5 + (word)(long)*(const volatile page_word_anywhere *)(jump + 1);
  word instructions = (word)before - 2; // those before `syscall`
  const volatile uint8_t *code = (const volatile uint8_t *)target;
  if (!page_can_read(target) || !page_can_read(target + 8) || code[0] != 0xb8) return POD_PAGE_CALLS;
  const volatile uint8_t *lea = code + instructions;
  if (lea[0] != 0x48 || lea[1] != 0x8d || lea[2] != 0x0d) return POD_PAGE_CALLS;
  if ((word)lea + 7 + (word)(long)*(const volatile page_word_anywhere *)(lea + 3) != end) return POD_PAGE_CALLS;
  return (uint32_t)*(const volatile page_word_anywhere *)(code + 1);
}

// The number of the call whose instruction is before an address, where it is moved to eax right before that instruction, or
// with one move to another register in between; else POD_PAGE_CALLS. 83 of 100 calls in glibc are made so.
static word page_number_before(word end) {
  const volatile uint8_t *code = (const volatile uint8_t *)end;
  // The code may be unreadable, and what is before it may be nothing.
  if (!page_can_read(end - 7) || code[-2] != 0x0f || code[-1] != 0x05) return POD_PAGE_CALLS;
  int has_more = page_can_read(end - 15);
  int at = -7;
  if (code[at] == 0xe9) {
    word number = page_number_of_patched(end, -at);
    if (number < POD_PAGE_CALLS) return number;
  }
  if (code[at] != 0xb8 || (has_more && (code[-8] & 0xf1) == 0x41)) {
    if (!has_more) return POD_PAGE_CALLS;
    int is_between_registers = (code[-3] & 0xc0) == 0xc0 && (code[-4] == 0x89 || code[-4] == 0x31);
    if ((code[-7] & 0xf8) == 0xb8)
      at = (code[-8] & 0xf1) == 0x41 ? -13 : -12; // mov $…, %edi or %r8d
    else if (is_between_registers && (code[-5] & 0xf0) == 0x40 && ((code[-3] & 7) != 0 || code[-5] & 1))
      at = -10; // mov %rsi, %rdi
    else if (is_between_registers && (code[-3] & 7) != 0)
      at = -9; // mov %esi, %edi; xor %edi, %edi
    if (code[at] == 0xe9) return page_number_of_patched(end, -at);
    if (code[at] != 0xb8 || (code[at - 1] & 0xf1) == 0x41) return POD_PAGE_CALLS;
  }
  return code[at + 1] | code[at + 2] << 8 | code[at + 3] << 16 | (word)code[at + 4] << 24;
}

// Lets a call be made again that has ended with EINTR because nobody had taken its notification, and that never ends so
// natively, or not there: as the kernel does it where a handler asks for that.
static void page_repeat(struct page_signal_frame *frame) {
  if (frame->rax != -(word)page_interrupted) return;
  // The page makes its own calls again by itself.
  if (frame->rip - (word)page_base() < POD_AREA_CODE_SIZE) return;
  word number = page_number_before(frame->rip);
  if (!page_is_unbroken(number) && !(page_waits_elsewhere(number) && frame->rcx == frame->rip)) return;
  frame->rax = number;
  frame->rip -= 2;
}

// A stub was entered. Tells which handler to go to.
//
// Somebody else than the kernel may call a stub: the program can have seen its address before `page_sigaction` had put
// the handler's in its place.
__attribute__((used)) word pod_page_signal(uint32_t stub, struct page_signal_frame *frame, const void *context, int signal) {
  if (context == &frame->context_flags) {
    if (page_has_sender(signal, frame->info.code)) frame->info.process = page_virtual_sender(frame->info.process);
    page_repeat(frame);
  }
  return page_handler(page_stubs() + stub % POD_PAGE_STUB_COUNT * POD_PAGE_STUB_SIZE);
}

#ifndef POD_PAGE_MODEL
// POD_PAGE_SIGNAL. The handler finds its arguments, all other registers and the stack as the kernel left them, but for r11.
__asm__("page_signal:\n"
        "  push %rdi\n  push %rsi\n  push %rdx\n  push %rcx\n  push %r8\n  push %r9\n  push %r10\n"
        "  mov %edi, %ecx\n  mov %eax, %edi\n  lea 56(%rsp), %rsi\n"
        "  call pod_page_signal\n"
        "  mov %rax, %r11\n"
        "  pop %r10\n  pop %r9\n  pop %r8\n  pop %rcx\n  pop %rdx\n  pop %rsi\n  pop %rdi\n"
        "  xor %eax, %eax\n"
        "  jmp *%r11\n");
#endif

#endif
