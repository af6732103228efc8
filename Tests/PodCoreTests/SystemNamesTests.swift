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

  @Test("the host's table agrees with a dictionary, however numbers come and go")
  func model() {
    var model: [Int32: PodID] = [:]
    var random = SystemRandomNumberGenerator()
    let pods = (1...3).map { PodID(rawValue: $0) }
    let spaces = pods.map { pod in
      Namespace<ProcessID>(pod: pod, range: 1...5_000, capacity: 5_000, system: system)
    }
    var names: [Int32: VirtualName<ProcessID>] = [:]
    for turn in 0..<40_000 {
      // Numbers that are close together, and some that hash alike.
      let number = Int32.random(in: 1...1_500, using: &random) &* (turn % 3 == 0 ? 65_536 : 1)
      if let pod = model[number], let name = names[number] {
        try? spaces[Int(pod.rawValue) - 1].reap(name)
        (model[number], names[number]) = (nil, nil)
      } else if let index = pods.indices.randomElement(using: &random),
        let name = try? spaces[index].allocate()
      {
        try? spaces[index].bind(name, to: PhysicalName(rawValue: number))
        (model[number], names[number]) = (pods[index], name)
      }
      if turn % 4_000 == 0 {
        #expect(system.count == model.count)
        for other in 1...1_500 as ClosedRange<Int32> {
          let owner = system.owner(of: PhysicalName(rawValue: other))
          #expect(owner?.pod == model[other] && owner?.name == names[other])
        }
      }
    }
  }
}
