package import PodCore
internal import SystemPackage

/// A program on its way into the pod.
package struct Launch: Sendable {
  /// What was asked for.
  package let request: LaunchRequest
  /// What the pod's init is told.
  package var specification: LaunchSpecification
  /// The program's descriptors.
  package let descriptors: [PodInit.PassedDescriptor]
  /// Called once: when the program's exec succeeded, or when it is clear that it won't.
  package let answer: @Sendable (Result<VirtualName<ProcessID>, PodError>) -> Void
  /// Called once after a successful answer.
  package let ended: @Sendable (TerminationStatus) -> Void

  /// Starts a program and waits until its exec has succeeded.
  ///
  /// - Parameters:
  ///   - request: The program.
  ///   - service: Who moves what it reads and writes.
  ///   - capabilities: What it keeps of the host program's.
  ///   - post: Hands the launch to the supervisor; answers false when the pod has ended.
  /// - Throws: What kept it from being started.
  package static func run(
    _ request: LaunchRequest, _ service: StreamService, keeping capabilities: CapabilitySet,
    post: (Launch) -> Bool
  ) async throws(PodError) -> LaunchedProcess {
    let streams = try StandardStreams.open(request, service)
    let status = Promise<TerminationStatus>()
    let answer = Promise<Result<VirtualName<ProcessID>, PodError>>()
    var descriptors = [
      PodInit.PassedDescriptor(streams.input, as: 0),
      PodInit.PassedDescriptor(streams.output, as: 1),
      PodInit.PassedDescriptor(streams.error, as: 2),
    ]
    for (number, source) in request.descriptors.sorted(by: { $0.key < $1.key }) {
      descriptors.append(PodInit.PassedDescriptor(source, as: number))
    }
    let launch = Launch(
      request: request, specification: LaunchSpecification(request, limit: capabilities),
      descriptors: descriptors,
      answer: { answer.fulfil($0) }, ended: { status.fulfil($0) })
    guard post(launch) else { throw .podEnded }
    let outcome = await answer.value
    streams.closeChildEnds()
    switch outcome {
    case .failure(let error):
      await streams.finish()
      throw error
    case .success(let name):
      return LaunchedProcess(identifier: name) {
        let result = await status.value
        await streams.finish()
        return result
      }
    }
  }
}

extension PodError {
  /// What every request of a pod that has ended is answered.
  package static let podEnded = PodError(
    .podEnded, "the pod has ended; make a new one with withPod")
}

extension PodError {
  /// Why a program could not be started, in words.
  package init(_ failure: PodInit.Failure, of request: LaunchRequest?) {
    let name = request?.name ?? "the program"
    switch failure.stage {
    case .exec where failure.error == .noSuchFileOrDirectory || failure.error == .notDirectory:
      self.init(
        .executableNotFound, "no executable \(name); give its path, or set PATH to where it is",
        underlyingError: failure.error)
    case .exec:
      self.init(
        .notExecutable, "\(name) can't be executed: check its permissions and its format",
        underlyingError: failure.error)
    case .fork where failure.error == .resourceTemporarilyUnavailable:
      self.init(
        .launchFailed,
        "no process is to be had for \(name): raise the limit of processes (ulimit -u, or the container's "
          + "limit of pids)", underlyingError: failure.error)
    case .directory:
      self.init(
        .workingDirectory,
        "the working directory \(request?.workingDirectory?.string ?? "") can't be entered",
        underlyingError: failure.error)
    default:
      self.init(
        .launchFailed, "\(name) could not be started (\(failure.stage))",
        underlyingError: failure.error)
    }
  }
}
