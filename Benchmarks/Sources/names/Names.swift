import ArgumentParser
import Dispatch
import Glibc
import PodCore
import Synchronization
import SystemPackage

/// Look-ups in a table with as many names as are asked for: time, memory, and what threads do to each other.
///
/// Look-ups are independent and in random order, so what is measured is throughput: a processor has several under way.
@main
struct Names: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measures look-ups in a table of names, in both directions, and its memory.")

  @Option(help: "Names in the table.")
  var entries = 1_000_000

  @Option(help: "How often each series is run; medians are printed, with the least and the most.")
  var runs = 9

  @Flag(help: "Physical numbers in a row, as a kernel gives them, not strewn over all that it has.")
  var consecutive = false

  typealias Virtual = VirtualName<ProcessID>
  typealias Physical = PhysicalName<ProcessID>

  func run() throws {
    guard (16...4_000_000).contains(entries) else {
      throw ValidationError("--entries must be 16…4000000")
    }
    // Physical numbers are any of the machine's unless said: the worst case.
    var random = Shuffler()
    let all = 1...Int32(4_194_303)
    let numbers = consecutive ? Array(all.dropFirst(1000)) : all.shuffled(using: &random)
    let physical = numbers.prefix(entries).map { Physical(rawValue: $0) }
    let spare = Physical(rawValue: numbers[entries])
    let before = try Self.residentMemory()
    let system = SystemNames<ProcessID>()
    let table = try Namespace<ProcessID>(
      pod: PodID(rawValue: 1), range: 1...4_194_303, capacity: entries + 1, system: system)
    for number in physical { try table.bind(table.allocate(), to: number) }
    let used = try Self.residentMemory() - before
    print("\(entries) names: \(Self.oneDigit(Double(used) / Double(entries))) bytes each,")
    print("both indexes, free numbers and the host's table of physical names included")

    let virtual = (1...Int32(entries)).map { Virtual(rawValue: $0) }.shuffled(using: &random)
    let wanted = physical.shuffled(using: &random)
    let series: [(String, @Sendable () -> Int32)] = [
      (
        "virtual to physical",
        {
          var sum: Int32 = 0
          for name in virtual { sum ^= table.physical(of: name)?.rawValue ?? 1 }
          return sum
        }
      ),
      (
        "physical to virtual",
        {
          var sum: Int32 = 0
          for name in wanted { sum ^= table.virtual(of: name)?.rawValue ?? 1 }
          return sum
        }
      ),
      (
        "whole entry, by virtual",
        {
          var sum: Int32 = 0
          for name in virtual { sum ^= (try? table.entry(name).physical.rawValue) ?? 1 }
          return sum
        }
      ),
      (
        "whole entry, by physical",
        {
          var sum: Int32 = 0
          for name in wanted { sum ^= (try? table.entry(name).virtual.rawValue) ?? 1 }
          return sum
        }
      ),
    ]
    print(
      "\nprocessor time of a look-up in ns: median (least…most) of \(runs) runs, each thread's own")
    for (name, body) in series {
      let expected = body()
      for (readers, writes) in [(1, false), (2, false), (1, true), (2, true)] {
        var times: [Double] = []
        var changes = 0
        for _ in 0..<runs {
          let (time, made) = measure(readers: readers, table, writes ? spare : nil) {
            precondition(body() == expected, "a look-up found another name")
          }
          times.append(time / Double(entries))
          changes += made
        }
        let title =
          "\(name), \(readers) reader\(readers > 1 ? "s" : "")"
          + (writes ? " and a writer" : "")
        print(Self.row(title, times) + (writes ? ", \(changes / runs) names made a run" : ""))
      }
    }
    print(Self.row("the machine's noise: the same arithmetic", noise()))
  }

  /// What a fixed piece of arithmetic costs, each time: what differs is the machine's doing.
  private func noise() -> [Double] {
    (0..<runs).map { _ in
      var value = UInt64(entries)
      let start = Self.processorTime()
      for _ in 0..<entries {
        value ^= value << 13
        value ^= value >> 7
        value ^= value << 17
      }
      let time = Self.processorTime() - start
      return Double(time) / Double(entries) + (value == 0 ? 1 : 0)
    }
  }

  /// - Returns: The nanoseconds of the mean reader, and how many names the writer made and ended meanwhile.
  private func measure(
    readers: Int, _ table: Namespace<ProcessID>, _ spare: Physical?,
    _ body: @escaping @Sendable () -> Void
  ) -> (Double, Int) {
    let group = DispatchGroup()
    let total = Atomic<UInt64>(0)
    let isDone = Atomic(false)
    let changes = Atomic(0)
    if let spare {
      DispatchQueue.global().async(group: group) {
        while !isDone.load(ordering: .relaxed) {
          guard let name = try? table.allocate() else { break }
          try? table.bind(name, to: spare)
          try? table.retire(name)
          try? table.reap(name)
          changes.add(1, ordering: .relaxed)
        }
      }
    }
    let reading = DispatchGroup()
    for _ in 0..<readers {
      DispatchQueue.global().async(group: reading) {
        let start = Self.processorTime()
        body()
        total.add(Self.processorTime() - start, ordering: .relaxed)
      }
    }
    reading.wait()
    isDone.store(true, ordering: .relaxed)
    group.wait()
    return (
      Double(total.load(ordering: .relaxed)) / Double(readers), changes.load(ordering: .relaxed)
    )
  }

  /// What the calling thread has used: not the time in which others had its processor.
  private static func processorTime() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }

  private static func oneDigit(_ value: Double) -> Double { (value * 10).rounded() / 10 }

  private static func row(_ title: String, _ values: [Double]) -> String {
    let sorted = values.sorted()
    let words =
      "\(oneDigit(sorted[sorted.count / 2])) (\(oneDigit(sorted[0]))…\(oneDigit(sorted[sorted.count - 1])))"
    return title + String(repeating: " ", count: max(1, 50 - title.count)) + words
  }

  /// This program's private memory, in bytes.
  private static func residentMemory() throws -> Int {
    let file = try FileDescriptor.open("/proc/self/status", .readOnly)
    defer { try? file.close() }
    var text = [UInt8](repeating: 0, count: 4096)
    let count = try text.withUnsafeMutableBytes { try file.read(into: $0) }
    return 1024
      * (String(decoding: text[..<count], as: UTF8.self).split(separator: "\n")
        .first { $0.hasPrefix("RssAnon:") }
        .flatMap { Int($0.filter(\.isNumber)) } ?? 0)
  }
}

/// The same order each time, and quickly (SplitMix64).
private struct Shuffler: RandomNumberGenerator {
  private var state: UInt64 = 1
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = (state ^ state >> 30) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
    return mixed ^ mixed >> 31
  }
}
