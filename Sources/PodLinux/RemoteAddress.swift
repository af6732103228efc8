package import PodCore

extension RemoteAddress {
  /// The null pointer.
  package static var null: RemoteAddress { RemoteAddress(rawValue: 0) }

  /// The address so many bytes further; it wraps, since programs may pass any number.
  package static func + (address: RemoteAddress, bytes: Int) -> RemoteAddress {
    address.advanced(by: bytes)
  }

  /// The number of bytes from the address to the end of its smallest page (4 KiB).
  package var bytesToPageEnd: Int { 4096 - Int(rawValue & 4095) }
}
