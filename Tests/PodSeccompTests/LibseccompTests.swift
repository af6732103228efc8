import CLinux
import CSeccomp
import Glibc
import PodCore
import PodLinux
import PodSeccomp
import SystemPackage
import Testing

/// libseccomp is the second opinion on what this project states by itself: numbers, architectures, and that part of the
/// filter that libseccomp could write.
@Suite("libseccomp agrees")
struct LibseccompTests {
  private static let native = seccomp_arch_native()

  @Test("on architectures")
  func architectures() {
    #expect(FilterRules.nativeArchitecture == Self.native)
    #expect(CLinux_AUDIT_ARCH_X86_64 == seccomp_arch_resolve_name("x86_64"))
    #expect(CLinux_AUDIT_ARCH_I386 == seccomp_arch_resolve_name("x86"))
    #expect(CLinux_AUDIT_ARCH_AARCH64 == seccomp_arch_resolve_name("aarch64"))
  }

  #if arch(x86_64)
    /// Calls that came after the newest one that this libseccomp knows, and numbers that it has never had.
    @Test("on the number and the name of every call that it knows")
    func numbers() throws {
      let known = Syscall.allCases.filter { seccomp_syscall_resolve_name($0.name) >= 0 }
      for call in known {
        #expect(seccomp_syscall_resolve_name(call.name) == Int32(call.rawValue), "\(call.name)")
      }
      let newest = try #require(known.map(\.rawValue).max())
      // libseccomp 2.5 ends with kernel 5.17.
      #expect(newest >= Syscall.set_mempolicy_home_node.rawValue)
      let unknown = Syscall.allCases.filter { $0.rawValue <= newest && !known.contains($0) }
      #expect(Set(unknown).isSubset(of: [.uprobe, .uretprobe]))
      for number in 0..<UInt16(600) {
        let theirs = seccomp_syscall_resolve_num_arch(Self.native, Int32(number)).map { name in
          defer { free(name) }
          return String(cString: name)
        }
        #expect(theirs == nil || theirs == Syscall(rawValue: number)?.name, "\(number)")
      }
    }
  #endif

  /// A filter that knows only what is denied, written by libseccomp: everything else it allows.
  private func denials() throws -> BPFInterpreter {
    let context = try #require(seccomp_init(FilterRules.Action.allow.returnValue))
    defer { seccomp_release(context) }
    let noFunction = FilterRules.Action.noFunction.returnValue
    try #require(seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, noFunction) == 0)
    func deny(_ row: BoundaryRow, _ errno: Errno, _ conditions: [Variant.Condition]) throws {
      let action = FilterRules.Action.errno(UInt16(errno.rawValue)).returnValue
      let comparisons = conditions.map {
        scmp_arg_cmp(
          arg: UInt32($0.argument), op: SCMP_CMP_MASKED_EQ, datum_a: $0.mask, datum_b: $0.value)
      }
      let result = seccomp_rule_add_array(
        context, action, Int32(row.call.rawValue), UInt32(comparisons.count), comparisons)
      try #require(result == 0, "\(row.call.name) \(row.variant.label)")
    }
    for row in BoundaryTable.standard.rows where row.descriptor == nil {
      guard let errno = row.staticErrno else { continue }
      let others = BoundaryTable.standard.rows(for: row.call).flatMap(\.variant.conditions)
      if !row.variant.conditions.isEmpty || others.isEmpty {
        try deny(row, errno, row.variant.conditions)
      } else {
        // Everything but the variants, of which libseccomp has no word: there is one, of bits that are zero.
        let variant = try #require(others.first)
        try #require(others.count == 1 && variant.value == 0)
        for bit in (0..<64).map({ UInt64(1) << $0 }) where variant.mask & bit != 0 {
          let variant = Variant.argument(variant.argument, masked: bit, is: bit, "")
          try deny(row, errno, variant.conditions)
        }
      }
    }
    let stream = try #require(tmpfile())
    defer { fclose(stream) }
    let file = fileno(stream)
    try #require(seccomp_export_bpf(context, file) == 0)
    let size = Int(lseek(file, 0, SEEK_END))
    let stride = MemoryLayout<BPFInstruction>.stride
    try #require(size % stride == 0)
    let instructions = [BPFInstruction](unsafeUninitializedCapacity: size / stride) {
      buffer, count in
      count = pread(file, buffer.baseAddress, size, 0) / stride
    }
    return try BPFInterpreter(BPFProgram(instructions: instructions))
  }

  @Test("on what is denied, and denies what our program denies")
  func denied() throws {
    let theirs = try denials()
    let ours = try BPFInterpreter(SupervisionFilter.rules(for: .sample()).program())
    var count = 0
    for call in Syscall.allCases {
      for arguments in interestingArguments(of: UInt32(call.rawValue)) {
        let data = SeccompData.native(UInt32(call.rawValue), arguments)
        let action = ours.run(data).value
        let isDenied = action & 0xFFFF_0000 == CLinux_SECCOMP_RET_ERRNO
        count += isDenied ? 1 : 0
        #expect(
          theirs.run(data).value == (isDenied ? action : FilterRules.Action.allow.returnValue),
          "\(call.name) \(arguments)")
      }
    }
    #expect(count > 200)
    // x32 and other architectures. (-1, which a tracer sets to skip a call, libseccomp leaves alone.)
    for number in [0, 1, 39, 435, 1000, (1 << 30) - 1] as [UInt32] {
      #expect(
        theirs.run(.native(number | 1 << 30)).value == ours.run(.native(number | 1 << 30)).value)
      for architecture in [CLinux_AUDIT_ARCH_I386, CLinux_AUDIT_ARCH_AARCH64, 0] {
        let data = SeccompData.native(number, architecture: architecture)
        #expect(theirs.run(data).value == ours.run(data).value)
        #expect(theirs.run(data).value == FilterRules.Action.noFunction.returnValue)
      }
    }
  }
}
