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
  ///   - interposed: What the backend does with a call that it has to look at.
  ///   - reportsRefusals: Whether the backend also looks at calls that are refused whatever their arguments, to report
  ///     them; else the filter answers by itself.
  package static func rules(
    for table: BoundaryTable, interposers: [any Interposer], interposed: FilterRules.Action,
    reportsRefusals: Bool = false
  ) -> FilterRules {
    let wanted = interposers.reduce(into: Set<Syscall>()) { $0.formUnion($1.calls) }
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

  /// The filter as bytes (`struct sock_filter`).
  ///
  /// - Throws: `.invalidArgument` for rows that can't be meant, `.argListTooLong` for too many.
  package static func program(
    for table: BoundaryTable, interposers: [any Interposer], interposed: FilterRules.Action,
    reportsRefusals: Bool = false
  ) throws(Errno) -> [UInt8] {
    try rules(
      for: table, interposers: interposers, interposed: interposed,
      reportsRefusals: reportsRefusals
    ).program().bytes
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
