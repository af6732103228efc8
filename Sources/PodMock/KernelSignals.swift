internal import PodCore
internal import SystemPackage

/// A signal with what the receiver is told of it.
public struct MockSignal: Sendable, Hashable {
  /// 1…64.
  public var number: Int32
  /// `si_code`: 0 `SI_USER`, −1 `SI_QUEUE`, −6 `SI_TKILL`; for SIGCHLD 1 `CLD_EXITED`, 2 `CLD_KILLED`, 5 `CLD_STOPPED` …
  public var code: Int32
  /// `si_pid`: physical inside the kernel, virtual once it was delivered in a pod.
  public var sender: Int32
  /// `si_status` or `si_value`.
  public var value: Int32

  /// SIGCHLD.
  public static let child: Int32 = 17

  /// Describes a signal.
  public init(number: Int32, code: Int32 = 0, sender: Int32 = 0, value: Int32 = 0) {
    (self.number, self.code, self.sender, self.value) = (number, code, sender, value)
  }

  /// The 128 bytes of `struct siginfo`.
  var bytes: [UInt8] {
    var bytes = [UInt8](repeating: 0, count: SignalInfo.size)
    func store(_ value: Int32, _ offset: Int) {
      withUnsafeBytes(of: value.littleEndian) {
        bytes.replaceSubrange(offset..<offset + 4, with: $0)
      }
    }
    store(number, 0)
    store(code, SignalInfo.codeOffset)
    store(sender, SignalInfo.senderOffset)
    store(value, 24)
    return bytes
  }

  /// The 128 bytes of `struct signalfd_siginfo`.
  var record: [UInt8] {
    var bytes = [UInt8](repeating: 0, count: SignalRecord.size)
    func store(_ value: Int32, _ offset: Int) {
      withUnsafeBytes(of: value.littleEndian) {
        bytes.replaceSubrange(offset..<offset + 4, with: $0)
      }
    }
    store(number, 0)
    store(code, SignalRecord.codeOffset)
    store(sender, SignalRecord.senderOffset)
    // ssi_status or ssi_int
    store(value, code > 0 ? 40 : 44)
    return bytes
  }
}

/// What a process wants done with a signal.
public enum MockDisposition: Sendable, Hashable {
  /// The kernel's own action.
  case `default`
  /// Nothing.
  case ignore
  /// The program takes it (``MockProcess/takeSignal()``).
  case handle
}

/// The signals of one process.
struct SignalState {
  private var dispositions: [Int32: MockDisposition] = [:]
  var blocked: Set<Int32> = []
  var pending: [MockSignal] = []

  func disposition(of signal: Int32) -> MockDisposition { dispositions[signal] ?? .default }
  mutating func set(_ disposition: MockDisposition, for signal: Int32) {
    dispositions[signal] = disposition
  }

  var ignoresChildren: Bool { disposition(of: MockSignal.child) == .ignore }

  /// What a child gets by fork.
  var inherited: SignalState {
    var copy = self
    copy.pending = []
    return copy
  }

  mutating func reset() {
    for (signal, disposition) in dispositions where disposition == .handle {
      dispositions[signal] = .default
    }
  }

  /// Whether a handler would run now.
  var interrupts: Bool {
    pending.contains { !blocked.contains($0.number) && disposition(of: $0.number) == .handle }
  }
}

extension KernelState {
  private static let stopping: Set<Int32> = [19, 20, 21, 22]
  private static let harmless: Set<Int32> = [17, 18, 23, 28]

  /// Delivers or queues a signal; 0 only asks.
  mutating func send(_ signal: MockSignal, to number: Int32) {
    guard let process = processes[number], !process.isZombie else { return }
    if process.reapsByItself || process.isPodInit { return }
    reads(number)
    switch signal.number {
    case 0: return
    case 9: return end(number, status: 9)
    case 18: resume(number)
    case 19: return stop(number, by: 19)
    default: break
    }
    let disposition = process.signals.disposition(of: signal.number)
    if process.signals.blocked.contains(signal.number) || disposition == .handle {
      writes(number)
      processes[number]?.signals.pending.append(signal)
    } else if disposition == .default, !Self.harmless.contains(signal.number) {
      if Self.stopping.contains(signal.number) {
        stop(number, by: signal.number)
      } else {
        end(number, status: signal.number)
      }
    }
  }

  private mutating func stop(_ number: Int32, by signal: Int32) {
    guard let process = processes[number], !process.isStopped else { return }
    writes(number)
    processes[number]?.isStopped = true
    // It leaves the queue, and looks again when it goes on.
    for thread in process.threads {
      guard let identity = threads[thread]?.identity else { continue }
      sleeps[identity]?.isAsleep = false
    }
    processes[number]?.stopToReport = signal
    tellParent(of: process, code: 5, value: signal)
  }

  private mutating func resume(_ number: Int32) {
    guard let process = processes[number], process.isStopped else { return }
    writes(number)
    processes[number]?.isStopped = false
    processes[number]?.stopToReport = nil
    processes[number]?.continueToReport = true
    tellParent(of: process, code: 6, value: 18)
  }

  private mutating func tellParent(of process: Process, code: Int32, value: Int32) {
    send(
      MockSignal(number: MockSignal.child, code: code, sender: process.number, value: value),
      to: process.parent)
  }
}
