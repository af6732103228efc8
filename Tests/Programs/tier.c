// Runs a command with less than its caller has: what a container's profile, an administrator or a limit takes away.
//
//   tier [option …] -- command [argument …]
//
// Options act in their order. Whatever can't be taken away is an error (status 99), so that nothing passes for tested
// in a tier that wasn't there.
//
//   --user N             user and group N, no other groups, no capabilities
//   --engine             capabilities and filter of a container engine's default profile (COVERAGE.md 7.11)
//   --deny CALL[=ERRNO]  a system call answers with an errno, EPERM unless it is said
//   --listener           a seccomp listener is there already, held by the command
//   --old-listeners      filters don't know SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
//   --no-user-namespaces clone and unshare answer EPERM for CLONE_NEWUSER
//   --limit NAME=N       a resource limit, soft and hard: nofile, nproc, as, fsize
//   --soft NAME=N        its soft value alone
//   --hide PATH          an empty file system is mounted over PATH
//   --pid-namespace      the command is in a pid namespace with a /proc of its own
//   --sysctl NAME=VALUE  a file below /proc/sys is written; of a pid namespace's own, after --pid-namespace
//   --close N            descriptor N is closed
//   --ignore-children    SIGCHLD is ignored
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void stop(const char *what, const char *which) {
  fprintf(stderr, "tier: %s %s: %s\n", what, which, strerror(errno));
  exit(99);
}

struct call {
  const char *name;
  int number;
};
static const struct call calls[] = {
    {"ptrace", SYS_ptrace},
    {"seccomp", 317},
    {"prctl", SYS_prctl},
    {"process_vm_readv", SYS_process_vm_readv},
    {"process_vm_writev", SYS_process_vm_writev},
    {"memfd_create", 319},
    {"execveat", 322},
    {"pidfd_open", 434},
    {"pidfd_send_signal", 424},
    {"pidfd_getfd", 438},
    {"close_range", 436},
    {"clone", SYS_clone},
    {"clone3", 435},
    {"socketpair", SYS_socketpair},
    {"sendmsg", SYS_sendmsg},
    {"mmap", SYS_mmap},
    {"setsid", SYS_setsid},
    {"waitid", SYS_waitid},
    {"unshare", SYS_unshare},
    {"landlock_create_ruleset", 444},
    {"landlock_restrict_self", 446},
};
static const struct call errors[] = {
    {"EPERM", EPERM}, {"EACCES", EACCES}, {"ENOSYS", ENOSYS}, {"EAGAIN", EAGAIN},
    {"ENOMEM", ENOMEM}, {"EINVAL", EINVAL}, {"EMFILE", EMFILE},
};

static int find(const struct call *list, size_t count, const char *name) {
  for (size_t i = 0; i < count; i++)
    if (!strcmp(list[i].name, name))
      return list[i].number;
  errno = EINVAL;
  stop("unknown name", name);
  return -1;
}
#define FIND(list, name) find(list, sizeof list / sizeof *list, name)

// ---- Filters

enum { longest = 300 };
static struct sock_filter program[longest];
static unsigned short length;

static void add(struct sock_filter instruction) {
  if (length == longest)
    stop("filter", "too long");
  program[length++] = instruction;
}
static void load(size_t offset) {
  add((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offset));
}
static void jump(int how, unsigned value, int whenTrue, int whenFalse) {
  add((struct sock_filter)BPF_JUMP(BPF_JMP | how | BPF_K, value, whenTrue, whenFalse));
}
static void answer(int error) {
  add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error));
}
static void allow(void) {
  add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
}
static size_t argument(int index) {
  return offsetof(struct seccomp_data, args) + 8 * (size_t)index;
}

static void begin(void) {
  length = 0;
  load(offsetof(struct seccomp_data, arch));
  jump(BPF_JEQ, AUDIT_ARCH_X86_64, 1, 0);
  allow();
  load(offsetof(struct seccomp_data, nr));
}
static void deny(int number, int error) {
  jump(BPF_JEQ, (unsigned)number, 0, 1);
  answer(error);
}
static void install(void) {
  allow();
  struct sock_fprog filter = {length, program};
  // Where the filter would need a privilege that isn't there, it needs this promise instead.
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) == 0)
    return;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    stop("no_new_privs", "");
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) != 0)
    stop("filter", "");
}

static void deny_call(char *option) {
  char *equals = strchr(option, '=');
  if (equals)
    *equals = 0;
  int error = equals ? FIND(errors, equals + 1) : EPERM;
  begin();
  if (!strcmp(option, "seccomp")) {
    // The older door to the same room.
    jump(BPF_JEQ, SYS_prctl, 0, 5);
    load(argument(0));
    jump(BPF_JEQ, PR_SET_SECCOMP, 1, 0);
    allow();
    answer(error);
    allow();
  }
  deny(FIND(calls, option), error);
  install();
}

static void deny_user_namespaces(void) {
  begin();
  deny(435, ENOSYS);  // clone3, whose flags are in memory
  jump(BPF_JEQ, SYS_clone, 1, 0);
  jump(BPF_JEQ, SYS_unshare, 0, 3);
  load(argument(0));
  jump(BPF_JSET, CLONE_NEWUSER, 0, 1);
  answer(EPERM);
  install();
}

static void take_listener(void) {
  begin();
  allow();
  struct sock_fprog filter = {length, program};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    stop("no_new_privs", "");
  long listener = syscall(317, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter);
  if (listener < 0 || fcntl((int)listener, F_SETFD, 0) != 0)
    stop("listener", "");
}

static void forget_killable_listeners(void) {
  begin();
  jump(BPF_JEQ, 317, 0, 3);
  load(argument(1));
  jump(BPF_JSET, 1 << 5, 0, 1);
  answer(EINVAL);
  install();
}

// Source: moby/moby, profiles/seccomp/default.json; the numbers that it doesn't list, without the capabilities that a
// container hasn't.
static const int unlisted[] = {
    103, 134, 136, 139, 153, 155, 156, 163, 164, 165, 166, 167, 168, 169, 170, 171, 172, 173, 174, 175,
    176, 177, 178, 179, 180, 181, 182, 183, 184, 185, 212, 227, 236, 237, 238, 239, 246, 248, 249, 250,
    256, 272, 279, 298, 300, 304, 308, 312, 313, 320, 321, 323, 428, 429, 430, 431, 432, 433, 438, 440,
    442, 443, 450,
};
static const int container_capabilities[] = {
    CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_FSETID,  CAP_FOWNER,  CAP_MKNOD,
    CAP_NET_RAW, CAP_SETGID,      CAP_SETUID,  CAP_SETFCAP, CAP_SETPCAP,
    CAP_NET_BIND_SERVICE, CAP_SYS_CHROOT, CAP_KILL, CAP_AUDIT_WRITE,
};

static void set_capabilities(unsigned long long keep) {
  for (int i = 0; i < 64; i++)
    if (!(keep >> i & 1) && prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1 &&
        prctl(PR_CAPBSET_DROP, i, 0, 0, 0) != 0)
      stop("bounding set", "");
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  for (int i = 0; i < 2; i++) {
    data[i].effective = data[i].permitted = (unsigned)(keep >> 32 * i);
    data[i].inheritable = 0;
  }
  if (syscall(SYS_capset, &header, data) != 0)
    stop("capset", "");
}

static void enter_engine(void) {
  unsigned long long keep = 0;
  for (size_t i = 0; i < sizeof container_capabilities / sizeof(int); i++)
    keep |= 1ULL << container_capabilities[i];
  if (geteuid() == 0)
    set_capabilities(keep);
  begin();
  for (size_t i = 0; i < sizeof unlisted / sizeof(int); i++)
    deny(unlisted[i], EPERM);
  deny(435, ENOSYS);
  // What is newer than the profile: the runtime answers for it.
  jump(BPF_JGE, 0x40000000, 2, 0);
  jump(BPF_JGT, 450, 0, 1);
  answer(ENOSYS);
  jump(BPF_JEQ, SYS_clone, 0, 4);
  load(argument(0));
  jump(BPF_JSET, 0x7e020000, 0, 1);
  answer(EPERM);
  allow();
  jump(BPF_JEQ, SYS_socket, 0, 4);
  load(argument(0));
  jump(BPF_JEQ, 40, 0, 1);  // AF_VSOCK
  answer(EPERM);
  allow();
  jump(BPF_JEQ, SYS_personality, 0, 7);
  load(argument(0));
  jump(BPF_JEQ, 0, 5, 0);
  jump(BPF_JEQ, 8, 4, 0);
  jump(BPF_JEQ, 0x20000, 3, 0);
  jump(BPF_JEQ, 0x20008, 2, 0);
  jump(BPF_JEQ, 0xffffffff, 1, 0);
  answer(EPERM);
  install();
}

// ---- The rest

static void become(const char *digits) {
  uid_t user = (uid_t)atoi(digits);
  if (setgroups(0, NULL) != 0 || setresgid(user, user, user) != 0 || setresuid(user, user, user) != 0)
    stop("user", digits);
  // A change of credentials makes a process undumpable, and its files in /proc root's; an exec makes it dumpable again.
}

static void limit(char *option, int softOnly) {
  static const struct call names[] = {
      {"nofile", RLIMIT_NOFILE}, {"nproc", RLIMIT_NPROC}, {"as", RLIMIT_AS}, {"fsize", RLIMIT_FSIZE}};
  char *equals = strchr(option, '=');
  if (!equals)
    stop("limit", option);
  *equals = 0;
  int which = FIND(names, option);
  struct rlimit limits;
  getrlimit(which, &limits);
  limits.rlim_cur = strtoull(equals + 1, NULL, 10);
  if (!softOnly)
    limits.rlim_max = limits.rlim_cur;
  if (setrlimit(which, &limits) != 0)
    stop("limit", option);
}

static void mount_over(const char *path) {
  if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
      mount("none", path, "tmpfs", 0, "mode=755") != 0)
    stop("hide", path);
}

static pid_t first;
static void pass_on(int signal) { kill(first, signal); }

static void enter_pid_namespace(void) {
  if (unshare(CLONE_NEWPID | CLONE_NEWNS) != 0)
    stop("pid namespace", "");
  first = fork();
  if (first < 0)
    stop("fork", "");
  if (first > 0) {
    signal(SIGTERM, pass_on);
    signal(SIGINT, pass_on);
    int status;
    while (waitpid(first, &status, 0) < 0 && errno == EINTR) {
    }
    exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
      mount("proc", "/proc", "proc", 0, NULL) != 0)
    stop("proc", "");
  // Process 1 only reaps: the command is not to be the one whose signals the kernel treats in a way of their own.
  pid_t command = fork();
  if (command < 0)
    stop("fork", "");
  if (command == 0)
    return;
  for (;;) {
    int status;
    pid_t reaped = wait(&status);
    if (reaped == command)
      exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
    if (reaped < 0 && errno != EINTR)
      exit(99);
  }
}

static void write_sysctl(char *option) {
  char *equals = strchr(option, '=');
  if (!equals)
    stop("sysctl", option);
  *equals = 0;
  char path[200];
  snprintf(path, sizeof path, "/proc/sys/%s", option);
  int fd = open(path, O_WRONLY);
  if (fd < 0 || write(fd, equals + 1, strlen(equals + 1)) < 0)
    stop("sysctl", option);
  close(fd);
}

int main(int count, char **words) {
  int i = 1;
  for (; i < count && strcmp(words[i], "--"); i++) {
    const char *option = words[i];
    if (!strcmp(option, "--engine")) {
      enter_engine();
    } else if (!strcmp(option, "--no-user-namespaces")) {
      deny_user_namespaces();
    } else if (!strcmp(option, "--listener")) {
      take_listener();
    } else if (!strcmp(option, "--old-listeners")) {
      forget_killable_listeners();
    } else if (!strcmp(option, "--pid-namespace")) {
      enter_pid_namespace();
    } else if (!strcmp(option, "--ignore-children")) {
      signal(SIGCHLD, SIG_IGN);
    } else if (i + 1 < count) {
      char *value = words[++i];
      if (!strcmp(option, "--user"))
        become(value);
      else if (!strcmp(option, "--deny"))
        deny_call(value);
      else if (!strcmp(option, "--limit"))
        limit(value, 0);
      else if (!strcmp(option, "--soft"))
        limit(value, 1);
      else if (!strcmp(option, "--hide"))
        mount_over(value);
      else if (!strcmp(option, "--sysctl"))
        write_sysctl(value);
      else if (!strcmp(option, "--close"))
        close(atoi(value));
      else {
        errno = EINVAL;
        stop("option", option);
      }
    } else {
      errno = EINVAL;
      stop("option", option);
    }
  }
  if (i + 1 >= count) {
    errno = EINVAL;
    stop("command", "missing");
  }
  execvp(words[i + 1], words + i + 1);
  stop("command", words[i + 1]);
}
