public import SystemPackage

/// Something that happened in a pod or to it.
public enum PodEvent: Sendable {
  /// A process was born: virtual and physical number, its parent.
  case started(VirtualName<ProcessID>, PhysicalName<ProcessID>, parent: VirtualName<ProcessID>)
  /// A process has executed another program.
  ///
  /// It is reported when the backend next hears of the process, at the latest at its end, and before anything else of it
  /// that comes later. Where nobody can tell any more whether an exec has failed, since the process has ended without another
  /// call that is heard of, it is reported if there was a file that could be executed.
  case executed(VirtualName<ProcessID>)
  /// A process has ended.
  case ended(VirtualName<ProcessID>, Pod.TerminationStatus)
  /// A process changed its credentials.
  case credentialsChanged(VirtualName<ProcessID>)
  /// An interposed call, as `podrun --trace` prints it. Only when tracing was asked for.
  case call(TracedCall)
  /// A call that the boundary table refuses, or that it doesn't know, was made; reported once per number and process,
  /// and only when calls are traced (``PodConfiguration/tracesCalls``): else the kernel's filter answers by itself.
  case refused(Syscall?, number: Int, by: VirtualName<ProcessID>, Errno)
  /// Something is not as good as it was asked for; the pod goes on.
  case degraded(String)
  /// The backend's own machinery failed: the pod was killed.
  case failed(String)
}

/// One interposed call with both sides of its names.
public struct TracedCall: Sendable, CustomStringConvertible {
  /// Who called.
  public let caller: Caller
  /// What.
  public let call: Syscall
  /// What the program passed.
  public let virtualArguments: CallArguments
  /// What the kernel got; nil when it wasn't asked.
  public let physicalArguments: CallArguments?
  /// What the kernel answered; nil when it wasn't asked.
  public let physicalResult: CallResult?
  /// What the program was told.
  public let virtualResult: CallResult
  /// The arguments that carry names, by index.
  public let namedArguments: [Int]

  /// Describes a call.
  public init(
    caller: Caller, call: Syscall, virtualArguments: CallArguments,
    physicalArguments: CallArguments?, physicalResult: CallResult?, virtualResult: CallResult,
    namedArguments: [Int]
  ) {
    self.caller = caller
    self.call = call
    self.virtualArguments = virtualArguments
    self.physicalArguments = physicalArguments
    self.physicalResult = physicalResult
    self.virtualResult = virtualResult
    self.namedArguments = namedArguments
  }

  /// `[2] kill(3→10573, 15, 0) = 0`: three arguments at least, virtual names, an arrow and the physical ones where they differ.
  public var description: String {
    var words: [String] = []
    let shown = max((namedArguments.max() ?? -1) + 1, 3)
    for index in 0..<shown {
      var word = Self.text(virtualArguments[index])
      if let physicalArguments {
        // Names are ints: the upper half of the register is whatever the program left there.
        let physical = Self.text(physicalArguments[index])
        if physical != word { word += "→" + physical }
      }
      words.append(word)
    }
    var answer = Self.text(virtualResult)
    if let physicalResult, Self.text(physicalResult) != answer {
      answer += "←" + Self.text(physicalResult)
    }
    return "[\(caller.thread)] \(call.name)(\(words.joined(separator: ", "))) = \(answer)"
  }

  /// An int in decimal, everything larger in hexadecimal.
  private static func text(_ word: UInt64) -> String {
    (-0x1_0000_0000...0x1_0000_0000).contains(Int64(bitPattern: word))
      ? String(Int32(truncatingIfNeeded: word)) : "0x" + String(word, radix: 16)
  }

  private static func text(_ result: CallResult) -> String {
    switch result {
    case .success(let value): String(value)
    case .failure(let error): "-\(error.rawValue) (\(error.description))"
    }
  }
}
