public import PodCore
import PodLinux
public import Testing

extension PodConfiguration.SystemVProvider: CustomTestStringConvertible {
  /// Each provider by itself: the kernel, and the host program.
  public static let each: [PodConfiguration.SystemVProvider] = [.kernel, .emulated]

  /// The name in reports.
  public var testDescription: String { "objects: \(rawValue)" }

  /// A pod's configuration with this provider. Cancels the test, with the reason, where it can't be had.
  public func configured() throws -> PodConfiguration {
    var configuration = PodConfiguration()
    configuration.systemV = self
    if self == .kernel, let obstacle = KernelObjects.obstacle(for: configuration) {
      try Test.cancel("\(obstacle)")
    }
    return configuration
  }
}
