#ifndef POD_INIT_REQUESTS_H
#define POD_INIT_REQUESTS_H

// What the host asks for, with the descriptors that come along.

#include "kernel.h"

struct request {
  struct pod_message message;
  int count;
  int *descriptors;
};

// The next request. Returns the message's size; 0 at the end of the socket.
static long receive(int socket, struct request *request, int flags) {
  enum { scm_rights = 1, sol_socket = 1 };
  static struct rights rights;
  struct vector vector = {&request->message, sizeof request->message};
  struct message_header header = {0, 0, &vector, 1, &rights, sizeof rights, 0};
  rights.size = 0;
  request->count = 0;
  request->descriptors = rights.descriptors;
  long size = call(__NR_recvmsg, socket, &header, message_cloexec | flags, 0);
  if (size > 0 && header.control_size >= 16 && rights.level == sol_socket && rights.type == scm_rights)
    request->count = (int)((rights.size - 16) / sizeof(int));
  return size;
}

// Closes the request's descriptors from number `first` on.
static void close_rest(struct request *request, int first) {
  for (int i = first; i < request->count; i++)
    call(__NR_close, request->descriptors[i], 0, 0, 0);
  request->count = 0;
}

#endif
