internal import Synchronization
public import SystemPackage

extension Pod {
  // MARK: Collected

  /// Runs a program in the pod and returns how it ended and what was collected of its output.
  ///
  /// It is a child of the pod's init and leads a process group of its own. Cancelling the task ends it
  /// (``PlatformOptions/teardownSequence``); the status then says by which signal.
  ///
  /// Output is complete: all that was written by anyone until the program ended. What processes that it left behind
  /// write later is not waited for.
  ///
  /// - Parameters:
  ///   - executable: `.name("ls")`, searched in the program's `PATH`, or `.path("/bin/ls")`.
  ///   - arguments: What follows the program's own name.
  ///   - environment: The program's variables.
  ///   - workingDirectory: Where to start; nil is the host program's directory.
  ///   - platformOptions: User, groups, umask.
  ///   - input: `.none`, `.string`, `.array`, `.fileDescriptor` …
  ///   - output: `.string(limit:)`, `.bytes(limit:)`, `.discarded`, `.fileDescriptor` …
  ///   - error: The same, or `.combinedWithOutput`.
  /// - Throws: ``PodError`` when the program couldn't be started (``PodError/Code/executableNotFound``,
  ///   ``PodError/Code/notExecutable``, ``PodError/Code/workingDirectory``, …), when there was more output than the
  ///   limit (``PodError/Code/outputLimitExceeded``; the program was then ended), or when the pod has ended or failed
  ///   (``PodError/Code/podEnded``; a program that was killed because the pod failed has no status). A status other than 0 is not an error. `CancellationError` when the task was cancelled before the program was started.
  public nonisolated(nonsending) func run<
    Input: InputProtocol, Output: OutputProtocol, Error: ErrorOutputProtocol
  >(
    _ executable: Executable,
    arguments: Arguments = [],
    environment: Environment = .inherit,
    workingDirectory: FilePath? = nil,
    platformOptions: PlatformOptions = PlatformOptions(),
    input: Input = .none,
    output: Output,
    error: Error = .discarded
  ) async throws -> ExecutionResult<Void, Output, Error> {
    try await run(
      executable, arguments: arguments, environment: environment,
      workingDirectory: workingDirectory, platformOptions: platformOptions, input: input,
      output: output, error: error
    ) { _ in }
  }

  // MARK: With a closure

  /// Runs a program in the pod while a closure deals with it.
  ///
  /// When the closure has returned, input is finished, sequences are closed (the program gets `SIGPIPE` when it writes
  /// on), and the program's end is awaited. When it throws, the program is ended
  /// (``PlatformOptions/teardownSequence``) and the error rethrown.
  ///
  /// - Parameters:
  ///   - executable: `.name("ls")`, searched in the program's `PATH`, or `.path("/bin/ls")`.
  ///   - arguments: What follows the program's own name.
  ///   - environment: The program's variables.
  ///   - workingDirectory: Where to start; nil is the host program's directory.
  ///   - platformOptions: User, groups, umask.
  ///   - input: As above, or `.inputWriter`.
  ///   - output: As above, or `.sequence`.
  ///   - error: As above, or `.sequence`.
  ///   - body: Gets the running program, which must not escape.
  /// - Throws: As ``run(_:arguments:environment:workingDirectory:platformOptions:input:output:error:)``, and what the
  ///   closure throws.
  public nonisolated(nonsending) func run<
    Result: ~Copyable, Input: InputProtocol, Output: OutputProtocol, Error: ErrorOutputProtocol
  >(
    _ executable: Executable,
    arguments: Arguments = [],
    environment: Environment = .inherit,
    workingDirectory: FilePath? = nil,
    platformOptions: PlatformOptions = PlatformOptions(),
    input: Input,
    output: Output,
    error: Error,
    body: nonisolated(nonsending) (Execution<Input, Output, Error>) async throws -> Result
  ) async throws -> ExecutionResult<Result, Output, Error> {
    let streams = RunStreams(input: input, output: output, error: error)
    let request = try LaunchRequest(
      executable, arguments: arguments, environment: environment,
      workingDirectory: workingDirectory, options: platformOptions, input: streams.source,
      output: streams.outputTarget, error: streams.errorTarget)
    return try await run(request, streams, input, output, error, body)
  }

  // MARK: On a terminal

  /// Runs a program whose standard input, output and error are a terminal. It leads a session of its own, and the
  /// terminal becomes the controlling one.
  ///
  /// - Parameters:
  ///   - executable: `.name("bash")`, searched in the program's `PATH`, or `.path("/bin/bash")`.
  ///   - arguments: What follows the program's own name.
  ///   - environment: The program's variables.
  ///   - workingDirectory: Where to start; nil is the host program's directory.
  ///   - platformOptions: User, groups, umask.
  ///   - terminal: The program's side of a pseudo-terminal that is nobody's controlling one. It isn't closed; the host
  ///     program should close it when `body` begins, to see on the other side when the last program has gone.
  ///   - body: Gets the running program.
  /// - Throws: As ``run(_:arguments:environment:workingDirectory:platformOptions:input:output:error:)``, and what the
  ///   closure throws.
  public nonisolated(nonsending) func run<Result: ~Copyable>(
    _ executable: Executable,
    arguments: Arguments = [],
    environment: Environment = .inherit,
    workingDirectory: FilePath? = nil,
    platformOptions: PlatformOptions = PlatformOptions(),
    terminal: FileDescriptor,
    body:
      nonisolated(nonsending) (
        Execution<FileDescriptorInput, FileDescriptorOutput, FileDescriptorOutput>
      ) async throws -> Result
  ) async throws -> ExecutionResult<Result, FileDescriptorOutput, FileDescriptorOutput> {
    let input = FileDescriptorInput(source: .descriptor(terminal))
    let output = FileDescriptorOutput(target: .descriptor(terminal))
    let streams = RunStreams(input: input, output: output, error: output)
    var request = try LaunchRequest(
      executable, arguments: arguments, environment: environment,
      workingDirectory: workingDirectory, options: platformOptions, input: streams.source,
      output: streams.outputTarget, error: streams.errorTarget)
    request.controllingTerminal = true
    return try await run(request, streams, input, output, output, body)
  }

  // MARK: The common part

  private nonisolated(nonsending) func run<
    Result: ~Copyable, Input: InputProtocol, Output: OutputProtocol, Error: OutputProtocol
  >(
    _ request: LaunchRequest, _ streams: RunStreams,
    _ input: Input, _ output: Output, _ error: Error,
    _ body: nonisolated(nonsending) (Execution<Input, Output, Error>) async throws -> Result
  ) async throws -> ExecutionResult<Result, Output, Error> {
    try Task.checkCancellation()
    let control = RunControl(session: session, steps: request.options.teardownSequence)
    streams.onExceeded(control.requestTeardown)
    let process: LaunchedProcess
    do throws(PodError) {
      process = try await launch(request)
    } catch {
      streams.close()
      throw error
    }
    control.started(process.identifier)
    let end = Task {
      let status = await process.termination()
      control.ended()
      streams.input.close()
      return status
    }
    let writing = streams.write(input)

    var result: Result?
    var failure: (any Swift.Error)?
    let status = await withTaskCancellationHandler {
      do {
        result = try await body(
          Execution(
            processIdentifier: process.identifier, control: control, input: streams.input,
            output: streams.output, error: streams.error))
      } catch let thrown {
        failure = thrown
        control.requestTeardown()
      }
      if writing == nil { streams.input.finish() }
      streams.output.close()
      streams.error.close()
      return await end.value
    } onCancel: {
      control.requestTeardown()
    }
    await control.settled()
    writing?.cancel()
    let writeFailure = await writing?.value
    if let failure { throw failure }
    try requireNoFailure(status)
    if let writeFailure { throw writeFailure }
    guard let closureResult = result.take() else { throw CancellationError() }
    return ExecutionResult(
      processIdentifier: process.identifier, terminationStatus: status,
      standardOutput: try streams.collectedOutput.value(output, "standard output"),
      standardError: try streams.collectedError.value(error, "standard error"),
      closureResult: closureResult)
  }
}

/// The standard streams of one run, between the host program and the backend.
final class RunStreams: Sendable {
  let source: LaunchRequest.InputSource
  let outputTarget: LaunchRequest.OutputTarget
  let errorTarget: LaunchRequest.OutputTarget
  let input = ByteChannel()
  let output = ByteChannel()
  let error = ByteChannel()
  let collectedOutput: Collected
  let collectedError: Collected
  private let control = ControlBox()

  init(
    input plan: some Pod.InputProtocol, output outputPlan: some Pod.OutputProtocol,
    error errorPlan: some Pod.OutputProtocol
  ) {
    let input = input
    source =
      (plan as? any PlannedInput)?.source
      ?? .stream({ await input.receive() }, closed: { input.close() })
    (outputTarget, collectedOutput) = Self.target(outputPlan, output, control)
    (errorTarget, collectedError) = Self.target(errorPlan, error, control)
  }

  private static func target(
    _ plan: some Pod.OutputProtocol, _ channel: ByteChannel, _ control: ControlBox
  ) -> (LaunchRequest.OutputTarget, Collected) {
    if let direct = plan as? any DirectOutput { return (direct.target, Collected()) }
    if plan is Pod.SequenceOutput {
      return (
        .sink { bytes in
          if let bytes { return await channel.send(bytes) }
          channel.finish()
          return false
        }, Collected()
      )
    }
    let collector = OutputCollector(limit: plan.maxSize)
    return (
      .sink { bytes in
        guard let bytes else { return false }
        if collector.take(bytes) { return true }
        control.exceeded()
        return false
      }, Collected(collector: collector)
    )
  }

  func onExceeded(_ action: @escaping @Sendable () -> Void) { control.set(action) }

  /// Runs an input of the embedder's type; nil when there is none.
  ///
  /// - Returns: What went wrong besides that the program stopped reading.
  func write(_ plan: some Pod.InputProtocol) -> Task<(any Error)?, Never>? {
    if plan is any PlannedInput || plan is Pod.CustomWriteInput { return nil }
    let channel = input
    return Task {
      defer { channel.finish() }
      do {
        try await plan.write(with: Pod.StandardInputWriter(channel: channel))
        return nil
      } catch {
        let isEnd = Task.isCancelled || (error as? PodError)?.code == .inputClosed
        return isEnd ? nil : error
      }
    }
  }

  func close() {
    input.close()
    output.close()
    error.close()
  }
}

/// What is done when an output exceeds its limit; known only after the sinks were made.
private final class ControlBox: Sendable {
  private let action = Mutex<@Sendable () -> Void>({})

  func set(_ new: @escaping @Sendable () -> Void) { action.withLock { $0 = new } }

  func exceeded() { action.withLock { $0 }() }
}

/// What was collected of an output, if it is one that is.
struct Collected: Sendable {
  var collector: OutputCollector?

  /// - Throws: ``PodError`` with ``PodError/Code/outputLimitExceeded``, and what the output's type throws.
  func value<Output: Pod.OutputProtocol>(
    _ plan: Output, _ name: String
  ) throws -> Output.OutputType {
    guard let collector else { return try plan.output(from: [UInt8]().span.bytes) }
    guard let bytes = collector.content else {
      throw PodError(
        .outputLimitExceeded, "the program wrote more than \(collector.limit) bytes to \(name)")
    }
    return try plan.output(from: bytes.span.bytes)
  }
}

extension LaunchRequest {
  /// Makes a request of what `run` is given.
  ///
  /// - Throws: ``PodError`` with ``PodError/Code/invalidConfiguration`` or ``PodError/Code/executableNotFound``.
  public init(
    _ executable: Pod.Executable, arguments: Pod.Arguments = [],
    environment: Pod.Environment = .inherit, workingDirectory: FilePath? = nil,
    options: Pod.PlatformOptions = Pod.PlatformOptions(), input: InputSource, output: OutputTarget,
    error: OutputTarget
  ) throws(PodError) {
    if let fault = environment.fault { throw PodError(.invalidConfiguration, fault) }
    let vector = arguments.vector(for: executable)
    if let index = vector.firstIndex(where: { $0.contains(0) }) {
      throw PodError(.invalidConfiguration, "argument \(index) contains a NUL")
    }
    let variables = environment.variables(host: Pod.Environment.ofHost())
    let candidates = executable.candidates(in: variables)
    if candidates.isEmpty {
      throw PodError(
        .executableNotFound,
        "\"\(executable)\" can't be searched: PATH has no absolute directory, or the name is empty")
    }
    self.init(
      candidates: candidates, name: executable.description, arguments: vector,
      environment: variables, workingDirectory: workingDirectory, input: input, output: output,
      error: error, options: options)
  }
}
