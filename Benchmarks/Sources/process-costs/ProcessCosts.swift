import ArgumentParser
import PodCore
import PodPtrace
import Subprocess
import SystemPackage

/// Process calls natively and in a pod, in one run: medians, unpinned and on one CPU, and their ratios.
@main
struct ProcessCosts: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Compares what process calls cost natively and in pods.")

  @Option(help: "How often the whole series is run; the median of the runs is printed.")
  var runs = 3

  @Option(help: "The CPU for the pinned series.")
  var cpu = 0

  func run() async throws {
    let source = FilePath(#filePath).removingLastComponent().removingLastComponent()
      .removingLastComponent().appending("Programs").appending("process_costs.c")
    let program = "/tmp/pod-process-costs"
    let compiled = try await Subprocess.run(
      .name("gcc"), arguments: ["-O2", "-static", "-pthread", "-o", program, source.string],
      output: .string(limit: 65536), error: .combinedWithOutput)
    guard compiled.terminationStatus.isSuccess else {
      throw ValidationError("gcc: \(compiled.standardOutput)")
    }
    for pinned in [false, true] {
      let command = (pinned ? ["taskset", "-c", String(cpu)] : ["env"]) + [program]
      var native: [String: [Double]] = [:]
      var pod: [String: [Double]] = [:]
      var order: [String] = []
      for _ in 0..<runs {
        for (name, cost) in try await natively(command) {
          if !order.contains(name) { order.append(name) }
          native[name, default: []].append(cost)
        }
        for (name, cost) in try await inPod(command) {
          pod[name, default: []].append(cost)
        }
      }
      print(pinned ? "\nprogram on CPU \(cpu)" : "unpinned")
      print(Self.row("call", "native ns", "pod ns", "ratio"))
      for name in order {
        let (left, right) = (Self.median(native[name]), Self.median(pod[name]))
        let ratio = (right / left * 100).rounded() / 100
        print(Self.row(name, "\(Int(left))", "\(Int(right))", "\(ratio)"))
      }
    }
    print("\nmemory of this program: \(try await memoryPerPod()) KiB more for each pod")
  }

  /// How much more memory this program has for each pod with a program in it, in KiB: the mean of many at once, after
  /// a first one that starts what the language runtime keeps.
  private func memoryPerPod() async throws -> Int {
    let count = 32
    _ = try await memory(with: 1)
    let before = try Self.residentMemory()
    return (try await memory(with: count) - before) / count
  }

  private func memory(with pods: Int) async throws -> Int {
    if pods == 0 { return try Self.residentMemory() }
    return try await withPod(backend: .ptrace) { pod in
      try await pod.run(
        .name("sleep"), arguments: ["1000"], input: .none, output: .discarded, error: .discarded
      ) { running in
        let memory = try await memory(with: pods - 1)
        try await running.send(signal: .kill)
        return memory
      }.closureResult
    }
  }

  private static func residentMemory() throws -> Int {
    let file = try FileDescriptor.open("/proc/self/status", .readOnly)
    defer { try? file.close() }
    var text = [UInt8](repeating: 0, count: 4096)
    let count = try text.withUnsafeMutableBytes { try file.read(into: $0) }
    // "RssAnon:     1234 kB"
    return String(decoding: text[..<count], as: UTF8.self).split(separator: "\n")
      .first { $0.hasPrefix("RssAnon:") }
      .flatMap { Int($0.filter(\.isNumber)) } ?? 0
  }

  private func natively(_ command: [String]) async throws -> [(String, Double)] {
    let result = try await Subprocess.run(
      .name(command[0]), arguments: Arguments(Array(command.dropFirst())),
      output: .string(limit: 65536))
    return Self.parse(result.standardOutput)
  }

  private func inPod(_ command: [String]) async throws -> [(String, Double)] {
    try await withPod(backend: .ptrace) { pod in
      let result = try await pod.run(
        .name(command[0]), arguments: Pod.Arguments(Array(command.dropFirst())), input: .none,
        output: .string(limit: 65536), error: .combinedWithOutput)
      return Self.parse(result.standardOutput)
    }
  }

  private static func parse(_ output: String) -> [(String, Double)] {
    output.split(separator: "\n").compactMap { line in
      let words = line.split(separator: " ")
      guard words.count == 2, let cost = Double(words[1]) else { return nil }
      return (String(words[0]), cost)
    }
  }

  private static func median(_ values: [Double]?) -> Double {
    let sorted = (values ?? []).sorted()
    return sorted.isEmpty ? .nan : sorted[sorted.count / 2]
  }

  private static func row(_ words: String...) -> String {
    words.enumerated().map { index, word in
      let padding = String(repeating: " ", count: max(0, (index == 0 ? 16 : 12) - word.count))
      return index == 0 ? word + padding : padding + word
    }.joined()
  }
}
