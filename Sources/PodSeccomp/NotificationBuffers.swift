package import CLinux
internal import CSeccomp
internal import Glibc
package import SystemPackage

/// The memory in which one receiver gets notifications and gives answers: as large as the running kernel wants it, which
/// may be more than the headers of the build say, and allocated once, not for each notification.
///
/// Source: seccomp_unotify(2), SECCOMP_GET_NOTIF_SIZES; seccomp_notify_alloc(3).
package struct NotificationBuffers: ~Copyable {
  private let request: UnsafeMutablePointer<seccomp_notif>
  private let response: UnsafeMutablePointer<seccomp_notif_resp>
  private let sizes: seccomp_notif_sizes

  /// Allocates them.
  ///
  /// - Throws: What seccomp(2) says where the kernel, or a filter around this program, knows no notifications;
  ///   `.noFunction` where the kernel's are shorter than those that this was built for; `.noMemory`.
  package init() throws(Errno) {
    var sizes = seccomp_notif_sizes()
    let getSizes: UInt32 = 3
    let result = CLinux_seccomp(getSizes, 0, &sizes)
    guard result == 0 else { throw Errno(rawValue: -result) }
    guard Int(sizes.seccomp_notif) >= MemoryLayout<seccomp_notif>.size,
      Int(sizes.seccomp_notif_resp) >= MemoryLayout<seccomp_notif_resp>.size
    else { throw .noFunction }
    var request: UnsafeMutablePointer<seccomp_notif>?
    var response: UnsafeMutablePointer<seccomp_notif_resp>?
    guard seccomp_notify_alloc(&request, &response) == 0, let request, let response else {
      throw .noMemory
    }
    (self.request, self.response, self.sizes) = (request, response, sizes)
  }

  deinit { seccomp_notify_free(request, response) }

  /// Waits for a notification and takes it.
  ///
  /// - Returns: 0, or the negative errno: `-ENOENT` when the caller went away meanwhile, `-EINTR` after a signal.
  package mutating func receive(from listener: Int32) -> Int32 {
    memset(request, 0, Int(sizes.seccomp_notif))
    return CLinux_seccomp_receive(listener, request)
  }

  /// The notification that was taken last.
  package var notification: seccomp_notif { request.pointee }

  /// Answers a notification.
  ///
  /// - Parameters:
  ///   - id: The notification's number.
  ///   - value: The call's result; 0 with an error or `CONTINUE`.
  ///   - error: The call's errno, negative; else 0.
  ///   - flags: `SECCOMP_USER_NOTIF_FLAG_CONTINUE` or 0.
  ///   - listener: Where it came from.
  /// - Returns: 0, or the negative errno: `-ENOENT` when the caller went away, or was answered already; in the latter
  ///   case `-EINPROGRESS` until it wakes.
  package mutating func answer(
    _ id: UInt64, value: Int64 = 0, error: Int32 = 0, flags: UInt32 = 0, on listener: Int32
  ) -> Int32 {
    prepare(id, value: value, error: error, flags: flags)
    return CLinux_seccomp_respond(listener, response)
  }

  /// Writes an answer that nobody gets yet.
  mutating func prepare(_ id: UInt64, value: Int64 = 0, error: Int32 = 0, flags: UInt32 = 0) {
    memset(response, 0, Int(sizes.seccomp_notif_resp))
    response.pointee = seccomp_notif_resp(id: id, val: value, error: error, flags: flags)
  }

  /// Puts a notification there that nobody sent.
  mutating func rehearse(_ notification: seccomp_notif) {
    memset(request, 0, Int(sizes.seccomp_notif))
    request.pointee = notification
  }
}
