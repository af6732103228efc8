import Glibc
import PodCore
import PodTestSupport
import Testing

/// Places from which a program calls again and again, which the seccomp backend patches.
@Suite("Call sites that are patched behave as those that aren't")
struct PatchedSiteTests {
  /// Where every call stops, the tracer sees a call before the program's filters do.
  static let environments = TestEnvironment.allCases.filter { $0 != .ptraceEveryCall }

  /// PROCMAP_QUERY says what is text: Linux 6.11.
  private static let mayBePatched: Bool = {
    var system = utsname()
    guard uname(&system) == 0 else { return false }
    let release = withUnsafeBytes(of: &system.release) { bytes in
      String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    let version = release.split(separator: ".").prefix(2).compactMap { Int($0) }
    return version.count == 2 && (version[0], version[1]) >= (6, 11)
  }()

  /// How many sites of a program's own text are to be patched: those that lie among the libraries, or at a fixed address in a
  /// static program, are in reach of the trampolines.
  private static func patched(
    _ build: TestPrograms.Build, _ environment: TestEnvironment
  ) -> String {
    guard environment.backend == .seccomp else { return "none" }
    switch build {
    case .dynamic: return "none"
    // The trampolines are near its text or near its libraries: where its first call comes from that the area is good for.
    case .fixed: return "any"
    default: return mayBePatched ? "some" : "any"
    }
  }

  @Test(
    "in all forms, while threads, signals, forks, other code and filters come between",
    arguments: [TestPrograms.Build.dynamic, .fixed, .static, .staticPIE], environments)
  func sites(build: TestPrograms.Build, environment: TestEnvironment) async throws {
    let outcome = try await environment.run(
      try await TestPrograms.path("patched_sites", build),
      [Self.patched(build, environment)])
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }

  @Test("none is patched where all calls are to be seen")
  func traced() async throws {
    var configuration = PodConfiguration()
    configuration.tracesCalls = true
    let outcome = try await TestEnvironment.seccomp.run(
      try await TestPrograms.path("patched_sites", .static), ["traced"],
      configuration: configuration)
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }
}
