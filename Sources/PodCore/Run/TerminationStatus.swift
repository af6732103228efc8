extension Pod {
  /// How a program ended: a value, never a thrown error.
  public enum TerminationStatus: Sendable, Hashable, Codable, CustomStringConvertible {
    /// It exited with a status of 0…255.
    case exited(Int32)
    /// A signal killed it.
    case signaled(Int32)

    /// Whether it exited with status 0.
    public var isSuccess: Bool { self == .exited(0) }

    /// "exited(0)", "signaled(9)".
    public var description: String {
      switch self {
      case .exited(let status): "exited(\(status))"
      case .signaled(let signal): "signaled(\(signal))"
      }
    }
  }
}

/// Short for this package's own modules.
package typealias TerminationStatus = Pod.TerminationStatus
