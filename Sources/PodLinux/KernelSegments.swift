internal import CLinux
internal import Glibc
package import PodCore
package import SystemPackage

/// What System V shared memory needs of a thread and its machine.
package struct KernelSegments: SegmentHost {
  private let tid: Int32

  /// For a thread that doesn't end meanwhile.
  package init(of tid: Int32) { self.tid = tid }

  /// Source: proc_pid_status(5); credentials(7).
  package func credentials() throws(Errno) -> CallerCredentials {
    guard let credentials = ProcessStatus.credentials(of: tid) else { throw .noSuchProcess }
    return credentials
  }

  package var now: Int64 { Int64(time(nil)) }

  package var lockedMemoryLimit: UInt64 {
    ProcessLimits.soft(Self.lockedMemory, "Max locked memory", of: tid)
  }

  /// RLIMIT_MEMLOCK.
  private static let lockedMemory: Int32 = 8

  package func makeMemory(_ request: SegmentRequest) throws(Errno) -> any SegmentMemory {
    if request.largePages != nil {
      let caller = try credentials()
      let group = OwnProcess.systemValue("vm/hugetlb_shm_group") ?? 0
      guard caller.capabilities.contains(.ipcLock) || caller.groups.contains(UInt32(clamping: group)) else {
        throw .notPermitted
      }
    }
    return try SegmentFile(request)
  }

  /// Source: mm/util.c, `__vm_enough_memory`; proc_sys_vm(5), `overcommit_memory`.
  package func checkMemory(for size: UInt64) throws(Errno) {
    let always = 1
    if size > CLinux_memory(), OwnProcess.systemValue("vm/overcommit_memory") != always { throw .noMemory }
  }
}

extension ProcessStatus {
  /// For whom a task acts; nil when there is no such task.
  static func credentials(of task: Int32) -> CallerCredentials? {
    var (user, group): (UInt32?, UInt32?)
    var groups: Set<UInt32> = []
    var capabilities: UInt64?
    _ = read(task) { line in
      let fields = Array(line.split(whereSeparator: { $0 == 9 || $0 == 32 }))
      guard let name = fields.first else { return true }
      let number = { (index: Int) in
        index < fields.count ? UInt32(String(decoding: fields[index], as: UTF8.self)) : nil
      }
      if name.elementsEqual("Uid:".utf8) {
        user = number(2)
      } else if name.elementsEqual("Gid:".utf8) {
        group = number(2)
        if let own = number(4) { groups.insert(own) }
      } else if name.elementsEqual("Groups:".utf8) {
        groups.formUnion((1..<fields.count).compactMap(number))
      } else if name.elementsEqual("CapEff:".utf8), fields.count > 1 {
        capabilities = UInt64(String(decoding: fields[1], as: UTF8.self), radix: 16)
        return false
      }
      return true
    }
    guard let user, let group, let capabilities else { return nil }
    return CallerCredentials(
      user: user, group: group, groups: groups, capabilities: CapabilitySet(rawValue: capabilities))
  }
}
