#ifndef POD_LAUNCH_H
#define POD_LAUNCH_H

// What the host program and the pod's init say to each other, defined once for both.
//
// They talk over a SOCK_SEQPACKET pair, which is init's descriptor 3: one struct pod_message each. When init is traced
// (its argument is the host's process id, which may then trace it), its answers are breakpoints (int3) with the
// registers below. In supervised mode (its argument is "supervised") they are messages, and it is the launcher, a
// child of init with a socket pair of its own, that starts programs.
//
//   POD_MESSAGE_READY      init → host   the first message, in both modes: init can be traced and asked.
//                          launcher → host
//                                        supervised: it has closed the listener and can be asked.
//   POD_MESSAGE_RING       host → init   traced: init executes int3 with rax = POD_MAGIC_RING, so that the tracer thread,
//                                        which sleeps in wait4, gets a stop.
//   POD_MESSAGE_LAUNCH     host → init (traced), → launcher (supervised)
//                                        `id` is the launch; descriptors: [0] a memfd that holds a struct pod_launch,
//                                        then one for each of its targets, in order. Init or the launcher forks. Traced,
//                                        the child executes int3 with rax = POD_MAGIC_BORN and rdi = id; supervised, it
//                                        calls getpid(POD_MAGIC_BORN, id), which the filter can turn into a
//                                        notification. It sets itself up and executes the program.
//   POD_MESSAGE_FAILED     launcher or its child → host
//                                        the launch `id` ended at `stage` with `error`. Traced: int3 with
//                                        rax = POD_MAGIC_FAILED, rdi = id, rsi = errno, rdx = stage. The child then
//                                        exits with 127. When there is no child yet, init or the launcher reports.
//
//   POD_MESSAGE_VIEW       host → init   before the host traces init, and before there is a launcher: `id` and `tag` are
//                                        the numbers in the names of the pod's directories (PodDirectory.swift), `stage`
//                                        POD_VIEW_…. Init takes a mount namespace of its own in which they are where
//                                        programs look for them; with POD_VIEW_OBJECTS an IPC namespace too, with the
//                                        limits that the host has; with POD_VIEW_USER they belong to a user namespace
//                                        that it takes before, and in which it has its own ids and no others.
//   POD_MESSAGE_VIEWED     init → host   `error` is 0, or says what keeps it from that. With POD_VIEW_OBJECTS: `id` is
//                                        what kept a limit from being the host's, or 0; descriptors: the namespace's
//                                        /proc/sysvipc/{msg,sem,shm}, as far as they are there: `stage` has a bit for each.
//
// Supervised only:
//
//   POD_MESSAGE_SUPERVISE  host → init   `id`: flags of seccomp(2), `tag`: POD_SUPERVISE_…; descriptors: a pidfd of the
//                                        host, the launcher's socket, a memfd of struct sock_filter. Init makes the
//                                        launcher.
//   POD_MESSAGE_SUPERVISED init → host   `id` is the launcher's process id.
//   POD_MESSAGE_LISTENER   launcher → host
//                                        descriptor: the filter's listener. No process of the pod keeps a copy.
//   POD_MESSAGE_REFUSED    init or launcher → host
//                                        instead of one of these two: POD_STEP_… `stage` failed with `error`.
//   POD_MESSAGE_WATCH      host → init   descriptor: a pidfd; `tag` is the host's name for it. Init keeps it.
//   POD_MESSAGE_ENDED      init → host   the process of the pidfd `tag` has ended, all its threads. It isn't watched any
//                                        more.
//   POD_MESSAGE_UNWATCHED  init → host   the pidfd `tag` can't be watched.
//   POD_MESSAGE_REAPED     init → host   init's child `id` has been reaped; `tag` is its status, as from wait4. When it
//                                        was watched, its end was reported before.
//
// End of file on the socket ends init. In supervised mode the end of the host does, too, and init first kills all
// processes of the pod.

enum {
  POD_MESSAGE_RING = 1,
  POD_MESSAGE_LAUNCH = 2,
  POD_MESSAGE_FAILED = 3,
  POD_MESSAGE_READY = 4,
  POD_MESSAGE_SUPERVISE = 5,
  POD_MESSAGE_SUPERVISED = 6,
  POD_MESSAGE_LISTENER = 7,
  POD_MESSAGE_REFUSED = 8,
  POD_MESSAGE_WATCH = 9,
  POD_MESSAGE_ENDED = 10,
  POD_MESSAGE_UNWATCHED = 11,
  POD_MESSAGE_REAPED = 12,
  POD_MESSAGE_VIEW = 13,
  POD_MESSAGE_VIEWED = 14,
};

struct pod_message {
  unsigned int type;
  unsigned int id;
  unsigned int error;
  unsigned int stage;
  unsigned long tag;
};

enum {
  POD_SUPERVISE_SCOPED = 1,  // init and launcher enter Landlock domains, one within the other
};

enum {
  POD_VIEW_TABLES = 1,  // /proc/sysvipc
  POD_VIEW_QUEUES = 2,  // /dev/mqueue
  POD_VIEW_OBJECTS = 4,  // System V objects and POSIX queues are the kernel's, in an IPC namespace
  POD_VIEW_USER = 8,  // in a user namespace, whose capabilities init then has
};

// Where supervision was refused.
enum {
  POD_STEP_REQUEST = 1,  // the message isn't one
  POD_STEP_PRIVILEGES = 2,
  POD_STEP_LANDLOCK = 3,
  POD_STEP_FORK = 4,
  POD_STEP_FILTER = 5,
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
