#ifndef CLINUX_SPAWN_H
#define CLINUX_SPAWN_H

#include <sys/types.h>

// Starts a pod's init: runs the program in `image_fd` (execveat) with `control_fd` as its descriptor 3
// and no other descriptor, all signals at their default and none blocked.
//
// posix_spawn can't do this: its child sends SIGCHLD, closes no descriptors below 3 and takes a path.
// The child shares the caller's memory until it executes (CLONE_VM|CLONE_VFORK), so a large host costs
// nothing; only raw system calls are made in it.
//
// execve sets the exit signal of a process to SIGCHLD again (docs/findings.md), so with `orphan` != 0
// init is made by a helper that ends at once: its parent then is the nearest subreaper or process 1,
// and the caller's waitpid(-1) never sees it. With `orphan` == 0 it is an ordinary child.
//
// On success returns init's process id and stores a pidfd of it, close-on-exec, in `*pidfd`; on
// failure returns the negated errno of the step that failed, and stores which it was in `*step`.
int CLinux_spawn_init(int control_fd, int image_fd, char *const *arguments, char *const *environment,
                      int orphan, int *pidfd, int *step);

// The steps that can fail.
enum { CLinux_SPAWN_PROCESS, CLinux_SPAWN_DESCRIPTORS, CLinux_SPAWN_EXECUTE };

#endif
