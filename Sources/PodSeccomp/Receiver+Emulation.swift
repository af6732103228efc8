internal import CLinux
internal import Glibc
internal import PodCore
internal import PodLinux
internal import SystemPackage

/// Calls in which the kernel has no part: they are answered from the caller's memory alone, without attaching to it, unless it
/// has to wait.
extension Receiver {
  /// Answers a call, or has somebody attend to the caller, who sleeps or is out of reach.
  func emulate(_ notification: Notification, _ call: Syscall, _ thread: PodThread) {
    if thread.process.mayBeOutOfReach {
      return slowly(notification) { attend(notification, call, thread) }
    }
    let host = LookingCaller(thread, supervisor, notification) {
      self.maps(of: thread, notification)
    }
    var transaction = Transaction(
      call, notification.arguments, by: supervisor.caller(thread), names: supervisor.names,
      host: host)
    guard case .answer(let result) = transaction.enter(), !host.isOutOfReach else {
      drop(consume transaction)
      return slowly(notification) { attend(notification, call, thread) }
    }
    trace(transaction, kernel: nil, seen: result)
    answer(notification, result)
  }

  private func drop(_ transaction: consuming Transaction) {}

  /// Whether the caller may have to sleep for something that the supervisor does.
  func maySleep(_ call: Syscall, _ arguments: CallArguments) -> Bool {
    supervisor.names.boundary.row(for: call, arguments)?.performed == .emulatedBlocking
  }

  /// Puts a descriptor of the words that threads sleep on into a caller that waits for its answer.
  ///
  /// - Returns: Its number; nil when the caller doesn't wait any more.
  /// - Throws: What the kernel says: the caller may have no descriptor left.
  func bringWords(to notification: Notification) throws(Errno) -> Int32? {
    let words = try supervisor.waitWords()
    let add = { [listener] () -> Int32 in
      var added: Int32
      repeat {
        added = CLinux_seccomp_add_descriptor(
          listener, notification.id, words.descriptor, 0, UInt32(O_CLOEXEC), 0)
      } while added == -EINTR
      return added
    }
    var added = add()
    if added == -EMFILE { added = beyondLimit(notification, add) }
    if added == -ENOENT { return nil }
    if added < 0 { throw Errno(rawValue: -added) }
    return added
  }
}
