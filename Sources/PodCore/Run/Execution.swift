extension Pod {
  /// A program that runs. It is valid in the closure of `run` only.
  public struct Execution<
    Input: InputProtocol, Output: OutputProtocol, Error: OutputProtocol
  >: Sendable {
    /// The process's number in the pod.
    public let processIdentifier: VirtualName<ProcessID>

    let control: RunControl
    let input: ByteChannel
    let output: ByteChannel
    let error: ByteChannel

    /// Sends a signal. The program sees sender 0, as for any sender outside its pod.
    ///
    /// - Parameters:
    ///   - signal: The signal.
    ///   - shouldSendToProcessGroup: Whether all of the process's group get it.
    /// - Throws: ``PodError`` with ``PodError/Code/processEnded``, ``PodError/Code/podEnded``, or
    ///   ``PodError/Code/invalidConfiguration`` when the number is not 1…64.
    public func send(
      signal: Signal, toProcessGroup shouldSendToProcessGroup: Bool = false
    ) async throws(PodError) {
      try await control.send(signal, toGroup: shouldSendToProcessGroup)
    }

    /// Ends the program step by step; the last step is always ``Signal/kill``.
    ///
    /// Returns when the program has ended or was killed, also when the task is cancelled.
    public func teardown(using sequence: some Sequence<TeardownStep> & Sendable) async {
      let steps = Array(sequence)
      await Task { await control.teardown(using: steps) }.value
    }
  }

  /// A step on the way to a program's end.
  public struct TeardownStep: Sendable, Hashable {
    let signal: Signal
    let toProcessGroup: Bool
    let duration: Duration

    /// Sends a signal, and gives the program some time to end.
    public static func send(
      signal: Signal, toProcessGroup: Bool = false, allowedDurationToNextStep: Duration
    ) -> Self {
      Self(signal: signal, toProcessGroup: toProcessGroup, duration: allowedDurationToNextStep)
    }

    /// Sends ``Signal/terminate``, and gives the program some time to end.
    public static func gracefulShutDown(
      toProcessGroup: Bool = false, allowedDurationToNextStep: Duration
    ) -> Self {
      send(
        signal: .terminate, toProcessGroup: toProcessGroup,
        allowedDurationToNextStep: allowedDurationToNextStep)
    }
  }
}

extension Pod.Execution where Input == Pod.CustomWriteInput {
  /// Writes the program's standard input.
  public var standardInputWriter: Pod.StandardInputWriter {
    Pod.StandardInputWriter(channel: input)
  }
}

extension Pod.Execution where Output == Pod.SequenceOutput {
  /// What the program writes to its standard output.
  public var standardOutput: Pod.OutputSequence { Pod.OutputSequence(channel: output) }
}

extension Pod.Execution where Error == Pod.SequenceOutput {
  /// What the program writes to its standard error.
  public var standardError: Pod.OutputSequence { Pod.OutputSequence(channel: error) }
}

extension Pod.Execution {
  /// Writes the program's standard input, where that is `.inputWriter`.
  @available(*, unavailable, message: "this property requires that the input is .inputWriter")
  public var standardInputWriter: Pod.StandardInputWriter { fatalError("unavailable") }

  /// What the program writes to its standard output, where that is `.sequence`.
  @available(*, unavailable, message: "this property requires that the output is .sequence")
  public var standardOutput: Pod.OutputSequence { fatalError("unavailable") }

  /// What the program writes to its standard error, where that is `.sequence`.
  @available(*, unavailable, message: "this property requires that the error is .sequence")
  public var standardError: Pod.OutputSequence { fatalError("unavailable") }
}
