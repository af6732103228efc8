/// The calls in which no name crosses: they have no row, and backends let them through by number alone.
public enum NamelessCalls {
  /// Calls that are nameless whatever their arguments are.
  ///
  /// A call qualifies when neither the paper's Table 1 nor COVERAGE.md has a name (of a process, thread, group or
  /// session, of an IPC object, a key, a path, an address, a terminal, a host or a user) in its arguments, its result or
  /// the memory that it reads or writes. Descriptors, addresses of memory, sizes, limits, times and names that only the
  /// process itself uses (timers of its own, watches, protection keys) are none. What an open descriptor delivers
  /// belongs to the call that made it, or to a row for descriptors of its kind (``BoundaryTable/descriptorRows(for:)``):
  /// listings to `getdents64`, reads of a signal descriptor to rows beside `signalfd`. Numbers that the kernel answers
  /// with ENOSYS on x86-64 are here too.
  public static let all: Set<Syscall> = Set(
    [
      // Descriptors and their contents.
      .read, .write, .readv, .writev, .pread64, .pwrite64, .preadv, .pwritev, .preadv2, .pwritev2,
      .close, .close_range, .lseek, .dup, .dup2, .dup3, .pipe, .pipe2, .sendfile, .splice, .tee,
      .vmsplice, .copy_file_range, .readahead, .fadvise64, .fallocate, .ftruncate, .flock, .fsync,
      .fdatasync, .sync, .syncfs, .sync_file_range, .cachestat, .umask, .fchmod, .memfd_create,
      .memfd_secret, .eventfd, .eventfd2, .inotify_init, .inotify_init1, .inotify_rm_watch,
      .io_setup, .io_destroy, .io_submit, .io_cancel, .io_getevents, .io_pgetevents, .sysfs,
      // Waiting.
      .poll, .ppoll, .select, .pselect6, .epoll_create, .epoll_create1, .epoll_ctl, .epoll_wait,
      .epoll_pwait, .epoll_pwait2, .pause, .restart_syscall,
      // Connections without an address in the call.
      .socketpair, .listen, .shutdown,
      // Memory.
      .mmap, .mprotect, .munmap, .mremap, .msync, .mincore, .madvise, .brk, .mlock, .mlock2,
      .munlock, .mlockall, .munlockall, .remap_file_pages, .mseal, .map_shadow_stack,
      .pkey_mprotect, .pkey_alloc, .pkey_free, .mbind, .set_mempolicy, .get_mempolicy,
      .set_mempolicy_home_node, .membarrier, .modify_ldt, .arch_prctl,
      // Signals and ends of the caller itself.
      .rt_sigaction, .rt_sigprocmask, .rt_sigreturn, .rt_sigpending, .rt_sigsuspend, .sigaltstack,
      .exit, .exit_group,
      // Lock words without an owner (futex2 has no priority inheritance), and where they are.
      .futex_wait, .futex_wake, .futex_requeue, .futex_waitv, .set_robust_list, .rseq,
      // Time.
      .nanosleep, .gettimeofday, .time, .times, .getitimer, .setitimer, .alarm, .timer_settime,
      .timer_gettime, .timer_getoverrun, .timer_delete, .timerfd_create, .timerfd_settime,
      .timerfd_gettime,
      // Limits, scheduling and restrictions of the caller itself.
      .getrlimit, .setrlimit, .getrusage, .sched_yield, .sched_get_priority_max,
      .sched_get_priority_min, .getcpu, .getrandom, .personality, .landlock_create_ruleset,
      .landlock_add_rule, .landlock_restrict_self, .lsm_get_self_attr, .lsm_set_self_attr,
      .lsm_list_modules,
      // Messages of a queue that is open.
      .mq_timedsend, .mq_timedreceive, .mq_getsetattr, .mq_notify,
      // The kernel's own trampolines.
      .uprobe, .uretprobe,
      // Not in this kernel.
      ._sysctl, .create_module, .get_kernel_syms, .query_module, .nfsservctl, .getpmsg, .putpmsg,
      .afs_syscall, .tuxcall, .security, .vserver, .epoll_ctl_old, .epoll_wait_old,
      .set_thread_area, .get_thread_area, .lookup_dcookie,
    ] as [Syscall])

  /// Calls keyed by a constant whose variants without a row are nameless.
  public static let defaults: Set<Syscall> = [
    .futex, .fcntl, .prctl, .seccomp, .getpriority, .setpriority, .ioprio_get, .ioprio_set,
    .clock_gettime, .clock_getres, .clock_nanosleep, .unshare,
  ]
}
