internal import PodCore
internal import Testing

@Suite struct RestrictedNamesTests {
  private let table = RestrictedNames<ProcessID>()
  private let name = PhysicalName<ProcessID>(rawValue: 100)
  private let other = PhysicalName<ProcessID>(rawValue: 101)

  private func admits(_ name: PhysicalName<ProcessID>) -> Bool {
    let creation = table.announce()
    defer { table.end(creation) }
    return table.admit(name, of: creation)
  }

  @Test("a fresh name is admitted unless a call in flight refers to it")
  func admission() {
    #expect(admits(name))
    let first = table.restrict(name)
    let second = table.restrict(name)
    #expect(admits(other))
    #expect(!admits(name))
    #expect(table.release(first))
    #expect(table.isRestricted(name))
    #expect(!admits(name))
    #expect(table.release(second))
    #expect(!table.isRestricted(name) && table.count == 0)
    #expect(admits(name))
  }

  @Test("a call is made again only when an object was given back while it was in flight")
  func retry() {
    let early = table.restrict(name)
    #expect(!admits(name))
    let late = table.restrict(name)
    #expect(!table.release(late))
    #expect(table.release(early))
    // The next one begins anew.
    let next = table.restrict(name)
    #expect(!table.release(next))
    #expect(table.count == 0)
    #expect(!table.release(next))
  }

  @Test(
    "what was being made when a call ended isn't admitted under its name, and what comes later is")
  func late() {
    let call = table.restrict(name)
    let during = table.announce()
    #expect(!table.release(call))
    let later = table.announce()
    #expect(!table.admit(name, of: during))
    #expect(table.admit(other, of: during))
    #expect(table.admit(name, of: later))
    table.end(during)
    #expect(table.count == 0)
    table.end(later)
  }
}
