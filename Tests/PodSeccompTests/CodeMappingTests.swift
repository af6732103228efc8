import Glibc
import PodCore
import PodLinux
import SystemPackage
import Testing

@testable import PodSeccomp

@Suite("The mapping that code lies in")
struct CodeMappingTests {
  /// What /proc/self/maps says, line by line, of mappings that nothing changes: the program's own and its libraries'.
  private static func mappings() throws -> [(start: UInt64, end: UInt64, access: String)] {
    try String(contentsOf: "/proc/self/maps").split(separator: "\n").compactMap { line in
      let fields = line.split(separator: " ", omittingEmptySubsequences: true)
      let bounds = fields[0].split(separator: "-").compactMap { UInt64($0, radix: 16) }
      guard bounds.count == 2, fields.last?.hasPrefix("/") ?? false else { return nil }
      return (bounds[0], bounds[1], String(fields[1]))
    }
  }

  @Test("the room behind an address, asked for and read, is what is left of its mapping")
  func room() throws {
    var executable = 0
    for mapping in try Self.mappings() {
      let isOwnCode = mapping.access.hasSuffix("xp")
      executable += isOwnCode ? 1 : 0
      for address in [mapping.start, mapping.start + 17, mapping.end - 1] {
        let expected = isOwnCode ? mapping.end - address : nil
        #expect(
          CodeMapping.room(behind: RemoteAddress(rawValue: address), of: getpid()) == expected)
        let file = try FileDescriptor.open("/proc/self/maps", .readOnly)
        defer { try? file.close() }
        #expect(
          ProcessMaps.room(behind: RemoteAddress(rawValue: address), in: file) == expected)
      }
    }
    #expect(executable > 1)
  }

  @Test("none in code that others share, and none where nothing is")
  func none() throws {
    let shared = try #require(
      mmap(nil, 4096, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_ANONYMOUS, -1, 0))
    defer { munmap(shared, 4096) }
    for address in [UInt64(UInt(bitPattern: shared)), 0x1000, 0x7fff_ffff_e000] {
      let address = RemoteAddress(rawValue: address)
      #expect(CodeMapping.room(behind: address, of: getpid()) == nil)
      let file = try FileDescriptor.open("/proc/self/maps", .readOnly)
      defer { try? file.close() }
      #expect(ProcessMaps.room(behind: address, in: file) == nil)
    }
  }
}

extension String {
  /// The text of a file in /proc.
  fileprivate init(contentsOf path: String) throws {
    let file = try FileDescriptor.open(FilePath(path), .readOnly)
    defer { try? file.close() }
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 65536)
    while case let count = try piece.withUnsafeMutableBytes({ try file.read(into: $0) }), count > 0
    {
      bytes += piece[..<count]
    }
    self = String(decoding: bytes, as: UTF8.self)
  }
}
