internal import Glibc
package import PodCore
package import SystemPackage

extension ProcessTable {
  /// Gives orphans to the parents that the kernel has given them: init, unless it knows of a subreaper.
  ///
  /// - Parameters:
  ///   - orphans: The children of a process that has ended, as the table knew them before.
  ///   - podInit: The physical number of the pod's init.
  package func adopt(_ orphans: [Entry<ProcessID>], unlessOf podInit: Int32) {
    for orphan in orphans {
      guard let number = ProcessStatus.number("PPid", of: orphan.physical.rawValue),
        let parent = Int32(exactly: number), parent != podInit,
        let name = virtual(of: PhysicalName(rawValue: parent)), (try? task(name)) != nil
      else { continue }
      try? reparent(orphan.virtual, to: name)
    }
  }
}

extension PhysicalName where R == ProcessID {
  /// The process group that the process is in, as the kernel says.
  ///
  /// - Throws: `.noSuchProcess`. Source: getpgid(2).
  package func group() throws(Errno) -> PhysicalName<ProcessID> {
    let group = getpgid(rawValue)
    if group < 0 { throw Errno(rawValue: errno) }
    return PhysicalName(rawValue: group)
  }
}
