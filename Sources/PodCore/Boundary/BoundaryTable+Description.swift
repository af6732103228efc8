import SystemPackage

/// One line of the printed boundary table.
public struct BoundaryDescription: Sendable, Hashable, Codable {
  /// The kernel's name of the call.
  public var call: String
  /// Its number.
  public var number: Int
  /// The constants that the row is for; empty for all calls that no other row is for.
  public var variant: String
  /// One of the six verbs, or "nameless".
  public var verb: String
  /// Where names go in.
  public var namesIn: [String]
  /// Where names come out.
  public var namesOut: [String]
  /// How the call is performed; nil where the boundary has no part in it.
  public var performed: String?
  /// The errno's name, for calls that are answered with one.
  public var errno: String?
  /// Why it is refused, until when it is open or native, and what it shows of the host.
  public var note: String

  /// The titles of ``columns``.
  public static let titles = [
    "call", "number", "variant", "verb", "names in", "names out", "performed", "note",
  ]

  /// The line as text, in the order of ``titles``.
  public var columns: [String] {
    [
      call, String(number), variant, verb, namesIn.joined(separator: ", "),
      namesOut.joined(separator: ", "), performed ?? "",
      [errno, note].compactMap { $0?.isEmpty == false ? $0 : nil }.joined(separator: ": "),
    ]
  }
}

/// How many rows of the boundary table have each verb.
public struct BoundaryCounts: Sendable, Hashable, Codable {
  /// Rows with each of the six verbs.
  public var rows: [String: Int]
  /// Calls without any row, but for those of some kinds of descriptors.
  public var namelessCalls: Int
}

extension BoundaryRow.Verb {
  /// All verbs' words, in the order of the documentation.
  public static let words = ["answered", "translated", "wrapped", "refused", "native", "open"]
}

extension BoundaryRow {
  /// The row as it is printed.
  public var description: BoundaryDescription {
    var errno: String?
    var note = ""
    switch verb {
    case .answered, .translated: break
    case .wrapped(let wrapper): note = String(describing: type(of: wrapper))
    case .refused(let number, let reason):
      errno = number.name
      note = reason
    case .native(let until, let leaks): note = "until \(until); leaks \(leaks)"
    case .open(let number, let until):
      errno = number.name
      note = "until \(until)"
    }
    return BoundaryDescription(
      call: call.name, number: Int(call.rawValue), variant: descriptor?.label ?? variant.label,
      verb: verb.word,
      namesIn: (inputs + wrappedInputs).map(\.description),
      namesOut: (outputs + wrappedOutputs).map(\.description),
      performed: isInterposed && staticErrno == nil ? performed.rawValue : nil, errno: errno,
      note: note)
  }
}

extension Errno {
  /// The constant's name, for those that rows answer with.
  fileprivate var name: String {
    switch self {
    case .notPermitted: "EPERM"
    case .permissionDenied: "EACCES"
    case .noFunction: "ENOSYS"
    case .invalidArgument: "EINVAL"
    case .resourceBusy: "EBUSY"
    case .inappropriateIOCTLForDevice: "ENOTTY"
    case .protocolNotAvailable: "ENOPROTOOPT"
    case .noSuchProcess: "ESRCH"
    default: "errno \(rawValue)"
    }
  }
}

extension BoundaryTable {
  /// Every call of the kernel, by number: its rows, the default last, and what of it is nameless.
  public var descriptions: [BoundaryDescription] {
    Syscall.allCases.sorted { $0.rawValue < $1.rawValue }.flatMap { call in
      let rows = rows(for: call)
      let isWhole = rows.contains { $0.variant.conditions.isEmpty }
      return rows.map(\.description) + descriptorRows(for: call).map(\.description)
        + (isWhole ? [] : [.nameless(call)])
    }
  }

  /// How many rows have each verb.
  public var counts: BoundaryCounts {
    BoundaryCounts(
      rows: rows.reduce(into: [:]) { $0[$1.verb.word, default: 0] += 1 },
      namelessCalls: Syscall.allCases.count { rows(for: $0).isEmpty })
  }
}

extension BoundaryDescription {
  fileprivate static func nameless(_ call: Syscall) -> BoundaryDescription {
    BoundaryDescription(
      call: call.name, number: Int(call.rawValue), variant: "", verb: "nameless", namesIn: [],
      namesOut: [], performed: nil, errno: nil, note: "")
  }
}
