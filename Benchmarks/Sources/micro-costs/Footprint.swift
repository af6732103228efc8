import Foundation
import Measuring
import PodCore

/// What a pod takes of the host program: memory and threads.
struct Footprint {
  let way: Way
  /// Of the host program's memory, in KiB.
  let perPod: Int
  /// Of the host program's memory, in bytes.
  let perProcess: Int
  let threads: Int

  var sentence: String {
    "\(way.rawValue): \(perPod) KiB more of the host program's memory for a pod, \(perProcess) bytes for each process in "
      + "one; \(threads) threads more"
  }

  /// Of both backends.
  static func all(quick: Bool) async throws -> [Footprint] {
    var all: [Footprint] = []
    for way in [Way.pod, .ptrace] {
      guard let backend = way.backend else { continue }
      all.append(
        Footprint(
          way: way, perPod: try await memoryPerPod(backend, count: quick ? 8 : 32),
          perProcess: try await memoryPerProcess(backend, count: quick ? 200 : 1000),
          threads: try await threadsPerPod(backend)))
    }
    return all
  }

  /// How many threads more this program has while a pod runs a program that has made calls.
  private static func threadsPerPod(_ backend: any Backend) async throws -> Int {
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
  private static func memoryPerPod(_ backend: any Backend, count: Int) async throws -> Int {
    _ = try await memory(with: 1, backend)
    let before = try residentMemory()
    return (try await memory(with: count, backend) - before) / count
  }

  /// How much more memory this program has for each process in a pod, in bytes.
  private static func memoryPerProcess(_ backend: any Backend, count: Int) async throws -> Int {
    try await withPod(backend: backend) { pod in
      let script = "for i in $(seq \(count)); do sleep 1000 & done; echo; wait"
      let before = try residentMemory()
      return try await pod.run(
        .name("sh"), arguments: ["-c", script], input: .none, output: .sequence, error: .discarded
      ) { running in
        for try await _ in running.standardOutput.lines { break }
        let after = try residentMemory()
        try await running.send(signal: .kill)
        return (after - before) * 1024 / count
      }.closureResult
    }
  }

  private static func memory(with pods: Int, _ backend: any Backend) async throws -> Int {
    if pods == 0 { return try residentMemory() }
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
    let text = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
    // "RssAnon:     1234 kB"
    return text.split(separator: "\n").first { $0.hasPrefix("RssAnon:") }
      .flatMap { Int($0.filter(\.isNumber)) } ?? 0
  }
}
