internal import CLinux
internal import Glibc
package import SystemPackage

/// A file descriptor that is closed when its owner goes away.
///
/// swift-system's `FileDescriptor` is a copyable number; this is the one place that closes it.
package struct OwnedDescriptor: ~Copyable, Sendable {
  /// The descriptor's number, valid as long as this value lives.
  package let rawValue: Int32

  /// Takes over a descriptor that the caller has opened and nobody else closes.
  ///
  /// A negative number stands for none: uses of it fail, and nothing is closed.
  package init(owning rawValue: Int32) {
    self.rawValue = rawValue
  }

  deinit {
    if rawValue >= 0 {
      close(rawValue)
    }
  }

  /// Gives the descriptor up without closing it; the caller closes it from now on.
  package consuming func release() -> Int32 {
    let number = rawValue
    discard self
    return number
  }

  /// The descriptor for a use that ends before this value does.
  package var borrowed: FileDescriptor {
    FileDescriptor(rawValue: rawValue)
  }

  /// Makes another descriptor of the same open file, close-on-exec.
  ///
  /// - Throws: `Errno.tooManyOpenFiles`. Source: fcntl(2), F_DUPFD_CLOEXEC.
  package func duplicate() throws(Errno) -> OwnedDescriptor {
    OwnedDescriptor(owning: try valueOrErrno(CLinux_duplicate(rawValue, 0)))
  }
}

/// The value of a `CLinux` call, whose failures are negated error numbers.
func valueOrErrno<Value: BinaryInteger>(_ result: Value) throws(Errno) -> Value {
  if result < 0 {
    throw Errno(rawValue: CInt(clamping: 0 - Int64(result)))
  }
  return result
}
