internal import CPodLayout
internal import PodCore
internal import PodMock
internal import SystemPackage

extension ModelProcess {
  /// A process of the simulated kernel whose calls go through the page. What comes out of it is the kernel's if the filter
  /// lets it pass, else the supervisor's.
  convenience init(
    _ process: MockProcess, of pod: MockPod, boundary: BoundaryTable = .standard
  ) {
    let interposers = pod.names.interposers
    self.init(
      table: pod.names.processes.space.memory.start,
      rules: boundary.pageRules(interposers: interposers, isScoped: true))
    wanted = interposers.reduce(into: []) { $0.formUnion($1.calls) }
    self.boundary = boundary
    serve(process)
  }

  /// From now on it is this process's thread that makes the calls.
  func serve(_ process: MockProcess) {
    kernel = { [unowned self] call, arguments in
      Self.word(answer(call, arguments, process))
    }
  }

  /// From now on each of the page's steps is one of the explorer's, in a call of this kind.
  func yield(in process: MockProcess, for call: Syscall) {
    step = { step, name in process.page(for: call).willRun(step.inExplorer, on: name) }
  }

  private func answer(
    _ call: Syscall, _ arguments: CallArguments, _ process: MockProcess
  ) -> CallResult {
    if call == .getpid, arguments[0] == UInt64(POD_PAGE_MAGIC) {
      if arguments[1] == UInt64(POD_HYPERCALL_NAME.rawValue), let names = process.pod?.names {
        let number = Int32(truncatingIfNeeded: arguments[2])
        return .success(Int(ProcessID.virtualize(number, in: names) ?? 0))
      }
      guard arguments[1] == UInt64(POD_HYPERCALL_CALL.rawValue),
        let asked = UInt16(exactly: arguments[2]).flatMap({ Syscall(rawValue: $0) })
      else { return .failure(.noFunction) }
      return process.call(
        asked, Int(bitPattern: UInt(arguments[3])), Int(bitPattern: UInt(arguments[4])),
        Int(bitPattern: UInt(arguments[5])))
    }
    // They reach nobody else, and nobody sees them.
    if call == .rt_sigprocmask || call == .close { return .success(0) }
    if call == .fstat { return show(arguments, process) }
    guard !isElsewhere, passes(call, arguments) else {
      let words = (0..<6).map { Int(bitPattern: UInt(arguments[$0])) }
      return process.call(
        call, words[0], words[1], words[2], words[3], words[4], words[5])
    }
    return process.page(for: call).perform(call, arguments)
  }

  /// fstat(2) of a process descriptor: the inode's number is the second word.
  private func show(_ arguments: CallArguments, _ process: MockProcess) -> CallResult {
    let descriptor = Int32(truncatingIfNeeded: arguments[0])
    guard let inode = process.page(for: .fstat).identity(ofHandle: descriptor) else {
      return .failure(.badFileDescriptor)
    }
    let status = UnsafeMutableRawPointer(bitPattern: UInt(arguments[1]))
    status?.storeBytes(of: UInt64(inode), toByteOffset: 8, as: UInt64.self)
    return .success(0)
  }

  /// Whether the filter lets a call pass that comes from the page, as `BoundaryFilter` says.
  private func passes(_ call: Syscall, _ arguments: CallArguments) -> Bool {
    if wanted.contains(call) { return false }
    guard let row = boundary.row(for: call, arguments) else { return true }
    if !row.isInterposed { return true }
    return [row.contained(isScoped: true), row.untouched].contains { conditions in
      conditions?.allSatisfy { arguments[$0.argument] & $0.mask == $0.value } ?? false
    }
  }

  /// How the kernel returns a result.
  static func word(_ result: CallResult) -> Int {
    switch result {
    case .success(let value): value
    case .failure(let error): -Int(error.rawValue)
    }
  }

  /// Whether the supervisor had a part in what was asked.
  var hasAskedSupervisor: Bool {
    asked.contains { $0.call == .getpid && $0.arguments[0] == UInt64(POD_PAGE_MAGIC) }
  }
}

extension PageStep {
  /// The step of the wrappers' that it is.
  var inExplorer: Step {
    switch self {
    case .lookUp: .lookUp
    case .virtualize: .virtualize
    case .claim: .publish
    case .check: .retry
    }
  }
}
