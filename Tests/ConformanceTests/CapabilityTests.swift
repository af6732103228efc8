import Glibc
import PodCore
import PodTestSupport
import Testing

/// What a pod's programs keep of the capabilities of who started them.
@Suite("Capabilities")
struct CapabilityTests {
  /// The lines of /proc/self/status: effective, permitted, bounding.
  private struct Status: Equatable {
    var effective = CapabilitySet()
    var permitted = CapabilitySet()
    var bounding = CapabilitySet()

    init(_ environment: TestEnvironment, _ configuration: PodConfiguration? = nil) async throws {
      let outcome = try await environment.run(
        "grep", ["^Cap", "/proc/self/status"], configuration: configuration ?? PodConfiguration())
      try #require(outcome.status == .exited(0), "\(outcome.output)")
      for line in outcome.lines {
        let words = line.split(separator: "\t")
        let set = CapabilitySet(
          rawValue: try #require(words.last.flatMap { UInt64($0, radix: 16) }))
        switch words.first {
        case "CapEff:": effective = set
        case "CapPrm:": permitted = set
        case "CapBnd:": bounding = set
        default: break
        }
      }
    }
  }

  @Test("names have the kernel's numbers")
  func numbers() async throws {
    try TestPrograms.require("capsh")
    for number in 0...40 {
      let capability = CapabilitySet(number: number)
      let outcome = try await TestEnvironment.native.run(
        "capsh", ["--decode=\(String(capability.rawValue, radix: 16))"])
      #expect(outcome.output.hasSuffix("=cap_\(capability)\n"), "\(outcome.output)")
    }
  }

  @Test("root's programs keep a container's", arguments: TestEnvironment.own.filter(\.isPod))
  func root(environment: TestEnvironment) async throws {
    let native = try await Status(.native)
    if native.permitted.isEmpty { try Test.cancel("the tests have no capabilities to lose") }
    let inPod = try await Status(environment)
    #expect(inPod.permitted == native.permitted.intersection(.container))
    #expect(inPod.effective == native.effective.intersection(.container))
    #expect(inPod.bounding == native.bounding.intersection(.container))
    #expect(inPod.permitted.contains(.setuid))
    #expect(!inPod.bounding.contains(.sysAdmin))
  }

  @Test("all can be kept, or others", arguments: TestEnvironment.own.filter(\.isPod))
  func asked(environment: TestEnvironment) async throws {
    let native = try await Status(.native)
    var configuration = PodConfiguration()
    configuration.capabilities = .all
    #expect(try await Status(environment, configuration) == native)
    configuration.capabilities = [.chown, .sysPtrace]
    let inPod = try await Status(environment, configuration)
    #expect(inPod.permitted == native.permitted.intersection([.chown, .sysPtrace]))
  }

  @Test("a plain user's programs have what they have without a pod")
  func plainUser() async throws {
    let native = try await Status(.nativeUnprivileged)
    for environment in TestEnvironment.unprivileged where environment.isPod {
      let inPod = try await Status(environment)
      #expect(inPod.permitted == native.permitted)
      #expect(inPod.effective == native.effective)
    }
  }

  @Test("what a plain user was given stays, within the limit", arguments: TestBackend.all)
  func ambient(backend: TestBackend) async throws {
    if getuid() != 0 { try Test.cancel("only root can give a plain user capabilities") }
    let native = try await Status(.native)
    if !native.permitted.isSuperset(of: [.netBindService, .sysPtrace]) {
      try Test.cancel("the tests don't have what is to be given")
    }
    let given = "+net_bind_service,+sys_ptrace"
    let show = ["grep", "^CapEff", "/proc/self/status"]
    func effective(_ command: [String]) async throws -> CapabilitySet? {
      let outcome = try await TestEnvironment.native.run(
        "setpriv",
        ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps", given]
          + ["--ambient-caps", given] + command)
      return outcome.output.split(whereSeparator: \.isWhitespace).last
        .flatMap { UInt64($0, radix: 16) }.map { CapabilitySet(rawValue: $0) }
    }
    #expect(try await effective(show) == [.netBindService, .sysPtrace])
    let inPod = [try TestPrograms.podrun()] + backend.options + ["--"] + show
    #expect(try await effective(inPod) == .netBindService)
  }

  @Test("what was given up isn't had back", arguments: TestEnvironment.own.filter(\.isPod))
  func forGood(environment: TestEnvironment) async throws {
    try TestPrograms.require("capsh")
    let native = try await Status(.native)
    if !native.permitted.isSuperset(of: [.setpcap, .sysAdmin]) {
      try Test.cancel("the tests may not do that themselves")
    }
    // For oneself, for the programs that one executes, and as a new user.
    let ways = [
      ["--caps=cap_sys_admin=ep"], ["--inh=cap_sys_admin"],
      ["--keep=1", "--user=nobody", "--caps=cap_sys_admin=ep"],
    ]
    for way in ways {
      let command = way + ["--", "-c", "exit 7"]
      let outside = try await TestEnvironment.native.run("capsh", command)
      #expect(outside.status == .exited(7), "\(way) \(outside.output)")
      let inside = try await environment.run("capsh", command)
      #expect(inside.status == .exited(1), "\(way) \(inside.output)")
    }
  }
}
