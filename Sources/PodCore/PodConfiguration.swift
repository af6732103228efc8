/// What an embedder asks of a pod: a plain value, validated once when the pod is made.
public struct PodConfiguration: Sendable, Hashable, Codable {
  /// What the pod must be contained in.
  public enum ContainmentDemand: Sendable, Hashable, Codable {
    /// As much as the machine offers; ``Pod/containment`` says what that is.
    case bestEffort
    /// At least these, enforced by the supervisor or the kernel; else ``PodError/Code/containmentUnavailable``.
    case required(Set<Containment.Subsystem>)
  }

  /// Which calls with paths are looked at, so that `/dev/shm`, `/dev/mqueue` and `/proc/sysvipc` are the pod's own.
  public enum PathCoverage: String, Sendable, Hashable, Codable {
    /// What the C library does for shm_open(3), shm_unlink(3), sem_open(3) and sem_unlink(3): their objects are the pod's.
    /// Files that programs make in `/dev/shm` by other means are the host's, and opening files costs nothing.
    case objects
    /// All: the directories are the pod's, whatever a program does there. Calls with paths take several microseconds more.
    case everything
  }

  /// Who has a pod's System V objects and POSIX message queues.
  public enum SystemVProvider: String, Sendable, Hashable, Codable, CaseIterable {
    /// The kernel where it can be had, else the host program.
    case automatic
    /// The kernel, in an IPC namespace of the pod's own: calls are as fast as natively, and what they answer is the kernel's.
    /// Needs CAP_SYS_ADMIN, or ``PodConfiguration/userNamespace``, and ``PodConfiguration/mayMount``; without them no pod
    /// is made.
    case kernel
    /// The host program: no privileges are needed.
    case emulated
  }

  /// How process numbers are chosen.
  public var processNames: AllocationPolicy = .compact
  /// The highest virtual process number, 300…4,194,303.
  public var highestProcess: Int32 = 4_194_303
  /// The most processes and threads at one time, 16…4,194,303.
  public var capacity: Int = 131_072
  /// Names that the pod's processes are to have: those of another pod, here or on another machine.
  ///
  /// Births take the names that the snapshot gives: the first program that the host starts has the name of init's first
  /// child there, the next one that of the second; a process's first child the name of its first child there, and its
  /// threads likewise. A child that the snapshot doesn't know gets a free name, and never one that is still to come.
  /// What would descend from a process that has ended won't be born, and its names are free. Groups and sessions are
  /// made by the programs. Numbers go on where they stood in the snapshot.
  public var restoredNames: PodSnapshot?
  /// What must hold.
  public var containment: ContainmentDemand = .bestEffort
  /// Which of the host program's capabilities the pod's programs keep.
  public var capabilities: CapabilitySet = .container

  /// Which calls with paths are looked at, where the kernel doesn't show the pod's directories by itself.
  public var pathCoverage: PathCoverage = .objects
  /// Whether the pod's init may take a mount namespace of its own, where the host program has the right to
  /// (CAP_SYS_ADMIN): then `/dev/shm` is the pod's own directory, whatever programs do, at no cost.
  public var mayMount = true

  /// Whether the pod's init takes a user namespace where the host program has no CAP_SYS_ADMIN, and so may mount and have an
  /// IPC namespace all the same. Where it can't have one, no pod is made.
  ///
  /// Programs then are the host program's user and group and can be nobody else: other users' files are shown as nobody's
  /// (65534), and `setgroups` is denied.
  ///
  /// Source: user_namespaces(7).
  public var userNamespace = false

  /// Who has System V objects (queues, semaphores, shared memory) and POSIX message queues.
  public var systemV: SystemVProvider = .automatic

  /// Whether every interposed call is an event (``PodEvent/call(_:)``). Slow: none is answered inside the processes.
  public var tracesCalls = false

  /// The defaults.
  public init() {}

  /// Everything that is wrong with the values, in words; empty when nothing is.
  public var faults: [String] {
    var faults: [String] = []
    if !(300...4_194_303).contains(highestProcess) {
      faults.append("highestProcess is \(highestProcess); it must be 300…4194303")
    }
    if !(16...4_194_303).contains(capacity) {
      faults.append("capacity is \(capacity); it must be 16…4194303")
    }
    if systemV == .kernel, !mayMount {
      faults.append("systemV is kernel, which needs mounts, and mayMount is false")
    }
    if userNamespace, !mayMount {
      faults.append("userNamespace is true, which is for mounts, and mayMount is false")
    }
    if let restored = restoredNames?.processes {
      if restored.names.count > capacity {
        faults.append(
          "capacity is \(capacity), and restoredNames has \(restored.names.count) names")
      }
      if let last = restored.names.map(\.number.rawValue).max(), last > highestProcess {
        faults.append(
          "highestProcess is \(highestProcess), and restoredNames has process \(last)")
      }
    }
    return faults
  }
}

/// What encloses a pod, per subsystem: a value that the embedder gets, never an assumption.
public struct Containment: Sendable, Hashable, Codable {
  /// A part of the system that a pod can be contained in.
  public enum Subsystem: String, Sendable, Hashable, Codable, CaseIterable {
    /// Who can be signalled, traced, waited for, and changed.
    case processes
    /// System V and POSIX IPC.
    case ipc
    /// The file system.
    case files
    /// Sockets.
    case network
    /// Terminals.
    case terminals
  }

  /// How strongly.
  public enum Strength: String, Sendable, Hashable, Codable {
    /// The host's names are visible and reachable.
    case none
    /// Names are private; a program that works around them is not stopped.
    case namedOnly
    /// A supervisor that the program can't reach performs or checks the calls.
    case supervisor
    /// The kernel enforces it.
    case kernel
  }

  /// What holds for one subsystem.
  public struct Part: Sendable, Hashable, Codable {
    /// How strongly.
    public var strength: Strength
    /// By which mechanism, in words.
    public var mechanism: String

    /// States what holds.
    public init(_ strength: Strength, by mechanism: String) {
      (self.strength, self.mechanism) = (strength, mechanism)
    }
  }

  /// What holds; a subsystem that isn't there is not contained.
  public var parts: [Subsystem: Part]

  /// States what holds.
  public init(_ parts: [Subsystem: Part]) { self.parts = parts }

  /// How strongly a subsystem is contained.
  public subscript(subsystem: Subsystem) -> Strength { parts[subsystem]?.strength ?? .none }

  /// Which of the demanded subsystems are neither enforced by a supervisor nor by the kernel.
  public func lacking(_ demand: PodConfiguration.ContainmentDemand) -> [Subsystem] {
    guard case .required(let subsystems) = demand else { return [] }
    return subsystems.filter { self[$0] != .supervisor && self[$0] != .kernel }
      .sorted { $0.rawValue < $1.rawValue }
  }
  /// Refuses a pod that would have less than it demands.
  ///
  /// - Parameters:
  ///   - demand: What must hold.
  ///   - backend: The backend's name, for the error.
  /// - Throws: `.containmentUnavailable`, with what holds in place of each that is lacking.
  public func require(
    _ demand: PodConfiguration.ContainmentDemand, of backend: String
  ) throws(PodError) {
    let lacking = lacking(demand)
    if lacking.isEmpty { return }
    let words = lacking.map(\.rawValue).joined(separator: ", ")
    let instead = lacking.map { "\($0.rawValue): \(parts[$0].map { "\($0)" } ?? "the host's")" }
    let holds = instead.joined(separator: "; ")
    throw PodError(
      .containmentUnavailable,
      "the \(backend) backend can't contain \(words) on this machine (\(holds))")
  }
}

extension Containment.Part: CustomStringConvertible {
  /// "supervisor: by which mechanism".
  public var description: String { "\(strength.rawValue): \(mechanism)" }
}
