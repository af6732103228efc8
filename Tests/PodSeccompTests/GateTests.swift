import PodCore
import PodLinux
import PodTestSupport
import Subprocess
import SystemPackage
import Testing

@testable import PodSeccomp

@Suite("The page of our code")
struct GateTests {
  private let gate = Gate(address: RemoteAddress(rawValue: 0x7000_0000_0000))

  /// The page's instructions by their offset, as a disassembler that knows nothing of us reads them.
  private static func disassembly() async throws -> [Int: String] {
    try TestPrograms.require("objdump")
    let file = try TestPrograms.scratch() + "/gate"
    let descriptor = try FileDescriptor.open(
      FilePath(file), .writeOnly, options: [.create, .truncate], permissions: .ownerReadWrite)
    try descriptor.closeAfter { _ = try descriptor.writeAll(Gate.code) }
    let result = try await Subprocess.run(
      .name("objdump"), arguments: ["-D", "-b", "binary", "-m", "i386:x86-64", file],
      output: .string(limit: 65536), error: .discarded)
    var found: [Int: String] = [:]
    // "   5:	48 bf 65 6e …	movabs $0x706f642d646f6e65,%rdi"
    for line in result.standardOutput.split(separator: "\n") {
      let columns = line.split(separator: "\t")
      guard columns.count == 3,
        let offset = Int(columns[0].filter { $0 != " " && $0 != ":" }, radix: 16)
      else { continue }
      found[offset] = columns[2].split(separator: " ").joined(separator: " ")
    }
    return found
  }

  private func offset(_ address: RemoteAddress) -> Int {
    Int(address.rawValue) - Int(gate.address.rawValue)
  }

  @Test("a call, and then the reports of its result")
  func reports() async throws {
    let code = try await Self.disassembly()
    #expect(code[offset(gate.call)] == "syscall")
    // The result is the report's second argument, the magic number its first.
    #expect(code[offset(gate.afterCall)] == "mov %rax,%rsi")
    #expect(code[offset(gate.afterCall) + 3] == "movabs $0x\(String(Gate.magic, radix: 16)),%rdi")
    let arguments = CallArguments(Gate.magic, 1)
    var reports: [Int: Set<Syscall>] = [:]
    for place in 0..<Gate.size {
      let calls = Syscall.allCases.filter { gate.reports($0, arguments, at: gate.address + place) }
      if !calls.isEmpty { reports[place] = Set(calls) }
    }
    let ends = reports.keys.sorted()
    try #require(ends.count == 4)
    // The first one is whichever the thread's register says.
    let first = offset(gate.afterCall) + 13
    #expect(code[first] == "mov %ebx,%eax" && code[first + 2] == "syscall")
    #expect(ends[0] == first + 4)
    #expect(reports[ends[0]] == [.getpid, .wait4, .waitid, .rt_sigtimedwait])
    for call in Syscall.allCases {
      let number = Gate.firstReport(of: call)
      #expect(reports[ends[0]]?.contains { UInt64($0.rawValue) == number } == true)
    }
    // From one to the next there is nothing else.
    for (index, call) in zip(1..., [.getpid, .gettid, .getpgrp] as [Syscall]) {
      #expect(code[ends[index - 1]] == "mov $0x\(String(call.rawValue, radix: 16)),%eax")
      #expect(code[ends[index - 1] + 5] == "syscall")
      #expect(ends[index] == ends[index - 1] + 7)
      #expect(reports[ends[index]] == [call])
    }
    // EINTR: all begin anew.
    #expect(code[ends[3]] == "cmp $0xfffffffc,%eax")
    #expect(code[ends[3] + 3] == "je 0x\(String(first, radix: 16))")
    #expect(code[ends[3] + 5] == "ud2")
    // Whoever falls into what is behind it meets a breakpoint.
    for (place, instruction) in code
    where place > ends[3] + 5 && place < offset(gate.exchange) {
      #expect(instruction == "int3")
    }
  }

  @Test("what isn't said so, or comes from elsewhere, is no report")
  func strangers() throws {
    let end = try #require(
      (0..<Gate.size).first {
        gate.reports(.getpid, CallArguments(Gate.magic), at: gate.address + $0)
      })
    #expect(!gate.reports(.getpid, CallArguments(Gate.magic + 1), at: gate.address + end))
    #expect(!gate.reports(.getppid, CallArguments(Gate.magic), at: gate.address + end))
    #expect(!gate.reports(.gettid, CallArguments(Gate.magic), at: gate.address + end))
    let other = Gate(address: gate.address + Gate.size)
    #expect(!other.reports(.getpid, CallArguments(Gate.magic), at: gate.address + end))
  }

  @Test("an exchange, and a loop behind it that stays there")
  func exchange() async throws {
    let code = try await Self.disassembly()
    #expect(code[offset(gate.exchange)] == "lock cmpxchg %esi,(%rdi)")
    let (first, last) = (offset(gate.exchanged.lowerBound), offset(gate.exchanged.upperBound))
    #expect(first == offset(gate.exchange) + 4)
    #expect(code[first] == "pause")
    #expect(code[last] == "jmp 0x\(String(first, radix: 16))")
    #expect(code[offset(gate.wordExchange)] == "lock cmpxchg %rsi,(%rdi)")
    let (firstOfWord, lastOfWord) = (
      offset(gate.wordExchanged.lowerBound), offset(gate.wordExchanged.upperBound)
    )
    #expect(firstOfWord == offset(gate.wordExchange) + 5)
    #expect(code[firstOfWord] == "pause")
    #expect(code[lastOfWord] == "jmp 0x\(String(firstOfWord, radix: 16))")
    #expect(Gate.code.count == lastOfWord + 2)
    #expect(Gate.code.count <= Gate.size)
  }
}
