// Makes calls and says what they cost: micro_costs REQUESTS ANSWERS CPU [allow-all]. REQUESTS and ANSWERS are pipes with names. A
// request is a line "CALL COUNT", an answer the nanoseconds that one call took, or "?". With a CPU that isn't negative it stays there;
// with `allow-all` under a seccomp filter that allows everything. Ends when nobody has REQUESTS open any more.
//
// micro_costs CALL COUNT only makes calls, for who counts something else than time.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static char *self;
static pid_t own;
static int zero, null, pipes[2], sockets[2], stirred_pipe, stirred_socket, word;
static char byte;
static struct iovec vector = {&byte, 1};
static struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};

static void check(int condition, const char *what) {
  if (!condition) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    _exit(1);
  }
}

static void call_getpid(void) { getpid(); }
static void call_gettid(void) { gettid(); }
static void call_getppid(void) { getppid(); }
static void call_getpgrp(void) { getpgrp(); }
static void call_getpgid(void) { getpgid(own); }
static void call_getsid(void) { getsid(0); }
static void call_kill(void) { kill(own, 0); }

// The paper's: a segment is made and removed; one is attached twice, written to in both places, and detached.
static void call_shmget(void) {
  int made = shmget(IPC_PRIVATE, 4096, 0600);
  check(made >= 0 && shmctl(made, IPC_RMID, NULL) == 0, "shmget");
}
static int segment = -1;
static void call_shmat(void) {
  if (segment < 0) segment = shmget(IPC_PRIVATE, 4096, 0600);
  char *one = shmat(segment, NULL, 0), *other = shmat(segment, NULL, 0);
  check(one != (char *)-1 && other != (char *)-1, "shmat");
  one[0] = other[1] = 1;
  check(shmdt(one) == 0 && shmdt(other) == 0, "shmdt");
}
// One process takes a semaphore and gives it back, or sends itself a message and takes it: nobody waits.
static int set = -1, queue = -1;
static void call_semop(void) {
  if (set < 0) set = semget(IPC_PRIVATE, 1, 0600);
  struct sembuf up = {0, 1, 0}, down = {0, -1, 0};
  check(semop(set, &up, 1) == 0 && semop(set, &down, 1) == 0, "semop");
}
static void call_msg(void) {
  if (queue < 0) queue = msgget(IPC_PRIVATE, 0600);
  struct {
    long type;
    char text[64];
  } letter = {1, "a message"};
  check(msgsnd(queue, &letter, sizeof letter.text, 0) == 0, "msgsnd");
  check(msgrcv(queue, &letter, sizeof letter.text, 0, 0) == sizeof letter.text, "msgrcv");
}
__attribute__((destructor)) static void remove_objects(void) {
  if (segment >= 0) shmctl(segment, IPC_RMID, NULL);
  if (set >= 0) semctl(set, 0, IPC_RMID);
  if (queue >= 0) msgctl(queue, IPC_RMID, NULL);
}

// In these no name crosses.
static void call_umask(void) { umask(022); }
static void call_lseek(void) { lseek(-1, 0, 0); }
static void call_sched_yield(void) { sched_yield(); }
static void call_read(void) { check(read(zero, &byte, 1) == 1, "read"); }
static void call_write(void) { check(write(null, &byte, 1) == 1, "write"); }
static void call_fcntl(void) { fcntl(null, F_GETFD); }
static void call_ioctl(void) { ioctl(null, 0x5401 /* TCGETS */, 0); }
static void call_futex(void) { syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0); }
static void call_sendmsg_recvmsg(void) {
  check(sendmsg(sockets[0], &message, 0) == 1 && recvmsg(sockets[1], &message, 0) == 1, "sendmsg and recvmsg");
}
static void through(int to, int from) {
  check(write(to, &byte, 1) == 1 && read(from, &byte, 1) == 1, "write and read");
}
static void call_pipe(void) { through(pipes[1], pipes[0]); }
static void call_socket(void) { through(sockets[0], sockets[1]); }
static void wait_for(int epoll) {
  struct epoll_event event;
  check(epoll_wait(epoll, &event, 1, 0) == 1, "epoll_wait");
}
static void call_epoll_pipe(void) { wait_for(stirred_pipe); }
static void call_epoll_socket(void) { wait_for(stirred_socket); }

static void await(pid_t child) {
  int status;
  pid_t found;
  while ((found = waitpid(child, &status, 0)) < 0 && errno == EINTR) {
  }
  check(child > 0 && found == child && status == 0, "a child");
}
static void fork_wait(void) {
  pid_t child = fork();
  if (child == 0) _exit(0);
  await(child);
}
static void fork_exec_wait(void) {
  pid_t child = fork();
  if (child == 0) {
    execl(self, self, (char *)0);
    _exit(127);
  }
  await(child);
}
static void vfork_wait(void) {
  pid_t child = vfork();
  if (child == 0) _exit(0);
  await(child);
}
static void vfork_exec_wait(void) {
  pid_t child = vfork();
  if (child == 0) {
    execl(self, self, (char *)0);
    _exit(127);
  }
  await(child);
}
static void spawn_wait(void) {
  char *arguments[] = {self, 0};
  pid_t child;
  check(posix_spawn(&child, self, 0, 0, arguments, environ) == 0, "posix_spawn");
  await(child);
}
static void *nothing(void *argument) { return argument; }
static void thread_join(void) {
  pthread_t thread;
  check(pthread_create(&thread, 0, nothing, 0) == 0 && pthread_join(thread, 0) == 0, "a thread");
}

static const struct {
  const char *name;
  void (*make)(void);
} calls[] = {
    {"getpid", call_getpid},
    {"gettid", call_gettid},
    {"getppid", call_getppid},
    {"getpgrp", call_getpgrp},
    {"getpgid", call_getpgid},
    {"getsid", call_getsid},
    {"kill", call_kill},
    {"umask", call_umask},
    {"lseek", call_lseek},
    {"shmget+remove", call_shmget},
    {"shmat+shmat", call_shmat},
    {"semop+semop", call_semop},
    {"msgsnd+msgrcv", call_msg},
    {"sched_yield", call_sched_yield},
    {"read", call_read},
    {"write", call_write},
    {"fcntl", call_fcntl},
    {"ioctl", call_ioctl},
    {"futex", call_futex},
    {"sendmsg+recvmsg", call_sendmsg_recvmsg},
    {"pipe", call_pipe},
    {"socket", call_socket},
    {"epoll-pipe", call_epoll_pipe},
    {"epoll-socket", call_epoll_socket},
    {"fork+wait", fork_wait},
    {"fork+exec+wait", fork_exec_wait},
    {"vfork+wait", vfork_wait},
    {"vfork+exec+wait", vfork_exec_wait},
    {"spawn+wait", spawn_wait},
    {"thread+join", thread_join},
};

static int call_named(const char *name) {
  for (int call = 0; call < (int)(sizeof calls / sizeof *calls); call++)
    if (strcmp(calls[call].name, name) == 0) return call;
  return -1;
}

// An epoll descriptor with one that is ready.
static int stirred(int readable, int writable) {
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN};
  check(epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, readable, &event) == 0, "epoll");
  check(write(writable, &byte, 1) == 1, "write");
  return epoll;
}

static void allow_all(void) {
  struct sock_filter instruction = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  struct sock_fprog program = {1, &instruction};
  check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
  check(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0, "seccomp");
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

int main(int count, char **arguments) {
  // What the calls execute.
  if (count == 1) return 0;
  check(count >= 3, "usage: micro_costs REQUESTS ANSWERS CPU [allow-all], or micro_costs CALL COUNT");
  self = arguments[0];
  own = getpid();
  int cpu = count > 3 ? atoi(arguments[3]) : -1;
  if (cpu >= 0) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    check(sched_setaffinity(0, sizeof set, &set) == 0, "sched_setaffinity");
  }
  int ready[2], other[2];
  check(pipe2(pipes, O_CLOEXEC) == 0 && pipe2(ready, O_CLOEXEC) == 0, "pipe");
  check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0, "socketpair");
  check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, other) == 0, "socketpair");
  stirred_pipe = stirred(ready[0], ready[1]);
  stirred_socket = stirred(other[0], other[1]);
  zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
  null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  check(zero >= 0 && null >= 0, "files");
  if (count == 3) {
    int found = call_named(arguments[1]);
    check(found >= 0, arguments[1]);
    for (long i = atol(arguments[2]); i > 0; i--) calls[found].make();
    return 0;
  }
  FILE *requests = fopen(arguments[1], "re"), *answers = fopen(arguments[2], "we");
  check(requests && answers, "pipes");
  if (count > 4) allow_all();

  char name[64];
  long number;
  while (fscanf(requests, "%63s %ld", name, &number) == 2) {
    int found = call_named(name);
    if (found < 0) {
      fprintf(answers, "?\n");
    } else {
      for (long i = 0; i < number / 16; i++) calls[found].make();
      double start = now();
      for (long i = 0; i < number; i++) calls[found].make();
      fprintf(answers, "%.2f\n", (now() - start) / number);
    }
    check(fflush(answers) == 0, "answers");
  }
  return 0;
}
