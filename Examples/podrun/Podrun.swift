internal import ArgumentParser
internal import PodCore

/// Runs a program in a pod.
///
/// In a nutshell: the signals that concern podrun are blocked first thing, so that every thread inherits that and one
/// thread (``Attendant``) takes them, next to the terminal; the program is started by `Pod.launch`; what becomes of it is
/// podrun's own exit status. The pod's init gives programs default dispositions and an empty mask.
@main
struct Podrun {
  /// The version that `--version` prints.
  static let version = "0.1.0-dev"

  static func main() {
    Host.openStandardStreams()
    Attendant.blockSignals()
    if let obstacle = Host.obstacle {
      Host.complain(obstacle)
      Host.exit(125)
    }
    let arguments = Array(CommandLine.arguments.dropFirst())
    if arguments.first == "syscalls" {
      SyscallsCommand.main(Array(arguments.dropFirst()))
      return
    }
    if arguments.first == "machine" {
      MachineCommand.main(Array(arguments.dropFirst()))
      return
    }
    let command = RunCommand.parseOrExit(arguments)
    Task.detached { Host.exit(await command.execute()) }
    // Not an async main: its thread would wait in sigsuspend with no signal blocked.
    Host.sleep()
  }
}
