// What a pod refuses has the errno for which programs have a fallback; natively some of it works.
#include "check.h"

int main(void) {
  // Whatever the answer to an unknown call, it is ENOSYS.
  CHECK(syscall(1000) == -1 && errno == ENOSYS);
  CHECK(syscall(460000) == -1 && errno == ENOSYS);
  // A thread made by any library works although clone3 may be refused.
  long r = syscall(435, NULL, 0);
  CHECK(r == -1 && (errno == ENOSYS || errno == EINVAL));
  // unshare of what is no namespace goes on working, but for containers whose profile knows no difference.
  CHECK(unshare(0x400 /* CLONE_FILES */) == 0 || errno == EPERM);
  CHECK(unshare(0x200 /* CLONE_FS */) == 0 || errno == EPERM);
  return 0;
}
