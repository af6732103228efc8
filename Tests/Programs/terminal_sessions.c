// P70, S9: who gets a terminal's signals, and what becomes of groups that nobody controls any more.
#include "check.h"
#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>

static int master, report[2];
static char slave_path[64];
static volatile sig_atomic_t hangups, continues, from_kernel = 1;

static void note(int signal, siginfo_t *info, void *context) {
  (void)context;
  if (signal == SIGHUP) hangups++;
  if (signal == SIGCONT) continues++;
  if (info->si_code == SI_KERNEL && info->si_pid != 0) from_kernel = 0;
}

static void say(int value) { CHECK(write(report[1], &value, sizeof value) == sizeof value); }
static int hear(void) {
  int value;
  CHECK(read(report[0], &value, sizeof value) == sizeof value);
  return value;
}

static void handle(int signal) {
  struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO};
  CHECK(sigaction(signal, &action, NULL) == 0);
}

// A session with a new terminal as its controlling one.
static int take_terminal(void) {
  alarm(20);
  CHECK(setsid() == getpid());
  CHECK(open("/dev/tty", O_RDWR) == -1 && errno == ENXIO);
  int terminal = open(slave_path, O_RDWR | O_NOCTTY);
  CHECK(terminal >= 0);
  pid_t value = 77;
  CHECK(ioctl(terminal, TIOCGPGRP, &value) == -1 && errno == ENOTTY);
  CHECK(ioctl(terminal, TIOCGSID, &value) == -1 && errno == ENOTTY);
  CHECK(ioctl(terminal, TIOCSCTTY, 0) == 0);
  CHECK_EQUAL(tcgetsid(terminal), getpid());
  CHECK_EQUAL(tcgetpgrp(terminal), getpid());
  return terminal;
}

static void new_terminal(void) {
  master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
  if (master < 0) _exit(0);  // A machine without terminals.
  int unlock = 0;
  unsigned number;
  CHECK(ioctl(master, TIOCSPTLCK, &unlock) == 0);
  CHECK(ioctl(master, TIOCGPTN, &number) == 0);
  snprintf(slave_path, sizeof slave_path, "/dev/pts/%u", number);
}

// Groups of one session take turns on the terminal.
static void turns(void) {
  int terminal = take_terminal();
  pid_t background = fork();
  CHECK(background >= 0);
  if (background == 0) {
    CHECK(setpgid(0, 0) == 0);
    handle(SIGTTIN);
    char byte;
    CHECK(read(terminal, &byte, 1) == -1 && errno == EINTR);
    CHECK(from_kernel);
    CHECK(signal(SIGTTOU, SIG_DFL) != SIG_ERR);
    // Stops: it isn't in the foreground.
    CHECK(tcsetpgrp(terminal, getpid()) == 0);
    CHECK_EQUAL(tcgetpgrp(terminal), getpid());
    _exit(0);
  }
  CHECK(setpgid(background, background) == 0 || errno == EACCES);
  int status;
  CHECK_EQUAL(waitpid(background, &status, WUNTRACED), background);
  CHECK(WIFSTOPPED(status));
  CHECK_EQUAL(WSTOPSIG(status), SIGTTOU);
  CHECK(tcsetpgrp(terminal, background) == 0);
  CHECK_EQUAL(tcgetpgrp(terminal), background);
  pid_t shown = 0;
  CHECK(ioctl(master, TIOCGPGRP, &shown) == 0);
  CHECK_EQUAL(shown, background);
  CHECK(ioctl(master, TIOCGSID, &shown) == 0);
  CHECK_EQUAL(shown, getpid());
  CHECK(kill(-background, SIGCONT) == 0);
  reap_ok(background);
  CHECK(signal(SIGTTOU, SIG_IGN) != SIG_ERR);
  CHECK(tcsetpgrp(terminal, getpgrp()) == 0);
  CHECK(tcsetpgrp(terminal, 4194000) == -1 && errno == ESRCH);
  CHECK(tcsetpgrp(terminal, -5) == -1 && errno == EINVAL);
  // Another session's group.
  CHECK(tcsetpgrp(terminal, getppid()) == -1 && (errno == EPERM || errno == ESRCH));
  // What is typed goes to the foreground.
  handle(SIGINT);
  handle(SIGHUP);
  handle(SIGCONT);
  sigset_t typed;
  sigemptyset(&typed);
  sigaddset(&typed, SIGINT);
  CHECK(sigprocmask(SIG_BLOCK, &typed, NULL) == 0);
  CHECK(write(master, "\003", 1) == 1);
  siginfo_t info;
  CHECK_EQUAL(sigwaitinfo(&typed, &info), SIGINT);
  CHECK_EQUAL(info.si_pid, 0);
  // Giving the terminal up tells the foreground.
  CHECK(ioctl(terminal, TIOCNOTTY) == 0);
  for (int i = 0; i < 1000 && !(hangups && continues); i++) pause_ms(1);
  CHECK(hangups == 1 && continues == 1 && from_kernel);
  CHECK(open("/dev/tty", O_RDWR) == -1 && errno == ENXIO);
  CHECK(ioctl(terminal, TIOCGPGRP, &shown) == -1 && errno == ENOTTY);
}

// The end of a session's leader is told to the foreground.
static void hangup(void) {
  int terminal = take_terminal();
  pid_t foreground = fork();
  CHECK(foreground >= 0);
  if (foreground == 0) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    CHECK(setpgid(0, 0) == 0);
    CHECK(signal(SIGTTOU, SIG_IGN) != SIG_ERR);
    CHECK(tcsetpgrp(terminal, getpid()) == 0);
    say(1);
    siginfo_t info;
    CHECK_EQUAL(sigwaitinfo(&set, &info), SIGHUP);
    CHECK_EQUAL(info.si_pid, 0);
    CHECK(open("/dev/tty", O_RDWR) == -1 && errno == ENXIO);
    say(2);
    _exit(0);
  }
  CHECK_EQUAL(hear(), 1);
}

// A stopped group that loses the last one who could continue it gets SIGHUP and SIGCONT.
static void orphaned(void) {
  // A session of its own, so that whoever adopts is in another.
  CHECK(setsid() == getpid());
  pid_t middle = fork();
  CHECK(middle >= 0);
  if (middle > 0) {
    reap_ok(middle);
    return;
  }
  CHECK(setpgid(0, 0) == 0);
  pid_t stopped = fork();
  CHECK(stopped >= 0);
  if (stopped == 0) {
    alarm(20);
    CHECK(setpgid(0, 0) == 0);
    handle(SIGHUP);
    handle(SIGCONT);
    CHECK(raise(SIGSTOP) == 0);
    for (int i = 0; i < 1000 && !(hangups && continues); i++) pause_ms(1);
    say(hangups == 1 && continues == 1 && from_kernel ? 3 : -1);
    // Nobody could continue it: signals of job control don't stop an orphaned group.
    CHECK(raise(SIGTSTP) == 0);
    say(4);
    _exit(0);
  }
  int status;
  CHECK_EQUAL(waitpid(stopped, &status, WUNTRACED), stopped);
  CHECK(WIFSTOPPED(status));
  _exit(0);
}

int main(void) {
  new_terminal();
  CHECK(pipe(report) == 0);
  void (*parts[])(void) = {turns, hangup, orphaned};
  for (int i = 0; i < 3; i++) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      parts[i]();
      _exit(0);
    }
    reap_ok(child);
    if (i == 1) CHECK_EQUAL(hear(), 2);
    if (i == 2) {
      CHECK_EQUAL(hear(), 3);
      CHECK_EQUAL(hear(), 4);
    }
    if (i == 1) {
      close(master);
      new_terminal();
    }
  }
  return 0;
}
