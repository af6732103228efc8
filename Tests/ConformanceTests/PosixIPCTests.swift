import Glibc
import PodCore
import PodTestSupport
import Subprocess
import SystemPackage
import Testing

/// POSIX shared memory, named semaphores and message queues, and `/dev/shm` as a directory.
@Suite("POSIX IPC is a pod's own")
struct PosixIPCTests {
  /// How a pod of the tests' own has its `/dev/shm`.
  enum Way: String, CaseIterable {
    case usual
    case objects = "without mounts"
    case everything = "without mounts, all paths"

    var configuration: PodConfiguration {
      var configuration = PodConfiguration()
      configuration.mayMount = self == .usual
      configuration.pathCoverage = self == .everything ? .everything : .objects
      return configuration
    }
  }

  private static func text(of path: String) throws -> String {
    let file = try FileDescriptor.open(FilePath(path), .readOnly)
    return try file.closeAfter {
      try withUnsafeTemporaryAllocation(byteCount: 64, alignment: 1) { buffer in
        let count = try file.read(into: buffer)
        return String(decoding: buffer[..<count], as: UTF8.self)
      }
    }
  }

  /// A name that nobody else has.
  private static func unique() -> String {
    "posix-\(getpid())-\(UInt32.random(in: .min ... .max))"
  }

  @Test(
    "objects, by the C library", arguments: [TestPrograms.Build.dynamic, .musl],
    TestEnvironment.allCases)
  func objects(build: TestPrograms.Build, environment: TestEnvironment) async throws {
    let outcome = try await environment.run(
      try await TestPrograms.path("posix_objects", build), [Self.unique()])
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }

  @Test(
    "objects and /dev/shm where the kernel doesn't show it",
    arguments: TestEnvironment.pods.filter { !$0.isUnprivileged },
    ["posix_objects", "shared_directory"])
  func withoutMounts(environment: TestEnvironment, program: String) async throws {
    for way in Way.allCases {
      let outcome = try await environment.run(
        try await TestPrograms.path(program), [Self.unique()], configuration: way.configuration)
      #expect(outcome.status == .exited(0), "\(way): \(outcome.output)")
    }
  }

  @Test("/dev/shm as a directory", arguments: TestEnvironment.allCases)
  func directory(environment: TestEnvironment) async throws {
    let outcome = try await environment.run(
      try await TestPrograms.path("shared_directory"), [Self.unique()])
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }

  @Test(
    "the host and two pods have different objects of one name",
    arguments: TestBackend.usual, Way.allCases)
  func sameNames(backend: TestBackend, way: Way) async throws {
    let name = Self.unique()
    let program = try await TestPrograms.path("posix_objects")
    let files = ["/dev/shm/\(name)-memory", "/dev/shm/sem.\(name)-semaphore"]
    for path in files {
      let file = try FileDescriptor.open(
        FilePath(path), .writeOnly, options: [.create, .exclusiveCreate],
        permissions: [.ownerReadWrite, .groupReadWrite, .otherReadWrite])
      try file.closeAfter { _ = try file.writeAll("the host's".utf8) }
    }
    defer { files.forEach { unlink($0) } }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<2 {
        group.addTask {
          try await withPod(way.configuration, backend: backend.backend) { pod in
            for _ in 0..<3 {
              let result = try await pod.run(
                .path(FilePath(program)), arguments: [name, "objects"],
                output: .string(limit: 4096),
                error: .combinedWithOutput)
              #expect(result.terminationStatus == .exited(0), "\(result.standardOutput)")
            }
          }
        }
      }
      try await group.waitForAll()
    }
    for path in files { #expect(try Self.text(of: path) == "the host's") }
  }

  @Test(
    "nothing is left of a pod that ends, whatever it has made", arguments: TestBackend.usual,
    Way.allCases)
  func nothingLeft(backend: TestBackend, way: Way) async throws {
    let name = Self.unique()
    let program = try await TestPrograms.path("left_objects")
    try await withPod(way.configuration, backend: backend.backend) { pod in
      let result = try await pod.run(
        .path(FilePath(program)), arguments: ["make", name], output: .string(limit: 4096),
        error: .combinedWithOutput)
      #expect(result.terminationStatus == .exited(0), "\(result.standardOutput)")
      // The next program of the pod finds them.
      let again = try await pod.run(
        .path(FilePath(program)), arguments: ["find", name], output: .string(limit: 4096),
        error: .combinedWithOutput)
      #expect(again.terminationStatus == .exited(0), "\(again.standardOutput)")
      let outside = try await TestEnvironment.native.run(program, ["miss", name])
      #expect(outside.status == .exited(0), "\(outside.output)")
      _ = try await pod.launch(
        try LaunchRequest(
          .path(FilePath(program)), arguments: ["hold", name], input: .none, output: .discard,
          error: .discard))
    }
    let outside = try await TestEnvironment.native.run(program, ["miss", name])
    #expect(outside.status == .exited(0), "\(outside.output)")
  }

  @Test(
    "a host program that is killed leaves what the next one removes",
    arguments: TestBackend.usual, ["root", "nobody"])
  func killedHost(backend: TestBackend, user: String) async throws {
    let name = Self.unique()
    let program = try await TestPrograms.path("left_objects")
    let podrun = [try TestPrograms.podrun()] + backend.options + ["--"]
    let asUser = { command in try user == "nobody" ? TestEnvironment.asNobody(command) : command }
    // The pod's program kills its host program when its objects are there.
    let command = try asUser(
      podrun + ["sh", "-c", "\(program) make \(name) && echo made && sleep 60"])
    let script = """
      "$@" > /tmp/\(name) & host=$!
      while ! grep -q made /tmp/\(name); do kill -0 $host || exit 1; sleep 0.05; done
      find /dev/shm -path '*\(name)-memory' | grep -q . || exit 2
      kill -KILL $host; wait $host
      \(try asUser(podrun + ["true"]).map { "'\($0)'" }.joined(separator: " ")) || exit 3
      rm /tmp/\(name)
      find /dev/shm -path '*\(name)-memory' | grep . && exit 4
      exit 0
      """
    let outcome = try await TestEnvironment.native.run(
      "bash", ["-c", script, "bash"] + command)
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }

  @Test(
    "where the kernel shows the directory, no way leads to the host's", arguments: TestBackend.usual
  )
  func hostileWays(backend: TestBackend) async throws {
    let name = Self.unique()
    let path = "/dev/shm/\(name)"
    let file = try FileDescriptor.open(
      FilePath(path), .writeOnly, options: [.create, .exclusiveCreate],
      permissions: [.ownerReadWrite, .groupReadWrite, .otherReadWrite])
    try file.closeAfter { _ = try file.writeAll("the host's".utf8) }
    defer { unlink(path) }
    let link = "/tmp/\(name)"
    try #require(symlink("/dev/shm", link) == 0)
    defer { unlink(link) }
    let mounts = try await TestEnvironment.native.run(
      "grep", ["-c", " /dev/shm ", "/proc/self/mounts"])
    let script = """
      [ "$(grep -c ' /dev/shm ' /proc/self/mounts)" -gt $1 ] || { echo unmounted; exit; }
      umount /dev/shm; umount -l /dev/shm; nsenter -t $2 -m ls /dev/shm
      mkdir /dev/shm/d; mv /dev/shm/d /dev/shm/e; cd /dev/shm/e
      for way in $4 /proc/self/root/dev/shm /proc/1/root/dev/shm /proc/$2/root/dev/shm /proc/$2/cwd/../dev/shm \
          /proc/thread-self/cwd/.. ../../shm /dev/shm/e/../../shm /dev/../dev/shm; do
        cat $way/$3; echo changed > $way/$3; rm -f $way/$3; ln $way/$3 /dev/shm/linked
      done
      ls -a /dev/shm /dev/shm/.. | grep -e "$3" -e '[.]pod-'
      """
    let output = try await withPod(backend: backend.backend) { pod in
      try await pod.run(
        .path("/bin/sh"),
        arguments: ["-c", script, "sh", mounts.lines.first ?? "0", "\(getpid())", name, link],
        output: .string(limit: 1 << 16), error: .combinedWithOutput
      ).standardOutput
    }
    if output == "unmounted\n" { try Test.cancel("only CAP_SYS_ADMIN mounts") }
    #expect(!output.contains("the host's") && !output.contains(".pod-"), "\(output)")
    #expect(try Self.text(of: path) == "the host's")
  }

  @Test("python's shared memory and semaphores", arguments: TestEnvironment.allCases)
  func python(environment: TestEnvironment) async throws {
    guard access("/usr/bin/python3", X_OK) == 0 else { try Test.cancel("there is no python3") }
    let script = """
      import multiprocessing as mp, sys
      from multiprocessing import shared_memory
      def work(name, lock, n):
          m = shared_memory.SharedMemory(name=name)
          for _ in range(50):
              with lock: m.buf[0] += 1
          m.close(); n.release()
      if __name__ == '__main__':
          for how in ['fork', 'spawn', 'forkserver']:
              c = mp.get_context(how)
              m = shared_memory.SharedMemory(create=True, size=64)
              lock, n = c.Lock(), c.Semaphore(0)
              ps = [c.Process(target=work, args=(m.name, lock, n)) for _ in range(3)]
              [p.start() for p in ps]; [n.acquire() for _ in ps]; [p.join() for p in ps]
              assert [p.exitcode for p in ps] == [0, 0, 0], how
              assert m.buf[0] == 150, (how, m.buf[0])
              m.close(); m.unlink()
          print('done')
      """
    let path = "/tmp/\(Self.unique()).py"
    let file = try FileDescriptor.open(
      FilePath(path), .writeOnly, options: [.create, .exclusiveCreate],
      permissions: [.ownerReadWrite, .groupRead, .otherRead])
    try file.closeAfter { _ = try file.writeAll(script.utf8) }
    defer { unlink(path) }
    let outcome = try await environment.run("/usr/bin/python3", [path])
    #expect(outcome.status == .exited(0) && outcome.lines == ["done"], "\(outcome.output)")
  }
}
