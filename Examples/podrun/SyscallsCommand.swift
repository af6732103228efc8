internal import ArgumentParser
internal import FoundationEssentials
internal import PodCore

/// `podrun syscalls`: what a pod does with each system call.
struct SyscallsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "podrun syscalls",
    abstract: "Print what a pod does with each system call.",
    discussion: """
      answered: without the kernel; translated: names go in or come out; wrapped: what it means is \
      changed; refused: by design; native: the host's, for now; open: not done yet, answered with \
      an errno; nameless: no name crosses, so a pod has no part in it.
      """)

  @Flag(help: "Print JSON.")
  var json = false

  func run() throws {
    let table = BoundaryTable.standard
    let rows = table.descriptions
    if json {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
      print(String(decoding: try encoder.encode(rows), as: UTF8.self))
      return
    }
    let lines = [BoundaryDescription.titles] + rows.map(\.columns)
    let widths = BoundaryDescription.titles.indices.map { column in
      lines.map { $0[column].count }.max() ?? 0
    }
    for line in lines {
      let cells = zip(line, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }
      var text = cells.joined(separator: "  ")
      while text.last == " " { text.removeLast() }
      print(text)
    }
    let counts = table.counts
    let words = BoundaryRow.Verb.words.map { "\(counts.rows[$0] ?? 0) \($0)" }
    print("\n\(words.joined(separator: ", ")); \(counts.namelessCalls) calls nameless")
  }
}
