import ArgumentParser
import Foundation
import Measuring

/// What calls and programs cost natively, in pods of both backends and under proot, in one run.
@main
struct MicroCosts: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Compares what calls and programs cost natively, in pods and under proot.",
    discussion: """
      Rows are measured in rounds, each round once in each way; who comes first changes. Printed are medians, and the \
      median and the quartiles of the rounds' own ratios. Pinned means that the work stays on one CPU, not the \
      supervisor's threads, which are pinned when the whole command is (taskset).
      """)

  @Option(help: "How many rounds calls have.")
  var rounds = 101

  @Option(help: "How many rounds whole programs have.")
  var commandRounds = 5

  @Option(help: "How many C files make compiles.")
  var files = 200

  @Option(help: "How many shells are started one after the other.")
  var shells = 1000

  @Option(help: "How many headers, functions and types configure looks for, each.")
  var checks = 40

  @Option(help: "The CPU for what is pinned.")
  var cpu = 0

  @Flag(help: "Few rounds of little work: whether it runs, not what it costs.")
  var quick = false

  @Option(help: "Only rows whose words have one of these in them, with commas in between.")
  var rows: String?

  @Flag(help: "Lists the rows' words.")
  var list = false

  enum Pinning: String, ExpressibleByArgument, CaseIterable {
    case both, pinned, unpinned
  }

  @Option(help: "Whether the work stays on one CPU: both, pinned or unpinned.")
  var pinning = Pinning.both

  @Option(
    help:
      "A document between whose markers the table is written, and beside it the numbers for its plots."
  )
  var document: String?

  @Option(help: "A document with such markers for the paper's Figure 6: nothing else is measured.")
  var figure6: String?

  mutating func run() async throws {
    let words = rows?.split(separator: ",")
    let wanted =
      figure6 == nil
      ? Row.all.filter { row in words.map { $0.contains { row.key.contains($0) } } ?? true }
      : Figure6.rows
    if list { return print(Row.all.map(\.key).joined(separator: "\n")) }
    guard !wanted.isEmpty else { throw ValidationError("no row has such a word: see --list") }
    if quick { (rounds, commandRounds, files, shells, checks) = (3, 1, 12, 50, 3) }
    let begin = ContinuousClock.now
    let loadBefore = load

    var ways = figure6 == nil ? Way.allCases : Figure6.ways
    var notes: [String] = []
    if ways.contains(.proot), await !CompiledProgram.has("proot") {
      ways.removeAll { $0 == .proot }
      notes.append("proot is not installed (Debian: apt install proot): its column is empty.")
    }
    let wantsConfigure = wanted.contains { $0.key == "configure" }
    let hasAutoconf = await CompiledProgram.has("autoreconf")
    if wantsConfigure, !hasAutoconf {
      notes.append("autoconf is not installed (Debian: apt install autoconf): its row is empty.")
    }
    let project = try await Project(
      files: files, shells: shells, checks: checks, withConfigure: wantsConfigure && hasAutoconf)
    defer { project.removeAll() }
    let program = try await CompiledProgram.path("micro_costs")

    var tables: [Results] = []
    for isPinned in [true, false] {
      if pinning == (isPinned ? .unpinned : .pinned) { continue }
      var measurement = Measurement(
        program: program, cpu: isPinned ? cpu : nil, rounds: rounds, commandRounds: commandRounds,
        project: project, ways: ways)
      try await measurement.measure(wanted)
      let results = Results(
        isPinned: isPinned, rows: wanted, project: project, series: measurement.results,
        accounts: measurement.accounts)
      results.print()
      tables.append(results)
    }
    let footprints = figure6 == nil ? try await Footprint.all(quick: quick) : []
    for footprint in footprints { print(footprint.sentence) }
    notes.append(
      "\(rounds) rounds of calls, \(commandRounds) of programs, in "
        + "\(Int((ContinuousClock.now - begin) / .seconds(1))) s; the machine's load was \(loadBefore) before."
    )
    for note in notes { print(note) }
    if let document {
      try Document(path: document).write(tables, footprints, notes)
    }
    if let figure6 {
      try Document(path: figure6).write(tables.map(Figure6.init), notes)
    }
  }
}
