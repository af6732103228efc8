internal import CLinux
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
  package static func rules(
    for table: BoundaryTable, interposers: [any Interposer], watched: Set<Syscall> = [],
    interposed: FilterRules.Action, reportsRefusals: Bool = false
  ) -> FilterRules {
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
        let action = isReported ? interposed : action(of: row, interposed: interposed)
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
      rules[UInt32(call.rawValue)] = FilterRules.Rule(otherwise, cases: cases)
    }
    return FilterRules(rules, unlisted: reportsRefusals ? interposed : .noFunction)
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
