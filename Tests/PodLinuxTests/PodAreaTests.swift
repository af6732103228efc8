import CLinux
import CPodLayout
import CPodVDSO
import Glibc
import PodCore
import PodLinux
import Synchronization
import SystemPackage
import Testing

/// What of a pod lies in its processes, and what those can do to it.
@Suite("The pod area")
struct PodAreaTests {
  private typealias Virtual = VirtualName<ProcessID>
  private typealias Physical = PhysicalName<ProcessID>

  /// The area as a process of the pod has it.
  private final class Mapping {
    let start: UnsafeMutableRawPointer
    let size: Int

    init(_ area: PodArea) throws {
      size = area.mappedSize
      start = try #require(
        mmap(nil, size, PROT_READ | PROT_EXEC, MAP_SHARED, area.descriptor.rawValue, 0))
      try #require(start != MAP_FAILED)
    }

    deinit { munmap(start, size) }

    var table: UnsafeMutablePointer<pod_table> {
      (start + Int(POD_AREA_TABLE)).assumingMemoryBound(to: pod_table.self)
    }

    func bytes(_ offset: Int, _ count: Int) -> [UInt8] {
      Array(UnsafeRawBufferPointer(start: start + offset, count: count))
    }
  }

  @Test("the code is at its beginning, and a process may execute it")
  func code() throws {
    let area = try PodArea.make(tableSize: 4096)
    let mapping = try Mapping(area)
    let code = UnsafeRawBufferPointer(
      start: CPodVDSO_page_image_bytes(), count: Int(CPodVDSO_page_image_size))
    #expect(mapping.bytes(0, code.count) == Array(code))
    // Behind it, what it is to know of the machine; then there are no rules yet.
    let machine = Int(POD_AREA_MACHINE)
    #expect(code.count <= machine && machine + 8 <= Int(POD_AREA_CODE_SIZE))
    #expect(mapping.bytes(code.count, machine - code.count).allSatisfy { $0 == 0 })
    #expect(mapping.bytes(machine + 8, Int(POD_AREA_STUBS) - machine - 8).allSatisfy { $0 == 0 })
    #expect(mapping.size == area.mappedSize && area.mappedSize == Int(POD_AREA_TABLE) + area.size)
    #expect(mapping.bytes(Int(POD_AREA_TABLE), area.size).allSatisfy { $0 == 0 })
  }

  @Test("each stub says its number and goes to the code for signals")
  func stubs() throws {
    let mapping = try Mapping(try PodArea.make(tableSize: 4096))
    for number in 0..<Int(POD_PAGE_STUB_COUNT) {
      let offset = Int(POD_AREA_STUBS) + number * Int(POD_PAGE_STUB_SIZE)
      let stub = mapping.start + offset
      #expect(stub.load(as: UInt8.self) == 0xB8)
      #expect(stub.loadUnaligned(fromByteOffset: 1, as: Int32.self) == Int32(number))
      #expect(stub.load(fromByteOffset: 5, as: UInt8.self) == 0xE9)
      let distance = Int(stub.loadUnaligned(fromByteOffset: 6, as: Int32.self))
      #expect(offset + 10 + distance == Int(POD_PAGE_SIGNAL))
    }
    #expect(POD_PAGE_STUB_COUNT * POD_PAGE_STUB_SIZE <= POD_AREA_STUBS_SIZE)
    #expect(POD_AREA_STUBS + POD_AREA_STUBS_SIZE <= POD_AREA_TABLE)
    #expect(POD_PAGE_STUB_COUNT * 8 <= -POD_AREA_HANDLERS + POD_AREA_CACHE)
  }

  @Test("rules are where the page looks for them, and no more than there is room for")
  func rules() throws {
    let area = try PodArea.make(tableSize: 4096)
    let mapping = try Mapping(area)
    let rules = (0..<Int(POD_AREA_RULES_SIZE)).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ 1) }
    try area.write(rules: rules)
    #expect(mapping.bytes(Int(POD_AREA_RULES), rules.count) == rules)
    let stub = mapping.bytes(Int(POD_AREA_STUBS), 16)
    #expect(throws: Errno.fileTooLarge) { try area.write(rules: rules + [1]) }
    #expect(mapping.bytes(Int(POD_AREA_RULES), rules.count) == rules)
    #expect(mapping.bytes(Int(POD_AREA_STUBS), 16) == stub)
  }

  @Test("its places are many, and where nothing else is")
  func bases() throws {
    var bases: Set<UInt64> = []
    for _ in 0..<32 {
      let area = try PodArea.make(tableSize: 4096)
      let base = area.base.rawValue
      bases.insert(base)
      #expect(base % (2 << 20) == 0)
      #expect(base - UInt64(POD_AREA_PRIVATE_SIZE) >= 0x7e80_0000_0000)
      #expect(base + UInt64(area.mappedSize) < 0x7ef0_0000_0000)
      for (address, isCode) in [
        (base, true), (base + 1, true), (base + UInt64(POD_AREA_CODE_SIZE) - 1, true),
        (base - 1, false), (base + UInt64(POD_AREA_CODE_SIZE), false),
        (base ^ 1 << 32, false), (base ^ 1 << 63, false), (base & 0xFFFF_FFFF, false),
      ] {
        #expect(area.isCode(RemoteAddress(rawValue: address)) == isCode)
      }
      // A process can have it there, with its private part.
      let place = UnsafeMutableRawPointer(bitPattern: UInt(base))
      let mapped = mmap(
        place, area.mappedSize, PROT_READ | PROT_EXEC, MAP_SHARED | 0x100000,
        area.descriptor.rawValue, 0)
      #expect(mapped == place)
      munmap(mapped, area.mappedSize)
    }
    #expect(bases.count > 30)
  }

  // MARK: Who has a descriptor of it

  /// The ways to get at the file that a process has, given the descriptor: itself, and what it can open again.
  private func descriptors(_ area: PodArea) throws -> [(String, Int32)] {
    let given = area.descriptor.rawValue
    var found = [("given", given)]
    for (name, flags) in [("read and write", O_RDWR), ("write", O_WRONLY), ("read", O_RDONLY)] {
      let opened = CLinux_open("/proc/self/fd/\(given)", flags, 0)
      if opened >= 0 { found.append((name, opened)) }
    }
    // Who may open it for writing gains nothing; that there is such a one shows that the seals are what is tested.
    try #require(found.count == 4)
    return found
  }

  @Test("who has a descriptor of it can't change what is in it, nor how large it is")
  func descriptor() throws {
    let area = try PodArea.make(tableSize: 1 << 16)
    let mapping = try Mapping(area)
    let before = mapping.bytes(0, mapping.size)
    for (name, file) in try descriptors(area) {
      let isGiven = file == area.descriptor.rawValue
      defer { if !isGiven { close(file) } }
      let byte: [UInt8] = [0xCC]
      #expect(pwrite(file, byte, 1, 0) == -1, "\(name)")
      #expect(pwrite(file, byte, 1, off_t(mapping.size)) == -1, "\(name)")
      for offset in [0, mapping.size - 1, mapping.size + 1, 0x4000] {
        #expect(ftruncate(file, off_t(offset)) == -1, "\(name) \(offset)")
      }
      // Holes, zeroes and the like, and what lies behind the end. (That pages which are there stay there is nobody's harm.)
      let operations =
        ([2 | 1, 8, 0x10, 0x10 | 1, 0x20, 0x40 | 1] as [UInt64]).map { ($0, 0) }
        + ([0, 1] as [UInt64]).map { ($0, mapping.size) }
      for (mode, offset) in operations {
        let result = CLinux_syscall(
          Int(SYS_fallocate), UInt64(file), mode, UInt64(offset), 4096, 0, 0)
        #expect(result < 0, "\(name) \(mode) \(offset)")
      }
      for seal in [1, 2, 4, 8, 0x10, 0x20] as [Int32] {
        #expect(CLinux_add_seals(file, seal) < 0, "\(name) \(seal)")
      }
      let shared = mmap(nil, mapping.size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)
      #expect(shared == MAP_FAILED, "\(name)")
      let validated = mmap(nil, mapping.size, PROT_WRITE, 3, file, 0)
      #expect(validated == MAP_FAILED, "\(name)")
      // A private mapping is one's own.
      let own = mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0)
      if let own, own != MAP_FAILED {
        own.storeBytes(of: 0xCC, as: UInt8.self)
        munmap(own, 4096)
      }
      let pipe = try makePipe()
      _ = write(pipe.writing, byte, 1)
      let moved = CLinux_syscall(
        Int(SYS_splice), UInt64(pipe.reading), 0, UInt64(file), 0, 1, 0)
      #expect(moved < 0, "\(name)")
      close(pipe.reading)
      close(pipe.writing)
      var status = stat()
      #expect(fstat(file, &status) == 0 && status.st_size == off_t(mapping.size))
    }
    #expect(mapping.bytes(0, mapping.size) == before)
  }

  @Test("who has mapped it can't change what is in it")
  func mapping() throws {
    let area = try PodArea.make(tableSize: 1 << 16)
    let mapping = try Mapping(area)
    let before = mapping.bytes(0, mapping.size)
    for offset in [0, Int(POD_AREA_RULES), Int(POD_AREA_STUBS), Int(POD_AREA_TABLE)] {
      let page = mapping.start + offset
      for protection in [PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE | PROT_EXEC] {
        #expect(mprotect(page, 4096, protection) == -1)
      }
      // MADV_REMOVE, and MADV_POPULATE_WRITE.
      #expect(madvise(page, 4096, 9) == -1)
      #expect(madvise(page, 4096, 23) == -1)
      let memory = CLinux_open("/proc/self/mem", O_RDWR, 0)
      try #require(memory >= 0)
      let byte: [UInt8] = [0xCC]
      #expect(
        CLinux_pwrite(memory, byte, 1, UInt64(UInt(bitPattern: page))) < 0)
      close(memory)
      let number = getpid()
      #expect(
        CLinux_process_vm_write(number, UInt64(UInt(bitPattern: page)), byte, 1) < 0)
      // A call that answers into memory.
      let descriptor = area.descriptor.rawValue
      #expect(read(descriptor, page, 1) == -1)
    }
    #expect(mapping.bytes(0, mapping.size) == before)
  }

  // MARK: Where there is none

  /// What a filter denies, and what is then said.
  private static let denials: [(call: UInt32, cases: [FilterRules.Case], words: String)] = [
    (UInt32(SYS_memfd_create), [], "memfd_create(2) is denied"),
    (UInt32(SYS_ftruncate), [], "can't be as large"),
    (
      UInt32(SYS_fcntl), [.init(.int(1, equals: 1033), action: .errno(UInt16(EINVAL)))],
      "can't be sealed"
    ),
    (
      UInt32(SYS_mmap),
      [.init(.init(.argument(2), mask: 4, value: 4), action: .errno(UInt16(EPERM)))],
      "can't be executed"
    ),
    (
      UInt32(SYS_mmap),
      [.init(.init(.argument(3), mask: 0x2F, value: 1), action: .errno(UInt16(ENOMEM)))],
      "no memory"
    ),
  ]

  @Test(
    "what keeps it from being made is said, and nothing is left of it", arguments: denials.indices)
  func denied(index: Int) async {
    await #expect(processExitsWith: .success) { [index] in
      let denial = Self.denials[index]
      let rule =
        denial.cases.isEmpty
        ? FilterRules.Rule(.errno(UInt16(EPERM))) : FilterRules.Rule(.allow, cases: denial.cases)
      let bytes = try FilterRules([denial.call: rule], unlisted: .allow).program().bytes
      _ = try PodArea.make(tableSize: 4096)
      let lowest = dup(0)
      close(lowest)
      guard CLinux_prctl(38, 1, 0, 0, 0) == 0 else { exit(2) }  // PR_SET_NO_NEW_PRIVS
      guard CLinux_seccomp_install(bytes, bytes.count / 8, 0) == 0 else { exit(3) }
      do throws(PodArea.Failure) {
        _ = try PodArea.make(tableSize: 4096)
        exit(4)
      } catch {
        guard error.explanation.contains(denial.words), error.error != nil else {
          print(error)
          exit(5)
        }
      }
      // The process's other threads open files for a moment, also when the lowest number was looked for; what is left open stays so.
      for _ in 0..<100 {
        let next = dup(0)
        if next <= lowest { exit(0) }
        close(next)
        usleep(1000)
      }
      exit(6)
    }
  }

  // MARK: The table in it

  @Test("a pod's table in it is what others that have it mapped see")
  func table() throws {
    let memory = Mutex<PodArea?>(nil)
    let space = Namespace<ProcessID>(
      pod: PodID(rawValue: 7), range: 1...500, capacity: 500, system: SystemNames(),
      memory: { size in
        let area = try? PodArea.make(tableSize: size)
        memory.withLock { $0 = area }
        return area
      })
    let area = try #require(memory.withLock { $0 })
    #expect(space.memory === area)
    let mapping = try Mapping(area)
    #expect(mapping.table.pointee.magic == POD_TABLE_MAGIC)
    #expect(mapping.table.pointee.pod == 7)
    let name = try space.allocate()
    #expect(
      pod_table_find_virtual(mapping.table, name.rawValue).state == POD_ENTRY_ALLOCATED.rawValue)
    try space.bind(name, to: Physical(rawValue: 4711))
    #expect(pod_table_physical_of(mapping.table, name.rawValue) == 4711)
    #expect(pod_table_virtual_of(mapping.table, 4711) == name.rawValue)
    try space.retire(name)
    try space.reap(name)
    #expect(pod_table_find_virtual(mapping.table, name.rawValue).slot == 0)
    #expect(pod_table_virtual_of(mapping.table, 4711) == 0)
  }

  @Test("who reads it while names come and go sees each name whole, or not")
  func readers() throws {
    let memory = Mutex<PodArea?>(nil)
    let space = Namespace<ProcessID>(
      pod: PodID(rawValue: 7), range: 1...40, capacity: 40, system: SystemNames(),
      memory: { size in
        let area = try? PodArea.make(tableSize: size)
        memory.withLock { $0 = area }
        return area
      })
    let area = try #require(memory.withLock { $0 })
    // Physical numbers that share a bucket, so that chains change under who walks them.
    let stride = Int32(pod_table_physical_buckets_for(40))
    @Sendable func physical(_ name: Int32) -> Int32 { 1_000_000 / stride * stride + name * stride }
    let kept: [Int32] = [3, 20, 40]
    for name in kept {
      _ = try space.allocate(chosen: Virtual(rawValue: name))
      try space.bind(Virtual(rawValue: name), to: Physical(rawValue: physical(name)))
    }
    let isOver = Atomic(false)
    struct Seen: Sendable {
      var live = 0
      var allocated = 0
      var absent = 0
      var wrong: [String] = []
    }
    let seen = Mutex(Seen())
    let mapping = try Mapping(area)
    nonisolated(unsafe) let table = mapping.table
    let reader = try SupervisorThread.start(name: "reader") {
      var found = Seen()
      while !isOver.load(ordering: .relaxed) {
        for name in 1...40 as ClosedRange<Int32> {
          let view = pod_table_find_virtual(table, name)
          let expected = physical(name)
          if view.slot == 0 {
            found.absent += 1
          } else if view.virtual_name != name
            || view.physical_name != 0 && view.physical_name != expected
            || view.state == POD_ENTRY_LIVE.rawValue && view.physical_name != expected
            || view.state == POD_ENTRY_ALLOCATED.rawValue && view.physical_name != 0
          {
            found.wrong.append("\(view)")
          } else if view.state == POD_ENTRY_LIVE.rawValue {
            found.live += 1
          } else {
            found.allocated += 1
          }
          let forth = pod_table_physical_of(table, name)
          let back = pod_table_virtual_of(table, expected)
          let byNumber = pod_table_find_physical(table, expected, POD_PHYSICAL_CURRENT)
          if forth != 0 && forth != expected || back != 0 && back != name
            || byNumber.slot != 0 && byNumber.virtual_name != name
          {
            found.wrong.append("\(name): \(forth), \(back), \(byNumber)")
          }
          if kept.contains(name), view.slot == 0 || forth == 0 || back == 0 || byNumber.slot == 0 {
            found.wrong.append("\(name) is kept and wasn't found: \(view) \(forth) \(back)")
          }
        }
        if found.wrong.count > 10 { break }
      }
      seen.withLock { $0 = found }
    }
    let written = Result {
      var random = SystemRandomNumberGenerator()
      for _ in 0..<200_000 {
        let number = Int32.random(in: 1...40, using: &random)
        let name = Virtual(rawValue: number)
        if kept.contains(number) { continue }
        if (try? space.allocate(chosen: name)) != nil {
          if Bool.random(using: &random) {
            try space.setLink(2, of: name, to: number)
            try space.bind(name, to: Physical(rawValue: physical(number)))
          }
        } else if try space.entry(name).state == .allocated {
          try space.giveBack(name)
        } else {
          try space.retire(name)
          try space.reap(name)
        }
      }
    }
    isOver.store(true, ordering: .relaxed)
    withExtendedLifetime(mapping) { reader.join() }
    try written.get()
    let found = seen.withLock { $0 }
    #expect(found.wrong == [])
    #expect(found.live > 1_000 && found.allocated > 100 && found.absent > 1_000, "\(found)")
  }
}
