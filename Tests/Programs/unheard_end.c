// A thread is ended by a filter of its own, without a call that anybody could see. Its number becomes that of a process
// outside (number_given_again.c); whoever names the thread from then on reaches nobody.
#include "check.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/resource.h>

static volatile pid_t thread;

static void *end_unheard(void *nothing) {
  struct sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sched_yield, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_THREAD),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog filter = {4, rules};
  CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) == 0);
  thread = thread_id();
  sched_yield();
  return nothing;
}

static void name_thread(void) {
  struct rlimit few = {123, 123};
  struct sched_param none = {0};
  CHECK(setpriority(PRIO_PROCESS, (id_t)thread, 7) == -1 && errno == ESRCH);
  CHECK(syscall(SYS_prlimit64, thread, RLIMIT_NOFILE, &few, NULL) == -1 && errno == ESRCH);
  CHECK(sched_setscheduler(thread, SCHED_BATCH, &none) == -1 && errno == ESRCH);
}

int main(void) {
  pthread_t other;
  CHECK(pthread_create(&other, NULL, end_unheard, NULL) == 0);
  pause_ms(500);
  // Threads keep their physical number where it is free in the pod.
  printf("%d\n", thread);
  fflush(stdout);
  CHECK(getchar() == '\n');
  name_thread();
  pid_t child = fork();
  if (child == 0) {
    name_thread();
    _exit(0);
  }
  reap_ok(child);
  return 0;
}
