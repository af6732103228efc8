// The entry points (pod_page.h), in assembly.
#ifndef POD_PAGE_ENTRIES_H
#define POD_PAGE_ENTRIES_H
#ifndef POD_PAGE_MODEL

#define STRING_(x) #x
#define STRING(x) STRING_(x)

// What pod_page.h has in words of C.
#define POD_PAGE_MAGIC_VALUE 0x706f642d70616765
#define POD_HYPERCALL_BORN_VALUE 18
_Static_assert(POD_PAGE_MAGIC == POD_PAGE_MAGIC_VALUE, "");
_Static_assert(POD_HYPERCALL_BORN == POD_HYPERCALL_BORN_VALUE, "");

// The program's registers from a struct pod_page_birth, but rsi, which is where the caller says.
#define PAGE_BIRTH_LOAD(second)                                                          \
  "  push 120(%rsp)\n  popfq\n"                                                          \
  "  mov 64(%rsp), %eax\n  mov 72(%rsp), %rdi\n  mov " second "(%rsp), %rsi\n"           \
  "  mov 88(%rsp), %rdx\n  mov 96(%rsp), %r10\n  mov 104(%rsp), %r8\n"                   \
  "  mov 112(%rsp), %r9\n  mov 56(%rsp), %rbp\n"

// POD_PAGE_ENTER keeps what a system call keeps: all registers but rax, rcx and r11, the flags, and the red zone, which is
// between the return address and the program's stack. `ret $128` steps over it.
__asm__(".section .entries, \"ax\"\n"
        ".globl page_entries\n.hidden page_entries\npage_entries:\n"
        ".org " STRING(POD_PAGE_ENTER) "\n  jmp page_enter\n"
        ".org " STRING(POD_PAGE_SETUP) "\n  jmp page_setup\n"
        ".org " STRING(POD_PAGE_SIGNAL) "\n  jmp page_signal\n"
        ".org 0x80\n"
        "page_enter:\n"
        "  pushfq\n  push %r9\n  push %r8\n  push %r10\n  push %rdx\n  push %rsi\n  push %rdi\n  push %rax\n"
        "  cld\n"
        "  lea -56(%rax), %ecx\n  cmp $2, %ecx\n  jbe page_birth\n" // clone, fork, vfork
        "  mov %rsp, %rdi\n"
        "  push %rbp\n  mov %rsp, %rbp\n  and $-16, %rsp\n"
        "  call pod_page_call\n"
        "  mov %rbp, %rsp\n  pop %rbp\n"
        "  add $8, %rsp\n"
        "  pop %rdi\n  pop %rsi\n  pop %rdx\n  pop %r10\n  pop %r8\n  pop %r9\n  popfq\n"
        "  ret $128\n"
        // Births (births.h). rsp is the struct pod_page_birth; but for rbp, what C keeps is the program's throughout. A newborn
        // gets all its registers from the kernel, so they are the program's when it is made; r11 has its flags then.
        "page_birth:\n"
        "  push %rbp\n  sub $56, %rsp\n"
        "  mov %rsp, %rbp\n  mov %rsp, %rdi\n  and $-16, %rsp\n"
        "  call page_birth_begin\n"
        "  mov %rbp, %rsp\n"
        "  test %rax, %rax\n  js page_birth_leave\n  jz page_birth_plain\n"
        "  cmp $1, %rax\n  je page_birth_shared\n"
        "  mov 64(%rsp), %rax\n  jmp page_birth_leave\n"
        "page_birth_plain:\n"
        PAGE_BIRTH_LOAD("32")
        "  syscall\n"
        "  test %rax, %rax\n  jz page_newborn\n"
        "  mov %rsp, %rbp\n  mov %rsp, %rdi\n  mov %rax, %rsi\n  and $-16, %rsp\n"
        "  call page_birth_end\n"
        "  mov %rbp, %rsp\n"
        "page_birth_leave:\n"
        "  add $56, %rsp\n  pop %rbp\n  add $8, %rsp\n"
        "  pop %rdi\n  pop %rsi\n  pop %rdx\n  pop %r10\n  pop %r8\n  pop %r9\n  popfq\n"
        "  ret $128\n"
        "page_birth_shared:\n"
        PAGE_BIRTH_LOAD("80")
        "  syscall\n"
        "  test %rax, %rax\n  jz page_newborn\n"
        "  mov %rbp, 56(%rsp)\n  mov %rdi, 72(%rsp)\n  mov %rsi, 80(%rsp)\n  mov %rdx, 88(%rsp)\n"
        "  mov %r10, 96(%rsp)\n  mov %r8, 104(%rsp)\n  mov %r9, 112(%rsp)\n  mov %r11, 120(%rsp)\n"
        "  mov %rsp, %rbp\n  mov %rsp, %rdi\n  mov %rax, %rsi\n  and $-16, %rsp\n"
        "  call page_birth_woken\n"
        "  mov %rbp, %rsp\n"
        "  jmp page_birth_leave\n"
        // rsp is its struct pod_page_newborn, and nothing else of its stack is used.
        "page_newborn:\n"
        "  mov %rdi, 32(%rsp)\n  mov %rdx, 40(%rsp)\n  mov %r11, 48(%rsp)\n"
        "page_newborn_tells:\n"
        "  movabs $" STRING(POD_PAGE_MAGIC_VALUE) ", %rdi\n  mov $" STRING(POD_HYPERCALL_BORN_VALUE) ", %esi\n"
        "  mov (%rsp), %rdx\n  mov $39, %eax\n"
        "  syscall\n"
        "  cmp $-4, %rax\n  je page_newborn_tells\n"
        "  mov 32(%rsp), %rdi\n  mov 40(%rsp), %rdx\n  mov 16(%rsp), %rsi\n"
        "  push 48(%rsp)\n  popfq\n"
        "  mov 8(%rsp), %rcx\n  mov 24(%rsp), %rsp\n  mov $0, %eax\n"
        "  jmp *%rcx\n"
        // Until there is an injection: nobody comes here.
        "page_setup:\n  ud2\n"
        // Until handlers have stubs: nobody comes here.
        "page_signal:\n  ud2\n"
        ".text\n");

#endif
#endif
