import Foundation
import Measuring

/// What whole programs work on: C files with a makefile, and a configure script.
struct Project: Sendable {
  /// How many C files there are.
  let files: Int
  /// How many shells are started.
  let shells: Int
  private let directory: String
  private let hasConfigure: Bool

  /// Makes the files.
  ///
  /// - Parameters:
  ///   - checks: How many tests of each kind the configure script makes.
  ///   - withConfigure: Whether there is to be one.
  init(files: Int, shells: Int, checks: Int, withConfigure: Bool) async throws {
    (self.files, self.shells) = (files, shells)
    directory = FileManager.default.temporaryDirectory.path + "/pod-project-\(UUID().uuidString)"
    for folder in ["make", "configure"] {
      try FileManager.default.createDirectory(
        atPath: "\(directory)/\(folder)", withIntermediateDirectories: true)
    }
    for number in 0..<files {
      try Self.source(number).write(
        toFile: "\(directory)/make/part\(number).c", atomically: false, encoding: .utf8)
    }
    try "all: $(patsubst %.c,%.o,$(wildcard *.c))\n".write(
      toFile: "\(directory)/make/Makefile", atomically: false, encoding: .utf8)
    hasConfigure = withConfigure
    if hasConfigure {
      try Self.configuration(checks).write(
        toFile: "\(directory)/configure/configure.ac", atomically: false, encoding: .utf8)
      _ = try await CompiledProgram.output(
        of: ["autoreconf", "--install"], in: "\(directory)/configure")
    }
  }

  private static func source(_ number: Int) -> String {
    """
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    int part\(number)(const char *text) {
      char copy[64];
      strncpy(copy, text, sizeof copy - 1);
      copy[sizeof copy - 1] = 0;
      return printf("%s %d", copy, atoi(text) + \(number));
    }

    """
  }

  /// Headers, functions, types and sizes, as packages look for them.
  private static func configuration(_ checks: Int) -> String {
    let headers = [
      "stdlib", "string", "unistd", "fcntl", "errno", "signal", "time", "limits", "dlfcn",
      "pthread",
      "poll", "sched", "spawn", "termios", "utime", "wchar", "locale", "langinfo", "netdb", "pwd",
      "grp", "regex", "glob", "ftw", "search", "semaphore", "mqueue", "aio", "iconv", "libintl",
      "sys/stat", "sys/time", "sys/wait", "sys/mman", "sys/socket", "sys/select", "sys/ioctl",
      "sys/resource", "sys/times", "sys/uio", "sys/un", "sys/utsname", "sys/ipc", "sys/shm",
    ]
    let functions = [
      "fork", "vfork", "execvp", "waitpid", "kill", "getpid", "getpgrp", "setsid", "mmap", "munmap",
      "strdup", "strndup", "strlcpy", "strtoll", "memmove", "memmem", "snprintf", "vasprintf",
      "getline", "poll", "select", "epoll_wait", "kqueue", "pipe2", "dup3", "accept4", "openat",
      "fstatat", "renameat2", "utimensat", "clock_gettime", "nanosleep", "setlocale", "nl_langinfo",
      "getrandom", "arc4random", "explicit_bzero", "posix_spawn", "sched_yield", "pthread_create",
    ]
    let sizes = ["short", "int", "long", "long long", "void *", "size_t", "time_t", "off_t"]
    return """
      AC_INIT([measured], [1])
      AC_CONFIG_HEADERS([config.h])
      AC_PROG_CC
      AC_PROG_INSTALL
      AC_C_INLINE
      AC_C_BIGENDIAN
      AC_SYS_LARGEFILE
      AC_CHECK_HEADERS([\(headers.prefix(checks).map { $0 + ".h" }.joined(separator: " "))])
      AC_CHECK_FUNCS([\(functions.prefix(checks).joined(separator: " "))])
      \(sizes.prefix(checks).map { "AC_CHECK_SIZEOF([\($0)])" }.joined(separator: "\n"))
      AC_CHECK_TYPES([pid_t, ssize_t, socklen_t, sigset_t, intmax_t])
      AC_OUTPUT

      """
  }

  /// How it is started; nil when it can't be.
  func command(_ kind: Row.Command) -> [String]? {
    switch kind {
    case .make: ["make", "-s", "-j2"]
    case .shells:
      ["sh", "-c", "i=0; while [ $i -lt \(shells) ]; do sh -c :; i=$((i+1)); done"]
    case .configure: hasConfigure ? ["sh", "./configure", "-q"] : nil
    case .nothing: ["/bin/true"]
    }
  }

  /// What it was, in words.
  func title(_ kind: Row.Command) -> String {
    switch kind {
    case .make: "make -j2 of \(files) C files"
    case .shells: "\(shells) × sh -c :"
    case .configure: "configure"
    case .nothing: "pod creation + /bin/true"
    }
  }

  /// How many files or shells it is.
  func count(_ kind: Row.Command) -> Double {
    switch kind {
    case .make: Double(files)
    case .shells: Double(shells)
    case .configure, .nothing: 1
    }
  }

  /// A directory to work in that nobody has worked in; nil for the host program's own.
  func copy(for kind: Row.Command) throws -> String? {
    guard kind == .make || kind == .configure else { return nil }
    let target = "\(directory)/work-\(UUID().uuidString)"
    try FileManager.default.copyItem(
      atPath: "\(directory)/\(kind == .make ? "make" : "configure")", toPath: target)
    return target
  }

  /// Removes such a directory.
  func remove(_ copy: String?) {
    if let copy { try? FileManager.default.removeItem(atPath: copy) }
  }

  /// Removes everything.
  func removeAll() { try? FileManager.default.removeItem(atPath: directory) }
}
