internal import CLinux
internal import PodCore
internal import PodLinux
internal import SystemPackage

/// A receiver to which no notification comes: what there is to do between the kernel's two calls can be measured.
@_spi(Benchmarks) public final class ReceiverRehearsal {
  private let supervisor: Supervisor
  private let receiver: Receiver
  private var call = seccomp_notif()

  /// Makes a pod with nothing in it but names.
  ///
  /// - Parameter names: How many.
  /// - Throws: What the machine says that lacks what the backend needs.
  public init(names: Int) throws {
    let setup = PodSetup(
      names: PodNames(pod: PodID(rawValue: 1), system: SystemNames()),
      configuration: PodConfiguration(), events: { _ in })
    let nowhere = try FileDescriptor.open("/dev/null", .readWrite)
    supervisor = Supervisor(
      setup, podInit: try PodInit.start(mode: .supervised),
      listener: OwnedDescriptor(owning: nowhere.rawValue), launcher: 0, isScoped: true)
    receiver = try Receiver(supervisor)
    try supervisor.enterInit()
    // Numbers that the kernel has given to nobody.
    for number in 0..<Int32(names) {
      _ = try setup.names.processes.enter(
        PhysicalName(rawValue: 5_000_000 + number), parent: ProcessTable.initial, as: .groupLeader)
    }
    call.id = 1
    call.pid = UInt32(5_000_000 + names - 1)
    call.data.nr = Int32(Syscall.getpid.rawValue)
  }

  deinit { supervisor.end() }

  /// Answers getpid(2) so many times.
  ///
  /// - Returns: Whether each was answered.
  public func answer(_ count: Int) -> Bool {
    receiver.rehearse(call, count: count) != 0
  }
}
