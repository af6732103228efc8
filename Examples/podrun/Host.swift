internal import Glibc
internal import SystemPackage

/// podrun as a process of the host: its streams, words and end.
enum Host {
  /// Opens `/dev/null` as each standard stream that podrun was started without, so that nothing else gets its number.
  static func openStandardStreams() {
    for descriptor: Int32 in 0...2 where fcntl(descriptor, F_GETFD) < 0 {
      // The lowest free number is this one, since those below are open.
      _ = open("/dev/null", descriptor == 0 ? O_RDONLY : O_WRONLY)
    }
  }

  /// What the language's runtime can't do without, and would wait for forever or take for nothing; nil when all is there.
  static var obstacle: String? {
    if access("/proc/self/cmdline", R_OK) != 0 {
      return "/proc isn't mounted: mount it (mount -t proc proc /proc)"
    }
    // libdispatch's manager and two workers, the relay, a backend's; and, as processes count too, init and the program.
    return hasThreads(7)
      ? nil
      : "no threads are to be had: raise the limit of processes (ulimit -u, or the container's limit of pids)"
  }

  /// Whether so many threads can exist at once.
  private static func hasThreads(_ count: Int) -> Bool {
    let gate = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
    defer { gate.deallocate() }
    guard sem_init(gate, 0, 0) == 0 else { return true }
    var threads: [pthread_t] = []
    for _ in 0..<count {
      var thread = pthread_t()
      let result = pthread_create(
        &thread, nil,
        { gate in
          if let gate { while sem_wait(gate.assumingMemoryBound(to: sem_t.self)) != 0 {} }
          return nil
        }, gate)
      if result == 0 { threads.append(thread) }
    }
    for _ in threads { sem_post(gate) }
    for thread in threads { pthread_join(thread, nil) }
    sem_destroy(gate)
    return threads.count == count
  }

  /// Whether a descriptor is a terminal.
  static func isTerminal(_ descriptor: FileDescriptor) -> Bool { isatty(descriptor.rawValue) == 1 }

  /// The last of podrun's own arguments, as bytes.
  static func lastArguments(_ count: Int) -> [[UInt8]] {
    let all = Int(CommandLine.argc)
    return (max(all - count, 0)..<all).map { index in
      guard let text = CommandLine.unsafeArgv[index] else { return [] }
      return UnsafeRawBufferPointer(start: text, count: strlen(text)).map { $0 }
    }
  }

  /// A variable of podrun's own environment.
  static func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

  /// Says a line on standard error in podrun's name.
  static func complain(_ line: String) { say("podrun: \(line)") }

  /// Says a line on standard error, which may be a terminal in raw mode.
  static func say(_ line: String) {
    var bytes = Array((line + (RawTerminal.isRaw ? "\r\n" : "\n")).utf8)[...]
    while !bytes.isEmpty {
      let count = bytes.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
      if count < 0, errno == EINTR { continue }
      if count <= 0 { return }
      bytes = bytes.dropFirst(count)
    }
  }

  /// Sleeps until ``exit(_:)``.
  static func sleep() -> Never {
    while true { pause() }
  }

  /// Ends podrun.
  static func exit(_ status: Int32) -> Never {
    RawTerminal.leave()
    Glibc.exit(status)
  }
}
