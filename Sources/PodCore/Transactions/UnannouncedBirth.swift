internal import SystemPackage

/// A birth that nobody announced: the newborn gets its name when its maker says that it has made it, or from whoever needs the
/// name before (``Newcomers``).
///
/// What the maker says is believed only as far as the kernel says the same.
package enum UnannouncedBirth {
  /// The name of a newborn, as its maker is told.
  ///
  /// - Parameters:
  ///   - newborn: What the kernel answered.
  ///   - flags: Of clone(2).
  ///   - maker: The maker's process.
  ///   - physical: Its number.
  ///   - births: How many births the table had seen before.
  ///   - names: The pod's.
  ///   - witness: What the kernel says.
  /// - Returns: nil when the pod has no name for it: it must not run on. A thread is called by its number then.
  package static func name(
    of newborn: PhysicalName<ProcessID>, _ flags: UInt64, by maker: VirtualName<ProcessID>,
    _ physical: PhysicalName<ProcessID>, since births: Int32, names: PodNames,
    _ witness: some NewbornWitness
  ) -> VirtualName<ProcessID>? {
    let isThread = flags & CloneFlags.thread != 0
    var name: VirtualName<ProcessID>?
    if isKin(newborn, flags, physical, witness) {
      name = witness.takeInUnannounced(newborn)
      guard let taken = name else {
        return isThread ? VirtualName(rawValue: newborn.rawValue) : nil
      }
      // It may have been waited for since the kernel was asked, and then its number be anybody's. If its maker has been killed, it
      // is somebody else's child, and known.
      if !witness.isOfFamily(newborn) {
        witness.takeBack(newborn, taken)
        name = nil
      }
    }
    return name ?? names.processes.lostChild(newborn, of: maker, since: births)
  }

  private static func isKin(
    _ newborn: PhysicalName<ProcessID>, _ flags: UInt64, _ maker: PhysicalName<ProcessID>,
    _ witness: some NewbornWitness
  ) -> Bool {
    guard let kinship = witness.kinship(of: newborn), newborn != maker else { return false }
    if flags & CloneFlags.thread != 0 { return kinship.process == maker }
    guard kinship.process == newborn else { return false }
    let parent =
      flags & CloneFlags.parent == 0 ? maker : witness.kinship(of: maker)?.parent
    return kinship.parent == parent
  }
}

/// What a backend adds to ``UnannouncedBirth``.
package protocol NewbornWitness {
  /// The family of a task; nil when there is no such task.
  func kinship(of task: PhysicalName<ProcessID>) -> Kinship?
  /// Whether a task belongs to a process of the pod, or is the child of one, or of init. Nobody outside is.
  func isOfFamily(_ task: PhysicalName<ProcessID>) -> Bool
  /// Gives a task its name if it has none.
  ///
  /// - Returns: nil when there is none for it.
  func takeInUnannounced(_ newborn: PhysicalName<ProcessID>) -> VirtualName<ProcessID>?
  /// Whoever was taken in was gone already, and its number may be another's.
  func takeBack(_ newborn: PhysicalName<ProcessID>, _ name: VirtualName<ProcessID>)
}
