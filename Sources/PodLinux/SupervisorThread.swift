internal import CLinux
internal import Glibc
package import SystemPackage

/// A dedicated thread of the host program with a name, and without the host's signals. It has to be joined
/// or detached, once.
package struct SupervisorThread: Sendable {
  private let handle: pthread_t

  private final class Body {
    let name: String
    let run: () -> Void
    init(name: String, run: @escaping () -> Void) {
      self.name = name
      self.run = run
    }
  }

  /// Starts a thread that ends with `body`.
  ///
  /// All signals are blocked in it, so that no handler of the host program runs there.
  ///
  /// - Parameter name: Shown by ps and debuggers; the first 15 bytes.
  /// - Throws: `.resourceTemporarilyUnavailable` when no thread is to be had. Source: pthread_create(3).
  package static func start(
    name: String, _ body: @escaping @Sendable () -> Void
  ) throws(Errno) -> SupervisorThread {
    let box = Unmanaged.passRetained(Body(name: name, run: body))
    var all = sigset_t()
    var old = sigset_t()
    sigfillset(&all)
    pthread_sigmask(SIG_SETMASK, &all, &old)
    var thread = pthread_t()
    let result = pthread_create(
      &thread, nil,
      { argument in
        guard let argument else { return nil }
        let body = Unmanaged<Body>.fromOpaque(argument).takeRetainedValue()
        _ = body.name.withCString { name in
          CLinux_prctl(PR_SET_NAME, UInt(bitPattern: name), 0, 0, 0)
        }
        body.run()
        return nil
      }, box.toOpaque())
    pthread_sigmask(SIG_SETMASK, &old, nil)
    guard result == 0 else {
      box.release()
      throw Errno(rawValue: result)
    }
    return SupervisorThread(handle: thread)
  }

  /// Waits until the thread has ended. The thread itself doesn't wait: it is let go.
  package func join() {
    if pthread_equal(handle, pthread_self()) != 0 {
      detach()
    } else {
      pthread_join(handle, nil)
    }
  }

  /// Lets the thread end by itself, with the process at the latest.
  package func detach() { pthread_detach(handle) }
}
