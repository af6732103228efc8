import Foundation
import Measuring
import PodCore

/// One run: rows are measured in rounds, each round once in each way, and who comes first changes.
struct Measurement {
  let program: String
  /// On which the work stays; nil for none.
  let cpu: Int?
  let rounds: Int
  let commandRounds: Int
  let project: Project
  /// The ways that this machine has.
  let ways: [Way]
  private(set) var results: [String: Series<Way>] = [:]
  /// What the supervisor was asked, by row.
  private(set) var accounts: [String: Account] = [:]

  init(
    program: String, cpu: Int?, rounds: Int, commandRounds: Int, project: Project, ways: [Way]
  ) {
    (self.program, self.cpu, self.rounds) = (program, cpu, rounds)
    (self.commandRounds, self.project, self.ways) = (commandRounds, project, ways)
  }

  /// Measures all of `rows`.
  mutating func measure(_ rows: [Row]) async throws {
    // First what needs that no pod is there.
    try await measureOutside(rows)
    try await measureCalls(rows)
    try await measureCommands(rows)
  }

  // MARK: Calls

  /// How long the calls of one round last in each way, in nanoseconds.
  private static let batch = 2e6
  private static let most = 1e6

  /// How often a call is made for a batch.
  private static func count(_ call: String, by worker: Worker) async throws -> Int {
    // Sites are patched after some calls, in a pod.
    _ = try await worker.cost(of: call, count: 40)
    let cost = try await worker.cost(of: call, count: 8)
    return Int(max(1, min(most, batch / max(cost, 1))))
  }

  private mutating func measureCalls(_ rows: [Row]) async throws {
    let ways = ways
    let calls = rows.compactMap { row -> (row: Row, call: String, ways: [Way])? in
      guard case .call(let call) = row.work else { return nil }
      return (row, call, row.ways.filter(ways.contains))
    }
    let wanted = ways.filter { way in calls.contains { $0.ways.contains(way) } }
    guard !calls.isEmpty else { return }
    let rounds = rounds
    let (measured, asked) = try await withWorkers(wanted, program: program, cpu: cpu) { workers in
      var counts: [String: [Way: Int]] = [:]
      var results: [String: Series<Way>] = [:]
      var accounts: [String: Account] = [:]
      for (row, call, ways) in calls {
        for way in ways {
          guard let worker = workers[way] else { continue }
          counts[row.key, default: [:]][way] = try await Self.count(call, by: worker)
        }
      }
      for round in 0..<rounds {
        for (row, call, ways) in calls {
          var costs: [Way: Double] = [:]
          for way in Self.inTurn(ways, round) {
            guard let worker = workers[way], let count = counts[row.key]?[way] else { continue }
            costs[way] = try await worker.cost(of: call, count: count)
          }
          results[row.key, default: Series()].add(costs)
        }
      }
      for (row, call, _) in calls {
        accounts[row.key] = try await workers[row.measured]?.asked(for: call)
      }
      return (results, accounts)
    }
    results.merge(measured) { $1 }
    accounts.merge(asked) { $1 }
  }

  private static func inTurn(_ ways: [Way], _ round: Int) -> [Way] {
    ways.indices.map { ways[($0 + round) % ways.count] }
  }

  // MARK: Commands

  private mutating func measureCommands(_ rows: [Row]) async throws {
    for row in rows {
      guard case .command(let kind) = row.work, let command = project.command(kind) else {
        continue
      }
      // A pod's creation is the host program's work.
      let prefix = kind == .nothing ? [] : cpu.map { ["taskset", "-c", "\($0)"] } ?? []
      let ways = row.ways.filter(ways.contains)
      for round in 0..<(kind == .nothing ? rounds : commandRounds) {
        var costs: [Way: Double] = [:]
        for way in Self.inTurn(ways, round) {
          let directory = try project.copy(for: kind)
          defer { project.remove(directory) }
          var asked: PodStatistics?
          let duration = try await ContinuousClock().measure {
            asked = try await way.run(prefix + command, in: directory)
          }
          if way == row.measured, let asked {
            accounts[row.key] = Account(asked, per: project.count(kind))
          }
          costs[way] = duration.nanoseconds
        }
        results[row.key, default: Series()].add(costs)
      }
    }
  }

  // MARK: Outside

  /// A process in no pod, and the host program, while a pod lives (`.pod`) and while none does (`.native`).
  private mutating func measureOutside(_ rows: [Row]) async throws {
    let rows = rows.filter { row in
      switch row.work {
      case .outside, .host: true
      case .call, .command: false
      }
    }
    guard !rows.isEmpty else { return }
    let (program, rounds) = (program, rounds)
    let host = HostLoops(program: program)
    let measured = try await withWorkers([.native], program: program, cpu: cpu) { workers in
      var results: [String: Series<Way>] = [:]
      guard let worker = workers[.native] else { return results }
      var counts: [String: Int] = [:]
      for row in rows {
        if case .outside(let call) = row.work {
          counts[row.key] = try await Self.count(call, by: worker)
        }
      }
      _ = try await Self.costs(of: rows, counts, worker, host)
      for round in 0..<rounds {
        var costs: [Way: [String: Double]] = [:]
        for way in Self.inTurn([.native, .pod], round) {
          costs[way] =
            way == .native
            ? try await Self.costs(of: rows, counts, worker, host)
            : try await withWorkers([.pod], program: program, cpu: cpu) { inside in
              // A pod that has done something.
              _ = try await inside[.pod]?.cost(of: "fork+wait", count: 2)
              return try await Self.costs(of: rows, counts, worker, host)
            }
        }
        for row in rows {
          results[row.key, default: Series()].add(costs.compactMapValues { $0[row.key] })
        }
      }
      return results
    }
    results.merge(measured) { $1 }
  }

  /// What each row costs now.
  private static nonisolated(nonsending) func costs(
    of rows: [Row], _ counts: [String: Int], _ worker: Worker, _ host: HostLoops
  ) async throws -> [String: Double] {
    var costs: [String: Double] = [:]
    for row in rows {
      switch row.work {
      case .outside(let call):
        costs[row.key] = try await worker.cost(of: call, count: counts[row.key] ?? 1)
      case .host(let work): costs[row.key] = try await host.cost(of: work)
      case .call, .command: break
      }
    }
    return costs
  }
}
