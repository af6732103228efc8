import ArgumentParser
import Foundation
import PodCore
import PodPtrace
import PodSeccomp
import Subprocess
import SystemPackage
import TextTable

/// Process calls, 1,000 shells and a build, natively, in pods of both backends and under proot, in one run: medians, unpinned and with the program on
/// one CPU, and their ratios.
@main
struct ProcessCosts: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Compares what process calls cost natively, in pods and under proot.")

  @Option(help: "How often the whole series is run; the median of the runs is printed.")
  var runs = 3

  @Option(help: "The CPU for the pinned series.")
  var cpu = 0

  @Option(help: "How many source files the build has that make -j2 runs.")
  var files = 24

  @Option(help: "How many shells are started one after the other.")
  var shells = 1000

  func run() async throws {
    let program = try await compiledProgram()
    let hasProot = try await Self.output(of: ["sh", "-c", "command -v proot || true"]) != ""
    if !hasProot { print("proot is not installed: its column is empty") }
    for pinned in [false, true] {
      let prefix = pinned ? ["taskset", "-c", String(cpu)] : ["env"]
      var costs: [String: Costs] = [:]
      var order: [String] = []
      for _ in 0..<runs {
        for way in Way.allCases where way != .proot || hasProot {
          for (name, cost) in Self.parse(try await way.run(prefix + [program])) {
            if costs[name] == nil { order.append(name) }
            costs[name, default: Costs(name: name)].samples[way, default: []].append(cost)
          }
          for (name, cost) in [
            ("make -j2 (\(files) files)", try await build(way, prefix)),
            ("\(shells) × sh -c :", try await startShells(way, prefix)),
          ] {
            if costs[name] == nil { order.append(name) }
            costs[name, default: Costs(name: name)].samples[way, default: []].append(cost)
          }
        }
      }
      print(pinned ? "\nprogram on CPU \(cpu)" : "unpinned")
      Self.table.print(order.compactMap { costs[$0] }, style: Style.psql)
    }
    for way in [Way.seccomp, .ptrace] {
      guard let backend = way.backend else { continue }
      print(
        "\n\(way): \(try await memoryPerPod(backend)) KiB more of this program's memory for each pod, "
          + "\(try await memoryPerProcess(backend)) bytes for each process in one")
      print("  threads more for a pod: \(try await threadsPerPod(backend))")
    }
  }

  /// The compiled program that measures calls.
  private func compiledProgram() async throws -> String {
    let source = FilePath(#filePath).removingLastComponent().removingLastComponent()
      .removingLastComponent().appending("Programs").appending("process_costs.c")
    let program = "/tmp/pod-process-costs"
    let compiled = try await Subprocess.run(
      .name("gcc"), arguments: ["-O2", "-static", "-pthread", "-o", program, source.string],
      output: .string(limit: 65536), error: .combinedWithOutput)
    guard compiled.terminationStatus.isSuccess else {
      throw ValidationError("gcc: \(compiled.standardOutput)")
    }
    return program
  }

  /// The wall time of `make -j2` in a new directory, in nanoseconds, the start of the pod or of proot included.
  private func build(_ way: Way, _ prefix: [String]) async throws -> Double {
    let directory = try await Self.output(of: ["sh", "-c", "printf %s $(mktemp -d)"])
    defer { try? FileManager.default.removeItem(atPath: directory) }
    _ = try await Self.output(of: [
      "sh", "-c",
      """
      cd \(directory)
      for i in $(seq \(files)); do
        printf '#include <stdio.h>\\n#include <stdlib.h>\\nint f%d(int x) { return printf("%%d", x); }\\n' $i > f$i.c
      done
      printf 'all: $(patsubst %%.c,%%.o,$(wildcard *.c))\\n' > Makefile
      """,
    ])
    let clock = ContinuousClock()
    let duration = try await clock.measure {
      _ = try await way.run(prefix + ["make", "-s", "-j2", "-C", directory])
    }
    return Double(duration.components.seconds) * 1e9 + Double(duration.components.attoseconds) / 1e9
  }

  /// The wall time of shells that do nothing, in nanoseconds, the start of the pod or of proot included.
  private func startShells(_ way: Way, _ prefix: [String]) async throws -> Double {
    let script = "i=0; while [ $i -lt \(shells) ]; do sh -c :; i=$((i+1)); done"
    let clock = ContinuousClock()
    let duration = try await clock.measure {
      _ = try await way.run(prefix + ["sh", "-c", script])
    }
    return Double(duration.components.seconds) * 1e9 + Double(duration.components.attoseconds) / 1e9
  }

  /// How many threads more this program has while a pod runs a program that has made calls.
  private func threadsPerPod(_ backend: any Backend) async throws -> Int {
    func threads() throws -> Int {
      try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task").count
    }
    _ = try await memory(with: 1, backend)
    let before = try threads()
    return try await withPod(backend: backend) { pod in
      try await pod.run(
        .name("sh"),
        arguments: ["-c", "for i in 1 2 3 4 5; do sleep 0 & done; wait; echo; sleep 9"],
        input: .none, output: .sequence, error: .discarded
      ) { running in
        for try await _ in running.standardOutput.lines { break }
        let after = try threads()
        try await running.send(signal: .kill)
        return after - before
      }.closureResult
    }
  }

  /// How much more memory this program has for each pod with a program in it, in KiB: the mean of many at once, after
  /// a first one that starts what the language runtime keeps.
  private func memoryPerPod(_ backend: any Backend) async throws -> Int {
    let count = 32
    _ = try await memory(with: 1, backend)
    let before = try Self.residentMemory()
    return (try await memory(with: count, backend) - before) / count
  }

  /// How much more memory this program has for each process in a pod, in bytes.
  private func memoryPerProcess(_ backend: any Backend) async throws -> Int {
    let count = 1000
    return try await withPod(backend: backend) { pod in
      let script = "for i in $(seq \(count)); do sleep 1000 & done; echo; wait"
      let before = try Self.residentMemory()
      return try await pod.run(
        .name("sh"), arguments: ["-c", script], input: .none, output: .sequence, error: .discarded
      ) { running in
        for try await _ in running.standardOutput.lines { break }
        let after = try Self.residentMemory()
        try await running.send(signal: .kill)
        return (after - before) * 1024 / count
      }.closureResult
    }
  }

  private func memory(with pods: Int, _ backend: any Backend) async throws -> Int {
    if pods == 0 { return try Self.residentMemory() }
    return try await withPod(backend: backend) { pod in
      try await pod.run(
        .name("sleep"), arguments: ["1000"], input: .none, output: .discarded, error: .discarded
      ) { running in
        let memory = try await memory(with: pods - 1, backend)
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

  fileprivate static func output(of command: [String]) async throws -> String {
    let result = try await Subprocess.run(
      .name(command[0]), arguments: Arguments(Array(command.dropFirst())),
      output: .string(limit: 65536), error: .discarded)
    guard result.terminationStatus.isSuccess else {
      throw ValidationError("\(command.joined(separator: " ")): \(result.terminationStatus)")
    }
    return result.standardOutput
  }

  private static func parse(_ output: String) -> [(String, Double)] {
    output.split(separator: "\n").compactMap { line in
      let words = line.split(separator: " ")
      guard words.count == 2, let cost = Double(words[1]) else { return nil }
      return (String(words[0]), cost)
    }
  }

  private static var table: TextTable<Costs> {
    TextTable { costs in
      [
        Column(title: "call", value: costs.name),
        Column(title: "native ns", value: costs.median(.native), align: .right),
        Column(title: "seccomp ns", value: costs.median(.seccomp), align: .right),
        Column(title: "ptrace ns", value: costs.median(.ptrace), align: .right),
        Column(title: "proot ns", value: costs.median(.proot), align: .right),
        Column(title: "seccomp : native", value: costs.ratio(.seccomp), align: .right),
        Column(title: "ptrace : native", value: costs.ratio(.ptrace), align: .right),
        Column(title: "proot : native", value: costs.ratio(.proot), align: .right),
      ]
    }
  }
}

/// How a program is run.
private enum Way: CaseIterable {
  case native
  case seccomp
  case ptrace
  case proot

  /// What makes the pod; nil in no pod.
  var backend: (any Backend)? {
    switch self {
    case .seccomp: SeccompBackend(fallback: .none)
    case .ptrace: PtraceBackend(stops: .filtered)
    case .native, .proot: nil
    }
  }

  /// What the command wrote to its output.
  func run(_ command: [String]) async throws -> String {
    switch self {
    case .native: return try await ProcessCosts.output(of: command)
    case .proot: return try await ProcessCosts.output(of: ["proot"] + command)
    case .seccomp, .ptrace:
      guard let backend else { return "" }
      return try await withPod(backend: backend) { pod in
        let result = try await pod.run(
          .name(command[0]), arguments: Pod.Arguments(Array(command.dropFirst())), input: .none,
          output: .string(limit: 65536), error: .combinedWithOutput)
        guard result.terminationStatus == .exited(0) else {
          throw ValidationError("in the pod: \(result.terminationStatus) \(result.standardOutput)")
        }
        return result.standardOutput
      }
    }
  }
}

/// What one call cost in each way, a sample a run.
private struct Costs {
  let name: String
  var samples: [Way: [Double]] = [:]

  func median(_ way: Way) -> String { value(way).map { "\(Int($0))" } ?? "" }

  func ratio(_ way: Way) -> String {
    guard let native = value(.native), let cost = value(way) else { return "" }
    return String(format: "%.2f", cost / native)
  }

  private func value(_ way: Way) -> Double? {
    guard let sorted = samples[way]?.sorted(), !sorted.isEmpty else { return nil }
    return sorted[sorted.count / 2]
  }
}
