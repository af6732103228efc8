#if !arch(x86_64)
  package import PodCore
  package import SystemPackage

  /// A stand-in for architectures that the tracing backend does not know yet: every access to a thread
  /// throws `Errno.noFunction`.
  package struct Registers: Sendable {
    package init() {}
    package init(of tid: Int32) throws(Errno) { throw .noFunction }
    package func set(to tid: Int32) throws(Errno) { throw .noFunction }
    package static func replaceForeignCall(of tid: Int32) throws(Errno) { throw .noFunction }
    package static func setForeignResult(_ error: Errno, of tid: Int32) throws(Errno) {
      throw .noFunction
    }
    package var syscallNumber = -1
    package var arguments: [UInt64] = [0, 0, 0, 0, 0, 0]
    package var kept: UInt64 = 0
    package var result: UInt64 = 0
    package var signalRegisters: (rax: UInt64, rdi: UInt64, rsi: UInt64, rdx: UInt64) {
      (0, 0, 0, 0)
    }
    package var resultError: Errno? { nil }
    package mutating func setResult(error: Errno) {
      result = UInt64(bitPattern: -Int64(error.rawValue))
    }
    package var instructionPointer = RemoteAddress.null
    package var stackPointer = RemoteAddress.null
    package var threadPointer = RemoteAddress.null
    package mutating func replaceCall() {}
    package mutating func markAsAnswered() {}
    package mutating func skipCall() { syscallNumber = -1 }
  }
#endif
