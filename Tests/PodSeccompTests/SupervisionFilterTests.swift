import CSeccomp
import Testing

@Suite("The filter of a supervised pod")
struct SupervisionFilterTests {
  @Test("libseccomp knows the architecture")
  func architecture() { #expect(seccomp_arch_native() != 0) }
}
