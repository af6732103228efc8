import Glibc

/// How much of a fault test is run: the tests' own short form, or all of it under `make faults`.
enum Amount {
  /// Whether `SWIFT_PODS_FAULTS` asks for the long form.
  static let isLong = getenv("SWIFT_PODS_FAULTS") != nil

  /// The short or the long form of a number.
  static func of(_ short: Int, long: Int) -> Int { isLong ? long : short }

  /// A user of nobody's, so that what is left of a test is known by its owner. The user who runs the tests where that
  /// isn't root.
  static func user() -> UInt32 { getuid() == 0 ? UInt32.random(in: 61_000...64_000) : getuid() }
}
