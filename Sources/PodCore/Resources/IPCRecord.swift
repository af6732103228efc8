public import SystemPackage

/// A record that a control call gives out, written field after field; what no field is written to is zero.
public struct IPCRecord: Sendable {
  /// The bytes.
  public private(set) var bytes: [UInt8]
  private var end = 0

  /// Makes an empty record.
  public init(size: Int) { bytes = [UInt8](repeating: 0, count: size) }

  /// Writes a number, as far as it fits.
  public mutating func add<Number: FixedWidthInteger & BitwiseCopyable>(_ number: Number) {
    withUnsafeBytes(of: number) { field in
      for byte in field where end < bytes.count {
        bytes[end] = byte
        end += 1
      }
    }
  }

  /// Leaves bytes zero.
  public mutating func skip(_ count: Int) { end += count }

  /// Writes `struct ipc64_perm`, 48 bytes.
  ///
  /// Source: include/uapi/asm-generic/ipcbuf.h.
  public mutating func add(_ permissions: IPCPermissions) {
    let begin = end
    add(permissions.key)
    add(permissions.user)
    add(permissions.group)
    add(permissions.creator)
    add(permissions.creatorGroup)
    add(permissions.mode)
    add(permissions.sequence)
    end = begin + Self.permissionsSize
  }

  static let permissionsSize = 48
}

extension [UInt8] {
  /// The 32 bits at an offset.
  func word(at offset: Int) -> UInt32 {
    withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: UInt32.self) }
  }
}

extension Transaction {
  /// Reads bytes of the caller's memory.
  ///
  /// - Precondition: The caller has bounded `count`, which is allocated here.
  /// - Throws: `.badAddress`.
  public func readBytes(_ count: Int, at address: RemoteAddress) throws(Errno) -> [UInt8] {
    if count == 0 { return [] }
    let host = host
    var failure: Errno?
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
      do throws(Errno) {
        try host.read(address, into: UnsafeMutableRawBufferPointer(buffer))
        initialized = count
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
    return bytes
  }

  /// Writes bytes to the caller's memory.
  ///
  /// - Throws: `.badAddress`.
  public func write(bytes: [UInt8], to address: RemoteAddress) throws(Errno) {
    let host = host
    let written = bytes.withUnsafeBytes { buffer -> Result<Void, Errno> in
      do throws(Errno) {
        return .success(try host.write(buffer, to: address))
      } catch {
        return .failure(error)
      }
    }
    try written.get()
  }
}
