extension Pod {
  /// A signal, by its number on Linux.
  ///
  /// The names are swift-subprocess's; where a manual's name is more usual there is a second one.
  ///
  /// Source: signal(7).
  public struct Signal: Sendable, Hashable, Codable, RawRepresentable, CustomStringConvertible {
    /// The number, 1…64.
    public let rawValue: Int32

    /// A signal of a number; 1…64 exist.
    public init(rawValue: Int32) { self.rawValue = rawValue }

    /// `SIGHUP`: the terminal is gone.
    public static let terminalClosed = Signal(rawValue: 1)
    /// `SIGHUP`.
    public static let hangup = terminalClosed
    /// `SIGINT`: Ctrl-C.
    public static let interrupt = Signal(rawValue: 2)
    /// `SIGQUIT`: Ctrl-\.
    public static let quit = Signal(rawValue: 3)
    /// `SIGABRT`.
    public static let abort = Signal(rawValue: 6)
    /// `SIGKILL`: ends a process, which can't prevent it.
    public static let kill = Signal(rawValue: 9)
    /// `SIGUSR1`.
    public static let userDefinedOne = Signal(rawValue: 10)
    /// `SIGUSR2`.
    public static let userDefinedTwo = Signal(rawValue: 12)
    /// `SIGPIPE`: nobody reads what is written.
    public static let brokenPipe = Signal(rawValue: 13)
    /// `SIGALRM`.
    public static let alarm = Signal(rawValue: 14)
    /// `SIGTERM`: asks a process to end.
    public static let terminate = Signal(rawValue: 15)
    /// `SIGCHLD`: a child has changed.
    public static let childChanged = Signal(rawValue: 17)
    /// `SIGCONT`: goes on after a stop.
    public static let resume = Signal(rawValue: 18)
    /// `SIGCONT`.
    public static let `continue` = resume
    /// `SIGSTOP`: stops a process, which can't prevent it.
    public static let suspend = Signal(rawValue: 19)
    /// `SIGSTOP`.
    public static let stop = suspend
    /// `SIGTSTP`: Ctrl-Z.
    public static let terminalStop = Signal(rawValue: 20)
    /// `SIGTTIN`: a background process read from its terminal.
    public static let terminalInput = Signal(rawValue: 21)
    /// `SIGTTOU`: a background process wrote to its terminal.
    public static let terminalOutput = Signal(rawValue: 22)
    /// `SIGWINCH`: the terminal has another size.
    public static let windowSizeChange = Signal(rawValue: 28)

    /// `SIGTERM`, `SIGRTMIN+2` as the kernel counts them, or `signal 99`.
    public var description: String {
      if let name = Self.names[rawValue] { return "SIG" + name }
      switch rawValue {
      case 32: return "SIGRTMIN"
      case 33...64: return "SIGRTMIN+\(rawValue - 32)"
      default: return "signal \(rawValue)"
      }
    }

    private static let names: [Int32: String] = [
      1: "HUP", 2: "INT", 3: "QUIT", 4: "ILL", 5: "TRAP", 6: "ABRT", 7: "BUS", 8: "FPE",
      9: "KILL", 10: "USR1", 11: "SEGV", 12: "USR2", 13: "PIPE", 14: "ALRM", 15: "TERM",
      16: "STKFLT", 17: "CHLD", 18: "CONT", 19: "STOP", 20: "TSTP", 21: "TTIN", 22: "TTOU",
      23: "URG", 24: "XCPU", 25: "XFSZ", 26: "VTALRM", 27: "PROF", 28: "WINCH", 29: "IO",
      30: "PWR", 31: "SYS",
    ]
  }
}
