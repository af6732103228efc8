package import PodCore
package import SystemPackage

/// One instruction of classic BPF; the layout of `struct sock_filter`.
///
/// Source: include/uapi/linux/filter.h.
package struct BPFInstruction: Sendable, Hashable, BitwiseCopyable {
  /// Class, size, mode and operation.
  package var code: UInt16
  /// How many instructions to skip when a comparison holds.
  package var jumpTrue: UInt8
  /// How many instructions to skip when a comparison does not hold.
  package var jumpFalse: UInt8
  /// The constant, the offset to load from, or an unconditional jump's distance.
  package var operand: UInt32

  /// An instruction of these parts.
  package init(code: UInt16, jumpTrue: UInt8 = 0, jumpFalse: UInt8 = 0, operand: UInt32) {
    self.code = code
    self.jumpTrue = jumpTrue
    self.jumpFalse = jumpFalse
    self.operand = operand
  }

  /// The operations that seccomp programs here consist of.
  package enum Code {
    /// Load a word of the call's data (BPF_LD | BPF_W | BPF_ABS).
    package static let load: UInt16 = 0x20
    /// And with a constant (BPF_ALU | BPF_AND | BPF_K).
    package static let and: UInt16 = 0x54
    /// Jump (BPF_JMP | BPF_JA).
    package static let jump: UInt16 = 0x05
    /// Jump if equal to a constant (BPF_JMP | BPF_JEQ | BPF_K).
    package static let jumpIfEqual: UInt16 = 0x15
    /// Return a constant (BPF_RET | BPF_K).
    package static let `return`: UInt16 = 0x06
  }
}

/// A finished program.
package struct BPFProgram: Sendable, Hashable {
  /// The instructions, at most ``maximumCount``.
  package let instructions: [BPFInstruction]

  /// BPF_MAXINSNS.
  package static let maximumCount = 4096

  /// A program of these instructions, as they are.
  package init(instructions: [BPFInstruction]) {
    self.instructions = instructions
  }

  /// The program as an array of `struct sock_filter`.
  package var bytes: [UInt8] {
    instructions.withUnsafeBytes { Array($0) }
  }

  /// The same program with another page where it asks for one (``BoundaryFilter/fromPage(at:)``).
  ///
  /// - Parameters:
  ///   - old: The page that this program asks for.
  ///   - new: The other one.
  /// - Returns: nil when it asks anything else of an instruction pointer.
  package func with(page new: RemoteAddress, insteadOf old: RemoteAddress) -> BPFProgram? {
    let (before, after) = (BoundaryFilter.fromPage(at: old), BoundaryFilter.fromPage(at: new))
    var changed = instructions
    for (index, instruction) in instructions.enumerated()
    where instruction.code == BPFInstruction.Code.load {
      let shift: UInt64
      switch instruction.operand {
      case BPFAssembler.Word.instructionPointerLow.offset: shift = 0
      case BPFAssembler.Word.instructionPointerHigh.offset: shift = 32
      default: continue
      }
      var test = index + 1
      let mask = UInt32(truncatingIfNeeded: before.mask >> shift)
      if mask != .max {
        guard test < changed.count, changed[test].code == BPFInstruction.Code.and,
          changed[test].operand == mask
        else { return nil }
        test += 1
      }
      guard test < changed.count, changed[test].code == BPFInstruction.Code.jumpIfEqual,
        changed[test].operand == UInt32(truncatingIfNeeded: before.value >> shift)
      else { return nil }
      changed[test].operand = UInt32(truncatingIfNeeded: after.value >> shift)
    }
    return BPFProgram(instructions: changed)
  }
}

/// An assembler for seccomp programs, with labels that may be any distance ahead.
///
/// A conditional jump reaches 255 instructions; where that isn't enough, an unconditional jump is
/// inserted behind it. All jumps go forward.
package struct BPFAssembler {
  /// A place in the program to jump to.
  package struct Label: Sendable, Hashable {
    fileprivate let index: Int
  }

  /// A 32-bit word of `struct seccomp_data`.
  package enum Word: Sendable, Hashable {
    /// The call's number.
    case number
    /// The AUDIT_ARCH_… of the call.
    case architecture
    /// The lower half of the instruction pointer behind the call.
    case instructionPointerLow
    /// Its upper half.
    case instructionPointerHigh
    /// The lower half of an argument, 0 to 5.
    case argumentLow(Int)
    /// The upper half of an argument, 0 to 5.
    case argumentHigh(Int)

    /// The word's place in the data, little-endian.
    package var offset: UInt32 {
      switch self {
      case .number: 0
      case .architecture: 4
      case .instructionPointerLow: 8
      case .instructionPointerHigh: 12
      case .argumentLow(let index): 16 + 8 * UInt32(clamping: index)
      case .argumentHigh(let index): 20 + 8 * UInt32(clamping: index)
      }
    }
  }

  /// How the loaded word is compared with a constant, unsigned.
  package enum Comparison: UInt16, Sendable {
    /// Equal (BPF_JEQ).
    case equal = 0x15
    /// Greater (BPF_JGT).
    case greater = 0x25
    /// Greater or equal (BPF_JGE).
    case greaterOrEqual = 0x35
    /// A common bit (BPF_JSET).
    case anyBit = 0x45
  }

  private enum Item {
    case plain(UInt16, UInt32)
    case jump(Label)
    case branch(Comparison, UInt32, then: Label?, otherwise: Label?)
  }

  private var items: [Item] = []
  /// The item each label stands before; nil until it is placed.
  private var places: [Int?] = []

  /// An empty program.
  package init() {}

  /// A label that is placed later.
  package mutating func makeLabel() -> Label {
    places.append(nil)
    return Label(index: places.count - 1)
  }

  /// Puts the label before the next instruction.
  package mutating func place(_ label: Label) {
    places[label.index] = items.count
  }

  /// Loads a word of the call's data.
  package mutating func load(_ word: Word) {
    items.append(.plain(BPFInstruction.Code.load, word.offset))
  }

  /// Keeps the mask's bits of the loaded word.
  package mutating func and(_ mask: UInt32) {
    items.append(.plain(BPFInstruction.Code.and, mask))
  }

  /// Ends the program with a SECCOMP_RET_… value.
  package mutating func `return`(_ value: UInt32) {
    items.append(.plain(BPFInstruction.Code.return, value))
  }

  /// Goes on at the label.
  package mutating func jump(to label: Label) {
    items.append(.jump(label))
  }

  /// Compares the loaded word and goes on at one of two labels; nil is the next instruction.
  package mutating func jump(
    if comparison: Comparison, _ constant: UInt32, to then: Label?, otherwise: Label? = nil
  ) {
    items.append(.branch(comparison, constant, then: then, otherwise: otherwise))
  }

  /// The program with all labels resolved.
  ///
  /// - Throws: `.invalidArgument` for a label that was not placed, or lies behind a jump to it;
  ///   `.argListTooLong` for more than 4,096 instructions.
  package func assembled() throws(Errno) -> BPFProgram {
    // Which jumps need help depends on the distances, and these on which jumps got help. Help is never
    // taken back, so this ends.
    var far = [(then: Bool, otherwise: Bool)](repeating: (false, false), count: items.count)
    while true {
      var starts: [Int] = []
      var next = 0
      for index in items.indices {
        starts.append(next)
        next += 1 + (far[index].then ? 1 : 0) + (far[index].otherwise ? 1 : 0)
      }
      starts.append(next)
      guard next <= BPFProgram.maximumCount else { throw .argListTooLong }

      var grown = false
      for (index, item) in items.enumerated() {
        guard case .branch(_, _, let then, let otherwise) = item else { continue }
        if let then, !far[index].then,
          try start(of: then, after: index, starts) - starts[index] > 256
        {
          far[index].then = true
          grown = true
        }
        if let otherwise, !far[index].otherwise,
          try start(of: otherwise, after: index, starts) - starts[index] > 256
        {
          far[index].otherwise = true
          grown = true
        }
      }
      if !grown {
        return try emit(starts, far)
      }
    }
  }

  private func start(of label: Label, after index: Int, _ starts: [Int]) throws(Errno) -> Int {
    guard let place = places[label.index], place > index, place < items.count else {
      throw .invalidArgument
    }
    return starts[place]
  }

  private func emit(
    _ starts: [Int], _ far: [(then: Bool, otherwise: Bool)]
  ) throws(Errno) -> BPFProgram {
    var result: [BPFInstruction] = []
    func jump(_ distance: Int) -> BPFInstruction {
      BPFInstruction(
        code: BPFInstruction.Code.jump, operand: UInt32(distance))
    }
    for (index, item) in items.enumerated() {
      let here = starts[index]
      switch item {
      case .plain(let code, let operand):
        result.append(BPFInstruction(code: code, operand: operand))
      case .jump(let label):
        result.append(jump(try start(of: label, after: index, starts) - here - 1))
      case .branch(let comparison, let constant, let then, let otherwise):
        // Without a label: behind the inserted jumps.
        let next = starts[index + 1]
        let thenStart = if let then { try start(of: then, after: index, starts) } else { next }
        let otherwiseStart =
          if let otherwise { try start(of: otherwise, after: index, starts) } else { next }
        let helpers = far[index].then ? 1 : 0
        result.append(
          BPFInstruction(
            code: comparison.rawValue,
            jumpTrue: UInt8(far[index].then ? 0 : thenStart - here - 1),
            jumpFalse: UInt8(far[index].otherwise ? helpers : otherwiseStart - here - 1),
            operand: constant))
        if far[index].then {
          result.append(jump(thenStart - here - 2))
        }
        if far[index].otherwise {
          result.append(jump(otherwiseStart - here - 2 - helpers))
        }
      }
    }
    return BPFProgram(instructions: result)
  }
}
