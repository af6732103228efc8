import Glibc

@testable import PodCore

/// A process as /proc shows it.
struct HostProcess: Hashable {
  let number: Int32
  let name: String
  let state: Character
  let parent: Int32
  let group: Int32
  let session: Int32
  let threads: Set<Int32>

  init?(_ number: Int32) {
    guard let text = contents(of: "/proc/\(number)/stat"), let end = text.lastIndex(of: ")"),
      let begin = text.firstIndex(of: "(")
    else { return nil }
    let words = text[text.index(after: end)...].split(separator: " ")
    guard words.count > 4, let state = words[0].first, let parent = Int32(words[1]),
      let group = Int32(words[2]), let session = Int32(words[3])
    else { return nil }
    self.number = number
    name = String(text[text.index(after: begin)..<end])
    (self.state, self.parent, self.group, self.session) = (state, parent, group, session)
    threads = Set(entries(of: "/proc/\(number)/task").compactMap { Int32($0) })
  }

  /// All that there are.
  static var all: [HostProcess] {
    entries(of: "/proc").compactMap { Int32($0) }.compactMap { HostProcess($0) }
  }

  /// The processes of a user. What ended is there until its parent waits for it.
  static func all(of user: UInt32) -> [HostProcess] {
    all.filter { process in
      var status = stat()
      return stat("/proc/\(process.number)", &status) == 0 && status.st_uid == user
        || owner(of: process.number) == user
    }
  }

  private static func owner(of process: Int32) -> UInt32? {
    contents(of: "/proc/\(process)/status")?.split(separator: "\n")
      .first { $0.hasPrefix("Uid:") }?.split(separator: "\t").dropFirst().first
      .flatMap { UInt32($0) }
  }
}

/// A file's text; nil where there is none.
func contents(of path: String) -> String? {
  guard let file = fopen(path, "r") else { return nil }
  defer { fclose(file) }
  var bytes = [UInt8](repeating: 0, count: 16_384)
  let count = fread(&bytes, 1, bytes.count, file)
  return String(decoding: bytes[..<count], as: UTF8.self)
}

/// The names in a directory.
func entries(of path: String) -> [String] {
  guard let directory = opendir(path) else { return [] }
  defer { closedir(directory) }
  var names: [String] = []
  while let entry = readdir(directory) {
    names.append(
      withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      })
  }
  return names.filter { $0 != "." && $0 != ".." }
}

/// Waits until `condition` holds.
///
/// - Returns: Whether it did in time.
func eventually(
  within seconds: Double = 10, isolation: isolated (any Actor)? = #isolation,
  _ condition: () async throws -> Bool
) async rethrows -> Bool {
  let end = ContinuousClock.now + .seconds(seconds)
  while ContinuousClock.now < end {
    if try await condition() { return true }
    try? await Task.sleep(for: .milliseconds(10))
  }
  return try await condition()
}

extension Pod {
  /// The pod's processes as /proc shows them.
  func descendants() async -> [HostProcess] {
    HostProcess.descendants(of: names.tables.processes.physicalInit.rawValue)
  }

  /// Where the pod's tables and the kernel disagree, in words. Nothing of the pod may be forking or ending meanwhile.
  func disagreements() async -> [String] {
    // What is reported is served when somebody asks.
    _ = await processes()
    let table = names.tables.processes
    let known = table.space.entries
    guard let first = known.first(where: { $0.virtual == ProcessTable.initial }) else {
      return ["there is no init"]
    }
    var wrong: [String] = []
    // A supervised pod's init has a helper, which is no process of the pod.
    let real = HostProcess.descendants(of: first.physical.rawValue).filter {
      !($0.name == "pod-launcher" && $0.parent == first.physical.rawValue)
    }
    var expected: Set<Int32> = []
    for process in real {
      expected.insert(process.number)
      expected.formUnion(process.threads)
      guard let entry = known.first(where: { $0.physical.rawValue == process.number }) else {
        wrong.append("\(process) has no name")
        continue
      }
      if entry.virtual == ProcessTable.initial { continue }
      let isZombie = process.state == "Z"
      if isZombie != (entry.state == .dying) { wrong.append("\(process) is known as \(entry)") }
      if entry.isReaped { wrong.append("\(process) exists and \(entry) was waited for") }
      func physical(_ name: VirtualName<ProcessID>) -> Int32? {
        known.first { $0.virtual == name }?.physical.rawValue
      }
      if physical(entry.parent) != process.parent {
        wrong.append("\(process)'s parent is \(entry.parent)")
      }
      if known.contains(where: { $0.virtual == entry.group && !$0.isReaped }),
        physical(entry.group) != process.group
      {
        wrong.append("\(process)'s group is \(entry.group)")
      }
      if known.contains(where: { $0.virtual == entry.session && !$0.isReaped }),
        physical(entry.session) != process.session
      {
        wrong.append("\(process)'s session is \(entry.session)")
      }
    }
    for entry in known where !expected.contains(entry.physical.rawValue) {
      // A name outlives its process as long as a group or session has it.
      let isClaimed = known.contains {
        $0.virtual != entry.virtual && ($0.group == entry.virtual || $0.session == entry.virtual)
      }
      if !(entry.isReaped && isClaimed) { wrong.append("\(entry) is nobody") }
    }
    return wrong
  }

  /// Waits until tables and kernel agree, and says where they still don't.
  func settledDisagreements() async -> [String] {
    var wrong: [String] = []
    _ = await eventually {
      wrong = await disagreements()
      return wrong.isEmpty
    }
    return wrong
  }
}

extension HostProcess {
  /// A process and what descends from it.
  static func descendants(of root: Int32) -> [HostProcess] {
    let children = Dictionary(grouping: all, by: \.parent)
    var found = [HostProcess(root)].compactMap(\.self)
    var index = 0
    while index < found.count {
      found += children[found[index].number] ?? []
      index += 1
    }
    return found
  }
}
