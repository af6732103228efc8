internal import Glibc
internal import SystemPackage

/// The host program, as the kernel shows it to itself.
package enum OwnProcess {
  /// Whether /proc shows this process by the number that it knows of itself.
  package static var isVisible: Bool {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 16) { buffer in
      guard let start = buffer.baseAddress else { return false }
      let count = readlink("/proc/self", start, buffer.count)
      return count > 0 && buffer[..<count].elementsEqual("\(getpid())".utf8.map { CChar($0) })
    }
  }

  /// What to do when it isn't.
  package static let invisible =
    "/proc isn't mounted, or it is that of another pid namespace: mount it (mount -t proc proc /proc)"

  /// Whether it has a tracer.
  package static var isTraced: Bool {
    text(of: "/proc/self/status").split(separator: "\n").contains {
      $0.hasPrefix("TracerPid:") && !$0.hasSuffix("\t0")
    }
  }

  /// Whether it has a capability in effect.
  ///
  /// - Parameter number: Of capabilities(7), 0…63.
  package static func hasCapability(_ number: Int) -> Bool {
    let line = text(of: "/proc/self/status").split(separator: "\n")
      .first { $0.hasPrefix("CapEff:") }
    let set = line?.split(separator: "\t").last.flatMap { UInt64($0, radix: 16) } ?? 0
    return set >> UInt64(number) & 1 != 0
  }

  /// A value of the kernel's, as `/proc/sys` shows it; nil where it isn't there, or no number.
  package static func systemValue(_ path: String) -> Int? {
    Int(text(of: "/proc/sys/" + path).filter { !$0.isWhitespace })
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
