import CLinux
import Glibc
import PodCore
import SystemPackage
import Testing

@Suite("Tables of System V objects as text")
struct SystemVTableTests {
  @Test(
    "the kernel's own tables, read and written again, are the same",
    arguments: PathViews.SystemVTable.allCases)
  func kernels(table: PathViews.SystemVTable) throws {
    // One object at least, with a key and without.
    let key = key_t(0x706f_6400 | Int32.random(in: 0...255))
    let ids: [Int32] =
      switch table {
      case .msg: [msgget(key, 0o1640), msgget(0, 0o600)]
      case .sem: [semget(key, 3, 0o1640), semget(0, 1, 0o606)]
      case .shm: [shmget(key, 12_345, 0o1640), shmget(0, 1, 0o600)]
      }
    defer {
      for id in ids where id >= 0 {
        switch table {
        case .msg: msgctl(id, IPC_RMID, nil)
        case .sem:
          _ = CLinux_syscall(Int(Syscall.semctl.rawValue), UInt64(id), 0, UInt64(IPC_RMID), 0, 0, 0)
        case .shm: shmctl(id, IPC_RMID, nil)
        }
      }
    }
    // Others make and remove objects meanwhile, but not in the middle of one reading.
    let file = try FileDescriptor.open(FilePath("/proc/sysvipc/\(table.rawValue)"), .readOnly)
    let text = try file.closeAfter {
      try withUnsafeTemporaryAllocation(byteCount: 1 << 20, alignment: 1) { buffer in
        var count = 0
        while true {
          let more = try file.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[count...]))
          if more == 0 { return String(decoding: buffer[..<count], as: UTF8.self) }
          count += more
        }
      }
    }
    let rows = text.split(separator: "\n").dropFirst().map { line in
      line.split(separator: " ").enumerated().map { index, word in
        Int64(word, radix: index == 2 ? 8 : 10) ?? -1
      }
    }
    #expect(rows.contains { $0[0] == Int64(key) } || ids[0] < 0)
    #expect(String(decoding: table.text(rows), as: UTF8.self) == text)
    #expect(PathViews.SystemVTable.rows(of: Array(text.utf8)) == rows)
  }

  @Test("in the kernel's tables, processes get their names, and strangers are 0")
  func names() throws {
    let names = PodNames(pod: PodID(rawValue: 1), system: SystemNames(), capacity: 64)
    _ = try names.processes.enter(
      PhysicalName(rawValue: 4_000_001), parent: nil, chosen: ProcessTable.initial,
      as: .sessionLeader)
    let own = names.processes.physicalInit.rawValue
    names.leaveObjectsToKernel { table in
      switch table {
      case .msg: [[7, 0, 0o600, 0, 0, Int64(own), 4_000_002, 1, 1, 1, 1, 0, 0, 0]]
      case .sem: [[7, 0, 0o600, 4_000_001, 1, 1, 1, 1, 0, 0]]
      case .shm: [[7, 0, 0o600, 4_000_001, 4_000_002, Int64(own), 0, 1, 1, 1, 1, 0, 0, 0, 0, 0]]
      }
    }
    #expect(names.objects == .kernel)
    let show = try #require(names.paths.systemVTables)
    #expect(PathViews.SystemVTable.rows(of: show(.msg)).map { $0[5...6] } == [[1, 0]])
    #expect(PathViews.SystemVTable.rows(of: show(.shm)).map { $0[3...5] } == [[4_000_001, 0, 1]])
    #expect(PathViews.SystemVTable.rows(of: show(.sem)).map { $0[3] } == [4_000_001])
    names.emulateObjects()
    #expect(names.objects == .hostProgram)
    #expect(PathViews.SystemVTable.rows(of: show(.msg)).count == 1)
    let showEmulated = try #require(names.paths.systemVTables)
    #expect(PathViews.SystemVTable.rows(of: showEmulated(.msg)).isEmpty)
  }
}
