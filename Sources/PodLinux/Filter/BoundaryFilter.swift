internal import CLinux
internal import CPodLayout
internal import Glibc
package import PodCore
package import SystemPackage

/// The filter of a pod's programs, made from its boundary table: only calls in which names cross leave the kernel's fast
/// path.
package enum BoundaryFilter {
  /// What becomes of each call.
  ///
  /// - Parameters:
  ///   - table: The boundary table.
  ///   - interposers: The embedder's rules; the calls that they want are interposed on whatever the arguments.
  ///   - watched: Calls that the backend looks at although no name crosses in them, whatever the arguments.
  ///   - interposed: What the backend does with a call that it has to look at.
  ///   - reportsRefusals: Whether the backend also looks at calls that are refused whatever their arguments, to report
  ///     them; else the filter answers by itself.
  ///   - page: Where the pod's own code lies in its processes, which makes calls by itself that reach nobody else; nil
  ///     where there is none.
  ///   - watchedOutside: Calls that the backend looks at, although no name goes in, unless that code makes them.
  ///   - isScoped: Whether the kernel keeps the signals of the filter's processes among them, so that that code sends them.
  ///   - isIdle: Says of a row that calls of it go through as they are in this pod (``PathViews/isIdle(_:)``).
  package static func rules(
    for table: BoundaryTable, interposers: [any Interposer], watched: Set<Syscall> = [],
    interposed: FilterRules.Action, reportsRefusals: Bool = false, page: RemoteAddress? = nil,
    watchedOutside: Set<Syscall> = [], isScoped: Bool = false,
    isIdle: (BoundaryRow) -> Bool = { _ in false }
  ) -> FilterRules {
    let isFromPage = page.map(Self.fromPage(at:))
    let wanted = interposers.reduce(into: watched) { $0.formUnion($1.calls) }
    var rules: [UInt32: FilterRules.Rule] = [:]
    for call in Syscall.allCases {
      if wanted.contains(call) {
        rules[UInt32(call.rawValue)] = FilterRules.Rule(interposed)
        continue
      }
      var cases: [FilterRules.Case] = []
      var otherwise = FilterRules.Action.allow
      for row in table.rows(for: call) {
        let isReported = reportsRefusals && row.staticErrno != nil
        let action =
          if isReported { interposed } else if isIdle(row) { FilterRules.Action.allow } else {
            action(of: row, interposed: interposed)
          }
        if action == interposed, let isFromPage,
          let contained = row.contained(isScoped: isScoped)
        {
          var own = item(row.variant.conditions + contained, .allow)
          own.conditions.insert(isFromPage, at: 0)
          cases.append(own)
        }
        // Programs mostly name themselves by 0: that needs nobody's help.
        if action == interposed, let untouched = row.untouched {
          cases.append(item(row.variant.conditions + untouched, .allow))
        }
        if row.variant.conditions.isEmpty {
          otherwise = action
        } else {
          cases.append(item(row.variant.conditions, action))
        }
      }
      if let isFromPage, watchedOutside.contains(call) {
        cases.insert(FilterRules.Case(isFromPage, action: otherwise), at: 0)
        otherwise = interposed
      }
      rules[UInt32(call.rawValue)] = FilterRules.Rule(otherwise, cases: cases)
    }
    return FilterRules(rules, unlisted: reportsRefusals ? interposed : .noFunction)
  }

  /// Holds for calls from the pod's own code: the whole instruction pointer is compared, and is the address behind the call.
  package static func fromPage(at base: RemoteAddress) -> FilterRules.Condition {
    FilterRules.Condition(
      .instructionPointer, mask: ~UInt64(POD_AREA_CODE_SIZE - 1), value: base.rawValue)
  }

  /// What keeps this program and its children from having filters; nil when nothing does.
  ///
  /// The kernel is asked to take a filter from nowhere: where it takes filters at all, it says that the address is bad.
  /// An answer that comes from a filter around this program is seen too, as long as that filter doesn't look at the
  /// address.
  ///
  /// Source: seccomp(2), "Errors"; kernel/seccomp.c, `seccomp_prepare_user_filter`.
  package static var obstacle: Errno? {
    let setModeFilter: UInt32 = 1
    let result = CLinux_seccomp(setModeFilter, 0, nil)
    return result == -EFAULT ? nil : Errno(rawValue: -result)
  }

  private static func item(
    _ conditions: [Variant.Condition], _ action: FilterRules.Action
  ) -> FilterRules.Case {
    var item = FilterRules.Case(action: action)
    item.conditions = conditions.map {
      FilterRules.Condition(.argument($0.argument), mask: $0.mask, value: $0.value)
    }
    return item
  }

  private static func action(
    of row: BoundaryRow, interposed: FilterRules.Action
  ) -> FilterRules.Action {
    if let errno = row.staticErrno { return .errno(UInt16(errno.rawValue)) }
    return row.isInterposed ? interposed : .allow
  }
}
