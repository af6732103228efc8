internal import Synchronization
public import SystemPackage

/// The physical names of one resource that calls in flight refer to and that the kernel may give out again meanwhile,
/// because nothing keeps them: System V ids have no reference count, and no descriptor stands for them.
///
/// In a nutshell: a call that names an object *restricts* its physical name before the kernel's part and releases it
/// after; a call that makes an object announces it before, and *admits* the name that the kernel gave before anybody in
/// a pod can use it. A fresh name that is restricted is not admitted: its object is given back, and another is taken. So
/// the object that a call in flight meets under a name is the one that was meant, or none, or one that is given back
/// before anybody else has seen it; in the last case the call that met it is made again.
///
/// A call may meet a fresh object and be over before that is admitted, which the paper's table doesn't see: a name that
/// is released stays restricted for the objects that were being made at that moment.
///
/// One table for all pods of a host program and what is outside of them, as names are the machine's.
///
/// Source: paper §4.2 (restricted-ID table; the retry in msgsnd's epilogue); COVERAGE C6.
public final class RestrictedNames<R: Resource>: Sendable {
  private struct Restriction {
    /// How many calls in flight refer to the name.
    var calls = 0
    /// How many objects with this name were given back while they did.
    var refusals = 0
  }
  private struct State {
    var restrictions: [PhysicalName<R>: Restriction] = [:]
    /// Names whose last call is over, with the last object that was announced by then.
    var released: [PhysicalName<R>: UInt64] = [:]
    /// Announced objects that were neither admitted nor given up.
    var creations: Set<UInt64> = []
    var lastCreation: UInt64 = 0
  }
  private let state = Mutex(State())

  /// Makes an empty table.
  public init() {}

  /// A reference of a call in flight. It is ended once, with ``RestrictedNames/release(_:)``.
  public struct Ticket: Sendable, Hashable {
    /// The name that the call refers to.
    public let name: PhysicalName<R>
    let refusals: Int
  }

  /// An object that is being made. It is ended once, with ``RestrictedNames/end(_:)``.
  public struct Creation: Sendable, Hashable {
    let number: UInt64
  }

  /// A call is about to refer to a name. To be followed by a look-up of what the name stands for, so that a name that was
  /// restricted too late is found to be gone.
  public func restrict(_ name: PhysicalName<R>) -> Ticket {
    state.withLock { state in
      state.restrictions[name, default: Restriction()].calls += 1
      return Ticket(name: name, refusals: state.restrictions[name]?.refusals ?? 0)
    }
  }

  /// The call is over.
  ///
  /// - Returns: Whether it may have met an object that was given back meanwhile: what the kernel answered says nothing,
  ///   and the call is to be made again.
  public func release(_ ticket: Ticket) -> Bool {
    state.withLock { state in
      guard var restriction = state.restrictions[ticket.name] else { return false }
      restriction.calls -= 1
      state.restrictions[ticket.name] = restriction.calls > 0 ? restriction : nil
      if !state.creations.isEmpty { state.released[ticket.name] = state.lastCreation }
      return restriction.refusals != ticket.refusals
    }
  }

  /// A call is about to make an object.
  public func announce() -> Creation {
    state.withLock { state in
      state.lastCreation += 1
      state.creations.insert(state.lastCreation)
      return Creation(number: state.lastCreation)
    }
  }

  /// Whether the fresh object may be used under the name that the kernel gave it. If not, another is to be taken, and then
  /// this one given back; calls in flight that may have met it are told by ``release(_:)``.
  public func admit(_ name: PhysicalName<R>, of creation: Creation) -> Bool {
    state.withLock { state in
      if state.restrictions[name] != nil {
        state.restrictions[name]?.refusals += 1
        return false
      }
      return state.released[name].map { $0 < creation.number } ?? true
    }
  }

  /// The object was admitted, or given up.
  public func end(_ creation: Creation) {
    state.withLock { state in
      state.creations.remove(creation.number)
      let oldest = state.creations.min() ?? .max
      state.released = state.released.filter { $0.value >= oldest }
    }
  }

  /// Whether a call in flight refers to the name.
  public func isRestricted(_ name: PhysicalName<R>) -> Bool {
    state.withLock { $0.restrictions[name] != nil }
  }

  /// How many names are restricted, those included whose calls are over.
  public var count: Int { state.withLock { $0.restrictions.count + $0.released.count } }
}

extension Transaction {
  /// Restricts a physical name until ``mayHaveMetAnother(_:)`` or the end of the transaction.
  ///
  /// - Throws: `.noMemory` when the transaction restricts a name already: no call names two objects of this kind.
  public mutating func restrict<R: Resource>(
    _ name: PhysicalName<R>, in table: RestrictedNames<R>
  ) throws(Errno) {
    if restriction != nil { throw .noMemory }
    step(.restrict, on: name.rawValue) { transaction in
      let ticket = table.restrict(name)
      transaction.restriction = { table.release(ticket) }
    }
  }

  /// Ends the restriction, after the kernel's part.
  ///
  /// - Parameter isThere: Whether the virtual name still names the object. A name that is retired before its object is
  ///   removed, and is there now, was there all the time.
  /// - Returns: Whether the call may have met an object of somebody else's under the same number, so that it has to be made
  ///   again (``wantsRetry``): it will find the name gone.
  public mutating func mayHaveMetAnother(
    _ isThere: (borrowing Transaction) -> Bool
  ) -> Bool {
    step(.retry) { transaction in
      let hasMet = transaction.restriction?() ?? false
      transaction.restriction = nil
      return hasMet || !isThere(transaction)
    } ?? false
  }

  /// Announces an object that the kernel's part will make, until the end of the transaction.
  public mutating func announce<R: Resource>(in table: RestrictedNames<R>) {
    if creation != nil { return }
    let announced = table.announce()
    creation = Creation(number: announced.number) { table.end(announced) }
  }

  /// Whether an object that this call has made may be used under the name that the kernel gave it
  /// (``RestrictedNames/admit(_:of:)``).
  public mutating func admits<R: Resource>(
    _ name: PhysicalName<R>, in table: RestrictedNames<R>
  ) -> Bool {
    guard let number = creation?.number else { return false }
    return step(.virtualize, on: name.rawValue) { _ in
      table.admit(name, of: RestrictedNames<R>.Creation(number: number))
    } ?? true
  }

  /// An announced object, of whatever resource.
  struct Creation {
    let number: UInt64
    let end: @Sendable () -> Void
  }
}
