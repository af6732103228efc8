internal import PodCore
internal import PodLinux
internal import SystemPackage

/// A page of our code in a process of the pod.
///
/// A call that may wait goes on there by itself, so that nobody holds the thread meanwhile: the thread executes the call and
/// then, on its way back, tells the supervisor, which lets the program go on behind its own call. Signals are delivered
/// as they are natively, with the page's address in their frames; a handler may leave by longjmp, and the call is over
/// without anybody having been told.
///
/// The page is no trust boundary: a program can jump there, write over it or unmap it. The supervisor believes nothing of
/// what it hears from there but what the thread itself could say.
///
/// Source: DESIGN.md §5.
struct Gate {
  let address: RemoteAddress

  /// What the first argument says of the call that tells that a call is over: "pod-done" as big-endian text.
  static let magic: UInt64 = 0x706f_642d_646f_6e65
  static let size = 4096

  /// The instruction that makes the call.
  var call: RemoteAddress { address }
  /// What a notification of the call has for its instruction pointer.
  var afterCall: RemoteAddress { address.advanced(by: 2) }
  /// Code that replaces the word at `rdi`, if it is `eax`, by `esi`.
  var exchange: RemoteAddress { address.advanced(by: Self.exchangeOffset) }
  /// Where that code stays when it is done.
  var exchanged: ClosedRange<RemoteAddress> {
    exchange.advanced(by: 4)...exchange.advanced(by: 6)
  }

  /// Code that replaces the eight bytes at `rdi`, if they are `rax`, by `rsi`.
  var wordExchange: RemoteAddress { exchange.advanced(by: 8) }
  /// Where that code stays when it is done.
  var wordExchanged: ClosedRange<RemoteAddress> {
    wordExchange.advanced(by: 5)...wordExchange.advanced(by: 7)
  }

  /// The number of the call by which the page first tells that a call is over: the same one where it is always a
  /// notification, since a filter of the program's own has just let it pass.
  static func firstReport(of call: Syscall) -> UInt64 {
    UInt64((reportedByThemselves.contains(call) ? call : .getpid).rawValue)
  }

  private static let reportedByThemselves: [Syscall] = [.wait4, .waitid, .rt_sigtimedwait]

  /// The calls by which it does so next, one after the other should such a filter keep one from us.
  private static let reports: [Syscall] = [.getpid, .gettid, .getpgrp]

  /// Whether a notification tells that a call is over.
  func reports(_ call: Syscall, _ arguments: CallArguments, at address: RemoteAddress) -> Bool {
    guard arguments.a == Self.magic else { return false }
    if address == self.address.advanced(by: Self.reportsOffset) {
      return call == .getpid || Self.reportedByThemselves.contains(call)
    }
    guard let index = Self.reports.firstIndex(of: call) else {
      return false
    }
    return address
      == self.address.advanced(by: Self.reportsOffset + Self.reportSize * (index + 1))
  }

  private static let reportsOffset = 19
  private static let reportSize = 7
  private static let exchangeOffset = 64

  static let code: [UInt8] = {
    var code: [UInt8] = [
      0x0F, 0x05,  // syscall
      0x48, 0x89, 0xC6,  // mov %rax, %rsi
      0x48, 0xBF,  // movabs $magic, %rdi
    ]
    code += (0..<8).map { UInt8(truncatingIfNeeded: magic >> (8 * $0)) }
    code += [
      0x89, 0xD8,  // mov %ebx, %eax
      0x0F, 0x05,  // syscall
    ]
    for call in reports {
      code += [
        0xB8, UInt8(truncatingIfNeeded: call.rawValue), UInt8(call.rawValue >> 8), 0, 0,  // mov
        0x0F, 0x05,  // syscall
      ]
    }
    // A signal that comes before the supervisor has it ends a report with EINTR: then all begin anew.
    code += [0x83, 0xF8, 0xFC]  // cmp $-4, %eax
    code += [0x74, UInt8(truncatingIfNeeded: 15 - (code.count + 2))]  // je, to the first report
    code += [0x0F, 0x0B]  // ud2
    code += [UInt8](repeating: 0xCC, count: exchangeOffset - code.count)
    code += [
      0xF0, 0x0F, 0xB1, 0x37,  // lock cmpxchg %esi, (%rdi)
      0xF3, 0x90,  // pause
      0xEB, 0xFC,  // jmp to the pause
      0xF0, 0x48, 0x0F, 0xB1, 0x37,  // lock cmpxchg %rsi, (%rdi)
      0xF3, 0x90,  // pause
      0xEB, 0xFC,  // jmp to the pause
    ]
    return code
  }()
}

/// A call that goes on by itself on its thread's ``Gate``.
///
/// It belongs to whoever has taken it from its thread, so to one receiver at a time.
final class DetachedCall: @unchecked Sendable {
  /// Where the thread's stack was at its call: how the call is found again when it is over.
  let stack: RemoteAddress
  /// The program's registers at its call.
  let registers: Registers
  let host: AttachedCaller
  var transaction: Transaction?

  init(_ registers: Registers, _ transaction: consuming Transaction, _ host: AttachedCaller) {
    stack = registers.stackPointer
    self.registers = registers
    self.host = host
    self.transaction = consume transaction
  }
}
