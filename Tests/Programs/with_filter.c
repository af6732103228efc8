// Executes its arguments under a filter of its own, which allows everything.
#include "check.h"
#include <linux/filter.h>
#include <linux/seccomp.h>

int main(int count, char **vector) {
  CHECK(count > 1);
  struct sock_filter allow[] = {{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}};
  struct sock_fprog program = {1, allow};
  CHECK_EQUAL(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  CHECK_EQUAL(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
  execv(vector[1], vector + 1);
  CHECK(0);
}
