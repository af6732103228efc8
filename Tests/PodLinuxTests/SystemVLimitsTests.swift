import PodCore
import PodLinux
import Testing

@Suite("Limits of System V objects")
struct SystemVLimitsTests {
  @Test("files are read as the kernel writes them")
  func read() {
    let files = [
      "msgmni": "7\n", "msgmax": "8\n", "msgmnb": "9\n", "sem": "1\t2\t3\t4\n", "shmmni": "5\n",
      "shmmax": "18446744073692774399\n", "shmall": "6\n",
    ]
    let limits = SystemVLimits.read { files[$0] }
    #expect([limits.queues, limits.message, limits.sets, limits.segments] == [7, 8, 4, 5])
    #expect([limits.perSet, limits.semaphores, limits.operations] == [1, 2, 3])
    #expect([limits.queue, limits.segment, limits.pages] == [9, 18_446_744_073_692_774_399, 6])
  }

  @Test("what can't be read is as the kernel has it by default")
  func defaults() {
    #expect(SystemVLimits.read { _ in nil } == SystemVLimits())
    for text in ["", "x\n", "-1\n", "1 2\n", "1 2 3 -4\n", "99999999999999999999\n"] {
      #expect(SystemVLimits.read { _ in text }.perSet == SystemVLimits().perSet)
      #expect(SystemVLimits.read { _ in text }.queues == SystemVLimits().queues)
    }
  }

  @Test("none is higher than what the host program has for a pod")
  func bounds() {
    let limits = SystemVLimits.read {
      $0 == "sem" ? "\(Int64.max) \(Int64.max) \(Int64.max) \(Int64.max)" : "\(UInt64.max)"
    }.bounded
    #expect(limits.queues == 32_768 && limits.sets == 32_768 && limits.segments == 32_768)
    #expect(limits.message == 16 << 20 && limits.queue == UInt64(Int32.max))
    #expect(limits.perSet == 65_536 && limits.operations == 65_536)
    #expect(limits.semaphores == 4_194_304)
  }
}
