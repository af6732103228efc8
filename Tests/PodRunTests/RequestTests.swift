import PodCore
import SystemPackage
import Testing

/// What `run` makes of its words before a backend sees them.
@Suite struct RequestTests {
  private func request(
    _ executable: Pod.Executable, _ arguments: Pod.Arguments = [],
    _ environment: Pod.Environment = .custom([:] as [Pod.Environment.Key: String])
  ) throws(PodError) -> LaunchRequest {
    try LaunchRequest(
      executable, arguments: arguments, environment: environment, input: .none, output: .discard,
      error: .discard)
  }

  private func texts(_ rows: [[UInt8]]) -> [String] {
    rows.map { String(decoding: $0, as: UTF8.self) }
  }

  @Test(
    "a name is searched in the PATH of the program",
    arguments: [
      ("/bin:/usr/bin", ["/bin/ls", "/usr/bin/ls"]),
      ("/a//:/b", ["/a/ls", "/b/ls"]),
      (":/bin::./x:.:/bin", ["/bin/ls"]),
    ])
  func path(path: String, candidates: [String]) throws {
    let request = try request(.name("ls"), [], .custom(["PATH": path]))
    #expect(request.candidates.map(\.string) == candidates)
    #expect(request.name == "ls")
    #expect(texts(request.arguments) == ["ls"])
  }

  @Test("without a PATH the usual directories are searched, with an unusable one nothing")
  func noPath() throws {
    #expect(try request(.name("ls")).candidates == ["/bin/ls", "/usr/bin/ls"])
    let error = #expect(throws: PodError.self) {
      try request(.name("ls"), [], .custom(["PATH": "."]))
    }
    #expect(error?.code == .executableNotFound)
    #expect(throws: PodError.self) { try request(.name("")) }
    #expect(throws: PodError.self) { try request(.path("")) }
  }

  @Test("a path, or a name with a slash, is taken as it is")
  func slash() throws {
    #expect(try request(.path("x/y")).candidates == ["x/y"])
    #expect(try request(.name("./y")).candidates == ["./y"])
    #expect(Pod.Executable.name("a/b") == .path("a/b"))
  }

  @Test("arguments are passed on as they are, with a name of their own for the program")
  func arguments() throws {
    #expect(
      texts(try request(.path("/bin/sh"), ["-c", "x y", ""]).arguments) == [
        "/bin/sh", "-c", "x y", "",
      ])
    let login = Pod.Arguments(executablePathOverride: "-sh", remainingValues: ["-i"])
    #expect(texts(try request(.path("/bin/sh"), login).arguments) == ["-sh", "-i"])
    #expect(try request(.path("/x"), Pod.Arguments([[0xFF, 0x41]])).arguments[1] == [0xFF, 0x41])
    let error = #expect(throws: PodError.self) { try request(.path("/x"), ["a", "b\0c"]) }
    #expect(error?.code == .invalidConfiguration)
    #expect(error?.description == "argument 2 contains a NUL")
  }

  @Test("an environment is inherited, changed or made")
  func environment() throws {
    let host = try request(.path("/x"), [], .inherit).environment
    #expect(!host.isEmpty)
    let path = try #require(texts(host).first { $0.hasPrefix("PATH=") })

    let changed = try request(
      .path("/x"), [], .inherit.updating(["POD_B": "2", "POD_A": "1", "PATH": nil]))
    #expect(texts(changed.environment).suffix(2) == ["POD_A=1", "POD_B=2"])
    #expect(!texts(changed.environment).contains(path))
    #expect(changed.environment.count == host.count + 1)

    let made = Pod.Environment.custom(["B": "2", "A": "1"])
    #expect(texts(try request(.path("/x"), [], made).environment) == ["A=1", "B=2"])
    let updated = made.updating(["A": nil, "C": "3"])
    #expect(texts(try request(.path("/x"), [], updated).environment) == ["B=2", "C=3"])

    let bytes = Pod.Environment.custom([Array("K=".utf8) + [0xFF]])
    #expect(try request(.path("/x"), [], bytes).environment == [Array("K=".utf8) + [0xFF]])
    let more = try request(.path("/x"), [], bytes.updating(["K": "v"])).environment
    #expect(texts(more) == ["K=v"])
  }

  @Test(
    "an environment that no program could get is refused",
    arguments: [
      .custom(["": "x"]), .inherit.updating(["A=B": "x"]), .custom(["A": "x\0y"]),
      .custom([Array("novalue".utf8)]),
    ] as [Pod.Environment])
  func wrongEnvironment(environment: Pod.Environment) {
    let error = #expect(throws: PodError.self) { try request(.path("/x"), [], environment) }
    #expect(error?.code == .invalidConfiguration)
  }

  @Test("signals have names")
  func signals() {
    #expect(Pod.Signal.terminate.description == "SIGTERM")
    #expect(Pod.Signal.continue == .resume)
    #expect(Pod.Signal(rawValue: 34).description == "SIGRTMIN+2")
    #expect(Pod.Signal(rawValue: 0).description == "signal 0")
  }
}
