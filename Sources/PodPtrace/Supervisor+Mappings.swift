internal import CLinux
internal import Glibc
internal import PodCore
internal import PodLinux
internal import SystemPackage

/// How a stopped thread changes what it has mapped (``SegmentChange``).
///
/// The file that it maps comes to it as a message: by a socket that it makes for that, connected to one of the supervisor's.
///
/// Source: unix(7), "Autobind feature", SO_PEERCRED, SCM_RIGHTS.
extension Supervisor {
  /// Makes the change.
  func change(_ change: SegmentChange?, _ tracee: Tracee) -> CallResult {
    do throws(Errno) {
      switch change {
      case .map(let mapping)?: return try map(mapping, tracee)
      case .unmap(let address, let table)?:
        let identity = try SegmentFile.unmap(
          at: address, in: tracee.tid, table, host: StoppedCaller(tracee, self))
        return .success(identity)
      case nil: return .failure(.noFunction)
      }
    } catch {
      return .failure(error)
    }
  }

  private func map(_ mapping: SegmentMapping, _ tracee: Tracee) throws(Errno) -> CallResult {
    guard let file = mapping.memory as? SegmentFile else { throw .noMemory }
    let given = try file.descriptor(isWritable: mapping.isWritable)
    let descriptor: Int32
    do throws(Errno) {
      descriptor = try bring(given, tracee)
    } catch .tooManyOpenFiles {
      descriptor = try bring(given, beyondLimit: tracee)
    }
    let mapped = try tracee.perform(.mmap, mapping.arguments(descriptor: descriptor), self)
    close(descriptor, tracee)
    return mapping.result(of: mapped)
  }

  private func close(_ descriptor: Int32, _ tracee: Tracee) {
    _ = try? tracee.perform(.close, CallArguments(UInt64(descriptor)), self)
  }

  /// Natively the call needs no descriptor: where the process has none left, the limit is put up for so long.
  private func bring(
    _ given: borrowing OwnedDescriptor, beyondLimit tracee: Tracee
  ) throws(Errno) -> Int32 {
    let limit = ProcessDescriptors.limit(of: tracee.tid)
    let needed: UInt64 = 2
    guard limit < .max - needed,
      ProcessDescriptors.setLimit(of: tracee.tid, to: limit + needed)
    else { throw .noMemory }
    defer { _ = ProcessDescriptors.setLimit(of: tracee.tid, to: limit) }
    do throws(Errno) {
      return try bring(given, tracee)
    } catch {
      throw error == .tooManyOpenFiles ? .noMemory : error
    }
  }

  /// Puts a descriptor among a thread's.
  ///
  /// - Returns: Its number there.
  /// - Throws: `.tooManyOpenFiles` when it has no place for it; `.noMemory`.
  private func bring(
    _ given: borrowing OwnedDescriptor, _ tracee: Tracee
  ) throws(Errno) -> Int32 {
    for _ in 0..<Self.attempts {
      if let descriptor = try bringOnce(given, tracee) { return descriptor }
    }
    throw .noMemory
  }

  /// - Returns: nil where so many others have connected that there was no room.
  private func bringOnce(
    _ given: borrowing OwnedDescriptor, _ tracee: Tracee
  ) throws(Errno) -> Int32? {
    var message = SegmentMessage()
    let listener = OwnedDescriptor(owning: CLinux_listen(Self.connections, &message.address))
    guard listener.rawValue >= 0 else { throw .noMemory }
    let host = StoppedCaller(tracee, self)
    let memory = try withBytes(of: &message) { bytes throws(Errno) in try host.scratch(bytes) }
    message.point(to: memory)
    try withBytes(of: &message) { bytes throws(Errno) in try host.write(bytes, to: memory) }
    let made = try tracee.perform(.socket, SegmentMessage.socket, self)
    guard case .success(let socket) = made else {
      throw made == .failure(.tooManyOpenFiles) ? .tooManyOpenFiles : .noMemory
    }
    let end = Int32(truncatingIfNeeded: socket)
    defer { close(end, tracee) }
    let connected = try tracee.perform(
      .connect, SegmentMessage.connection(of: end, at: memory), self)
    if connected == .failure(.resourceTemporarilyUnavailable) { return nil }
    guard connected == .success(0) else { throw .noMemory }
    let own = try accept(from: tracee, listener)
    var byte: UInt8 = 0
    var number = given.rawValue
    // It is full of nothing: it takes the message at once.
    guard CLinux_send(own.rawValue, &byte, 1, &number, 1, Int32(MSG_DONTWAIT)) == 1 else {
      throw .noMemory
    }
    let received = try tracee.perform(
      .recvmsg, SegmentMessage.receive(at: memory, from: end), self)
    var answer = SegmentMessage()
    try read(&answer, from: memory, host)
    // The kernel cuts off what has no place.
    guard received == .success(1), answer.hasDescriptor else { throw .tooManyOpenFiles }
    return answer.descriptor
  }

  /// Anybody may connect while our socket is there, and the kernel says who did.
  private func accept(
    from tracee: Tracee, _ listener: borrowing OwnedDescriptor
  ) throws(Errno) -> OwnedDescriptor {
    for _ in 0...Self.connections {
      var process: Int32 = 0
      let own = OwnedDescriptor(owning: CLinux_accept(listener.rawValue, &process))
      guard own.rawValue >= 0 else { break }
      if process == tracee.process.tgid { return own }
    }
    throw .noMemory
  }

  /// More than one comes only from those who want to be in the way; in the time that there is, they make fewer.
  private static let connections: Int32 = 4096
  private static let attempts = 4

  private func withBytes(
    of message: inout SegmentMessage,
    _ body: (UnsafeRawBufferPointer) throws(Errno) -> RemoteAddress
  ) throws(Errno) -> RemoteAddress {
    let result = withUnsafeBytes(of: &message) { bytes in
      Result { () throws(Errno) in try body(bytes) }
    }
    return try result.get()
  }

  private func withBytes(
    of message: inout SegmentMessage, _ body: (UnsafeRawBufferPointer) throws(Errno) -> Void
  ) throws(Errno) {
    let result = withUnsafeBytes(of: &message) { bytes in
      Result { () throws(Errno) in try body(bytes) }
    }
    try result.get()
  }

  private func read(
    _ message: inout SegmentMessage, from memory: RemoteAddress, _ host: StoppedCaller
  ) throws(Errno) {
    let result = withUnsafeMutableBytes(of: &message) { bytes in
      Result { () throws(Errno) in try host.read(memory, into: bytes) }
    }
    try result.get()
  }
}

/// What lies in the thread's memory while a descriptor comes to it, all of it as the kernel of a 64-bit machine has it.
///
/// Source: recvmsg(2), cmsg(3).
private struct SegmentMessage {
  /// Of the supervisor's socket, with the family.
  var address: UInt64 = 0
  // struct msghdr
  var name: UInt64 = 0
  var nameLength: UInt64 = 0
  var pieces: UInt64 = 0
  var pieceCount: UInt64 = 1
  var control: UInt64 = 0
  var controlLength: UInt64 = 24
  var flags: UInt64 = 0
  // struct iovec
  var piece: UInt64 = 0
  var pieceSize: UInt64 = 1
  // struct cmsghdr with one descriptor
  var headerLength: UInt64 = 0
  var level: Int32 = 0
  var type: Int32 = 0
  var descriptor: Int32 = -1
  var rest: Int32 = 0
  /// What the message says.
  var byte: UInt64 = 0

  mutating func point(to memory: RemoteAddress) {
    let offset = { (path: PartialKeyPath<SegmentMessage>) in
      memory.rawValue + UInt64(MemoryLayout<SegmentMessage>.offset(of: path) ?? 0)
    }
    pieces = offset(\.piece)
    control = offset(\.headerLength)
    piece = offset(\.byte)
  }

  /// Whether a descriptor came.
  var hasDescriptor: Bool {
    let rights: Int32 = 1
    return headerLength == 20 && level == SOL_SOCKET && type == rights && descriptor >= 0
  }

  private static let closeOnExec: UInt64 = 0o2000000

  static var socket: CallArguments {
    let (unix, packets, doesNotWait): (UInt64, UInt64, UInt64) = (1, 5, 0o4000)
    return CallArguments(unix, packets | closeOnExec | doesNotWait)
  }

  static func connection(of socket: Int32, at memory: RemoteAddress) -> CallArguments {
    let address = MemoryLayout<SegmentMessage>.offset(of: \.address) ?? 0
    return CallArguments(
      UInt64(socket), memory.advanced(by: address).rawValue,
      UInt64(MemoryLayout<UInt64>.size))
  }

  static func receive(at memory: RemoteAddress, from socket: Int32) -> CallArguments {
    let (doesNotWait, closesOnExec): (UInt64, UInt64) = (0x40, 0x4000_0000)
    let header = MemoryLayout<SegmentMessage>.offset(of: \.name) ?? 0
    return CallArguments(
      UInt64(socket), memory.advanced(by: header).rawValue, doesNotWait | closesOnExec)
  }
}
