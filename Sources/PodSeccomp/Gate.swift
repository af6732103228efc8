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

  /// What the first argument of getpid(2) says when a call is over: "pod-done" as big-endian text.
  static let magic: UInt64 = 0x706f_642d_646f_6e65
  static let size = 4096

  /// The instruction that makes the call.
  var call: RemoteAddress { address }
  /// What a notification of the call has for its instruction pointer.
  var afterCall: RemoteAddress { address.advanced(by: 2) }
  /// What the notification that the call is over has.
  var afterReport: RemoteAddress { address.advanced(by: 22) }
  /// Code that replaces the word at `rdi`, if it is `eax`, by `esi`.
  var exchange: RemoteAddress { address.advanced(by: 32) }
  /// Where that code stays when it is done.
  var exchanged: ClosedRange<RemoteAddress> {
    address.advanced(by: 36)...address.advanced(by: 38)
  }

  static let code: [UInt8] =
    [
      0x0F, 0x05,  // syscall
      0x48, 0x89, 0xC6,  // mov %rax, %rsi
      0x48, 0xBF,  // movabs $magic, %rdi
    ] + (0..<8).map { UInt8(truncatingIfNeeded: magic >> (8 * $0)) } + [
      0xB8, 0x27, 0x00, 0x00, 0x00,  // mov $39, %eax: getpid
      0x0F, 0x05,  // syscall
      0x0F, 0x0B,  // ud2
    ] + [UInt8](repeating: 0xCC, count: 8) + [
      0xF0, 0x0F, 0xB1, 0x37,  // lock cmpxchg %esi, (%rdi)
      0xF3, 0x90,  // pause
      0xEB, 0xFC,  // jmp to the pause
    ]
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
