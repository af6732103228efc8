internal import PodCore
internal import Testing

@Suite struct SystemNamesTests {
  private let system = SystemNames<ProcessID>()
  private let number = PhysicalName<ProcessID>(rawValue: 100)

  @Test("what is in a pod can't be referred to from outside")
  func inPod() throws {
    let names = PodNames(pod: PodID(rawValue: 1), system: system, capacity: 16)
    try names.processes.enter(number, parent: nil, as: .sessionLeader)
    #expect(throws: NameError.unknownName) { try system.holdOutside(number) }
    #expect(!system.isHeldOutside(number))
    #expect(system.owner(of: number)?.pod == PodID(rawValue: 1))
  }

  @Test("what is referred to outside doesn't enter a pod, until the last reference ends")
  func entering() throws {
    let names = PodNames(pod: PodID(rawValue: 1), system: system, capacity: 16)
    try system.holdOutside(number)
    try system.holdOutside(number)
    for _ in 0..<2 {
      #expect(throws: NameError.nameInUse) {
        try names.processes.enter(number, parent: nil, as: .sessionLeader)
      }
      #expect(names.processes.space.count == 0)
      system.releaseOutside(number)
    }
    system.releaseOutside(number)
    #expect(!system.isHeldOutside(number))
    #expect(try names.processes.enter(number, parent: nil, as: .sessionLeader).rawValue >= 1)
  }
}
