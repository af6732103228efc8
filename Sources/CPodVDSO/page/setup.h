// POD_PAGE_SETUP: the private part of the area, for a process that has just mapped the shared one.
#ifndef POD_PAGE_SETUP_H
#define POD_PAGE_SETUP_H
#ifndef POD_PAGE_MODEL

// It comes from the bootstrap (PodSeccomp/Bootstrap.swift) and goes back to it, to r8, with 0 or a negative errno in r9. It
// uses the registers of a call's arguments, rax, rcx and r11 alone, no stack, since the program may have none, and no
// instruction that changes flags: hence `jrcxz`.
//
// The cache has to be zero after a fork: where that can't be had there is no area. Trampolines are wanted where the four bytes
// before r8 say, or where the kernel puts what nobody wants anywhere, which is near the libraries; without them no site is
// patched.
//
// Source: mmap(2), MAP_FIXED_NOREPLACE (0x100000); madvise(2), MADV_WIPEONFORK (18).
__asm__(".section .entries, \"ax\"\n"
        "page_setup:\n"
        "  lea page_entries+" STRING(POD_AREA_HANDLERS) "(%rip), %rdi\n"
        "  mov $" STRING(POD_AREA_PRIVATE_SIZE) ", %esi\n"
        "  mov $3, %edx\n"         // PROT_READ | PROT_WRITE
        "  mov $0x100022, %r10d\n" // MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE
        "  mov $0, %r9d\n"
        "  mov $9, %eax\n" // mmap; the descriptor, r8, doesn't matter
        "  syscall\n"
        "  mov %rdi, %rcx\n  not %rcx\n  lea 1(%rax,%rcx), %rcx\n"
        "  jrcxz 1f\n"
        "  mov %rax, %r9\n"
        "  jmp *%r8\n"
        "1: lea page_entries+" STRING(POD_AREA_CACHE) "(%rip), %rdi\n"
        "  mov $0x1000, %esi\n"
        "  mov $18, %edx\n"
        "  mov $28, %eax\n" // madvise
        "  syscall\n"
        "  mov %rax, %r9\n"
        "  mov %rax, %rcx\n"
        "  jrcxz 2f\n"
        "  lea page_entries+" STRING(POD_AREA_HANDLERS) "(%rip), %rdi\n"
        "  mov $" STRING(POD_AREA_PRIVATE_SIZE) ", %esi\n"
        "  mov $11, %eax\n" // munmap
        "  syscall\n"
        "  jmp *%r8\n"
        "2: mov -4(%r8), %edi\n"
        "  mov $" STRING(POD_TRAMPOLINES_SIZE) ", %esi\n"
        "  mov $5, %edx\n"     // PROT_READ | PROT_EXEC
        "  mov $0x22, %r10d\n" // MAP_PRIVATE | MAP_ANONYMOUS
        "  mov $9, %eax\n"
        "  syscall\n"
        "  mov %rax, page_entries+" STRING(POD_AREA_TRAMPOLINES) "(%rip)\n"
        "  jmp *%r8\n"
        ".text\n");

#endif
#endif
