internal import CPodLayout
internal import CPodPageModel
internal import Glibc
internal import PodCore
internal import SystemPackage

/// A process as the pod page sees it: its area, a kernel, and the page's code, which is compiled for the tests.
///
/// Calls may come from several threads, and from inside ``kernel`` and ``step``, as from a signal's handler. Whoever sets
/// these and shares the process between threads sees to it that they may be called from all.
final class ModelProcess: @unchecked Sendable {
  /// What a system call from the page does; negative errno for failure.
  var kernel: (Syscall, CallArguments) -> Int = { _, _ in -Int(ENOSYS) }
  /// What happens before a step of the page; false leaves a protection out.
  var step: (PageStep, Int32) -> Bool = { _, _ in true }
  /// What the page asked the kernel, in order.
  private(set) var asked: [Question] = []

  /// A call that came out of the page.
  struct Question: Equatable, CustomStringConvertible {
    var call: Syscall
    var arguments: CallArguments
    var description: String { "\(call.name) \((0..<6).map { arguments[$0] })" }
  }

  /// The boundary table that the filter was made of, and what interposers want.
  var boundary = BoundaryTable.standard
  var wanted: Set<Syscall> = []

  /// The memory below; who shares it keeps its owner.
  private let owner: ModelProcess?
  private let region: UnsafeMutableRawPointer
  private let base: UnsafeMutablePointer<CChar>
  private let model: UnsafeMutablePointer<pod_page_model>
  private let table: UnsafeRawPointer

  /// Makes a process of a pod.
  ///
  /// - Parameters:
  ///   - table: The pod's table.
  ///   - rules: What lies at the rules' place.
  init(table: UnsafeRawPointer, rules: [UInt8] = []) {
    self.table = table
    owner = nil
    let privateSize = Int(POD_AREA_PRIVATE_SIZE)
    let size = privateSize + Int(POD_AREA_TABLE)
    region = .allocate(byteCount: size, alignment: 4096)
    region.initializeMemory(as: UInt8.self, repeating: 0, count: size)
    base = (region + privateSize).assumingMemoryBound(to: CChar.self)
    model = .allocate(capacity: 1)
    model.initialize(to: pod_page_model())
    precondition(rules.count <= Int(POD_AREA_RULES_SIZE))
    rules.withUnsafeBytes { bytes in
      guard let start = bytes.baseAddress else { return }
      (region + privateSize + Int(POD_AREA_RULES)).copyMemory(
        from: start, byteCount: bytes.count)
    }
    begin()
  }

  /// Makes a process that shares another's memory.
  init(sharing owner: ModelProcess) {
    self.owner = owner
    (table, region, base) = (owner.table, owner.region, owner.base)
    (boundary, wanted) = (owner.boundary, owner.wanted)
    model = .allocate(capacity: 1)
    model.initialize(to: pod_page_model())
    begin()
  }

  private func begin() {
    model.pointee.base = base
    model.pointee.table = table.assumingMemoryBound(to: pod_table.self)
    model.pointee.context = Unmanaged.passUnretained(self).toOpaque()
    model.pointee.kernel = { context, number, arguments in
      guard let context, let arguments else { return 0 }
      let process = Unmanaged<ModelProcess>.fromOpaque(context).takeUnretainedValue()
      return process.ask(number, arguments)
    }
    model.pointee.step = { context, step, name in
      guard let context, let step = PageStep(rawValue: step) else { return 1 }
      let process = Unmanaged<ModelProcess>.fromOpaque(context).takeUnretainedValue()
      return process.step(step, name) ? 1 : 0
    }
  }

  deinit {
    model.deallocate()
    if owner == nil { region.deallocate() }
  }

  private func ask(_ number: UInt, _ words: UnsafePointer<UInt>) -> Int {
    guard let call = UInt16(exactly: number).flatMap({ Syscall(rawValue: $0) }) else {
      return -Int(ENOSYS)
    }
    let arguments = CallArguments(
      UInt64(words[0]), UInt64(words[1]), UInt64(words[2]), UInt64(words[3]), UInt64(words[4]),
      UInt64(words[5]))
    asked.append(Question(call: call, arguments: arguments))
    return kernel(call, arguments)
  }

  /// Whether the program's own instruction makes the call that comes now.
  var isElsewhere: Bool { model.pointee.is_elsewhere != 0 }

  /// The process's private words, which fork wipes.
  var cache: pod_page_cache {
    get { cachePointer.pointee }
    set { cachePointer.pointee = newValue }
  }

  private var cachePointer: UnsafeMutablePointer<pod_page_cache> {
    (UnsafeMutableRawPointer(base) + Int(POD_AREA_CACHE))
      .assumingMemoryBound(to: pod_page_cache.self)
  }

  /// Whether newborns get their names when somebody first needs them.
  var namesLate: Bool {
    get { machinePointer.pointee & UInt64(POD_MACHINE_NAMES_LATE.rawValue) != 0 }
    set { machinePointer.pointee = newValue ? UInt64(POD_MACHINE_NAMES_LATE.rawValue) : 0 }
  }

  private var machinePointer: UnsafeMutablePointer<UInt64> {
    (UnsafeMutableRawPointer(base) + Int(POD_AREA_MACHINE)).assumingMemoryBound(to: UInt64.self)
  }

  /// Makes a place for a sleeping maker somebody's.
  func occupySleeper(_ index: Int, owner: UInt64) {
    let offset =
      MemoryLayout<pod_page_cache>.offset(of: \.sleepers) ?? 0
    let sleepers = (UnsafeMutableRawPointer(cachePointer) + offset)
      .assumingMemoryBound(to: pod_page_sleeper.self)
    sleepers[index].owner = owner
  }

  /// Makes a call of the program's.
  ///
  /// - Returns: What the program sees.
  func call(_ call: Syscall, _ words: CallArguments) -> CallResult {
    let arguments = (0..<6).map { UInt(words[$0]) }
    let result = pod_page_model_call(model, UInt(call.rawValue), arguments)
    return (-4095 ... -1).contains(result)
      ? .failure(Errno(rawValue: Int32(-result))) : .success(result)
  }

  /// Makes a call of the program's.
  func call(_ call: Syscall, _ arguments: Int...) -> CallResult {
    var words = CallArguments()
    for (index, argument) in arguments.enumerated() {
      words[index] = UInt64(bitPattern: Int64(argument))
    }
    return self.call(call, words)
  }

  /// Forgets what was asked.
  func forget() { asked = [] }
}

/// The page's steps. Source: page/steps.h.
enum PageStep: Int32 {
  case lookUp = 1
  case virtualize
  case claim
  case check
}
