internal import CLinux
internal import Glibc
internal import PodCore
internal import PodLinux
internal import SystemPackage

/// Calls with paths: nearly none leads to what is the pod's own, and then they go on as if nobody had looked.
extension Receiver {
  /// Whether no path of a call leads to a view, as far as a look at them tells. The kernel reads them again, so that this
  /// keeps nobody from anything.
  func leadsToNoView(
    _ notification: Notification, _ row: BoundaryRow, _ thread: PodThread
  ) -> Bool {
    let views = supervisor.names.paths
    let coverage = supervisor.setup.configuration.pathCoverage
    for place in row.paths {
      if place == .workingDirectory {
        let path = ProcessStatus.directory(nil, of: notification.tid)
        if path.flatMap(views.virtual(of:)) != nil { return false }
        continue
      }
      let address = RemoteAddress(rawValue: notification.arguments[place.index])
      do throws(Errno) {
        if try mayLeadToView(address, of: notification.tid, views, coverage) { return false }
      } catch {
        // The kernel answers for a bad address and for a path that is too long.
        if error != .badAddress, error != .fileNameTooLong { return false }
      }
    }
    return true
  }

  /// - Throws: `.badAddress`; `.fileNameTooLong`; `.permissionDenied` where the memory can't be read from here.
  private func mayLeadToView(
    _ address: RemoteAddress, of tid: Int32, _ views: PathViews,
    _ coverage: PodConfiguration.PathCoverage
  ) throws(Errno) -> Bool {
    try withUnsafeTemporaryAllocation(byteCount: Int(PATH_MAX), alignment: 16) {
      buffer throws(Errno) in
      guard let base = buffer.baseAddress else { return true }
      var count = 0
      var piece = 256
      while count < buffer.count {
        let here = address.rawValue &+ UInt64(count)
        let size = min(piece, 4096 - Int(here % 4096), buffer.count - count)
        let result = CLinux_process_vm_read(tid, here, base + count, size)
        if result < 0 {
          throw result == -Int(EFAULT) ? .badAddress : .permissionDenied
        }
        if let end = memchr(base + count, 0, Int(result)) {
          let length = UnsafeRawPointer(end) - UnsafeRawPointer(base)
          let path = UnsafeRawBufferPointer(start: base, count: length)
          return coverage == .objects ? views.mayNameObject(path) : views.mayConcern(path)
        }
        if result < size { throw .badAddress }
        count += Int(result)
        piece = 4096
      }
      throw .fileNameTooLong
    }
  }
}
