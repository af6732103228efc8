public import SystemPackage

extension Pod {
  /// Where a program's standard output or error goes, and what `run` returns of it.
  ///
  /// A type of the embedder gets what was collected, at most ``maxSize`` bytes, when the program has ended.
  public protocol OutputProtocol: Sendable {
    /// What ``ExecutionResult`` has of the output.
    associatedtype OutputType: Sendable

    /// Makes the value of what was collected.
    ///
    /// - Parameter span: All bytes that were written.
    /// - Throws: What `run` then throws.
    func output(from span: RawSpan) throws -> OutputType

    /// The most bytes to collect. When there are more, the program is ended and `run` throws ``PodError`` with
    /// ``PodError/Code/outputLimitExceeded``.
    var maxSize: Int { get }
  }

  /// An output that standard error can have.
  public protocol ErrorOutputProtocol: OutputProtocol {}

  /// Output that goes nowhere.
  public struct DiscardedOutput: ErrorOutputProtocol, DirectOutput {
    /// Nothing is returned.
    public typealias OutputType = Void
    var target: LaunchRequest.OutputTarget { .discard }
  }

  /// Output to a descriptor of the host program, which the program gets itself.
  public struct FileDescriptorOutput: ErrorOutputProtocol, DirectOutput {
    /// Nothing is returned.
    public typealias OutputType = Void
    let target: LaunchRequest.OutputTarget
  }

  /// Output that is collected as text.
  public struct StringOutput<Encoding: Unicode.Encoding>: ErrorOutputProtocol {
    /// A string.
    public typealias OutputType = String
    /// The most bytes.
    public let maxSize: Int

    /// The text.
    ///
    /// - Throws: ``PodError`` with ``PodError/Code/outputNotText`` when the bytes aren't text in the encoding.
    public func output(from span: RawSpan) throws -> String {
      let size = MemoryLayout<Encoding.CodeUnit>.size
      let text: String? =
        span.byteCount % size != 0
        ? nil
        : span.withUnsafeBytes { bytes in
          String(
            validating: (0..<bytes.count / size).lazy.map {
              bytes.loadUnaligned(fromByteOffset: $0 * size, as: Encoding.CodeUnit.self)
            },
            as: Encoding.self)
        }
      if let text { return text }
      throw PodError(
        .outputNotText,
        "the program's output isn't \(Encoding.self) text; ask for .bytes(limit:) to get it anyway")
    }
  }

  /// Output that is collected as bytes.
  public struct BytesOutput: ErrorOutputProtocol {
    /// Bytes.
    public typealias OutputType = [UInt8]
    /// The most bytes.
    public let maxSize: Int

    /// The bytes.
    public func output(from span: RawSpan) throws -> [UInt8] { span.withUnsafeBytes { Array($0) } }
  }

  /// Output that the closure of `run` reads while the program runs.
  public struct SequenceOutput: ErrorOutputProtocol {
    /// Nothing is returned.
    public typealias OutputType = Void
  }

  /// Standard error that goes where standard output goes, in the order of the writes.
  public struct CombinedErrorOutput: ErrorOutputProtocol, DirectOutput {
    /// Nothing is returned.
    public typealias OutputType = Void
    var target: LaunchRequest.OutputTarget { .sameAsOutput }
  }
}

/// Output that needs no code in the host program while the program runs.
protocol DirectOutput {
  var target: LaunchRequest.OutputTarget { get }
}

extension Pod.OutputProtocol {
  /// 128 KiB.
  public var maxSize: Int { 128 * 1024 }
}

extension Pod.OutputProtocol where OutputType == Void {
  /// Does nothing.
  public func output(from span: RawSpan) throws {}
}

extension Pod.OutputProtocol where Self == Pod.DiscardedOutput {
  /// Goes nowhere.
  public static var discarded: Self { Self() }
}

extension Pod.OutputProtocol where Self == Pod.FileDescriptorOutput {
  /// A descriptor of the host program.
  ///
  /// - Parameters:
  ///   - fd: The descriptor; it must be open until the program runs.
  ///   - closeAfterSpawningProcess: Whether to close it when the program runs or couldn't be started.
  public static func fileDescriptor(_ fd: FileDescriptor, closeAfterSpawningProcess: Bool) -> Self {
    Self(target: .descriptor(fd, closeAfterLaunch: closeAfterSpawningProcess))
  }

  /// The host program's standard output.
  public static var currentStandardOutput: Self {
    fileDescriptor(.standardOutput, closeAfterSpawningProcess: false)
  }

  /// The host program's standard error.
  public static var currentStandardError: Self {
    fileDescriptor(.standardError, closeAfterSpawningProcess: false)
  }

  /// The host program's standard output.
  public static var standardOutput: Self { currentStandardOutput }

  /// The host program's standard error.
  public static var standardError: Self { currentStandardError }
}

extension Pod.OutputProtocol where Self == Pod.StringOutput<UTF8> {
  /// A string of at most `limit` bytes of UTF-8.
  public static func string(limit: Int) -> Self { Self(maxSize: limit) }
}

extension Pod.OutputProtocol {
  /// A string of at most `limit` bytes in an encoding.
  public static func string<Encoding: Unicode.Encoding>(
    limit: Int, encoding: Encoding.Type
  ) -> Self where Self == Pod.StringOutput<Encoding> { Self(maxSize: limit) }
}

extension Pod.OutputProtocol where Self == Pod.BytesOutput {
  /// At most `limit` bytes.
  public static func bytes(limit: Int) -> Self { Self(maxSize: limit) }
}

extension Pod.OutputProtocol where Self == Pod.SequenceOutput {
  /// ``Pod/Execution/standardOutput`` or ``Pod/Execution/standardError`` in the closure of `run`.
  public static var sequence: Self { Self() }
}

extension Pod.ErrorOutputProtocol where Self == Pod.CombinedErrorOutput {
  /// Where standard output goes.
  public static var combinedWithOutput: Self { Self() }
}
