internal import CLinux
internal import Glibc
package import PodCore
package import SystemPackage

extension SegmentMapping {
  /// What mmap(2) gets.
  ///
  /// - Parameter descriptor: Of the file in the process that maps it; closed afterwards.
  package func arguments(descriptor: Int32) -> CallArguments {
    let fixedNoReplace: Int32 = 0x10_0000
    var protection = PROT_READ
    if isWritable { protection |= PROT_WRITE }
    if isExecutable { protection |= PROT_EXEC }
    var flags = MAP_SHARED
    if address != nil { flags |= replaces ? MAP_FIXED : fixedNoReplace }
    return CallArguments(
      address?.rawValue ?? 0, size, UInt64(protection), UInt64(flags), UInt64(descriptor), 0)
  }

  /// What `shmat` answers when mmap(2) has answered so.
  ///
  /// Source: ipc/shm.c, `do_shmat`.
  package func result(of mapped: CallResult) -> CallResult {
    mapped == .failure(.fileExists) ? .failure(.invalidArgument) : mapped
  }
}

extension SegmentFile {
  /// Unmaps what `shmdt` does.
  ///
  /// - Parameters:
  ///   - process: A thread of the process, which stands still.
  ///   - host: What has it make calls.
  /// - Returns: The segment's ``SegmentMemory/identity``.
  /// - Throws: `.invalidArgument` when nothing of a segment is there; `.noMemory` when nobody can tell.
  package static func unmap(
    at address: RemoteAddress, in process: Int32, _ table: SegmentTable, host: any MappingHost
  ) throws(Errno) -> Int {
    let opened = CLinux_open("/proc/\(process)/maps", O_RDONLY, 0)
    let maps = OwnedDescriptor(
      owning: opened >= 0 ? opened : try MemoryMap.read(by: host).release())
    guard let found = pieces(at: address, in: maps.borrowed, table) else { throw .invalidArgument }
    for piece in found.pieces {
      _ = try host.perform(.munmap, CallArguments(piece.lowerBound, UInt64(piece.count)))
    }
    return Int(truncatingIfNeeded: found.identity)
  }
}

/// A thread that stands still and makes calls for us that need its memory.
package protocol MappingHost {
  /// Has it make a call.
  func perform(_ call: Syscall, _ arguments: CallArguments) throws(Errno) -> CallResult
  /// Puts bytes where it can read and write them until its own call is over, at most 1024 in all.
  func scratch(_ bytes: UnsafeRawBufferPointer) throws(Errno) -> RemoteAddress
  /// Reads its memory.
  func read(_ address: RemoteAddress, into buffer: UnsafeMutableRawBufferPointer) throws(Errno)
}

extension MemoryMap {
  /// What a thread's own look says that it has mapped: for processes of other users, which only CAP_SYS_PTRACE may look at.
  ///
  /// - Returns: A copy of `maps`.
  /// - Throws: `.noMemory` when it can't look either.
  fileprivate static func read(by host: any MappingHost) throws(Errno) -> OwnedDescriptor {
    let path = Array("/proc/thread-self/maps\0".utf8)
    var piece = [UInt8](repeating: 0, count: 768)
    let name = try path.withUnsafeBytes { bytes in
      Result { () throws(Errno) in try host.scratch(bytes) }
    }.get()
    let buffer = try piece.withUnsafeBytes { bytes in
      Result { () throws(Errno) in try host.scratch(bytes) }
    }.get()
    let relative = UInt64(bitPattern: Int64(AT_FDCWD))
    // Others may write another path there: none that it would wait at.
    let opened = try host.perform(
      .openat, CallArguments(relative, name.rawValue, UInt64(O_RDONLY | O_CLOEXEC | O_NONBLOCK)))
    guard case .success(let descriptor) = opened else { throw .noMemory }
    var text: [UInt8] = []
    let result = Result { () throws(Errno) in
      while text.count < largestText {
        let count = try host.perform(
          .read, CallArguments(UInt64(descriptor), buffer.rawValue, UInt64(piece.count))
        ).get()
        if count <= 0 { return }
        let read = piece.withUnsafeMutableBytes { bytes in
          let part = UnsafeMutableRawBufferPointer(rebasing: bytes[..<min(count, bytes.count)])
          return Result { () throws(Errno) in try host.read(buffer, into: part) }
        }
        try read.get()
        text += piece[..<min(count, piece.count)]
      }
      throw .noMemory
    }
    _ = try host.perform(.close, CallArguments(UInt64(descriptor)))
    try result.get()
    return try fileInMemory("maps", text)
  }

  /// In bytes: of some 65,530 mappings, which is what a process can have.
  private static let largestText = 16 << 20
}

extension AttachedThread {
  /// Has the thread map a segment, and close the file.
  ///
  /// - Returns: The address.
  /// - Throws: What `shmat` answers.
  package func map(_ mapping: SegmentMapping, descriptor: Int32) throws(Errno) -> Int {
    let mapped = try performAtOnce(.mmap, mapping.arguments(descriptor: descriptor))
    _ = try performAtOnce(.close, CallArguments(UInt64(descriptor)))
    return try mapping.result(of: mapped).get()
  }
}
