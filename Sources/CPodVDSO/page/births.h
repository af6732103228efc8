// fork, vfork, clone, wait4 and waitid: the same steps as `Fork` and `WaitForChild` of PodCore, of which the page does the
// kernel's part, and the supervisor, which keeps the tables, is told before and after.
//
// A newborn gets its name when somebody first needs it. Its maker does, which is told of: MADE, unless the table has it by
// then. Before that, or should the maker be killed, it is whoever comes first: the newborn by its first call that is a
// notification, who waits for it, who signals its group. A thread's name is its number: nobody needs to be told of it.
//
// Where that can't be (words in memory that are to hold the name, few names left) a birth is announced, by three hypercalls:
// BIRTH_BEGIN (the newborn's name is there, and a ticket stands for the birth), BORN by the newborn before it returns to the
// program, and BIRTH_END by its maker. Whichever of the last two comes first gives the newborn its name.
//
// All of it may happen again, in a signal's handler, between any two instructions.
#ifndef POD_PAGE_BIRTHS_H
#define POD_PAGE_BIRTHS_H

#include "calls.h"
#include "identity.h"

// What a newborn has to find on the stack that it begins on; all else is in its registers.
struct pod_page_newborn {
  word ticket; // 0: it has nothing to say
  word return_address;
  word second_argument; // the program's, which isn't always what the kernel got
  word stack; // the program's
  word kept[3]; // its own use
};
_Static_assert(sizeof(struct pod_page_newborn) == POD_PAGE_NEWBORN_SIZE, "page_birth and pod_page.h say so");

// What the page keeps of such a call, as page_birth pushes it.
struct pod_page_birth {
  // `kept[0]` is what the kernel gets for the newborn's stack, `kept[1]` the table's count of births before, for who returns to this.
  struct pod_page_newborn newborn;
  word frame_pointer; // rbp
  struct pod_page_frame call;
};
_Static_assert(sizeof(struct pod_page_birth) == POD_PAGE_BIRTH_SIZE, "page_birth and pod_page.h say so");

// Source: linux/sched.h.
enum { page_clone_vm = 0x100, page_clone_vfork = 0x4000, page_clone_thread = 0x10000, page_clone_undo = 0x40000,
       page_clone_set_tls = 0x80000,
       page_clone_sets_makers_word = 0x100000, page_clone_sets_own_word = 0x1000000, page_clone_set_words = 0x1100000 };
// Source: asm/unistd_64.h, asm/prctl.h.
enum { page_nr_clone = 56, page_nr_fork = 57, page_nr_vfork = 58, page_nr_wait4 = 61,
       page_nr_arch_prctl = 158, page_nr_waitid = 247, page_arch_get_fs = 0x1003 };
// Source: linux/wait.h, __WALL.
enum { page_wait_all_kinds = 0x40000000 };

// Tells or asks the supervisor. One that a signal cut off before the supervisor had it is made again.
static inline long page_hypercall(enum pod_page_hypercall what, word a, word b, word c, word d) {
  const word arguments[6] = {POD_PAGE_MAGIC, what, a, b, c, d};
  long result;
  do
    result = page_raw(call_getpid, arguments);
  while (result == -page_interrupted);
  return result;
}

// The call is made by the program's own instruction, as a notification.
static long page_elsewhere(struct pod_page_frame *frame) {
  frame->return_address -= 2;
  return (long)frame->number;
}

static inline word page_birth_flags(const struct pod_page_frame *call) {
  if (call->number == page_nr_clone) return call->arguments[0];
  return call->number == page_nr_vfork ? page_clone_vm | page_clone_vfork : 0;
}

// Whether a process of its own is going to share this memory, the cache included.
static inline int page_birth_shares(word flags) {
  return (flags & (page_clone_vm | page_clone_thread)) == page_clone_vm;
}

static void page_birth_count_sharers(uint32_t difference) {
  __atomic_fetch_add(&page_cache()->sharers, difference, __ATOMIC_SEQ_CST);
}

static word page_thread_pointer(void) {
  word pointer = 0;
#ifndef POD_PAGE_MODEL
  // The program may have a filter that kills for a call that it doesn't know.
  if (*(volatile uint64_t *)(page_base() + POD_AREA_MACHINE) & POD_MACHINE_READS_FS) {
    __asm__("rdfsbase %0" : "=r"(pointer));
    return pointer;
  }
#endif
  const word arguments[6] = {page_arch_get_fs, (word)&pointer};
  page_raw(page_nr_arch_prctl, arguments);
  return pointer;
}

// How the kernel's part is to be done; negative: it isn't done, and this is the result.
enum page_birth_manner {
  page_birth_plain = 0,
  page_birth_on_one_stack = 1, // the newborn is on its maker's stack, and the maker sleeps meanwhile
  page_birth_elsewhere = 2, // the program's own instruction makes the call, as a notification
};

// ---- births that nobody announces

// Whether a birth needn't be announced: its newborn can get its name later, and there will be one.
static int page_birth_is_late(word flags, const word words[3]) {
  const struct pod_table *table = page_table();
  if (!page_names_late()) return 0;
  // The supervisor has to know whose child it is, and whose thread is no other name's.
  if (page_self().name == 0) return 0;
  // A process that shares what is to be undone to semaphores (CLONE_SYSVSEM) can end before anybody names it.
  if ((flags & (page_clone_undo | page_clone_thread)) == page_clone_undo) return 0;
  // What a thread's words hold is its name, mostly; what a process's hold would have to be replaced.
  if ((flags & page_clone_sets_makers_word) && !pod_page_word_stays(words[0], words[2])) return 0;
  if ((flags & page_clone_sets_own_word) && !pod_page_word_stays(words[1], words[2])) return 0;
  uint32_t count = __atomic_load_n(&table->count, __ATOMIC_RELAXED);
  return count + POD_PAGE_BIRTH_ROOM_IN_TABLE <= table->capacity;
}

static inline uint32_t page_births(void) { return __atomic_load_n(&page_table()->births, __ATOMIC_ACQUIRE); }

// A newborn's name that the table has; 0 when it hasn't. Who has its number there may be gone, and not yet known to be.
static int32_t page_name_of_newborn(word flags, int32_t physical, uint32_t births) {
  struct page_process self = page_self();
  struct pod_entry_view view = page_find_physical(physical);
  if (view.slot == 0 || self.name == 0) return 0;
  if (flags & page_clone_thread)
    return view.flags & POD_ENTRY_THREAD && view.links[page_link_process] == self.name ? view.virtual_name : 0;
  if (view.flags & POD_ENTRY_THREAD || view.links[page_link_parent] != self.name) return 0;
  int is_newer = (int32_t)((uint32_t)view.links[page_link_order] - births) > 0;
  return is_newer || !page_step(POD_PAGE_CHECK, physical) ? view.virtual_name : 0;
}

// What the program sees of a birth that nobody announced. `call`: flags | number << 32.
static __attribute__((noinline)) long page_birth_made(word call, long result, uint32_t births) {
  if (result < 0) return result;
  word flags = (uint32_t)call;
  page_step(POD_PAGE_LOOK_UP, (int32_t)result);
  // Nobody else can get this name from now on: who gives out a name looks for threads that have its number (ProcessTable).
  if (flags & page_clone_thread && pod_table_find_virtual(page_table(), (int32_t)result).slot == 0) return result;
  int32_t name = page_name_of_newborn(flags, (int32_t)result, births);
  if (name > 0) return name;
  long answer = page_hypercall(POD_HYPERCALL_MADE, call, (word)result, births, 0);
  // There was no name for it, and it was killed: nobody is to see it.
  const word reap[6] = {(word)result, 0, page_wait_all_kinds};
  if (answer == -page_no_room && !(flags & page_clone_thread)) page_raw(page_nr_wait4, reap);
  return answer;
}

// ---- makers that sleep while their newborn is on their stack, and writes over what they have there

static struct pod_page_sleeper *page_sleeper(word owner, word stack) {
  struct pod_page_sleeper *sleeper = page_cache()->sleepers;
  for (int i = 0; i < POD_PAGE_SLEEPERS; i++, sleeper++)
    if (__atomic_load_n(&sleeper->owner, __ATOMIC_RELAXED) == owner && (owner == 0 || sleeper->stack == stack)) return sleeper;
  return 0;
}

// Keeps what a maker is going to need. Returns whether there was room.
static int page_sleep(const struct pod_page_birth *birth, word call, uint32_t births) {
  word owner = (word)page_ask(call_gettid);
  // One that is still there was left by a long jump of a signal's handler, or is that of a number's former owner.
  struct pod_page_sleeper *sleeper = page_sleeper(owner, (word)birth);
  while (sleeper == 0) {
    uint64_t nobody = 0;
    sleeper = page_sleeper(0, 0);
    if (sleeper == 0) return 0;
    if (!__atomic_compare_exchange_n(&sleeper->owner, &nobody, owner, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) sleeper = 0;
  }
  sleeper->return_address = birth->call.return_address;
  sleeper->call = call;
  sleeper->births = births;
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  *(volatile uint64_t *)&sleeper->stack = (word)birth;
  return 1;
}

// The maker, with what the kernel answered. Returns what the program sees.
__attribute__((noinline)) long page_birth_end(struct pod_page_birth *birth, long result) {
  word flags = page_birth_flags(&birth->call);
  // Who slept until the newborn was done with the memory shares it no longer.
  if (page_birth_shares(flags) && (result < 0 || (flags & page_clone_vfork))) page_birth_count_sharers(-1u);
  if (birth->newborn.ticket == 0)
    return page_birth_made((uint32_t)flags | birth->call.number << 32, result, (uint32_t)birth->newborn.kept[1]);
  long name = page_hypercall(POD_HYPERCALL_BIRTH_END, birth->newborn.ticket, (word)result, 0, 0);
  return result < 0 ? result : name;
}

__attribute__((noinline)) long page_birth_begin(struct pod_page_birth *birth) {
  struct pod_page_frame *call = &birth->call;
  word flags = page_birth_flags(call);
  word own = call->number == page_nr_clone ? call->arguments[1] : 0;
  enum pod_page_birth_kind kind = pod_page_birth_kind(flags, own, (word)birth + sizeof *birth + 128);
  if (kind == POD_PAGE_BIRTH_ELSEWHERE) {
    page_elsewhere(call);
    return page_birth_elsewhere;
  }
  word words[3] = {0};
  if (call->number == page_nr_clone) {
    words[0] = call->arguments[2];
    words[1] = call->arguments[3];
    words[2] = call->arguments[4];
    if ((flags & page_clone_set_words) && !(flags & page_clone_set_tls)) words[2] = page_thread_pointer();
  }
  word said = (uint32_t)flags | call->number << 32;
  uint32_t births = page_births();
  int is_late = page_birth_is_late(flags, words);
  if (is_late && kind == POD_PAGE_BIRTH_SHARED) is_late = page_sleep(birth, said, births);
  long ticket = 0;
  if (!is_late) ticket = page_hypercall(POD_HYPERCALL_BIRTH_BEGIN, said, words[0], words[1], words[2]);
  if (ticket < 0) return ticket;
  word program = (word)birth + sizeof *birth + 128;
  birth->newborn.ticket = (word)ticket;
  birth->newborn.return_address = call->return_address;
  birth->newborn.second_argument = call->arguments[1];
  birth->newborn.stack = own != 0 ? own : program;
  birth->newborn.kept[0] = 0;
  birth->newborn.kept[1] = births;
  if (page_birth_shares(flags)) page_birth_count_sharers(1);
  if (kind == POD_PAGE_BIRTH_ON_STACK) {
    // The kernel begins it below what it finds there: a signal's handler that comes first must not be put over that.
    birth->newborn.kept[0] = pod_page_birth_place(own);
    *(volatile struct pod_page_newborn *)birth->newborn.kept[0] = birth->newborn;
  }
  if (kind != POD_PAGE_BIRTH_SHARED) return page_birth_plain;
  if (is_late) return page_birth_on_one_stack;
  // The newborn returns to the program on this stack and writes over all this, so the supervisor keeps what its maker is
  // going to need.
  long kept = page_hypercall(POD_HYPERCALL_BIRTH_SLEEPS, (word)ticket, (word)birth, call->return_address, 0);
  return kept < 0 ? page_birth_end(birth, kept) : page_birth_on_one_stack;
}

// As page_birth_end, of a maker that slept while its newborn was on its stack. The return address is lost.
__attribute__((noinline)) long page_birth_woken(struct pod_page_birth *birth, long result) {
  page_birth_count_sharers(-1u);
  struct pod_page_sleeper *sleeper = 0;
  if (page_names_late()) sleeper = page_sleeper((word)page_ask(call_gettid), (word)birth);
  if (sleeper != 0) {
    birth->call.return_address = sleeper->return_address;
    word call = sleeper->call;
    uint32_t births = (uint32_t)sleeper->births;
    sleeper->stack = 0;
    __atomic_store_n(&sleeper->owner, 0, __ATOMIC_RELEASE);
    return page_birth_made(call, result, births);
  }
  birth->call.return_address = (word)page_hypercall(POD_HYPERCALL_BIRTH_WAKES, (word)birth, 0, 0, 0);
  long name = page_hypercall(POD_HYPERCALL_BIRTH_END, 0, (word)result, (word)birth, 0);
  return result < 0 ? result : name;
}

#ifndef POD_PAGE_MODEL

// What pod_page.h has in words of C.
#define POD_HYPERCALL_BORN_VALUE 18
_Static_assert(POD_HYPERCALL_BORN == POD_HYPERCALL_BORN_VALUE, "");

// The program's registers from a struct pod_page_birth, but rsi, which is where the caller says.
#define PAGE_BIRTH_LOAD(second)                                                          \
  "  push 120(%rsp)\n  popfq\n"                                                          \
  "  mov 64(%rsp), %eax\n  mov 72(%rsp), %rdi\n  mov " second "(%rsp), %rsi\n"           \
  "  mov 88(%rsp), %rdx\n  mov 96(%rsp), %r10\n  mov 104(%rsp), %r8\n"                   \
  "  mov 112(%rsp), %r9\n  mov 56(%rsp), %rbp\n"

// Where POD_PAGE_ENTER comes with a birth. rsp is the struct pod_page_birth; but for rbp, what C keeps is the program's
// throughout. A newborn gets its registers from the kernel, so they are the program's when it is made; r11 is its flags.
__asm__("page_birth:\n"
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
        "  cld\n  mov %rsp, %rbp\n  mov %rsp, %rdi\n  mov %rax, %rsi\n  and $-16, %rsp\n"
        "  call page_birth_end\n"
        "  mov %rbp, %rsp\n"
        "page_birth_leave:\n"
        "  add $56, %rsp\n  pop %rbp\n  jmp page_leave\n"
        "page_birth_shared:\n"
        PAGE_BIRTH_LOAD("80")
        "  syscall\n"
        "  test %rax, %rax\n  jz page_newborn\n"
        "  mov %rbp, 56(%rsp)\n  mov %rdi, 72(%rsp)\n  mov %rsi, 80(%rsp)\n  mov %rdx, 88(%rsp)\n"
        "  mov %r10, 96(%rsp)\n  mov %r8, 104(%rsp)\n  mov %r9, 112(%rsp)\n  mov %r11, 120(%rsp)\n"
        "  cld\n  mov %rsp, %rbp\n  mov %rsp, %rdi\n  mov %rax, %rsi\n  and $-16, %rsp\n"
        "  call page_birth_woken\n"
        "  mov %rbp, %rsp\n"
        "  jmp page_birth_leave\n"
        // rsp is its struct pod_page_newborn, and nothing else of its stack is used.
        "page_newborn:\n"
        "  mov %rdi, 32(%rsp)\n  mov %rdx, 40(%rsp)\n  mov %r11, 48(%rsp)\n"
        "  cmpq $0, (%rsp)\n  je page_newborn_leave\n"
        "page_newborn_tells:\n"
        "  movabs $" STRING(POD_PAGE_MAGIC_VALUE) ", %rdi\n  mov $" STRING(POD_HYPERCALL_BORN_VALUE) ", %esi\n"
        "  mov (%rsp), %rdx\n  mov $39, %eax\n"
        "  syscall\n"
        "  cmp $-4, %rax\n  je page_newborn_tells\n"
        "page_newborn_leave:\n"
        "  mov 32(%rsp), %rdi\n  mov 40(%rsp), %rdx\n  mov 16(%rsp), %rsi\n"
        "  push 48(%rsp)\n  popfq\n"
        "  mov 8(%rsp), %rcx\n  mov 24(%rsp), %rsp\n  mov $0, %eax\n"
        "  jmp *%rcx\n");

#endif

// ---- waits

// What a wait for one child, or for a group, is for; 0 when the pod has none of that name.
static int32_t page_waited_for(int32_t name, int is_group) {
  page_step(POD_PAGE_LOOK_UP, name);
  struct pod_entry_view entry = pod_table_find_virtual(page_table(), name);
  if (entry.slot == 0 || entry.state == POD_ENTRY_ALLOCATED) return 0;
  if (is_group ? entry.flags & POD_ENTRY_THREAD : entry.flags & POD_ENTRY_REAPED) return 0;
  return entry.physical_name;
}

// Tells what a wait returned. Returns the child's name, or the error.
static long page_waited(word asked, long result, int status, int is_reaped) {
  return page_hypercall(POD_HYPERCALL_WAITED, asked, (word)result, (word)(uint32_t)status, (word)is_reaped);
}

// Source: asm-generic/siginfo.h, linux/wait.h.
struct page_child_info {
  int32_t signal, error, code, padding, process, user, status; // as much as waitid writes
};
enum { page_child_exited = 1, page_child_dumped = 3 };
enum { page_wait_all = 0, page_wait_process = 1, page_wait_group = 2 };
enum { page_no_hang = 1, page_wait_ends = 4, page_no_reaping = 0x01000000 };
static const unsigned page_wait4_options = 1 | 2 | 8 | 0xE0000000u;

// Tells of a child that was shown. Returns its name.
static __attribute__((noinline)) long page_child(int32_t asked, const struct page_child_info *info, int is_reaped) {
  int status = info->status;
  if (info->code == page_child_exited) status = (status & 0xFF) << 8;
  if (info->code == page_child_dumped) status |= 0x80;
  int has_ended = info->code >= page_child_exited && info->code <= page_child_dumped;
  return page_waited(asked > 0 ? (word)asked : 0, info->process, status, is_reaped && has_ended);
}

// A child that nobody has heard of gets its name while the kernel still has it.
static void page_meet(int32_t physical) {
  page_step(POD_PAGE_VIRTUALIZE, physical);
  if (pod_table_virtual_of(page_table(), physical) == 0) page_hypercall(POD_HYPERCALL_NAME, (word)physical, 0, 0, 0);
}

// Who is to be shown is looked at first, so that it is known who it was whatever becomes of the answer in the program's memory,
// which another thread may unmap at any moment: the page itself never touches it.
static __attribute__((noinline)) long page_wait4(const struct pod_page_frame *frame) {
  int32_t name = (int32_t)frame->arguments[0];
  unsigned options = (unsigned)frame->arguments[2];
  // The kernel refuses.
  if (name == INT32_MIN || options & ~page_wait4_options) return page_raw(frame->number, frame->arguments);
  int is_group = name <= 0 && name != -1;
  int32_t physical = name < 0 ? -name : name;
  if (name != 0 && name != -1) {
    physical = page_waited_for(physical, is_group);
    if (physical == 0) return -page_no_child;
  }
  word kind = name == -1 ? page_wait_all : is_group ? page_wait_group : page_wait_process;
  for (;;) {
    struct page_child_info info = {0};
    const word look[6] = {kind, (word)physical, (word)&info, options | page_wait_ends | page_no_reaping};
    page_step(POD_PAGE_WAIT, name);
    long result = page_raw(page_nr_waitid, look);
    if (result == -page_no_child) return page_waited(0, result, 0, 0);
    if (result != 0) return result;
    if (*(volatile int32_t *)&info.process == 0) return 0;
    page_meet(info.process);
    const word reap[6] = {(word)info.process, frame->arguments[1], options | page_no_hang, frame->arguments[3]};
    page_step(POD_PAGE_WAIT, info.process);
    result = page_raw(page_nr_wait4, reap);
    // Another thread, or a signal's handler, was first.
    if (result == 0 || result == -page_no_child) continue;
    long child = page_child(name, &info, 1);
    return result < 0 ? result : child;
  }
}

static __attribute__((noinline)) long page_waitid(struct pod_page_frame *frame) {
  int32_t kind = (int32_t)frame->arguments[0], name = (int32_t)frame->arguments[1];
  // The name in the program's memory couldn't be replaced safely.
  if (frame->arguments[2] != 0 || frame->arguments[4] != 0) return page_elsewhere(frame);
  int is_named = (kind == page_wait_process || kind == page_wait_group) && name > 0;
  int32_t physical = name;
  if (is_named) {
    physical = page_waited_for(name, kind == page_wait_group);
    if (physical == 0) return -page_no_child;
  }
  // Without a place for the answer the kernel would reap a child and tell nobody which.
  struct page_child_info info = {0};
  const word arguments[6] = {(word)kind, (word)physical, (word)&info, frame->arguments[3]};
  page_step(POD_PAGE_WAIT, name);
  long result = page_raw(page_nr_waitid, arguments);
  if (result == -page_no_child) return page_waited(0, result, 0, 0);
  if (result != 0 || *(volatile int32_t *)&info.process == 0) return result;
  page_child(is_named && kind == page_wait_process ? name : 0, &info, !(frame->arguments[3] & page_no_reaping));
  return 0;
}

#endif
