import CLinux
import Glibc
import PodCore
import SystemPackage
import Testing

@testable import PodLinux

@Suite("A pod's directories in /dev/shm", .serialized)
struct PodDirectoryTests {
  private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

  /// The outermost directory of one.
  private func outer(_ directory: PodDirectory) -> String {
    text(directory.sharedMemory).split(separator: "/").dropLast().reduce("") { "\($0)/\($1)" }
  }

  private func mode(_ path: String) -> mode_t? {
    var status = stat()
    return lstat(path, &status) == 0 ? status.st_mode : nil
  }

  @Test("they are there for the pod's users, and can't be found by others; and gone at the end")
  func life() throws {
    let mask = umask(0o077)
    defer { umask(mask) }
    let directory = try PodDirectory.make()
    #expect(!directory.has(object: Array("none".utf8)))
    #expect(mode(text(directory.sharedMemory)) == S_IFDIR | 0o1777)
    #expect(mode(outer(directory)) == S_IFDIR | 0o711)
    #expect(directory.sharedMemory.count < 48 && directory.queuePrefix.count < 32)
    let other = try PodDirectory.make()
    #expect(outer(other) != outer(directory))
    let path = outer(directory)
    directory.remove()
    directory.remove()
    #expect(mode(path) == nil && mode(outer(directory)) == nil)
    #expect(mode(outer(other)) != nil)
    // One that isn't used is never made.
    _ = try PodDirectory.make()
    withExtendedLifetime(other) {}
  }

  @Test("whatever a program leaves there goes with them, and nothing else")
  func contents() throws {
    let outside = "/dev/shm/pod-directory-test-\(getpid())"
    try #require(mkdir(outside, 0o700) == 0)
    defer { rmdir(outside) }
    try #require(close(creat("\(outside)/kept", 0o600)) == 0)
    defer { unlink("\(outside)/kept") }
    let directory = try PodDirectory.make()
    let inner = text(directory.sharedMemory)
    try #require(symlink(outside, "\(inner)/link") == 0)
    try #require(mkdir("\(inner)/closed", 0o700) == 0)
    try #require(symlink(outside, "\(inner)/closed/link") == 0)
    try #require(mkfifo("\(inner)/closed/pipe", 0) == 0)
    try #require(chmod("\(inner)/closed", 0) == 0)
    // Deeper than any path is long, and than descriptors there are.
    var here = open(inner, O_RDONLY | O_DIRECTORY)
    for _ in 0..<3_000 {
      try #require(mkdirat(here, "deep", 0o700) == 0)
      let next = openat(here, "deep", O_RDONLY | O_DIRECTORY)
      close(here)
      here = next
    }
    close(here)
    for number in 0..<500 {
      try #require(close(creat("\(inner)/\(number)", 0o600)) == 0)
      try #require(mkdir("\(inner)/d\(number)", 0o700) == 0)
      try #require(mkdir("\(inner)/d\(number)/e", 0o700) == 0)
    }
    let path = outer(directory)
    directory.remove()
    #expect(mode(path) == nil)
    #expect(mode("\(outside)/kept") == S_IFREG | 0o600)
  }

  @Test("queues that are listed are removed, also those with long names")
  func queues() throws {
    let directory = try PodDirectory.make()
    let names = ["queue", String(repeating: "n", count: 255)].map { Array($0.utf8) }
    func call(_ call: Syscall, _ name: [UInt8], _ flags: UInt64) -> Int {
      (name + [0]).withUnsafeBufferPointer {
        CLinux_syscall(
          Int(call.rawValue), UInt64(UInt(bitPattern: $0.baseAddress)), flags, 0o600, 0, 0, 0)
      }
    }
    for name in names {
      try directory.list(queue: name)
      let kernel = PosixQueue.kernelName(of: name, prefix: directory.queuePrefix)
      let descriptor = call(.mq_open, kernel, UInt64(O_RDWR | O_CREAT | O_EXCL))
      guard descriptor != -Int(ENOSYS) else { try Test.cancel("this kernel has no queues") }
      try #require(descriptor >= 0)
      close(Int32(descriptor))
    }
    directory.remove()
    for name in names {
      let kernel = PosixQueue.kernelName(of: name, prefix: directory.queuePrefix)
      #expect(call(.mq_open, kernel, UInt64(O_RDWR)) == -Int(ENOENT))
    }
  }

  @Test("what a killed host program has left is removed, and nothing of one that lives")
  func abandoned() throws {
    let living = try PodDirectory.make()
    try #require(mode(text(living.sharedMemory)) != nil)
    let left = "/dev/shm/.pod-\(String(getpid(), radix: 16))x"
    try #require(mkdir(left, 0o711) == 0)
    try #require(mkdir("\(left)/s1", 0o777) == 0)
    try #require(close(creat("\(left)/s1/object", 0o600)) == 0)
    // One that another user could have made to have a file of ours removed.
    let link = "\(left)-link"
    try #require(symlink(outer(living), link) == 0)
    defer { unlink(link) }
    let next = try PodDirectory.make()
    #expect(mode(left) == nil)
    #expect(mode(link).map { $0 & S_IFMT } == S_IFLNK)
    #expect(mode(text(living.sharedMemory)) != nil)
    withExtendedLifetime((living, next)) {}
  }

  @Test("many at once don't clear each other away before they are locked")
  func manyAtOnce() async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<4 {
        group.addTask {
          for _ in 0..<200 {
            let directory = try PodDirectory.make()
            #expect(mode(text(directory.sharedMemory)) == S_IFDIR | 0o1777)
            directory.remove()
          }
        }
      }
      try await group.waitForAll()
    }
  }

  @Test("a table is replaced as a whole")
  func tables() throws {
    let directory = try PodDirectory.make()
    let path = "\(text(directory.systemVTables))/msg"
    try directory.show(.msg, Array("first\n".utf8))
    let reader = open(path, O_RDONLY)
    defer { close(reader) }
    try directory.show(.msg, Array("second, and longer\n".utf8))
    var buffer = [UInt8](repeating: 0, count: 64)
    #expect(read(reader, &buffer, 64) == 6)
    let again = open(path, O_RDONLY)
    #expect(read(again, &buffer, 64) == 19)
    close(again)
    #expect(mode(path) == S_IFREG | 0o444)
  }
}
