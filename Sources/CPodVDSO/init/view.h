#ifndef POD_INIT_VIEW_H
#define POD_INIT_VIEW_H

// What init's descendants see at the few places whose names are the pod's own, where the kernel lets init mount.

#include "kernel.h"

static void write_digits(char *to, word number, int count) {
  while (count--) {
    to[count] = "0123456789abcdef"[number & 15];
    number >>= 4;
  }
}

// Binds the pod's directories where its programs look for them. The host program has made them: PodDirectory.swift.
static long show_directories(unsigned outer, word secret, unsigned which) {
  enum { new_mounts = 0x20000, recursive = 0x4000, slave = 1 << 19, bind = 0x1000 };
  char path[] = "/dev/shm/.pod-00000000/k0000000000000000";
  enum { outer_at = 14, kind_at = 23 };
  write_digits(path + outer_at, outer, 8);
  write_digits(path + kind_at + 1, secret, 16);
  long r = call(__NR_unshare, new_mounts, 0, 0, 0);
  // The host's mounts go on coming in, and none of ours goes out.
  if (r == 0)
    r = call6(__NR_mount, 0, (long)"/", 0, recursive | slave, 0, 0);
  path[kind_at] = 'v';
  if (r == 0 && which & POD_VIEW_TABLES)
    r = call6(__NR_mount, (long)path, (long)"/proc/sysvipc", 0, bind, 0, 0);
  path[kind_at] = 'q';
  if (r == 0 && which & POD_VIEW_QUEUES)
    r = call6(__NR_mount, (long)path, (long)"/dev/mqueue", 0, bind, 0, 0);
  // The last one: it hides the others.
  path[kind_at] = 's';
  if (r == 0)
    r = call6(__NR_mount, (long)path, (long)"/dev/shm", 0, bind, 0, 0);
  return r;
}

static void view(struct pod_message *request) {
  long r = show_directories(request->id, request->tag, request->stage);
  struct pod_message message = {POD_MESSAGE_VIEWED, 0, (unsigned)-r, 0, 0};
  send_message(control, &message);
}

#endif
