import Glibc
import PodTestSupport
import Subprocess
import SystemPackage

/// What came of a run of podrun.
struct PodrunOutcome: Sendable {
  /// Its exit status; a signal that killed it is negative.
  let status: Int32
  let output: [UInt8]
  let error: String

  var text: String { String(decoding: output, as: UTF8.self) }
  var lines: [String] { text.split(separator: "\n").map(String.init) }
}

/// Runs podrun on pipes.
///
/// - Parameters:
///   - arguments: podrun's own, and the program.
///   - input: What is written to its standard input.
///   - environment: Variables to set.
func podrun(
  _ arguments: [String], input: [UInt8] = [], environment: [Environment.Key: String] = [:]
) async throws -> PodrunOutcome {
  try await withTimeLimit(seconds: 240) {
    let result = try await Subprocess.run(
      .path(FilePath(try TestPrograms.podrun())), arguments: Arguments(arguments),
      environment: .inherit.updating(environment.mapValues { $0 }), input: .array(input),
      output: .bytes(limit: 1 << 26), error: .string(limit: 1 << 22))
    return PodrunOutcome(
      status: result.terminationStatus.number, output: result.standardOutput,
      error: result.standardError)
  }
}

extension TerminationStatus {
  /// The exit status; a signal is negative.
  var number: Int32 {
    switch self {
    case .exited(let status): status
    case .signaled(let signal): -signal
    }
  }
}

/// A duration for sleep(1) that no other process has, by which its processes are found.
func uniqueDuration() -> String {
  "86\(UInt32.random(in: 100...999)).\(UInt32.random(in: 1...99_999))"
}

/// Whether a process with this word among its arguments is alive.
func isAlive(_ word: String) -> Bool {
  guard let directory = opendir("/proc") else { return false }
  defer { closedir(directory) }
  while let entry = readdir(directory) {
    let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
      String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    // A zombie has no arguments.
    guard Int32(name) != nil, let words = contents(of: "/proc/\(name)/cmdline") else { continue }
    if words.split(separator: 0).contains(where: { $0.elementsEqual(word.utf8) }) { return true }
  }
  return false
}

/// Waits until `condition` holds.
///
/// - Returns: Whether it did in time.
func eventually(
  within seconds: Double = 10, isolation: isolated (any Actor)? = #isolation,
  _ condition: () async throws -> Bool
) async rethrows -> Bool {
  let end = ContinuousClock.now + .seconds(seconds)
  while ContinuousClock.now < end {
    if try await condition() { return true }
    try? await Task.sleep(for: .milliseconds(20))
  }
  return try await condition()
}

private func contents(of path: String) -> [UInt8]? {
  guard let file = try? FileDescriptor.open(FilePath(path), .readOnly) else { return nil }
  defer { try? file.close() }
  return [UInt8](unsafeUninitializedCapacity: 65_536) { buffer, count in
    count = (try? file.read(into: UnsafeMutableRawBufferPointer(buffer))) ?? 0
  }
}
