import CPodLayout
import Glibc
import PodCore
import Testing

@testable import PodSeccomp

@Suite("Call sites that can be patched")
struct CallSiteTests {
  private static let end = RemoteAddress(rawValue: 0x7f00_1234_5679)
  private static let syscall: [UInt8] = [0x0F, 0x05]
  private static let move: [UInt8] = [0xB8, 39, 0, 0, 0]

  /// The site in a text that ends with some instructions before `syscall` and goes on with others.
  private func recognised(
    _ before: [UInt8], _ behind: [UInt8] = [0xC3], padding: UInt8 = 0x90, call: Int = 39
  ) -> CallSite? {
    let head = [UInt8](repeating: padding, count: CallSite.lookedAtBefore) + before + Self.syscall
    let tail = behind + [UInt8](repeating: 0x90, count: CallSite.lookedAtBehind)
    return CallSite(
      Self.end,
      in: head.suffix(CallSite.lookedAtBefore) + tail.prefix(CallSite.lookedAtBehind), of: call)
  }

  @Test(
    "a move of the number, with none or one between other registers behind it",
    arguments: [
      [], [0x89, 0xF7], [0x31, 0xFF], [0x48, 0x89, 0xF7], [0x49, 0x89, 0xCA], [0x45, 0x31, 0xC0],
      [0x41, 0x89, 0xC0],
    ] as [[UInt8]])
  func moves(behind: [UInt8]) throws {
    let site = try #require(recognised(Self.move + behind))
    #expect(site.number == 39)
    #expect(site.code == Self.move + behind)
    #expect(site.start == Self.end.advanced(by: -7 - behind.count))
    #expect(site.end == Self.end)
    #expect(recognised(Self.move + behind, call: 40) == nil)
    #expect(recognised(Self.move + behind, call: 39 | 1 << 8) == nil)
  }

  @Test(
    "what changes the number, the stack or memory, and what isn't a move of the number",
    arguments: [
      // To eax, rax and esp; from memory; an r8d that is moved; something else.
      move + [0x89, 0xF8], move + [0x48, 0x31, 0xC0], move + [0x89, 0xC4],
      move + [0x48, 0x89, 0xC4],
      move + [0x89, 0x07], move + [0x8B, 0x3F], [0x41] + move, [0x49] + move, move + [0x90],
      move + [0x0F, 0x1F, 0xC0], move + [0xBF, 1, 0, 0, 0], [0xBF, 39, 0, 0, 0],
      [0x48, 0xC7, 0xC0, 39, 0, 0, 0],
    ])
  func others(before: [UInt8]) {
    #expect(recognised(before) == nil)
    #expect(recognised(before, padding: 0) == nil)
  }

  @Test("the C library's syscall(), with a comparison behind it")
  func library() throws {
    let before: [UInt8] = [0x4C, 0x8B, 0x4C, 0x24, 0x08]
    let behind: [UInt8] = [0x48, 0x3D, 0x01, 0xF0, 0xFF, 0xFF]
    let site = try #require(recognised(before, behind, call: 300))
    #expect(site.number == nil && site.code == before)
    #expect(recognised(before, [0x48, 0x3D, 0x01, 0xF0, 0xFF, 0xFE]) == nil)
    #expect(recognised([0x4C, 0x8B, 0x4C, 0x24, 0x10], behind) == nil)
  }

  @Test("text of another length, or without a call at its end")
  func wrongText() {
    let text = [UInt8](repeating: 0x90, count: CallSite.lookedAtBefore + CallSite.lookedAtBehind)
    #expect(CallSite(Self.end, in: text, of: 39) == nil)
    #expect(CallSite(Self.end, in: Self.move + Self.syscall, of: 39) == nil)
  }

  @Test(
    "a trampoline does what it replaces, and goes on in the page with the address behind the call")
  func trampoline() throws {
    let site = try #require(recognised(Self.move + [0x49, 0x89, 0xCA]))
    let page = RemoteAddress(rawValue: 0x7f00_0123_4000)
    let address = page.advanced(by: 96)
    let bytes = try #require(site.trampoline(at: address, in: page))
    #expect(bytes.count == Int(POD_TRAMPOLINE_SIZE))
    #expect(Array(bytes.prefix(8)) == Self.move + [0x49, 0x89, 0xCA])
    #expect(Array(bytes[8..<11]) == [0x48, 0x8D, 0x0D])
    #expect(address.advanced(by: 15 + distance(bytes[11..<15])) == Self.end)
    #expect(Array(bytes[15..<17]) == [0xFF, 0x25])
    #expect(address.advanced(by: 21 + distance(bytes[17..<21])) == page)
    #expect(bytes[21...].allSatisfy { $0 == 0xCC })
    let jump = try #require(site.jump(to: address))
    #expect(jump.first == 0xE9 && jump.count == 5)
    #expect(site.start.advanced(by: 5 + distance(jump[1...])) == address)
  }

  @Test("no trampoline out of the reach of a jump")
  func reach() throws {
    let site = try #require(recognised(Self.move))
    for far in [Int(Int32.max) + 200, -Int(Int32.max) - 200, 1 << 40] {
      let page = Self.end.advanced(by: far)
      #expect(site.trampoline(at: page, in: page) == nil && site.jump(to: page) == nil)
    }
    let near = Self.end.advanced(by: -Int(Int32.max) + 100)
    #expect(site.trampoline(at: near, in: near) != nil && site.jump(to: near) != nil)
  }

  private func distance(_ bytes: ArraySlice<UInt8>) -> Int {
    Int(Int32(bitPattern: bytes.reversed().reduce(0) { $0 << 8 | UInt32($1) }))
  }

  @Test("the two ways of a trampoline are the page's, and differ in one byte")
  func destinations() {
    #expect(CallSite.Destination.page.rawValue == UInt8(POD_PAGE_SITE))
    #expect(CallSite.Destination.program.rawValue == UInt8(POD_PAGE_SITE_BACK))
    let base = RemoteAddress(rawValue: 0x7e80_1120_0000)
    let difference =
      CallSite.destination(.page, in: base) ^ CallSite.destination(.program, in: base)
    #expect(difference != 0 && difference < 1 << 8)
  }

  @Test("a site is looked at with its first call that is to be, and then ever more seldom")
  func counts() {
    var sites = CallSites()
    let due = (1...100).filter { _ in sites.isDue(Self.end, from: 3) }
    #expect(due == [3, 12, 48])
    let isFirst = (sites.begin(), sites.begin())
    #expect(isFirst == (true, false))
    let isOtherDue = sites.isDue(Self.end.advanced(by: 7), from: 1)
    #expect(isOtherDue)
    sites.end()
    let isDueAtEnd = sites.isDue(Self.end.advanced(by: 70), from: 1)
    #expect(!isDueAtEnd)
  }

  @Test("only so many sites are counted")
  func most() {
    var sites = CallSites()
    let counted = (0..<1000).filter { sites.isDue(RemoteAddress(rawValue: $0 * 16), from: 1) }
    #expect(counted.count == 256)
  }

  @Test("where processes are made is known of a file, wherever it is mapped")
  func known() {
    let sites = KnownSites()
    #expect(sites.isEmpty)
    let file = TextFile(inode: 5, device: 1)
    let text = Text(
      file: file, start: RemoteAddress(rawValue: 0x10000), count: 0x2000, offset: 0x1000)
    sites.insert(RemoteAddress(rawValue: 0x10100), of: .clone, in: text)
    sites.insert(RemoteAddress(rawValue: 0x10100), of: .clone, in: text)
    #expect(!sites.isEmpty)
    let elsewhere = Text(
      file: file, start: RemoteAddress(rawValue: 0x70000), count: 0x2000, offset: 0)
    let found = sites.sites(in: elsewhere)
    #expect(found.map(\.end) == [RemoteAddress(rawValue: 0x71100)])
    #expect(found.map(\.call) == [.clone])
    let other = Text(
      file: TextFile(inode: 5, device: 2), start: text.start, count: 0x2000, offset: 0)
    #expect(sites.sites(in: other).isEmpty)
    let short = Text(file: file, start: text.start, count: 0x1100, offset: 0)
    #expect(sites.sites(in: short).isEmpty)
    for call in Syscall.allCases {
      let isBirthOrWait = [Syscall.fork, .vfork, .clone, .wait4, .waitid].contains(call)
      #expect(KnownSites.hold(call) == isBirthOrWait)
    }
  }

  @Test("programs that make processes are known by their files")
  func makers() throws {
    let sites = KnownSites()
    let own = try #require(TextFile(executedBy: getpid()))
    #expect(!sites.expects(birthsOf: own))
    sites.expect(births: own)
    #expect(sites.expects(birthsOf: own))
    #expect(!sites.expects(birthsOf: TextFile(inode: own.inode + 1, device: own.device)))
    #expect(TextFile(executedBy: Int32.max) == nil)
  }
}
