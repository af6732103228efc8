public import PodCore
internal import SystemPackage

/// Code that a backend has put into a simulated process, in the middle of a call of the program's: it reads the tables and
/// makes calls of its own, which don't pass through the boundary (DESIGN.md §5).
public struct MockPage: Sendable {
  /// The thread that runs it.
  public let process: MockProcess
  /// The program's call.
  public let call: Syscall

  private func footprint(of step: Step, on name: Int32) -> Footprint {
    var footprint = process.base
    guard let pod = process.pod?.names.pod else { return footprint }
    switch step {
    case .lookUp, .virtualize: footprint.add(.readingEntry(name, of: pod))
    default: footprint.add(.readingTables(of: pod))
    }
    return footprint
  }

  /// Called before a step of the code's, with the name that it is about.
  ///
  /// - Returns: Whether to run it; see ``TransactionHost/willRun(_:on:)``.
  public func willRun(_ step: Step, on name: Int32) -> Bool {
    process.kernel.executor.willRun(
      ScheduledStep(occasion: .call(call), step: step, name: name), footprint(of: step, on: name),
      isReady: nil)
  }

  /// What tells the task behind a process descriptor of the process's own from all others, as the inode of a real one does;
  /// nil when there is no such descriptor.
  public func identity(ofHandle descriptor: Int32) -> UInt32? {
    process.kernel.inspect { state in
      let owner = state.numberOf[process.identity].flatMap { state.threads[$0]?.process }
      return owner.flatMap { state.processes[$0]?.handles[descriptor] }
        .map { UInt32(truncatingIfNeeded: $0.identity) }
    }
  }

  /// Makes a system call from the code, with physical names.
  ///
  /// - Returns: The kernel's answer; ESRCH when the process has ended.
  public func perform(_ call: Syscall, _ arguments: CallArguments) -> CallResult {
    guard process.isRunning, willRun(.perform, on: arguments.int(0)) else {
      return .failure(.noSuchProcess)
    }
    defer { process.kernel.settle() }
    return process.kernel.perform(call, arguments, by: process.identity, canBlock: true).result
  }
}

extension MockProcess {
  /// What code of a backend's has that runs in this thread for a call of the program's.
  public func page(for call: Syscall) -> MockPage { MockPage(process: self, call: call) }
}
