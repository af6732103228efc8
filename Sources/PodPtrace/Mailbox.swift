internal import PodCore
internal import PodLinux
internal import Synchronization

/// What async callers ask of the supervisor's thread.
enum Command: Sendable {
  case launch(Launch)
  case signal(
    Int32, VirtualName<ProcessID>, toGroup: Bool,
    answer: @Sendable (Result<Void, PodError>) -> Void)
  case processes(answer: @Sendable ([VirtualName<ProcessID>]) -> Void)
  case end
}

/// The way to the supervisor's thread, which sleeps in wait4 until something of the pod stops: init is made to stop.
final class Mailbox: Sendable {
  private struct State {
    var commands: [Command] = []
    var isClosed = false
  }
  private let state = Mutex(State())
  private let podInit: PodInit

  init(podInit: PodInit) { self.podInit = podInit }

  /// - Returns: Whether the command will be served; false when the pod has ended.
  func post(_ command: Command) -> Bool {
    let (isOpen, isFirst) = state.withLock { state in
      guard !state.isClosed else { return (false, false) }
      state.commands.append(command)
      return (true, state.commands.count == 1)
    }
    // Who was first has rung for all that are waiting.
    guard isFirst else { return isOpen }
    // An init that is gone is a stop of its own: the supervisor closes the mailbox and answers.
    do { try podInit.ring() } catch {}
    return true
  }

  /// Makes the supervisor look, also when somebody has rung before.
  func wake() { do { try podInit.ring() } catch {} }

  func drain() -> [Command] {
    state.withLock { state in
      defer { state.commands = [] }
      return state.commands
    }
  }

  /// Nothing is served from now on.
  ///
  /// - Returns: What was still waiting.
  func close() -> [Command] {
    state.withLock { state in
      state.isClosed = true
      defer { state.commands = [] }
      return state.commands
    }
  }
}
