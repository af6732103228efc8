import CLinux
import Glibc
import PodCore
import PodLinux
import SystemPackage
import Testing

/// Three pages: the first and the second readable and writable, the third not mapped.
private final class Pages {
  let start: UnsafeMutableRawPointer
  var address: RemoteAddress { RemoteAddress(rawValue: UInt64(UInt(bitPattern: start))) }
  /// The first byte that is not there.
  var end: RemoteAddress { address + 8192 }

  init() throws {
    let flags = MAP_PRIVATE | MAP_ANONYMOUS
    // Far from where the kernel puts mappings by itself: else another test's may take the third page's place.
    let place = UnsafeMutableRawPointer(
      bitPattern: 0x1000_0000_0000 + UInt.random(in: 0..<1 << 20) << 20)
    let pages = try #require(mmap(place, 12288, PROT_READ | PROT_WRITE, flags, -1, 0))
    try #require(pages != MAP_FAILED)
    munmap(pages + 8192, 4096)
    start = pages
  }

  deinit {
    munmap(start, 8192)
  }

  func put(_ text: String, at offset: Int) {
    for (index, byte) in text.utf8.enumerated() {
      start.storeBytes(of: byte, toByteOffset: offset + index, as: UInt8.self)
    }
  }
}

/// The ways into the host's own memory: by number, and by the descriptor alone.
private let ways: [Int32?] = [nil, getpid()]

@Suite("Remote memory")
struct RemoteMemoryTests {
  private let memory = RemoteMemory(of: getpid())

  @Test("bytes and values are read and written", arguments: ways)
  func values(_ stopped: Int32?) throws {
    let pages = try Pages()
    let place = pages.address + 4090
    #expect(memory.isOpen)
    try memory.write(place, value: 0x0102_0304_0506_0708 as UInt64, stopped: stopped)
    let bytes = try memory.readBytes(place, count: 8, stopped: stopped)
    #expect(bytes == [8, 7, 6, 5, 4, 3, 2, 1])
    let value = try memory.read(place, as: UInt64.self, stopped: stopped)
    #expect(value == 0x0102_0304_0506_0708)
    try memory.write(place, bytes: [9, 9], stopped: stopped)
    #expect(try memory.readBytes(place, count: 3, stopped: stopped) == [9, 9, 6])
    #expect(try memory.readBytes(pages.end, count: 0, stopped: stopped) == [])
    try memory.write(pages.end, bytes: [], stopped: stopped)
  }

  @Test("a string may end with the last byte of the last page", arguments: ways)
  func stringAtTheEnd(_ stopped: Int32?) throws {
    let pages = try Pages()
    pages.put("last", at: 8192 - 5)
    let string = try memory.readString(pages.end + -5, stopped: stopped)
    #expect(string == Array("last".utf8))
    #expect(try memory.readString(pages.end + -1, stopped: stopped) == [])
  }

  @Test("a string without an end before the unmapped page is a bad address", arguments: ways)
  func stringPastTheEnd(_ stopped: Int32?) throws {
    let pages = try Pages()
    pages.put("last!", at: 8192 - 5)
    #expect(throws: Errno.badAddress) {
      _ = try memory.readString(pages.end + -5, stopped: stopped)
    }
  }

  @Test("a string across pages is one; the limit counts its NUL", arguments: ways)
  func longString(_ stopped: Int32?) throws {
    let pages = try Pages()
    pages.put(String(repeating: "x", count: 5000), at: 100)
    let place = pages.address + 100
    #expect(try memory.readString(place, limit: 8000, stopped: stopped).count == 5000)
    #expect(try memory.readString(place, limit: 5001, stopped: stopped).count == 5000)
    #expect(throws: Errno.fileNameTooLong) {
      _ = try memory.readString(place, limit: 5000, stopped: stopped)
    }
    #expect(throws: Errno.fileNameTooLong) { _ = try memory.readString(place, stopped: stopped) }
  }

  @Test("what is there is read, the rest is a bad address", arguments: ways)
  func partial(_ stopped: Int32?) throws {
    let pages = try Pages()
    var bytes = [UInt8](repeating: 0, count: 100)
    try bytes.withUnsafeMutableBytes { buffer in
      let count = try memory.readPrefix(pages.end + -10, into: buffer, stopped: stopped)
      #expect(count == 10)
      #expect(throws: Errno.badAddress) {
        try memory.read(pages.end + -10, into: buffer, stopped: stopped)
      }
    }
    #expect(throws: Errno.badAddress) {
      try memory.write(pages.end + -10, bytes: bytes, stopped: stopped)
    }
  }

  @Test(
    "no address traps", arguments: ways,
    [
      0, 1, 4095, 0x7fff_ffff_f000, 0x8000_0000_0000, 1 << 63, 0xffff_ffff_ff60_0000, .max - 7,
      .max,
    ])
  func anyAddress(_ stopped: Int32?, _ number: UInt64) throws {
    let address = RemoteAddress(rawValue: number)
    #expect(throws: Errno.badAddress) { try memory.write(address, value: 1, stopped: stopped) }
    // The vsyscall page may be readable.
    if number != 0xffff_ffff_ff60_0000 {
      #expect(throws: Errno.badAddress) {
        _ = try memory.read(address, as: UInt64.self, stopped: stopped)
      }
      #expect(throws: Errno.badAddress) { _ = try memory.readString(address, stopped: stopped) }
      #expect(throws: Errno.badAddress) {
        _ = try memory.readBytes(address, count: 1 << 20, stopped: stopped)
      }
    }
  }

  @Test("a plain write respects protection, a write of code does not")
  func protection() throws {
    let pages = try Pages()
    try #require(mprotect(pages.start, 4096, PROT_READ) == 0)
    #expect(throws: Errno.badAddress) {
      try memory.write(pages.address, bytes: [1], stopped: getpid())
    }
    try memory.writeCode(pages.address, bytes: [0x0f, 0x05], stopped: getpid())
    #expect(try memory.readBytes(pages.address, count: 2) == [0x0f, 0x05])
  }

  @Test("a process that isn't there has no memory")
  func nobody() {
    let memory = RemoteMemory(of: Int32.max)
    #expect(!memory.isOpen)
    #expect(throws: Errno.badAddress) { _ = try memory.read(.init(rawValue: 4096), as: Int.self) }
    #expect(throws: Errno.badAddress) {
      _ = try memory.read(.init(rawValue: 4096), as: Int.self, stopped: Int32.max)
    }
  }
}
