public import SystemPackage

/// A kind of name that programs see and that a pod makes private: a process id, a group id, a queue id …
///
/// A resource is an uninhabited type that stands in ``VirtualName`` and ``PhysicalName``, so that names of different
/// resources, and the two sides of one resource, are different types.
public protocol Resource: Sendable {
  /// The word for this resource in tables, events and errors: "process", "thread" …
  static var label: String { get }

  /// What a program is told about a virtual name that its pod does not have.
  static var unknownName: Errno { get }

  /// A name that programs see and that no call of theirs may change: the pod's init; nil where there is none.
  static var untouchable: Int32? { get }

  /// The physical name behind a virtual one, for a call of `caller`.
  ///
  /// - Throws: ``unknownName`` when the pod has no such name. An unknown virtual name never falls through to the same
  ///   physical number.
  static func resolve(
    _ name: Int32, in transaction: inout Transaction
  ) throws(Errno) -> Int32

  /// The virtual name behind a physical one; nil when the pod has none, which a program sees as 0.
  static func virtualize(_ name: Int32, in names: PodNames) -> Int32?
}

extension Resource {
  /// None.
  public static var untouchable: Int32? { nil }
}

/// A name as programs in a pod see it.
public struct VirtualName<R: Resource>: RawRepresentable, Hashable, Sendable, Comparable, Codable,
  CustomStringConvertible
{
  /// The number, as it stands in a program's register or memory. At least 1 for an existing name.
  public let rawValue: Int32

  /// Makes a virtual name of a number.
  @inlinable
  public init(rawValue: Int32) { self.rawValue = rawValue }

  /// The number in decimal.
  public var description: String { String(rawValue) }

  /// Orders names by number.
  public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// A name as the host's kernel sees it.
public struct PhysicalName<R: Resource>: RawRepresentable, Hashable, Sendable, Comparable, Codable,
  CustomStringConvertible
{
  /// The number, as the kernel gives and takes it. At least 1 for an existing name.
  public let rawValue: Int32

  /// Makes a physical name of a number.
  @inlinable
  public init(rawValue: Int32) { self.rawValue = rawValue }

  /// The number in decimal, marked as physical.
  public var description: String { "\(rawValue)ₚ" }

  /// Orders names by number.
  public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// Why a table of names could not do what was asked.
public enum NameError: Error, Hashable, Sendable {
  /// The pod has no such name, or it is no longer one (retired, given back).
  case unknownName
  /// Every number of the range is taken, or the table is full.
  case rangeExhausted
  /// The chosen number is taken.
  case nameInUse
  /// The chosen number isn't one that the pod gives out.
  case outOfRange
}

/// How a namespace chooses a number for a new name.
public enum AllocationPolicy: Hashable, Sendable, Codable {
  /// The kernel's way: the next free number after the last one given out, beginning at the lowest, cyclic.
  case compact
  /// The physical number while it is free in the pod, else as ``compact``.
  case preserving
}

/// The number of a pod within its host program; never reused. 0 is the pseudo-pod of what is outside.
public struct PodID: RawRepresentable, Hashable, Sendable, Codable, CustomStringConvertible {
  /// The number, from 1.
  public let rawValue: UInt32

  /// Makes a pod's number.
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// The pseudo-pod that everything outside pods belongs to (paper §4.1.1).
  public static let outside = PodID(rawValue: 0)

  /// "pod" and the number.
  public var description: String { "pod\(rawValue)" }
}
