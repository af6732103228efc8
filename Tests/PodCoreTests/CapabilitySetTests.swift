import Foundation
import PodCore
import Testing

@Suite("Sets of capabilities")
struct CapabilitySetTests {
  @Test(
    "a capability is known by its names and its number",
    arguments: [
      ("chown", CapabilitySet.chown, 0), ("CAP_KILL", .kill, 5),
      ("cap_net_bind_service", .netBindService, 10), ("SYS_ADMIN", .sysAdmin, 21),
      ("40", .checkpointRestore, 40), ("63", CapabilitySet(number: 63), 63),
    ])
  func names(name: String, capability: CapabilitySet, number: UInt64) {
    #expect(CapabilitySet(name: name) == capability)
    #expect(capability.rawValue == 1 << number)
  }

  @Test("what is no name is none", arguments: ["", "cap_", "root", "64", "-1", "chown,kill"])
  func unknown(name: String) { #expect(CapabilitySet(name: name) == nil) }

  @Test("each of the kernel's has a name of its own that leads back to it")
  func roundTrip() {
    var seen: Set<String> = []
    for number in 0...63 {
      let capability = CapabilitySet(number: number)
      #expect(capability.names.count == 1)
      #expect(CapabilitySet(name: capability.description) == capability)
      #expect(seen.insert(capability.description).inserted)
      #expect((Int(capability.description) == nil) == (number <= 40))
    }
  }

  @Test("it prints as names in the order of numbers")
  func description() {
    #expect("\([.kill, .chown] as CapabilitySet)" == "chown,kill")
    #expect("\(CapabilitySet())" == "none")
    #expect("\(CapabilitySet.all)" == "all")
    #expect("\(CapabilitySet(number: 50).union(.bpf))" == "bpf,50")
  }

  @Test("it is encoded as names")
  func codable() throws {
    for (set, text) in [
      ([], "[]"), ([.setuid, .sysNice], #"["setuid","sys_nice"]"#), (.all, #"["all"]"#),
    ] as [(CapabilitySet, String)] {
      #expect(String(decoding: try JSONEncoder().encode(set), as: UTF8.self) == text)
      #expect(try JSONDecoder().decode(CapabilitySet.self, from: Data(text.utf8)) == set)
    }
    #expect(
      try JSONDecoder().decode(CapabilitySet.self, from: Data(#"["CAP_KILL", "63"]"#.utf8))
        == [.kill, CapabilitySet(number: 63)])
    #expect(throws: DecodingError.self) {
      try JSONDecoder().decode(CapabilitySet.self, from: Data(#"["superuser"]"#.utf8))
    }
  }

  @Test("a container's set is what container engines keep and what a pod confines")
  func container() {
    let docker: CapabilitySet = [
      .chown, .dacOverride, .fsetid, .fowner, .mknod, .netRaw, .setgid, .setuid, .setfcap, .setpcap,
      .netBindService, .sysChroot, .kill, .auditWrite,
    ]
    #expect(CapabilitySet.container.isSuperset(of: docker))
    #expect(
      CapabilitySet.container.subtracting(docker)
        == [.ipcLock, .ipcOwner, .lease, .netBroadcast, .sysNice, .sysResource])
    #expect(
      CapabilitySet.container.isDisjoint(with: [
        .sysAdmin, .sysPtrace, .perfmon, .bpf, .sysModule, .sysRawio, .sysBoot, .sysTime, .syslog,
        .macAdmin, .macOverride, .checkpointRestore, .auditControl, .auditRead, .netAdmin,
        .wakeAlarm, .blockSuspend, .dacReadSearch, .linuxImmutable, .sysPacct, .sysTTYConfig,
      ]))
    #expect(PodConfiguration().capabilities == .container)
    // Whoever wants all loses none that a newer kernel has.
    #expect(CapabilitySet.all.contains(CapabilitySet(number: 63)))
  }

  @Test("a configuration keeps its set when it is written down")
  func configuration() throws {
    var configuration = PodConfiguration()
    configuration.capabilities = [.kill, .bpf]
    let text = try JSONEncoder().encode(configuration)
    #expect(try JSONDecoder().decode(PodConfiguration.self, from: text) == configuration)
  }
}
