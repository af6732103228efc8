public import SystemPackage

extension Pod {
  /// Where a program's standard input comes from: ``NoInput/none``, ``StringInput``, ``ArrayInput``,
  /// ``FileDescriptorInput``, ``CustomWriteInput``, or a type of the embedder that writes it.
  public protocol InputProtocol: Sendable {
    /// Writes the program's input; runs beside the program and is cancelled when that ends.
    ///
    /// - Throws: What ``Pod/run(_:arguments:environment:workingDirectory:platformOptions:input:output:error:)`` then throws.
    func write(with writer: StandardInputWriter) async throws
  }

  /// No input: the program reads the end of the file at once.
  public struct NoInput: InputProtocol, PlannedInput {
    var source: LaunchRequest.InputSource { .none }

    /// Does nothing.
    public func write(with writer: StandardInputWriter) async throws {}
  }

  /// Input from a descriptor of the host program, which the program gets itself.
  public struct FileDescriptorInput: InputProtocol, PlannedInput {
    let source: LaunchRequest.InputSource

    /// Does nothing.
    public func write(with writer: StandardInputWriter) async throws {}
  }

  /// A string as input.
  public struct StringInput: InputProtocol, PlannedInput {
    let source: LaunchRequest.InputSource

    /// Does nothing: the backend writes the string.
    public func write(with writer: StandardInputWriter) async throws {}
  }

  /// Bytes as input.
  public struct ArrayInput: InputProtocol, PlannedInput {
    let source: LaunchRequest.InputSource

    /// Does nothing: the backend writes the bytes.
    public func write(with writer: StandardInputWriter) async throws {}
  }

  /// Input that the closure of `run` writes with ``Execution/standardInputWriter``.
  public struct CustomWriteInput: InputProtocol {
    /// Does nothing.
    public func write(with writer: StandardInputWriter) async throws {}
  }

  /// Writes the standard input of a program while it runs.
  ///
  /// It is valid in the closure of `run`, which finishes it at the end.
  public struct StandardInputWriter: Sendable {
    let channel: ByteChannel

    /// Writes bytes; waits while the program is behind.
    ///
    /// - Returns: How many were written: all.
    /// - Throws: ``PodError`` with ``PodError/Code/inputClosed`` when the program has closed its input or ended, or the
    ///   writer was finished; `CancellationError`.
    @discardableResult
    public func write(_ array: [UInt8]) async throws -> Int {
      if await channel.send(array) { return array.count }
      try Task.checkCancellation()
      throw PodError(.inputClosed, "the program doesn't read its standard input any more")
    }

    /// Writes a string as UTF-8; waits while the program is behind.
    ///
    /// - Returns: How many bytes were written: all.
    /// - Throws: As ``write(_:)-([UInt8])``.
    @discardableResult
    public func write(_ string: some StringProtocol) async throws -> Int {
      try await write(Array(string.utf8))
    }

    /// Ends the input: the program reads the end of the file. Further calls do nothing, and none throws.
    public func finish() async throws { channel.finish() }
  }
}

/// Input that needs no code in the host program while the program runs.
protocol PlannedInput {
  var source: LaunchRequest.InputSource { get }
}

extension Pod.InputProtocol where Self == Pod.NoInput {
  /// No input.
  public static var none: Self { Self() }
}

extension Pod.InputProtocol where Self == Pod.FileDescriptorInput {
  /// A descriptor of the host program.
  ///
  /// - Parameters:
  ///   - fd: The descriptor; it must be open until the program runs.
  ///   - closeAfterSpawningProcess: Whether to close it when the program runs or couldn't be started.
  public static func fileDescriptor(_ fd: FileDescriptor, closeAfterSpawningProcess: Bool) -> Self {
    Self(source: .descriptor(fd, closeAfterLaunch: closeAfterSpawningProcess))
  }

  /// The host program's standard input. A terminal is better given with `run(…terminal:)`.
  public static var currentStandardInput: Self {
    fileDescriptor(.standardInput, closeAfterSpawningProcess: false)
  }

  /// The host program's standard input.
  public static var standardInput: Self { currentStandardInput }
}

extension Pod.InputProtocol where Self == Pod.StringInput {
  /// A string, as UTF-8.
  public static func string(_ string: some StringProtocol) -> Self {
    Self(source: .bytes(Array(string.utf8)))
  }
}

extension Pod.InputProtocol where Self == Pod.ArrayInput {
  /// Bytes.
  public static func array(_ array: [UInt8]) -> Self { Self(source: .bytes(array)) }
}

extension Pod.InputProtocol where Self == Pod.CustomWriteInput {
  /// What the closure of `run` writes.
  public static var inputWriter: Self { Self() }
}
