// What process calls cost, in nanoseconds: one line a call with the median of several batches.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static const char *self;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void measure(const char *name, void (*body)(void), int count) {
  double samples[11];
  for (int batch = 0; batch < 11; batch++) {
    double start = now();
    for (int i = 0; i < count; i++) body();
    samples[batch] = (now() - start) / count;
  }
  qsort(samples, 11, sizeof *samples, compare);
  printf("%s %.0f\n", name, samples[5]);
}

static void call_getpid(void) { syscall(SYS_getpid); }
static void call_getppid(void) { syscall(SYS_getppid); }
static void call_getpgid(void) { syscall(SYS_getpgid, getpid()); }
static void call_uncrossed(void) { syscall(SYS_umask, 022); }
static void call_kill(void) { kill(getpid(), 0); }
static void fork_wait(void) {
  pid_t child = fork();
  if (child == 0) _exit(0);
  waitpid(child, NULL, 0);
}
static void vfork_wait(void) {
  pid_t child = vfork();
  if (child == 0) _exit(0);
  waitpid(child, NULL, 0);
}
static void fork_exec_wait(void) {
  pid_t child = fork();
  if (child == 0) {
    execl(self, self, "nothing", (char *)0);
    _exit(127);
  }
  waitpid(child, NULL, 0);
}
// In a pod whose area comes into every program: one for which it has no descriptor. The difference is what the area's
// coming costs, but for the attempt.
static void fork_exec_wait_without_area(void) {
  pid_t child = fork();
  if (child == 0) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = 3;
    setrlimit(RLIMIT_NOFILE, &files);
    execl(self, self, "nothing", (char *)0);
    _exit(127);
  }
  waitpid(child, NULL, 0);
}
static void *nothing(void *argument) { return argument; }
static void thread_join(void) {
  pthread_t thread;
  pthread_create(&thread, NULL, nothing, NULL);
  pthread_join(thread, NULL);
}

int main(int count, char **vector) {
  if (count > 1) return 0;
  self = vector[0];
  measure("umask", call_uncrossed, 2000);
  measure("getpid", call_getpid, 1000);
  measure("getppid", call_getppid, 500);
  measure("getpgid", call_getpgid, 500);
  measure("kill", call_kill, 500);
  measure("fork+wait", fork_wait, 100);
  measure("vfork+wait", vfork_wait, 100);
  measure("fork+exec+wait", fork_exec_wait, 50);
  measure("fork+exec+wait-without-area", fork_exec_wait_without_area, 50);
  measure("thread+join", thread_join, 100);
  return 0;
}
