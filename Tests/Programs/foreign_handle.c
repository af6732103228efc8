// P34, P35, P39: in a pod only, with a descriptor of a process outside as descriptor 0: it gives nothing.
#include "check.h"
#include <sys/ioctl.h>
#include <sys/uio.h>

#define REFUSED(error, call) CHECK((call) == -1 && errno == (error))

int main(void) {
  uint64_t info[8] = {1};
  // Where the kernel doesn't have the request, it says so itself.
  CHECK(ioctl(0, 3UL << 30 | 64 << 16 | 0xFF0B, info) == -1 && errno == ESRCH);
  CHECK_EQUAL(info[0], 1);
  for (int request = 0xFF01; request <= 0xFF0A; request++) REFUSED(ESRCH, ioctl(0, request, 0));
  REFUSED(EPERM, syscall(424 /* pidfd_send_signal */, 0, 0, NULL, 0));
  REFUSED(EPERM, syscall(438 /* pidfd_getfd */, 0, 1, 0));
  static char page[4096];
  struct iovec range = {page, sizeof page};
  REFUSED(EPERM, syscall(440 /* process_madvise */, 0, &range, 1, 20 /* MADV_COLD */, 0));
  REFUSED(EPERM, syscall(448 /* process_mrelease */, 0, 0));
  siginfo_t status;
  REFUSED(ECHILD, waitid((idtype_t)3 /* P_PIDFD */, 0, &status, WEXITED));
  return 0;
}
