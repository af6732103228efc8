internal import CLinux
internal import Glibc
package import SystemPackage

/// What becomes of each system call, as data; ``program()`` turns it into a seccomp filter.
///
/// In a nutshell, the program looks at the architecture, then finds the number by binary search, and
/// only where the number's rule has cases does it look at arguments. So the kernel can tell that an
/// allowed number is allowed whatever its arguments, and answers it from its per-number cache.
package struct FilterRules: Sendable, Hashable {
  /// What the kernel does with a call.
  package enum Action: Sendable, Hashable {
    /// The call is made.
    case allow
    /// The call isn't made; its result is this error, 1 to 4095.
    case errno(UInt16)
    /// The tracer stops the thread and reads these 16 bits (ENOSYS without a tracer).
    case trace(UInt16)
    /// The supervisor is asked.
    case notify
    /// The process gets SIGSYS.
    case trap(UInt16)
    /// The process is killed.
    case killProcess

    /// SECCOMP_RET_… with its data. Source: include/uapi/linux/seccomp.h.
    package var returnValue: UInt32 {
      switch self {
      case .allow: CLinux_SECCOMP_RET_ALLOW
      case .errno(let number): CLinux_SECCOMP_RET_ERRNO | UInt32(number)
      case .trace(let data): CLinux_SECCOMP_RET_TRACE | UInt32(data)
      case .notify: CLinux_SECCOMP_RET_USER_NOTIF
      case .trap(let data): CLinux_SECCOMP_RET_TRAP | UInt32(data)
      case .killProcess: CLinux_SECCOMP_RET_KILL_PROCESS
      }
    }

    /// ENOSYS, as from a kernel that doesn't know the call.
    package static var noFunction: Action { .errno(UInt16(ENOSYS)) }
  }

  /// A test of one 64-bit word: `word & mask == value`.
  ///
  /// The upper half of an `int` argument is whatever the program left there: use a mask of 32 bits.
  package struct Condition: Sendable, Hashable {
    /// What is tested.
    package enum Operand: Sendable, Hashable {
      /// An argument, 0 to 5.
      case argument(Int)
      /// The address behind the call's instruction.
      case instructionPointer
    }

    /// What is tested.
    package var operand: Operand
    /// The bits that matter.
    package var mask: UInt64
    /// What they have to be; no bits outside the mask.
    package var value: UInt64

    /// `operand & mask == value`.
    package init(_ operand: Operand, mask: UInt64 = .max, value: UInt64) {
      self.operand = operand
      self.mask = mask
      self.value = value
    }

    /// An argument of type `int` or `unsigned int`.
    package static func int(_ index: Int, equals value: UInt32) -> Condition {
      Condition(.argument(index), mask: 0xffff_ffff, value: UInt64(value))
    }
  }

  /// An action for calls that meet all the conditions.
  package struct Case: Sendable, Hashable {
    /// All have to hold; at least one.
    package var conditions: [Condition]
    /// What then happens.
    package var action: Action

    /// `action` when all `conditions` hold.
    package init(_ conditions: Condition..., action: Action) {
      self.conditions = conditions
      self.action = action
    }
  }

  /// What happens with one call number: the first case that holds, else `action`.
  package struct Rule: Sendable, Hashable {
    /// Tried in order.
    package var cases: [Case]
    /// What happens when no case holds.
    package var action: Action

    /// The first of `cases` that holds, else `action`.
    package init(_ action: Action, cases: [Case] = []) {
      self.action = action
      self.cases = cases
    }
  }

  /// The rule of each call number.
  package var rules: [UInt32: Rule]
  /// What happens with numbers without a rule, also above the largest one.
  package var unlisted: Action
  /// The AUDIT_ARCH_… whose numbers these are; every other one gets ENOSYS.
  package var architecture: UInt32

  /// Bit 30 marks calls of the x32 convention on x86-64, which always get ENOSYS.
  package static let x32Mark: UInt32 = 0x4000_0000

  /// The AUDIT_ARCH_… of this build.
  package static var nativeArchitecture: UInt32 {
    #if arch(x86_64)
      CLinux_AUDIT_ARCH_X86_64
    #else
      CLinux_AUDIT_ARCH_AARCH64
    #endif
  }

  /// Rules for a table of numbers.
  package init(
    _ rules: [UInt32: Rule], unlisted: Action = .noFunction,
    architecture: UInt32 = FilterRules.nativeArchitecture
  ) {
    self.rules = rules
    self.unlisted = unlisted
    self.architecture = architecture
  }

  /// The program that does what the rules say.
  ///
  /// - Throws: `.invalidArgument` for a rule that can't be meant: an argument index outside 0…5, a case
  ///   without a condition, an empty mask, a value with bits outside its mask, a number with the x32
  ///   mark, an errno outside 1…4095; `.argListTooLong` for more than 4,096 instructions.
  /// - Complexity: O(n log n) in the number of rules; a call runs 3 + log2(runs of equal rules)
  ///   instructions before its cases.
  package func program() throws(Errno) -> BPFProgram {
    try validate()
    var compiler = Compiler()
    return try compiler.compile(self, runs: runs())
  }

  /// What becomes of one call: what ``program()`` decides, for a backend that looks at each call itself.
  ///
  /// - Complexity: O(1), and the number's cases.
  package func action(for call: SeccompData) -> Action {
    guard call.architecture == architecture, call.number < Self.x32Mark else { return .noFunction }
    guard let rule = rules[call.number] else { return unlisted }
    for item in rule.cases {
      let holds = item.conditions.allSatisfy { condition in
        let word =
          switch condition.operand {
          case .argument(let index): call[argument: index]
          case .instructionPointer: call.instructionPointer
          }
        return word & condition.mask == condition.value
      }
      if holds { return item.action }
    }
    return rule.action
  }

  /// Numbers in a row with the same rule.
  fileprivate struct Run {
    var first: UInt32
    var rule: Rule
  }

  private func runs() -> [Run] {
    let unlisted = Rule(unlisted)
    var runs: [Run] = []
    func add(_ first: UInt32, _ rule: Rule) {
      if runs.last?.first == first {
        runs.removeLast()
      }
      if runs.last?.rule != rule {
        runs.append(Run(first: first, rule: rule))
      }
    }
    add(0, unlisted)
    for (number, rule) in rules.sorted(by: { $0.key < $1.key }) {
      add(number, rule)
      add(number + 1, unlisted)
    }
    add(Self.x32Mark, Rule(.noFunction))
    return runs
  }

  private func validate() throws(Errno) {
    var actions = [unlisted]
    for (number, rule) in rules {
      guard number < Self.x32Mark else { throw .invalidArgument }
      actions.append(rule.action)
      for item in rule.cases {
        guard !item.conditions.isEmpty else { throw .invalidArgument }
        actions.append(item.action)
        for condition in item.conditions {
          guard condition.mask != 0, condition.value & ~condition.mask == 0 else {
            throw .invalidArgument
          }
          if case .argument(let index) = condition.operand, !(0..<6).contains(index) {
            throw .invalidArgument
          }
        }
      }
    }
    for case .errno(let number) in actions where !(1...4095).contains(number) {
      throw .invalidArgument
    }
  }
}

/// Writes the program: the search first, then the rules with cases, then the actions.
private struct Compiler {
  private var assembler = BPFAssembler()
  private var actionLabels: [FilterRules.Action: BPFAssembler.Label] = [:]
  private var actions: [FilterRules.Action] = []
  private var ruleLabels: [FilterRules.Rule: BPFAssembler.Label] = [:]
  private var rules: [FilterRules.Rule] = []

  mutating func compile(
    _ filter: FilterRules, runs: [FilterRules.Run]
  ) throws(Errno) -> BPFProgram {
    assembler.load(.architecture)
    assembler.jump(
      if: .equal, filter.architecture, to: nil, otherwise: label(for: .noFunction))
    assembler.load(.number)
    if let only = runs.first, runs.count == 1 {
      assembler.jump(to: label(for: only.rule))
    } else {
      search(runs[...])
    }
    for rule in rules {
      try emit(rule)
    }
    for action in actions {
      if let label = actionLabels[action] {
        assembler.place(label)
        assembler.return(action.returnValue)
      }
    }
    return try assembler.assembled()
  }

  private mutating func label(for action: FilterRules.Action) -> BPFAssembler.Label {
    if let label = actionLabels[action] { return label }
    let label = assembler.makeLabel()
    actionLabels[action] = label
    actions.append(action)
    return label
  }

  private mutating func label(for rule: FilterRules.Rule) -> BPFAssembler.Label {
    if rule.cases.isEmpty { return label(for: rule.action) }
    if let label = ruleLabels[rule] { return label }
    let label = assembler.makeLabel()
    ruleLabels[rule] = label
    rules.append(rule)
    return label
  }

  /// Two runs or more: halve them.
  private mutating func search(_ runs: ArraySlice<FilterRules.Run>) {
    let middle = runs.startIndex + runs.count / 2
    let (lower, upper) = (runs[..<middle], runs[middle...])
    let lowerLabel = lower.count == 1 ? label(for: runs[runs.startIndex].rule) : nil
    let upperLabel =
      upper.count == 1 ? label(for: runs[middle].rule) : assembler.makeLabel()
    assembler.jump(
      if: .greaterOrEqual, runs[middle].first, to: upperLabel, otherwise: lowerLabel)
    if lower.count > 1 {
      search(lower)
    }
    if upper.count > 1 {
      assembler.place(upperLabel)
      search(upper)
    }
  }

  /// A test of one half of an operand.
  private struct Test: Equatable {
    var word: BPFAssembler.Word
    var mask: UInt32
    var value: UInt32

    func looksAtTheSame(as other: Test?) -> Bool {
      word == other?.word && mask == other?.mask
    }
  }

  private func tests(_ condition: FilterRules.Condition) -> [Test] {
    let (low, high): (BPFAssembler.Word, BPFAssembler.Word)
    switch condition.operand {
    case .argument(let index): (low, high) = (.argumentLow(index), .argumentHigh(index))
    case .instructionPointer: (low, high) = (.instructionPointerLow, .instructionPointerHigh)
    }
    let halves = [
      Test(
        word: low, mask: UInt32(truncatingIfNeeded: condition.mask),
        value: UInt32(truncatingIfNeeded: condition.value)),
      Test(
        word: high, mask: UInt32(truncatingIfNeeded: condition.mask >> 32),
        value: UInt32(truncatingIfNeeded: condition.value >> 32)),
    ]
    return halves.filter { $0.mask != 0 }
  }

  private mutating func emit(_ rule: FilterRules.Rule) throws(Errno) {
    guard let start = ruleLabels[rule] else { return }
    assembler.place(start)
    // What is still loaded when a case of a single test has not held, so that a list of values for
    // one argument loads it once.
    var loaded: Test?
    for item in rule.cases {
      let tests = item.conditions.flatMap { self.tests($0) }
      let next = assembler.makeLabel()
      for (index, test) in tests.enumerated() {
        if !test.looksAtTheSame(as: loaded) {
          assembler.load(test.word)
          if test.mask != .max {
            assembler.and(test.mask)
          }
        }
        loaded = test
        let last = index == tests.count - 1
        assembler.jump(
          if: .equal, test.value, to: last ? label(for: item.action) : nil, otherwise: next)
      }
      if tests.count > 1 {
        loaded = nil
      }
      assembler.place(next)
    }
    assembler.return(rule.action.returnValue)
  }
}
