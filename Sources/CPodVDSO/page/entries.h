// The entry points (pod_page.h), in assembly.
#ifndef POD_PAGE_ENTRIES_H
#define POD_PAGE_ENTRIES_H
#ifndef POD_PAGE_MODEL

// What pod_page.h has in words of C.
#define POD_PAGE_MAGIC_VALUE 0x706f642d70616765
#define POD_HYPERCALL_ARRIVED_VALUE 23
_Static_assert(POD_PAGE_MAGIC == POD_PAGE_MAGIC_VALUE, "");
_Static_assert(POD_HYPERCALL_ARRIVED == POD_HYPERCALL_ARRIVED_VALUE, "");

#define STRING_(x) #x
#define STRING(x) STRING_(x)

// What a call came with, as struct pod_page_frame.
#define PAGE_PUSH                                                                                                       \
  "  pushfq\n  push %r9\n  push %r8\n  push %r10\n  push %rdx\n  push %rsi\n  push %rdi\n  push %rax\n"              \
  "  cld\n"                                                                                                             \
  "  lea -56(%rax), %ecx\n  cmp $2, %ecx\n  jbe page_birth\n" /* clone, fork, vfork */                                   \
  "  mov %rsp, %rdi\n"                                                                                                   \
  "  push %rbp\n  mov %rsp, %rbp\n  and $-16, %rsp\n"

// POD_PAGE_ENTER keeps what a system call keeps: all registers but rax, rcx and r11, the flags, and the red zone, which is
// between the return address and the program's stack. It leaves by a jump, not by a `ret` that no call belongs to: the processor
// would foresee none of the program's next returns (getpid takes 9 ns so, 23 with `ret`), and a shadow stack would refuse it.
__asm__(".section .entries, \"ax\"\n"
        ".globl page_entries\n.hidden page_entries\npage_entries:\n"
        ".org " STRING(POD_PAGE_ENTER) "\n  jmp page_enter\n"
        ".org " STRING(POD_PAGE_SETUP) "\n  jmp page_setup\n"
        ".org " STRING(POD_PAGE_SIGNAL) "\n  jmp page_signal\n"
        ".org " STRING(POD_PAGE_SITE) "\n  jmp page_site\n"
        ".org " STRING(POD_PAGE_SITE_BACK) "\n  lea -2(%rcx), %rcx\n  jmp *%rcx\n"
        ".org " STRING(POD_PAGE_ARRIVE) "\n  jmp page_arrive\n"
        ".org 0x80\n"
        "page_site:\n"
        "  mov %eax, %eax\n  lea -128(%rsp), %rsp\n  push %rcx\n" // the kernel looks at no more of the number
        PAGE_PUSH
        "  call pod_page_site\n"
        "  jmp page_returned\n"
        "page_enter:\n"
        PAGE_PUSH
        "  call pod_page_call\n"
        "page_returned:\n"
        "  mov %rbp, %rsp\n  pop %rbp\n"
        "page_leave:\n"
        "  add $8, %rsp\n"
        "  pop %rdi\n  pop %rsi\n  pop %rdx\n  pop %r10\n  pop %r8\n  pop %r9\n  popfq\n"
        // Not by rcx: it tells a call that nobody had heard of (signals.h, page_repeat).
        "  mov $0, %ecx\n  pop %r11\n  lea 128(%rsp), %rsp\n  jmp *%r11\n"
        // No handler comes between: who has one gets no bootstrap.
        "page_arrive:\n"
        "  pushfq\n  push %rax\n  push %rdi\n  push %rsi\n"
        "page_arrive_tells:\n"
        "  movabs $" STRING(POD_PAGE_MAGIC_VALUE) ", %rdi\n  mov $" STRING(POD_HYPERCALL_ARRIVED_VALUE) ", %esi\n"
        "  mov $39, %eax\n"
        "  syscall\n"
        "  test %rax, %rax\n  js page_arrive_tells\n" // the text isn't what it was yet
        "  pop %rsi\n  pop %rdi\n  pop %rax\n  popfq\n"
        "  jmp page_enter\n"
        ".text\n");

#endif
#endif
