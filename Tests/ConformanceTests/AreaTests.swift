import Glibc
import PodCore
import PodTestSupport
import Testing

/// Whether the pod's area comes into each program that it is good for, without the program being able to tell, and that
/// those go on without it that it can't come into.
@Suite("The pod's area comes into programs")
struct AreaTests {
  static let environments = TestEnvironment.allCases.filter { $0.backend != .ptraceEveryCall }

  /// How many areas a program finds in its memory.
  private static func areas(_ environment: TestEnvironment) -> Int {
    environment.backend == .seccomp ? 1 : 0
  }

  @Test(
    "programs of all kinds, started in all ways, while signals come",
    arguments: [
      TestPrograms.Build.dynamic, .fixed, .static, .staticPIE, .musl, .dynamicMusl,
    ], environments)
  func starts(build: TestPrograms.Build, environment: TestEnvironment) async throws {
    let outcome = try await environment.run(
      try await TestPrograms.path("starts", build), ["\(Self.areas(environment))"])
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }

  @Test("none in a program that makes no call for which it is good", arguments: environments)
  func idle(environment: TestEnvironment) async throws {
    let outcome = try await environment.run("cat", ["/proc/self/maps"])
    #expect(outcome.status == .exited(0), "\(outcome.output)")
    #expect(outcome.output.contains("cat") && !outcome.output.contains("/memfd:pod"))
  }

  @Test(
    "registers, flags, vectors and the red zone are kept",
    arguments: ["registers", "stackless", "handler"], environments)
  func registers(way: String, environment: TestEnvironment) async throws {
    let outcome = try await environment.run(
      try await TestPrograms.path("first_call", .bare), [way, "\(Self.areas(environment))"])
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }

  @Test("a program that may be executed and not read", arguments: TestEnvironment.unprivileged)
  func unreadable(environment: TestEnvironment) async throws {
    guard getuid() == 0 else { try Test.cancel("only root can make a file that others can't read") }
    let outcome = try await environment.run(
      try await TestPrograms.unreadable("first_call", .bare),
      ["registers", "\(Self.areas(environment))"])
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }

  @Test(
    "none where it could be seen, or would hurt somebody",
    arguments: ["edge", "split", "shared"], environments)
  func none(way: String, environment: TestEnvironment) async throws {
    let outcome = try await environment.run(
      try await TestPrograms.path("first_call", .bare), [way, "0"])
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }

  @Test("none under a filter of the program's own", arguments: environments)
  func ownFilter(environment: TestEnvironment) async throws {
    let outcome = try await environment.run(
      try await TestPrograms.path("with_filter"),
      [try await TestPrograms.path("first_call", .bare), "registers", "0"])
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }

  @Test("none without a free descriptor", arguments: 0...4, environments)
  func descriptors(limit: Int, environment: TestEnvironment) async throws {
    let areas = limit > 3 ? Self.areas(environment) : 0
    let outcome = try await environment.run(
      "sh",
      [
        "-c", "ulimit -S -n \(limit) && exec \"$0\" registers \(areas)",
        try await TestPrograms.path("first_call", .bare),
      ])
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }

  /// Wherever the limit comes, between the area's two parts too.
  @Test("none without room in its limit of memory", arguments: environments)
  func memory(environment: TestEnvironment) async throws {
    let outcome = try await environment.run(
      "sh",
      [
        "-c",
        """
        exec 3</proc/self/maps
        size=$(sed -n 's,^\\(.*\\)-\\(.*\\) r-x.*/memfd:pod.*,$((0x\\2 - 0x\\1)),p' <&3)
        exec 3<&-
        size=$(eval "echo ${size:-8388608}")
        for more in $(seq 128 4 512); do
          (ulimit -v $((size / 1024 + more)) && exec "$0" registers any) || exit 1
        done
        (ulimit -v 4096 && exec "$0" registers 0) && (ulimit -v 1000000 && exec "$0" registers $1)
        """,
        try await TestPrograms.path("first_call", .bare), "\(Self.areas(environment))",
      ])
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }

  @Test("what a program has there already stays", arguments: environments)
  func occupied(environment: TestEnvironment) async throws {
    // Offsets from the area's beginning: its first and its second page, the cache, the handlers; beside it there is room.
    let outcome = try await environment.run(
      "sh",
      [
        "-c",
        """
        exec 3</proc/self/maps
        base=$(sed -n 's,^\\(.*\\)-.* r-x.*/memfd:pod.*,\\1,p' <&3)
        exec 3<&-
        base=$((0x${base:-7e9000000000}))
        for offset in 0 4096 -4096 -20480; do
          "$0" occupied 0 $(printf 0x%x $((base + offset))) 4096 || exit 1
        done
        "$0" occupied $1 $(printf 0x%x $((base - 24576))) 4096
        """,
        try await TestPrograms.path("first_call", .bare), "\(Self.areas(environment))",
      ])
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }

  /// A container engine's profile may deny it.
  private func requireFixedAddresses() async throws {
    let outcome = try await TestEnvironment.native.run("setarch", ["-R", "true"])
    if outcome.status != .exited(0) {
      try Test.cancel("personality(2) is denied: \(outcome.output)")
    }
  }

  /// They end when they find anything mapped where they want nothing but memory of theirs.
  @Test(
    "programs with a sanitizer", arguments: ["process_identity", "waiting", "many_threads"],
    environments)
  func sanitized(program: String, environment: TestEnvironment) async throws {
    try await requireFixedAddresses()
    let outcome = try await environment.run(
      "setarch", ["-R", try await TestPrograms.path(program, .threadSanitizer)])
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }

  @Test("programs without random addresses", arguments: environments)
  func notRandom(environment: TestEnvironment) async throws {
    try await requireFixedAddresses()
    for build in [TestPrograms.Build.dynamic, .fixed, .static] {
      let outcome = try await environment.run(
        "setarch",
        ["-R", try await TestPrograms.path("starts", build), "\(Self.areas(environment))"])
      #expect(outcome.status == .exited(0), "\(outcome.output)")
    }
  }

  @Test(
    "interpreters and large programs",
    arguments: ["sh", "bash", "busybox", "perl", "python3", "node", "java", "go"], environments)
  func programs(name: String, environment: TestEnvironment) async throws {
    try TestPrograms.require(name)
    let command: [String] =
      switch name {
      case "busybox":
        ["busybox", "sh", "-c", "exec 3</proc/self/maps; busybox grep -c /memfd:pod <&3; exit 0"]
      case "perl":
        [
          "perl", "-e",
          "getppid for 1 .. 40; open F, '/proc/self/maps'; print scalar(grep /memfd:pod/, <F>)",
        ]
      case "python3":
        [
          "python3", "-c",
          """
          import os
          for turn in range(40): os.getppid()
          print(open('/proc/self/maps').read().count('/memfd:pod'))
          """,
        ]
      case "node":
        [
          "node", "-p",
          "require('fs').readFileSync('/proc/self/maps', 'utf8').split('/memfd:pod').length - 1",
        ]
      case "java": ["java", "-cp", try await TestPrograms.java("Areas"), "Areas"]
      case "go": [try await TestPrograms.go("areas")]
      default: [name, "-c", "exec 3</proc/self/maps; grep -c /memfd:pod <&3; exit 0"]
      }
    let outcome = try await environment.run(command[0], Array(command.dropFirst()))
    #expect(outcome.lines.last == "\(Self.areas(environment))", "\(outcome.output)")
  }
}
