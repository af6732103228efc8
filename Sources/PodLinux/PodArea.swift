internal import CLinux
internal import CPodLayout
internal import CPodVDSO
internal import Glibc
package import PodCore
package import SystemPackage

/// What of a pod lies in each of its processes (`pod_page.h`): code, rules, stubs and the table of names, in one file in
/// memory that only the host program writes to.
///
/// The host program's mapping is made first; then the file is sealed, so that nobody can map it for writing, write to it,
/// or change its size, whatever descriptor of it he has, and the host program never touches a page that is gone.
///
/// The area gives no authority: a process that unmaps it, or has something else in its place, deceives itself.
///
/// Source: DESIGN.md §4.4, §5; memfd_create(2); fcntl(2), "File Sealing".
package final class PodArea: TableMemory {
  /// Why there is no area: what was tried, and what to do.
  package struct Failure: Error, Sendable {
    /// What the kernel said; nil where it wasn't asked.
    package let error: Errno?
    /// In words.
    package let explanation: String
  }

  /// Where the code begins in each process of the pod.
  package let base: RemoteAddress
  /// The file, open for reading: what a process gets that is to map it.
  private let file: OwnedDescriptor
  private nonisolated(unsafe) let mapping: UnsafeMutableRawPointer
  /// The table's share in bytes.
  package let size: Int

  /// Makes an area with the page's code and stubs, and no rules.
  ///
  /// - Parameter size: How large the table is to be at least, in bytes. It is zero, and takes memory where it is touched.
  package static func make(tableSize size: Int) throws(Failure) -> PodArea {
    #if arch(x86_64)
      let file = OwnedDescriptor(
        owning: CLinux_memfd_create(
          "pod", UInt32(CLinux_MFD_ALLOW_SEALING | CLinux_MFD_NOEXEC_SEAL)))
      if file.rawValue < 0 { throw Failure(errno, "memfd_create(2) is denied here") }
      let length = mappedSize(ofTable: size)
      guard ftruncate(file.rawValue, length) == 0 else {
        throw Failure(errno, "a file in memory can't be as large as the pod's table (\(length))")
      }
      try reserve(length, in: file)
      guard
        let mapping = mmap(
          nil, length, PROT_READ | PROT_WRITE, MAP_SHARED, file.rawValue, 0),
        mapping != MAP_FAILED
      else { throw Failure(errno, "there is no memory for the pod's table of \(length) bytes") }
      do throws(Failure) {
        try seal(file)
        return PodArea(
          mapping, file: try reopened(file), tableSize: length - Int(POD_AREA_TABLE),
          at: randomBase())
      } catch {
        munmap(mapping, length)
        throw error
      }
    #else
      throw Failure(nil, "there is no code for pod processes on this architecture")
    #endif
  }

  private init(
    _ mapping: UnsafeMutableRawPointer, file: consuming OwnedDescriptor, tableSize: Int,
    at base: RemoteAddress
  ) {
    (self.mapping, size, self.base) = (mapping, tableSize, base)
    self.file = file
    let bytes = UnsafeMutableRawBufferPointer(start: mapping, count: Int(POD_AREA_TABLE))
    bytes.copyBytes(
      from: UnsafeRawBufferPointer(
        start: CPodVDSO_page_image_bytes(), count: Int(CPodVDSO_page_image_size)))
    let machine = CLinux_reads_thread_pointer() != 0 ? UInt64(POD_MACHINE_READS_FS.rawValue) : 0
    bytes.storeBytes(of: machine, toByteOffset: Int(POD_AREA_MACHINE), as: UInt64.self)
    for number in 0..<Int(POD_PAGE_STUB_COUNT) {
      Self.writeStub(number, to: bytes, at: Int(POD_AREA_STUBS) + number * Int(POD_PAGE_STUB_SIZE))
    }
  }

  deinit { munmap(mapping, mappedSize) }

  // MARK: The parts

  /// The size of what a process maps at ``base``, in bytes.
  package var mappedSize: Int { Int(POD_AREA_TABLE) + size }

  /// The file, for a process that is to map it: read-only, for as long as the area lives.
  package var descriptor: FileDescriptor { file.borrowed }

  /// Whether an address is in the code, as the pod's filter sees it: the instruction pointer behind a call.
  package func isCode(_ address: RemoteAddress) -> Bool {
    address.rawValue & ~UInt64(POD_AREA_CODE_SIZE - 1) == base.rawValue
  }

  /// Writes the boundary table as the page reads it (`struct pod_page_rules`), before any process has the area.
  ///
  /// - Throws: `.fileTooLarge` when it doesn't fit.
  package func write(rules: [UInt8]) throws(Errno) {
    guard rules.count <= Int(POD_AREA_RULES_SIZE) else { throw .fileTooLarge }
    UnsafeMutableRawBufferPointer(
      start: mapping.advanced(by: Int(POD_AREA_RULES)), count: Int(POD_AREA_RULES_SIZE)
    ).copyBytes(from: rules)
  }

  /// Where a process counts those that share its memory.
  package var sharers: RemoteAddress {
    let offset = MemoryLayout<pod_page_cache>.offset(of: \.sharers) ?? 0
    return base.advanced(by: Int(POD_AREA_CACHE) + offset)
  }

  /// Lets newborns get their names when somebody first needs them, before any process has the area.
  package func nameLate() {
    let place = mapping.advanced(by: Int(POD_AREA_MACHINE))
    let machine = place.load(as: UInt64.self)
    place.storeBytes(of: machine | UInt64(POD_MACHINE_NAMES_LATE.rawValue), as: UInt64.self)
  }

  /// The first bytes of the code, by which it is known again.
  package static let beginning: [UInt8] = Array(
    UnsafeRawBufferPointer(start: CPodVDSO_page_image_bytes(), count: 16))

  // MARK: TableMemory

  package var start: UnsafeMutableRawPointer { mapping.advanced(by: Int(POD_AREA_TABLE)) }

  /// Files in memory have large pages where the administrator says so, and that concerns all processes of the pod.
  package func useLargePages(_ used: Int) {}

  // MARK: Making it

  private static func mappedSize(ofTable size: Int) -> Int {
    let pageSize = 4096
    return (Int(POD_AREA_TABLE) + size + pageSize - 1) / pageSize * pageSize
  }

  /// Where the kernel promises no more memory than it has, a page that it can't give kills whoever touches it: all are
  /// asked for at once.
  ///
  /// Source: proc_sys_vm(5), `overcommit_memory`; mm/shmem.c, `shmem_acct_blocks`.
  private static func reserve(
    _ length: Int, in file: borrowing OwnedDescriptor
  ) throws(Failure) {
    let never = 2
    guard OwnProcess.systemValue("vm/overcommit_memory") == never else { return }
    let result = posix_fallocate(file.rawValue, 0, length)
    if result != 0 {
      throw Failure(result, "there is no memory for the pod's table of \(length) bytes")
    }
  }

  private static func seal(_ file: borrowing OwnedDescriptor) throws(Failure) {
    let seals =
      CLinux_F_SEAL_FUTURE_WRITE | CLinux_F_SEAL_SHRINK | CLinux_F_SEAL_GROW | CLinux_F_SEAL_SEAL
    let result = CLinux_add_seals(file.rawValue, Int32(seals))
    if result < 0 {
      throw Failure(
        -result, "a file in memory can't be sealed against writing: Linux 5.1 or newer can")
    }
  }

  /// The same file, open for reading alone, and looks whether its code may be executed.
  private static func reopened(
    _ file: borrowing OwnedDescriptor
  ) throws(Failure) -> OwnedDescriptor {
    let reading = OwnedDescriptor(
      owning: CLinux_open("/proc/self/fd/\(file.rawValue)", O_RDONLY, 0))
    if reading.rawValue < 0 {
      throw Failure(-reading.rawValue, "a file in memory can't be reopened")
    }
    let code = mmap(
      nil, Int(POD_AREA_CODE_SIZE), PROT_READ | PROT_EXEC, MAP_SHARED, reading.rawValue, 0)
    guard let code, code != MAP_FAILED else {
      throw Failure(
        errno, "code in a file in memory can't be executed here: check the security policy")
    }
    munmap(code, Int(POD_AREA_CODE_SIZE))
    return reading
  }

  /// A place that neither the kernel's layouts nor programs that choose addresses by themselves use: below what the kernel
  /// gives to libraries and mappings (from 0x7efb… on downwards), above everything else. Programs that were built with a
  /// sanitizer end when they find anything mapped in the middle, which to them is shadow memory. It is at random so that
  /// nobody builds on it, not for safety.
  ///
  /// Source: arch/x86/mm/mmap.c; compiler-rt's tsan_platform.h and msan.h, "x86_64".
  private static func randomBase() -> RemoteAddress {
    let lowest: UInt64 = 0x7e80_0000_0000
    let step: UInt64 = 2 << 20
    return RemoteAddress(rawValue: lowest + UInt64.random(in: 1..<1 << 17) * step)
  }

  /// `mov $number, %eax; jmp` to the code that serves signals; `int3` behind it.
  private static func writeStub(
    _ number: Int, to area: UnsafeMutableRawBufferPointer, at offset: Int
  ) {
    let end = offset + 10
    let rest = Int(POD_PAGE_STUB_SIZE) - 10
    area.storeBytes(of: 0xB8, toByteOffset: offset, as: UInt8.self)
    area.storeBytes(of: UInt32(number), toByteOffset: offset + 1, as: UInt32.self)
    area.storeBytes(of: 0xE9, toByteOffset: offset + 5, as: UInt8.self)
    area.storeBytes(
      of: Int32(Int(POD_PAGE_SIGNAL) - end), toByteOffset: offset + 6, as: Int32.self)
    UnsafeMutableRawBufferPointer(rebasing: area[end..<end + rest])
      .initializeMemory(as: UInt8.self, repeating: 0xCC)
  }
}

extension PodArea.Failure {
  fileprivate init(_ error: Int32, _ explanation: String) {
    self.init(error: Errno(rawValue: error), explanation: explanation)
  }
}
