// Processes that execute programs in several ways, each of which ends with a status of its own: what happened to a process before
// its end, its pod's events say.
#include "check.h"
#include <spawn.h>

extern char **environ;
static char *self;

static pid_t begin(int status) {
  pid_t child = fork();
  CHECK(child >= 0);
  if (child != 0) return child;
  char *text[] = {NULL, "3", "4", "5", "6", "7", "8"};
  char *once[] = {self, text[status - 2], NULL}, *twice[] = {self, "again", text[status - 2], NULL};
  switch (status) {
  case 3: execv(self, once); break;
  case 4:
    CHECK(execv("/nowhere/at/all", once) == -1 && errno == ENOENT);
    CHECK(setpgid(0, 0) == 0);
    _exit(4);
  case 5: execv(self, twice); break;
  case 8:
    CHECK(execv("/nowhere/at/all", once) == -1 && errno == ENOENT);
    CHECK(execv("nowhere", once) == -1 && errno == ENOENT);
    _exit(8);
  case 6:
    CHECK(execv("/nowhere/at/all", once) == -1 && errno == ENOENT);
    CHECK(execv("/dev/null", once) == -1 && errno == EACCES);
    execv(self, once);
    break;
  }
  _exit(127);
}

int main(int count, char **vector) {
  self = vector[0];
  if (count > 2) execv(self, (char *[]){self, vector[2], NULL});
  if (count > 1) _exit(atoi(vector[1]));
  int status;
  static const int statuses[] = {3, 4, 5, 6, 8}; // one exec, none, two, one, none
  for (int i = 0; i < 25; i++) {
    int expected = statuses[i % 5];
    pid_t child = begin(expected);
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(WEXITSTATUS(status), expected);
  }
  for (int i = 0; i < 5; i++) {
    pid_t child;
    CHECK_EQUAL(posix_spawn(&child, self, NULL, NULL, (char *[]){self, "7", NULL}, environ), 0);
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(WEXITSTATUS(status), 7);
  }
  return 0;
}
