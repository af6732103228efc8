internal import CLinux
internal import CPodVDSO
internal import Glibc
internal import PodCore
internal import Synchronization
package import SystemPackage

// Supervised mode: a filter with a listener instead of a tracer, and messages instead of stops.

extension PodInit {
  /// What all programs of a supervised pod share.
  package struct Supervision: Sendable, Equatable {
    /// The filter: an array of `struct sock_filter`.
    package var filter: [UInt8]
    /// Flags of seccomp(2) besides SECCOMP_FILTER_FLAG_NEW_LISTENER.
    package var flags: UInt32
    /// Whether Landlock keeps the pod's signals in the pod, and those of its programs from init.
    package var isScoped: Bool

    /// A filter, with the listener's flags.
    package init(filter: [UInt8], flags: UInt32 = 0, isScoped: Bool) {
      self.filter = filter
      self.flags = flags
      self.isScoped = isScoped
    }
  }

  /// What init, the launcher and launched processes report.
  package enum Report: Sendable, Equatable {
    /// A launch did not get to its program. Its process, if there is one, then exits with 127.
    case failed(Failure)
    /// The process that is watched under this tag has ended, with all its threads.
    case ended(tag: UInt64)
    /// The process of this tag can't be watched: init has no room for its descriptor.
    case unwatched(tag: UInt64)
    /// Init has reaped a child of its own: a launched program, an orphan or the launcher. The status is
    /// that of wait(2). If it was watched, its end was reported before. With the launcher, launches that
    /// are under way are lost, and none is possible any more.
    case reaped(processID: Int32, status: Int32)
  }

  /// The version of Landlock's interface: signals can be scoped from 6 on. nil where there is no Landlock, or it is
  /// switched off. Source: landlock_create_ruleset(2).
  package static var landlockABI: Int32? {
    let version = CLinux_landlock_version()
    return version > 0 ? version : nil
  }

  /// Makes the launcher and its filter, which all programs of the pod get.
  ///
  /// Nothing else may take reports meanwhile. After a failure it may be tried again, otherwise
  /// configured (a launcher that ended is then still reported as reaped); after a success it can't.
  ///
  /// From then on, the launcher and what it launches wait for an answer at each call for which the
  /// filter asks the listener: clone, and whatever lies between a launch and its execve.
  ///
  /// - Returns: The filter's listener, of which no process of the pod has a copy.
  /// - Throws: ``SupervisionFailure``.
  package func supervise(
    _ supervision: Supervision
  ) throws(SupervisionFailure) -> OwnedDescriptor {
    let host = try step(.request) { () throws(Errno) in
      OwnedDescriptor(owning: try valueOrErrno(CLinux_pidfd_open(getpid(), 0)))
    }
    return try supervise(supervision, host: host.rawValue)
  }

  /// Makes the launcher, for a host that is the process of this pidfd: its end ends the pod, also where a copy of init's
  /// socket lives on in a process that the host forked.
  func supervise(
    _ supervision: Supervision, host: Int32
  ) throws(SupervisionFailure) -> OwnedDescriptor {
    guard mode == .supervised, launcherSocket < 0 else {
      throw SupervisionFailure(step: .request, error: Errno(rawValue: EALREADY))
    }
    var ends: (Int32, Int32) = (-1, -1)
    try step(.request) { () throws(Errno) in
      _ = try valueOrErrno(CLinux_seqpacket_pair(&ends.0, &ends.1))
    }
    let socket = OwnedDescriptor(owning: ends.0)
    let launchers = OwnedDescriptor(owning: ends.1)
    try step(.request) { () throws(Errno) in
      let filter = try fileInMemory("pod-filter", supervision.filter)
      let request = message(
        POD_MESSAGE_SUPERVISE, id: supervision.flags,
        tag: supervision.isScoped ? UInt64(POD_SUPERVISE_SCOPED) : 0)
      try sendPatiently(
        request, to: control.rawValue, descriptors: [host, launchers.rawValue, filter.rawValue])
    }
    close(launchers.release())
    let started = try answer(POD_MESSAGE_SUPERVISED, from: control.rawValue).message
    let listener = OwnedDescriptor(
      owning: try answer(POD_MESSAGE_LISTENER, from: socket.rawValue, wantsDescriptor: true)
        .descriptor)
    guard listener.rawValue >= 0 else {
      throw SupervisionFailure(step: .answer, error: .tooManyOpenFiles)
    }
    _ = try answer(POD_MESSAGE_READY, from: socket.rawValue)
    let launcherSocket = socket.release()
    launcher.withLock { launcher in
      launcher = Launcher(
        processID: Int32(bitPattern: started.id), socket: OwnedDescriptor(owning: launcherSocket))
    }
    return listener
  }

  /// Has init see the pod's directories where programs look for them, and with it all its descendants: in a mount
  /// namespace of its own. Before ``supervise(_:)``, and before init is traced.
  ///
  /// - Parameters:
  ///   - outer: The digits of the outermost directory's name.
  ///   - secret: Those of the inner ones.
  ///   - which: `POD_VIEW_…`.
  ///   - meanwhile: What the host program does while init does its part.
  /// - Returns: With `POD_VIEW_OBJECTS`, the namespace that all its descendants have their System V objects in.
  /// - Throws: What keeps it from that; `.notPermitted` where the kernel lets it mount nothing.
  @discardableResult
  package func show(
    outer: UInt32, secret: UInt64, which: UInt32, meanwhile: () -> Void = {}
  ) throws(Errno) -> ObjectNamespace? {
    var request = message(POD_MESSAGE_VIEW, id: outer, tag: secret)
    request.stage = which
    try sendPatiently(request, to: control.rawValue, descriptors: [])
    meanwhile()
    var numbers = [Int32](repeating: -1, count: ObjectNamespace.tables.count)
    guard
      let answer = try receive(
        from: control.rawValue, milliseconds: 10_000, descriptors: &numbers)
    else { throw .timedOut }
    var files = numbers.map { OpenTable(owning: $0) }
    guard answer.type == UInt32(POD_MESSAGE_VIEWED) else { throw .connectionReset }
    if answer.error != 0 { throw Errno(rawValue: CInt(truncatingIfNeeded: answer.error)) }
    guard which & UInt32(POD_VIEW_OBJECTS) != 0 else { return nil }
    // They came in the order of the bits that are set.
    var opened: [PathViews.SystemVTable: OpenTable] = [:]
    for (index, table) in ObjectNamespace.tables.enumerated()
    where answer.stage >> UInt32(index) & 1 == 1 && !files.isEmpty {
      opened[table] = files.removeFirst()
    }
    return ObjectNamespace(
      opened,
      limitFailure: answer.id == 0 ? nil : Errno(rawValue: CInt(truncatingIfNeeded: answer.id)))
  }

  /// Waits for a message of this type, or for a refusal. What an earlier attempt left behind is dropped.
  private func answer(
    _ type: Int, from socket: Int32, wantsDescriptor: Bool = false
  ) throws(SupervisionFailure) -> (message: pod_message, descriptor: Int32) {
    while true {
      let next = try step(.answer) { () throws(Errno) in
        let next = try receive(
          from: socket, milliseconds: 10_000, wantsDescriptor: wantsDescriptor)
        guard let next else { throw .timedOut }
        return next
      }
      switch Int(next.message.type) {
      case type: return next
      case POD_MESSAGE_REFUSED:
        throw SupervisionFailure(
          step: SupervisionFailure.Step(number: next.message.stage),
          error: Errno(rawValue: CInt(truncatingIfNeeded: next.message.error)))
      default: continue
      }
    }
  }

  private func step<Value: ~Copyable>(
    _ step: SupervisionFailure.Step, _ body: () throws(Errno) -> Value
  ) throws(SupervisionFailure) -> Value {
    do throws(Errno) {
      return try body()
    } catch {
      throw SupervisionFailure(step: step, error: error)
    }
  }

  /// Has the end of a process reported.
  ///
  /// Init keeps a copy of the descriptor until then; at the end of a pod without a scope it kills what
  /// it watches, so watch only processes of the pod. It has room for as many as its hard limit of open
  /// files, at most 1,048,576; beyond it reports ``Report/unwatched(tag:)``.
  ///
  /// A process that can't end before this returns, since its notification isn't answered yet, is
  /// reported as ended before it is reported as reaped.
  ///
  /// - Parameters:
  ///   - pidfd: A pidfd of a thread-group leader; the caller keeps it.
  ///   - tag: What the report will say.
  /// - Throws: `.brokenPipe` when init has ended; `.resourceTemporarilyUnavailable` when it takes no
  ///   message for a second.
  package func watch(pidfd: Int32, tag: UInt64) throws(Errno) {
    try sendPatiently(
      message(POD_MESSAGE_WATCH, tag: tag), to: control.rawValue, descriptors: [pidfd])
  }

  /// The next report, in the order in which init saw things; a launch's failure comes before its
  /// process is reaped.
  ///
  /// Init stops reporting, without losing anything, while nobody takes reports. One thread at a time.
  ///
  /// - Parameter milliseconds: How long to wait at most; negative: without end.
  /// - Returns: nil when none came in time, or before ``wake()``.
  /// - Throws: `.connectionReset` when init has ended.
  package func nextReport(milliseconds: Int32) throws(Errno) -> Report? {
    while let message = try nextMessage(milliseconds: milliseconds) {
      switch Int(message.type) {
      case POD_MESSAGE_FAILED:
        return .failed(Failure(id: message.id, error: message.error, stage: message.stage))
      case POD_MESSAGE_ENDED: return .ended(tag: UInt64(message.tag))
      case POD_MESSAGE_UNWATCHED: return .unwatched(tag: UInt64(message.tag))
      case POD_MESSAGE_REAPED:
        return .reaped(
          processID: Int32(bitPattern: message.id),
          status: Int32(truncatingIfNeeded: message.tag))
      default: continue
      }
    }
    return nil
  }

  /// The next message of either socket, the launcher's first.
  ///
  /// A failure is in its socket before init can report the end of that process. poll(2) looks in the order of the
  /// entries: with init's socket first, it can't miss the failure and see the end.
  private func nextMessage(milliseconds: Int32) throws(Errno) -> pod_message? {
    while true {
      let launchers = launcherHasEnded.load(ordering: .relaxed) ? -1 : launcherSocket
      var entries = [
        pollfd(fd: control.rawValue, events: Int16(POLLIN), revents: 0),
        pollfd(fd: launchers, events: Int16(POLLIN), revents: 0),
        pollfd(fd: bell.rawValue, events: Int16(POLLIN), revents: 0),
      ]
      let count = Glibc.poll(&entries, 3, milliseconds)
      guard count >= 0 else {
        let error = Errno(rawValue: errno)
        guard error == .interrupted else { throw error }
        continue
      }
      guard count > 0 else { return nil }
      if entries[1].revents != 0 {
        do {
          // Programs of the same user can write over the launcher's code; init's word is not its to give.
          if let next = try receive(from: launchers, milliseconds: 0),
            Int(next.message.type) == POD_MESSAGE_FAILED
          {
            return next.message
          }
        } catch .connectionReset {
          launcherHasEnded.store(true, ordering: .relaxed)
        }
        continue
      }
      if let next = try receive(from: control.rawValue, milliseconds: 0) { return next.message }
      if entries[2].revents != 0 {
        var bytes: UInt64 = 0
        while recv(bell.rawValue, &bytes, 8, Int32(MSG_DONTWAIT)) > 0 {}
        return nil
      }
    }
  }

  /// The process that makes the pod's programs.
  struct Launcher: ~Copyable, Sendable {
    let processID: Int32
    let socket: OwnedDescriptor
  }

  /// The physical process id of the launcher, a child of init; nil before ``supervise(_:)``.
  package var launcherProcessID: Int32? { launcher.withLock { $0?.processID } }

  /// Ends the launcher when init can't: it sees the end of its socket. It has the filter, whose listener waits for it.
  package func endLauncher() {
    let socket = launcherSocket
    if socket >= 0 { shutdown(socket, Int32(SHUT_RDWR)) }
  }

  /// The launcher's socket, which lives as long as this; negative before there is a launcher.
  var launcherSocket: Int32 { launcher.withLock { $0?.socket.rawValue ?? -1 } }

  /// What kept a pod from being supervised.
  package struct SupervisionFailure: Error, Sendable, Equatable {
    /// The steps from init to a listener.
    package enum Step: String, Sendable {
      /// The request: socketpair(2), memfd_create(2), pidfd_open(2), and the message itself.
      case request
      /// Init gives up gaining privileges: PR_SET_NO_NEW_PRIVS(2const).
      case privileges
      /// Init and the launcher enter domains: landlock(7).
      case landlock
      /// The launcher: clone(2).
      case fork
      /// The filter and its listener: seccomp(2).
      case filter
      /// The answers of init and the launcher.
      case answer

      fileprivate init(number: UInt32) {
        switch Int(number) {
        case POD_STEP_PRIVILEGES: self = .privileges
        case POD_STEP_LANDLOCK: self = .landlock
        case POD_STEP_FORK: self = .fork
        case POD_STEP_FILTER: self = .filter
        default: self = .request
        }
      }
    }

    /// Which step failed.
    package let step: Step
    /// What the kernel said.
    package let error: Errno

    /// A step that failed.
    package init(step: Step, error: Errno) {
      self.step = step
      self.error = error
    }

    /// What is missing and what to do about it, in words.
    package var explanation: String {
      switch (step, error) {
      case (_, .tooManyOpenFiles), (_, .tooManyOpenFilesInSystem):
        "no descriptors are left for a pod: raise the limit of open files (ulimit -n)"
      case (.landlock, .noFunction), (.landlock, .notPermitted):
        "signals can't be kept in the pod: this kernel has no Landlock, or the container's seccomp profile denies "
          + "it"
      case (.landlock, .notSupportedOnSocket):
        "signals can't be kept in the pod: Landlock is switched off here, add landlock to the kernel's option lsm="
      case (.landlock, .argListTooLong):
        "signals can't be kept in the pod: this kernel's Landlock knows no scopes, Linux 6.12 or newer does"
      case (.landlock, _): "signals can't be kept in the pod: Landlock refuses it"
      case (.fork, _):
        "no process is to be had for the pod's launcher: raise the limit of processes (ulimit -u, or the "
          + "container's limit of pids)"
      case (.filter, .resourceBusy):
        "these processes have a seccomp listener already, and the kernel allows one: a pod in a pod, or an "
          + "engine that supervises its containers"
      case (.filter, .invalidArgument):
        "the pod's filter isn't accepted: this kernel doesn't know a flag or an operation of it"
      case (.filter, _):
        "the pod's filter can't be installed: seccomp(2) is denied here, check the container's seccomp profile"
      case (.privileges, _):
        "PR_SET_NO_NEW_PRIVS is denied here, check the container's seccomp profile"
      case (.request, Errno(rawValue: EALREADY)): "the pod is supervised already"
      case (.request, _): "the pod's init can't be asked for a launcher"
      case (.answer, _): "the pod's init or its launcher was killed before it could answer"
      }
    }
  }
}

extension PodInit {
  /// What the first argument of getpid(2) says when a child of the launcher introduces itself.
  package static let bornMagic = UInt64(POD_MAGIC_BORN)
}
