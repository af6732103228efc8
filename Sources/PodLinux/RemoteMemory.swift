internal import CLinux
internal import Glibc
package import PodCore
package import SystemPackage

/// The memory of one address space of a pod.
///
/// Open it when the address space is first seen, and anew after each execve. Three ways lead into it,
/// tried in this order:
/// 1. `process_vm_readv`/`writev`, by the number of a thread that the caller holds in a ptrace stop
///    (`stopped`). A number that is not held may name another process by now, so without one this way
///    is left out;
/// 2. the descriptor of `/proc/PID/mem`, opened here: it stays with the address space when the process
///    becomes undumpable or its number is reused;
/// 3. PTRACE_PEEKDATA and POKEDATA on the stopped thread, from its tracer's thread only.
///
/// The next way is taken when access is denied, never when the address is bad. Whatever a program
/// passes, the outcome is a value or `Errno.badAddress`.
package final class RemoteMemory: Sendable {
  private let descriptor: OwnedDescriptor

  /// Opens the address space of a process that is alive and held (stopped, or the host's own).
  ///
  /// Opening can be denied (an undumpable process); reads and writes then need `stopped`.
  ///
  /// Source: proc_pid_mem(5).
  package init(of processID: Int32) {
    descriptor = OwnedDescriptor(owning: CLinux_open("/proc/\(processID)/mem", O_RDWR, 0))
  }

  /// The address space of threads that are always given as `stopped`; needs no descriptor.
  package init() { descriptor = OwnedDescriptor(owning: -1) }

  /// Whether the descriptor could be opened.
  package var isOpen: Bool {
    descriptor.rawValue >= 0
  }

  /// Reads as many bytes as there are, up to the buffer's size or the first unreadable page.
  ///
  /// - Parameters:
  ///   - address: Where the bytes begin.
  ///   - buffer: What they are copied to.
  ///   - stopped: A thread of this address space in a ptrace stop of the calling thread.
  /// - Returns: The number of bytes read, at least 1 unless the buffer is empty.
  /// - Throws: `.badAddress` when not even the first byte can be read.
  package func readPrefix(
    _ address: RemoteAddress, into buffer: UnsafeMutableRawBufferPointer, stopped: Int32? = nil
  ) throws(Errno) -> Int {
    guard let base = buffer.baseAddress, !buffer.isEmpty else { return 0 }
    let size = Self.sizeWithoutWrap(address, buffer.count)
    return try transfer(size) { (done) throws(Errno) -> Int in
      let from = address.rawValue + UInt64(done)
      let (to, rest) = (base + done, size - done)
      if let stopped {
        let result = CLinux_process_vm_read(stopped, from, to, rest)
        if !Self.isDenied(result) { return result }
      }
      if isOpen {
        return CLinux_pread(descriptor.rawValue, to, rest, from)
      }
      guard let stopped else { throw .badAddress }
      return Self.peek(stopped, from, UnsafeMutableRawBufferPointer(start: to, count: rest))
    }
  }

  /// Fills the buffer.
  ///
  /// - Throws: `.badAddress` when a byte of the range can't be read.
  package func read(
    _ address: RemoteAddress, into buffer: UnsafeMutableRawBufferPointer, stopped: Int32? = nil
  ) throws(Errno) {
    guard try readPrefix(address, into: buffer, stopped: stopped) == buffer.count else {
      throw .badAddress
    }
  }

  /// Reads a number of bytes.
  ///
  /// - Precondition: The caller has bounded `count`, which is allocated here.
  /// - Throws: `.badAddress` when a byte of the range can't be read; `.invalidArgument` for a negative
  ///   count.
  package func readBytes(
    _ address: RemoteAddress, count: Int, stopped: Int32? = nil
  ) throws(Errno) -> [UInt8] {
    guard count >= 0 else { throw .invalidArgument }
    var bytes = [UInt8](repeating: 0, count: count)
    try Self.rethrowing {
      bytes.withUnsafeMutableBytes { buffer in
        Result { () throws(Errno) in try read(address, into: buffer, stopped: stopped) }
      }
    }
    return bytes
  }

  /// Reads a value without pointers or padding that matters, such as a C struct or an integer.
  ///
  /// - Throws: `.badAddress` when a byte of it can't be read.
  package func read<Value: BitwiseCopyable>(
    _ address: RemoteAddress, as type: Value.Type, stopped: Int32? = nil
  ) throws(Errno) -> Value {
    try Self.rethrowing {
      withUnsafeTemporaryAllocation(of: Value.self, capacity: 1) { buffer in
        Result { () throws(Errno) in
          try read(address, into: UnsafeMutableRawBufferPointer(buffer), stopped: stopped)
          return buffer[0]
        }
      }
    }
  }

  /// Reads a string up to its NUL, as the kernel does with paths: bytes behind the NUL need not be
  /// readable.
  ///
  /// - Parameters:
  ///   - address: The first byte.
  ///   - limit: The largest number of bytes, the NUL among them (PATH_MAX for paths).
  ///   - stopped: As for ``readPrefix(_:into:stopped:)``.
  /// - Returns: The bytes before the NUL.
  /// - Throws: `.badAddress` when an unreadable byte comes first; `.fileNameTooLong` when there is no
  ///   NUL within the limit.
  package func readString(
    _ address: RemoteAddress, limit: Int = Int(PATH_MAX), stopped: Int32? = nil
  ) throws(Errno) -> [UInt8] {
    try Self.rethrowing {
      withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 16) { buffer in
        Result { () throws(Errno) in
          var bytes: [UInt8] = []
          // Most paths are short: a small piece first, then whole pages.
          var piece = 256
          while bytes.count < limit {
            let here = address + bytes.count
            guard here >= address else { throw Errno.badAddress }
            let size = min(piece, here.bytesToPageEnd, limit - bytes.count)
            let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<size])
            let count = try readPrefix(here, into: part, stopped: stopped)
            let found = UnsafeMutableRawBufferPointer(rebasing: part[..<count])
            if let base = found.baseAddress, let end = memchr(base, 0, count) {
              bytes.append(
                contentsOf: UnsafeRawBufferPointer(
                  start: base, count: UnsafeRawPointer(end) - UnsafeRawPointer(base)))
              return bytes
            }
            bytes.append(contentsOf: found)
            piece = 4096
          }
          throw Errno.fileNameTooLong
        }
      }
    }
  }

  /// Writes bytes where the process itself could.
  ///
  /// Where `process_vm_writev` is denied, protection of private pages is not respected: it is the
  /// process's own memory. As with the kernel's own copies, bytes before a bad page may have been
  /// written when this throws.
  ///
  /// - Throws: `.badAddress` when a byte of the range can't be written.
  package func write(
    _ address: RemoteAddress, bytes: UnsafeRawBufferPointer, stopped: Int32? = nil
  ) throws(Errno) {
    try write(address, bytes, stopped: stopped, respectingProtection: true)
  }

  /// Writes bytes where the process itself could.
  ///
  /// - Throws: `.badAddress` when a byte of the range can't be written.
  package func write(
    _ address: RemoteAddress, bytes: [UInt8], stopped: Int32? = nil
  ) throws(Errno) {
    try Self.rethrowing {
      bytes.withUnsafeBytes { buffer in
        Result { () throws(Errno) in try write(address, bytes: buffer, stopped: stopped) }
      }
    }
  }

  /// Writes a value without pointers or padding that matters.
  ///
  /// - Throws: `.badAddress` when a byte of it can't be written.
  package func write<Value: BitwiseCopyable>(
    _ address: RemoteAddress, value: Value, stopped: Int32? = nil
  ) throws(Errno) {
    try Self.rethrowing {
      withUnsafeBytes(of: value) { buffer in
        Result { () throws(Errno) in try write(address, bytes: buffer, stopped: stopped) }
      }
    }
  }

  /// Writes bytes whatever the pages' protection, as into code. Private pages only.
  ///
  /// - Throws: `.badAddress` when nothing private is mapped there.
  package func writeCode(
    _ address: RemoteAddress, bytes: [UInt8], stopped: Int32? = nil
  ) throws(Errno) {
    try Self.rethrowing {
      bytes.withUnsafeBytes { buffer in
        Result { () throws(Errno) in
          try write(address, buffer, stopped: stopped, respectingProtection: false)
        }
      }
    }
  }

  private func write(
    _ address: RemoteAddress, _ bytes: UnsafeRawBufferPointer, stopped: Int32?,
    respectingProtection: Bool
  ) throws(Errno) {
    guard let base = bytes.baseAddress, !bytes.isEmpty else { return }
    let size = Self.sizeWithoutWrap(address, bytes.count)
    let count = try transfer(size) { (done) throws(Errno) -> Int in
      let to = address.rawValue + UInt64(done)
      let (from, rest) = (base + done, size - done)
      if let stopped, respectingProtection {
        let result = CLinux_process_vm_write(stopped, to, from, rest)
        if !Self.isDenied(result) { return result }
      }
      if isOpen {
        return CLinux_pwrite(descriptor.rawValue, from, rest, to)
      }
      guard let stopped else { throw .badAddress }
      return Self.poke(stopped, to, UnsafeRawBufferPointer(start: from, count: rest))
    }
    guard count == bytes.count else { throw .badAddress }
  }

  /// Repeats a transfer, which may do a part, until all is done or it fails.
  private func transfer(
    _ size: Int, _ step: (_ done: Int) throws(Errno) -> Int
  ) throws(Errno) -> Int {
    var done = 0
    while done < size {
      let count = try step(done)
      if count == -Int(EINTR) { continue }
      // 0 is a mem descriptor whose address space is gone.
      guard count > 0 else { break }
      done += count
    }
    guard done > 0 else { throw .badAddress }
    return done
  }

  /// The number of bytes up to the end of the address space, at most `size`.
  private static func sizeWithoutWrap(_ address: RemoteAddress, _ size: Int) -> Int {
    Int(clamping: min(UInt64(size), UInt64.max - address.rawValue))
  }

  /// Whether a failure says that this way is closed, rather than that the address is bad.
  private static func isDenied(_ result: Int) -> Bool {
    switch Int32(truncatingIfNeeded: -result) {
    case EPERM, ESRCH, ENOSYS, EACCES: true
    default: false
    }
  }

  /// Reads by words; returns the bytes read before the first bad word, or its error.
  private static func peek(
    _ tid: Int32, _ address: UInt64, _ buffer: UnsafeMutableRawBufferPointer
  ) -> Int {
    let size = UInt64(MemoryLayout<UInt>.size)
    var done = 0
    while done < buffer.count {
      let position = address + UInt64(done)
      let skipped = Int(position % size)
      var word: UInt = 0
      let result = CLinux_ptrace_peekdata(tid, position - UInt64(skipped), &word)
      guard result >= 0 else { return done > 0 ? done : Int(result) }
      let count = min(Int(size) - skipped, buffer.count - done)
      withUnsafeBytes(of: word) { bytes in
        UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + count])
          .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[skipped..<skipped + count]))
      }
      done += count
    }
    return done
  }

  /// Writes by words, keeping the bytes around; returns the bytes written, or the first error.
  private static func poke(_ tid: Int32, _ address: UInt64, _ bytes: UnsafeRawBufferPointer) -> Int
  {
    let size = UInt64(MemoryLayout<UInt>.size)
    var done = 0
    while done < bytes.count {
      let position = address + UInt64(done)
      let skipped = Int(position % size)
      let count = min(Int(size) - skipped, bytes.count - done)
      var word: UInt = 0
      var result: Int32 = 0
      if count < Int(size) {
        result = CLinux_ptrace_peekdata(tid, position - UInt64(skipped), &word)
      }
      withUnsafeMutableBytes(of: &word) { buffer in
        UnsafeMutableRawBufferPointer(rebasing: buffer[skipped..<skipped + count])
          .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[done..<done + count]))
      }
      if result >= 0 {
        result = CLinux_ptrace_pokedata(tid, position - UInt64(skipped), word)
      }
      guard result >= 0 else { return done > 0 ? done : Int(result) }
      done += count
    }
    return done
  }

  /// Takes a result out of a closure that can't throw with its type.
  private static func rethrowing<Value>(
    _ body: () -> Result<Value, Errno>
  ) throws(Errno) -> Value {
    try body().get()
  }
}
