import CLinux
import Glibc
import PodCore
import PodTestSupport
import SystemPackage
import Testing

/// Segments of pods and of the host.
@Suite("Shared memory stays in its pod", .serialized)
struct SharedMemoryTests {
  /// A segment of the host's, removed at the end.
  private func withHostSegment<R>(
    _ body: (_ key: Int32, _ id: Int32) async throws -> R
  ) async throws -> R {
    let key = Int32.random(in: 1...Int32.max)
    let (create, remove): (Int32, Int32) = (0o3666, 0)
    let id = shmget(key, 4096, create)
    try #require(id >= 0)
    defer { shmctl(id, remove, nil) }
    return try await body(key, id)
  }

  private func words(_ id: Int32) throws -> UnsafeMutablePointer<Int32> {
    let address = try #require(shmat(id, nil, 0))
    return address.assumingMemoryBound(to: Int32.self)
  }

  @Test(
    "two pods and the host have a segment each behind one key",
    .timeLimit(.minutes(1)), arguments: TestBackend.all, PodConfiguration.SystemVProvider.each)
  func oneKey(backend: TestBackend, provider: PodConfiguration.SystemVProvider) async throws {
    let configuration = try provider.configured()
    let program = FilePath(try await TestPrograms.path("shared_memory_neighbour"))
    try await withHostSegment { key, id in
      let words = try words(id)
      words[0] = 4711
      let arguments = Pod.Arguments(["\(key)", "\(id)"])
      try await withPod(configuration, backend: backend.backend) { first in
        try await withPod(configuration, backend: backend.backend) { second in
          // One after the other in a pod finds what the one before has left: so each has its own pod, at once.
          async let one = first.run(
            .path(program), arguments: arguments, output: .string(limit: 4096),
            error: .combinedWithOutput)
          async let other = second.run(
            .path(program), arguments: arguments, output: .string(limit: 4096),
            error: .combinedWithOutput)
          let (left, right) = (try await one, try await other)
          #expect(left.terminationStatus == .exited(0), "\(left.standardOutput)")
          #expect(right.terminationStatus == .exited(0), "\(right.standardOutput)")
          #expect(left.standardOutput == right.standardOutput)
        }
      }
      #expect(words[0] == 4711)
      var status = shmid_ds()
      let look: Int32 = 2
      #expect(shmctl(id, look, &status) == 0)
      #expect(status.shm_nattch == 1)
      #expect(status.shm_lpid == getpid())
      shmdt(words)
    }
  }

  /// The programs leave a segment each; one of them is killed with it attached.
  @Test(
    "a pod that ends leaves no memory, no descriptor and no segment",
    .timeLimit(.minutes(1)), arguments: TestBackend.usual, PodConfiguration.SystemVProvider.each)
  func nothingIsLeft(
    backend: TestBackend, provider: PodConfiguration.SystemVProvider
  ) async throws {
    let configuration = try provider.configured()
    let program = FilePath(try await TestPrograms.path("shared_memory_neighbour"))
    let before = try segments()
    try await withPod(configuration, backend: backend.backend) { pod in
      _ = try await pod.run(
        .path(program), arguments: ["77", "0"], output: .string(limit: 4096))
      // It ends with the pod.
      let (reading, writing) = try FileDescriptor.pipe()
      defer { try? writing.close() }
      let request = try LaunchRequest(
        .path(program), arguments: ["78", "0"],
        input: .descriptor(reading, closeAfterLaunch: true), output: .discard, error: .discard)
      _ = try await pod.launch(request)
      try await Task.sleep(for: .milliseconds(200))
    }
    #expect(try segments() == before)
    #expect(try ownFiles().isEmpty)
  }

  @Test(
    "segments take no more than half of the host program's descriptors",
    arguments: TestBackend.usual)
  func descriptors(backend: TestBackend) async {
    await #expect(processExitsWith: .success) { [backend = backend as TestBackend] in
      let program = FilePath(try await TestPrograms.path("shared_memory_greed"))
      var limit = rlimit(rlim_cur: 128, rlim_max: 128)
      setrlimit(__rlimit_resource_t(7), &limit)
      var configuration = PodConfiguration()
      configuration.systemV = .emulated
      let output = try await withPod(configuration, backend: backend.backend) { pod in
        let result = try await pod.run(
          .path(program), output: .string(limit: 4096), error: .combinedWithOutput)
        let own = (0..<20).map { _ in open("/dev/null", O_RDONLY) }
        if own.contains(-1) { exit(3) }
        return result.standardOutput
      }
      print(output)
      exit(output == "full\n" ? 0 : 1)
    }
  }

  /// A traced program gets its segment by a socket that is there for a moment, to which everybody can connect.
  @Test(
    "who else connects for a segment gets none, and keeps nobody from it", .timeLimit(.minutes(5)))
  func intruder() async throws {
    let command = [
      try TestPrograms.podrun(), "--backend", "ptrace", "--system-v", "emulated", "--",
      try await TestPrograms.path("shared_memory_attaches"), "200",
    ]
    for _ in 0..<5 {
      let outcome = try await TestEnvironment.native.run(
        try await TestPrograms.path("socket_intruder"), command, seconds: 60)
      // Where it has found nothing, nothing is shown.
      if outcome.status == .exited(77) { continue }
      #expect(outcome.status == .exited(0), "\(outcome.output)")
      return
    }
    Issue.record("there was nothing to connect to")
  }

  @Test(
    "who meddles with what a supervisor puts into its process doesn't keep it waiting",
    .timeLimit(.minutes(2)), arguments: TestBackend.usual)
  func meddled(backend: TestBackend) async throws {
    let outcome = try await TestEnvironment.native.run(
      try TestPrograms.podrun(),
      backend.options + [
        "--system-v", "emulated", "--", try await TestPrograms.path("meddled_attach"),
      ], seconds: 60)
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }

  private func segments() throws -> Int {
    var info = shm_info()
    let look: Int32 = 14
    let highest = withUnsafeMutableBytes(of: &info) { bytes in
      shmctl(0, look, bytes.baseAddress?.assumingMemoryBound(to: shmid_ds.self))
    }
    try #require(highest >= 0)
    return Int(info.used_ids)
  }

  /// This process's files in memory that are segments.
  private func ownFiles() throws -> [String] {
    (0..<1024).compactMap { descriptor in
      var target = [CChar](repeating: 0, count: 256)
      guard readlink("/proc/self/fd/\(descriptor)", &target, 255) > 0 else { return nil }
      let name = String(
        decoding: target.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      return name.hasPrefix("/memfd:SYSV") ? name : nil
    }
  }
}
