import CPodVDSO
import Glibc
import PodLinux
import SystemPackage
import Testing

@Suite("The launch specification's blob")
struct LaunchSpecificationTests {
  private func header(of blob: [UInt8]) -> pod_launch {
    blob.withUnsafeBytes { $0.loadUnaligned(as: pod_launch.self) }
  }

  private func word(_ blob: [UInt8], at offset: UInt) -> UInt {
    blob.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: Int(offset), as: UInt.self) }
  }

  private func numbers(_ blob: [UInt8], _ list: pod_launch_list) -> [UInt32] {
    (0..<Int(list.count)).map { index in
      blob.withUnsafeBytes {
        $0.loadUnaligned(fromByteOffset: Int(list.offset) + 4 * index, as: UInt32.self)
      }
    }
  }

  private func string(_ blob: [UInt8], at offset: UInt) -> String {
    String(decoding: blob[Int(offset)...].prefix { $0 != 0 }, as: UTF8.self)
  }

  private func strings(_ blob: [UInt8], _ list: pod_launch_list) -> [String] {
    (0..<list.count).map { string(blob, at: word(blob, at: list.offset + 8 * $0)) }
  }

  @Test("every part is found again, aligned and closed")
  func layout() throws {
    var specification = LaunchSpecification(
      paths: ["/usr/bin/x", "/bin/x"], arguments: ["x", "", "an argument"].map { Array($0.utf8) },
      environment: [Array("A=1".utf8)], flags: [.newSession, .noNewPrivileges])
    specification.workingDirectory = "/tmp"
    specification.fileModeCreationMask = 0o22
    specification.userID = 1
    specification.supplementaryGroups = [7, 8, 9]
    specification.capabilities = 0x8000_0000_0000_0001
    specification.filter = [UInt8](repeating: 6, count: 16)
    let blob = try specification.encoded(targets: [0, 1, 2, 9])
    let header = header(of: blob)

    #expect(header.magic == UInt32(POD_LAUNCH_MAGIC))
    #expect(header.size == UInt(blob.count))
    #expect(blob.last == 0)
    #expect(strings(blob, header.paths) == ["/usr/bin/x", "/bin/x"])
    #expect(strings(blob, header.arguments) == ["x", "", "an argument"])
    #expect(strings(blob, header.environment) == ["A=1"])
    for list in [header.paths, header.arguments, header.environment] {
      #expect(list.offset % 8 == 0)
      #expect(word(blob, at: list.offset + 8 * list.count) == 0)
    }
    #expect(numbers(blob, header.targets) == [0, 1, 2, 9])
    #expect(numbers(blob, header.groups) == [7, 8, 9])
    #expect(header.filter.count == 2 && header.filter.offset % 8 == 0)
    #expect(string(blob, at: header.directory) == "/tmp")
    #expect(header.capabilities == 0x8000_0000_0000_0001)
    #expect(header.mask == 0o22 && header.user == 1 && header.group == POD_LAUNCH_LEAVE)
    let flags =
      POD_LAUNCH_NEW_SESSION | POD_LAUNCH_NO_NEW_PRIVILEGES | POD_LAUNCH_SET_GROUPS
      | POD_LAUNCH_LIMIT_CAPABILITIES
    #expect(header.flags == UInt32(flags))
  }

  @Test("what is left out leaves things as they are")
  func defaults() throws {
    let blob = try LaunchSpecification(paths: [], arguments: []).encoded(targets: [])
    let header = header(of: blob)
    #expect(header.flags == 0 && header.directory == 0 && header.filter.count == 0)
    #expect(header.mask == POD_LAUNCH_LEAVE && header.user == POD_LAUNCH_LEAVE)
  }

  @Test("strings with a NUL, doubled or negative numbers and half instructions are refused")
  func refusals() {
    let plain = LaunchSpecification(paths: ["/bin/true"], arguments: [[116]])
    var withNul = plain
    withNul.arguments = [[65, 0, 66]]
    #expect(throws: Errno.invalidArgument) { _ = try withNul.encoded(targets: []) }
    #expect(throws: Errno.invalidArgument) { _ = try plain.encoded(targets: [1, 1]) }
    #expect(throws: Errno.invalidArgument) { _ = try plain.encoded(targets: [-1]) }
    #expect(throws: Errno.tooManyOpenFiles) { _ = try plain.encoded(targets: Array(0..<253)) }
    var halfFilter = plain
    halfFilter.filter = [1, 2, 3]
    #expect(throws: Errno.invalidArgument) { _ = try halfFilter.encoded(targets: []) }
  }

  @Test("the memfd holds the blob")
  func memfd() throws {
    let specification = LaunchSpecification(
      paths: ["/bin/true"], arguments: [[UInt8](repeating: 65, count: 3_000_000)])
    let expected = try specification.encoded(targets: [])
    let file = try specification.written(targets: [])
    var bytes = [UInt8](repeating: 0, count: expected.count + 1)
    var read = 0
    while case let count = pread(file.rawValue, &bytes[read], bytes.count - read, read), count > 0 {
      read += count
    }
    #expect(read == expected.count)
    #expect(bytes.dropLast() == expected[...])
  }
}
