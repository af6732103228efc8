internal import CLinux
internal import Glibc
internal import PodCore
internal import SystemPackage

/// What a process has mapped.
///
/// Source: proc_pid_maps(5), PROCMAP_QUERY.
enum MemoryMap {
  /// One mapping.
  struct Mapping {
    var start: UInt64
    var end: UInt64
    /// Of the file, in bytes.
    var offset: UInt64
    /// 0 where it is of no file.
    var inode: UInt64
    var identity: UInt64
  }

  /// What tells a file from all others, devices included.
  static func identity(inode: UInt64, minor: UInt32, major: UInt32) -> UInt64 {
    inode ^ UInt64(minor) << 44 ^ UInt64(major) << 56
  }

  /// The first mapping that ends behind an address.
  static func next(from address: UInt64, in maps: FileDescriptor) -> Mapping? {
    var mapping = CLinux_mapping()
    let result = CLinux_query_next_mapping(maps.rawValue, address, &mapping)
    if result == 0 {
      return Mapping(
        start: mapping.start, end: mapping.end, offset: mapping.offset, inode: mapping.inode,
        identity: identity(
          inode: mapping.inode, minor: mapping.device_minor, major: mapping.device_major))
    }
    guard result == -ENOTTY else { return nil }
    var found: Mapping?
    // Older kernels can't be asked for one mapping.
    _ = try? maps.seek(offset: 0, from: .start)
    forEach(in: maps) { mapping in
      if mapping.end > address { found = mapping }
      return found == nil
    }
    return found
  }

  /// In how many mappings a process has a file; 0 where nobody may look.
  static func count(of identity: UInt64, in process: Int32) -> UInt64 {
    guard let file = try? FileDescriptor.open("/proc/\(process)/maps", .readOnly) else {
      return 0
    }
    defer { try? file.close() }
    var count: UInt64 = 0
    forEach(in: file) { mapping in
      if mapping.inode != 0, mapping.identity == identity { count += 1 }
      return true
    }
    return count
  }

  /// How many mappings of which files a process has; none where nobody may look.
  static func counts(in process: Int32) -> [UInt64: UInt64] {
    guard let file = try? FileDescriptor.open("/proc/\(process)/maps", .readOnly) else {
      return [:]
    }
    defer { try? file.close() }
    var counts: [UInt64: UInt64] = [:]
    forEach(in: file) { mapping in
      if mapping.inode != 0 { counts[mapping.identity, default: 0] += 1 }
      return true
    }
    return counts
  }

  /// Whether two processes have one memory.
  static func isShared(_ process: Int32, _ other: Int32) -> Bool {
    CLinux_share_memory(process, other) != 0
  }

  /// Reads the text until `body` returns false.
  private static func forEach(in file: FileDescriptor, _ body: (Mapping) -> Bool) {
    withUnsafeTemporaryAllocation(byteCount: 16384, alignment: 1) { buffer in
      var filled = 0
      while let count = try? file.read(
        into: UnsafeMutableRawBufferPointer(rebasing: buffer[filled...])),
        count > 0
      {
        filled += count
        var start = 0
        while let end = buffer[start..<filled].firstIndex(of: UInt8(ascii: "\n")) {
          if let mapping = Mapping(line: buffer[start..<end]), !body(mapping) { return }
          start = end + 1
        }
        // Names can be longer than the buffer, and don't matter.
        if start == 0, filled == buffer.count { start = filled }
        let rest = UnsafeRawBufferPointer(rebasing: buffer[start..<filled])
        if let base = buffer.baseAddress, let from = rest.baseAddress {
          memmove(base, from, rest.count)
        }
        filled -= start
      }
    }
  }
}

extension MemoryMap.Mapping {
  /// "55d0c8a00000-55d0c8a21000 r-xp 00001000 08:01 123 /bin/x"
  fileprivate init?(line: Slice<UnsafeMutableRawBufferPointer>) {
    var rest = line
    func number(_ radix: UInt64, _ ends: UInt8) -> UInt64? {
      var value: UInt64 = 0
      while let byte = rest.popFirst(), byte != ends {
        let digit: UInt8
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
        default: return nil
        }
        value = value &* radix &+ UInt64(digit)
      }
      return value
    }
    let space = UInt8(ascii: " ")
    guard let start = number(16, UInt8(ascii: "-")), let end = number(16, space) else { return nil }
    rest = rest.dropFirst(5)
    guard let offset = number(16, space), let major = number(16, UInt8(ascii: ":")),
      let minor = number(16, space), let inode = number(10, space)
    else { return nil }
    self.init(
      start: start, end: end, offset: offset, inode: inode,
      identity: MemoryMap.identity(
        inode: inode, minor: UInt32(truncatingIfNeeded: minor),
        major: UInt32(truncatingIfNeeded: major)))
  }
}
