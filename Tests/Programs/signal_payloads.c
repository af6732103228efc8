// P30, P32, P57, P62, S3, S4, S6, S10: what a sender puts into a siginfo arrives as it was sent: as a name only where it is one.
#include "check.h"
#include <fcntl.h>
#include <sys/signalfd.h>

static volatile siginfo_t last;
static volatile sig_atomic_t count;
static void handler(int signal, siginfo_t *info, void *context) {
  (void)signal;
  (void)context;
  *(siginfo_t *)&last = *info;
  count++;
}

static sigset_t old, usr1, usr2;
static int records;

// What a handler sees of a signal that this process sends itself.
static siginfo_t handled(siginfo_t info) {
  CHECK(syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, &info) == 0);
  int before = count;
  while (count == before) sigsuspend(&old);
  return *(siginfo_t *)&last;
}

// What sigwaitinfo sees of it.
static siginfo_t waited(siginfo_t info) {
  CHECK(syscall(SYS_rt_tgsigqueueinfo, getpid(), thread_id(), SIGUSR2, &info) == 0);
  siginfo_t seen;
  CHECK_EQUAL(sigwaitinfo(&usr2, &seen), SIGUSR2);
  return seen;
}

static void expect(int code, int word) {
  siginfo_t info;
  memset(&info, 0, sizeof info);
  info.si_signo = SIGUSR1;
  info.si_code = code;
  info.si_pid = word;
  info.si_value.sival_int = 4711;
  siginfo_t seen = handled(info);
  CHECK_EQUAL(seen.si_code, code);
  CHECK_EQUAL(seen.si_pid, word);
  CHECK_EQUAL(seen.si_value.sival_int, 4711);
  seen = waited(info);
  // glibc shows a tkill as a kill there.
  CHECK(seen.si_code == code || (code == SI_TKILL && seen.si_code == SI_USER));
  CHECK_EQUAL(seen.si_pid, word);
  int handle = (int)syscall(SYS_pidfd_open, getpid(), 0);
  CHECK(handle >= 0);
  info.si_signo = SIGUSR2;
  CHECK(syscall(SYS_pidfd_send_signal, handle, SIGUSR2, &info, 0) == 0);
  CHECK_EQUAL(sigwaitinfo(&usr2, &seen), SIGUSR2);
  CHECK_EQUAL(seen.si_pid, word);
  close(handle);
  struct signalfd_siginfo record;
  CHECK(syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR2, &info) == 0);
  CHECK(read(records, &record, sizeof record) == sizeof record);
  CHECK_EQUAL(record.ssi_code, code);
  // A timer has no process.
  if (code != SI_TIMER) CHECK_RECORD((int)record.ssi_pid, word);
}

static volatile sig_atomic_t *fault_address;
static void fault(int signal, siginfo_t *info, void *context) {
  (void)signal;
  (void)context;
  _exit(info->si_addr == (void *)fault_address ? 0 : 3);
}

int main(void) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
  CHECK(sigaction(SIGALRM, &action, NULL) == 0);
  CHECK(sigaction(SIGIO, &action, NULL) == 0);
  sigset_t blocked;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  sigemptyset(&usr2);
  sigaddset(&usr2, SIGUSR2);
  sigemptyset(&blocked);
  for (int i = 0; i < 4; i++) sigaddset(&blocked, (int[]){SIGUSR1, SIGUSR2, SIGALRM, SIGIO}[i]);
  CHECK(sigprocmask(SIG_BLOCK, &blocked, &old) == 0);

  records = signalfd(-1, &usr2, 0);
  CHECK(records >= 0);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    alarm(20);
    for (;;) pause();
  }
  int words[] = {getpid(), child, getppid(), 4194000, 3999999, 0, -1, -4711, 0x7fffffff};
  for (unsigned i = 0; i < sizeof words / sizeof *words; i++) {
    expect(SI_QUEUE, words[i]);
    expect(SI_MESGQ, words[i]);
    // Only a process itself may say these of itself.
    expect(SI_USER, words[i]);
    expect(SI_TKILL, words[i]);
    // No process stands there: a timer's number, a code of the program's own.
    expect(SI_TIMER, words[i]);
    expect(SI_ASYNCIO, words[i]);
    expect(-60, words[i]);
  }
  siginfo_t info;
  memset(&info, 0, sizeof info);
  info.si_code = SI_USER;
  CHECK(syscall(SYS_rt_sigqueueinfo, child, SIGCONT, &info) == -1 && errno == EPERM);
  info.si_code = SI_TKILL;
  CHECK(syscall(SYS_rt_sigqueueinfo, child, SIGCONT, &info) == -1 && errno == EPERM);
  info.si_code = SI_QUEUE;
  CHECK(syscall(SYS_rt_sigqueueinfo, child, SIGCONT, &info) == 0);
  CHECK(syscall(SYS_rt_sigqueueinfo, 4194000, SIGCONT, &info) == -1 && errno == ESRCH);
  CHECK(syscall(SYS_rt_sigqueueinfo, child, SIGCONT, 8) == -1 && errno == EFAULT);
  CHECK(syscall(SYS_rt_tgsigqueueinfo, child, getpid(), SIGCONT, &info) == -1 && errno == ESRCH);

  // A timer's signal, whose number lies where others have a process.
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
  event.sigev_value.sival_int = 99;
  timer_t timers[6];
  for (int i = 0; i < 6; i++) CHECK(timer_create(CLOCK_MONOTONIC, &event, &timers[i]) == 0);
  struct itimerspec soon = {.it_value = {0, 1000000}};
  CHECK(timer_settime(timers[3], 0, &soon, NULL) == 0);
  for (count = 0; count == 0;) sigsuspend(&old);
  CHECK_EQUAL(last.si_code, SI_TIMER);
  CHECK_EQUAL(last.si_value.sival_int, 99);
  CHECK_EQUAL(last.si_timerid, (int)(intptr_t)timers[3]);

  // A file's signal names a descriptor.
  int ends[2];
  CHECK(pipe(ends) == 0);
  CHECK(fcntl(ends[0], F_SETOWN, getpid()) == 0);
  CHECK(fcntl(ends[0], F_SETSIG, SIGIO) == 0);
  CHECK(fcntl(ends[0], F_SETFL, O_ASYNC | O_NONBLOCK) == 0);
  CHECK(write(ends[1], "x", 1) == 1);
  for (count = 0; count == 0;) sigsuspend(&old);
  CHECK_EQUAL(last.si_signo, SIGIO);
  CHECK_EQUAL(last.si_fd, ends[0]);
  CHECK(last.si_band & 1 /* POLLIN */);

  // A fault names an address, which may look like a process.
  for (int i = 0; i < 3; i++) {
    pid_t faulty = fork();
    CHECK(faulty >= 0);
    if (faulty == 0) {
      struct sigaction crash = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO};
      CHECK(sigaction(SIGSEGV, &crash, NULL) == 0);
      fault_address = (volatile sig_atomic_t *)(intptr_t)(int[]){2, getpid(), getppid()}[i];
      *fault_address = 1;
      _exit(4);
    }
    reap_ok(faulty);
  }
  CHECK(kill(child, SIGKILL) == 0);
  CHECK_EQUAL(waitpid(child, NULL, 0), child);
  return 0;
}
