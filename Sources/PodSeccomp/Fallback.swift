public import PodCore
internal import PodLinux
internal import PodPtrace

extension SeccompBackend {
  /// Why no pod can be made with this backend, nor without it; nil when one can.
  var unavailable: String? {
    guard let obstacle = MachineSupport.recent.obstacle else { return nil }
    return switch fallback {
    case .ptrace(let ptrace): ptrace.capabilities.unavailable
    case .none: obstacle
    }
  }

  /// What Landlock and the supervisor keep here; where pods are made by another backend, what that one gives.
  public func containment(for configuration: PodConfiguration) -> Containment {
    let machine = MachineSupport.recent
    if machine.obstacle == nil {
      return machine.containment(
        of: configuration, objects: KernelObjects.expected(for: configuration))
    }
    return switch fallback {
    case .ptrace(let ptrace): ptrace.containment(for: configuration)
    case .none: Containment([:])
    }
  }

  /// Makes a pod if the machine has what it needs, and else, also where that turns out on the way, by ``fallback``.
  ///
  /// A pod that demands more containment than the other backend gives isn't made at all.
  func orFallBack(
    _ pod: PodSetup, _ start: (MachineSupport) async throws(PodError) -> any BackendSession
  ) async throws(PodError) -> any BackendSession {
    let machine = MachineSupport.recent
    let reason: PodError
    if let obstacle = machine.obstacle {
      reason = PodError(.backendUnavailable, obstacle)
    } else {
      do throws(PodError) {
        return try await start(machine)
      } catch {
        reason = error
      }
    }
    guard case .ptrace(let ptrace) = fallback, reason.code == .backendUnavailable else {
      throw reason
    }
    do throws(PodError) {
      try ptrace.containment(for: pod.configuration)
        .require(pod.configuration.containment, of: PtraceBackend.name)
    } catch {
      throw PodError(error.code, "\(reason.description); \(error.description)")
    }
    pod.degraded("processes are traced instead of supervised: \(reason.description)")
    return try await ptrace.start(pod)
  }
}
