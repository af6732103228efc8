extension Pod {
  /// What remains of a program that was run.
  public struct ExecutionResult<
    ClosureResult: ~Copyable, Output: OutputProtocol, Error: OutputProtocol
  >: ~Copyable {
    /// The number that the process had in the pod; it may be another's by now.
    public let processIdentifier: VirtualName<ProcessID>
    /// How it ended.
    public let terminationStatus: TerminationStatus
    /// What was collected of its standard output.
    public let standardOutput: Output.OutputType
    /// What was collected of its standard error.
    public let standardError: Error.OutputType
    /// What the closure of `run` returned.
    public let closureResult: ClosureResult
  }
}

extension Pod.ExecutionResult where ClosureResult: ~Copyable {
  /// What the closure of `run` returned, moved out.
  public consuming func takeClosureResult() -> ClosureResult { closureResult }
}

extension Pod.ExecutionResult: Copyable where ClosureResult: Copyable {}
extension Pod.ExecutionResult: Sendable where ClosureResult: Sendable & ~Copyable {}
extension Pod.ExecutionResult: Equatable
where ClosureResult: Equatable, Output.OutputType: Equatable, Error.OutputType: Equatable {}
extension Pod.ExecutionResult: Hashable
where ClosureResult: Hashable, Output.OutputType: Hashable, Error.OutputType: Hashable {}
