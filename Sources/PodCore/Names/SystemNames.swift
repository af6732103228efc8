internal import Synchronization

/// The system-wide table of one resource: which pod of this host program has a physical name, and under which virtual one.
///
/// It never enters a pod. A physical name that is in no pod belongs to the pseudo-pod *outside*: programs in pods see it
/// as 0, and a name that an outside transaction refers to can't enter a pod until the reference ends.
///
/// Source: paper §4 (system-wide hash table) and §4.1.1 (pseudo-pod, entering while referenced).
public final class SystemNames<R: Resource>: Sendable {
  private struct Owner {
    var pod: PodID
    var name: VirtualName<R>
  }
  private struct State {
    var owners: [PhysicalName<R>: Owner] = [:]
    var outsideHolds: [PhysicalName<R>: Int] = [:]
  }
  private let state = Mutex(State())

  /// Makes an empty table.
  public init() {}

  /// The pod and the virtual name behind a physical name; nil when it is outside.
  public func owner(of physical: PhysicalName<R>) -> (pod: PodID, name: VirtualName<R>)? {
    state.withLock { $0.owners[physical].map { ($0.pod, $0.name) } }
  }

  /// How many physical names are in pods.
  public var count: Int { state.withLock { $0.owners.count } }

  /// Takes a reference to a name that is outside all pods: while it exists, the name can't enter one.
  ///
  /// - Throws: ``NameError/unknownName`` when the name is in a pod: what is in a pod is invisible outside.
  public func holdOutside(_ physical: PhysicalName<R>) throws(NameError) {
    let isOutside = state.withLock { state in
      guard state.owners[physical] == nil else { return false }
      state.outsideHolds[physical, default: 0] += 1
      return true
    }
    if !isOutside { throw .unknownName }
  }

  /// Ends a ``holdOutside(_:)``.
  public func releaseOutside(_ physical: PhysicalName<R>) {
    state.withLock { state in
      guard let holds = state.outsideHolds[physical] else { return }
      state.outsideHolds[physical] = holds > 1 ? holds - 1 : nil
    }
  }

  /// Whether a transaction of the outside refers to the name, so that it must not enter a pod now.
  public func isHeldOutside(_ physical: PhysicalName<R>) -> Bool {
    state.withLock { $0.outsideHolds[physical] != nil }
  }

  /// Makes a name a pod's, if no transaction of the outside refers to it: one step, so that none can begin in between.
  ///
  /// - Returns: Whether it is the pod's now.
  func enter(_ physical: PhysicalName<R>, of pod: PodID, as name: VirtualName<R>) -> Bool {
    state.withLock { state in
      guard state.outsideHolds[physical] == nil else { return false }
      state.owners[physical] = Owner(pod: pod, name: name)
      return true
    }
  }

  func insert(_ physical: PhysicalName<R>, of pod: PodID, as name: VirtualName<R>) {
    state.withLock { $0.owners[physical] = Owner(pod: pod, name: name) }
  }

  func remove(_ physical: PhysicalName<R>, of pod: PodID, as name: VirtualName<R>? = nil) {
    state.withLock { state in
      guard let owner = state.owners[physical], owner.pod == pod else { return }
      if let name, owner.name != name { return }
      state.owners[physical] = nil
    }
  }
}
