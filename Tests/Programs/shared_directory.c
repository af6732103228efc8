// What a program finds in /dev/shm that does there whatever can be done in a directory, by all sorts of paths. Files begin
// with the argument; nobody else may use these names.

#include "check.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>

static const char *base = "shared-directory";

static const char *at(const char *start, const char *end) {
  static char paths[8][512];
  static int next;
  char *path = paths[next++ % 8];
  snprintf(path, sizeof paths[0], "%s/%s%s", start, base, end);
  return path;
}

static int lists(const char *directory, const char *end) {
  DIR *listing = opendir(directory);
  CHECK(listing != NULL);
  char name[300];
  snprintf(name, sizeof name, "%s%s", base, end);
  int found = 0;
  for (struct dirent *entry; (entry = readdir(listing)) != NULL;) found |= !strcmp(entry->d_name, name);
  closedir(listing);
  return found;
}

static void contains(const char *path, const char *text) {
  char found[64] = {0};
  int file = open(path, O_RDONLY | O_CLOEXEC);
  CHECK(file >= 0);
  CHECK_EQUAL(read(file, found, sizeof found - 1), strlen(text));
  CHECK(!strcmp(found, text));
  close(file);
}

static void write_to(const char *path, const char *text) {
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  CHECK(file >= 0);
  CHECK_EQUAL(write(file, text, strlen(text)), strlen(text));
  close(file);
}

static void files(void) {
  const char *path = strdup(at("/dev/shm", "-a"));
  struct stat status;
  CHECK(stat(path, &status) == -1 && errno == ENOENT);
  CHECK(access(path, F_OK) == -1 && errno == ENOENT);
  CHECK(unlink(path) == -1 && errno == ENOENT);
  write_to(path, "first");
  CHECK_EQUAL(stat(path, &status), 0);
  CHECK_EQUAL(status.st_size, 5);
  ino_t inode = status.st_ino;
  CHECK_EQUAL(lstat(path, &status), 0);
  CHECK_EQUAL(access(path, R_OK), 0);
  CHECK_EQUAL(chmod(path, 0640), 0);
  CHECK_EQUAL(truncate(path, 3), 0);
  CHECK_EQUAL(stat(path, &status), 0);
  CHECK_EQUAL(status.st_mode, S_IFREG | 0640);
  CHECK(lists("/dev/shm", "-a"));

  // It is what shm_open finds, and by whatever path.
  int object = shm_open(strrchr(path, '/'), O_RDWR, 0);
  CHECK(object >= 0);
  CHECK_EQUAL(fstat(object, &status), 0);
  CHECK_EQUAL(status.st_ino, inode);
  close(object);
  contains(at("/dev//shm/.", "-a"), "fir");
  contains(at("/dev/../dev/shm/../shm", "-a"), "fir");
  contains(at("/proc/self/root/dev/shm", "-a"), "fir");
  int directory = open("/dev", O_PATH | O_DIRECTORY);
  CHECK(directory >= 0);
  CHECK((object = openat(directory, at("shm", "-a"), O_RDWR)) >= 0);
  close(object);
  close(directory);
  CHECK_EQUAL(chdir("/dev"), 0);
  contains(at("shm", "-a"), "fir");
  CHECK_EQUAL(chdir("/dev/shm"), 0);
  contains(at(".", "-a"), "fir");
  char where[64];
  CHECK(getcwd(where, sizeof where) && !strcmp(where, "/dev/shm"));
  CHECK(getcwd(where, 9) && !strcmp(where, "/dev/shm"));
  CHECK(getcwd(where, 8) == NULL && errno == ERANGE);
  CHECK_EQUAL(access("../null", R_OK), 0);
  CHECK_EQUAL(access("../../dev/shm/../null", R_OK), 0);
  CHECK_EQUAL(chdir(".."), 0);
  CHECK(getcwd(where, sizeof where) && !strcmp(where, "/dev"));
  CHECK_EQUAL(chdir("/"), 0);

  // Moved, linked, and what no file is.
  CHECK_EQUAL(rename(path, at("/dev/shm", "-b")), 0);
  CHECK(!lists("/dev/shm", "-a") && lists("/dev/shm", "-b"));
  CHECK_EQUAL(link(at("/dev/shm", "-b"), at("/dev/shm", "-a")), 0);
  CHECK_EQUAL(stat(path, &status), 0);
  CHECK_EQUAL(status.st_nlink, 2);
  CHECK_EQUAL(unlink(at("/dev/shm", "-b")), 0);
  CHECK_EQUAL(symlink(strrchr(path, '/') + 1, at("/dev/shm", "-s")), 0);
  contains(at("/dev/shm", "-s"), "fir");
  CHECK_EQUAL(readlink(at("/dev/shm", "-s"), where, sizeof where), strlen(base) + 2);
  CHECK_EQUAL(unlink(at("/dev/shm", "-s")), 0);
  CHECK_EQUAL(mkdir(at("/dev/shm", "-d"), 0700), 0);
  write_to(at("/dev/shm", "-d/inner"), "text");
  CHECK(rmdir(at("/dev/shm", "-d")) == -1 && errno == ENOTEMPTY);
  directory = open(at("/dev/shm", "-d"), O_RDONLY | O_DIRECTORY);
  CHECK(directory >= 0);
  CHECK_EQUAL(unlinkat(directory, "inner", 0), 0);
  CHECK_EQUAL(openat(directory, "../../null", O_RDONLY) >= 0, 1);
  close(directory);
  CHECK_EQUAL(rmdir(at("/dev/shm", "-d")), 0);
  CHECK_EQUAL(unlink(path), 0);

  struct statfs system;
  CHECK_EQUAL(statfs("/dev/shm", &system), 0);
  CHECK_EQUAL(system.f_type, 0x01021994);
  CHECK_EQUAL(stat("/dev/shm", &status), 0);
  CHECK_EQUAL(status.st_mode, S_IFDIR | 01777);
}

// Who opens a pipe waits for the other side, and can be interrupted.
static void nothing(int signal) {}
static void pipes(void) {
  const char *path = strdup(at("/dev/shm", "-p"));
  CHECK_EQUAL(mkfifo(path, 0600), 0);
  pid_t child = fork();
  if (child == 0) {
    pause_ms(50);
    int writer = open(path, O_WRONLY);
    CHECK(writer >= 0);
    CHECK_EQUAL(write(writer, "x", 1), 1);
    _exit(0);
  }
  int reader = open(path, O_RDONLY);
  CHECK(reader >= 0);
  char byte;
  CHECK_EQUAL(read(reader, &byte, 1), 1);
  close(reader);
  reap_ok(child);
  struct sigaction action = {.sa_handler = nothing};
  sigaction(SIGUSR1, &action, NULL);
  pid_t parent = getpid();
  child = fork();
  if (child == 0) {
    for (int i = 0; i < 20; i++) {
      pause_ms(20);
      kill(parent, SIGUSR1);
    }
    _exit(0);
  }
  CHECK(open(path, O_RDONLY) == -1 && errno == EINTR);
  int status;
  while (waitpid(child, &status, 0) == -1) CHECK_EQUAL(errno, EINTR);
  CHECK_EQUAL(unlink(path), 0);
}

// Threads that open, write and remove at once.
static void *busy(void *number) {
  char end[32];
  for (int i = 0; i < 100; i++) {
    snprintf(end, sizeof end, "-t%d", (int)(intptr_t)number);
    char path[300];
    snprintf(path, sizeof path, "/dev/shm/%s%s", base, end);
    int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    CHECK(file >= 0);
    CHECK_EQUAL(write(file, &i, sizeof i), sizeof i);
    close(file);
    struct stat status;
    CHECK_EQUAL(stat(path, &status), 0);
    CHECK_EQUAL(unlink(path), 0);
  }
  return NULL;
}

int main(int count, char **arguments) {
  if (count > 1) base = arguments[1];
  let_area_come();
  files();
  pipes();
  pthread_t threads[3];
  for (intptr_t i = 0; i < 3; i++) CHECK_EQUAL(pthread_create(&threads[i], NULL, busy, (void *)i), 0);
  for (int i = 0; i < 3; i++) CHECK_EQUAL(pthread_join(threads[i], NULL), 0);
  return 0;
}
