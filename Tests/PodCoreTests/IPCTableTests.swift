import PodCore
import SystemPackage
import Testing

@Suite("Table of System V objects")
struct IPCTableTests {
  private final class Thing: IPCObject {
    var permissions: IPCPermissions
    init(_ permissions: IPCPermissions) { self.permissions = permissions }
  }

  private static let owner = CallerCredentials(user: 10, group: 20, groups: [20])

  private func outcome<T>(_ body: () throws(Errno) -> T) -> Result<T, Errno> {
    do throws(Errno) { return .success(try body()) } catch { return .failure(error) }
  }

  private func id(
    _ table: inout IPCTable<Thing>, _ key: Int32, _ flags: Int32,
    by caller: CallerCredentials = owner
  ) -> Result<Int32, Errno> {
    do throws(Errno) {
      let thing = try table.get(key: key, flags: flags, by: caller) { permissions in
        Thing(permissions)
      }
      return .success(thing.permissions.id)
    } catch {
      return .failure(error)
    }
  }

  @Test("a key finds one object, and its flags say whether it may be there")
  func keys() {
    var table = IPCTable<Thing>(limit: 10)
    #expect(id(&table, 7, 0o600) == .failure(.noSuchFileOrDirectory))
    let first = id(&table, 7, 0o600 | IPCLimits.create)
    #expect(first == .success(0))
    #expect(id(&table, 7, 0o600) == first)
    #expect(id(&table, 7, 0o600 | IPCLimits.create) == first)
    #expect(
      id(&table, 7, IPCLimits.create | IPCLimits.exclusive) == .failure(.fileExists))
    // IPC_EXCL alone says nothing.
    #expect(id(&table, 7, IPCLimits.exclusive) == first)
    #expect(id(&table, 0, 0) == .success(1))
    #expect(id(&table, 0, IPCLimits.exclusive) == .success(2))
    #expect(id(&table, -1, IPCLimits.create) == .success(3))
    #expect(table.count == 4 && table.highestIndex == 3)
  }

  @Test("ids are used in turn, and the sequence tells an index's users apart")
  func sequences() throws {
    var table = IPCTable<Thing>(limit: 10)
    for round: Int32 in 0..<3 {
      for index: Int32 in 0..<64 {
        let found = id(&table, 0, 0)
        #expect(found == .success(round * 32_768 + index))
        table.remove(try table.object(try found.get()))
      }
    }
    #expect(table.count == 0 && table.highestIndex == nil)
    let last = try id(&table, 0, 0).get()
    #expect(
      outcome { () throws(Errno) in try table.object(last - 32_768).permissions.id }
        == .failure(.invalidArgument))
    #expect(
      outcome { () throws(Errno) in try table.object(last + 1).permissions.id }
        == .failure(.invalidArgument))
    for hostile in [Int32.min, -1, Int32.max] {
      #expect(
        outcome { () throws(Errno) in try table.object(hostile).permissions.id }
          == .failure(.invalidArgument))
    }
    #expect(try table.object(at: last & 32_767).permissions.id == last)
  }

  @Test("sequences begin anew after the last")
  func sequencesWrap() throws {
    var table = IPCTable<Thing>(limit: 1, sequence: 65_500)
    var highest: Int32 = 0
    for _ in 0..<(64 * 35 + 1) {
      let found = try id(&table, 0, 0).get()
      highest = max(highest, found)
      table.remove(try table.object(found))
    }
    #expect(highest == 65_534 * 32_768 + 63)
    #expect(id(&table, 0, 0) == .success(1))
  }

  @Test("as many objects as the limit says, and no more")
  func limit() throws {
    var table = IPCTable<Thing>(limit: 200)
    var ids: Set<Int32> = []
    for _ in 0..<200 { ids.insert(try id(&table, 0, 0).get()) }
    #expect(ids.count == 200)
    #expect(id(&table, 0, 0) == .failure(.noSpace))
    let some = try #require(ids.first)
    table.remove(try table.object(some))
    #expect(throws: Never.self) { try id(&table, 0, 0).get() }
    #expect(id(&table, 0, 0) == .failure(.noSpace))
  }

  @Test("permissions are those of the owner, the creator, the groups, or others")
  func permissions() throws {
    var table = IPCTable<Thing>(limit: 10)
    _ = id(&table, 7, 0o640 | IPCLimits.create)
    let thing = try table.object(0)
    let other = CallerCredentials(user: 11, group: 21, groups: [21])
    let member = CallerCredentials(user: 11, group: 21, groups: [20])
    let root = CallerCredentials(user: 0, group: 0, capabilities: .all)
    let powerless = CallerCredentials(user: 0, group: 0)
    #expect(id(&table, 7, 0o666) == .success(0))
    #expect(id(&table, 7, 0o444, by: member) == .success(0))
    #expect(id(&table, 7, 0o200, by: member) == .failure(.permissionDenied))
    #expect(id(&table, 7, 0, by: other) == .success(0))
    #expect(id(&table, 7, 0o004, by: other) == .failure(.permissionDenied))
    #expect(id(&table, 7, 0o777, by: root) == .success(0))
    #expect(id(&table, 7, 0o400, by: powerless) == .failure(.permissionDenied))
    #expect(
      outcome { () throws(Errno) in try thing.permissions.checkOwner(other) }.errno
        == .notPermitted)
    #expect(outcome { () throws(Errno) in try thing.permissions.checkOwner(root) }.errno == nil)
    try thing.permissions.update(user: 11, group: 30, mode: 0o100_200)
    #expect(thing.permissions.mode == 0o200)
    #expect(id(&table, 7, 0o200, by: other) == .success(0))
    // Who made it keeps the owner's rights.
    #expect(id(&table, 7, 0o200) == .success(0))
    #expect(id(&table, 7, 0o400) == .failure(.permissionDenied))
    #expect(
      outcome { () throws(Errno) in
        try thing.permissions.update(user: .max, group: 0, mode: 0)
      }.errno == .invalidArgument)
  }

  @Test("a key is free when its object is removed or made private")
  func removal() throws {
    var table = IPCTable<Thing>(limit: 10)
    let first = try table.object(id(&table, 7, IPCLimits.create).get())
    table.makePrivate(first)
    #expect(first.permissions.key == 0 && table.isThere(first))
    #expect(id(&table, 7, 0) == .failure(.noSuchFileOrDirectory))
    let second = try table.object(id(&table, 7, 0o600 | IPCLimits.create).get())
    table.remove(first)
    table.remove(first)
    #expect(table.count == 1 && table.highestIndex == 1)
    #expect(try table.object(id(&table, 7, 0o600).get()) === second)
    table.remove(second)
    #expect(id(&table, 7, 0) == .failure(.noSuchFileOrDirectory))
    #expect(table.objects.isEmpty)
  }
}

extension Result where Failure == Errno {
  fileprivate var errno: Errno? {
    if case .failure(let error) = self { error } else { nil }
  }
}
