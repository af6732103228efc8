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
