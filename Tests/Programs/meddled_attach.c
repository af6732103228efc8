// While a thread attaches a segment, another one writes over all memory that the program doesn't know, and has descriptors wait that it
// doesn't know: what a supervisor does for an attach goes by both. Each attach ends all the same.
#include "check.h"
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { areas = 60, attaches = 300 };
static volatile uint64_t *unknown[areas];
static uint64_t address;
static volatile int found, is_over, descriptor;

// A socket to which nobody else can connect without waiting for ever.
static void listen_when_full(void) {
  struct sockaddr_un name = {AF_UNIX, "\0zzzzz"};
  int listener = socket(AF_UNIX, SOCK_SEQPACKET, 0);
  for (int i = 0; bind(listener, (struct sockaddr *)&name, sizeof address) != 0; i++) {
    CHECK(i < 1000);
    name.sun_path[1 + i % 5]--;
  }
  CHECK(listen(listener, 0) == 0);
  for (int i = 0, full = 0; !full; i++) {
    CHECK(i < 100);
    int end = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);
    full = connect(end, (struct sockaddr *)&name, sizeof address) != 0;
  }
  memcpy(&address, &name, sizeof address);
}

static void *meddle(void *argument) {
  int zero = 0;
  while (!is_over) {
    ioctl(descriptor, FIONBIO, &zero);
    for (int i = 0; i < found; i++)
      if (unknown[i][0]) unknown[i][0] = address;
  }
  return argument;
}

int main(void) {
  listen_when_full();
  int id = shmget(IPC_PRIVATE, 4096, 0600);
  CHECK(id >= 0);
  void *first = shmat(id, NULL, 0);
  CHECK(first != (void *)-1 && shmdt(first) == 0);
  FILE *maps = fopen("/proc/self/maps", "re");
  char line[512];
  while (fgets(line, sizeof line, maps)) {
    unsigned long from, to;
    char rights[8];
    CHECK(sscanf(line, "%lx-%lx %7s", &from, &to, rights) == 3);
    if (to - from < 0x20000 || to - from > 0x40000 || strcmp(rights, "rw-p") || strpbrk(line, "/[")) continue;
    if (found < areas) unknown[found++] = (volatile uint64_t *)from;
    if (to - from > 0x20000 && found < areas) unknown[found++] = (volatile uint64_t *)(to - 0x20000);
  }
  fclose(maps);
  descriptor = dup(0);
  CHECK(descriptor >= 0 && close(descriptor) == 0);
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, meddle, NULL) == 0);
  struct timespec begin, now;
  CHECK(clock_gettime(CLOCK_MONOTONIC, &begin) == 0);
  for (int i = 0; i < attaches; i++) {
    void *here = shmat(id, NULL, 0);
    if (here == (void *)-1)
      CHECK_EQUAL(errno, ENOMEM);
    else
      CHECK(shmdt(here) == 0);
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    if (now.tv_sec - begin.tv_sec > 10) break;
  }
  is_over = 1;
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK(shmctl(id, IPC_RMID, NULL) == 0);
  return 0;
}
