internal import Glibc
package import PodCore
internal import Synchronization
package import SystemPackage

/// An IPC namespace that a pod's init has taken for itself and its descendants, as the host program sees it: by its tables
/// of System V objects. It ends when the last process in it has ended and this is gone.
///
/// Source: ipc_namespaces(7); ipc/util.c, `sysvipc_proc_open`: who opens such a file sees, however long it is open, the
/// namespace that it was in then.
package final class ObjectNamespace: Sendable {
  /// The tables in the order of the bits by which init tells which of them it has opened.
  static let tables: [PathViews.SystemVTable] = [.msg, .sem, .shm]

  private let files: [PathViews.SystemVTable: OpenTable]
  /// What kept the namespace from having a limit that the host has; nil when nothing did.
  package let limitFailure: Errno?

  init(_ files: [PathViews.SystemVTable: OpenTable], limitFailure: Errno?) {
    self.files = files
    self.limitFailure = limitFailure
  }

  /// A table as it is at this moment, with physical process numbers; without rows where it can't be read.
  ///
  /// - Complexity: As the number of objects. Other readers of the same table wait meanwhile.
  package func rows(_ table: PathViews.SystemVTable) -> [[Int64]] {
    PathViews.SystemVTable.rows(of: files[table]?.text ?? [])
  }
}

/// A file of `/proc/sysvipc` that was opened in some namespace.
final class OpenTable: Sendable {
  private let descriptor: OwnedDescriptor
  /// For one reader at a time: what the kernel has made of the next rows is the open file's.
  private let turn = Mutex(())

  /// Takes over a descriptor; a negative number stands for none.
  init(owning number: Int32) { descriptor = OwnedDescriptor(owning: number) }

  var text: [UInt8] {
    turn.withLock { _ in
      var text: [UInt8] = []
      let room = 1 << 16
      while true {
        let chunk = [UInt8](unsafeUninitializedCapacity: room) { buffer, count in
          count = max(0, pread(descriptor.rawValue, buffer.baseAddress, room, off_t(text.count)))
        }
        if chunk.isEmpty { return text }
        text += chunk
      }
    }
  }
}
