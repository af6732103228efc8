internal import CLinux
internal import Glibc
internal import PodCore
internal import PodLinux
internal import Synchronization
internal import SystemPackage

/// A pod under the ptrace backend, as async callers see it.
final class PtraceSession: BackendSession {
  private let mailbox: Mailbox
  private let ended: Promise<Void>
  /// nil once it was joined.
  private let thread: Mutex<SupervisorThread?>
  private let streams: StreamService
  private let watch: Task<Void, Never>
  private let pulse: Pulse
  /// What programs keep of the host program's.
  private let capabilities: CapabilitySet

  private init(
    mailbox: Mailbox, ended: Promise<Void>, thread: SupervisorThread, watch: Watch,
    capabilities: CapabilitySet, containment: Containment
  ) {
    self.containment = containment
    self.capabilities = capabilities
    self.watch = Task.detached { await watch.run() }
    pulse = watch.pulse
    self.thread = Mutex(thread)
    self.mailbox = mailbox
    self.ended = ended
    streams = StreamService()
  }

  let containment: Containment

  static func start(
    _ setup: PodSetup, _ stops: PtraceBackend.Stops
  ) async throws(PodError) -> PtraceSession {
    if let obstacle = CallRules.obstacle(stops) {
      guard stops != .filtered else {
        throw PodError(
          .backendUnavailable,
          "this machine takes no seccomp filter: let every call stop (PtraceBackend.Stops.everyCall, "
            + "or podrun's --ptrace-stops every-call)",
          underlyingError: obstacle)
      }
      setup.degraded(CallRules.withoutFilter(obstacle))
    }
    if let obstacle = OwnProcess.obstacle { throw PodError(.backendUnavailable, obstacle) }
    let podInit: PodInit
    do throws(PodInit.StartFailure) {
      podInit = try PodInit.start(mode: .traced)
    } catch {
      throw PodError(
        .backendUnavailable, error.explanation, underlyingError: error.error)
    }
    let directory: PodDirectory?
    do throws(PodError) {
      directory = try setup.makeDirectory(for: podInit)
    } catch {
      podInit.end()
      throw error
    }
    // Which table of rows it is, and which of them are idle, is known now.
    let rules: CallRules
    do throws(Errno) {
      rules = try CallRules(setup, stops)
    } catch {
      podInit.end()
      throw PodError(
        .invalidConfiguration, "no filter can be made of the boundary table", underlyingError: error
      )
    }
    let mailbox = Mailbox(podInit: podInit)
    let pulse = Pulse()
    let ended = Promise<Void>()
    let seized = Promise<Result<Void, Errno>>()
    let thread: SupervisorThread
    do throws(Errno) {
      thread = try SupervisorThread.start(name: "\(setup.names.pod)") {
        let supervisor = Supervisor(
          setup, rules, podInit: podInit, mailbox: mailbox, pulse: pulse)
        let result = supervisor.seizeInit()
        seized.fulfil(result)
        if case .success = result { supervisor.run() }
        directory?.remove()
        ended.fulfil(())
      }
    } catch {
      podInit.end()
      throw PodError(
        .backendUnavailable,
        "no thread is to be had for the tracer: raise the limit of processes (ulimit -u, or the container's "
          + "limit of pids)", underlyingError: error)
    }
    if case .failure(let error) = await seized.value {
      podInit.end()
      thread.join()
      throw PodError(
        .backendUnavailable,
        OwnProcess.isTraced
          ? "this program is traced itself, by a pod around it or by a debugger, so it can't trace: run it "
            + "outside"
          : "this machine doesn't let a program trace its own processes: check kernel.yama.ptrace_scope "
            + "and the container's seccomp profile",
        underlyingError: error)
    }
    return PtraceSession(
      mailbox: mailbox, ended: ended, thread: thread,
      watch: Watch(pulse: pulse, podInit: podInit, mailbox: mailbox, setup: setup),
      capabilities: setup.configuration.capabilities,
      containment: PtraceBackend.containment(
        of: setup.configuration, objects: setup.names.objects,
        hasDirectory: directory != nil))
  }

  func launch(_ request: LaunchRequest) async throws(PodError) -> LaunchedProcess {
    try await Launch.run(request, streams, keeping: capabilities) { mailbox.post(.launch($0)) }
  }

  func send(
    signal: Int32, to process: VirtualName<ProcessID>, toGroup: Bool
  ) async throws(PodError) {
    let answer = Promise<Result<Void, PodError>>()
    guard
      mailbox.post(
        .signal(signal, process, toGroup: toGroup, answer: { answer.fulfil($0) }))
    else { throw PodError.podEnded }
    try await answer.value.get()
  }

  func processes() async -> [VirtualName<ProcessID>] {
    let answer = Promise<[VirtualName<ProcessID>]>()
    guard mailbox.post(.processes(answer: { answer.fulfil($0) })) else { return [] }
    return await answer.value
  }

  var statistics: PodStatistics {
    var statistics = PodStatistics()
    statistics.stops = pulse.reports.load(ordering: .relaxed)
    statistics.receivers = 1
    return statistics
  }

  func end() async {
    _ = mailbox.post(.end)
    await ended.value
    watch.cancel()
    await watch.value
    // Nothing is left for it to do but to end.
    thread.withLock { $0.take() }?.join()
    streams.close()
  }
}
