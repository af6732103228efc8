@preconcurrency import Glibc
import Subprocess
import Synchronization
import SystemPackage
import Testing

/// The C programs of `Tests/Programs`, compiled once a test run, and other programs that tests use.
public enum TestPrograms {
  /// How a program is built.
  public enum Build: String, Sendable {
    /// With the machine's own compiler and C library, dynamic.
    case dynamic
    /// Static, with musl.
    case musl
    /// Dynamic, with musl.
    case dynamicMusl = "dynamic-musl"
    /// Static, with the machine's own C library.
    case `static`
    /// The same, to be loaded anywhere.
    case staticPIE = "static-pie"
    /// Dynamic, to be loaded where it is linked for.
    case fixed
    /// Without a C library.
    case bare
    /// With the compiler's thread sanitizer.
    case threadSanitizer = "thread-sanitizer"

    fileprivate var compiler: String {
      self == .musl || self == .dynamicMusl ? "musl-gcc" : "gcc"
    }

    fileprivate var flags: [String] {
      switch self {
      case .dynamic: ["-pthread"]
      case .musl: ["-static"]
      case .dynamicMusl: []
      case .static: ["-static", "-pthread"]
      case .staticPIE: ["-static-pie", "-pthread"]
      case .fixed: ["-no-pie", "-pthread"]
      case .threadSanitizer: ["-fsanitize=thread", "-pthread"]
      case .bare:
        [
          "-nostdlib", "-static", "-no-pie", "-ffreestanding", "-fno-builtin",
          "-fno-stack-protector",
        ]
      }
    }
  }

  private static let directory = Mutex<String?>(nil)

  /// The path of a compiled program of `Tests/Programs`.
  ///
  /// - Throws: What the compiler said; a cancellation of the test, with the reason, where there is no such compiler.
  public static func path(_ name: String, _ build: Build = .dynamic) async throws -> String {
    try await compiled(
      name, build, in: package.appending("Tests/Programs"), headers: "Sources/CPodVDSO/include")
  }

  /// The path of a compiled program of `Benchmarks/Programs`.
  ///
  /// - Throws: As ``path(_:_:)``.
  public static func benchmark(_ name: String, _ build: Build = .dynamic) async throws -> String {
    try await compiled(
      name, build, in: package.appending("Benchmarks/Programs"),
      headers: "Sources/CPodLayout/include")
  }

  private static let package = FilePath(#filePath).removingLastComponent().removingLastComponent()
    .removingLastComponent()

  private static func compiled(
    _ name: String, _ build: Build, in folder: FilePath, headers: String
  ) async throws -> String {
    let compiler = build.compiler
    try require(compiler)
    let target = try scratch() + "/\(name)-\(build.rawValue)"
    if access(target, X_OK) == 0 { return target }
    let source = folder.appending("\(name).c")
    // To a name of its own first: tests compile at the same time.
    let temporary = target + ".\(UInt64.random(in: 0 ... .max))"
    let flags = ["-I" + package.appending(headers).string] + build.flags
    let result = try await Subprocess.run(
      .name(compiler),
      arguments: Arguments(["-O1"] + flags + ["-o", temporary, source.string]),
      output: .string(limit: 1 << 16), error: .combinedWithOutput)
    guard result.terminationStatus.isSuccess else {
      throw BuildFailure(description: "\(name): \(result.standardOutput)")
    }
    try publish(temporary, as: target)
    return target
  }

  /// A program of `Tests/Programs` that its users may execute and not read.
  ///
  /// - Returns: Its path; a new file each time.
  public static func unreadable(
    _ name: String, _ build: Build = .dynamic
  ) async throws -> String {
    let target = try scratch() + "/\(name)-unreadable.\(UInt64.random(in: 0 ... .max))"
    let result = try await Subprocess.run(
      .name("install"), arguments: ["-m", "711", try await path(name, build), target],
      output: .string(limit: 1 << 16), error: .combinedWithOutput)
    guard result.terminationStatus.isSuccess else {
      throw BuildFailure(description: "\(name): \(result.standardOutput)")
    }
    return target
  }

  /// Gives a finished program its name, unless another test was first: a program that runs already, and executes itself,
  /// must find the file that it was started from.
  private static func publish(_ temporary: String, as target: String) throws {
    let result = link(temporary, target)
    let error = errno
    unlink(temporary)
    if result != 0, error != EEXIST { throw Errno(rawValue: error) }
  }

  /// A directory that every user may read, removed by the system's own tidying.
  public static func scratch() throws -> String {
    try directory.withLock { directory in
      if let directory { return directory }
      var template = Array("/tmp/pod-tests-XXXXXX".utf8CString)
      guard mkdtemp(&template) != nil else { throw Errno(rawValue: errno) }
      let path = template.withUnsafeBufferPointer { buffer in
        buffer.baseAddress.map { String(cString: $0) } ?? ""
      }
      chmod(path, 0o755)
      directory = path
      return path
    }
  }

  /// The podrun that was built with the tests, where every user may execute it.
  public static func podrun() throws -> String { try product("podrun") }

  /// Writes a file where every user may read it.
  ///
  /// - Returns: Its path.
  public static func write(_ text: String, to name: String) throws -> String {
    let path = try scratch() + "/" + name
    let temporary = path + ".\(UInt64.random(in: 0 ... .max))"
    let file = try FileDescriptor.open(
      FilePath(temporary), .writeOnly, options: [.create, .exclusiveCreate],
      permissions: [.ownerReadWrite, .groupRead, .otherRead])
    defer { try? file.close() }
    try file.writeAll(text.utf8)
    rename(temporary, path)
    return path
  }

  /// An executable target of the package that was built with the tests, where every user may execute it.
  public static func product(_ name: String) throws -> String {
    let target = try scratch() + "/" + name
    if access(target, X_OK) == 0 { return target }
    guard let built = builtProduct(name) else {
      throw BuildFailure(description: "\(name) was not built beside the tests")
    }
    try copy(built, to: target)
    return target
  }

  private static func builtProduct(_ name: String) -> FilePath? {
    var candidates = CommandLine.arguments.filter { $0.contains(".build") }.map { FilePath($0) }
    if let own = try? FilePath("/proc/self/exe").resolvingLink { candidates.append(own) }
    for candidate in candidates {
      var directory = candidate
      while directory.components.count > 1 {
        directory = directory.removingLastComponent()
        let product = directory.appending(name)
        if access(product.string, X_OK) == 0, directory.string.contains(".build") { return product }
      }
    }
    return nil
  }

  /// Copies in a process of its own: a descriptor that is open for writing here is inherited by whatever another test
  /// starts at that moment, and executing the copy then fails with ETXTBSY.
  private static func copy(_ source: FilePath, to target: String) throws {
    let temporary = target + ".\(UInt64.random(in: 0 ... .max))"
    let command = ["/bin/cp", source.string, temporary]
    var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) }
    arguments.append(nil)
    defer { for text in arguments { free(text) } }
    var pid: pid_t = 0
    let result = posix_spawn(&pid, "/bin/cp", nil, nil, arguments, environ)
    guard result == 0 else { throw Errno(rawValue: result) }
    var status: Int32 = 0
    while waitpid(pid, &status, 0) < 0, errno == EINTR {}
    guard status == 0 else { throw BuildFailure(description: "cp \(source) ended with \(status)") }
    chmod(temporary, 0o755)
    try publish(temporary, as: target)
  }

  /// Ends the test, saying why, where a program isn't installed.
  ///
  /// - Parameter program: A name, or a path with wildcards.
  public static func require(_ program: String) throws {
    let patterns =
      program.contains("/")
      ? [program] : TestEnvironment.path.split(separator: ":").map { "\($0)/\(program)" }
    if !patterns.contains(where: isExecutable) {
      try Test.cancel("\(program) is not installed")
    }
  }

  private static func isExecutable(_ pattern: String) -> Bool {
    var found = glob_t()
    defer { globfree(&found) }
    guard glob(pattern, 0, nil, &found) == 0, let path = found.gl_pathv?[0] else { return false }
    return access(path, X_OK) == 0
  }

  /// The path of a file of `Tests/Scripts`, in a copy that every user may read.
  public static func script(_ name: String) async throws -> String {
    let source = FilePath(#filePath).removingLastComponent().removingLastComponent()
      .appending("Scripts")
    return try await made.once("scripts") { target in
      try await command("cp", ["-r", source.string, target])
      try await command("chmod", ["-R", "a+rX", target])
    } + "/" + name
  }

  /// The path of a program of `Tests/Scripts` that is written in Go.
  public static func go(_ name: String) async throws -> String {
    let source = try await script(name + ".go")
    let cache = try scratch() + "/go-cache"
    return try await made.once(name + "-go") { target in
      try await command(
        "go", ["build", "-o", target, source],
        ["GO111MODULE": "off", "GOCACHE": .init(cache), "CGO_ENABLED": "0", "GOFLAGS": ""])
    }
  }

  /// The directory with the classes of a program of `Tests/Scripts` that is written in Java.
  public static func java(_ name: String) async throws -> String {
    let source = try await script(name + ".java")
    return try await made.once(name + "-java") { target in
      try await command("javac", ["-d", target, source])
      try await command("chmod", ["-R", "a+rX", target])
    }
  }

  private static let made = Made()

  private static func command(
    _ name: String, _ arguments: [String],
    _ environment: [Subprocess.Environment.Key: String] = [:]
  ) async throws {
    let result = try await Subprocess.run(
      .name(name), arguments: Arguments(arguments),
      environment: .inherit.updating(
        Dictionary(uniqueKeysWithValues: environment.map { ($0, Optional($1)) })),
      output: .string(limit: 1 << 16), error: .combinedWithOutput)
    guard result.terminationStatus.isSuccess else {
      throw BuildFailure(description: "\(name): \(result.standardOutput)")
    }
  }
}

/// What is made once a test run in the scratch directory, however many tests ask for it at the same time.
private actor Made {
  private var makings: [String: Task<String, any Error>] = [:]

  func once(
    _ name: String, _ make: @escaping @Sendable (String) async throws -> Void
  ) async throws -> String {
    let making =
      makings[name]
      ?? Task {
        let target = try TestPrograms.scratch() + "/" + name
        try await make(target)
        return target
      }
    makings[name] = making
    return try await making.value
  }
}

/// A program of the tests could not be compiled.
public struct BuildFailure: Error, CustomStringConvertible {
  /// What the compiler said.
  public let description: String
}

extension FilePath {
  /// Where a symbolic link leads.
  fileprivate var resolvingLink: FilePath {
    get throws {
      try withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(PATH_MAX) + 1) { buffer in
        guard let start = buffer.baseAddress else { throw Errno.noMemory }
        let count = readlink(string, start, Int(PATH_MAX))
        guard count >= 0 else { throw Errno(rawValue: errno) }
        buffer[count] = 0
        return FilePath(platformString: start)
      }
    }
  }
}
