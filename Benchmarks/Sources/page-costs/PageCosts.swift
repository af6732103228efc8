import ArgumentParser
import Foundation
import Measuring
@_spi(Benchmarks) import PodSeccomp
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
    let program = try await CompiledProgram.path("page_costs", ["-static"])
    let output = try await CompiledProgram.output(
      of: [program, area, "\(cpu)", "\(rounds)", "\(calls)"])
    var costs: [Costs] = []
    for line in output.split(separator: "\n") {
      let words = line.split(separator: " ")
      let name = String(words[0])
      if !costs.contains(where: { $0.name == name }) {
        costs.append(
          Costs(name: name, instructions: String(words[1]), systemCalls: String(words[2])))
      }
      guard let index = costs.firstIndex(where: { $0.name == name }) else { continue }
      let measured = words.dropFirst(3).compactMap { Double($0) }
      costs[index].series.add([.native: measured[0], .page: measured[1]])
    }
    print("\(rounds) rounds of \(calls) calls, on CPU \(cpu)")
    Self.table.print(costs, style: Style.psql)
    print("spread: from the first to the third quartile of the rounds' own ratios")
  }

  private static var table: TextTable<Costs> {
    TextTable { costs in
      [
        Column(title: "call", value: costs.name),
        Column(title: "instructions", value: costs.instructions, align: .right),
        Column(title: "system calls", value: costs.systemCalls, align: .right),
        Column(title: "native ns", value: costs.median(.native), align: .right),
        Column(title: "page ns", value: costs.median(.page), align: .right),
        Column(title: "page : native", value: costs.ratio?.median.written(3) ?? "", align: .right),
        Column(title: "spread", value: costs.spread, align: .right),
      ]
    }
  }
}

private enum Way { case native, page }

/// What one call cost, in each round natively and in the page.
private struct Costs {
  let name: String
  /// Of the page's.
  let instructions: String
  let systemCalls: String
  var series = Series<Way>()

  func median(_ way: Way) -> String { series.median(way)?.written(1) ?? "" }

  var ratio: Spread? { series.ratio(.page, to: .native) }

  var spread: String {
    ratio.map { "\($0.lower.written(3))–\($0.upper.written(3))" } ?? ""
  }
}
