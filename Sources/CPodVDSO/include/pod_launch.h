#ifndef POD_LAUNCH_H
#define POD_LAUNCH_H

// What the host program and the pod's init say to each other, defined once for both.
//
// They talk over a SOCK_SEQPACKET pair, which is init's descriptor 3: one struct pod_message each.
// When init is traced ("traced" mode), its answers are breakpoints (int3) with the registers below;
// in "untraced" mode they are messages.
//
//   POD_MESSAGE_READY   init → host   the first message, in both modes: init can be traced and asked.
//   POD_MESSAGE_RING    host → init   traced: init executes int3 with rax = POD_MAGIC_RING, so that
//                                     the tracer thread, which sleeps in wait4, gets a stop.
//                                     untraced: nothing.
//   POD_MESSAGE_LAUNCH  host → init   `id` is the launch; descriptors: [0] a memfd that holds a struct
//                                     pod_launch, then one for each of its targets, in order. Init
//                                     forks; the child executes int3 with rax = POD_MAGIC_BORN and
//                                     rdi = id (traced only), sets itself up and executes the program.
//   POD_MESSAGE_FAILED  init → host   untraced: the launch `id` ended at `stage` with `error`.
//                                     traced: int3 with rax = POD_MAGIC_FAILED, rdi = id,
//                                     rsi = errno, rdx = stage. The child then exits with 127. When
//                                     there is no child yet, init itself reports.
//
// End of file on the socket ends init. Its arguments are "untraced", or else the host's process id,
// which is then allowed to trace it.

enum {
  POD_MESSAGE_RING = 1,
  POD_MESSAGE_LAUNCH = 2,
  POD_MESSAGE_FAILED = 3,
  POD_MESSAGE_READY = 4,
};

struct pod_message {
  unsigned int type;
  unsigned int id;
  unsigned int error;
  unsigned int stage;
};

// "pod-ring", "pod-born", "pod-fail" as big-endian text.
#define POD_MAGIC_RING 0x706f642d72696e67
#define POD_MAGIC_BORN 0x706f642d626f726e
#define POD_MAGIC_FAILED 0x706f642d6661696c

// Where a launch failed.
enum {
  POD_STAGE_SPECIFICATION = 1,  // the blob is unreadable or not one
  POD_STAGE_FORK = 2,
  POD_STAGE_DESCRIPTORS = 3,
  POD_STAGE_SESSION = 4,
  POD_STAGE_TERMINAL = 5,
  POD_STAGE_DIRECTORY = 6,
  POD_STAGE_CREDENTIALS = 7,
  POD_STAGE_CAPABILITIES = 8,
  POD_STAGE_FILTER = 9,
  POD_STAGE_EXEC = 10,
};

enum {
  POD_LAUNCH_NEW_SESSION = 1,
  POD_LAUNCH_CONTROLLING_TERMINAL = 2,  // descriptor 0 becomes the session's terminal
  POD_LAUNCH_NEW_GROUP = 4,
  POD_LAUNCH_NO_NEW_PRIVILEGES = 8,
  POD_LAUNCH_LIMIT_CAPABILITIES = 16,  // to `capabilities`
  POD_LAUNCH_SET_GROUPS = 32,          // supplementary groups, also to none
};

#define POD_LAUNCH_MAGIC 0x6c646f70  // "podl"
#define POD_LAUNCH_LEAVE 0xffffffffu
#define POD_LAUNCH_MAXIMUM_DESCRIPTORS 252  // SCM_MAX_FD less the specification

// A list in the blob: `count` elements from byte `offset`, 8-aligned.
struct pod_launch_list {
  unsigned long offset;
  unsigned long count;
};

// The start of the blob. Strings end with a NUL. A list of strings is a list of 8-byte offsets with
// one more 8-byte word of zero behind its elements, so that init can turn it into an argv in place.
// The last byte of the blob is 0.
struct pod_launch {
  unsigned int magic;
  unsigned int flags;
  unsigned long size;
  struct pod_launch_list paths;  // strings: candidates of the program, in the order of PATH
  struct pod_launch_list arguments;
  struct pod_launch_list environment;
  struct pod_launch_list targets;  // unsigned int: the number each further descriptor gets
  struct pod_launch_list groups;   // unsigned int, with POD_LAUNCH_SET_GROUPS
  struct pod_launch_list filter;   // struct sock_filter; none: no filter
  unsigned long directory;         // offset of a string, 0: leave
  unsigned long capabilities;      // with POD_LAUNCH_LIMIT_CAPABILITIES
  unsigned int mask;               // umask, or POD_LAUNCH_LEAVE
  unsigned int user;               // or POD_LAUNCH_LEAVE
  unsigned int group;              // or POD_LAUNCH_LEAVE
  unsigned int reserved;
};

#endif
