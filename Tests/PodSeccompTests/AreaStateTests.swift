import PodCore
import PodLinux
import Testing

@testable import PodSeccomp

@Suite("How far an address space has come with the area")
struct AreaStateTests {
  private let count = Count()

  @Test("it is awaited until it is there, or isn't going to be")
  func awaited() {
    for (end, hasArea) in [(AreaState.mapped, true), (.absent, false)] {
      let space = AddressSpace(count, getsArea: true)
      #expect(space.awaitsArea && !space.hasArea && !count.isEmpty)
      space.withArea { state in
        state = .onItsWay(Injection(address: .null, call: .fork, code: [], reportEnd: .null))
      }
      #expect(space.awaitsArea && !space.hasArea && !count.isEmpty)
      space.withArea { $0 = end }
      #expect(!space.awaitsArea && space.hasArea == hasArea && count.isEmpty)
    }
    let space = AddressSpace(count, getsArea: false)
    #expect(!space.awaitsArea && !space.hasArea && count.isEmpty)
  }

  @Test("a fork's copy has it, or awaits it, as the original does")
  func copies() {
    let space = AddressSpace(count, getsArea: true)
    let early = AddressSpace(copying: space)
    #expect(early.awaitsArea && !early.hasArea)
    space.withArea { $0 = .mapped }
    #expect(early.awaitsArea && !count.isEmpty)
    early.withArea { $0 = .absent }
    #expect(count.isEmpty)
    let late = AddressSpace(copying: space)
    #expect(late.hasArea && !late.awaitsArea && count.isEmpty)
    #expect(!AddressSpace(copying: early).hasArea)
  }

  @Test("nobody awaits it any more in a space that is gone")
  func gone() {
    var space: AddressSpace? = AddressSpace(count, getsArea: true)
    var copy = space.map { AddressSpace(copying: $0) }
    space = nil
    #expect(!count.isEmpty)
    copy = nil
    #expect(count.isEmpty && space == nil && copy == nil)
  }
}
