import PodCore
import PodTestSupport
import Testing

/// Births and waits that are cut off at any instruction that a program can be cut off at, those of the pod's own code in it
/// among them.
@Suite("Births that are cut off", .serialized)
struct SteppedBirthTests {
  /// The ptrace backend has no code in its processes, and a program that steps through itself is its tracer's to step.
  static let environments: [TestEnvironment] = [
    .native, .nativeUnprivileged, .seccomp, .seccompUnprivileged,
  ].filter(TestEnvironment.allCases.contains)

  @Test(
    "by a handler, by a long jump, by a death", .timeLimit(.minutes(20)),
    arguments: environments)
  func everywhere(environment: TestEnvironment) async throws {
    let outcome = try await environment.run(
      try await TestPrograms.path("stepped_births"), ["\(Amount.of(11, long: 1))"])
    #expect(outcome.status == .exited(0), "\(outcome.output)")
  }
}
