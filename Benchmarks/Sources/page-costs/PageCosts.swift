import ArgumentParser
import Foundation
@_spi(Benchmarks) import PodSeccomp
import Subprocess
import SystemPackage
import TextTable

/// What calls cost natively and through the code that lies in a pod's processes, in turns in one run on one CPU, without the
/// ways that lead there.
@main
struct PageCosts: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Compares what calls cost natively and through the pod's code in the process.")

  @Option(help: "How often each call is measured in each way.")
  var rounds = 201

  @Option(help: "How many calls are made each time.")
  var calls = 5000

  @Option(help: "The CPU.")
  var cpu = 0

  func run() async throws {
    let area = "/tmp/pod-page-costs.area"
    try Data(SeccompBackend.standardArea()).write(to: URL(filePath: area))
    let program = try await Self.compiledProgram()
    let result = try await Subprocess.run(
      .path(FilePath(program)), arguments: [area, "\(cpu)", "\(rounds)", "\(calls)"],
      output: .string(limit: 1 << 24), error: .string(limit: 4096))
    guard result.terminationStatus.isSuccess else {
      throw ValidationError(result.standardError)
    }
    var costs: [Costs] = []
    for line in result.standardOutput.split(separator: "\n") {
      let words = line.split(separator: " ")
      let name = String(words[0])
      if !costs.contains(where: { $0.name == name }) {
        costs.append(
          Costs(name: name, instructions: String(words[1]), systemCalls: String(words[2])))
      }
      guard let index = costs.firstIndex(where: { $0.name == name }) else { continue }
      costs[index].rounds.append(words.dropFirst(3).compactMap { Double($0) })
    }
    print("\(rounds) rounds of \(calls) calls, on CPU \(cpu)")
    Self.table.print(costs, style: Style.psql)
    print("spread: from the first to the third quartile of the rounds' own ratios")
  }

  private static func compiledProgram() async throws -> String {
    let package = FilePath(#filePath).removingLastComponent().removingLastComponent()
      .removingLastComponent()
    let source = package.appending("Programs").appending("page_costs.c")
    let headers = package.removingLastComponent().appending("Sources/CPodLayout/include")
    let program = "/tmp/pod-page-costs"
    let compiled = try await Subprocess.run(
      .name("gcc"),
      arguments: ["-O2", "-static", "-I\(headers.string)", "-o", program, source.string],
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
        Column(title: "instructions", value: costs.instructions, align: .right),
        Column(title: "system calls", value: costs.systemCalls, align: .right),
        Column(title: "native ns", value: costs.median(0), align: .right),
        Column(title: "page ns", value: costs.median(1), align: .right),
        Column(title: "page : native", value: costs.ratio, align: .right),
        Column(title: "spread", value: costs.spread, align: .right),
      ]
    }
  }
}

/// What one call cost, in each round natively and in the page.
private struct Costs {
  let name: String
  /// Of the page's.
  let instructions: String
  let systemCalls: String
  var rounds: [[Double]] = []

  func median(_ way: Int) -> String { format(quantile(rounds.map { $0[way] }, 0.5), 1) }

  /// The median of the rounds' own ratios: what changes slowly on the machine is the same in both.
  var ratio: String { format(quantile(ratios, 0.5), 3) }

  var spread: String {
    "\(format(quantile(ratios, 0.25), 3))–\(format(quantile(ratios, 0.75), 3))"
  }

  private var ratios: [Double] { rounds.map { $0[1] / $0[0] } }

  private func quantile(_ values: [Double], _ part: Double) -> Double {
    let sorted = values.sorted()
    return sorted.isEmpty ? .nan : sorted[Int(Double(sorted.count - 1) * part)]
  }

  private func format(_ value: Double, _ digits: Int) -> String {
    String(format: "%.\(digits)f", value)
  }
}
