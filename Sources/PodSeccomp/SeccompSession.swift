internal import CLinux
internal import Glibc
internal import PodCore
internal import PodLinux
internal import Synchronization
internal import SystemPackage

/// A pod under the seccomp backend, as async callers see it.
final class SeccompSession: BackendSession {
  private let supervisor: Supervisor
  private let ended: Promise<Void>
  /// nil once it was joined.
  private let watcher: Mutex<SupervisorThread?>
  private let streams = StreamService()
  /// Looks whether reports come through.
  private let watch: Task<Void, Never>

  private init(
    _ supervisor: Supervisor, ended: Promise<Void>, watcher: SupervisorThread,
    containment: Containment
  ) {
    self.containment = containment
    watch = Task.detached {
      guard await supervisor.attendance.watch() != nil else { return }
      HostReports.areTaken.store(true, ordering: .relaxed)
      supervisor.fail(
        "a thread of the host program waits for any child and has taken the report of a thread that was attached to"
      )
    }
    self.supervisor = supervisor
    self.ended = ended
    self.watcher = Mutex(watcher)
  }

  let containment: Containment

  static func start(
    _ setup: PodSetup, _ machine: MachineSupport
  ) async throws(PodError) -> SeccompSession {
    let podInit: PodInit
    do throws(PodInit.StartFailure) {
      podInit = try PodInit.start(mode: .supervised)
    } catch {
      throw PodError(.backendUnavailable, error.explanation, underlyingError: error.error)
    }
    let directory: PodDirectory?
    do throws(PodError) {
      directory = try setup.makeDirectory(for: podInit)
    } catch {
      podInit.end()
      throw error
    }
    // Which table of rows it is is known now.
    do throws(Errno) {
      try setup.area?.write(
        rules: SupervisionFilter.pageRules(for: setup, isScoped: machine.hasSignalScope))
      if setup.namesLate { setup.area?.nameLate() }
    } catch {
      podInit.end()
      throw PodError(
        .invalidConfiguration, "the boundary table doesn't fit into the pod's processes",
        underlyingError: error)
    }
    let filter: [UInt8]
    do throws(Errno) {
      filter = try SupervisionFilter.program(
        for: setup, isScoped: machine.hasSignalScope
      ).bytes
    } catch {
      podInit.end()
      throw PodError(
        .invalidConfiguration, "no filter can be made of the boundary table", underlyingError: error
      )
    }
    let supervisor: Supervisor
    do throws(PodInit.SupervisionFailure) {
      let supervision = PodInit.Supervision(
        filter: filter, flags: machine.listenerFlags, isScoped: machine.hasSignalScope)
      let listener = try podInit.supervise(supervision)
      supervisor = Supervisor(
        setup, podInit: podInit, listener: listener, launcher: podInit.launcherProcessID ?? 0,
        isScoped: machine.hasSignalScope, keepsCallers: machine.listenerFlags != 0)
    } catch {
      podInit.end()
      throw PodError(.backendUnavailable, error.explanation, underlyingError: error.error)
    }
    _ = CLinux_seccomp_set_flags(
      supervisor.listener.rawValue, CLinux_SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
    let ended = Promise<Void>()
    if setup.namesLate { setup.names.processes.expect(supervisor) }
    do throws(Errno) {
      try supervisor.enterInit()
      HostReports.look(with: supervisor.launcher)
      if HostReports.areTaken.load(ordering: .relaxed) {
        setup.degraded(
          "a thread of the host program waits for any child and takes the tracer's reports with it; they are looked for, "
            + "which is slower")
      }
      try supervisor.pool.begin { () throws(Errno) in try Receiver.start(supervisor) }
      let watcher = try SupervisorThread.start(name: "\(setup.names.pod)") {
        var watcher = Watcher(supervisor)
        watcher.run()
        supervisor.close()
        directory?.remove()
        ended.fulfil(())
      }
      return SeccompSession(
        supervisor, ended: ended, watcher: watcher,
        containment: machine.containment(
          of: setup.configuration, objects: setup.names.objects,
          hasDirectory: directory != nil))
    } catch {
      supervisor.end()
      throw PodError(
        .backendUnavailable,
        "no thread is to be had for the supervisor: raise the limit of processes (ulimit -u, or the container's "
          + "limit of pids)", underlyingError: error)
    }
  }

  func launch(_ request: LaunchRequest) async throws(PodError) -> LaunchedProcess {
    try await Launch.run(
      request, streams, keeping: supervisor.setup.configuration.capabilities
    ) { supervisor.launch($0) }
  }

  func send(
    signal: Int32, to process: VirtualName<ProcessID>, toGroup: Bool
  ) async throws(PodError) {
    try supervisor.send(signal, to: process, toGroup: toGroup).get()
  }

  func processes() async -> [VirtualName<ProcessID>] {
    supervisor.names.processes.liveProcesses.map(\.virtual).sorted()
  }

  var statistics: PodStatistics { supervisor.pool.statistics }

  func end() async {
    supervisor.end()
    await ended.value
    watch.cancel()
    await watch.value
    // Nothing is left for them to do but to end.
    watcher.withLock { $0.take() }?.join()
    supervisor.pool.join()
    streams.close()
  }
}

/// Hears from the pod's init: who has ended, who was reaped, which launch has failed.
struct Watcher {
  private let supervisor: Supervisor
  /// Processes that have ended, and that somebody may wait for, or that the kernel may reap by itself a moment later.
  private var unwaited: [PodProcess] = []
  /// Processes that init can't watch, since it has no descriptor left for them.
  private var unwatched: [PodProcess] = []
  private var pause: Int32 = Self.shortest
  /// When those are looked at again, should reports come all the time.
  private var nextLook = ContinuousClock.now

  private static let shortest: Int32 = 5
  private static let longest: Int32 = 1000
  /// How many times as long as a look nobody is looked at.
  private static let restAfterLook = 8

  init(_ supervisor: Supervisor) { self.supervisor = supervisor }

  /// Runs until init has ended.
  mutating func run() {
    while true {
      do throws(Errno) {
        let mayWait = unwaited.isEmpty && unwatched.isEmpty ? -1 : pause
        let looks = supervisor.lateWatches.areLookedAt
        let isShort = looks && (mayWait < 0 || mayWait > LateWatches.moment)
        let report = try supervisor.podInit.nextReport(
          milliseconds: isShort ? LateWatches.moment : mayWait)
        if let report { hear(report) } else if !isShort { pause = min(pause * 2, Self.longest) }
        supervisor.watchLate()
        // Thousands that end at once are not all looked at for each of them.
        guard report == nil || ContinuousClock.now >= nextLook else { continue }
        let begin = ContinuousClock.now
        for process in unwatched where process.hasEnded || supervisor.isOver(process) {
          hear(.ended(tag: process.tag))
        }
        unwatched.removeAll { $0.hasEnded }
        let supervisor = supervisor
        unwaited.removeAll { supervisor.isSettled($0) }
        let end = ContinuousClock.now
        nextLook = end + (end - begin) * Self.restAfterLook
      } catch {
        break
      }
    }
    if !supervisor.isEnding { supervisor.fail("the pod's init was killed") }
    supervisor.killAll()
    supervisor.podInit.endLauncher()
    _ = try? supervisor.podInit.waitUntilEnded(milliseconds: -1)
  }

  private mutating func hear(_ report: PodInit.Report) {
    switch report {
    case .failed(let failure): supervisor.launchFailed(failure)
    case .unwatched(let tag):
      if let process = supervisor.process(tag: tag) { unwatched.append(process) }
    case .ended(let tag):
      if let process = supervisor.ended(tag: tag) {
        unwaited.append(process)
        pause = Self.shortest
      }
    case .reaped(let process, let status): supervisor.reaped(process, status: status)
    }
  }
}
