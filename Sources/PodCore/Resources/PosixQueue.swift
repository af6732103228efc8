internal import SystemPackage

/// POSIX message queues: their names are the pod's own. The kernel's begin with what nobody outside the pod guesses.
///
/// Source: mq_overview(7); COVERAGE I19.
public enum PosixQueue {
  /// The rows of POSIX message queues, where they are those of the namespace that the pod is in. In one of its own their
  /// names need no row. Messages carry no names, and who sent one is told by a
  /// signal, where it is translated: ``NamelessCalls``.
  public static let boundary: [BoundaryRow] = [
    .wrapped(.mq_open, by: NameQueue(), performed: .inCaller),  // I19, P57, R1
    .wrapped(.mq_unlink, by: NameQueue(), performed: .inCaller),  // I19
  ]

  /// NAME_MAX.
  static let longestName = 255

  /// The kernel's name of a pod's queue. A name that gets too long is shortened, and ends in what tells it apart.
  ///
  /// - Parameters:
  ///   - name: 1…255 bytes.
  ///   - prefix: What the names of the pod's queues begin with, at most 64 bytes.
  public static func kernelName(of name: [UInt8], prefix: [UInt8]) -> [UInt8] {
    if prefix.count + name.count <= longestName { return prefix + name }
    // FNV-1a of 128 bits: who finds two names with one sum has them in a pod of its own.
    var sum: UInt128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d
    for byte in name { sum = (sum ^ UInt128(byte)) &* 0x0000_0000_0100_0000_0000_0000_0000_013b }
    let end = Array("~\(String(sum, radix: 36))".utf8)
    return prefix + name.prefix(longestName - prefix.count - end.count) + end
  }
}

/// Opens, makes or removes the pod's queue of a name.
///
/// Source: mq_open(2), mq_unlink(2); ipc/mqueue.c, `do_mq_open`.
struct NameQueue: Wrapper {
  private static let create: UInt64 = 0o100
  /// `struct mq_attr`.
  private static let attributesSize = 64

  func preamble(_ transaction: inout Transaction) throws(Errno) {
    guard let prefix = transaction.names.paths.places?.queuePrefix else { return }
    if transaction.call == .mq_open {
      // The attributes are the first that the kernel looks at.
      let attributes = RemoteAddress(rawValue: transaction.arguments[3])
      if !attributes.isNull { _ = try transaction.readBytes(Self.attributesSize, at: attributes) }
    }
    transaction.queue = try name(in: transaction)
    try transaction.passString(
      PosixQueue.kernelName(of: transaction.queue, prefix: prefix), inArgument: 0)
    if transaction.call == .mq_open, transaction.arguments[1] & Self.create != 0 {
      try transaction.names.paths.willMake(queue: transaction.queue)
      transaction.makesQueue = true
    }
  }

  func epilogue(_ transaction: inout Transaction) throws(Errno) {
    guard case .success? = transaction.result else { return }
    if transaction.makesQueue {
      transaction.names.paths.hasMade(queue: transaction.queue, true)
      transaction.makesQueue = false
    } else if transaction.call == .mq_unlink, !transaction.queue.isEmpty {
      transaction.names.paths.removed(queue: transaction.queue)
    }
  }

  /// The name that a program has given, with what the kernel says of others.
  private func name(in transaction: borrowing Transaction) throws(Errno) -> [UInt8] {
    let name = try transaction.readPath(
      at: RemoteAddress(rawValue: transaction.arguments[0]))
    if name.isEmpty { throw .noSuchFileOrDirectory }
    if name.contains(UInt8(ascii: "/")) || name == [UInt8(ascii: ".")]
      || name == Array("..".utf8)
    {
      throw .permissionDenied
    }
    if name.count > PosixQueue.longestName { throw .fileNameTooLong }
    return name
  }
}
