internal import ArgumentParser
internal import PodCore
internal import SystemPackage

/// `podrun [options] [--] PROGRAM [ARG…]`.
struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "podrun",
    abstract: "Run a program in a pod: a private world of process names.",
    usage: """
      podrun [<options>] [--] <program> [<argument> ...]
      podrun syscalls [--json]
      podrun machine
      """,
    discussion: """
      Options end at the program; what follows is the program's own. `podrun syscalls` prints what \
      a pod does with each system call, `podrun machine` what pods get on this machine; programs of \
      those names are reached with `podrun -- syscalls` or by their paths.

      The exit status is the program's own: 128+n when signal n killed it, 125 when podrun itself \
      failed, 126 when the program can't be executed, 127 when it isn't found, 64 for wrong usage.

      On a terminal (standard input and output both are) the pod has a terminal of its own, which \
      podrun relays: job control, Ctrl-C and Ctrl-Z happen inside. Otherwise the program gets \
      podrun's standard streams as they are, and signals sent to podrun are passed on.
      """,
    version: Podrun.version)

  /// The backends by name.
  enum BackendName: String, ExpressibleByArgument, CaseIterable {
    /// seccomp, and ptrace where the machine lacks what that needs.
    case auto
    case seccomp
    case ptrace

    /// Unless it is said.
    static let standard = BackendName.auto
  }

  @Option(
    help: """
      How system calls are interposed on: by a supervisor that is asked (seccomp), or by tracing (ptrace), which is slower. \
      Auto is seccomp, and ptrace where the machine lacks what that needs.
      """)
  var backend = BackendName.standard

  /// Which calls stop, under the ptrace backend.
  enum StopsName: String, ExpressibleByArgument, CaseIterable {
    case automatic
    case filtered
    case everyCall = "every-call"
  }

  @Option(
    help: """
      Which calls stop: those in which names cross, by a seccomp filter, or every call, which is slower. Automatic is \
      filtered where the machine takes a filter.
      """)
  var ptraceStops = StopsName.automatic

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp(
      "Set a variable, or take it from podrun's environment. Repeatable.",
      valueName: "KEY[=VALUE]"))
  var env: [String] = []

  @Flag(help: "Start with an empty environment; --env adds to it.")
  var clearEnv = false

  @Option(help: ArgumentHelp("Start the program in this directory.", valueName: "dir"))
  var cwd: String?

  @Option(help: ArgumentHelp("Run the program as this user.", valueName: "uid[:gid]"))
  var user: UserOption?

  @Option(
    help: ArgumentHelp(
      "Let the program keep a capability that root's programs in a pod otherwise lose, or 'all'. Repeatable.",
      valueName: "capability"),
    transform: Self.capability)
  var capAdd: [CapabilitySet] = []

  @Option(
    help: ArgumentHelp(
      "Take a capability away, or 'all' but those that --cap-add names. Repeatable.",
      valueName: "capability"),
    transform: Self.capability)
  var capDrop: [CapabilitySet] = []

  @Flag(
    inversion: .prefixedNo,
    help: "A terminal of the pod's own. (default: when standard input and output are terminals)")
  var tty: Bool?

  @Option(
    help: ArgumentHelp(
      "Fail unless this is contained: processes, ipc, files, network, terminals. Repeatable.",
      valueName: "subsystem"),
    transform: Self.subsystem)
  var require: [Containment.Subsystem] = []

  /// Which calls with paths are looked at.
  enum PathCoverageName: String, ExpressibleByArgument, CaseIterable {
    case objects
    case everything
  }

  @Option(
    help: ArgumentHelp(
      """
      Which calls with paths are looked at, so that /dev/shm is the pod's own: objects (of POSIX IPC) or everything, which \
      makes opening files slower. Where podrun may mount, it needs none.
      """, valueName: "coverage"))
  var paths = PathCoverageName.objects

  @Flag(inversion: .prefixedNo, help: "Mount the pod's own /dev/shm where podrun has the right to.")
  var mounts = true

  @Flag(
    help: ArgumentHelp(
      """
      Where podrun has no right to mount, take a user namespace, in which it has. Programs then can be no other user, and \
      see others' files as nobody's.
      """))
  var userNamespace = false

  /// Who has System V objects.
  enum SystemVName: String, ExpressibleByArgument, CaseIterable {
    case automatic
    case kernel
    case emulated
  }

  @Option(
    help: ArgumentHelp(
      """
      Who has System V objects and POSIX message queues: the kernel, in an IPC namespace, for which podrun has to have \
      CAP_SYS_ADMIN or --user-namespace, or podrun (emulated). Automatic is the kernel where it can be had.
      """, valueName: "provider"))
  var systemV = SystemVName.automatic

  @Option(help: ArgumentHelp("Not there yet: a host name of the pod's own.", valueName: "name"))
  var hostname: String?

  @Option(help: ArgumentHelp("Not there yet: a root directory of the pod's own.", valueName: "dir"))
  var root: String?

  @Option(help: ArgumentHelp("Not there yet: ports of the pod's own.", valueName: "mode"))
  var network: String?

  @Flag(name: .shortAndLong, help: "Say on standard error what happens to the pod.")
  var verbose = false

  @Flag(help: "Print each virtualised call with virtual and physical names on standard error.")
  var trace = false

  @Flag(help: "Say on standard error, at the end, how often the supervisor was asked and for what.")
  var stats = false

  @Argument(
    parsing: .captureForPassthrough,
    help: ArgumentHelp("The program and its arguments.", valueName: "program"))
  var arguments: [String] = []

  /// The program and its arguments, without the `--` before.
  var program: ArraySlice<String> {
    arguments.first == "--" ? arguments.dropFirst() : arguments[...]
  }

  private static func subsystem(_ word: String) throws -> Containment.Subsystem {
    guard let subsystem = Containment.Subsystem(rawValue: word) else {
      throw ValidationError("'\(word)' is no subsystem.")
    }
    return subsystem
  }

  private static func capability(_ word: String) throws -> CapabilitySet {
    guard let capability = CapabilitySet(name: word) else {
      throw ValidationError("'\(word)' is no capability; capabilities(7) lists them.")
    }
    return capability
  }

  /// What the program keeps.
  ///
  /// As with container engines: `all` says what the others are added to or taken from.
  var capabilities: CapabilitySet {
    var kept: CapabilitySet =
      capDrop.contains(.all) ? [] : capAdd.contains(.all) ? .all : .container
    for added in capAdd where added != .all { kept.formUnion(added) }
    for dropped in capDrop where dropped != .all { kept.subtract(dropped) }
    return kept
  }

  func validate() throws {
    if capAdd.contains(.all), capDrop.contains(.all) {
      throw ValidationError("--cap-add all and --cap-drop all can't both be meant.")
    }
    if backend == .seccomp, ptraceStops != .automatic {
      throw ValidationError("--ptrace-stops is for the ptrace backend.")
    }
    for (name, value, what) in [
      ("--hostname", hostname, "host names"), ("--root", root, "file systems"),
      ("--network", network, "networks"),
    ] where value != nil {
      throw ValidationError("\(name) doesn't work yet: pods have no \(what) of their own.")
    }
    if systemV == .kernel, !mounts {
      throw ValidationError("--system-v kernel needs mounts, which --no-mounts takes away.")
    }
    if userNamespace, !mounts {
      throw ValidationError("--user-namespace is for mounts, which --no-mounts takes away.")
    }
    for entry in env where entry.isEmpty || entry.hasPrefix("=") {
      throw ValidationError("--env takes KEY=VALUE or KEY, not '\(entry)'.")
    }
    if let first = arguments.first, first.hasPrefix("-"), first != "--" {
      switch first {
      case "--help", "-h": throw CleanExit.helpRequest(self)
      case "--version": throw CleanExit.message(Podrun.version)
      default: throw ValidationError("Unknown option '\(first)'.")
      }
    }
    if program.isEmpty { throw ValidationError("No program to run.") }
    if tty == true, !Host.isTerminal(.standardInput) {
      throw ValidationError("--tty needs a terminal as standard input.")
    }
  }
}

/// A user and perhaps a group, by number.
struct UserOption: ExpressibleByArgument {
  let user: UInt32
  let group: UInt32?

  init?(argument: String) {
    let parts = argument.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count <= 2, let user = parts.first.flatMap({ UInt32($0) }) else { return nil }
    self.user = user
    guard parts.count == 2 else {
      group = nil
      return
    }
    guard let group = UInt32(parts[1]) else { return nil }
    self.group = group
  }
}
