#if arch(x86_64)
  internal import CLinux
  internal import Glibc
  package import PodCore
  package import SystemPackage

  /// The general registers of a stopped thread, in the words of a system call.
  ///
  /// At a syscall stop `number` is what the program asked for; the kernel has already put ENOSYS into
  /// the result register.
  package struct Registers: Sendable {
    private var raw = user_regs_struct()

    /// All registers zero.
    package init() {}

    /// Reads the registers of a thread in a ptrace stop of the calling thread.
    ///
    /// - Throws: `.noSuchProcess` when it is not stopped or has been killed.
    ///
    /// Source: ptrace(2), PTRACE_GETREGS.
    package init(of tid: Int32) throws(Errno) {
      _ = try valueOrErrno(CLinux_ptrace_getregs(tid, &raw))
    }

    /// Writes the registers, up to the stack pointer, to a thread in a ptrace stop of the calling thread.
    ///
    /// The segments behind it stay the thread's own: a program may have put values there that the kernel doesn't take
    /// from a tracer (a null selector, a base in the kernel's half).
    ///
    /// - Throws: `.noSuchProcess` when it is not stopped or has been killed.
    ///
    /// Source: ptrace(2), PTRACE_SETREGSET; arch/x86/kernel/ptrace.c, `set_segment_reg`.
    package func set(to tid: Int32) throws(Errno) {
      let generalRegisters: UInt = 1
      _ = try withUnsafeBytes(of: raw) { bytes throws(Errno) in
        try valueOrErrno(
          CLinux_ptrace_setregset(tid, generalRegisters, bytes.baseAddress, Self.writtenSize))
      }
    }

    private static let writtenSize =
      MemoryLayout<user_regs_struct>.offset(of: \.ss) ?? MemoryLayout<user_regs_struct>.size

    /// The number of the system call (orig_rax), -1 outside one; as it is in the register: bit 30 is
    /// the x32 mark.
    package var syscallNumber: Int {
      get { Int(bitPattern: UInt(raw.orig_rax)) }
      set { raw.orig_rax = UInt64(bitPattern: Int64(newValue)) }
    }

    /// Replaces a call of another convention (`int 0x80`, 32-bit code), at whose entry the thread is stopped, by one
    /// that does nothing: getpid(2).
    ///
    /// - Throws: `.noSuchProcess` when it is not stopped or has been killed.
    package static func replaceForeignCall(of tid: Int32) throws(Errno) {
      let getpid: UInt = 20
      try poke(tid, MemoryLayout<user_regs_struct>.offset(of: \.orig_rax), getpid)
    }

    /// Sets the result of a call of another convention, at whose exit the thread is stopped.
    ///
    /// - Throws: `.noSuchProcess` when it is not stopped or has been killed.
    package static func setForeignResult(_ error: Errno, of tid: Int32) throws(Errno) {
      try poke(
        tid, MemoryLayout<user_regs_struct>.offset(of: \.rax),
        UInt(bitPattern: -Int(error.rawValue)))
    }

    private static func poke(_ tid: Int32, _ offset: Int?, _ word: UInt) throws(Errno) {
      _ = try valueOrErrno(CLinux_ptrace_pokeuser(tid, UInt(offset ?? 0), word))
    }

    /// The system call's arguments, 0 to 5.
    package struct Arguments: Sendable {
      fileprivate var raw: user_regs_struct

      /// An argument; indices outside 0..<6 read as 0 and are not written.
      package subscript(index: Int) -> UInt64 {
        get {
          switch index {
          case 0: raw.rdi
          case 1: raw.rsi
          case 2: raw.rdx
          case 3: raw.r10
          case 4: raw.r8
          case 5: raw.r9
          default: 0
          }
        }
        set {
          switch index {
          case 0: raw.rdi = newValue
          case 1: raw.rsi = newValue
          case 2: raw.rdx = newValue
          case 3: raw.r10 = newValue
          case 4: raw.r8 = newValue
          case 5: raw.r9 = newValue
          default: break
          }
        }
      }
    }

    /// The arguments, which can be set one by one: `registers.arguments[0] = 7`.
    package var arguments: Arguments {
      get { Arguments(raw: raw) }
      set { raw = newValue.raw }
      _modify {
        var arguments = Arguments(raw: raw)
        defer { raw = arguments.raw }
        yield &arguments
      }
    }

    /// A register that calls leave alone (rbx).
    package var kept: UInt64 {
      get { raw.rbx }
      set { raw.rbx = newValue }
    }

    /// The result register (rax), which at an exit stop is the call's result.
    package var result: UInt64 {
      get { raw.rax }
      set { raw.rax = newValue }
    }

    /// The registers in which a breakpoint of the pod's init speaks; see ``PodInit/Signal``.
    package var signalRegisters: (rax: UInt64, rdi: UInt64, rsi: UInt64, rdx: UInt64) {
      (raw.rax, raw.rdi, raw.rsi, raw.rdx)
    }

    /// The error in the result register; nil when the call succeeded.
    package var resultError: Errno? {
      let value = Int64(bitPattern: raw.rax)
      return (-4095 ... -1).contains(value) ? Errno(rawValue: CInt(-value)) : nil
    }

    /// Makes the call's result this error.
    package mutating func setResult(error: Errno) {
      raw.rax = UInt64(bitPattern: -Int64(error.rawValue))
    }

    /// Makes a result that says EINTR different from that of a call which a signal has ended before anybody had heard of
    /// it: there the kernel has left the address behind the call in rcx (`Sources/CPodVDSO/page/signals.h`). Programs
    /// expect nothing of that register.
    package mutating func markAsAnswered() { raw.rcx = 0 }

    /// The address of the next instruction (rip).
    package var instructionPointer: RemoteAddress {
      get { RemoteAddress(rawValue: raw.rip) }
      set { raw.rip = newValue.rawValue }
    }

    /// The stack pointer (rsp).
    package var stackPointer: RemoteAddress {
      get { RemoteAddress(rawValue: raw.rsp) }
      set { raw.rsp = newValue.rawValue }
    }

    /// The thread's own block (fs base).
    package var threadPointer: RemoteAddress {
      get { RemoteAddress(rawValue: raw.fs_base) }
      set { raw.fs_base = newValue.rawValue }
    }

    /// Replaces the call at whose entry the thread is stopped by one that does nothing: getpid(2).
    package mutating func replaceCall() { syscallNumber = Int(Syscall.getpid.rawValue) }

    /// Makes the kernel skip the call at whose entry the thread is stopped; the program then sees
    /// what is in ``result``.
    package mutating func skipCall() {
      raw.orig_rax = UInt64.max
    }
  }
#endif
