public import SystemPackage

/// An error for the host program. What a program in a pod is told is always an `Errno` and never this.
public struct PodError: Error, Sendable, Hashable, CustomStringConvertible {
  /// What kind of error. Codes can be added.
  public struct Code: Sendable, Hashable, CustomStringConvertible {
    private let word: String
    private init(_ word: String) { self.word = word }

    /// No executable of that name.
    public static let executableNotFound = Code("executable not found")
    /// The file is there and can't be executed.
    public static let notExecutable = Code("not executable")
    /// The working directory can't be entered.
    public static let workingDirectory = Code("working directory")
    /// A value of the configuration or of a call is wrong.
    public static let invalidConfiguration = Code("invalid configuration")
    /// The machine lacks what the backend needs.
    public static let backendUnavailable = Code("backend unavailable")
    /// The machine can't give the containment that was asked for.
    public static let containmentUnavailable = Code("containment unavailable")
    /// The kernel is to have the pod's System V objects (``PodConfiguration/systemV``), and can't, or the pod is to have a
    /// user namespace (``PodConfiguration/userNamespace``) for them, and can't.
    public static let objectsUnavailable = Code("objects unavailable")
    /// The program could not be started for another reason.
    public static let launchFailed = Code("launch failed")
    /// The process has ended.
    public static let processEnded = Code("process ended")
    /// The pod has ended, or its backend failed and killed it.
    public static let podEnded = Code("pod ended")
    /// The program doesn't read its standard input any more.
    public static let inputClosed = Code("input closed")
    /// A program's output was more than the limit.
    public static let outputLimitExceeded = Code("output limit exceeded")
    /// The output isn't text in the encoding that was asked for.
    public static let outputNotText = Code("output is not text")

    /// The code in words.
    public var description: String { word }
  }

  /// What kind of error.
  public let code: Code
  /// What the kernel said, if it was asked.
  public let underlyingError: Errno?
  /// What was wrong and what to do, in a sentence.
  public let description: String

  /// Makes an error.
  public init(_ code: Code, _ description: String, underlyingError: Errno? = nil) {
    self.code = code
    self.underlyingError = underlyingError
    self.description =
      underlyingError.map { "\(description) (\($0.description.lowercased()))" } ?? description
  }
}
