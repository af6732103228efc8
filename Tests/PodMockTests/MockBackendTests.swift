internal import PodCore
internal import PodMock
internal import SystemPackage
internal import Testing

@Suite struct MockBackendTests {
  @Test("a pod on the mock runs programs, gives their output and status, and ends")
  func run() async throws {
    let backend = MockBackend(programs: [
      "/bin/whoami": { process in
        let text = "\((try? process.call(.getpid).get()) ?? 0)"
        let address = process.allocate(text.utf8.count)
        try? process.write(Array(text.utf8), to: address)
        process.call(.write, 1, Int(address.rawValue), text.utf8.count)
        process.exit(3)
      },
      "/bin/sleep": { $0.call(.pause) },
    ])
    try await withPod(backend: backend) { pod in
      let result = try await pod.run(
        .path("/bin/whoami"), output: .string(limit: 64), error: .discarded)
      #expect(result.terminationStatus == .exited(3))
      #expect(result.standardOutput == "2")
      await #expect(throws: PodError.self) {
        _ = try await pod.run(.path("/bin/nothing"), output: .discarded, error: .discarded)
      }
    }
  }
}
