// C16: a family of processes says what everybody is called: by themselves, by their parent, by the kernel's calls.
//
// With an argument, so many children that end at once are made in between, whose numbers are gaps in the family's. It
// reads a line from its input before the second half, so that somebody can look at it.
#include "check.h"
#include <sys/mman.h>

enum { SHELL, LEADER, GRANDCHILD, MEMBER, DAEMON, WORKER, COUNT };

struct view {
  volatile pid_t pid, parent, group, session, thread;
};

static struct view *views;
static pid_t threads[2];
static int gaps;
static int hold[2], ready[2];

static void look(int who) {
  views[who].parent = getppid();
  views[who].group = getpgrp();
  views[who].session = getsid(0);
  views[who].thread = thread_id();
  views[who].pid = getpid();
}

static void stay(int who) {
  char byte;
  close(hold[1]);
  look(who);
  CHECK(write(ready[1], "x", 1) == 1);
  // Until the shell has closed its end.
  CHECK(read(hold[0], &byte, 1) == 0);
  _exit(who);
}

static void leave_gap(void) {
  for (int i = 0; i < gaps; i++) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) _exit(0);
    reap_ok(child);
  }
}

static pid_t child(void) {
  leave_gap();
  pid_t child = fork();
  CHECK(child >= 0);
  return child;
}

static int release[2];

static void *thread(void *argument) {
  char byte;
  *(pid_t *)argument = thread_id();
  CHECK(write(ready[1], "x", 1) == 1);
  CHECK(read(release[0], &byte, 1) == 1);
  return 0;
}

static void await(int count) {
  char byte;
  for (int i = 0; i < count; i++) CHECK(read(ready[0], &byte, 1) == 1);
}

int main(int count, char **arguments) {
  if (count > 1) gaps = atoi(arguments[1]);
  views = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(views != MAP_FAILED);
  CHECK(pipe(hold) == 0 && pipe(ready) == 0 && pipe(release) == 0);

  pthread_t handles[2];
  for (int i = 0; i < 2; i++) {
    CHECK(pthread_create(&handles[i], 0, thread, &threads[i]) == 0);
    await(1);
  }

  pid_t leader = child();
  if (leader == 0) {
    CHECK(setpgid(0, 0) == 0);
    if (child() == 0) stay(GRANDCHILD);
    stay(LEADER);
  }
  await(2);
  pid_t member = child();
  if (member == 0) {
    CHECK(setpgid(0, leader) == 0);
    stay(MEMBER);
  }
  await(1);
  pid_t daemon = child();
  if (daemon == 0) {
    CHECK_EQUAL(setsid(), getpid());
    if (child() == 0) stay(WORKER);
    stay(DAEMON);
  }
  await(2);
  look(SHELL);

  CHECK_EQUAL(views[LEADER].pid, leader);
  CHECK_EQUAL(views[MEMBER].pid, member);
  CHECK_EQUAL(views[DAEMON].pid, daemon);
  CHECK_EQUAL(views[GRANDCHILD].parent, leader);
  CHECK_EQUAL(views[WORKER].parent, daemon);
  CHECK_EQUAL(views[WORKER].session, daemon);
  const int children[] = {LEADER, MEMBER, DAEMON};
  for (int i = 0; i < 3; i++) CHECK_EQUAL(views[children[i]].parent, getpid());
  for (int who = 0; who < COUNT; who++) {
    CHECK_EQUAL(views[who].thread, views[who].pid);
    printf("%d: process %d, parent %d, group %d, session %d\n", who, views[who].pid,
           views[who].parent, views[who].group, views[who].session);
  }
  printf("threads %d %d\nready\n", threads[0], threads[1]);
  fflush(stdout);
  char line[16];
  (void)!read(0, line, sizeof line);

  // What others are told is what they know of themselves.
  for (int who = 0; who < COUNT; who++) {
    CHECK(kill(views[who].pid, 0) == 0);
    CHECK_EQUAL(getpgid(views[who].pid), views[who].group);
    CHECK_EQUAL(getsid(views[who].pid), views[who].session);
  }
  CHECK(kill(-leader, 0) == 0 && kill(-daemon, 0) == 0);
  for (int i = 0; i < 2; i++) CHECK(syscall(SYS_tgkill, getpid(), threads[i], 0) == 0);

  CHECK(write(release[1], "xx", 2) == 2);
  for (int i = 0; i < 2; i++) CHECK(pthread_join(handles[i], 0) == 0);
  close(hold[1]);
  int status;
  for (int i = 0; i < 2; i++) {
    pid_t ended = waitpid(-leader, &status, 0);
    CHECK(ended == leader || ended == member);
    CHECK_EQUAL(WEXITSTATUS(status), ended == leader ? LEADER : MEMBER);
  }
  CHECK_EQUAL(waitpid(-1, &status, 0), daemon);
  CHECK_EQUAL(WEXITSTATUS(status), DAEMON);
  CHECK(waitpid(-1, 0, 0) == -1 && errno == ECHILD);

  pid_t next = fork();
  CHECK(next >= 0);
  if (next == 0) _exit(0);
  reap_ok(next);
  printf("next %d\n", next);
  return 0;
}
