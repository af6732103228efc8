#ifndef POD_INIT_SUPERVISED_H
#define POD_INIT_SUPERVISED_H

// Init without a tracer: it makes the launcher, waits for its children, watches processes for the host, and ends them
// all when the host ends or says so.
//
// Nothing is queued here: what can't be reported, since the host doesn't read, is an ended process that is left where it
// is, in the kernel.

#include "launcher.h"
#include "view.h"

// The pidfds that are watched, each with its tag; and the signal descriptor of SIGCHLD.
enum { most_watches = 1 << 20 };
static int watches, signals;
static word *tags;
static long limit, highest;

static struct limit files;  // as it was at the start, and is for programs
static long launcher;
static int host = -1;  // a pidfd
static int scoped;

static int has_room(void) {
  struct poll_entry entry = {control, poll_out, 0};
  return call(__NR_poll, &entry, 1, 0, 0) > 0 && entry.present & poll_out;
}

// ---- The end

static int is_child(long pid) {
  enum { by_process = 1 };
  int information[32];
  long how = wait_exited | wait_not | wait_leave | wait_all;
  return call6(__NR_waitid, by_process, pid, (long)information, how, 0, 0) == 0;
}

// Only kernels with signal scopes take init into a domain. A wrong belief here would end the whole machine, so look.
static int is_contained(void) {
  return scoped && call(__NR_kill, call(__NR_getppid, 0, 0, 0, 0), 0, 0, 0) == -error_permission;
}

// Nobody else reaps init's children, so their numbers can't become other processes', and is_child doesn't age.
static int kill_child(long pid) {
  return is_child(pid) && call(__NR_kill, pid, signal_kill, 0, 0) == 0;
}

// Kills the children that /proc lists, where it does; the list leaves some out while others end. Returns how many.
static int kill_listed(void) {
  long file = call(__NR_open, "/proc/thread-self/children", 0, 0, 0);
  char text[4096];
  int killed = 0;
  long pid = 0;
  for (long size; (size = call(__NR_read, file, text, sizeof text, 0)) > 0;)
    for (long i = 0; i < size; i++) {
      if (text[i] != ' ') {
        pid = pid * 10 + (text[i] - '0');
      } else {
        killed += kill_child(pid);
        pid = 0;
      }
    }
  call(__NR_close, file, 0, 0, 0);
  return killed;
}

// Without such a list all numbers up to PID_MAX_LIMIT are tried, in about a second.
static void kill_children(void) {
  if (kill_listed())
    return;
  for (long pid = 2; pid <= 1 << 22; pid++)
    kill_child(pid);
}

static void kill_known(void) {
  for (long fd = 0; fd <= highest; fd++)
    if (fd != host)
      call(__NR_pidfd_send_signal, fd, signal_kill, 0, 0);
  kill_child(launcher);
}

// Kills and reaps until no child is left, and with that no process of the pod: init adopts the orphans.
//
// In the domain one kill reaches them all, and nobody else; one who forks meanwhile is hit before or with the child.
// Without it, init kills its children, inherits theirs and begins again. That ends, since no process of the pod can
// make another one once its filter has no listener: clone fails with ENOSYS.
static void __attribute__((noreturn)) end_pod(void) {
  enum { no_child = 10, quiet = 20 };
  int contained = is_contained();
  for (int round = 0;; round++) {
    if (contained)
      call(__NR_kill, -1, signal_kill, 0, 0);
    else if (round == 0)
      kill_known();
    else
      kill_children();
    struct poll_entry entry = {signals, poll_in, 0};
    do {
      char information[128];
      call(__NR_read, signals, information, sizeof information, 0);
      long r;
      while ((r = call(__NR_wait4, -1, 0, wait_not | wait_all, 0)) > 0) {
      }
      if (r == -no_child)
        exit_group(0);
    } while (call(__NR_poll, &entry, 1, quiet, 0) > 0);
  }
}

// ---- Requests

// Makes the launcher. What doesn't depend on the filter stays when that fails, so the host may try again.
static void supervise(struct request *request) {
  enum { hosts_pidfd, launchers_socket, filter };
  word how = request->message.tag;
  if (request->count != 3)
    return refuse(-error_invalid, POD_STEP_REQUEST);
  call(__NR_close, host, 0, 0, 0);
  host = (int)call(__NR_fcntl, request->descriptors[hosts_pidfd], fcntl_dup_cloexec, 0, 0);
  long r = call6(__NR_prctl, prctl_no_new_privileges, 1, 0, 0, 0, 0);
  if (r < 0)
    return refuse(r, POD_STEP_PRIVILEGES);
  if (how & POD_SUPERVISE_SCOPED && !scoped) {
    r = enter_domain();
    if (r < 0)
      return refuse(r, POD_STEP_LANDLOCK);
    scoped = 1;
  }
  long child = call6(__NR_clone, signal_child, 0, 0, 0, 0, 0);
  if (child == 0)
    run_launcher(request->descriptors[launchers_socket], request->descriptors[filter],
                 request->message.id, !!(how & POD_SUPERVISE_SCOPED), &files);
  if (child < 0)
    return refuse(child, POD_STEP_FORK);
  launcher = child;
  close_rest(request, 0);
  struct pod_message message = {POD_MESSAGE_SUPERVISED, (unsigned)child, 0, 0, 0};
  send_message(control, &message);
}

// Returns whether the descriptor was kept.
static int watch(struct request *request) {
  struct {
    unsigned events;
    word data;
  } __attribute__((packed)) event = {poll_in, 0};
  enum { add = 1 };
  long fd = request->count > 0 ? request->descriptors[0] : limit;
  event.data = (word)fd;
  if (fd < limit && call(__NR_epoll_ctl, watches, add, fd, &event) == 0) {
    tags[fd] = request->message.tag;
    if (fd > highest)
      highest = fd;
    return 1;
  }
  struct pod_message message = {POD_MESSAGE_UNWATCHED, 0, 0, 0, request->message.tag};
  send_message(control, &message);
  return 0;
}

// Answers are few, so their sending may wait for the host.
static void take_requests(void) {
  for (;;) {
    struct request request;
    long size = receive(control, &request, message_at_once);
    if (size == -error_again || size == -error_interrupted)
      return;
    if (size <= 0)
      end_pod();
    int kept = 0;
    if (request.message.type == POD_MESSAGE_VIEW)
      view(&request.message);
    if (request.message.type == POD_MESSAGE_SUPERVISE)
      supervise(&request);
    if (request.message.type == POD_MESSAGE_WATCH)
      kept = watch(&request);
    close_rest(&request, kept);
  }
}

// ---- Reports. The two functions return whether all is said; else the host has to read first.

static int report_ends(void) {
  enum { many = 64, remove = 2 };
  struct {
    unsigned events;
    word data;
  } __attribute__((packed)) events[many];
  for (;;) {
    long count = call(__NR_epoll_wait, watches, events, many, 0);
    if (count <= 0)
      return 1;
    for (long i = 0; i < count; i++) {
      if (!has_room())
        return 0;
      word fd = events[i].data;
      struct pod_message message = {POD_MESSAGE_ENDED, 0, 0, 0, tags[fd]};
      send_message(control, &message);
      // The host has the same open file, so closing it doesn't remove it.
      call(__NR_epoll_ctl, watches, remove, fd, &events[i]);
      call(__NR_close, fd, 0, 0, 0);
    }
  }
}

// A child is looked at, then all requests and ends, then it is reaped: so its own end is reported before, also when the
// host had it watched in the moment before it ended.
static int report_reaped(void) {
  for (;;) {
    int information[32] = {0};
    long how = wait_exited | wait_not | wait_leave | wait_all;
    long r = call6(__NR_waitid, 0, 0, (long)information, how, 0, 0);
    int pid = information[4];
    if (r < 0 || pid == 0)
      return 1;
    take_requests();
    if (!report_ends() || !has_room())
      return 0;
    int status = 0;
    call(__NR_wait4, pid, &status, wait_not | wait_all, 0);
    if (pid == launcher)
      launcher = 0;
    struct pod_message message = {POD_MESSAGE_REAPED, (unsigned)pid, 0, 0, (unsigned)status};
    send_message(control, &message);
  }
}

static void prepare_supervised(void) {
  enum { cloexec = 02000000, non_blocking = 04000, read_write = 3, private_anonymous = 0x4022 };
  word child = 1ul << (signal_child - 1);
  struct action byDefault = {0, 0, 0, 0};
  call(__NR_rt_sigaction, signal_child, &byDefault, 0, 8);
  call(__NR_rt_sigprocmask, 0, &child, 0, 8);
  call(__NR_prlimit64, 0, limit_open_files, 0, &files);
  limit = files.hard < most_watches ? (long)files.hard : most_watches;
  struct limit raised = {(word)limit, files.hard};
  call(__NR_prlimit64, 0, limit_open_files, &raised, 0);
  watches = (int)call(__NR_epoll_create1, cloexec, 0, 0, 0);
  signals = (int)call(__NR_signalfd4, -1, &child, 8, cloexec | non_blocking);
  tags = (word *)call6(__NR_mmap, 0, limit * 8, read_write, private_anonymous, -1, 0);
  if (watches < 0 || signals < 0 || ((long)tags < 0 && (long)tags > -4096))
    exit_group(1);
}

static void __attribute__((noreturn)) serve_supervised(void) {
  int blocked = 0;
  for (;;) {
    struct poll_entry entries[] = {{control, blocked ? poll_in | poll_out : poll_in, 0},
                                   {host, poll_in, 0},
                                   {blocked ? -1 : watches, poll_in, 0},
                                   {blocked ? -1 : signals, poll_in, 0}};
    call(__NR_poll, entries, 4, -1, 0);
    if (entries[0].present & (poll_hang_up | poll_error) || entries[1].present)
      end_pod();
    char information[128];
    call(__NR_read, signals, information, sizeof information, 0);
    take_requests();
    blocked = !report_ends() || !report_reaped();
  }
}

#endif
