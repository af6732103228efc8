internal import PodCore
internal import PodPtrace
internal import PodSeccomp
internal import Synchronization
internal import SystemPackage

extension RunCommand {
  /// Runs the program and returns podrun's exit status.
  func execute() async -> Int32 {
    let attendant: Attendant
    do {
      attendant = try Attendant.start(terminal: wantsTerminal ? OuterTerminal.open() : nil)
    } catch {
      let remedy =
        error == .tooManyOpenFiles
        ? "raise the limit of open files (ulimit -n)" : "is devpts mounted at /dev/pts?"
      Host.complain("the pod can't have a terminal of its own: \(remedy) (\(error))")
      return 125
    }
    let status = await runPod(attendant)
    // The pod has ended: all that its programs wrote is in the terminal's buffer, or already out.
    await attendant.finish()
    return status()
  }

  /// Whether the pod has a terminal of its own.
  ///
  /// Only where both input and output are terminals: in `podrun ls | less` it is less that sets the terminal's mode and
  /// reads from it, and a relay beside it would take away its keys.
  private var wantsTerminal: Bool {
    tty ?? (Host.isTerminal(.standardInput) && Host.isTerminal(.standardOutput))
  }

  /// - Returns: What is to be said last, when the terminal is the outer one's again, and gives the status.
  private func runPod(_ attendant: Attendant) async -> () -> Int32 {
    let report = Report(verbose: verbose, trace: trace, capabilities: capabilities)
    do {
      let status = try await withPod(podConfiguration, backend: chosenBackend) { pod in
        report.follow(pod, capacity: trace ? 65_536 : 1_024)
        let process = try await pod.launch(try request(attendant))
        attendant.programStarted()
        let forwarding = Task {
          for await request in attendant.requests {
            await Self.carryOut(request, on: process.identifier, in: pod)
            attendant.carriedOut(request)
          }
        }
        defer { forwarding.cancel() }
        let status = await process.termination()
        if stats { report.keep(pod.statistics) }
        return status
      }
      if stats { await report.printStatistics() }
      if let reason = await report.failure() {
        return {
          Host.complain("the pod failed: \(reason)")
          return 125
        }
      }
      switch status {
      case .exited(let code): return { code }
      case .signaled(let signal): return { 128 + signal }
      }
    } catch {
      let reason = await report.failure()
      return { Self.status(of: error, reason) }
    }
  }

  private static func status(of error: any Error, _ failure: String?) -> Int32 {
    if let failure { Host.complain("the pod failed: \(failure)") }
    guard let error = error as? PodError else {
      Host.complain("\(error)")
      return 125
    }
    if failure == nil { Host.complain(error.description) }
    switch error.code {
    case .executableNotFound: return 127
    case .notExecutable: return 126
    default: return 125
    }
  }

  private static func carryOut(
    _ request: Attendant.Request, on process: VirtualName<ProcessID>, in pod: Pod
  ) async {
    // What can't be delivered had nobody to go to: the program is ending.
    switch request {
    case .send(let signal, let toGroup):
      try? await pod.send(
        signal: Pod.Signal(rawValue: signal), to: process, toProcessGroup: toGroup)
    case .stop:
      try? await pod.send(signal: .stop, to: process, toProcessGroup: true)
    }
  }

  // MARK: What the program gets

  private var chosenBackend: any Backend {
    let ptrace = PtraceBackend(stops: stops)
    return switch backend {
    case .auto: SeccompBackend(fallback: .ptrace(ptrace))
    case .seccomp: SeccompBackend(fallback: .none)
    case .ptrace: ptrace
    }
  }

  private var stops: PtraceBackend.Stops {
    switch ptraceStops {
    case .automatic: .automatic
    case .filtered: .filtered
    case .everyCall: .everyCall
    }
  }

  private var podConfiguration: PodConfiguration {
    var configuration = PodConfiguration()
    configuration.tracesCalls = trace
    configuration.capabilities = capabilities
    configuration.pathCoverage = paths == .everything ? .everything : .objects
    configuration.mayMount = mounts
    configuration.userNamespace = userNamespace
    configuration.systemV =
      switch systemV {
      case .automatic: .automatic
      case .kernel: .kernel
      case .emulated: .emulated
      }
    if !require.isEmpty { configuration.containment = .required(Set(require)) }
    return configuration
  }

  private func request(_ attendant: Attendant) throws(PodError) -> LaunchRequest {
    var options = Pod.PlatformOptions()
    options.userID = user?.user
    options.groupID = user?.group
    func stream(_ descriptor: FileDescriptor) -> FileDescriptor {
      attendant.innerTerminal.flatMap { Host.isTerminal(descriptor) ? $0 : nil } ?? descriptor
    }
    // The arguments as bytes: the program may get any, also what is no text.
    let words = Host.lastArguments(program.count)
    var request = try LaunchRequest(
      .name(program.first ?? ""),
      arguments: Pod.Arguments(
        executablePathOverride: words[0], remainingValues: Array(words.dropFirst())),
      environment: environment, workingDirectory: cwd.map { FilePath($0) }, options: options,
      input: .descriptor(stream(.standardInput)), output: .descriptor(stream(.standardOutput)),
      error: .descriptor(stream(.standardError)))
    request.controllingTerminal = attendant.innerTerminal != nil
    return request
  }

  private var environment: Pod.Environment {
    var changes: [Pod.Environment.Key: String?] = [:]
    for entry in env {
      let parts = entry.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let key = Pod.Environment.Key(rawValue: String(parts[0]))
      if parts.count == 2 {
        changes[key] = .some(String(parts[1]))
      } else if clearEnv, let value = Host.variable(key.rawValue) {
        changes[key] = .some(value)
      }
    }
    return clearEnv
      ? .custom(changes.compactMapValues { $0 }) : .inherit.updating(changes)
  }
}
