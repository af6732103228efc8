import ArgumentParser
import Foundation
import Measuring
import PodCore
@_spi(Benchmarks) import PodSeccomp
import Subprocess
import SystemPackage

/// What a notified identity call costs: what a receiver does between the kernel's two calls, and the whole call in a pod.
@main
struct NotificationCosts: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measures a receiver's work for getpid, its allocations, and getpid in a pod.")

  @Option(help: "How many calls a series has.")
  var calls = 1_000_000

  @Option(help: "How many names the pod has.")
  var names = 1000

  @Option(help: "How often each series is run; medians are printed.")
  var runs = 11

  @Flag(
    help:
      "Only the given number of calls, once: for tools that count instructions (perf stat, callgrind)."
  )
  var once = false

  @Flag(help: .hidden)
  var countsAllocations = false

  func run() async throws {
    let rehearsal = try ReceiverRehearsal(names: names)
    if once {
      guard rehearsal.answer(calls) else { throw ValidationError("not answered") }
      return
    }
    if countsAllocations {
      print(try allocations(rehearsal))
      return
    }
    print("load: \(load)")
    guard rehearsal.answer(calls) else { throw ValidationError("not answered") }
    let clock = ContinuousClock()
    var costs: [Double] = []
    for _ in 0..<runs {
      let duration = clock.measure { _ = rehearsal.answer(calls) }
      costs.append(duration / .nanoseconds(1) / Double(calls))
    }
    print("from a notification to its answer, \(names) names: \(Self.spread(costs)) ns")
    print("allocations in \(calls) answers: \(try await countedAllocations())")
    let program = try await CompiledProgram.path("notification_costs", [])
    for (name, prefix) in [("unpinned", ["env"]), ("pinned", ["taskset", "-c", "0"])] {
      try await inPod(name, prefix + [program, "\(runs)", "5000"])
    }
    print("load: \(load)")
  }

  private func inPod(_ name: String, _ command: [String]) async throws {
    let output = try await withPod(backend: SeccompBackend(fallback: .none)) { pod in
      let before = try Self.switches()
      let output = try await pod.run(
        .name(command[0]), arguments: Pod.Arguments(Array(command.dropFirst())), input: .none,
        output: .string(limit: 65536), error: .discarded
      ).standardOutput
      let after = try Self.switches()
      let made = Double(1000 + runs * 5000)
      print(
        "getpid in a pod, \(name): this program's threads were switched "
          + String(format: "%.2f times a call", Double(after - before) / made))
      return output
    }
    let rows = output.split(separator: "\n").map { line in
      line.split(separator: " ").compactMap { Double($0) }
    }
    print("  \(Self.spread(rows.map { $0[0] })) ns; the caller was switched", terminator: "")
    print(
      String(
        format: " %.2f times by itself, %.2f by others", Self.median(rows.map { $0[1] }),
        Self.median(rows.map { $0[2] })))
  }

  /// How often the threads of this program were switched.
  private static func switches() throws -> Int {
    var sum = 0
    for thread in try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task") {
      guard
        let text = try? String(contentsOfFile: "/proc/self/task/\(thread)/status", encoding: .utf8)
      else { continue }
      for line in text.split(separator: "\n") where line.contains("ctxt_switches:") {
        sum += line.split(separator: "\t").last.flatMap { Int($0) } ?? 0
      }
    }
    return sum
  }

  // MARK: Allocations

  /// Runs this program again with a counter.
  private func countedAllocations() async throws -> String {
    let counter = try await CompiledProgram.path("allocation_count", ["-shared", "-fPIC"])
    let result = try await Subprocess.run(
      .path(FilePath(CommandLine.arguments[0])),
      arguments: ["--counts-allocations", "--calls", "\(calls)", "--names", "\(names)"],
      environment: .inherit.updating(["LD_PRELOAD": counter]), output: .string(limit: 4096),
      error: .string(limit: 4096))
    guard result.terminationStatus.isSuccess else {
      throw ValidationError(result.standardError)
    }
    return result.standardOutput.trimmingCharacters(in: .whitespacesAndNewlines)
  }

  private func allocations(_ rehearsal: ReceiverRehearsal) throws -> Int {
    guard let symbol = dlsym(nil, "pod_allocation_count") else {
      throw ValidationError("no counter is loaded")
    }
    let count = unsafeBitCast(symbol, to: (@convention(c) () -> Int).self)
    guard rehearsal.answer(1) else { throw ValidationError("not answered") }
    let before = count()
    _ = rehearsal.answer(calls)
    let after = count()
    // A counter that counts nothing proves nothing.
    let probe = UnsafeMutableRawPointer.allocate(byteCount: 64, alignment: 8)
    probe.deallocate()
    guard count() > after else { throw ValidationError("the counter doesn't count") }
    return after - before
  }

  private static func median(_ values: [Double]) -> Double { Spread(values)?.median ?? .nan }

  private static func spread(_ values: [Double]) -> String {
    guard let spread = Spread(values) else { return "" }
    return "\(spread.median.written(0)) (\(spread.least.written(0))–\(spread.most.written(0)))"
  }
}
