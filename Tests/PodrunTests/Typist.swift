import CLinux
import Glibc
import PodLinux
import PodTestSupport
import SystemPackage
import Testing

/// Somebody at a terminal: starts a program on it, types, and reads what appears.
actor Typist {
  private let terminal: PseudoTerminal
  private let leader: Int32
  private var unread = ""
  private var status: Int32?

  /// Something didn't appear, or a program didn't end.
  struct Waited: Error, CustomStringConvertible {
    let description: String
  }

  /// Starts a program that leads a session of its own, on a new terminal.
  ///
  /// - Parameter command: The program's path and its arguments.
  init(_ command: [String], rows: UInt16 = 24, columns: UInt16 = 80) throws {
    terminal = try PseudoTerminal.open(size: TerminalSize(rows: rows, columns: columns))
    let controller = terminal.controller.rawValue
    _ = fcntl(controller, F_SETFL, fcntl(controller, F_GETFL) | O_NONBLOCK)
    var number: Int32 = 0
    try #require(CLinux_ioctl(controller, CLinux_TIOCGPTN, &number) == 0)

    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    // A session's leader that opens a terminal gets it as its controlling one.
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/pts/\(number)", O_RDWR, 0)
    posix_spawn_file_actions_adddup2(&actions, 0, 1)
    posix_spawn_file_actions_adddup2(&actions, 0, 2)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    // Threads of Swift's pool block signals, and children inherit that.
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    let ownSession: Int32 = 0x80  // POSIX_SPAWN_SETSID, which is behind _GNU_SOURCE
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | ownSession))
    var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) }
    arguments.append(nil)
    let variables = ["PATH=/usr/bin:/bin", "TERM=dumb", "PS1=% ", "HOME=/", "LC_ALL=C"]
    var environment: [UnsafeMutablePointer<CChar>?] = variables.map { strdup($0) }
    environment.append(nil)
    defer { for text in arguments + environment { free(text) } }
    var pid: pid_t = 0
    let result = posix_spawn(&pid, command[0], &actions, &attributes, arguments, environment)
    guard result == 0 else { throw Errno(rawValue: result) }
    leader = pid
  }

  deinit {
    kill(leader, SIGKILL)
    if status == nil { waitpid(leader, nil, 0) }
  }

  /// Types.
  func type(_ text: String) async throws {
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
      let count = bytes.withUnsafeBytes {
        write(terminal.controller.rawValue, $0.baseAddress, $0.count)
      }
      if count > 0 {
        bytes = bytes.dropFirst(count)
      } else {
        try await Task.sleep(for: .milliseconds(10))
      }
    }
  }

  /// Waits for something to appear after what was seen already.
  ///
  /// - Returns: All that appeared up to it.
  @discardableResult
  func see(_ text: String, within seconds: Double = 15) async throws -> String {
    var seen = ""
    let isSeen = await eventually(within: seconds) {
      look()
      guard let end = unread.firstRange(of: text)?.upperBound else { return false }
      seen = String(unread[..<end])
      unread = String(unread[end...])
      return true
    }
    if !isSeen { throw Waited(description: "“\(text)” didn't appear, but “\(unread)”") }
    return seen
  }

  /// Types a line and waits for something that the echo of the line doesn't contain.
  @discardableResult
  func enter(_ line: String, see text: String) async throws -> String {
    try await type(line + "\n")
    return try await see(text)
  }

  /// The exit status of the program that was started first; a signal is negative. What was printed until then is
  /// ``remainder()``.
  func end() async throws -> Int32 {
    let hasEnded = await eventually(within: 15) {
      look()
      var raw: Int32 = 0
      if status == nil, waitpid(leader, &raw, WNOHANG) == leader {
        status = raw & 0x7f == 0 ? (raw >> 8) & 0xff : -(raw & 0x7f)
      }
      return status != nil
    }
    look()
    guard hasEnded, let status else {
      throw Waited(description: "the program didn't end; on the terminal: “\(unread)”")
    }
    return status
  }

  /// What has appeared and wasn't asked for.
  func remainder() -> String {
    look()
    return unread
  }

  /// Changes the terminal's size.
  func resize(rows: UInt16, columns: UInt16) throws {
    try TerminalSize(rows: rows, columns: columns).set(on: terminal.controller)
  }

  /// The terminal's mode, to compare.
  func mode() -> [UInt32] {
    var mode = termios()
    tcgetattr(terminal.controller.rawValue, &mode)
    return [mode.c_iflag, mode.c_oflag, mode.c_cflag, mode.c_lflag]
  }

  /// Sends a signal to the program that was started first.
  func signal(_ number: Int32) { kill(leader, number) }

  /// The children of the program that was started first.
  func children() -> [Int32] {
    guard let file = fopen("/proc/\(leader)/task/\(leader)/children", "r") else { return [] }
    defer { fclose(file) }
    var numbers: [Int32] = []
    var number: Int32 = 0
    while withUnsafeMutablePointer(
      to: &number,
      { pointer in
        withVaList([pointer]) { vfscanf(file, "%d", $0) }
      }) == 1
    { numbers.append(number) }
    return numbers
  }

  private func look() {
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = read(terminal.controller.rawValue, &buffer, buffer.count)
      if count <= 0 { return }
      unread += String(
        decoding: buffer[..<count].filter { $0 != UInt8(ascii: "\r") }, as: UTF8.self)
    }
  }
}
