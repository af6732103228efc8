#if canImport(Darwin)
  internal import Darwin
#elseif canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#endif

/// The time of day, as System V objects record it.
enum WallClock {
  /// Seconds since 1970.
  static var now: Int64 { Int64(time(nil)) }
}
