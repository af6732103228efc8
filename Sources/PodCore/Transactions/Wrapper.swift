public import SystemPackage

/// What is done around the kernel's part of a call whose meaning changes in a pod.
///
/// Named for what it does to names, since one wrapper serves several calls. Built of the steps of ``Step`` only.
public protocol Wrapper: Sendable {
  /// Before the kernel's part, after the row's inputs were translated. Setting ``Transaction/result`` answers the call
  /// without the kernel; throwing answers it with an errno.
  func preamble(_ transaction: inout Transaction) throws(Errno)

  /// After the kernel's part, before the row's outputs are translated. ``Transaction/result`` is the kernel's answer.
  func epilogue(_ transaction: inout Transaction) throws(Errno)
}

extension Wrapper {
  /// Does nothing.
  public func preamble(_ transaction: inout Transaction) throws(Errno) {}
  /// Does nothing.
  public func epilogue(_ transaction: inout Transaction) throws(Errno) {}
}

/// A rule of the embedder for some calls: it runs outside the translation and sees virtual names only.
public protocol Interposer: Sendable {
  /// The calls it wants to see; the backend then interposes on them even where no name crosses.
  var calls: Set<Syscall> { get }

  /// Before anything else is done. Throwing answers the program with the errno; setting ``Transaction/result`` answers
  /// it with a value.
  func preamble(_ transaction: inout Transaction) throws(Errno)
}
