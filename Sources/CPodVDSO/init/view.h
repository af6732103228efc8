#ifndef POD_INIT_VIEW_H
#define POD_INIT_VIEW_H

// What init's descendants see at the few places whose names are the pod's own, where the kernel lets init mount, and the
// namespace of their System V objects and queues, where it lets init have one.

#include "kernel.h"

static void write_digits(char *to, word number, int count) {
  while (count--) {
    to[count] = "0123456789abcdef"[number & 15];
    number >>= 4;
  }
}

enum { view_read_only = 0, view_write_only = 1, view_cloexec = 02000000 };

// ---- Limits, of which a new IPC namespace has the kernel's defaults

enum { limit_room = 64 };

static long write_file(const char *path, const char *text, long size) {
  long fd = call(__NR_open, path, view_write_only | view_cloexec, 0, 0);
  if (fd < 0)
    return fd;
  long r = call(__NR_write, fd, text, size, 0);
  call(__NR_close, fd, 0, 0, 0);
  return r < 0 ? r : 0;
}

// What the calls tell, which is a tenth of a file's cost. Source: ipc/{msg,sem,shm}.c, IPC_INFO; <linux/{msg,sem}.h>,
// <asm-generic/shmbuf.h>.
struct told_limits {
  struct {
    int pool, map, max, mnb, mni, ssz, tql;
    unsigned short seg;
  } messages;
  struct {
    int map, mni, mns, mnu, msl, opm, ume, usz, vmx, aem;
  } semaphores;
  struct {
    word max, min, mni, seg, all, unused[4];
  } segments;
};

static void ask_limits(struct told_limits *limits) {
  enum { information = 3 };
  call(__NR_msgctl, 0, information, &limits->messages, 0);
  call(__NR_semctl, 0, 0, information, &limits->semaphores);
  call(__NR_shmctl, 0, information, &limits->segments, 0);
}

static long write_numbers(const char *path, const word *numbers, int count) {
  char text[limit_room * 2];
  char *end = text + sizeof text, *at = end;
  *--at = '\n';
  while (count--) {
    word number = numbers[count];
    do *--at = (char)('0' + number % 10);
    while (number /= 10);
    if (count)
      *--at = '\t';
  }
  return write_file(path, at, end - at);
}

static long keep_told_limits(const struct told_limits *host) {
  static struct told_limits own;
  ask_limits(&own);
  long r, failure = 0;
#define keep(path, ...)                                                 \
  do {                                                                        \
    const word here[] = {__VA_ARGS__};                                        \
    if ((r = write_numbers(path, here, sizeof here / sizeof *here)) < 0)      \
      failure = r;                                                            \
  } while (0)
  if (host->messages.max != own.messages.max)
    keep("/proc/sys/kernel/msgmax", (word)host->messages.max);
  if (host->messages.mnb != own.messages.mnb)
    keep("/proc/sys/kernel/msgmnb", (word)host->messages.mnb);
  if (host->messages.mni != own.messages.mni)
    keep("/proc/sys/kernel/msgmni", (word)host->messages.mni);
  if (host->semaphores.msl != own.semaphores.msl || host->semaphores.mns != own.semaphores.mns
      || host->semaphores.opm != own.semaphores.opm || host->semaphores.mni != own.semaphores.mni)
    keep("/proc/sys/kernel/sem", (word)host->semaphores.msl, (word)host->semaphores.mns,
         (word)host->semaphores.opm, (word)host->semaphores.mni);
  if (host->segments.max != own.segments.max)
    keep("/proc/sys/kernel/shmmax", host->segments.max);
  if (host->segments.mni != own.segments.mni)
    keep("/proc/sys/kernel/shmmni", host->segments.mni);
  if (host->segments.all != own.segments.all)
    keep("/proc/sys/kernel/shmall", host->segments.all);
#undef keep
  return failure;
}

// What only files tell. Where the host has the default that all kernels since 3.15 give a new namespace, there is nothing to
// do. Source: ipc/ipc_sysctl.c, ipc/mq_sysctl.c; include/linux/ipc_namespace.h, DFLT_….
static const struct {
  char path[40], standard[8];
} filed_limits[] = {{"/proc/sys/kernel/shm_rmid_forced", "0\n"},
                    {"/proc/sys/fs/mqueue/queues_max", "256\n"},
                    {"/proc/sys/fs/mqueue/msg_max", "10\n"},
                    {"/proc/sys/fs/mqueue/msgsize_max", "8192\n"},
                    {"/proc/sys/fs/mqueue/msg_default", "10\n"},
                    {"/proc/sys/fs/mqueue/msgsize_default", "8192\n"}};
enum { filed_count = sizeof filed_limits / sizeof *filed_limits };

struct namespace_limits {
  struct told_limits told;
  char text[filed_count][limit_room];
  long size[filed_count];  // 0: as usual
};

static void read_limits(struct namespace_limits *limits) {
  ask_limits(&limits->told);
  for (int i = 0; i < filed_count; i++) {
    char *text = limits->text[i];
    const char *standard = filed_limits[i].standard;
    long fd = call(__NR_open, filed_limits[i].path, view_read_only | view_cloexec, 0, 0);
    long size = fd < 0 ? 0 : call(__NR_read, fd, text, limit_room, 0);
    if (fd >= 0)
      call(__NR_close, fd, 0, 0, 0);
    long same = 0;
    while (same < size && standard[same] == text[same])
      same++;
    limits->size[i] = size < 0 || (same == size && !standard[same]) ? 0 : size;
  }
}

// Has the new namespace the limits of the one before. Returns 0, or what kept one from that. Not kept: `…_next_id`, which the
// next object uses up.
static long keep_limits(const struct namespace_limits *host) {
  long failure = keep_told_limits(&host->told);
  for (int i = 0; i < filed_count; i++) {
    long r = host->size[i] ? write_file(filed_limits[i].path, host->text[i], host->size[i]) : 0;
    if (r < 0)
      failure = r;
  }
  return failure;
}

// ---- Tables

// The namespace's tables, which are those of who has opened them. Init keeps none.
enum { table_count = 3 };
static unsigned open_tables(int *tables) {
  static const char names[table_count][24] = {
      "/proc/sysvipc/msg", "/proc/sysvipc/sem", "/proc/sysvipc/shm"};
  unsigned opened = 0;
  for (int i = 0, count = 0; i < table_count; i++) {
    long fd = call(__NR_open, names[i], view_read_only | view_cloexec, 0, 0);
    if (fd >= 0) {
      tables[count++] = (int)fd;
      opened |= 1u << i;
    }
  }
  return opened;
}

static void send_with_descriptors(struct pod_message *message, const int *descriptors, int count) {
  enum { scm_rights = 1, sol_socket = 1, head = 16 };
  struct rights rights = {head + sizeof(int) * (word)count, sol_socket, scm_rights, {0}};
  for (int i = 0; i < count; i++)
    rights.descriptors[i] = descriptors[i];
  struct vector vector = {message, sizeof *message};
  word room = (rights.size + 7) & ~7ul;
  struct message_header header = {0, 0, &vector, 1, count ? &rights : 0, count ? room : 0, 0};
  while (call(__NR_sendmsg, control, &header, 0, 0) == -error_interrupted) {
  }
}

// ---- The view

// Binds the pod's directories where its programs look for them. The host program has made them: PodDirectory.swift.
static long show_directories(unsigned outer, word secret, unsigned which) {
  enum { bind = 0x1000, no_suid = 2, no_devices = 4, no_programs = 8 };
  char path[] = "/dev/shm/.pod-00000000/k0000000000000000";
  enum { outer_at = 14, kind_at = 23 };
  write_digits(path + outer_at, outer, 8);
  write_digits(path + kind_at + 1, secret, 16);
  long r = 0;
  path[kind_at] = 'v';
  if (which & POD_VIEW_TABLES)
    r = call6(__NR_mount, (long)path, (long)"/proc/sysvipc", 0, bind, 0, 0);
  path[kind_at] = 'q';
  if (r == 0 && which & POD_VIEW_QUEUES)
    r = which & POD_VIEW_OBJECTS
            ? call6(__NR_mount, (long)"mqueue", (long)"/dev/mqueue", (long)"mqueue",
                    no_suid | no_devices | no_programs, 0, 0)
            : call6(__NR_mount, (long)path, (long)"/dev/mqueue", 0, bind, 0, 0);
  // The last one: it hides the others.
  path[kind_at] = 's';
  if (r == 0)
    r = call6(__NR_mount, (long)path, (long)"/dev/shm", 0, bind, 0, 0);
  return r;
}

// In a user namespace that init has just taken: its own id stands for itself, and no other for anybody.
static long keep_id(const char *map, word id) {
  char text[2 * 20 + 8];
  char *end = text + sizeof text, *at = end;
  *--at = '\n';
  *--at = '1';
  for (int times = 0; times < 2; times++) {
    *--at = ' ';
    word rest = id;
    do *--at = (char)('0' + rest % 10);
    while (rest /= 10);
  }
  return write_file(map, at, end - at);
}

// Source: user_namespaces(7), "Defining user and group ID mappings".
static long take_user_namespace(void) {
  enum { new_user = 0x10000000 };
  word user = (word)call(__NR_geteuid, 0, 0, 0, 0), group = (word)call(__NR_getegid, 0, 0, 0, 0);
  long r = call(__NR_unshare, new_user, 0, 0, 0);
  if (r == 0)
    r = write_file("/proc/self/setgroups", "deny", 4);
  if (r == 0)
    r = keep_id("/proc/self/uid_map", user);
  if (r == 0)
    r = keep_id("/proc/self/gid_map", group);
  return r;
}

// Where init is by the path that it has now: beneath a new mount nobody finds the old one's.
static void enter_view(const char *directory) {
  if (call(__NR_chdir, directory, 0, 0, 0) < 0)
    call(__NR_chdir, "/", 0, 0, 0);
}

static void view(struct pod_message *request) {
  enum { new_mounts = 0x20000, new_objects = 0x8000000, recursive = 0x4000, slave = 1 << 19 };
  static struct namespace_limits limits;
  struct pod_message message = {POD_MESSAGE_VIEWED, 0, 0, 0, 0};
  int tables[table_count];
  static char directory[4096] = "/";
  unsigned which = request->stage;
  if (call(__NR_getcwd, directory, sizeof directory, 0, 0) < 0 || directory[0] != '/') {
    directory[0] = '/';
    directory[1] = 0;
  }
  if (which & POD_VIEW_OBJECTS)
    read_limits(&limits);
  long r = which & POD_VIEW_USER ? take_user_namespace() : 0;
  if (r == 0)
    r = call(__NR_unshare, which & POD_VIEW_OBJECTS ? new_mounts | new_objects : new_mounts, 0, 0, 0);
  // The host's mounts go on coming in, and none of ours goes out.
  if (r == 0)
    r = call6(__NR_mount, 0, (long)"/", 0, recursive | slave, 0, 0);
  if (r == 0 && which & POD_VIEW_OBJECTS) {
    message.id = (unsigned)-keep_limits(&limits);
    message.stage = open_tables(tables);
  }
  if (r == 0)
    r = show_directories(request->id, request->tag, which);
  if (r == 0)
    enter_view(directory);
  message.error = (unsigned)-r;
  int count = 0;
  for (unsigned opened = message.stage; opened; opened >>= 1)
    count += opened & 1;
  send_with_descriptors(&message, tables, count);
  while (count--)
    call(__NR_close, tables[count], 0, 0, 0);
}

#endif
