internal import SystemPackage

/// Lock words that hold the id of the thread that owns the lock.
public enum FutexOwner {
  private static let owner = NameShape(ThreadID.self)

  private static func operation(_ number: UInt64, _ label: String) -> Variant {
    .argument(1, masked: 0x7F, is: number, label)
  }

  /// The rows of lock owners. Source: include/uapi/linux/futex.h.
  public static let boundary: [BoundaryRow] = [
    .wrapped(
      .futex, when: operation(6, "FUTEX_LOCK_PI"),
      by: NameOwner(word: 0), naming: [.memory(0, owner)],
      performed: .inCallerBlocking),  // P63
    .wrapped(
      .futex, when: operation(7, "FUTEX_UNLOCK_PI"),
      by: NameOwner(word: 0, needsOwner: false),
      naming: [.memory(0, owner)],
      performed: .inCaller),  // P63
    .wrapped(
      .futex, when: operation(8, "FUTEX_TRYLOCK_PI"),
      by: NameOwner(word: 0), naming: [.memory(0, owner)],
      performed: .inCaller),  // P63
    .wrapped(
      .futex, when: operation(12, "FUTEX_CMP_REQUEUE_PI"),
      by: NameOwner(word: 4), naming: [.memory(4, owner)],
      performed: .inCaller),  // P63
    .wrapped(
      .futex, when: operation(13, "FUTEX_LOCK_PI2"),
      by: NameOwner(word: 0), naming: [.memory(0, owner)],
      performed: .inCallerBlocking),  // P63
  ]
}

/// Makes the owner in a lock word the one that the kernel knows, before the kernel looks at it.
///
/// A program that makes lock words of `gettid()` (Swift's own `Mutex` does) writes virtual ids there; the kernel looks
/// them up as physical ones. The word is replaced atomically: its owner then finds that its own unlock by compare and
/// exchange fails, as it does whenever there are waiters, and asks the kernel, which finds the owner that it knows. So
/// priority inheritance and owner death stay the kernel's.
///
/// An owner that isn't the pod's has ended, whatever process outside has its number: the kernel would lend that one the
/// waiter's priority, and wait for its end.
///
/// Source: DESIGN.md §4.5; COVERAGE P63; futex(2).
struct NameOwner: Wrapper {
  /// The index of the argument with the lock word's address.
  let word: Int
  /// Whether the kernel looks for the owner, so that it has to be the pod's.
  var needsOwner = true

  private static let ownerMask: UInt32 = 0x3FFF_FFFF
  private static let tryLock: UInt64 = 8
  private static let privateFlag: UInt64 = 0x80

  func preamble(_ transaction: inout Transaction) throws(Errno) {
    let address = RemoteAddress(rawValue: transaction.arguments[word])
    // Bounded: somebody who changes the word all the time only hurts their own lock.
    for _ in 0..<64 {
      let value: UInt32
      do throws(Errno) { value = try transaction.read(UInt32.self, at: address) } catch { return }
      let owner = Int32(bitPattern: value & Self.ownerMask)
      transaction.note = Int(value)
      guard owner != 0 else { return }
      guard let physical = physicalOwner(owner, in: transaction) else {
        guard needsOwner else { return }
        // Who owned it may have freed it before it ended.
        let now = try? transaction.read(UInt32.self, at: address)
        if now == value { throw .noSuchProcess }
        continue
      }
      guard physical != owner else { return }
      let desired = value & ~Self.ownerMask | UInt32(bitPattern: physical)
      let replaced = try transaction.step(.publish, on: owner) { transaction throws(Errno) in
        try transaction.host.compareExchange(address, expected: value, desired: desired)
      }
      if replaced ?? true {
        transaction.note = Int(desired)
        return
      }
    }
  }

  func epilogue(_ transaction: inout Transaction) throws(Errno) {
    guard case .failure(let error)? = transaction.result,
      error == .noSuchProcess || error == .notPermitted
    else { return }
    transaction.step(.retry, on: 0) { $0.wantsRetry = isOutdated(&$0) }
  }

  /// Whether the kernel looked when the word named no owner that it knows: between the preamble and that look the lock was
  /// freed and taken again, under a virtual id.
  private func isOutdated(_ transaction: inout Transaction) -> Bool {
    let arguments = transaction.arguments
    guard
      let value = try? transaction.read(UInt32.self, at: RemoteAddress(rawValue: arguments[word]))
    else { return false }
    if value != UInt32(truncatingIfNeeded: transaction.note) { return true }
    // Another waiter may have made it again the word that the preamble left. Then the kernel knows the owner now; one that
    // has ended, and still has a name, it doesn't know.
    guard needsOwner, word == 0,
      physicalOwner(Int32(bitPattern: value & Self.ownerMask), in: transaction) != nil
    else { return false }
    let attempt = CallArguments(arguments[0], Self.tryLock | arguments[1] & Self.privateFlag)
    do throws(Errno) {
      _ = try transaction.host.perform(.futex, attempt, for: transaction.caller)
      transaction.result = .success(0)
      return false
    } catch {
      return error != .noSuchProcess && error != .notPermitted
    }
  }

  /// The kernel's number of the owner in a word; nil when the pod has no such task.
  ///
  /// A thread of the caller's own process is meant before a virtual name, and one of another process, which the library
  /// writes into words in shared memory, after it.
  private func physicalOwner(_ owner: Int32, in transaction: borrowing Transaction) -> Int32? {
    let processes = transaction.names.processes
    let number = PhysicalName<ProcessID>(rawValue: owner)
    processes.hear(processes.named(number) ?? VirtualName(rawValue: owner))
    let physical = processes.name(physical: owner).flatMap { $0.state == .live ? $0 : nil }
    if let physical, physical.leader == transaction.caller.process { return owner }
    if let virtual = processes.name(owner), virtual.state == .live {
      return virtual.physical.rawValue
    }
    return physical == nil ? nil : owner
  }
}
