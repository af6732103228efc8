import Measuring
import TextTable

/// What was measured, pinned or not.
struct Results {
  let isPinned: Bool
  let rows: [Row]
  let project: Project
  let series: [String: Series<Way>]
  let accounts: [String: Account]

  /// Those that have results.
  var measured: [Row] { rows.filter { series[$0.key] != nil } }

  func title(_ row: Row) -> String {
    if case .command(let kind) = row.work { return project.title(kind) }
    return row.title
  }

  func native(_ row: Row) -> String {
    series[row.key]?.median(row.baseline)?.writtenAsTime ?? ""
  }

  /// How many times the baseline it is in the pod, or how much more; with quartiles.
  func pod(_ row: Row) -> String {
    guard let spread = spread(row) else { return "" }
    func written(_ value: Double) -> String {
      if case .more = row.target { return (value / 1e6).written(2) }
      return value.writtenAsRatio
    }
    let values = "\(written(spread.median)) (\(written(spread.lower))–\(written(spread.upper)))"
    if case .more = row.target { return "+ \(values) ms" }
    return values
  }

  func ratio(_ row: Row, _ way: Way) -> String {
    series[row.key]?.ratio(way, to: row.baseline)?.median.writtenAsRatio ?? ""
  }

  func target(_ row: Row) -> String {
    switch row.target {
    case nil: ""
    case .ratio(let most): "≤ \(most.writtenAsRatio)"
    case .more(let most): "≤ + \((most / 1e6).written(1)) ms"
    case .same: "1"
    }
  }

  /// Whether the target is met: by the median, unless it is to be the same.
  func isMet(_ row: Row) -> Bool? {
    guard let target = row.target, let spread = spread(row) else { return nil }
    switch target {
    case .ratio(let most), .more(let most): return spread.median <= most
    case .same: return spread.lower <= 1
    }
  }

  func verdict(_ row: Row) -> String {
    switch isMet(row) {
    case nil: ""
    case true?: "met"
    case false?: "missed"
    }
  }

  private func spread(_ row: Row) -> Spread? {
    if case .more = row.target {
      return series[row.key]?.difference(row.measured, to: row.baseline)
    }
    return series[row.key]?.ratio(row.measured, to: row.baseline)
  }

  func print() {
    let measured = measured
    Swift.print(isPinned ? "the work on one CPU" : "unpinned")
    TextTable<Row> { row in
      [
        Column(title: "work", value: self.title(row)),
        Column(title: "baseline", value: self.native(row), align: .right),
        Column(title: "pod : baseline", value: self.pod(row), align: .right),
        Column(title: "ptrace", value: self.ratio(row, .ptrace), align: .right),
        Column(title: "proot", value: self.ratio(row, .proot), align: .right),
        Column(title: "asked", value: self.accounts[row.key]?.summary ?? "", align: .right),
        Column(title: "target", value: self.target(row), align: .right),
        Column(title: "", value: self.verdict(row)),
      ]
    }.print(measured, style: Style.psql)
  }
}
