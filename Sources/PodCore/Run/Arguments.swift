extension Pod {
  /// The arguments of a program, without its own name.
  ///
  /// Bytes are passed on as they are; a string is its UTF-8. None may contain a NUL.
  public struct Arguments: Sendable, Hashable, ExpressibleByArrayLiteral, CustomStringConvertible {
    let executablePathOverride: [UInt8]?
    let values: [[UInt8]]

    /// Arguments as a literal: `["-l", "/tmp"]`.
    public init(arrayLiteral elements: String...) { self.init(elements) }

    /// Arguments from strings.
    public init(_ array: [String]) {
      self.init(executablePathOverride: nil, remainingValues: array)
    }

    /// Arguments from bytes, without a NUL at their end.
    public init(_ array: [[UInt8]]) {
      self.init(executablePathOverride: nil, remainingValues: array)
    }

    /// Arguments, and what the program is told it is called.
    ///
    /// - Parameters:
    ///   - executablePathOverride: `argv[0]`; nil is the executable's name or path as it was given.
    ///   - remainingValues: `argv[1...]`.
    public init(executablePathOverride: String?, remainingValues: [String]) {
      self.init(
        executablePathOverride: executablePathOverride.map { Array($0.utf8) },
        remainingValues: remainingValues.map { Array($0.utf8) })
    }

    /// Arguments, and what the program is told it is called, from bytes.
    public init(executablePathOverride: [UInt8]?, remainingValues: [[UInt8]]) {
      (self.executablePathOverride, self.values) = (executablePathOverride, remainingValues)
    }

    /// The arguments as an array of strings prints.
    public var description: String {
      (executablePathOverride.map { [$0] + values } ?? values)
        .map { String(decoding: $0, as: UTF8.self) }.description
    }

    /// `argv` for a program that was given as `executable`.
    func vector(for executable: Executable) -> [[UInt8]] {
      [executablePathOverride ?? Array(executable.description.utf8)] + values
    }
  }
}
