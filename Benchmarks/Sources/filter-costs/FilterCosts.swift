import ArgumentParser
import Foundation
@_spi(Benchmarks) import PodSeccomp
import Subprocess
import SystemPackage
import TextTable

/// What calls cost under a pod's seccomp filter that aren't notified: without a filter, with one that allows everything,
/// and with the pod's, in turns in one run on one CPU.
@main
struct FilterCosts: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Compares what calls cost without a filter, with an empty one and with a pod's.")

  @Option(help: "How often each call is measured in each way.")
  var rounds = 201

  @Option(help: "How many calls are made each time.")
  var calls = 5000

  @Option(help: "The CPU.")
  var cpu = 0

  func run() async throws {
    let filter = "/tmp/pod-filter-costs.bpf"
    let bytes = try SeccompBackend.standardFilter()
    try Data(bytes).write(to: URL(filePath: filter))
    let program = try await Self.compiledProgram()
    let result = try await Subprocess.run(
      .path(FilePath(program)), arguments: [filter, "\(cpu)", "\(rounds)", "\(calls)"],
      output: .string(limit: 1 << 24), error: .string(limit: 4096))
    guard result.terminationStatus.isSuccess else {
      throw ValidationError(result.standardError)
    }
    var costs: [Costs] = []
    for line in result.standardOutput.split(separator: "\n") {
      let words = line.split(separator: " ")
      let name = String(words[0])
      if !costs.contains(where: { $0.name == name }) { costs.append(Costs(name: name)) }
      guard let index = costs.firstIndex(where: { $0.name == name }) else { continue }
      costs[index].rounds.append(words.dropFirst().compactMap { Double($0) })
    }
    print("\(bytes.count / 8) instructions; \(rounds) rounds of \(calls) calls, on CPU \(cpu)")
    Self.table.print(costs, style: Style.psql)
    print("spread: from the first to the third quartile of the rounds' own ratios")
  }

  private static func compiledProgram() async throws -> String {
    let source = FilePath(#filePath).removingLastComponent().removingLastComponent()
      .removingLastComponent().appending("Programs").appending("filter_costs.c")
    let program = "/tmp/pod-filter-costs"
    let compiled = try await Subprocess.run(
      .name("gcc"), arguments: ["-O2", "-static", "-o", program, source.string],
      output: .string(limit: 65536), error: .combinedWithOutput)
    guard compiled.terminationStatus.isSuccess else {
      throw ValidationError("gcc: \(compiled.standardOutput)")
    }
    return program
  }

  private static var table: TextTable<Costs> {
    TextTable { costs in
      [
        Column(title: "call", value: costs.name),
        Column(title: "no filter ns", value: costs.median(0), align: .right),
        Column(title: "allow-all ns", value: costs.median(1), align: .right),
        Column(title: "pod's ns", value: costs.median(2), align: .right),
        Column(title: "allow-all : none", value: costs.ratio(1, 0), align: .right),
        Column(title: "pod's : allow-all", value: costs.ratio(2, 1), align: .right),
        Column(title: "spread", value: costs.spread(2, 1), align: .right),
      ]
    }
  }
}

/// What one call cost, in each round without a filter, with an empty one and with the pod's.
private struct Costs {
  let name: String
  var rounds: [[Double]] = []

  func median(_ way: Int) -> String { format(quantile(rounds.map { $0[way] }, 0.5), 1) }

  /// The median of the rounds' own ratios: what changes slowly on the machine is the same in both.
  func ratio(_ way: Int, _ other: Int) -> String { format(quantile(ratios(way, other), 0.5), 3) }

  func spread(_ way: Int, _ other: Int) -> String {
    let ratios = ratios(way, other)
    return "\(format(quantile(ratios, 0.25), 3))–\(format(quantile(ratios, 0.75), 3))"
  }

  private func ratios(_ way: Int, _ other: Int) -> [Double] { rounds.map { $0[way] / $0[other] } }

  private func quantile(_ values: [Double], _ part: Double) -> Double {
    let sorted = values.sorted()
    return sorted.isEmpty ? .nan : sorted[Int(Double(sorted.count - 1) * part)]
  }

  private func format(_ value: Double, _ digits: Int) -> String {
    String(format: "%.\(digits)f", value)
  }
}
