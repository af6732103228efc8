import Glibc
import Synchronization

/// Swift's `Mutex` makes its lock words of gettid(): virtual ids in a pod, which the kernel has to understand
/// (COVERAGE P63).
@main
struct ContendedMutex {
  static func main() {
    let expected = (Contention.workers + 1) * Contention.rounds
    let total = Contention.run()
    print(total)
    exit(total == expected ? 0 : 1)
  }
}

/// Threads that all want one lock, the leader among them: its virtual id differs from its physical one.
enum Contention {
  static let value = Mutex(0)
  static let rounds = 2_000
  static let workers = 4

  static func run() -> Int {
    var threads: [pthread_t] = []
    for _ in 0..<workers {
      var thread = pthread_t()
      pthread_create(
        &thread, nil,
        { _ in
          Contention.work()
          return nil
        }, nil)
      threads.append(thread)
    }
    work()
    for thread in threads { pthread_join(thread, nil) }
    return value.withLock { $0 }
  }

  static func work() {
    for round in 0..<rounds {
      value.withLock { value in
        let seen = value
        if round % 64 == 0 { sched_yield() }
        value = seen + 1
      }
    }
  }
}
