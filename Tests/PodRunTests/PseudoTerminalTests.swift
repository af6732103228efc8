import Glibc
import PodLinux
import SystemPackage
import Testing

@Suite struct PseudoTerminalTests {
  @Test("what is written to one side is read on the other, as the mode says")
  func relay() throws {
    var pair = try PseudoTerminal.open(size: TerminalSize(rows: 24, columns: 80))
    guard let terminal = pair.terminal else {
      Issue.record("no terminal")
      return
    }
    #expect(isatty(terminal.rawValue) == 1)
    let size = try TerminalSize(of: terminal)
    #expect(size == TerminalSize(rows: 24, columns: 80))

    let mode = try TerminalMode(of: terminal)
    #expect(mode.echoes)
    try mode.raw.set(on: terminal)
    #expect(try !TerminalMode(of: terminal).echoes)
    _ = try terminal.writeAll("a\n".utf8)
    var bytes = [UInt8](repeating: 0, count: 8)
    var count = try bytes.withUnsafeMutableBytes { try pair.controller.read(into: $0) }
    #expect(bytes[..<count] == [0x61, 0x0A])

    try mode.setNow(on: terminal)
    _ = try terminal.writeAll("b\n".utf8)
    count = try bytes.withUnsafeMutableBytes { try pair.controller.read(into: $0) }
    #expect(bytes[..<count] == [0x62, 0x0D, 0x0A])

    try TerminalSize(rows: 1, columns: 2).set(on: pair.controller)
    #expect(try TerminalSize(of: terminal).columns == 2)

    pair.closeTerminal()
    #expect(throws: Errno.ioError) {
      try bytes.withUnsafeMutableBytes { try pair.controller.read(into: $0) }
    }
  }

  @Test("what isn't a terminal says so")
  func noTerminal() throws {
    let null = try FileDescriptor.open("/dev/null", .readWrite)
    defer { try? null.close() }
    #expect(throws: Errno.self) { try TerminalSize(of: null) }
    #expect(throws: Errno.self) { try TerminalMode(of: null) }
  }
}
