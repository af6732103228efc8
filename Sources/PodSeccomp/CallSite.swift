internal import CPodLayout
internal import PodCore

/// A place in a program's text where a call is made, of which an instruction of five bytes before `syscall` can become a jump.
///
/// Two forms are known: a move of the call's number to eax right before `syscall`, or with one move between registers in
/// between, and the C library's `syscall()`, whose last move takes an argument from the stack. `syscall` itself is left in its
/// place: who jumps to it, stands there or makes the call again just makes it as if nothing were patched.
///
/// Source: DESIGN.md §5, "Patching call sites"; page_number_before in `Sources/CPodVDSO/page/signals.h` reads the same.
struct CallSite: Equatable {
  /// Behind `syscall`: where a call's notification says that it comes from.
  let end: RemoteAddress
  /// Where the instruction is that a jump replaces.
  let start: RemoteAddress
  /// The instructions from there to `syscall`.
  let code: [UInt8]
  /// The call; nil where it is in a register, so that any may come from here.
  let number: UInt32?

  /// How many bytes before ``end`` and from there on are looked at.
  static let (lookedAtBefore, lookedAtBehind) = (15, 6)

  /// Recognises a site.
  ///
  /// - Parameters:
  ///   - end: Behind `syscall`.
  ///   - text: What is there, from ``lookedAtBefore`` bytes before `end` to ``lookedAtBehind`` behind it.
  ///   - call: The number of the call that was made there.
  /// - Returns: nil for all other forms, and where the number isn't the call's: then the bytes mean something else.
  init?(_ end: RemoteAddress, in text: [UInt8], of call: Int) {
    guard text.count == Self.lookedAtBefore + Self.lookedAtBehind else { return nil }
    let head = text[..<Self.lookedAtBefore]
    guard head.suffix(2) == [0x0F, 0x05] else { return nil }
    let before = Array(head.dropLast(2))
    self.end = end
    if before.suffix(5) == Self.stackMove, text[Self.lookedAtBefore...] == Self.errorCheck {
      code = Self.stackMove
      number = nil
    } else {
      guard
        let length = [0, 2, 3].first(where: { Self.makes(call, before, movesBehind: $0) })
      else { return nil }
      code = before.suffix(5 + length)
      number = UInt32(truncatingIfNeeded: call)
    }
    start = end.advanced(by: -2 - code.count)
  }

  /// `mov 8(%rsp), %r9`
  private static let stackMove: [UInt8] = [0x4C, 0x8B, 0x4C, 0x24, 0x08]
  /// `cmp $-4095, %rax`
  private static let errorCheck: ArraySlice<UInt8> = [0x48, 0x3D, 0x01, 0xF0, 0xFF, 0xFF]

  /// Whether a number is moved to eax, and then, in `length` bytes, something to another register.
  private static func makes(
    _ call: Int, _ before: [UInt8], movesBehind length: Int
  ) -> Bool {
    let at = before.count - length - 5
    let number = UInt32(truncatingIfNeeded: call)
    guard before[at] == 0xB8, before[at - 1] & 0xF1 != 0x41,
      before[(at + 1)..<(at + 5)].elementsEqual((0..<4).map { UInt8(number >> ($0 * 8) & 0xFF) })
    else { return false }
    if length == 0 { return true }
    let move = Array(before.suffix(length))
    let (prefix, operation, registers) = (
      length == 3 ? move[0] : 0, move[length - 2], move[length - 1]
    )
    // Neither eax, which has the number, nor esp.
    let target = registers & 7 | (prefix & 1) << 3
    return (length == 2 || prefix & 0xF0 == 0x40) && [0x89, 0x31].contains(operation)
      && registers & 0xC0 == 0xC0 && target != 0 && target != 4
  }

  /// Where the pod's code lets a call begin that comes from a trampoline.
  enum Destination: UInt8 {
    /// The page makes the call if it can.
    case page = 0x30
    /// The program's own instruction makes all of them.
    case program = 0x40
  }

  /// What all trampolines jump to, at the beginning of their page, in a pod whose area is there.
  static func destination(_ destination: Destination, in area: RemoteAddress) -> UInt64 {
    area.rawValue + UInt64(destination.rawValue)
  }

  /// The site's trampoline at an address, `POD_TRAMPOLINE_SIZE` bytes: what the replaced instructions do, and a jump into the
  /// page, with the address behind the call in rcx, which a call changes anyway.
  ///
  /// - Returns: nil where it is out of the reach of a jump.
  func trampoline(at address: RemoteAddress, in trampolines: RemoteAddress) -> [UInt8]? {
    var bytes = code
    guard let back = Self.distance(from: address.advanced(by: bytes.count + 7), to: end),
      let on = Self.distance(from: address.advanced(by: bytes.count + 13), to: trampolines)
    else { return nil }
    bytes += [0x48, 0x8D, 0x0D] + back  // lea end(%rip), %rcx
    bytes += [0xFF, 0x25] + on  // jmp *trampolines(%rip)
    return bytes + [UInt8](repeating: 0xCC, count: Int(POD_TRAMPOLINE_SIZE) - bytes.count)
  }

  /// The five bytes that lead to a trampoline; nil where it is out of reach.
  func jump(to trampoline: RemoteAddress) -> [UInt8]? {
    Self.distance(from: start.advanced(by: 5), to: trampoline).map { [0xE9] + $0 }
  }

  private static func distance(
    from origin: RemoteAddress, to target: RemoteAddress
  ) -> [UInt8]? {
    let difference = Int64(bitPattern: target.rawValue &- origin.rawValue)
    guard let distance = Int32(exactly: difference) else { return nil }
    return (0..<4).map { UInt8(UInt32(bitPattern: distance) >> ($0 * 8) & 0xFF) }
  }
}
