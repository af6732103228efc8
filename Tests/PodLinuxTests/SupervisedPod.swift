import CLinux
import Glibc
import PodLinux
import Synchronization
import SystemPackage
import Testing

/// A supervised init, and a thread that lets each call go on after the test has looked at it.
final class SupervisedPod: Sendable {
  /// A call for which the filter asked.
  struct Call: Sendable, Equatable {
    var pid: Int32
    var number: Int32
    var first: UInt64
    var second: UInt64

    /// The launch whose newborn process calls, if that is what it says.
    var bornID: UInt64? { number == 39 && first == 0x706f_642d_626f_726e ? second : nil }
    var isExecute: Bool { number == 59 }
  }

  /// What the thread and the test share.
  private final class State: Sendable {
    let calls = Mutex<[Call]>([])
    let stops = Atomic(false)
  }

  let podInit: PodInit
  private let state = State()
  private let thread: SupervisorThread

  /// The calls until now.
  var calls: [Call] { state.calls.withLock { $0 } }

  /// Asks for births, forks and programs.
  static func filter() throws -> [UInt8] {
    var rules: [UInt32: FilterRules.Rule] = [435: .init(.noFunction)]  // clone3
    for number: UInt32 in [39, 56, 57, 58, 59] {  // getpid, clone, fork, vfork, execve
      rules[number] = .init(.notify)
    }
    return try FilterRules(rules, unlisted: .allow).program().bytes
  }

  /// - Parameter look: Is shown each call while its caller waits.
  init(
    isScoped: Bool, flags: UInt32 = 0,
    look: @escaping @Sendable (PodInit, Call) -> Void = { _, _ in }
  ) throws {
    let podInit = try PodInit.start(mode: .supervised)
    let number = try podInit.supervise(
      .init(filter: try Self.filter(), flags: flags, isScoped: isScoped)
    ).release()
    self.podInit = podInit
    thread = try SupervisorThread.start(name: "test-supervisor") { [state] in
      let listener = OwnedDescriptor(owning: number)
      var entry = pollfd(fd: listener.rawValue, events: Int16(POLLIN), revents: 0)
      while !state.stops.load(ordering: .acquiring) {
        guard poll(&entry, 1, 10) > 0 else { continue }
        guard entry.revents & Int16(POLLIN) != 0 else { break }
        var notification = seccomp_notif()
        guard CLinux_seccomp_receive(listener.rawValue, &notification) == 0 else { continue }
        let call = Call(
          pid: Int32(bitPattern: notification.pid), number: notification.data.nr,
          first: notification.data.args.0, second: notification.data.args.1)
        state.calls.withLock { $0.append(call) }
        look(podInit, call)
        _ = CLinux_seccomp_send(
          listener.rawValue, notification.id, 0, 0, CLinux_SECCOMP_USER_NOTIF_FLAG_CONTINUE)
      }
    }
  }

  /// Stops answering and closes the listener.
  func stop() {
    if !state.stops.exchange(true, ordering: .releasing) { thread.join() }
  }

  deinit { stop() }

  /// The next report; a failure of the test when there is none for ten seconds.
  func report(_ location: SourceLocation = #_sourceLocation) throws -> PodInit.Report {
    try #require(try podInit.nextReport(milliseconds: 10_000), sourceLocation: location)
  }

  /// Launches a shell with these descriptors behind the three usual ones, which lead nowhere.
  func launch(_ script: String, id: UInt32 = 1, passing: [Int32] = []) throws {
    let null = try FileDescriptor.open("/dev/null", .readWrite)
    defer { try? null.close() }
    let all = [null, null, null] + passing.map { FileDescriptor(rawValue: $0) }
    try podInit.launch(
      LaunchSpecification(
        paths: ["/bin/sh"], arguments: ["sh", "-c", script].map { Array($0.utf8) },
        environment: [Array("PATH=/usr/bin:/bin".utf8)], flags: .newSession),
      id: id, descriptors: zip(all, 0...).map { .init($0, as: $1) })
  }

  /// What a shell script writes to descriptor 3, until nobody has it any more.
  func output(_ script: String, id: UInt32 = 1) throws -> String {
    let (reading, writing) = try makePipe()
    defer { close(reading) }
    do {
      let end = OwnedDescriptor(owning: writing)
      try launch(script, id: id, passing: [end.rawValue])
    }
    return readToEnd(reading)
  }
}

/// Everything that arrives at a pipe until its last writer is gone.
func readToEnd(_ descriptor: Int32) -> String {
  var result: [UInt8] = []
  var buffer = [UInt8](repeating: 0, count: 65536)
  while case let count = read(descriptor, &buffer, buffer.count), count > 0 {
    result.append(contentsOf: buffer[..<count])
  }
  return String(decoding: result, as: UTF8.self)
}
