internal import Glibc

/// A kernel's release, for the few behaviours that can't be tried out.
struct KernelRelease: Comparable {
  let major: Int
  let minor: Int

  init(_ major: Int, _ minor: Int) { (self.major, self.minor) = (major, minor) }

  /// Reads "6.18.44-fc" and the like; what isn't a number is 0.
  init(_ text: String) {
    let numbers = text.split(separator: ".", maxSplits: 2).map { part in
      Int(part.prefix { $0.isNumber }) ?? 0
    }
    self.init(numbers.first ?? 0, numbers.count > 1 ? numbers[1] : 0)
  }

  /// The running kernel's. Source: uname(2).
  static let current: KernelRelease = {
    var name = utsname()
    guard uname(&name) == 0 else { return KernelRelease(0, 0) }
    return withUnsafeBytes(of: name.release) { bytes in
      KernelRelease(String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self))
    }
  }()

  static func < (left: KernelRelease, right: KernelRelease) -> Bool {
    (left.major, left.minor) < (right.major, right.minor)
  }
}
