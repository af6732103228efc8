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

// ---- Limits

// What a new IPC namespace has the kernel's defaults of. Source: ipc/ipc_sysctl.c, ipc/mq_sysctl.c; sysvipc(7),
// mq_overview(7). Not copied: `…_next_id`, which is used up by the next object.
static const char limit_names[][40] = {
    "/proc/sys/kernel/shmmax",          "/proc/sys/kernel/shmall",
    "/proc/sys/kernel/shmmni",          "/proc/sys/kernel/shm_rmid_forced",
    "/proc/sys/kernel/msgmax",          "/proc/sys/kernel/msgmni",
    "/proc/sys/kernel/msgmnb",          "/proc/sys/kernel/sem",
    "/proc/sys/fs/mqueue/queues_max",   "/proc/sys/fs/mqueue/msg_max",
    "/proc/sys/fs/mqueue/msgsize_max",  "/proc/sys/fs/mqueue/msg_default",
    "/proc/sys/fs/mqueue/msgsize_default"};
enum { limit_count = sizeof limit_names / sizeof *limit_names, limit_room = 64 };

struct namespace_limits {
  char text[limit_count][limit_room];
  long size[limit_count];
};

static void read_limits(struct namespace_limits *limits) {
  for (int i = 0; i < limit_count; i++) {
    long fd = call(__NR_open, limit_names[i], view_read_only | view_cloexec, 0, 0);
    limits->size[i] = fd < 0 ? 0 : call(__NR_read, fd, limits->text[i], limit_room, 0);
    if (fd >= 0)
      call(__NR_close, fd, 0, 0, 0);
  }
}

static int is_same(const char *a, const char *b, long size) {
  while (size-- > 0)
    if (*a++ != *b++)
      return 0;
  return 1;
}

// Has the new namespace the limits of the one before. Returns 0, or what kept one from that.
static long keep_limits(const struct namespace_limits *before) {
  static struct namespace_limits now;
  read_limits(&now);
  long failure = 0;
  for (int i = 0; i < limit_count; i++) {
    long size = before->size[i];
    if (size <= 0 || (now.size[i] == size && is_same(before->text[i], now.text[i], size)))
      continue;
    long fd = call(__NR_open, limit_names[i], view_write_only | view_cloexec, 0, 0);
    long r = fd < 0 ? fd : call(__NR_write, fd, before->text[i], size, 0);
    if (fd >= 0)
      call(__NR_close, fd, 0, 0, 0);
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

static void view(struct pod_message *request) {
  enum { new_mounts = 0x20000, new_objects = 0x8000000, recursive = 0x4000, slave = 1 << 19 };
  static struct namespace_limits limits;
  struct pod_message message = {POD_MESSAGE_VIEWED, 0, 0, 0, 0};
  int tables[table_count];
  unsigned which = request->stage;
  if (which & POD_VIEW_OBJECTS)
    read_limits(&limits);
  long r = call(__NR_unshare, which & POD_VIEW_OBJECTS ? new_mounts | new_objects : new_mounts, 0, 0, 0);
  // The host's mounts go on coming in, and none of ours goes out.
  if (r == 0)
    r = call6(__NR_mount, 0, (long)"/", 0, recursive | slave, 0, 0);
  if (r == 0 && which & POD_VIEW_OBJECTS) {
    message.id = (unsigned)-keep_limits(&limits);
    message.stage = open_tables(tables);
  }
  if (r == 0)
    r = show_directories(request->id, request->tag, which);
  message.error = (unsigned)-r;
  int count = 0;
  for (unsigned opened = message.stage; opened; opened >>= 1)
    count += opened & 1;
  send_with_descriptors(&message, tables, count);
  while (count--)
    call(__NR_close, tables[count], 0, 0, 0);
}

#endif
