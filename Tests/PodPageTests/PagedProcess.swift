internal import CPodLayout
internal import CPodPageModel
internal import Glibc
internal import PodCore
internal import PodMock
internal import SystemPackage

extension ModelProcess {
  /// A process of the simulated kernel whose calls go through the page: what the page passes on or asks for is the
  /// supervisor's, what it makes itself is the kernel's.
  ///
  /// - Parameter filter: Which calls the filter lets pass when they come from the page.
  convenience init(
    _ process: MockProcess, of pod: MockPod, rules: [UInt8] = BoundaryTable.standard.pageRules(),
    filter: Set<Syscall> = [.getpid, .gettid, .getppid]
  ) {
    self.init(table: pod.names.processes.space.memory.start, rules: rules)
    serve(process, filter)
  }

  /// From now on it is this process's thread that makes the calls.
  func serve(
    _ process: MockProcess, _ filter: Set<Syscall> = [.getpid, .gettid, .getppid]
  ) {
    kernel = { call, arguments in
      Self.word(Self.kernel(call, arguments, process, filter))
    }
  }

  private static func kernel(
    _ call: Syscall, _ arguments: CallArguments, _ process: MockProcess, _ filter: Set<Syscall>
  ) -> CallResult {
    if call == .getpid, arguments[0] == UInt64(POD_PAGE_MAGIC) {
      guard arguments[1] == UInt64(POD_HYPERCALL_CALL.rawValue),
        let asked = UInt16(exactly: arguments[2]).flatMap({ Syscall(rawValue: $0) })
      else { return .failure(.noFunction) }
      return process.call(
        asked, Int(bitPattern: UInt(arguments[3])), Int(bitPattern: UInt(arguments[4])),
        Int(bitPattern: UInt(arguments[5])))
    }
    guard filter.contains(call) else {
      let words = (0..<6).map { Int(bitPattern: UInt(arguments[$0])) }
      return process.call(
        call, words[0], words[1], words[2], words[3], words[4], words[5])
    }
    return process.page(for: call).perform(call, arguments)
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
