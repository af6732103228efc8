internal import Glibc
internal import SystemPackage

/// The host program, as the kernel shows it to itself.
package enum OwnProcess {
  /// Why /proc doesn't show this process by the number that it knows of itself, and what to do; nil when it does.
  package static var obstacle: String? {
    let number = getpid()
    if shownNumber == number { return nil }
    // The last one is that of the innermost pid namespace: what getpid(2) says outside pods.
    let numbers = line("NSpid:", of: "/proc/self/status")?.split(separator: "\t")
    guard let last = numbers?.last.flatMap({ Int32($0) }) else {
      return "/proc isn't mounted: mount it (mount -t proc proc /proc)"
    }
    return last == number
      ? "/proc is that of another pid namespace: mount this one's (mount -t proc proc /proc)"
      : "this program is in a pod itself, and a pod in a pod can't be made: run it outside"
  }

  private static var shownNumber: Int32? {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 16) { buffer in
      guard let start = buffer.baseAddress else { return nil }
      let count = readlink("/proc/self", start, buffer.count)
      guard count > 0 else { return nil }
      return Int32(String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self))
    }
  }

  /// Whether it has a tracer.
  package static var isTraced: Bool {
    line("TracerPid:", of: "/proc/self/status").map { !$0.hasSuffix("\t0") } ?? false
  }

  /// Whether it has a capability in effect.
  ///
  /// - Parameter number: Of capabilities(7), 0…63.
  package static func hasCapability(_ number: Int) -> Bool {
    let word = line("CapEff:", of: "/proc/self/status")?.split(separator: "\t").last
    let set = word.flatMap { UInt64($0, radix: 16) } ?? 0
    return set >> UInt64(number) & 1 != 0
  }

  /// A value of the kernel's, as `/proc/sys` shows it; nil where it isn't there, or no number.
  package static func systemValue(_ path: String) -> Int? {
    Int(text(of: "/proc/sys/" + path).filter { !$0.isWhitespace })
  }

  private static func line(_ label: String, of path: String) -> Substring? {
    text(of: path).split(separator: "\n").first { $0.hasPrefix(label) }
  }

  /// The beginning of a file: of those in /proc that are asked for here, all.
  private static func text(of path: String) -> String {
    guard
      let file = try? FileDescriptor.open(FilePath(path), .readOnly, options: .closeOnExec)
    else { return "" }
    defer { try? file.close() }
    return withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 1) { buffer in
      guard let count = try? file.read(into: buffer) else { return "" }
      return String(decoding: buffer[..<count], as: UTF8.self)
    }
  }
}
