import PodCore
import PodTestSupport
import Testing

/// The integration list: demanding programs that people run. Each is a file of `Tests/Scripts` that checks itself: it
/// exits with 0 natively, and so it must in every pod.
struct ListedProgram: Sendable, CustomTestStringConvertible {
  /// The file's name; its suffix says what runs it.
  let file: String
  /// What has to be installed: names for PATH, or paths with wildcards.
  let needs: [String]

  private init(_ file: String, needs: [String]) {
    (self.file, self.needs) = (file, needs)
  }

  static let languages = [
    ListedProgram("processes.py", needs: ["python3"]),
    ListedProgram("signals.py", needs: ["python3"]),
    ListedProgram("Processes.java", needs: ["java", "javac"]),
    ListedProgram("processes.js", needs: ["node"]),
    ListedProgram("processes.go", needs: ["go", "python3"]),
    ListedProgram("forking-server.pl", needs: ["perl"]),
    ListedProgram("forking-server.rb", needs: ["ruby"]),
  ]

  static let servers = [
    ListedProgram("nginx.sh", needs: ["nginx", "python3"]),
    ListedProgram("redis.sh", needs: ["redis-server", "redis-cli"]),
    ListedProgram("postgres.sh", needs: ["/usr/lib/postgresql/*/bin/initdb", "psql", "setpriv"]),
    ListedProgram(
      "postgres_sysv.sh", needs: ["/usr/lib/postgresql/*/bin/initdb", "psql", "setpriv"]),
    ListedProgram("sshd.sh", needs: ["sshd", "ssh", "script"]),
  ]

  static let utilities = [
    ListedProgram("utilities.sh", needs: ["python3", "taskset", "chrt", "flock", "prlimit"]),
    ListedProgram("make.sh", needs: ["make", "gcc"]),
    ListedProgram("busybox.sh", needs: ["busybox"]),
    ListedProgram("ipcs.sh", needs: ["ipcs", "ipcmk", "ipcrm", "awk"]),
  ]

  static let managers = [
    ListedProgram("parallel.sh", needs: ["parallel"]),
    ListedProgram("daemons.sh", needs: ["start-stop-daemon", "python3"]),
  ]

  static let git = [ListedProgram("git.sh", needs: ["git"])]

  static let terminal = [
    ListedProgram("tmux.sh", needs: ["tmux"]),
    ListedProgram("script.sh", needs: ["script", "python3"]),
  ]

  var testDescription: String { file }

  /// Runs it and expects that all its checks hold.
  func pass(in environment: TestEnvironment) async throws {
    for program in needs + ["bash", "python3"] { try TestPrograms.require(program) }
    var command = try await command
    if !environment.isPod {
      command = ["python3", try await TestPrograms.script("reaper.py")] + command
    }
    let outcome = try await environment.run(command[0], Array(command.dropFirst()))
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }

  private var command: [String] {
    get async throws {
      let parts = file.split(separator: ".").map(String.init)
      switch parts.last {
      case "go": return [try await TestPrograms.go(parts[0])]
      case "java":
        return [
          "java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp",
          try await TestPrograms.java(parts[0]), parts[0],
        ]
      default:
        let interpreters = [
          "sh": "bash", "py": "python3", "js": "node", "pl": "perl", "rb": "ruby",
        ]
        let interpreter = try #require(parts.last.flatMap { interpreters[$0] })
        return [interpreter, try await TestPrograms.script(file)]
      }
    }
  }
}
