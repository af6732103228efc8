#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// A lock with conditions: what `Synchronization` has no word for.
final class Monitor: @unchecked Sendable {
  /// Something that threads wait for while they don't have the lock.
  final class Condition: @unchecked Sendable {
    fileprivate let storage = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    init() { pthread_cond_init(storage, nil) }

    deinit {
      pthread_cond_destroy(storage)
      storage.deallocate()
    }

    func signal() { pthread_cond_broadcast(storage) }
  }

  private let storage = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)

  init() { pthread_mutex_init(storage, nil) }

  deinit {
    pthread_mutex_destroy(storage)
    storage.deallocate()
  }

  func withLock<T>(_ body: () -> T) -> T {
    pthread_mutex_lock(storage)
    defer { pthread_mutex_unlock(storage) }
    return body()
  }

  /// Gives the lock up until the condition is signalled.
  ///
  /// Preconditions: the lock is held.
  func wait(for condition: Condition) { pthread_cond_wait(condition.storage, storage) }
}

/// Threads that run one job after the other, so that a schedule costs no new ones.
final class WorkerPool: @unchecked Sendable {
  private let monitor = Monitor()
  private let work = Monitor.Condition()
  private var jobs: [@Sendable () -> Void] = []
  private var idle = 0
  private var isClosed = false

  func run(_ job: @escaping @Sendable () -> Void) {
    let needsThread = monitor.withLock {
      jobs.append(job)
      work.signal()
      return idle < jobs.count
    }
    if needsThread { Self.startThread { self.loop() } }
  }

  /// Lets the threads end when they have nothing to do.
  func close() {
    monitor.withLock {
      isClosed = true
      work.signal()
    }
  }

  private func loop() {
    while true {
      let job: (@Sendable () -> Void)? = monitor.withLock {
        idle += 1
        defer { idle -= 1 }
        while jobs.isEmpty, !isClosed { monitor.wait(for: work) }
        return jobs.isEmpty ? nil : jobs.removeFirst()
      }
      guard let job else { return }
      job()
    }
  }

  private final class Start: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }

  /// Starts a thread that nobody joins.
  static func startThread(_ body: @escaping @Sendable () -> Void) {
    let start = Unmanaged.passRetained(Start(body)).toOpaque()
    #if canImport(Darwin)
      var thread: pthread_t?
      let code = pthread_create(
        &thread, nil,
        { start in
          Unmanaged<Start>.fromOpaque(start).takeRetainedValue().body()
          return nil
        }, start)
    #else
      var thread = pthread_t()
      let code = pthread_create(
        &thread, nil,
        { start in
          if let start { Unmanaged<Start>.fromOpaque(start).takeRetainedValue().body() }
          return nil
        }, start)
    #endif
    precondition(code == 0, "no thread for a simulated process")
    #if canImport(Darwin)
      if let thread { pthread_detach(thread) }
    #else
      pthread_detach(thread)
    #endif
  }
}
