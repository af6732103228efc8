/// Capabilities that programs in a pod may have, each a part of what root may do.
///
/// A set is a limit, never a gift: a program has of these what the host program has. A plain user's programs have none.
///
/// Names are those of capabilities(7), in small letters and without `CAP_`: `net_bind_service`. They are what
/// ``description`` prints and what is encoded. Source: capabilities(7); include/uapi/linux/capability.h.
public struct CapabilitySet: OptionSet, Sendable, Hashable, Codable, CustomStringConvertible {
  /// A bit for each capability, by its number in the kernel's interface.
  public let rawValue: UInt64

  /// Takes bits, by the numbers of the kernel's interface.
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// The capability with a number in the kernel's interface.
  ///
  /// - Parameter number: 0…63; no kernel knows one above 40 today.
  public init(number: Int) { self.init(rawValue: 1 << UInt64(number)) }

  /// All, also those that a newer kernel has: nothing is taken away.
  public static let all = CapabilitySet(rawValue: .max)

  // MARK: Kept by default

  /// `CAP_CHOWN`: change owners of files.
  public static let chown = CapabilitySet(number: 0)
  /// `CAP_DAC_OVERRIDE`: ignore permissions of files.
  public static let dacOverride = CapabilitySet(number: 1)
  /// `CAP_FOWNER`: do what only a file's owner may.
  public static let fowner = CapabilitySet(number: 3)
  /// `CAP_FSETID`: keep set-id bits of files that are changed.
  public static let fsetid = CapabilitySet(number: 4)
  /// `CAP_KILL`: signal processes of other users: those in the pod.
  public static let kill = CapabilitySet(number: 5)
  /// `CAP_SETGID`: change groups.
  public static let setgid = CapabilitySet(number: 6)
  /// `CAP_SETUID`: change users.
  public static let setuid = CapabilitySet(number: 7)
  /// `CAP_SETPCAP`: give up capabilities for good.
  public static let setpcap = CapabilitySet(number: 8)
  /// `CAP_NET_BIND_SERVICE`: use ports below 1,024.
  public static let netBindService = CapabilitySet(number: 10)
  /// `CAP_NET_BROADCAST`: nothing, as yet.
  public static let netBroadcast = CapabilitySet(number: 11)
  /// `CAP_NET_RAW`: raw sockets, as ping has them.
  public static let netRaw = CapabilitySet(number: 13)
  /// `CAP_IPC_LOCK`: lock memory.
  public static let ipcLock = CapabilitySet(number: 14)
  /// `CAP_IPC_OWNER`: ignore permissions of System V objects.
  public static let ipcOwner = CapabilitySet(number: 15)
  /// `CAP_SYS_CHROOT`: chroot, as servers do with themselves.
  public static let sysChroot = CapabilitySet(number: 18)
  /// `CAP_SYS_NICE`: raise priorities, set affinities and scheduling: of processes in the pod.
  public static let sysNice = CapabilitySet(number: 23)
  /// `CAP_SYS_RESOURCE`: raise limits.
  public static let sysResource = CapabilitySet(number: 24)
  /// `CAP_MKNOD`: make device files. It adds nothing while a pod has the host's `/dev`.
  public static let mknod = CapabilitySet(number: 27)
  /// `CAP_LEASE`: leases on any file.
  public static let lease = CapabilitySet(number: 28)
  /// `CAP_AUDIT_WRITE`: write to the audit log, as sshd and su do.
  public static let auditWrite = CapabilitySet(number: 29)
  /// `CAP_SETFCAP`: set capabilities of files, as package managers do.
  public static let setfcap = CapabilitySet(number: 31)

  // MARK: Dropped by default

  /// `CAP_DAC_READ_SEARCH`: open files by handle, which leads out of every root directory.
  public static let dacReadSearch = CapabilitySet(number: 2)
  /// `CAP_LINUX_IMMUTABLE`: make files that nobody can remove.
  public static let linuxImmutable = CapabilitySet(number: 9)
  /// `CAP_NET_ADMIN`: change the host's network.
  public static let netAdmin = CapabilitySet(number: 12)
  /// `CAP_SYS_MODULE`: load code into the kernel.
  public static let sysModule = CapabilitySet(number: 16)
  /// `CAP_SYS_RAWIO`: the host's memory, ports and disks.
  public static let sysRawio = CapabilitySet(number: 17)
  /// `CAP_SYS_PTRACE`: read and change processes of other users, the host program too.
  public static let sysPtrace = CapabilitySet(number: 19)
  /// `CAP_SYS_PACCT`: account for the host's processes.
  public static let sysPacct = CapabilitySet(number: 20)
  /// `CAP_SYS_ADMIN`: mounts, namespaces and much else of the host.
  public static let sysAdmin = CapabilitySet(number: 21)
  /// `CAP_SYS_BOOT`: restart the host, or another kernel.
  public static let sysBoot = CapabilitySet(number: 22)
  /// `CAP_SYS_TIME`: set the host's clock.
  public static let sysTime = CapabilitySet(number: 25)
  /// `CAP_SYS_TTY_CONFIG`: the host's consoles, and hanging terminals up.
  public static let sysTTYConfig = CapabilitySet(number: 26)
  /// `CAP_AUDIT_CONTROL`: what the host audits.
  public static let auditControl = CapabilitySet(number: 30)
  /// `CAP_MAC_OVERRIDE`: ignore the host's mandatory access control.
  public static let macOverride = CapabilitySet(number: 32)
  /// `CAP_MAC_ADMIN`: change the host's mandatory access control.
  public static let macAdmin = CapabilitySet(number: 33)
  /// `CAP_SYSLOG`: the kernel's log, and its addresses.
  public static let syslog = CapabilitySet(number: 34)
  /// `CAP_WAKE_ALARM`: wake the host from sleep.
  public static let wakeAlarm = CapabilitySet(number: 35)
  /// `CAP_BLOCK_SUSPEND`: keep the host from sleeping.
  public static let blockSuspend = CapabilitySet(number: 36)
  /// `CAP_AUDIT_READ`: read the audit log.
  public static let auditRead = CapabilitySet(number: 37)
  /// `CAP_PERFMON`: watch the whole host.
  public static let perfmon = CapabilitySet(number: 38)
  /// `CAP_BPF`: put programs into the kernel.
  public static let bpf = CapabilitySet(number: 39)
  /// `CAP_CHECKPOINT_RESTORE`: choose process numbers, and follow links of others' processes in `/proc`.
  public static let checkpointRestore = CapabilitySet(number: 40)

  /// What programs of a pod may have unless told otherwise: what root's ordinary programs use on their own files and
  /// processes, and nothing that gives power over the host or around the pod.
  ///
  /// It is the default of container engines (Docker's fourteen) and further: `ipc_lock`, `ipc_owner`, `lease`,
  /// `net_broadcast`, `sys_nice`, `sys_resource`, since a pod's calls that name processes are confined to the pod.
  public static let container: CapabilitySet = [
    .chown, .dacOverride, .fowner, .fsetid, .kill, .setgid, .setuid, .setpcap, .netBindService,
    .netBroadcast, .netRaw, .ipcLock, .ipcOwner, .sysChroot, .sysNice, .sysResource, .mknod, .lease,
    .auditWrite, .setfcap,
  ]

  // MARK: Names

  /// By number.
  static let allNames = [
    "chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid",
    "setpcap", "linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw",
    "ipc_lock", "ipc_owner", "sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct",
    "sys_admin", "sys_boot", "sys_nice", "sys_resource", "sys_time", "sys_tty_config", "mknod",
    "lease", "audit_write", "audit_control", "setfcap", "mac_override", "mac_admin", "syslog",
    "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf", "checkpoint_restore",
  ]

  /// The capability of a name, as capabilities(7) has it: `CAP_KILL`, `cap_kill` or `kill`; `all` is ``all``; a number is
  /// one that has no name here.
  ///
  /// - Returns: nil when there is none of that name.
  public init?(name: String) {
    let word = name.lowercased()
    let short = word.hasPrefix("cap_") ? String(word.dropFirst(4)) : word
    if short == "all" {
      self = .all
    } else if let number = Self.allNames.firstIndex(of: short) ?? Int(short),
      (0..<64).contains(number)
    {
      self.init(number: number)
    } else {
      return nil
    }
  }

  /// The names in the order of their numbers.
  public var names: [String] {
    (0..<64).filter { rawValue >> UInt64($0) & 1 != 0 }
      .map { Self.allNames.indices.contains($0) ? Self.allNames[$0] : "\($0)" }
  }

  /// The names with commas between them; "all"; "none".
  public var description: String {
    if self == .all { return "all" }
    return isEmpty ? "none" : names.joined(separator: ",")
  }

  /// Reads a list of names.
  ///
  /// - Throws: `DecodingError` when a name is unknown.
  public init(from decoder: any Decoder) throws {
    var list = try decoder.unkeyedContainer()
    var set: CapabilitySet = []
    while !list.isAtEnd {
      let name = try list.decode(String.self)
      guard let capability = CapabilitySet(name: name) else {
        throw DecodingError.dataCorruptedError(
          in: list, debugDescription: "there is no capability '\(name)'")
      }
      set.formUnion(capability)
    }
    self = set
  }

  /// Writes a list of names; ``all`` is the one word.
  public func encode(to encoder: any Encoder) throws {
    var list = encoder.unkeyedContainer()
    for name in self == .all ? ["all"] : names { try list.encode(name) }
  }
}
