#ifndef CLINUX_SOCKETS_H
#define CLINUX_SOCKETS_H

#include "CLinux_result.h"
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

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

// A SOCK_SEQPACKET socket that waits for connections under an abstract name that nobody has: the kernel chooses a NUL and five
// digits, and `*address` is all of the address, with the family. Doesn't block.
static inline int CLinux_listen(int backlog, uint64_t *address) {
  int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0)
    return (int)CLinux_result(fd);
  sa_family_t family = AF_UNIX;
  struct sockaddr_storage name;
  socklen_t size = sizeof name;
  int r = bind(fd, (struct sockaddr *)&family, sizeof family);
  if (r == 0)
    r = getsockname(fd, (struct sockaddr *)&name, &size);
  if (r == 0 && size != sizeof *address) {
    errno = EPROTO;
    r = -1;
  }
  if (r == 0)
    r = listen(fd, backlog);
  if (r != 0) {
    r = (int)CLinux_result(r);
    close(fd);
    return r;
  }
  memcpy(address, &name, sizeof *address);
  return fd;
}

// The next connection, and which process made it (SO_PEERCRED); -EAGAIN when there is none. accept4 and struct ucred are
// hidden behind _GNU_SOURCE.
static inline int CLinux_accept(int socket, int *process) {
  int fd;
  do
    fd = (int)syscall(SYS_accept4, socket, NULL, NULL, SOCK_CLOEXEC);
  while (fd < 0 && errno == EINTR);
  if (fd < 0)
    return (int)CLinux_result(fd);
  struct { int pid; unsigned user, group; } peer;
  socklen_t size = sizeof peer;
  int r = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
  if (r != 0) {
    r = (int)CLinux_result(r);
    close(fd);
    return r;
  }
  *process = peer.pid;
  return fd;
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
