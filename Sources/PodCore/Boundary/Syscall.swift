// swift-format-ignore-file: AlwaysUseLowerCamelCase

/// The system calls of kernel 6.18 on x86-64, with the kernel's spelling; the raw value is the number.
///
/// The list is committed because the headers of a build machine end earlier than the kernels that programs run on.
///
/// Source: arch/x86/entry/syscalls/syscall_64.tbl, without the x32 numbers (512–547), which pods refuse.
public enum Syscall: UInt16, Sendable, CaseIterable, Hashable {
  /// `read(2)`.
  case read = 0
  /// `write(2)`.
  case write = 1
  /// `open(2)`.
  case open = 2
  /// `close(2)`.
  case close = 3
  /// `stat(2)`.
  case stat = 4
  /// `fstat(2)`.
  case fstat = 5
  /// `lstat(2)`.
  case lstat = 6
  /// `poll(2)`.
  case poll = 7
  /// `lseek(2)`.
  case lseek = 8
  /// `mmap(2)`.
  case mmap = 9
  /// `mprotect(2)`.
  case mprotect = 10
  /// `munmap(2)`.
  case munmap = 11
  /// `brk(2)`.
  case brk = 12
  /// `rt_sigaction(2)`.
  case rt_sigaction = 13
  /// `rt_sigprocmask(2)`.
  case rt_sigprocmask = 14
  /// `rt_sigreturn(2)`.
  case rt_sigreturn = 15
  /// `ioctl(2)`.
  case ioctl = 16
  /// `pread64(2)`.
  case pread64 = 17
  /// `pwrite64(2)`.
  case pwrite64 = 18
  /// `readv(2)`.
  case readv = 19
  /// `writev(2)`.
  case writev = 20
  /// `access(2)`.
  case access = 21
  /// `pipe(2)`.
  case pipe = 22
  /// `select(2)`.
  case select = 23
  /// `sched_yield(2)`.
  case sched_yield = 24
  /// `mremap(2)`.
  case mremap = 25
  /// `msync(2)`.
  case msync = 26
  /// `mincore(2)`.
  case mincore = 27
  /// `madvise(2)`.
  case madvise = 28
  /// `shmget(2)`.
  case shmget = 29
  /// `shmat(2)`.
  case shmat = 30
  /// `shmctl(2)`.
  case shmctl = 31
  /// `dup(2)`.
  case dup = 32
  /// `dup2(2)`.
  case dup2 = 33
  /// `pause(2)`.
  case pause = 34
  /// `nanosleep(2)`.
  case nanosleep = 35
  /// `getitimer(2)`.
  case getitimer = 36
  /// `alarm(2)`.
  case alarm = 37
  /// `setitimer(2)`.
  case setitimer = 38
  /// `getpid(2)`.
  case getpid = 39
  /// `sendfile(2)`.
  case sendfile = 40
  /// `socket(2)`.
  case socket = 41
  /// `connect(2)`.
  case connect = 42
  /// `accept(2)`.
  case accept = 43
  /// `sendto(2)`.
  case sendto = 44
  /// `recvfrom(2)`.
  case recvfrom = 45
  /// `sendmsg(2)`.
  case sendmsg = 46
  /// `recvmsg(2)`.
  case recvmsg = 47
  /// `shutdown(2)`.
  case shutdown = 48
  /// `bind(2)`.
  case bind = 49
  /// `listen(2)`.
  case listen = 50
  /// `getsockname(2)`.
  case getsockname = 51
  /// `getpeername(2)`.
  case getpeername = 52
  /// `socketpair(2)`.
  case socketpair = 53
  /// `setsockopt(2)`.
  case setsockopt = 54
  /// `getsockopt(2)`.
  case getsockopt = 55
  /// `clone(2)`.
  case clone = 56
  /// `fork(2)`.
  case fork = 57
  /// `vfork(2)`.
  case vfork = 58
  /// `execve(2)`.
  case execve = 59
  /// `exit(2)`.
  case exit = 60
  /// `wait4(2)`.
  case wait4 = 61
  /// `kill(2)`.
  case kill = 62
  /// `uname(2)`.
  case uname = 63
  /// `semget(2)`.
  case semget = 64
  /// `semop(2)`.
  case semop = 65
  /// `semctl(2)`.
  case semctl = 66
  /// `shmdt(2)`.
  case shmdt = 67
  /// `msgget(2)`.
  case msgget = 68
  /// `msgsnd(2)`.
  case msgsnd = 69
  /// `msgrcv(2)`.
  case msgrcv = 70
  /// `msgctl(2)`.
  case msgctl = 71
  /// `fcntl(2)`.
  case fcntl = 72
  /// `flock(2)`.
  case flock = 73
  /// `fsync(2)`.
  case fsync = 74
  /// `fdatasync(2)`.
  case fdatasync = 75
  /// `truncate(2)`.
  case truncate = 76
  /// `ftruncate(2)`.
  case ftruncate = 77
  /// `getdents(2)`.
  case getdents = 78
  /// `getcwd(2)`.
  case getcwd = 79
  /// `chdir(2)`.
  case chdir = 80
  /// `fchdir(2)`.
  case fchdir = 81
  /// `rename(2)`.
  case rename = 82
  /// `mkdir(2)`.
  case mkdir = 83
  /// `rmdir(2)`.
  case rmdir = 84
  /// `creat(2)`.
  case creat = 85
  /// `link(2)`.
  case link = 86
  /// `unlink(2)`.
  case unlink = 87
  /// `symlink(2)`.
  case symlink = 88
  /// `readlink(2)`.
  case readlink = 89
  /// `chmod(2)`.
  case chmod = 90
  /// `fchmod(2)`.
  case fchmod = 91
  /// `chown(2)`.
  case chown = 92
  /// `fchown(2)`.
  case fchown = 93
  /// `lchown(2)`.
  case lchown = 94
  /// `umask(2)`.
  case umask = 95
  /// `gettimeofday(2)`.
  case gettimeofday = 96
  /// `getrlimit(2)`.
  case getrlimit = 97
  /// `getrusage(2)`.
  case getrusage = 98
  /// `sysinfo(2)`.
  case sysinfo = 99
  /// `times(2)`.
  case times = 100
  /// `ptrace(2)`.
  case ptrace = 101
  /// `getuid(2)`.
  case getuid = 102
  /// `syslog(2)`.
  case syslog = 103
  /// `getgid(2)`.
  case getgid = 104
  /// `setuid(2)`.
  case setuid = 105
  /// `setgid(2)`.
  case setgid = 106
  /// `geteuid(2)`.
  case geteuid = 107
  /// `getegid(2)`.
  case getegid = 108
  /// `setpgid(2)`.
  case setpgid = 109
  /// `getppid(2)`.
  case getppid = 110
  /// `getpgrp(2)`.
  case getpgrp = 111
  /// `setsid(2)`.
  case setsid = 112
  /// `setreuid(2)`.
  case setreuid = 113
  /// `setregid(2)`.
  case setregid = 114
  /// `getgroups(2)`.
  case getgroups = 115
  /// `setgroups(2)`.
  case setgroups = 116
  /// `setresuid(2)`.
  case setresuid = 117
  /// `getresuid(2)`.
  case getresuid = 118
  /// `setresgid(2)`.
  case setresgid = 119
  /// `getresgid(2)`.
  case getresgid = 120
  /// `getpgid(2)`.
  case getpgid = 121
  /// `setfsuid(2)`.
  case setfsuid = 122
  /// `setfsgid(2)`.
  case setfsgid = 123
  /// `getsid(2)`.
  case getsid = 124
  /// `capget(2)`.
  case capget = 125
  /// `capset(2)`.
  case capset = 126
  /// `rt_sigpending(2)`.
  case rt_sigpending = 127
  /// `rt_sigtimedwait(2)`.
  case rt_sigtimedwait = 128
  /// `rt_sigqueueinfo(2)`.
  case rt_sigqueueinfo = 129
  /// `rt_sigsuspend(2)`.
  case rt_sigsuspend = 130
  /// `sigaltstack(2)`.
  case sigaltstack = 131
  /// `utime(2)`.
  case utime = 132
  /// `mknod(2)`.
  case mknod = 133
  /// `uselib(2)`.
  case uselib = 134
  /// `personality(2)`.
  case personality = 135
  /// `ustat(2)`.
  case ustat = 136
  /// `statfs(2)`.
  case statfs = 137
  /// `fstatfs(2)`.
  case fstatfs = 138
  /// `sysfs(2)`.
  case sysfs = 139
  /// `getpriority(2)`.
  case getpriority = 140
  /// `setpriority(2)`.
  case setpriority = 141
  /// `sched_setparam(2)`.
  case sched_setparam = 142
  /// `sched_getparam(2)`.
  case sched_getparam = 143
  /// `sched_setscheduler(2)`.
  case sched_setscheduler = 144
  /// `sched_getscheduler(2)`.
  case sched_getscheduler = 145
  /// `sched_get_priority_max(2)`.
  case sched_get_priority_max = 146
  /// `sched_get_priority_min(2)`.
  case sched_get_priority_min = 147
  /// `sched_rr_get_interval(2)`.
  case sched_rr_get_interval = 148
  /// `mlock(2)`.
  case mlock = 149
  /// `munlock(2)`.
  case munlock = 150
  /// `mlockall(2)`.
  case mlockall = 151
  /// `munlockall(2)`.
  case munlockall = 152
  /// `vhangup(2)`.
  case vhangup = 153
  /// `modify_ldt(2)`.
  case modify_ldt = 154
  /// `pivot_root(2)`.
  case pivot_root = 155
  /// `_sysctl(2)`.
  case _sysctl = 156
  /// `prctl(2)`.
  case prctl = 157
  /// `arch_prctl(2)`.
  case arch_prctl = 158
  /// `adjtimex(2)`.
  case adjtimex = 159
  /// `setrlimit(2)`.
  case setrlimit = 160
  /// `chroot(2)`.
  case chroot = 161
  /// `sync(2)`.
  case sync = 162
  /// `acct(2)`.
  case acct = 163
  /// `settimeofday(2)`.
  case settimeofday = 164
  /// `mount(2)`.
  case mount = 165
  /// `umount2(2)`.
  case umount2 = 166
  /// `swapon(2)`.
  case swapon = 167
  /// `swapoff(2)`.
  case swapoff = 168
  /// `reboot(2)`.
  case reboot = 169
  /// `sethostname(2)`.
  case sethostname = 170
  /// `setdomainname(2)`.
  case setdomainname = 171
  /// `iopl(2)`.
  case iopl = 172
  /// `ioperm(2)`.
  case ioperm = 173
  /// `create_module(2)`.
  case create_module = 174
  /// `init_module(2)`.
  case init_module = 175
  /// `delete_module(2)`.
  case delete_module = 176
  /// `get_kernel_syms(2)`.
  case get_kernel_syms = 177
  /// `query_module(2)`.
  case query_module = 178
  /// `quotactl(2)`.
  case quotactl = 179
  /// `nfsservctl(2)`.
  case nfsservctl = 180
  /// `getpmsg(2)`.
  case getpmsg = 181
  /// `putpmsg(2)`.
  case putpmsg = 182
  /// `afs_syscall(2)`.
  case afs_syscall = 183
  /// `tuxcall(2)`.
  case tuxcall = 184
  /// `security(2)`.
  case security = 185
  /// `gettid(2)`.
  case gettid = 186
  /// `readahead(2)`.
  case readahead = 187
  /// `setxattr(2)`.
  case setxattr = 188
  /// `lsetxattr(2)`.
  case lsetxattr = 189
  /// `fsetxattr(2)`.
  case fsetxattr = 190
  /// `getxattr(2)`.
  case getxattr = 191
  /// `lgetxattr(2)`.
  case lgetxattr = 192
  /// `fgetxattr(2)`.
  case fgetxattr = 193
  /// `listxattr(2)`.
  case listxattr = 194
  /// `llistxattr(2)`.
  case llistxattr = 195
  /// `flistxattr(2)`.
  case flistxattr = 196
  /// `removexattr(2)`.
  case removexattr = 197
  /// `lremovexattr(2)`.
  case lremovexattr = 198
  /// `fremovexattr(2)`.
  case fremovexattr = 199
  /// `tkill(2)`.
  case tkill = 200
  /// `time(2)`.
  case time = 201
  /// `futex(2)`.
  case futex = 202
  /// `sched_setaffinity(2)`.
  case sched_setaffinity = 203
  /// `sched_getaffinity(2)`.
  case sched_getaffinity = 204
  /// `set_thread_area(2)`.
  case set_thread_area = 205
  /// `io_setup(2)`.
  case io_setup = 206
  /// `io_destroy(2)`.
  case io_destroy = 207
  /// `io_getevents(2)`.
  case io_getevents = 208
  /// `io_submit(2)`.
  case io_submit = 209
  /// `io_cancel(2)`.
  case io_cancel = 210
  /// `get_thread_area(2)`.
  case get_thread_area = 211
  /// `lookup_dcookie(2)`.
  case lookup_dcookie = 212
  /// `epoll_create(2)`.
  case epoll_create = 213
  /// `epoll_ctl_old(2)`.
  case epoll_ctl_old = 214
  /// `epoll_wait_old(2)`.
  case epoll_wait_old = 215
  /// `remap_file_pages(2)`.
  case remap_file_pages = 216
  /// `getdents64(2)`.
  case getdents64 = 217
  /// `set_tid_address(2)`.
  case set_tid_address = 218
  /// `restart_syscall(2)`.
  case restart_syscall = 219
  /// `semtimedop(2)`.
  case semtimedop = 220
  /// `fadvise64(2)`.
  case fadvise64 = 221
  /// `timer_create(2)`.
  case timer_create = 222
  /// `timer_settime(2)`.
  case timer_settime = 223
  /// `timer_gettime(2)`.
  case timer_gettime = 224
  /// `timer_getoverrun(2)`.
  case timer_getoverrun = 225
  /// `timer_delete(2)`.
  case timer_delete = 226
  /// `clock_settime(2)`.
  case clock_settime = 227
  /// `clock_gettime(2)`.
  case clock_gettime = 228
  /// `clock_getres(2)`.
  case clock_getres = 229
  /// `clock_nanosleep(2)`.
  case clock_nanosleep = 230
  /// `exit_group(2)`.
  case exit_group = 231
  /// `epoll_wait(2)`.
  case epoll_wait = 232
  /// `epoll_ctl(2)`.
  case epoll_ctl = 233
  /// `tgkill(2)`.
  case tgkill = 234
  /// `utimes(2)`.
  case utimes = 235
  /// `vserver(2)`.
  case vserver = 236
  /// `mbind(2)`.
  case mbind = 237
  /// `set_mempolicy(2)`.
  case set_mempolicy = 238
  /// `get_mempolicy(2)`.
  case get_mempolicy = 239
  /// `mq_open(2)`.
  case mq_open = 240
  /// `mq_unlink(2)`.
  case mq_unlink = 241
  /// `mq_timedsend(2)`.
  case mq_timedsend = 242
  /// `mq_timedreceive(2)`.
  case mq_timedreceive = 243
  /// `mq_notify(2)`.
  case mq_notify = 244
  /// `mq_getsetattr(2)`.
  case mq_getsetattr = 245
  /// `kexec_load(2)`.
  case kexec_load = 246
  /// `waitid(2)`.
  case waitid = 247
  /// `add_key(2)`.
  case add_key = 248
  /// `request_key(2)`.
  case request_key = 249
  /// `keyctl(2)`.
  case keyctl = 250
  /// `ioprio_set(2)`.
  case ioprio_set = 251
  /// `ioprio_get(2)`.
  case ioprio_get = 252
  /// `inotify_init(2)`.
  case inotify_init = 253
  /// `inotify_add_watch(2)`.
  case inotify_add_watch = 254
  /// `inotify_rm_watch(2)`.
  case inotify_rm_watch = 255
  /// `migrate_pages(2)`.
  case migrate_pages = 256
  /// `openat(2)`.
  case openat = 257
  /// `mkdirat(2)`.
  case mkdirat = 258
  /// `mknodat(2)`.
  case mknodat = 259
  /// `fchownat(2)`.
  case fchownat = 260
  /// `futimesat(2)`.
  case futimesat = 261
  /// `newfstatat(2)`.
  case newfstatat = 262
  /// `unlinkat(2)`.
  case unlinkat = 263
  /// `renameat(2)`.
  case renameat = 264
  /// `linkat(2)`.
  case linkat = 265
  /// `symlinkat(2)`.
  case symlinkat = 266
  /// `readlinkat(2)`.
  case readlinkat = 267
  /// `fchmodat(2)`.
  case fchmodat = 268
  /// `faccessat(2)`.
  case faccessat = 269
  /// `pselect6(2)`.
  case pselect6 = 270
  /// `ppoll(2)`.
  case ppoll = 271
  /// `unshare(2)`.
  case unshare = 272
  /// `set_robust_list(2)`.
  case set_robust_list = 273
  /// `get_robust_list(2)`.
  case get_robust_list = 274
  /// `splice(2)`.
  case splice = 275
  /// `tee(2)`.
  case tee = 276
  /// `sync_file_range(2)`.
  case sync_file_range = 277
  /// `vmsplice(2)`.
  case vmsplice = 278
  /// `move_pages(2)`.
  case move_pages = 279
  /// `utimensat(2)`.
  case utimensat = 280
  /// `epoll_pwait(2)`.
  case epoll_pwait = 281
  /// `signalfd(2)`.
  case signalfd = 282
  /// `timerfd_create(2)`.
  case timerfd_create = 283
  /// `eventfd(2)`.
  case eventfd = 284
  /// `fallocate(2)`.
  case fallocate = 285
  /// `timerfd_settime(2)`.
  case timerfd_settime = 286
  /// `timerfd_gettime(2)`.
  case timerfd_gettime = 287
  /// `accept4(2)`.
  case accept4 = 288
  /// `signalfd4(2)`.
  case signalfd4 = 289
  /// `eventfd2(2)`.
  case eventfd2 = 290
  /// `epoll_create1(2)`.
  case epoll_create1 = 291
  /// `dup3(2)`.
  case dup3 = 292
  /// `pipe2(2)`.
  case pipe2 = 293
  /// `inotify_init1(2)`.
  case inotify_init1 = 294
  /// `preadv(2)`.
  case preadv = 295
  /// `pwritev(2)`.
  case pwritev = 296
  /// `rt_tgsigqueueinfo(2)`.
  case rt_tgsigqueueinfo = 297
  /// `perf_event_open(2)`.
  case perf_event_open = 298
  /// `recvmmsg(2)`.
  case recvmmsg = 299
  /// `fanotify_init(2)`.
  case fanotify_init = 300
  /// `fanotify_mark(2)`.
  case fanotify_mark = 301
  /// `prlimit64(2)`.
  case prlimit64 = 302
  /// `name_to_handle_at(2)`.
  case name_to_handle_at = 303
  /// `open_by_handle_at(2)`.
  case open_by_handle_at = 304
  /// `clock_adjtime(2)`.
  case clock_adjtime = 305
  /// `syncfs(2)`.
  case syncfs = 306
  /// `sendmmsg(2)`.
  case sendmmsg = 307
  /// `setns(2)`.
  case setns = 308
  /// `getcpu(2)`.
  case getcpu = 309
  /// `process_vm_readv(2)`.
  case process_vm_readv = 310
  /// `process_vm_writev(2)`.
  case process_vm_writev = 311
  /// `kcmp(2)`.
  case kcmp = 312
  /// `finit_module(2)`.
  case finit_module = 313
  /// `sched_setattr(2)`.
  case sched_setattr = 314
  /// `sched_getattr(2)`.
  case sched_getattr = 315
  /// `renameat2(2)`.
  case renameat2 = 316
  /// `seccomp(2)`.
  case seccomp = 317
  /// `getrandom(2)`.
  case getrandom = 318
  /// `memfd_create(2)`.
  case memfd_create = 319
  /// `kexec_file_load(2)`.
  case kexec_file_load = 320
  /// `bpf(2)`.
  case bpf = 321
  /// `execveat(2)`.
  case execveat = 322
  /// `userfaultfd(2)`.
  case userfaultfd = 323
  /// `membarrier(2)`.
  case membarrier = 324
  /// `mlock2(2)`.
  case mlock2 = 325
  /// `copy_file_range(2)`.
  case copy_file_range = 326
  /// `preadv2(2)`.
  case preadv2 = 327
  /// `pwritev2(2)`.
  case pwritev2 = 328
  /// `pkey_mprotect(2)`.
  case pkey_mprotect = 329
  /// `pkey_alloc(2)`.
  case pkey_alloc = 330
  /// `pkey_free(2)`.
  case pkey_free = 331
  /// `statx(2)`.
  case statx = 332
  /// `io_pgetevents(2)`.
  case io_pgetevents = 333
  /// `rseq(2)`.
  case rseq = 334
  /// `uretprobe(2)`.
  case uretprobe = 335
  /// `uprobe(2)`.
  case uprobe = 336
  /// `pidfd_send_signal(2)`.
  case pidfd_send_signal = 424
  /// `io_uring_setup(2)`.
  case io_uring_setup = 425
  /// `io_uring_enter(2)`.
  case io_uring_enter = 426
  /// `io_uring_register(2)`.
  case io_uring_register = 427
  /// `open_tree(2)`.
  case open_tree = 428
  /// `move_mount(2)`.
  case move_mount = 429
  /// `fsopen(2)`.
  case fsopen = 430
  /// `fsconfig(2)`.
  case fsconfig = 431
  /// `fsmount(2)`.
  case fsmount = 432
  /// `fspick(2)`.
  case fspick = 433
  /// `pidfd_open(2)`.
  case pidfd_open = 434
  /// `clone3(2)`.
  case clone3 = 435
  /// `close_range(2)`.
  case close_range = 436
  /// `openat2(2)`.
  case openat2 = 437
  /// `pidfd_getfd(2)`.
  case pidfd_getfd = 438
  /// `faccessat2(2)`.
  case faccessat2 = 439
  /// `process_madvise(2)`.
  case process_madvise = 440
  /// `epoll_pwait2(2)`.
  case epoll_pwait2 = 441
  /// `mount_setattr(2)`.
  case mount_setattr = 442
  /// `quotactl_fd(2)`.
  case quotactl_fd = 443
  /// `landlock_create_ruleset(2)`.
  case landlock_create_ruleset = 444
  /// `landlock_add_rule(2)`.
  case landlock_add_rule = 445
  /// `landlock_restrict_self(2)`.
  case landlock_restrict_self = 446
  /// `memfd_secret(2)`.
  case memfd_secret = 447
  /// `process_mrelease(2)`.
  case process_mrelease = 448
  /// `futex_waitv(2)`.
  case futex_waitv = 449
  /// `set_mempolicy_home_node(2)`.
  case set_mempolicy_home_node = 450
  /// `cachestat(2)`.
  case cachestat = 451
  /// `fchmodat2(2)`.
  case fchmodat2 = 452
  /// `map_shadow_stack(2)`.
  case map_shadow_stack = 453
  /// `futex_wake(2)`.
  case futex_wake = 454
  /// `futex_wait(2)`.
  case futex_wait = 455
  /// `futex_requeue(2)`.
  case futex_requeue = 456
  /// `statmount(2)`.
  case statmount = 457
  /// `listmount(2)`.
  case listmount = 458
  /// `lsm_get_self_attr(2)`.
  case lsm_get_self_attr = 459
  /// `lsm_set_self_attr(2)`.
  case lsm_set_self_attr = 460
  /// `lsm_list_modules(2)`.
  case lsm_list_modules = 461
  /// `mseal(2)`.
  case mseal = 462
  /// `setxattrat(2)`.
  case setxattrat = 463
  /// `getxattrat(2)`.
  case getxattrat = 464
  /// `listxattrat(2)`.
  case listxattrat = 465
  /// `removexattrat(2)`.
  case removexattrat = 466
  /// `open_tree_attr(2)`.
  case open_tree_attr = 467
  /// `file_getattr(2)`.
  case file_getattr = 468
  /// `file_setattr(2)`.
  case file_setattr = 469

  /// The highest number that this table knows. What is above gets ENOSYS.
  public static let highestNumber: UInt16 = 469

  /// The kernel's name of the call.
  public var name: String { String(describing: self) }
}
