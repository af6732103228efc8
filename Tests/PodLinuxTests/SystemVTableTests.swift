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
  }
}
