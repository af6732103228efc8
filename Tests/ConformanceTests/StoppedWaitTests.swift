import PodCore
import PodTestSupport
import Testing

@Suite("Waits and stops for job control", .timeLimit(.minutes(2)))
struct StoppedWaitTests {
  /// Where semaphores are emulated, the kernel makes the call anew in which their waiters sleep with the seccomp backend.
  @Test("a stop ends the waits that it ends natively")
  func stops() async throws {
    let program = try await TestPrograms.path("stopped_waits")
    let native = try await TestEnvironment.native.run(program, [])
    #expect(native.status == .exited(0), "\(native.output)")
    for (backend, words) in [(TestBackend.ptrace, []), (.seccomp, ["but-semaphores"])] {
      let outcome = try await TestEnvironment.native.run(
        try TestPrograms.podrun(),
        backend.options + ["--system-v", "emulated", "--", program] + words)
      #expect(outcome.status == .exited(0), "\(backend): \(outcome.output)")
    }
  }
}
