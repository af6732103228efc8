public import SystemPackage

/// How a name of a resource is written in a register or a word of memory, and what its special values mean.
///
/// Special values are never translated (COVERAGE G1); negative ones that stand for a group have their magnitude
/// translated.
public struct NameShape: Sendable {
  /// What the value 0 means.
  public enum Zero: String, Sendable {
    /// The caller itself, or its own group or session.
    case caller
    /// The caller's process group.
    case callersGroup
    /// Nothing, or no limit: the kernel decides.
    case none
  }

  /// What the value −1 means.
  public enum MinusOne: String, Sendable {
    /// Everyone that the caller may reach: in a pod, everyone in the pod.
    case everyone
    /// Any child of the caller.
    case anyChild
    /// Nothing special.
    case none
  }

  /// What negative values other than −1 mean.
  public enum Negative: String, Sendable {
    /// The process group whose id is the magnitude.
    case group
    /// The same, and only where somebody lives in it.
    case livingGroup
    /// Passed on for the kernel to refuse, or constants.
    case literal
  }

  /// The kind of name.
  public let resource: any Resource.Type
  /// What 0 means.
  public let zero: Zero
  /// What −1 means.
  public let minusOne: MinusOne
  /// What other negative values mean.
  public let negative: Negative
  /// The errno for an unknown name where it isn't the resource's own.
  public let unknown: Errno?

  /// Whether the call may name what programs must not change, the pod's init: it only looks at it.
  public let onlyLooks: Bool

  /// Makes a shape.
  public init(
    _ resource: any Resource.Type, zero: Zero = .none, minusOne: MinusOne = .none,
    negative: Negative = .literal, unknown: Errno? = nil, onlyLooks: Bool = false
  ) {
    self.resource = resource
    self.zero = zero
    self.minusOne = minusOne
    self.negative = negative
    self.unknown = unknown
    self.onlyLooks = onlyLooks
  }

  /// The physical value for a virtual one that a program passed.
  func physical(of value: Int32, in transaction: inout Transaction) throws(Errno) -> Int32 {
    if value == 0 || value == -1 && minusOne != .none { return value }
    if !onlyLooks, let untouchable = resource.untouchable {
      let isGroup = negative != .literal && value == -untouchable
      if value == untouchable || isGroup { throw .notPermitted }
    }
    do throws(Errno) {
      if value > 0 { return try resource.resolve(value, in: &transaction) }
      switch negative {
      case _ where value == .min: return value
      case .literal: return value
      case .group: return -(try ProcessGroup.resolve(-value, in: &transaction))
      case .livingGroup: return -(try LivingGroup.resolve(-value, in: &transaction))
      }
    } catch {
      throw error == resource.unknownName ? unknown ?? error : error
    }
  }

  /// The virtual value for a physical one that the kernel gave; 0 for what is outside the pod (COVERAGE G3).
  func virtual(of value: Int32, in names: PodNames) -> Int32 {
    if value > 0 { return resource.virtualize(value, in: names) ?? 0 }
    guard negative != .literal, value < -1, value != .min else { return value }
    return -(ProcessGroup.virtualize(-value, in: names) ?? 0)
  }
}

/// Where a name crosses the boundary. Its direction is given by the list of the row in which it stands.
public enum Place: Sendable {
  /// Argument `index` (0…5) is the name.
  case argument(Int, NameShape)
  /// The call's result is the name.
  case result(NameShape)
  /// Argument `index` points to a 32-bit name, when it isn't null.
  case memory(Int, NameShape)
  /// Argument `of` points to a structure with a 32-bit name at `offset` bytes, when it isn't null.
  case field(Int, of: Int, NameShape)
  /// Argument `of` points to a buffer, or to a vector of buffers whose length is the next argument, which the call fills
  /// with as many bytes of ``SignalRecord`` as its result says; the name is who sent the signal.
  case signals(of: Int, inVectors: Bool, NameShape)

  /// The shape of the name.
  public var shape: NameShape {
    switch self {
    case .argument(_, let shape), .result(let shape), .memory(_, let shape),
      .field(_, _, let shape), .signals(_, _, let shape):
      shape
    }
  }
}

extension Place: CustomStringConvertible {
  /// "argument 0: process" and the like, as `podrun syscalls` prints it.
  public var description: String {
    switch self {
    case .argument(let index, let shape): "argument \(index): \(shape.resource.label)"
    case .result(let shape): "result: \(shape.resource.label)"
    case .memory(let index, let shape): "*argument \(index): \(shape.resource.label)"
    case .field(let offset, let index, let shape):
      "argument \(index)+\(offset): \(shape.resource.label)"
    case .signals(let index, let inVectors, let shape):
      "records in *\(inVectors ? "*" : "")argument \(index): \(shape.resource.label)"
    }
  }
}
