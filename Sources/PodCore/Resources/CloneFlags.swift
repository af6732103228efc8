/// Flags of clone(2) that say what a newborn shares and where its number is stored.
///
/// Source: include/uapi/linux/sched.h.
package enum CloneFlags {
  /// The newborn shares its maker's memory.
  package static let vm: UInt64 = 0x100
  /// A descriptor of the newborn is stored where `CLONE_PARENT_SETTID` would store its number.
  package static let pidfd: UInt64 = 0x1000
  /// The newborn is traced if its maker is.
  package static let ptrace: UInt64 = 0x2000
  /// The maker waits until the newborn is done with the memory.
  package static let vfork: UInt64 = 0x4000
  /// The newborn's parent is its maker's.
  package static let parent: UInt64 = 0x8000
  /// The newborn is a thread of its maker's process.
  package static let thread: UInt64 = 0x1_0000
  /// The newborn shares what is to be undone to semaphores (`CLONE_SYSVSEM`).
  package static let semaphoreUndo: UInt64 = 0x4_0000
  /// The newborn has a control block of its own.
  package static let setTLS: UInt64 = 0x8_0000
  /// The newborn's number is stored in its maker's memory.
  package static let parentSetTID: UInt64 = 0x10_0000
  /// The newborn isn't traced.
  package static let untraced: UInt64 = 0x80_0000
  /// The newborn's number is stored in its own memory.
  package static let childSetTID: UInt64 = 0x100_0000
}
