import PodCore
import Testing

@Suite("User ids")
struct UserIDTests {
  private static func isIdle(_ call: Syscall, _ real: Int32, _ effective: Int32, _ saved: Int32)
    -> Bool
  {
    let words = [real, effective, saved].map { UInt64(UInt32(bitPattern: $0)) }
    return UserID.isIdle(call, CallArguments(words[0], words[1], words[2])) { ofGroups in
      ofGroups ? [10, 20, 30, 40] : [1, 2, 3, 4]
    }
  }

  @Test("a call that sets what is set is nothing")
  func idle() {
    #expect(Self.isIdle(.setresuid, -1, -1, -1))
    #expect(Self.isIdle(.setresuid, -1, 2, -1))
    #expect(Self.isIdle(.setresuid, 1, 2, 3))
    #expect(Self.isIdle(.setresgid, -1, 20, 30))
  }

  @Test("any other may change something")
  func changing() {
    #expect(!Self.isIdle(.setresuid, 2, -1, -1))
    #expect(!Self.isIdle(.setresuid, -1, -1, 2))
    #expect(!Self.isIdle(.setresgid, 1, -1, -1))
    // These set more than one id, or the one for files.
    for call in [Syscall.setuid, .setreuid, .setfsuid, .setgroups] {
      #expect(!Self.isIdle(call, -1, -1, -1))
    }
    #expect(!UserID.isIdle(.setresuid, CallArguments(1, 2, 3)) { _ in nil })
  }
}
