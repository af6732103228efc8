// What getpid(2) costs, and how often its caller gave up the CPU for it: nanoseconds, voluntary and other switches for each call.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

int main(int argc, char **argv) {
  int batches = argc > 1 ? atoi(argv[1]) : 11, calls = argc > 2 ? atoi(argv[2]) : 5000;
  for (int i = 0; i < 1000; i++) syscall(SYS_getpid);
  for (int batch = 0; batch < batches; batch++) {
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    double start = now();
    for (int i = 0; i < calls; i++) syscall(SYS_getpid);
    double end = now();
    getrusage(RUSAGE_SELF, &after);
    printf("%.1f %.3f %.3f\n", (end - start) / calls, (double)(after.ru_nvcsw - before.ru_nvcsw) / calls,
           (double)(after.ru_nivcsw - before.ru_nivcsw) / calls);
  }
  return 0;
}
