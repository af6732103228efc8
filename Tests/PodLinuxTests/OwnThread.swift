import Glibc
import Synchronization
import Testing

/// Runs the body on a thread of its own, since tracees and filters belong to a thread.
func onOwnThread(_ body: @escaping @Sendable () throws -> Void) throws {
  let job = Job(body)
  var thread = pthread_t()
  let result = pthread_create(
    &thread, nil,
    { argument in
      guard let argument else { return nil }
      let job = Unmanaged<Job>.fromOpaque(argument).takeRetainedValue()
      job.result.withLock { $0 = Result { try job.body() } }
      return nil
    }, Unmanaged.passRetained(job).toOpaque())
  try #require(result == 0)
  pthread_join(thread, nil)
  try #require(job.result.withLock { $0 }).get()
}

private final class Job: Sendable {
  let body: @Sendable () throws -> Void
  let result = Mutex<Result<Void, any Error>?>(nil)

  init(_ body: @escaping @Sendable () throws -> Void) {
    self.body = body
  }
}
