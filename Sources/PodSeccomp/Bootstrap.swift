internal import CPodLayout
internal import Glibc
internal import PodCore
internal import PodLinux

/// Code that a process executes once, in the place of its own behind a call, to map the pod's area.
///
/// It maps the shared part, closes the descriptor, has the rest done by the area's own code (`POD_PAGE_SETUP`), and makes
/// the program's call again, or goes on into the area with it. If anything fails it undoes what is done, tells the supervisor
/// why, and makes the call again.
///
/// It needs no stack, since a program may have none, changes no flags, and gives all registers back as they were but those
/// that a call changes anyway: what the arguments were, the supervisor knows from the notification.
///
/// Source: DESIGN.md §5, "Injection of the page".
struct Bootstrap {
  let bytes: [UInt8]
  /// Where its report is made from, in bytes from its beginning: what its notification has for its instruction pointer.
  let reportEnd: Int

  /// What the first argument of the report says: "pod-boot" as big-endian text.
  static let magic: UInt64 = 0x706f_642d_626f_6f74
  /// How far below the program's stack the return address is: beyond the red zone.
  static let belowStack: Int32 = 136
  /// The calls that it makes.
  static let calls: Set<Syscall> = [.mmap, .close, .madvise, .munmap]

  /// - Parameters:
  ///   - base: Where the area is to be.
  ///   - size: Of its shared part, in bytes.
  ///   - number: The program's call, which its last instruction makes again, two bytes before the bootstrap.
  ///   - arguments: Its arguments.
  ///   - address: Where it lies.
  ///   - enters: Whether the call is made in the area: the return address is on the program's stack already.
  init(
    base: RemoteAddress, size: Int, before number: Syscall, _ arguments: CallArguments,
    at address: RemoteAddress, enters: Bool
  ) {
    let fixedNoReplace: UInt32 = 0x10_0000
    var code: [UInt8] = []
    code += [0x41, 0x89, 0xC0]  // mov %eax, %r8d: the descriptor
    code += [0x48, 0xBF] + Self.word(base.rawValue)  // movabs $base, %rdi
    code += [0xBE] + Self.half(UInt32(clamping: size))  // mov $size, %esi
    code += [0xBA] + Self.half(UInt32(PROT_READ | PROT_EXEC))  // mov $…, %edx
    code += [0x41, 0xBA] + Self.half(UInt32(MAP_SHARED) | fixedNoReplace)  // mov $…, %r10d
    code += [0x41, 0xB9] + Self.half(0)  // mov $0, %r9d
    code += Self.make(.mmap)
    code += [0x49, 0x89, 0xC1]  // mov %rax, %r9
    code += [0x44, 0x89, 0xC7]  // mov %r8d, %edi
    code += Self.make(.close)
    code += [0x48, 0xB9] + Self.word(0 &- base.rawValue)  // movabs $-base, %rcx
    code += [0x49, 0x8D, 0x0C, 0x09]  // lea (%r9,%rcx), %rcx
    code += [0xE3, 0x05]  // jrcxz, over the jump
    var report: [UInt8] = [0x4C, 0x89, 0xCE]  // mov %r9, %rsi
    report += [0x48, 0xBF] + Self.word(Self.magic)  // movabs $magic, %rdi
    report += Self.make(.getpid)
    var undo: [UInt8] = [0x4C, 0x89, 0xC9]  // mov %r9, %rcx
    let unmap =
      [0x48, 0xBF] + Self.word(base.rawValue)  // movabs $base, %rdi
      + [0xBE] + Self.half(UInt32(clamping: size))  // mov $size, %esi
      + Self.make(.munmap)
    undo += [0xE3, UInt8(unmap.count + report.count)] + unmap  // jrcxz, behind the report
    let registers: [[UInt8]] = [
      [0x48, 0xBF], [0x48, 0xBE], [0x48, 0xBA], [0x49, 0xBA], [0x49, 0xB8], [0x49, 0xB9],
    ]
    var call = registers.enumerated().flatMap { index, register in
      register + Self.word(arguments[index])  // movabs: rdi, rsi, rdx, r10, r8, r9
    }
    call += [0xB8] + Self.half(UInt32(number.rawValue))  // mov $call, %eax
    var success: [UInt8] = []
    if enters {
      success += [0x4C, 0x89, 0xC9]  // mov %r9, %rcx
      let entry = base.advanced(by: Int(POD_PAGE_ARRIVE))
      let leave =
        call
        + [0x48, 0x8D, 0xA4, 0x24] + Self.half(UInt32(bitPattern: -Self.belowStack))  // lea
        + [0x49, 0xBB] + Self.word(entry.rawValue)  // movabs $entry, %r11
        + [0x41, 0xFF, 0xE3]  // jmp *%r11
      success += [0xE3, 0x02]  // jrcxz, over the jump
      success += [0xEB, UInt8(leave.count)] + leave
    }
    let setup: [UInt8] =
      [0x4C, 0x8D, 0x05] + Self.half(10)  // lea, behind this, %r8
      + [0x49, 0x8D, 0x41, UInt8(POD_PAGE_SETUP)]  // lea POD_PAGE_SETUP(%r9), %rax
      + [0xFF, 0xE0]  // jmp *%rax
      + Self.half(Self.wishForTrampolines(near: address))
    let toReport = UInt32(setup.count + success.count + undo.count)
    code += [0xE9] + Self.half(toReport)  // jmp
    code += setup + success + undo + report
    reportEnd = code.count
    code += call
    let end = Int32(code.count + 5)
    code += [0xE9] + Self.half(UInt32(bitPattern: -2 - end))  // jmp
    bytes = code
  }

  /// Where trampolines are in reach of the program's text: below it, for one that lies at a fixed address; 0 for one that is
  /// among the libraries, as far as the kernel gives places there.
  private static func wishForTrampolines(near address: RemoteAddress) -> UInt32 {
    address.rawValue >> 32 == 0 ? 0x20_0000 : 0
  }

  private static func make(_ call: Syscall) -> [UInt8] {
    [0xB8] + half(UInt32(call.rawValue)) + [0x0F, 0x05]  // mov $call, %eax; syscall
  }
  private static func half(_ value: UInt32) -> [UInt8] {
    (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }
  private static func word(_ value: UInt64) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }
}
