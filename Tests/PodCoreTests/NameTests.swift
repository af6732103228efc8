internal import PodCore
internal import Testing

@Suite struct NameTests {
  @Test("virtual and physical names, and those of different resources, are different types")
  func typesDiffer() {
    let types: [any Any.Type] = [
      VirtualName<ProcessID>.self, PhysicalName<ProcessID>.self, VirtualName<ThreadID>.self,
      PhysicalName<ThreadID>.self, VirtualName<ProcessGroup>.self, VirtualName<SessionID>.self,
    ]
    #expect(Set(types.map { ObjectIdentifier($0) }).count == types.count)
    // What takes a virtual process name takes nothing else: these are the functions' types.
    let hold: (Namespace<ProcessID>) -> (VirtualName<ProcessID>) throws(NameError) -> Void =
      Namespace<ProcessID>.hold
    let isHeld: (Namespace<ProcessID>) -> (PhysicalName<ProcessID>) -> Bool =
      Namespace<ProcessID>.isHeld
    _ = (hold, isHeld)
  }

  @Test("a physical name says so when it is printed")
  func description() {
    #expect(VirtualName<ProcessID>(rawValue: 7).description == "7")
    #expect(PhysicalName<ProcessID>(rawValue: 7).description == "7ₚ")
  }
}
