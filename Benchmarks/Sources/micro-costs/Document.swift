import ArgumentParser
import Foundation
import Measuring

/// A document in Markdown that has the lines `<!-- measured -->` and `<!-- end -->`, and its plots' numbers beside it.
struct Document {
  let path: String

  /// Puts tables between the markers, and writes the numbers.
  func write(_ tables: [Results], _ footprints: [Footprint], _ notes: [String]) throws {
    var middle = tables.map { table($0) }.joined(separator: "\n")
    if let results = tables.first {
      middle += "\n### What the supervisor is asked\n\n" + asked(results)
    }
    middle += "\n" + footprints.map { "- \($0.sentence)" }.joined(separator: "\n")
    middle += "\n" + (["On \(machine)."] + notes).map { "- \($0)" }.joined(separator: "\n") + "\n"
    try put(middle)
    for results in tables {
      for plot in Row.Plot.allCases {
        let name = "\(plot.rawValue)-\(results.isPinned ? "pinned" : "unpinned")"
        try put(numbers(results, plot), plot: name)
      }
    }
  }

  /// Puts the paper's figure between the markers, and writes its numbers.
  func write(_ figures: [Figure6], _ notes: [String]) throws {
    let about = (["On \(machine)."] + notes).map { "- \($0)" }.joined(separator: "\n") + "\n"
    try put(figures.map(\.table).joined(separator: "\n") + "\n" + about)
    for figure in figures { try put(figure.numbers, plot: figure.name) }
  }

  /// Puts text between the markers.
  private func put(_ middle: String) throws {
    let text = try String(contentsOfFile: path, encoding: .utf8)
    let (begin, end) = ("<!-- measured -->\n", "<!-- end -->")
    guard let from = text.range(of: begin), let to = text.range(of: end),
      from.upperBound <= to.lowerBound
    else { throw ValidationError("\(path) doesn't have the lines \(begin)and \(end)") }
    try (text[..<from.upperBound] + middle + text[to.lowerBound...])
      .write(toFile: path, atomically: true, encoding: .utf8)
  }

  /// Writes a plot's numbers.
  private func put(_ numbers: String, plot: String) throws {
    let directory = URL(filePath: path).deletingLastPathComponent().path + "/performance"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    try numbers.write(toFile: "\(directory)/\(plot).tsv", atomically: true, encoding: .utf8)
  }

  private func table(_ results: Results) -> String {
    var lines = [
      results.isPinned ? "### With the work on one CPU" : "### Unpinned", "",
      "| work | baseline | pod : baseline | ptrace | proot | asked | target | |",
      "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in results.measured {
      let cells = [
        results.title(row), results.native(row), results.pod(row), results.ratio(row, .ptrace),
        results.ratio(row, .proot), results.accounts[row.key]?.summary ?? "", results.target(row),
        results.verdict(row),
      ]
      lines.append("| \(cells.joined(separator: " | ")) |")
    }
    return lines.joined(separator: "\n") + "\n"
  }

  /// For which calls: of what is made of several.
  private func asked(_ results: Results) -> String {
    results.measured.filter { $0.plot == .processes }.compactMap { row in
      guard let account = results.accounts[row.key], !account.calls.isEmpty else { return nil }
      var unit = ""
      if case .command(let kind) = row.work, kind == .make { unit = ", a file" }
      if case .command(let kind) = row.work, kind == .shells { unit = ", a shell" }
      return "- \(results.title(row))\(unit): \(account.sentence)\n"
    }.joined()
  }

  /// A line a row: place, title, target, and the ratios' median and quartiles in the pod, under ptrace and under proot.
  private func numbers(_ results: Results, _ plot: Row.Plot) -> String {
    var lines = [
      "place\ttitle\ttarget\tpod\tlower\tupper\tptrace\tlower\tupper\tproot\tlower\tupper"
    ]
    for (place, row) in results.measured.filter({ $0.plot == plot }).enumerated() {
      guard let series = results.series[row.key] else { continue }
      var cells = ["\(place)", results.title(row)]
      if case .ratio(let target) = row.target {
        cells.append("\(target)")
      } else {
        cells.append("?")
      }
      for way in [row.measured, .ptrace, .proot] {
        if let spread = series.ratio(way, to: row.baseline) {
          cells += [spread.median, spread.lower, spread.upper].map { $0.written(4) }
        } else {
          cells += ["?", "?", "?"]
        }
      }
      lines.append(cells.joined(separator: "\t"))
    }
    return lines.joined(separator: "\n") + "\n"
  }

  /// Processor, CPUs and kernel.
  private var machine: String {
    let processors = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
    let model =
      processors.split(separator: "\n").first { $0.hasPrefix("model name") }?
      .split(separator: ":").last.map { $0.trimmingCharacters(in: .whitespaces) } ?? "?"
    let release =
      (try? String(contentsOfFile: "/proc/sys/kernel/osrelease", encoding: .utf8))?
      .trimmingCharacters(in: .whitespacesAndNewlines) ?? "?"
    return "\(ProcessInfo.processInfo.processorCount) CPUs, \(model), Linux \(release)"
  }
}
