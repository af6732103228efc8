public import SystemPackage

/// Which calls of one number a row is for: calls that multiplex are keyed by constant arguments.
public struct Variant: Sendable, Hashable {
  /// An argument that must have a value under a mask.
  public struct Condition: Sendable, Hashable {
    /// The argument's index, 0…5.
    public let argument: Int
    /// The bits that are compared.
    public let mask: UInt64
    /// What they must be.
    public let value: UInt64
  }

  /// All of them must hold; empty for the default row.
  public let conditions: [Condition]
  /// The constant's name for the printed table: "PR_SET_DUMPABLE".
  public let label: String

  /// Every call that no other row of the same number is for.
  public static let otherwise = Variant(conditions: [], label: "")

  /// The argument's low 32 bits are a constant.
  public static func argument(_ index: Int, is value: UInt32, _ label: String) -> Variant {
    Variant(
      conditions: [Condition(argument: index, mask: 0xFFFF_FFFF, value: UInt64(value))],
      label: label)
  }

  /// Some bits of the argument have a value.
  public static func argument(
    _ index: Int, masked mask: UInt64, is value: UInt64, _ label: String
  ) -> Variant {
    Variant(conditions: [Condition(argument: index, mask: mask, value: value)], label: label)
  }

  /// This and another condition.
  public func and(_ other: Variant) -> Variant {
    Variant(
      conditions: conditions + other.conditions,
      label: other.label.isEmpty ? label : label + ", " + other.label)
  }

  func matches(_ arguments: CallArguments) -> Bool {
    conditions.allSatisfy { arguments[$0.argument] & $0.mask == $0.value }
  }
}

/// How a call reaches the kernel (DESIGN.md §4.2).
public enum Performance: String, Sendable {
  /// It names others and lies in registers: a supervisor may perform it, or the caller while the target is held.
  case byValue
  /// It reads or writes the program's memory: performed by the supervisor on a copy, or on private scratch memory.
  case onCopy
  /// Only the caller's own context can perform it, and it returns at once.
  case inCaller
  /// Only the caller's own context can perform it, and it may block: no supervisor waits for it.
  case inCallerBlocking
  /// Only the caller's own context can perform it, and what it does is to change mappings there
  /// (``Transaction/segmentChange``).
  case inCallerMapping
  /// The kernel has no part in it: the supervisor does it with nothing of the caller but its memory. A caller that has to wait
  /// sleeps in the kernel meanwhile, and no supervisor waits for it.
  case emulated
  /// The same, and the caller may have to wait.
  case emulatedBlocking
  /// The same, and the supervisor looks at what all of the pod's processes have mapped, which takes its time.
  case emulatedSearching

  /// Whether the kernel has no part in it.
  public var isEmulated: Bool {
    switch self {
    case .emulated, .emulatedBlocking, .emulatedSearching: true
    case .byValue, .onCopy, .inCaller, .inCallerBlocking, .inCallerMapping: false
    }
  }
}

/// Whom a call can reach that is made as it is, with the kernel's own numbers, whatever numbers these are.
///
/// A process may make a call that reaches nobody else without asking: the code that a backend puts into it does so, which
/// translates by itself. A program that does it too deceives nobody but itself.
///
/// Source: DESIGN.md §4.2, §5.
public enum Reach: Sendable {
  /// Whoever is named, in the pod or not.
  case others
  /// The caller alone, while each name that goes in is 0; with other names, others.
  case caller
  /// The caller's own children, as the kernel sees to it, under a condition; otherwise others.
  case children(when: Variant = .otherwise)
  /// Whoever is named, but nobody outside the pod where the kernel keeps signals in it.
  case signalled
}

/// One row of the boundary table: what happens to one call, or one variant of it, where names cross.
///
/// Rows are values without closures, so that the mock kernel, the tracer, the filter generator and the code inside the
/// process read the same ones.
public struct BoundaryRow: Sendable {
  /// What is done with a call.
  public enum Verb: Sendable {
    /// The answer is constant per task and comes from the pod's tables; the kernel isn't asked.
    case answered
    /// Translating the names in the places suffices.
    case translated
    /// The call's meaning changes: its wrapper has a preamble and an epilogue.
    case wrapped(any Wrapper)
    /// Refused by design with an errno.
    case refused(Errno, because: String)
    /// Passed through for now, and what it shows of the host.
    case native(until: String, leaks: String)
    /// Not done yet: a defined errno, but for the self value of its `in` places.
    case open(Errno, until: String)

    /// The verb's word.
    public var word: String {
      switch self {
      case .answered: "answered"
      case .translated: "translated"
      case .wrapped: "wrapped"
      case .refused: "refused"
      case .native: "native"
      case .open: "open"
      }
    }
  }

  /// The call.
  public let call: Syscall
  /// Which of its variants.
  public let variant: Variant
  /// The kind of descriptor that argument 0 has to be for the row to be meant; nil for any call of the variant. Filters
  /// can't see it: a backend looks at such calls once there is such a descriptor (``CallerState/opened(_:)``).
  public private(set) var descriptor: DescriptorKind?
  /// What is done.
  public let verb: Verb
  /// Names that go in.
  public let inputs: [Place]
  /// Names that come out.
  public let outputs: [Place]
  /// How it is performed.
  public let performed: Performance
  /// Whom it can reach without translation.
  public private(set) var reach = Reach.others
  /// Names that the row's wrapper passes in by itself.
  public private(set) var wrappedInputs: [Place] = []
  /// Names that the row's wrapper shows by itself.
  public private(set) var wrappedOutputs: [Place] = []
  /// Where paths stand that may lead to what is the pod's own (``PathViews``). A call of such a row whose paths don't is
  /// as native.
  public private(set) var paths: [PathPlace] = []

  /// The answer is constant per task.
  public static func answered(_ call: Syscall, out: Place) -> BoundaryRow {
    var row = BoundaryRow(
      call: call, variant: .otherwise, verb: .answered, inputs: [], outputs: [out],
      performed: .byValue)
    row.reach = .caller
    return row
  }

  /// Translating data suffices.
  public static func translated(
    _ call: Syscall, when variant: Variant = .otherwise, in inputs: [Place] = [],
    out outputs: [Place] = [], performed: Performance = .byValue, reaching reach: Reach = .others
  ) -> BoundaryRow {
    var row = BoundaryRow(
      call: call, variant: variant, verb: .translated, inputs: inputs, outputs: outputs,
      performed: performed)
    row.reach = reach
    return row
  }

  /// Translating data suffices, and only what comes from descriptors of a kind.
  public static func translated(
    _ call: Syscall, from descriptor: DescriptorKind, out outputs: [Place],
    performed: Performance = .inCallerBlocking
  ) -> BoundaryRow {
    var row = BoundaryRow(
      call: call, variant: .otherwise, verb: .translated, inputs: [], outputs: outputs,
      performed: performed)
    row.descriptor = descriptor
    return row
  }

  /// The meaning changes.
  ///
  /// - Parameters:
  ///   - call: The call.
  ///   - variant: Which of its variants.
  ///   - inputs: Names that are translated before the wrapper's preamble.
  ///   - outputs: Names that are translated after its epilogue.
  ///   - wrapper: What is done.
  ///   - wrappedInputs: Names that the wrapper itself passes in.
  ///   - wrappedOutputs: Names that it shows.
  ///   - performed: How.
  ///   - reach: Whom the call can reach without translation.
  public static func wrapped(
    _ call: Syscall, when variant: Variant = .otherwise, in inputs: [Place] = [],
    out outputs: [Place] = [], by wrapper: any Wrapper, naming wrappedInputs: [Place] = [],
    showing wrappedOutputs: [Place] = [], performed: Performance = .byValue,
    reaching reach: Reach = .others
  ) -> BoundaryRow {
    var row = BoundaryRow(
      call: call, variant: variant, verb: .wrapped(wrapper), inputs: inputs, outputs: outputs,
      performed: performed)
    row.wrappedInputs = wrappedInputs
    row.wrappedOutputs = wrappedOutputs
    row.reach = reach
    return row
  }

  /// Paths may lead to what is the pod's own.
  ///
  /// - Parameters:
  ///   - call: The call.
  ///   - variant: Which of its variants.
  ///   - paths: Where they stand.
  ///   - wrapper: What is done; nil follows the views.
  ///   - performed: How.
  public static func viewed(
    _ call: Syscall, when variant: Variant = .otherwise, _ paths: PathPlace...,
    by wrapper: (any Wrapper)? = nil, performed: Performance = .inCaller
  ) -> BoundaryRow {
    var row = BoundaryRow(
      call: call, variant: variant, verb: .wrapped(wrapper ?? FollowViews(paths: paths)),
      inputs: [], outputs: [], performed: performed)
    row.paths = paths
    return row
  }

  /// Refused by design.
  public static func refused(
    _ call: Syscall, when variant: Variant = .otherwise, _ errno: Errno, because reason: String
  ) -> BoundaryRow {
    BoundaryRow(
      call: call, variant: variant, verb: .refused(errno, because: reason), inputs: [],
      outputs: [], performed: .byValue)
  }

  /// Passed through for now.
  public static func native(
    _ call: Syscall, when variant: Variant = .otherwise, until: String, leaks: String
  ) -> BoundaryRow {
    BoundaryRow(
      call: call, variant: variant, verb: .native(until: until, leaks: leaks), inputs: [],
      outputs: [], performed: .inCaller)
  }

  /// Not done yet. A call whose `self` places all have their self value (0, or the caller's own name) is passed on.
  public static func open(
    _ call: Syscall, when variant: Variant = .otherwise, _ errno: Errno, until: String,
    exceptSelf selfPlaces: [Place] = []
  ) -> BoundaryRow {
    BoundaryRow(
      call: call, variant: variant, verb: .open(errno, until: until), inputs: selfPlaces,
      outputs: [], performed: .inCaller)
  }

  /// Whether a backend has to interpose on the call: `native` rows and nameless calls go straight to the kernel.
  public var isInterposed: Bool {
    if case .native = verb { return false }
    return true
  }

  /// The indices of the arguments that are names.
  public var namedArguments: [Int] {
    inputs.compactMap { place in
      if case .argument(let index, _) = place { index } else { nil }
    }
  }

  /// Under which conditions, beside the variant's own, a call of this row goes to the kernel as the program made it: all
  /// the names in it have the value 0, which means the caller itself. nil when every call has to be looked at.
  public var untouched: [Variant.Condition]? {
    guard outputs.isEmpty, !inputs.isEmpty else { return nil }
    switch verb {
    case .translated, .open: break
    default: return nil
    }
    var conditions: [Variant.Condition] = []
    for place in inputs {
      guard case .argument(let index, let shape) = place, shape.zero != .none else { return nil }
      conditions.append(Variant.Condition(argument: index, mask: 0xFFFF_FFFF, value: 0))
    }
    return conditions
  }

  /// Under which conditions, beside the variant's own, a call of this row reaches nobody but the caller and its children,
  /// whatever the numbers in it are. nil when it may reach others.
  public var confined: [Variant.Condition]? {
    switch reach {
    case .others, .signalled: return nil
    case .children(let variant): return variant.conditions
    case .caller:
      var conditions: [Variant.Condition] = []
      for place in inputs + wrappedInputs {
        guard case .argument(let index, let shape) = place, shape.zero != .none else { return nil }
        conditions.append(Variant.Condition(argument: index, mask: 0xFFFF_FFFF, value: 0))
      }
      return conditions
    }
  }

  /// As ``confined``, or that it reaches nobody outside the pod, whatever the numbers in it are.
  ///
  /// - Parameter isScoped: Whether the kernel keeps signals in the pod.
  public func contained(isScoped: Bool) -> [Variant.Condition]? {
    if case .signalled = reach, isScoped { return [] }
    return confined
  }

  /// Whether a path may lead to the tables of System V objects.
  var showsTables: Bool {
    guard case .wrapped(let wrapper) = verb else { return false }
    return wrapper is FollowTables || wrapper is FollowViews
  }

  /// Whether a path may lead there only.
  var showsOnlyTables: Bool {
    if case .wrapped(let wrapper) = verb { wrapper is FollowTables } else { false }
  }

  /// The errno that a filter can answer with by itself, when nothing about the call has to be looked at.
  public var staticErrno: Errno? {
    switch verb {
    case .refused(let errno, _): errno
    case .open(let errno, _): inputs.isEmpty ? errno : nil
    default: nil
    }
  }
}
