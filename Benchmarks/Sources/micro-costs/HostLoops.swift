import Dispatch
import Glibc
import Measuring
import SystemPackage

/// What the host program itself does, in a thread that has nothing to do with pods.
struct HostLoops: Sendable {
  /// What is spawned.
  let program: String

  /// What it costs once, in nanoseconds.
  func cost(of work: Row.HostWork) async throws -> Double {
    try await withCheckedThrowingContinuation { continuation in
      DispatchQueue.global().async { continuation.resume(with: Result { try measured(work) }) }
    }
  }

  private func measured(_ work: Row.HostWork) throws -> Double {
    switch work {
    case .getpid: return Self.time(40_000) { _ = getpid() }
    case .pipe:
      let (from, to) = try FileDescriptor.pipe()
      defer {
        try? from.close()
        try? to.close()
      }
      var byte: UInt8 = 0
      return Self.time(8_000) {
        write(to.rawValue, &byte, 1)
        read(from.rawValue, &byte, 1)
      }
    case .thread:
      return Self.time(200) {
        var thread = pthread_t()
        if pthread_create(&thread, nil, { _ in nil }, nil) == 0 { pthread_join(thread, nil) }
      }
    case .spawn:
      return Self.time(20) {
        var child: pid_t = 0
        var status: Int32 = 0
        program.withCString { path in
          var arguments: [UnsafeMutablePointer<CChar>?] = [
            UnsafeMutablePointer(mutating: path), nil,
          ]
          if posix_spawn(&child, path, nil, nil, &arguments, environ) == 0 {
            waitpid(child, &status, 0)
          }
        }
      }
    }
  }

  private static func time(_ count: Int, _ body: () -> Void) -> Double {
    for _ in 0..<count / 16 { body() }
    let duration = ContinuousClock().measure { for _ in 0..<count { body() } }
    return duration.nanoseconds / Double(count)
  }
}
