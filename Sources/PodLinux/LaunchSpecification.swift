internal import CLinux
internal import CPodVDSO
package import SystemPackage

/// What a program started by the pod's init is given: everything between fork and execve.
///
/// A plain value; ``encoded()`` turns it into the flat blob that init reads (`pod_launch.h`). Strings
/// are bytes without a NUL, as the kernel takes them.
package struct LaunchSpecification: Sendable, Equatable {
  /// The program's candidates, already made from `PATH`, tried in order as execvp(3) does.
  package var paths: [FilePath]
  /// The argument vector, with the program's own name first.
  package var arguments: [[UInt8]]
  /// The environment, as `NAME=VALUE`.
  package var environment: [[UInt8]]
  /// The working directory; nil leaves init's, which is the host's.
  package var workingDirectory: FilePath?
  /// Session, terminal and privileges.
  package var flags: Flags
  /// The umask; nil leaves the host's.
  package var fileModeCreationMask: UInt32?
  /// Real, effective and saved user id; nil leaves them.
  package var userID: UInt32?
  /// Real, effective and saved group id; nil leaves them.
  package var groupID: UInt32?
  /// The supplementary groups; nil leaves them, an empty list drops all.
  package var supplementaryGroups: [UInt32]?
  /// Capabilities (a bit per number) that the program may keep, in every set; nil leaves them.
  package var capabilities: UInt64?
  /// A seccomp program (`struct sock_filter`), installed last before execve; empty: none.
  package var filter: [UInt8]

  /// What happens to the session, the terminal and the privileges.
  package struct Flags: OptionSet, Sendable, Hashable {
    /// The bits of `pod_launch.h`.
    package let rawValue: UInt32
    /// Takes bits of `pod_launch.h`.
    package init(rawValue: UInt32) {
      self.rawValue = rawValue
    }
    /// The program leads a session of its own. Source: setsid(2).
    package static let newSession = Flags(rawValue: UInt32(POD_LAUNCH_NEW_SESSION))
    /// Descriptor 0 becomes the controlling terminal of the session. Source: ioctl_tty(2).
    package static let controllingTerminal =
      Flags(rawValue: UInt32(POD_LAUNCH_CONTROLLING_TERMINAL))
    /// The program leads a process group of its own. Source: setpgid(2).
    package static let newProcessGroup = Flags(rawValue: UInt32(POD_LAUNCH_NEW_GROUP))
    /// Nothing that the program executes gains privileges. Source: PR_SET_NO_NEW_PRIVS(2const).
    package static let noNewPrivileges = Flags(rawValue: UInt32(POD_LAUNCH_NO_NEW_PRIVILEGES))
  }

  /// A program with its arguments, and all else left as it is.
  package init(
    paths: [FilePath],
    arguments: [[UInt8]],
    environment: [[UInt8]] = [],
    flags: Flags = []
  ) {
    self.paths = paths
    self.arguments = arguments
    self.environment = environment
    self.flags = flags
    self.filter = []
  }

  /// The blob that init reads, for the given descriptor numbers.
  ///
  /// - Parameter targets: The number in the program of each descriptor that goes along, in order.
  /// - Throws: `Errno.invalidArgument` when a string contains a NUL, a number is negative or twice
  ///   there, or the filter isn't a multiple of 8 bytes; `.tooManyOpenFiles` for more descriptors than a
  ///   message carries; `.argListTooLong` for a filter that is too long.
  package func encoded(targets: [Int32]) throws(Errno) -> [UInt8] {
    guard targets.allSatisfy({ $0 >= 0 }), Set(targets).count == targets.count,
      filter.count % 8 == 0
    else { throw .invalidArgument }
    guard targets.count <= Int(POD_LAUNCH_MAXIMUM_DESCRIPTORS) else { throw .tooManyOpenFiles }
    guard filter.count / 8 <= Int(UInt16.max) else { throw .argListTooLong }

    var blob = Blob(headerSize: MemoryLayout<pod_launch>.size)
    var header = pod_launch()
    header.magic = UInt32(POD_LAUNCH_MAGIC)
    header.flags = flags.rawValue
    header.paths = try blob.append(strings: paths.map(\.bytes))
    header.arguments = try blob.append(strings: arguments)
    header.environment = try blob.append(strings: environment)
    header.targets = blob.append(numbers: targets.map { UInt32(bitPattern: $0) })
    if let supplementaryGroups {
      header.flags |= UInt32(POD_LAUNCH_SET_GROUPS)
      header.groups = blob.append(numbers: supplementaryGroups)
    }
    header.filter = blob.append(bytes: filter, elementSize: 8)
    if let workingDirectory {
      header.directory = try blob.append(string: workingDirectory.bytes)
    }
    if let capabilities {
      header.flags |= UInt32(POD_LAUNCH_LIMIT_CAPABILITIES)
      header.capabilities = UInt(capabilities)
    }
    header.mask = fileModeCreationMask ?? POD_LAUNCH_LEAVE
    header.user = userID ?? POD_LAUNCH_LEAVE
    header.group = groupID ?? POD_LAUNCH_LEAVE
    return blob.finish(&header)
  }

  /// The blob in a memfd, which is what init maps.
  ///
  /// - Throws: what ``encoded(targets:)`` does; errors of memfd_create(2) and write(2).
  package func written(targets: [Int32]) throws(Errno) -> OwnedDescriptor {
    try fileInMemory("pod-launch", try encoded(targets: targets))
  }
}

/// A memfd with these bytes.
///
/// - Throws: errors of memfd_create(2) and write(2).
func fileInMemory(_ name: String, _ bytes: [UInt8]) throws(Errno) -> OwnedDescriptor {
  let file = OwnedDescriptor(
    owning: try valueOrErrno(CLinux_memfd_create(name, UInt32(CLinux_MFD_NOEXEC_SEAL))))
  var done = 0
  while done < bytes.count {
    let result = bytes.withUnsafeBytes { buffer in
      CLinux_pwrite(
        file.rawValue, buffer.baseAddress?.advanced(by: done), buffer.count - done, UInt64(done))
    }
    done += try valueOrErrno(result)
  }
  return file
}

extension FilePath {
  /// The path's bytes, without the NUL.
  fileprivate var bytes: [UInt8] {
    withPlatformString { pointer in
      var result: [UInt8] = []
      var index = 0
      while pointer[index] != 0 {
        result.append(UInt8(bitPattern: pointer[index]))
        index += 1
      }
      return result
    }
  }
}

/// The blob while it grows: the header's room first, then the lists, each 8-aligned.
private struct Blob {
  private var bytes: [UInt8]

  init(headerSize: Int) {
    bytes = [UInt8](repeating: 0, count: headerSize)
  }

  private mutating func align() {
    while bytes.count % 8 != 0 {
      bytes.append(0)
    }
  }

  mutating func append(string: [UInt8]) throws(Errno) -> UInt {
    guard !string.contains(0) else { throw .invalidArgument }
    let offset = UInt(bytes.count)
    bytes.append(contentsOf: string)
    bytes.append(0)
    return offset
  }

  /// Appends the strings and behind them the list of their offsets with its closing zero.
  mutating func append(strings: [[UInt8]]) throws(Errno) -> pod_launch_list {
    var offsets: [UInt] = []
    offsets.reserveCapacity(strings.count + 1)
    for string in strings {
      offsets.append(try append(string: string))
    }
    offsets.append(0)
    align()
    let list = pod_launch_list(offset: UInt(bytes.count), count: UInt(strings.count))
    offsets.withUnsafeBytes { bytes.append(contentsOf: $0) }
    return list
  }

  mutating func append(numbers: [UInt32]) -> pod_launch_list {
    numbers.withUnsafeBytes { append(bytes: Array($0), elementSize: 4) }
  }

  mutating func append(bytes addition: [UInt8], elementSize: Int) -> pod_launch_list {
    align()
    let list = pod_launch_list(
      offset: UInt(bytes.count), count: UInt(addition.count / elementSize))
    bytes.append(contentsOf: addition)
    return list
  }

  /// Closes the blob with the zero byte that ends every string in it, and writes the header.
  mutating func finish(_ header: inout pod_launch) -> [UInt8] {
    bytes.append(0)
    header.size = UInt(bytes.count)
    withUnsafeBytes(of: header) { bytes.replaceSubrange(0..<$0.count, with: $0) }
    return bytes
  }
}
