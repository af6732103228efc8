extension Pod {
  /// A piece of a program's output.
  public struct Buffer: Sendable, Hashable {
    let content: [UInt8]

    /// How many bytes, at least 1.
    public var count: Int { content.count }

    /// Whether there are none; a sequence has no such buffer.
    public var isEmpty: Bool { content.isEmpty }

    /// The bytes, without a copy.
    public var array: [UInt8] { content }

    /// Gives access to the bytes.
    public func withUnsafeBytes<ResultType>(
      _ body: (UnsafeRawBufferPointer) throws -> ResultType
    ) rethrows -> ResultType { try content.withUnsafeBytes(body) }
  }

  /// A program's output while it runs.
  ///
  /// It can be read once. While nobody reads, nothing is taken from the program, which then waits in its write. It ends
  /// when the program, and all it left that can write here, closed it; or when the program has ended and what had been
  /// written until then was read.
  public struct OutputSequence: AsyncSequence, Sendable {
    /// Pieces of the output, of no particular size.
    public typealias Element = Buffer
    /// Only `CancellationError`.
    public typealias Failure = any Error

    let channel: ByteChannel

    /// Reads the output.
    public struct AsyncIterator: AsyncIteratorProtocol {
      let channel: ByteChannel

      /// The next piece; nil at the end.
      ///
      /// - Throws: `CancellationError`.
      public mutating func next(
        isolation actor: isolated (any Actor)? = #isolation
      ) async throws -> Buffer? {
        if let bytes = await channel.receive() { return Buffer(content: bytes) }
        try Task.checkCancellation()
        return nil
      }

      /// The next piece; nil at the end.
      ///
      /// - Throws: `CancellationError`.
      public mutating func next() async throws -> Buffer? { try await next(isolation: nil) }
    }

    /// Begins to read.
    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(channel: channel) }

    /// The output line by line.
    public var lines: StringSequence { strings() }

    /// The output in pieces of text between separators.
    ///
    /// - Parameters:
    ///   - separator: What stands between the pieces; it isn't part of them.
    ///   - bufferingPolicy: How long a piece may be.
    public func strings(
      separatedBy separator: StringSequence.Separator = .lineBreaks,
      bufferingPolicy: StringSequence.BufferingPolicy = .maxLineLength(128 * 1024)
    ) -> StringSequence {
      StringSequence(base: self, separator: separator, policy: bufferingPolicy)
    }
  }

  /// A program's output as pieces of text. Bytes that aren't UTF-8 become U+FFFD.
  public struct StringSequence: AsyncSequence, Sendable {
    /// Text without the separator.
    public typealias Element = String
    /// ``PodError`` with ``PodError/Code/outputLimitExceeded``, or `CancellationError`.
    public typealias Failure = any Error

    /// What stands between pieces.
    public struct Separator: Sendable, Hashable {
      /// nil: line breaks.
      let bytes: [UInt8]?

      /// Unicode's line breaks: LF, VT, FF, CR, CR+LF, NEL, U+2028 and U+2029.
      public static let lineBreaks = Separator(bytes: nil)

      /// These scalars, compared as UTF-8 without normalisation; none means that nothing is separated.
      public static func unicodeScalarSequence(_ scalars: some Sequence<Unicode.Scalar>) -> Self {
        Separator(bytes: scalars.flatMap { Array(UTF8.encode($0) ?? .init()) })
      }
    }

    /// How long a piece may be.
    public enum BufferingPolicy: Sendable, Hashable {
      /// As long as memory.
      case unbounded
      /// So many bytes; a longer one is an error.
      case maxLineLength(Int)
    }

    let base: OutputSequence
    let separator: Separator
    let policy: BufferingPolicy

    /// Reads the output.
    public struct AsyncIterator: AsyncIteratorProtocol {
      var base: OutputSequence.AsyncIterator
      var splitter: LineSplitter

      /// The next piece; nil at the end.
      ///
      /// - Throws: ``PodError`` with ``PodError/Code/outputLimitExceeded``, `CancellationError`.
      public mutating func next(
        isolation actor: isolated (any Actor)? = #isolation
      ) async throws -> String? {
        while true {
          if let line = try splitter.next() { return line }
          guard let buffer = try await base.next(isolation: actor) else { return splitter.rest() }
          splitter.append(buffer.content)
        }
      }

      /// The next piece; nil at the end.
      ///
      /// - Throws: ``PodError`` with ``PodError/Code/outputLimitExceeded``, `CancellationError`.
      public mutating func next() async throws -> String? { try await next(isolation: nil) }
    }

    /// Begins to read.
    public func makeAsyncIterator() -> AsyncIterator {
      var limit = Int.max
      if case .maxLineLength(let length) = policy { limit = length }
      return AsyncIterator(
        base: base.makeAsyncIterator(),
        splitter: LineSplitter(separator: separator.bytes, limit: limit))
    }
  }
}

/// Cuts bytes that come in pieces into lines.
struct LineSplitter {
  let separator: [UInt8]?
  let limit: Int
  private var input: [UInt8] = []
  private var position = 0
  private var line: [UInt8] = []
  private var skipsLineFeed = false

  init(separator: [UInt8]?, limit: Int) {
    (self.separator, self.limit) = (separator, limit)
  }

  mutating func append(_ bytes: [UInt8]) {
    input = position < input.count ? Array(input[position...]) + bytes : bytes
    position = 0
  }

  /// The next whole line; nil when there is none yet.
  mutating func next() throws(PodError) -> String? {
    while position < input.count {
      let byte = input[position]
      position += 1
      if skipsLineFeed {
        skipsLineFeed = false
        if byte == 0x0A { continue }
      }
      line.append(byte)
      let length = separatorLength
      if length > 0 {
        skipsLineFeed = separator == nil && byte == 0x0D
        defer { line.removeAll(keepingCapacity: true) }
        return String(decoding: line.dropLast(length), as: UTF8.self)
      }
      if line.count > limit {
        throw PodError(.outputLimitExceeded, "a line of the output is longer than \(limit) bytes")
      }
    }
    return nil
  }

  /// What stands after the last separator; nil when nothing does.
  mutating func rest() -> String? {
    if line.isEmpty { return nil }
    defer { line = [] }
    return String(decoding: line, as: UTF8.self)
  }

  /// The length of the separator that the line now ends with; 0 when it ends with none.
  private var separatorLength: Int {
    if let separator {
      let ends =
        !separator.isEmpty && line.last == separator.last && line.count >= separator.count
        && line.suffix(separator.count).elementsEqual(separator)
      return ends ? separator.count : 0
    }
    switch line[line.count - 1] {
    case 0x0A...0x0D: return 1
    case 0x85 where line.count > 1 && line[line.count - 2] == 0xC2: return 2
    case 0xA8, 0xA9:
      return line.count > 2 && line[line.count - 2] == 0x80 && line[line.count - 3] == 0xE2 ? 3 : 0
    default: return 0
    }
  }
}
