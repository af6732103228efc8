// P8–P10: the words in which clone stores ids, outside the library's control block, agree with the call's result.
#include "check.h"
#include <linux/sched.h>

static volatile pid_t parent_word, child_word, cleared = 1;

int main(void) {
  // Words in this process's memory: the parent's is written here, the child's in the child.
  long child = syscall(SYS_clone, CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | SIGCHLD, 0, &parent_word,
                       &child_word, 0);
  CHECK(child >= 0);
  if (child == 0) {
    CHECK_EQUAL(child_word, syscall(SYS_getpid));
    _exit(0);
  }
  CHECK_EQUAL(parent_word, child);
  CHECK_EQUAL(child_word, 0);
  reap_ok((pid_t)child);

  // Shared memory, as vfork has it: both words are seen by both.
  child = syscall(SYS_clone, CLONE_VFORK | CLONE_PARENT_SETTID | SIGCHLD, 0, &parent_word, 0, 0);
  CHECK(child >= 0);
  if (child == 0) _exit(0);
  CHECK_EQUAL(parent_word, child);
  reap_ok((pid_t)child);

  // A sibling: its parent is our parent, so we can't wait for it.
  int pipe_fd[2];
  CHECK(pipe(pipe_fd) == 0);
  pid_t middle = fork();
  CHECK(middle >= 0);
  if (middle == 0) {
    pid_t grand = (pid_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
    CHECK(grand >= 0);
    if (grand == 0) {
      pid_t mine[2] = {(pid_t)syscall(SYS_getpid), (pid_t)syscall(SYS_getppid)};
      CHECK(write(pipe_fd[1], mine, sizeof mine) == sizeof mine);
      _exit(0);
    }
    CHECK(waitpid(grand, NULL, 0) == -1 && errno == ECHILD);
    _exit(0);
  }
  pid_t theirs[2];
  CHECK(read(pipe_fd[0], theirs, sizeof theirs) == sizeof theirs);
  CHECK_EQUAL(theirs[1], getpid());
  reap_ok(theirs[0]);
  reap_ok(middle);

  // P15, P16: no way out by clone.
  child = syscall(SYS_clone, 0x00800000 /* CLONE_UNTRACED */ | SIGCHLD, 0, 0, 0, 0);
  CHECK(child >= 0);
  if (child == 0) _exit(getpid() > 0 ? 0 : 1);
  reap_ok((pid_t)child);
  return 0;
}
