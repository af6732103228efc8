package import SystemPackage

/// What a seccomp program is shown of a call; `struct seccomp_data`.
///
/// Source: include/uapi/linux/seccomp.h.
package struct SeccompData: Sendable, Hashable {
  /// The call's number, with the x32 bit.
  package var number: UInt32
  /// AUDIT_ARCH_….
  package var architecture: UInt32
  /// The address behind the call's instruction.
  package var instructionPointer: UInt64
  /// The six arguments; missing ones are 0.
  package var arguments: [UInt64]

  /// A call.
  package init(
    number: UInt32, architecture: UInt32, instructionPointer: UInt64 = 0, arguments: [UInt64] = []
  ) {
    self.number = number
    self.architecture = architecture
    self.instructionPointer = instructionPointer
    self.arguments = arguments
  }

  /// An argument; 0 for a missing one.
  subscript(argument index: Int) -> UInt64 {
    arguments.indices.contains(index) ? arguments[index] : 0
  }

  /// The word at an offset; nil outside the data or between words.
  func word(at offset: UInt32) -> UInt32? {
    guard offset % 4 == 0, offset < 64 else { return nil }
    switch offset {
    case 0: return number
    case 4: return architecture
    default:
      let index = Int(offset / 8) - 2
      let value =
        if index < 0 {
          instructionPointer
        } else {
          self[argument: index]
        }
      return UInt32(truncatingIfNeeded: offset % 8 == 0 ? value : value >> 32)
    }
  }
}

/// Runs a seccomp program as the kernel does, and tells which instructions it came by.
///
/// For tests: a program is right when every call gets the action its rules name, and lean when every
/// instruction is reached by some call.
package struct BPFInterpreter: Sendable {
  private let instructions: [BPFInstruction]

  /// The end of one run.
  package struct Outcome: Sendable, Hashable {
    /// The SECCOMP_RET_… value with its data.
    package let value: UInt32
    /// The indices of the instructions executed, in order.
    package let path: [Int]
    /// The offsets of the words that were loaded. With 0 and 4 only, an allowed number is in the
    /// kernel's cache and costs no run of the program.
    package let loads: Set<UInt32>
  }

  /// Checks the program as the kernel does before it takes it.
  ///
  /// - Throws: `.invalidArgument` for an empty or too long program, an unknown operation, a load from
  ///   outside the data, a jump past the end, or a last instruction that isn't a return.
  package init(_ program: BPFProgram) throws(Errno) {
    instructions = program.instructions
    guard !instructions.isEmpty, instructions.count <= BPFProgram.maximumCount,
      instructions.last?.code == BPFInstruction.Code.return
    else { throw .invalidArgument }
    for (index, instruction) in instructions.enumerated() {
      let left = instructions.count - index - 1
      switch instruction.code {
      case BPFInstruction.Code.load:
        guard instruction.operand < 64, instruction.operand % 4 == 0 else {
          throw .invalidArgument
        }
      case BPFInstruction.Code.and, BPFInstruction.Code.return:
        break
      case BPFInstruction.Code.jump:
        guard instruction.operand < left else { throw .invalidArgument }
      default:
        guard BPFAssembler.Comparison(rawValue: instruction.code) != nil,
          max(instruction.jumpTrue, instruction.jumpFalse) < left
        else { throw .invalidArgument }
      }
    }
  }

  /// The program's answer to a call.
  package func run(_ data: SeccompData) -> Outcome {
    var accumulator: UInt32 = 0
    var path: [Int] = []
    var loads: Set<UInt32> = []
    var index = 0
    while index < instructions.count {
      path.append(index)
      let instruction = instructions[index]
      let constant = instruction.operand
      index += 1
      switch instruction.code {
      case BPFInstruction.Code.load:
        accumulator = data.word(at: constant) ?? 0
        loads.insert(constant)
      case BPFInstruction.Code.and:
        accumulator &= constant
      case BPFInstruction.Code.jump:
        index += Int(constant)
      case BPFInstruction.Code.return:
        return Outcome(value: constant, path: path, loads: loads)
      default:
        let holds: Bool
        switch BPFAssembler.Comparison(rawValue: instruction.code) {
        case .equal: holds = accumulator == constant
        case .greater: holds = accumulator > constant
        case .greaterOrEqual: holds = accumulator >= constant
        case .anyBit: holds = accumulator & constant != 0
        case nil: holds = false
        }
        index += Int(holds ? instruction.jumpTrue : instruction.jumpFalse)
      }
    }
    // The check in init leaves no way here; killing is what the kernel does with what it can't run.
    return Outcome(value: 0, path: path, loads: loads)
  }
}
