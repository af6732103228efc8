package import PodCore
internal import SystemPackage

extension CallArguments {
  /// The arguments that a stopped thread's registers hold.
  package init(_ registers: Registers) {
    let arguments = registers.arguments
    self.init(
      arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5])
  }
}

extension Registers {
  /// Puts a call's arguments where the kernel looks for them.
  package mutating func setArguments(_ arguments: CallArguments) {
    for index in 0..<6 { self.arguments[index] = arguments[index] }
  }

  /// The result of a call that has returned.
  package var callResult: CallResult {
    if let resultError { return .failure(resultError) }
    return .success(Int(bitPattern: UInt(result)))
  }

  /// Makes the call's result this.
  package mutating func setResult(_ result: CallResult) {
    switch result {
    case .success(let value): self.result = UInt64(bitPattern: Int64(value))
    case .failure(let error): setResult(error: error)
    }
  }

  /// Whether the kernel will make the call again, or turn this into EINTR, on the way back to the program.
  ///
  /// Source: include/linux/errno.h: ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND, ERESTART_RESTARTBLOCK.
  package var isRestarting: Bool {
    guard let error = resultError else { return false }
    return [512, 513, 514, 516].contains(error.rawValue)
  }
}
