import CLinux
import Glibc
import PodCore
import PodPtrace
import PodSeccomp

/// A host program that waits for any child, and so can take reports that are a pod's tracer's.
///
/// `reaping-host nobody|thread|all|handler|late PODS seccomp|ptrace` runs programs in pods meanwhile, and prints "right", or what was wrong; with
/// "late" it begins to wait in the middle of a pod, which may then fail: "failed: " and the pod's own words.
@main
struct ReapingHost {
  static func main() async {
    let words = CommandLine.arguments
    guard words.count == 4, let pods = Int(words[2]) else { exit(64) }
    do {
      switch words[1] {
      case "nobody": break
      case "thread": takeReports(options: 0)
      case "all": takeReports(options: Int32(CLinux_WAIT_ALL))
      case "handler": reapInHandler()
      case "late":
        print(try await beginLate() ?? "right")
      default: exit(64)
      }
      for _ in 0..<pods {
        if let wrong = try await runPod() { print(wrong) }
      }
      print("done")
    } catch {
      print("error: \(error)")
      fflush(nil)
      exit(1)
    }
  }

  /// The backend that the last word names.
  private static var backend: any Backend {
    CommandLine.arguments.last == "seccomp"
      ? SeccompBackend(fallback: .none) : PtraceBackend(stops: .filtered)
  }

  /// Makes a thread that does nothing but wait for any child.
  private static func takeReports(options: Int32) {
    var thread = pthread_t()
    pthread_create(
      &thread, nil,
      { argument in
        let options = Int32(truncatingIfNeeded: Int(bitPattern: argument))
        while true {
          var status: Int32 = 0
          if waitpid(-1, &status, options) < 0 { usleep(50) }
        }
      }, UnsafeMutableRawPointer(bitPattern: Int(options)))
  }

  private static func reapInHandler() {
    var action = sigaction()
    action.__sigaction_handler.sa_handler = { _ in
      let before = errno
      while waitpid(-1, nil, WNOHANG) > 0 {}
      errno = before
    }
    action.sa_flags = SA_RESTART
    sigaction(SIGCHLD, &action, nil)
  }

  /// Forks, waits, pipes and a status of its own.
  private static func runProgram(in pod: Pod) async throws -> String? {
    let result = try await pod.run(
      .name("sh"),
      arguments: [
        "-c",
        "for i in 1 2 3; do (exit $i) & wait $!; echo $?; done; echo $(echo $(echo nested)); "
          + "kill -0 $$; exit 7",
      ], input: .none, output: .string(limit: 1000))
    if result.terminationStatus == .exited(7), result.standardOutput == "1\n2\n3\nnested\n" {
      return nil
    }
    return "wrong: \(result.terminationStatus) \(result.standardOutput)"
  }

  private static func runSignalled(
    _ signal: Int32, in pod: Pod
  ) async throws -> String? {
    let result = try await pod.run(
      .name("sh"), arguments: ["-c", "kill -\(signal) $$"], output: .discarded)
    return result.terminationStatus == .signaled(signal)
      ? nil : "wrong after signal \(signal): \(result.terminationStatus)"
  }

  /// Two programs at once, and two that signals kill.
  private static func runPod() async throws -> String? {
    var events: PodEvents?
    do {
      return try await runPod(&events)
    } catch {
      return await failure(events) ?? "error: \(error)"
    }
  }

  private static func runPod(_ events: inout PodEvents?) async throws -> String? {
    try await withPod(backend: backend) { pod in
      events = pod.events
      async let one = runProgram(in: pod)
      async let other = runProgram(in: pod)
      let killed = try await runSignalled(SIGKILL, in: pod)
      let terminated = try await runSignalled(SIGTERM, in: pod)
      let results = try await [one, other, killed, terminated]
      return results.compactMap(\.self).first
    }
  }

  /// A pod in whose middle the waiting begins.
  ///
  /// - Returns: What went wrong.
  private static func beginLate() async throws -> String? {
    let (wrong, events) = try await withPod(backend: backend) { pod -> (String?, PodEvents) in
      let events = pod.events
      var wrong = try await runProgram(in: pod)
      takeReports(options: 0)
      for _ in 0..<5 where wrong == nil {
        do {
          wrong = try await runProgram(in: pod)
        } catch {
          wrong = "\(error)"
        }
      }
      return (wrong, events)
    }
    guard let wrong else { return nil }
    return await failure(events) ?? wrong
  }

  /// Why a pod failed; nil when it didn't.
  private static func failure(_ events: PodEvents?) async -> String? {
    guard let events else { return nil }
    for await event in events {
      if case .failed(let reason) = event { return "failed: \(reason)" }
    }
    return nil
  }
}
