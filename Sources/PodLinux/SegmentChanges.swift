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
  ///   - unmap: Makes munmap(2) there.
  /// - Returns: The segment's ``SegmentMemory/identity``.
  /// - Throws: `.invalidArgument` when nothing of a segment is there.
  package static func unmap(
    at address: RemoteAddress, in process: Int32, _ table: SegmentTable,
    _ unmap: (CallArguments) throws(Errno) -> CallResult
  ) throws(Errno) -> Int {
    guard let maps = try? FileDescriptor.open("/proc/\(process)/maps", .readOnly) else {
      throw .invalidArgument
    }
    defer { try? maps.close() }
    guard let found = pieces(at: address, in: maps, table) else { throw .invalidArgument }
    for piece in found.pieces {
      _ = try unmap(CallArguments(piece.lowerBound, UInt64(piece.count)))
    }
    return Int(truncatingIfNeeded: found.identity)
  }
}

extension AttachedThread {
  /// Has the thread map a segment, and close the file.
  ///
  /// - Returns: The address.
  /// - Throws: What `shmat` answers.
  package func map(_ mapping: SegmentMapping, descriptor: Int32) throws(Errno) -> Int {
    let mapped = try perform(.mmap, mapping.arguments(descriptor: descriptor))
    _ = try perform(.close, CallArguments(UInt64(descriptor)))
    return try mapping.result(of: mapped).get()
  }

  /// Has the thread unmap what `shmdt` does.
  package func unmapSegment(
    at address: RemoteAddress, _ table: SegmentTable
  ) throws(Errno) -> Int {
    try SegmentFile.unmap(at: address, in: tid, table) { arguments throws(Errno) in
      try perform(.munmap, arguments)
    }
  }
}
