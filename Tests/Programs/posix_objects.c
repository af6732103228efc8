// POSIX shared memory, named semaphores and message queues, as the C library has them: objects under names that begin with
// the first argument. Nobody else may use these names. A second one leaves out files in /dev/shm, which are no objects.

#include "check.h"

#include <fcntl.h>
#include <mqueue.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/stat.h>

static const char *base = "posix-objects";

// A name of this program, "/BASE-END".
static const char *named(const char *end) {
  static char names[8][300];
  static int next;
  char *name = names[next++ % 8];
  snprintf(name, sizeof names[0], "/%s-%s", base, end);
  return name;
}

// ---- Shared memory

static void shared_memory(void) {
  const char *name = named("memory");
  CHECK_EQUAL(shm_open(name, O_RDWR, 0), -1);
  CHECK_EQUAL(errno, ENOENT);
  CHECK_EQUAL(shm_unlink(name), -1);
  CHECK_EQUAL(errno, ENOENT);
  mode_t mask = umask(022);
  int first = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0666);
  CHECK(first >= 0);
  umask(mask);
  CHECK_EQUAL(fcntl(first, F_GETFD), FD_CLOEXEC);
  CHECK_EQUAL(fcntl(first, F_GETFL) & O_ACCMODE, O_RDWR);
  struct stat status;
  CHECK_EQUAL(fstat(first, &status), 0);
  CHECK_EQUAL(status.st_mode, S_IFREG | 0644);
  CHECK_EQUAL(status.st_uid, geteuid());
  CHECK_EQUAL(status.st_size, 0);
  CHECK_EQUAL(shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600), -1);
  CHECK_EQUAL(errno, EEXIST);
  CHECK_EQUAL(ftruncate(first, 8192), 0);
  CHECK_EQUAL(posix_fallocate(first, 0, 8192), 0);
  int *words = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, first, 0);
  CHECK(words != MAP_FAILED);
  words[0] = 1;

  // A child has the mapping, and another process finds the object by its name.
  pid_t child = fork();
  if (child == 0) {
    int again = shm_open(name, O_RDWR, 0);
    CHECK(again >= 0 && again != first);
    int *other = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0);
    CHECK(other != MAP_FAILED && other != words);
    CHECK_EQUAL(other[0], 1);
    other[1] = 2;
    words[2] = 3;
    _exit(0);
  }
  reap_ok(child);
  CHECK_EQUAL(words[1], 2);
  CHECK_EQUAL(words[2], 3);

  int reader = shm_open(name, O_RDONLY, 0);
  CHECK(reader >= 0);
  CHECK(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, reader, 0) == MAP_FAILED && errno == EACCES);
  close(reader);
  // The lowest free number, as any descriptor.
  int lowest = dup(0);
  close(lowest);
  int emptied = shm_open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK_EQUAL(emptied, lowest);
  CHECK_EQUAL(fstat(emptied, &status), 0);
  CHECK_EQUAL(status.st_size, 0);
  CHECK_EQUAL(status.st_mode, S_IFREG | 0644);
  close(emptied);

  CHECK_EQUAL(shm_unlink(name), 0);
  CHECK_EQUAL(shm_open(name, O_RDWR, 0), -1);
  CHECK_EQUAL(errno, ENOENT);
  // What is open stays; a new one of the same name is another.
  CHECK_EQUAL(ftruncate(first, 4096), 0);
  words[0] = 7;
  int second = shm_open(name, O_RDWR | O_CREAT, 0600);
  CHECK(second >= 0);
  CHECK_EQUAL(fstat(second, &status), 0);
  CHECK_EQUAL(status.st_size, 0);
  CHECK_EQUAL(shm_unlink(name), 0);
  close(first);
  close(second);
  munmap(words, 8192);

  // Names: the longest, one that is too long, and none.
  char longest[300];
  memset(longest, 'n', sizeof longest);
  longest[0] = '/';
  memcpy(longest + 1, base, strlen(base));
  longest[256] = 0;
  int file = shm_open(longest, O_RDWR | O_CREAT | O_EXCL, 0600);
  CHECK(file >= 0);
  close(file);
  CHECK_EQUAL(shm_unlink(longest), 0);
  CHECK_EQUAL(shm_open("/a/b", O_RDWR | O_CREAT, 0600), -1);
  CHECK_EQUAL(errno, EINVAL);

  // Many at once, in several processes.
  for (int process = 0; process < 3; process++)
    if (fork() == 0) {
      char own[40];
      for (int i = 0; i < 100; i++) {
        snprintf(own, sizeof own, "many-%d-%d", process, i % 5);
        const char *name = named(own);
        int file = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
        CHECK(file >= 0);
        CHECK_EQUAL(write(file, &i, sizeof i), sizeof i);
        close(file);
        CHECK((file = shm_open(name, O_RDONLY, 0)) >= 0);
        int read_back = -1;
        CHECK_EQUAL(read(file, &read_back, sizeof read_back), sizeof read_back);
        CHECK_EQUAL(read_back, i);
        close(file);
        CHECK_EQUAL(shm_unlink(name), 0);
      }
      _exit(0);
    }
  for (int process = 0; process < 3; process++) {
    int status = -1;
    CHECK(wait(&status) > 0);
    CHECK_EQUAL(status, 0);
  }
}

// ---- Semaphores

static void semaphores(void) {
  const char *name = named("semaphore");
  CHECK(sem_open(name, 0) == SEM_FAILED && errno == ENOENT);
  CHECK_EQUAL(sem_unlink(name), -1);
  CHECK_EQUAL(errno, ENOENT);
  sem_t *own = sem_open(name, O_CREAT | O_EXCL, 0600, 2);
  CHECK(own != SEM_FAILED);
  CHECK(sem_open(name, O_CREAT | O_EXCL, 0600, 2) == SEM_FAILED && errno == EEXIST);
  // The same one is the same address, in one process.
  CHECK(sem_open(name, 0) == own);
  int value = -1;
  CHECK_EQUAL(sem_getvalue(own, &value), 0);
  CHECK_EQUAL(value, 2);
  CHECK_EQUAL(sem_wait(own), 0);
  CHECK_EQUAL(sem_wait(own), 0);
  CHECK(sem_trywait(own) == -1 && errno == EAGAIN);
  pid_t child = fork();
  if (child == 0) {
    CHECK_EQUAL(sem_close(own), 0);
    CHECK_EQUAL(sem_close(own), 0);
    sem_t *other = sem_open(name, O_CREAT, 0600, 9);
    CHECK(other != SEM_FAILED);
    pause_ms(20);
    CHECK_EQUAL(sem_post(other), 0);
    _exit(0);
  }
  CHECK_EQUAL(sem_wait(own), 0);
  reap_ok(child);
  CHECK_EQUAL(sem_unlink(name), 0);
  CHECK(sem_open(name, 0) == SEM_FAILED && errno == ENOENT);
  CHECK_EQUAL(sem_post(own), 0);
  CHECK_EQUAL(sem_close(own), 0);
  CHECK_EQUAL(sem_close(own), 0);
}

// ---- Message queues

static volatile sig_atomic_t notified;
static volatile pid_t sender;
static void on_message(int signal, siginfo_t *info, void *context) {
  notified = info->si_code == SI_MESGQ ? info->si_value.sival_int : -1;
  sender = info->si_pid;
}

static void notice(union sigval value) { *(volatile int *)value.sival_ptr = 1; }

static void queues(void) {
  const char *name = named("queue");
  CHECK_EQUAL(mq_open(name, O_RDWR), (mqd_t)-1);
  if (errno == ENOSYS) return;
  CHECK_EQUAL(errno, ENOENT);
  CHECK_EQUAL(mq_unlink(name), -1);
  CHECK_EQUAL(errno, ENOENT);
  struct mq_attr wanted = {.mq_maxmsg = 4, .mq_msgsize = 64};
  mode_t mask = umask(022);
  mqd_t queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0666, &wanted);
  CHECK(queue != (mqd_t)-1);
  umask(mask);
  struct stat status;
  CHECK_EQUAL(fstat(queue, &status), 0);
  CHECK_EQUAL(status.st_mode, S_IFREG | 0644);
  CHECK_EQUAL(status.st_uid, geteuid());
  CHECK_EQUAL(fcntl(queue, F_GETFD), FD_CLOEXEC);
  CHECK(mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &wanted) == (mqd_t)-1 && errno == EEXIST);
  struct mq_attr found;
  CHECK_EQUAL(mq_getattr(queue, &found), 0);
  CHECK_EQUAL(found.mq_maxmsg, 4);
  CHECK_EQUAL(found.mq_msgsize, 64);
  CHECK_EQUAL(found.mq_curmsgs, 0);

  // Another process finds it by its name; who sends is told with the signal.
  struct sigaction action = {.sa_sigaction = on_message, .sa_flags = SA_SIGINFO};
  CHECK_EQUAL(sigaction(SIGUSR1, &action, NULL), 0);
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
  event.sigev_value.sival_int = 77;
  CHECK_EQUAL(mq_notify(queue, &event), 0);
  CHECK(mq_notify(queue, &event) == -1 && errno == EBUSY);
  int ready[2];
  CHECK_EQUAL(pipe(ready), 0);
  pid_t child = fork();
  if (child == 0) {
    mqd_t other = mq_open(name, O_WRONLY);
    CHECK(other != (mqd_t)-1);
    CHECK_EQUAL(mq_send(other, "low", 3, 1), 0);
    CHECK_EQUAL(mq_send(other, "high", 4, 5), 0);
    // Whose number it is must not be another's yet.
    close(ready[1]);
    char byte;
    CHECK_EQUAL(read(ready[0], &byte, 1), 0);
    _exit(0);
  }
  while (!notified) pause_ms(1);
  CHECK_EQUAL(notified, 77);
  CHECK_EQUAL(sender, child);
  close(ready[1]);
  reap_ok(child);
  char text[64];
  unsigned priority = 0;
  CHECK_EQUAL(mq_receive(queue, text, sizeof text, &priority), 4);
  CHECK(memcmp(text, "high", 4) == 0 && priority == 5);
  CHECK_EQUAL(mq_receive(queue, text, sizeof text, &priority), 3);
  CHECK(memcmp(text, "low", 3) == 0 && priority == 1);
  struct timespec at_once = {0, 0};
  CHECK(mq_timedreceive(queue, text, sizeof text, NULL, &at_once) == -1 && errno == ETIMEDOUT);
  CHECK(mq_receive(queue, text, 63, NULL) == -1 && errno == EMSGSIZE);

  // Notice by a thread.
  static volatile int was_noticed;
  struct sigevent by_thread = {.sigev_notify = SIGEV_THREAD};
  by_thread.sigev_notify_function = notice;
  by_thread.sigev_value.sival_ptr = (void *)&was_noticed;
  CHECK_EQUAL(mq_notify(queue, &by_thread), 0);
  CHECK_EQUAL(mq_send(queue, "x", 1, 0), 0);
  for (int i = 0; i < 5000 && !was_noticed; i++) pause_ms(1);
  CHECK_EQUAL(was_noticed, 1);

  // A queue that is open outlives its name.
  CHECK_EQUAL(mq_unlink(name), 0);
  CHECK(mq_open(name, O_RDWR) == (mqd_t)-1 && errno == ENOENT);
  CHECK_EQUAL(mq_receive(queue, text, sizeof text, NULL), 1);
  CHECK_EQUAL(mq_close(queue), 0);

  // Names.
  char longest[300];
  memset(longest, 'n', sizeof longest);
  longest[0] = '/';
  memcpy(longest + 1, base, strlen(base));
  longest[256] = 0;
  queue = mq_open(longest, O_RDWR | O_CREAT | O_EXCL, 0600, &wanted);
  CHECK(queue != (mqd_t)-1);
  mq_close(queue);
  longest[255] = 'm';
  CHECK(mq_open(longest, O_RDWR) == (mqd_t)-1 && errno == ENOENT);
  longest[255] = 'n';
  CHECK_EQUAL(mq_unlink(longest), 0);
  longest[256] = 'n';
  longest[257] = 0;
  CHECK(mq_open(longest, O_RDWR) == (mqd_t)-1 && errno == ENAMETOOLONG);
  CHECK(mq_unlink(longest) == -1 && errno == ENAMETOOLONG);
  const char *wrong[] = {"a/b", ".", "..", "/"};
  for (int i = 0; i < 4; i++) {
    CHECK_EQUAL(syscall(SYS_mq_open, wrong[i], O_RDWR | O_CREAT, 0600, NULL), -1);
    CHECK_EQUAL(errno, EACCES);
    CHECK_EQUAL(syscall(SYS_mq_unlink, wrong[i]), -1);
    CHECK(errno == EACCES || errno == ENOENT);
  }
  CHECK_EQUAL(syscall(SYS_mq_open, "", O_RDWR | O_CREAT, 0600, NULL), -1);
  CHECK_EQUAL(errno, ENOENT);
  CHECK_EQUAL(syscall(SYS_mq_open, 8L, O_RDWR | O_CREAT, 0600, NULL), -1);
  CHECK_EQUAL(errno, EFAULT);
  CHECK_EQUAL(syscall(SYS_mq_unlink, 8L), -1);
  CHECK_EQUAL(errno, EFAULT);
  CHECK_EQUAL(syscall(SYS_mq_open, named("queue") + 1, O_RDWR | O_CREAT, 0600, 8L), -1);
  CHECK_EQUAL(errno, EFAULT);
}

// ---- Files beside objects

static void files(void) {
  char path[300], other[300];
  snprintf(path, sizeof path, "/dev/shm%s", named("file"));
  snprintf(other, sizeof other, "/dev/shm%s", named("moved"));
  int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  CHECK(file >= 0);
  CHECK_EQUAL(write(file, "text", 4), 4);
  close(file);
  // Whoever makes a file as a file finds it as one, whatever is done to it.
  struct stat status;
  CHECK_EQUAL(stat(path, &status), 0);
  CHECK_EQUAL(status.st_size, 4);
  CHECK((file = open(path, O_RDONLY | O_NOFOLLOW)) >= 0);
  close(file);
  CHECK_EQUAL(rename(path, other), 0);
  CHECK((file = open(other, O_RDONLY | O_CLOEXEC)) >= 0);
  close(file);
  CHECK_EQUAL(link(other, path), 0);
  CHECK_EQUAL(unlink(path), 0);
  CHECK_EQUAL(unlink(other), 0);
  CHECK(unlink(other) == -1 && errno == ENOENT);
  CHECK_EQUAL(symlink("nowhere", path), 0);
  CHECK(open(path, O_RDONLY | O_NOFOLLOW) == -1 && errno == ELOOP);
  CHECK_EQUAL(unlink(path), 0);
  CHECK_EQUAL(mkdir(path, 0700), 0);
  CHECK(unlink(path) == -1 && errno == EISDIR);
  CHECK_EQUAL(rmdir(path), 0);
  CHECK_EQUAL(open((char *)8, O_RDWR | O_CREAT, 0600), -1);
  CHECK_EQUAL(errno, EFAULT);
  CHECK_EQUAL(unlink((char *)8), -1);
  CHECK_EQUAL(errno, EFAULT);
}

int main(int count, char **arguments) {
  if (count > 1) base = arguments[1];
  let_area_come();
  shared_memory();
  semaphores();
  queues();
  if (count < 3) files();
  return 0;
}
