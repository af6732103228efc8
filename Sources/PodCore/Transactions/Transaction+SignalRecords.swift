import SystemPackage

/// A record of a signal as a signal descriptor delivers it.
///
/// Source: signalfd(2), `struct signalfd_siginfo`.
public enum SignalRecord {
  /// The size of a record.
  public static let size = 128
  /// Where `ssi_code` is, in bytes; `ssi_signo` comes first.
  public static let codeOffset = 8
  /// Where `ssi_pid` is, in bytes.
  public static let senderOffset = 12
}

/// Memory in pieces, as a call with vectors fills it.
private struct Pieces {
  private var pieces: [(address: RemoteAddress, count: Int)] = []

  mutating func add(_ address: RemoteAddress, _ count: Int) { pieces.append((address, count)) }

  var count: Int { pieces.reduce(0) { $0 + $1.count } }

  /// Where a word is; nil when it isn't in one piece.
  func address(ofWordAt offset: Int) -> RemoteAddress? {
    var start = 0
    for piece in pieces {
      if offset < start + piece.count {
        return offset + 4 <= start + piece.count
          ? piece.address.advanced(by: offset - start) : nil
      }
      start += piece.count
    }
    return nil
  }

  /// Where a word's bytes are, when it isn't in one piece.
  func addresses(ofBytesAt offset: Int) -> [RemoteAddress] {
    (offset..<offset + 4).compactMap { offset in
      var start = 0
      for piece in pieces {
        if offset < start + piece.count { return piece.address.advanced(by: offset - start) }
        start += piece.count
      }
      return nil
    }
  }
}

extension Transaction {
  /// More records than this in one read, 128 KiB, are not signals but what a program put there instead: whoever translates
  /// them has other work to do.
  private static let mostSignalRecords = 1024

  /// Shows who sent the signals that a read has put into the program's memory.
  ///
  /// What another thread does to that memory meanwhile is its program's own affair; the signals are taken, so the result
  /// stays.
  ///
  /// - Parameters:
  ///   - index: The argument that points to the buffer, or to the vector of buffers, which is followed by its length.
  ///   - count: How many bytes were read.
  mutating func translateSignals(
    of index: Int, inVectors: Bool, count: Int, _ shape: NameShape
  ) {
    guard count >= SignalRecord.size else { return }
    do throws(Errno) {
      var pieces = Pieces()
      if inVectors {
        let vectors = RemoteAddress(rawValue: arguments[index])
        let length = min(Int(UInt32(truncatingIfNeeded: arguments[index + 1])), 1024)
        for vector in 0..<length where pieces.count < count {
          let vector = vectors.advanced(by: 16 * vector)
          let base = RemoteAddress(rawValue: try read(UInt64.self, at: vector))
          let size = try read(UInt64.self, at: vector.advanced(by: 8))
          pieces.add(base, Int(min(size, UInt64(count - pieces.count))))
        }
      } else {
        pieces.add(RemoteAddress(rawValue: arguments[index]), count)
      }
      for record in 0..<min(count / SignalRecord.size, Self.mostSignalRecords) {
        try translateSignal(at: record * SignalRecord.size, of: pieces, shape)
      }
    } catch {
      return
    }
  }

  private mutating func translateSignal(
    at start: Int, of pieces: Pieces, _ shape: NameShape
  ) throws(Errno) {
    let signal = try word(start, of: pieces)
    let code = try word(start + SignalRecord.codeOffset, of: pieces)
    guard SignalInfo.carriesProcess(signal: signal, code: code) else { return }
    let physical = try word(start + SignalRecord.senderOffset, of: pieces)
    let virtual = step(.virtualize, on: physical) {
      SignalInfo.virtualSender(physical, in: $0.names)
    }
    guard let virtual, virtual != physical else { return }
    let offset = start + SignalRecord.senderOffset
    if let address = pieces.address(ofWordAt: offset) { return try write(virtual, to: address) }
    for (byte, address) in pieces.addresses(ofBytesAt: offset).enumerated() {
      try write(UInt8(truncatingIfNeeded: virtual >> (8 * byte)), to: address)
    }
  }

  private func word(_ offset: Int, of pieces: Pieces) throws(Errno) -> Int32 {
    if let address = pieces.address(ofWordAt: offset) { return try read(Int32.self, at: address) }
    var word: Int32 = 0
    for (byte, address) in pieces.addresses(ofBytesAt: offset).enumerated() {
      word |= Int32(try read(UInt8.self, at: address)) << (8 * byte)
    }
    return word
  }
}
