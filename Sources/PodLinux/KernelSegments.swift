internal import CLinux
internal import Glibc
package import PodCore
package import SystemPackage

/// What System V shared memory needs of a thread and its machine.
package struct KernelSegments: SegmentHost {
  private let tid: Int32

  /// For a thread that doesn't end meanwhile.
  package init(of tid: Int32) { self.tid = tid }

  package var lockedMemoryLimit: UInt64 {
    ProcessLimits.soft(Self.lockedMemory, "Max locked memory", of: tid)
  }

  package var limits: SystemVLimits { .ofMachine }

  /// RLIMIT_MEMLOCK.
  private static let lockedMemory: Int32 = 8

  package func makeMemory(_ request: SegmentRequest) throws(Errno) -> any SegmentMemory {
    if request.largePages != nil {
      guard let caller = ProcessStatus.credentials(of: tid) else { throw .noSuchProcess }
      let group = OwnProcess.systemValue("vm/hugetlb_shm_group") ?? 0
      guard
        caller.capabilities.contains(.ipcLock) || caller.groups.contains(UInt32(clamping: group))
      else {
        throw .notPermitted
      }
    }
    return try SegmentFile(request)
  }

  /// Source: mm/util.c, `__vm_enough_memory`; proc_sys_vm(5), `overcommit_memory`.
  package func checkMemory(for size: UInt64) throws(Errno) {
    let always = 1
    if size > CLinux_memory(), OwnProcess.systemValue("vm/overcommit_memory") != always {
      throw .noMemory
    }
  }
}
