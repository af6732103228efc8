// What of a pod lies in each of its processes, and where: the pod area. Its base is one address for all processes of a pod,
// so that the pod's filter can compare the instruction pointer with it. Plain C without libc, for Swift, for the code in
// the area and for its model in the tests alike.
//
//   base - 0x5000  handlers   private, kept by fork: which handler each stub is for
//   base - 0x1000  cache      private, zero after fork (MADV_WIPEONFORK): zero is init-pending
//   base           code       shared, sealed, read and execute
//   base + 0x4000  rules      the same mapping: struct pod_page_rules, the boundary table as bytes
//   base + 0x8000  stubs      the same mapping: one per handler
//   base + 0x10000 table      the same mapping: struct pod_table, written by the supervisor only
//
// None of it is a trust boundary: a program may jump into it, unmap it or put its own there (DESIGN.md §1).
#ifndef POD_PAGE_H
#define POD_PAGE_H

#include "pod_layout.h"

#define POD_AREA_HANDLERS (-0x5000)
#define POD_AREA_CACHE (-0x1000)
#define POD_AREA_PRIVATE_SIZE 0x5000
#define POD_AREA_TRAMPOLINES (-0x1008) // where POD_PAGE_SETUP has put the trampolines, or a negative errno: 64 bits, kept by fork
#define POD_AREA_CODE_SIZE 0x4000
#define POD_AREA_MACHINE 0x3ff8 // behind the code: what of the machine the page may use, enum pod_page_machine as 64 bits
#define POD_AREA_RULES 0x4000
#define POD_AREA_RULES_SIZE 0x4000
#define POD_AREA_STUBS 0x8000
#define POD_AREA_STUBS_SIZE 0x8000
#define POD_AREA_TABLE 0x10000

// Entry points, at the beginning of the code.
#define POD_PAGE_ENTER 0x00 // a call of the program's: its registers, but that rsp is 136 less and the return address is there
#define POD_PAGE_SETUP 0x10 // the injection's second half, from the bootstrap: it returns to r8, with its result in r9
#define POD_PAGE_SIGNAL 0x20 // a signal, from the stub whose number is in eax
#define POD_PAGE_SITE 0x30 // a call from a patched site: the program's registers, but that rcx is the address behind the call
#define POD_PAGE_SITE_BACK 0x40 // the same, which the program's own instruction is to make
#define POD_PAGE_ARRIVE 0x50 // as POD_PAGE_ENTER, from the bootstrap, whose place in the program's text is to be as it was first

enum pod_page_machine {
  POD_MACHINE_READS_FS = 1, // rdfsbase
  // Births needn't be announced: newborns get their names when somebody first needs them (init-pending, in the paper's words).
  POD_MACHINE_NAMES_LATE = 2,
};

// Stubs: number N of so many is at base + POD_AREA_STUBS + N * POD_PAGE_STUB_SIZE, its handler is word N of `handlers`.
#define POD_PAGE_STUB_SIZE 16
#define POD_PAGE_STUB_COUNT 2047

// Trampolines: a page of a process's own, in reach of the text whose calls it is for; kept by fork. The first slot is the word
// that all of them jump to, POD_PAGE_SITE or POD_PAGE_SITE_BACK, which differ in one byte; the others are of one site each
// (PodSeccomp/CallSite.swift).
#define POD_TRAMPOLINES_SIZE 0x1000
#define POD_TRAMPOLINE_SIZE 32

// What the page tells or asks the supervisor: getpid(POD_PAGE_MAGIC, hypercall, …) with the page as instruction pointer.
#define POD_PAGE_MAGIC 0x706f642d70616765ull // "pod-page"
enum pod_page_hypercall {
  // (number, a, b, c): the call `number` with these arguments, as the program made it: with virtual names, and to be answered
  // with them. For identity calls, which the filter lets pass when they come from the page: a name that the table doesn't
  // have, a rule of the embedder's. The supervisor serves it as if the call itself were notified.
  POD_HYPERCALL_CALL = 2,
  // (physical): the pod's name of a task, a group or a session that the table doesn't have, for a name that comes out; 0 when it
  // isn't the pod's. The table has gone on to others, but the supervisor remembers for a while.
  POD_HYPERCALL_NAME = 3,
  // A process or thread is about to be made: (flags of clone | number of the call << 32, the words for its number: the
  // maker's, its own; the control block of the thread that it is to be or of the caller). Answers a ticket.
  POD_HYPERCALL_BIRTH_BEGIN = 16,
  POD_HYPERCALL_BIRTH_SLEEPS = 17, // (ticket, stack, return address): its maker is going to sleep, without a memory
  POD_HYPERCALL_BORN = 18, // (ticket): the caller is the newborn. Answers its name
  POD_HYPERCALL_BIRTH_WAKES = 19, // (stack): answers the return address of who slept
  POD_HYPERCALL_BIRTH_END = 20, // (ticket, or 0; result of the kernel; stack if no ticket): answers the newborn's name
  // (asked-for name or 0, physical child or negative errno, wait status, whether it was reaped): answers its name
  POD_HYPERCALL_WAITED = 21,
  // The kernel has made somebody whom nobody announced: (flags of clone | number of the call << 32, its number, the table's
  // count of births before). Answers its name; EAGAIN when there was none, and it was killed.
  POD_HYPERCALL_MADE = 22,
  POD_HYPERCALL_ARRIVED = 23, // the area is there, and the caller is behind the bootstrap
  // (id, address, flags), of shmat: answers a descriptor of the segment's file, which the page closes, or what shmat says; ENOSYS
  // when it isn't for the page.
  POD_HYPERCALL_ATTACH = 32,
  // (address), of shmdt: answers how many bytes are to be unmapped there, or what shmdt says; ENOSYS as above.
  POD_HYPERCALL_DETACH = 33,
};

// So many free entries of the table are kept for newborns that haven't got their names yet: with fewer, births are announced.
#define POD_PAGE_BIRTH_ROOM_IN_TABLE 256

// How the page makes a process or a thread.
enum pod_page_birth_kind {
  POD_PAGE_BIRTH_COPIED = 0, // in a copy of its maker's memory
  POD_PAGE_BIRTH_ON_STACK = 1, // in the same memory, on a stack of its own
  POD_PAGE_BIRTH_SHARED = 2, // on its maker's stack, while the maker sleeps
  POD_PAGE_BIRTH_ELSEWHERE = 3, // not at all: both would be on one stack at once, or the flags are a tracer's
};
// What the page keeps of such a call, and what a newborn needs of it, in bytes.
#define POD_PAGE_BIRTH_SIZE 136
#define POD_PAGE_NEWBORN_SIZE 56
// How much stack the page needs for such a call beside that.
#define POD_PAGE_BIRTH_ROOM 512

// Whether a word that clone stores a number in keeps it, since the kernel compares it with the numbers of threads: it lies in
// the control block of the thread whose number it is (ThreadID.staysPhysical).
static inline int pod_page_word_stays(uint64_t word, uint64_t thread_pointer) {
  return word >= thread_pointer && word - thread_pointer < 4096;
}

// Where on its stack a newborn finds what it needs: below the red zone, so that the program can't tell.
static inline uint64_t pod_page_birth_place(uint64_t stack) { return (stack - 128 - POD_PAGE_NEWBORN_SIZE) & ~7ull; }

// `flags`: of clone; `stack`: the newborn's, or 0; `program`: the maker's stack pointer at its call.
static inline enum pod_page_birth_kind pod_page_birth_kind(uint64_t flags, uint64_t stack, uint64_t program) {
  const uint64_t vm = 0x100, vfork = 0x4000, traced = 0x2000 | 0x800000;
  if (flags & traced) return POD_PAGE_BIRTH_ELSEWHERE;
  if (!(flags & vm)) return POD_PAGE_BIRTH_COPIED;
  if (stack == 0) return flags & vfork ? POD_PAGE_BIRTH_SHARED : POD_PAGE_BIRTH_ELSEWHERE;
  // Where the two would be in each other's way.
  uint64_t below = 128 + POD_PAGE_BIRTH_SIZE + POD_PAGE_BIRTH_ROOM, above = 128 + POD_PAGE_NEWBORN_SIZE + 64;
  if (stack < above || (stack > program - below && stack < program + above)) return POD_PAGE_BIRTH_ELSEWHERE;
  return POD_PAGE_BIRTH_ON_STACK;
}

// Who sleeps until its newborn is done with its memory and its stack, and what it needs when it wakes.
struct pod_page_sleeper {
  uint64_t owner; // the sleeping thread's physical name; 0: nobody's
  uint64_t stack; // its struct pod_page_birth
  uint64_t return_address;
  uint64_t call; // flags of clone | number of the call << 32
  uint64_t births; // the table's count of births before
};
// A thread has several where a signal's handler makes births, or the newborn makes one by itself.
#define POD_PAGE_SLEEPERS 32

// Zeroes after a fork: nothing is known of the process yet.
struct pod_page_cache {
  // Whose memory it is: the slot of the process's entry << 32 | its virtual name. While that is being looked up, its physical
  // name << 32. One word: a look-up may be cut off by a signal whose handler forks, and what it then finds is of the parent,
  // so it must not count in the child, whose word isn't the parent's.
  uint64_t process;
  // How many processes made with CLONE_VM may run in this memory beside its owner. While there are any, nobody believes
  // `process`. Counted up before such a process is made.
  uint32_t sharers;
  uint32_t reserved;
  struct pod_page_sleeper sleepers[POD_PAGE_SLEEPERS];
};

// The boundary table, in as far as the page acts by it (BoundaryTable+Page.swift). `index[N]` is where the first row of call N
// begins in `bytes`, 0 where the page has none: such calls it passes on.
#define POD_PAGE_RULES_MAGIC 0x31656c75u
#define POD_PAGE_CALLS 512
struct pod_page_rules {
  uint32_t magic;
  uint32_t count; // bytes
  uint16_t index[POD_PAGE_CALLS];
  // A bit per call: it is a notification that natively never ends with EINTR, so that one that a signal cut off before
  // the supervisor had it is made again.
  uint8_t unbroken[POD_PAGE_CALLS / 8];
  uint8_t bytes[];
};

// A row: this, its conditions, all of which must hold, the places where names go in, and those where they come out. The next
// row of the call follows; the first one that holds is meant. One of size 0 ends them.
struct pod_page_row {
  uint16_t size; // with all that belongs to it, a multiple of 8
  uint8_t action; // enum pod_page_action
  uint8_t conditions;
  uint8_t inputs;
  uint8_t outputs;
  uint8_t reserved[2];
};

enum pod_page_action {
  POD_PAGE_PASSES = 1,     // the page makes the call as it is
  POD_PAGE_IDENTIFIES = 2, // it is answered from the table (page/identity.h)
  POD_PAGE_TRANSLATES = 3, // the page makes the call and translates the places (page/rules.h)
  POD_PAGE_WAITS = 4,      // the page waits for a child (page/births.h)
  POD_PAGE_SIGNALS = 5,    // the page sends a signal (page/signalling.h)
  POD_PAGE_MAPS = 6,       // the page attaches or detaches a segment (page/segments.h)
};

// An argument that must have a value under a mask.
struct pod_page_condition {
  uint64_t mask;
  uint64_t value;
  uint64_t argument;
};

// A place of a name. One that goes in is an argument, a thread's name, and 0 means the calling thread.
struct pod_page_place {
  uint8_t kind; // enum pod_page_place_kind
  uint8_t argument;
  uint8_t is_group_negated; // -N is the group N; otherwise negative values are no names
  uint8_t reserved;
  uint32_t offset;
};

enum pod_page_place_kind {
  POD_PAGE_ARGUMENT = 1, // the argument
  POD_PAGE_RESULT = 2,   // the call's result
  POD_PAGE_FIELD = 3,    // 32 bits, `offset` bytes into what the argument points to, if it isn't null
};

#endif
