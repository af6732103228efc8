#ifndef CLINUX_SOCKETS_H
#define CLINUX_SOCKETS_H

#include "CLinux_result.h"
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

enum { CLinux_MAXIMUM_DESCRIPTORS = 253 };  // SCM_MAX_FD of the kernel

// A connected SOCK_SEQPACKET pair, close-on-exec: SOCK_… are an enum with a type of its own in Glibc.
static inline int CLinux_seqpacket_pair(int *a, int *b) {
  int fds[2];
  int r = (int)CLinux_result(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds));
  if (r == 0) {
    *a = fds[0];
    *b = fds[1];
  }
  return r;
}

// sendmsg with SCM_RIGHTS: the CMSG_… macros are function-like. Never raises SIGPIPE; returns bytes
// sent.
static inline long CLinux_send(int socket, const void *bytes, size_t size, const int *descriptors,
                               size_t count, int flags) {
  if (count > CLinux_MAXIMUM_DESCRIPTORS)
    return -E2BIG;
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(CLinux_MAXIMUM_DESCRIPTORS * sizeof(int))];
  } control;
  struct iovec iov = {(void *)bytes, size};
  struct msghdr message;
  memset(&message, 0, sizeof message);
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  if (count > 0) {
    memset(&control.header, 0, sizeof control.header);
    control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    memcpy(CMSG_DATA(&control.header), descriptors, count * sizeof(int));
    message.msg_control = &control;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
  }
  long r;
  do
    r = sendmsg(socket, &message, flags | MSG_NOSIGNAL);
  while (r == -1 && errno == EINTR);
  return CLinux_result(r);
}

// recvmsg with SCM_RIGHTS, close-on-exec: the CMSG_… macros are function-like. `*count` is the room in
// `descriptors` and then the number received; returns the bytes received, 0 at the end.
static inline long CLinux_receive(int socket, void *bytes, size_t size, int *descriptors,
                                  size_t *count, int flags) {
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(CLinux_MAXIMUM_DESCRIPTORS * sizeof(int))];
  } control;
  struct iovec iov = {bytes, size};
  struct msghdr message;
  memset(&message, 0, sizeof message);
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  size_t room = *count < CLinux_MAXIMUM_DESCRIPTORS ? *count : CLinux_MAXIMUM_DESCRIPTORS;
  *count = 0;
  if (room > 0) {
    message.msg_control = &control;
    message.msg_controllen = CMSG_LEN(room * sizeof(int));
  }
  long r;
  do
    r = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
  while (r == -1 && errno == EINTR);
  if (r >= 0)
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
      if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
        *count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(descriptors, CMSG_DATA(c), *count * sizeof(int));
      }
  return CLinux_result(r);
}

#endif
