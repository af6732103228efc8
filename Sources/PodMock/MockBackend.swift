public import PodCore
internal import Synchronization
internal import SystemPackage

/// A backend whose programs are Swift closures on a simulated kernel.
///
/// ```swift
/// let backend = MockBackend(programs: ["/bin/false": { $0.exit(1) }])
/// try await withPod(backend: backend) { pod in
///   let result = try await pod.run(.name("false"))  // exited(1)
/// }
/// ```
///
/// A program runs on a thread of its own; a program that loops has to look at ``MockProcess/isRunning``. Its output is
/// what it gives to `write`; input and the environment aren't simulated.
public struct MockBackend: Backend {
  /// "mock".
  public static let name = "mock"

  private let programs: [String: MockProgram]

  /// Makes a backend.
  ///
  /// - Parameter programs: What is at which path.
  public init(programs: [String: MockProgram] = [:]) { self.programs = programs }

  /// Signal frames are translated; nobody traces.
  public var capabilities: BackendCapabilities {
    BackendCapabilities(nestedTracing: false, signalFrames: true)
  }

  /// All that a program can reach is simulated.
  public func containment(for configuration: PodConfiguration) -> Containment { Self.containment }

  static let containment = Containment(
    Dictionary(
      uniqueKeysWithValues: Containment.Subsystem.allCases.map {
        ($0, .init(.supervisor, by: "a simulated kernel"))
      }))

  /// Makes a machine with a pod of its own.
  public func start(_ pod: PodSetup) async throws(PodError) -> any BackendSession {
    MockSession(pod, programs)
  }
}

extension Backend where Self == MockBackend {
  /// A simulated kernel with these programs.
  public static func mock(_ programs: [String: MockProgram]) -> MockBackend {
    MockBackend(programs: programs)
  }
}

private final class MockSession: BackendSession {
  private let pod: MockPod
  private let kernel: MockKernel
  private let programs: [String: MockProgram]

  init(_ setup: PodSetup, _ programs: [String: MockProgram]) {
    kernel = MockKernel(
      numbers: 1_000...32_767, system: setup.names.processes.system, executor: ThreadExecutor())
    pod = kernel.makePod(setup.names, events: setup.events)
    self.programs = programs
  }

  let containment = MockBackend.containment

  func launch(_ request: LaunchRequest) async throws(PodError) -> LaunchedProcess {
    let found = request.candidates.lazy.compactMap { self.programs[$0.string] }.first
    guard let program = found else {
      throw PodError(
        .executableNotFound, "no program \(request.name) in the mock; register it by its path",
        underlyingError: .noSuchFileOrDirectory)
    }
    let process = pod.boot()
    guard let name = process.virtual else {
      throw PodError(.launchFailed, "no free number for \(request.name)")
    }
    kernel.change { _ = $0.observed.insert(process.identity) }
    process.run(as: request.name, program)
    let kernel = kernel
    return LaunchedProcess(identifier: name) {
      let result = await withCheckedContinuation { continuation in
        kernel.whenEnded(process.identity) { continuation.resume(returning: $0) }
      }
      await Self.deliver(result.output, to: request.output)
      await Self.deliver([], to: request.error)
      let status = result.status
      return status & 0x7F == 0 ? .exited(status >> 8 & 0xFF) : .signaled(status & 0x7F)
    }
  }

  private static func deliver(_ bytes: [UInt8], to target: LaunchRequest.OutputTarget) async {
    switch target {
    case .sink(let sink):
      if !bytes.isEmpty { _ = await sink(bytes) }
      _ = await sink(nil)
    case .descriptor(let descriptor, _):
      _ = try? descriptor.writeAll(bytes)
    case .discard, .sameAsOutput: break
    }
  }

  func send(
    signal: Int32, to process: VirtualName<ProcessID>, toGroup: Bool
  ) async throws(PodError) {
    guard let entry = try? pod.names.processes.task(process) else {
      throw PodError(.processEnded, "process \(process) has ended")
    }
    kernel.change { state in
      let targets =
        toGroup
        ? state.members(of: entry.physical.rawValue).map(\.number) : [entry.physical.rawValue]
      for target in targets { state.send(MockSignal(number: signal), to: target) }
    }
    kernel.settle()
  }

  func processes() async -> [VirtualName<ProcessID>] {
    pod.names.processes.liveProcesses.map(\.virtual).sorted()
  }

  func end() async {
    pod.end()
    pod.remove()
  }
}
